//! How an event reads in journald and syslog: pure.
//!
//! MUST: text of peers is escaped, stands in quotes on the syslog line, and never begins a line or ends one
//! (`audit_log_01_*`, `audit_log_02_*`).

use jitsudo_bytes::Bytes;
use jitsudo_core::event::{Concern, EditOutcome, EndCause, Ending, Entry, Event, Signed};
use jitsudo_core::state::Access;
use jitsudo_sys::syslog::Severity;
use serde_json::Value;

use crate::words;

/// What is told of one event, or of our own health.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Told {
    /// How grave.
    pub(crate) severity: Severity,
    /// For people.
    pub(crate) message: String,
    /// journald's further fields.
    pub(crate) fields: Vec<(&'static str, String)>,
    /// For syslog.
    pub(crate) line: String,
}

impl Told {
    /// Something about ourselves that is no event.
    pub(crate) fn health(severity: Severity, message: &str) -> Self {
        let message = Bytes::from(message).visible();
        Self { severity, line: message.clone(), message, fields: Vec::new() }
    }
}

/// What is told of an entry; `access` is what the state knows of its access.
pub(crate) fn of_entry(seq: u64, entry: &Entry, json: &str, access: Option<&Access>) -> Told {
    let mut fields = vec![("JITSUDO_EVENT", entry.event.name().to_owned()), ("JITSUDO_SEQ", seq.to_string())];
    let mut add = |name, value: Option<String>| {
        if let Some(value) = value {
            fields.push((name, value));
        }
    };
    let asked = access.map(Access::asked_for);
    let given = access.and_then(allowed);
    add("JITSUDO_ID", entry.event.access().map(ToString::to_string));
    add("JITSUDO_SESSION", session(&entry.event));
    add("JITSUDO_USER", asked.and_then(|asked| asked.user.clone()).or_else(|| entry.actor.name.clone()));
    add("JITSUDO_UID", asked.map(|asked| asked.uid).or(entry.actor.uid).map(|uid| uid.0.to_string()));
    add("JITSUDO_RULE", given.and_then(|allowed| allowed.rule.clone()));
    add("JITSUDO_ROLE", given.and_then(|allowed| allowed.role.clone()));
    add("JITSUDO_POLICY", policy(&entry.event).or_else(|| given.map(|allowed| allowed.policy.clone())));
    add("JITSUDO_STATUS", status(&entry.event));
    add("JITSUDO_BREAK_GLASS", is_break_glass(&entry.event, given).then(|| "1".to_owned()));
    let signed = signed(&entry.event);
    add("JITSUDO_KEY", signed.map(|signed| signed.key.clone()));
    add("JITSUDO_SIGNATURE", signed.map(|signed| signed.signature.clone()));
    add("JITSUDO_JSON", Some(json.to_owned()));
    Told { severity: severity(&entry.event), message: message(entry, access), fields, line: line(seq, json) }
}

fn allowed(access: &Access) -> Option<&jitsudo_core::state::Allowed> {
    match access {
        Access::Allowed(allowed) => Some(allowed),
        Access::Failed(failed) => Some(&failed.allowed),
        Access::Asked(_) | Access::Denied(_) | Access::Withdrawn(_) => None,
        Access::Waiting(_) | Access::Approved(_) => access.waiting().map(|waiting| &waiting.allowed),
        Access::Refused(refused) => Some(&refused.waiting.allowed),
        Access::Lapsed(lapsed) => Some(&lapsed.waiting.allowed),
        Access::Activating(_) | Access::Active(_) | Access::Ended(_) | Access::Closed(_) => {
            access.given().map(|given| &given.allowed)
        }
    }
}

fn session(event: &Event) -> Option<String> {
    match event {
        Event::SessionStarting { session, .. }
        | Event::Authenticated { session, .. }
        | Event::AuthenticationFailed { session, .. }
        | Event::SessionExit { session, .. }
        | Event::LeftRunning { session, .. }
        | Event::Signalled { session, .. }
        | Event::NotExtended { session, .. }
        | Event::Edited { session, .. } => Some(session.to_string()),
        _ => None,
    }
}

fn policy(event: &Event) -> Option<String> {
    match event {
        Event::Decided { policy, .. } | Event::PolicyApplied { policy, .. } => Some(policy.clone()),
        _ => None,
    }
}

fn is_break_glass(event: &Event, given: Option<&jitsudo_core::state::Allowed>) -> bool {
    given.is_some_and(|allowed| allowed.break_glass) || matches!(event, Event::Requested { break_glass: true, .. })
}

fn signed(event: &Event) -> Option<&Signed> {
    match event {
        Event::SegmentSealed { signed, .. } | Event::HeadPublished { signed, .. } => signed.as_ref(),
        _ => None,
    }
}

fn status(event: &Event) -> Option<String> {
    match event {
        Event::SessionExit { ending, .. } => Some(match ending {
            Ending::Exited(code) => code.to_string(),
            Ending::Signalled(signal) => (128 + u32::from(*signal)).to_string(),
            Ending::NotStarted(_) => "not started".to_owned(),
        }),
        _ => None,
    }
}

fn severity(event: &Event) -> Severity {
    match event {
        Event::RolledBack { .. }
        | Event::RescueUsed { .. }
        | Event::Decided { allowed: true, break_glass: Some(_), .. } => Severity::Alert,
        Event::SpawnerRefused { .. } | Event::CleanupFailed { .. } | Event::ChainCut { .. } => Severity::Error,
        Event::ActivationFailed { .. }
        | Event::NotExtended { .. }
        | Event::DeliveryFailed { .. }
        | Event::PolicyRefused { .. }
        | Event::DenialsCounted { .. }
        | Event::ClockStepped { .. }
        | Event::Edited { outcome: EditOutcome::Failed, .. }
        | Event::AuthenticationFailed { .. }
        | Event::LeftRunning { .. }
        | Event::Residue { .. } => Severity::Warning,
        Event::Decided { allowed: false, .. }
        | Event::LoginOpened { .. }
        | Event::LoginRefused { .. }
        | Event::Edited { outcome: EditOutcome::Written, .. }
        | Event::Reviewed { .. }
        | Event::PolicyApplied { .. } => Severity::Notice,
        Event::Acknowledged { .. } => Severity::Warning,
        Event::Approved { .. } | Event::Refused { .. } => Severity::Notice,
        Event::Asked { .. } | Event::Escalated { .. } | Event::Reminded { .. } => Severity::Info,
        Event::Lapsed { .. } | Event::Withdrawn { .. } => Severity::Info,
        Event::Locked { .. } | Event::Unlocked { .. } | Event::ResidueAcknowledged { .. } => Severity::Notice,
        Event::Ended { cause: EndCause::Lost, .. } => Severity::Warning,
        Event::Requested { .. }
        | Event::Decided { .. }
        | Event::Activating { .. }
        | Event::Active { .. }
        | Event::EffectApplied { .. }
        | Event::EffectUndone { .. }
        | Event::Extended { .. }
        | Event::Released { .. }
        | Event::SessionStarting { .. }
        | Event::Authenticated { .. }
        | Event::SessionExit { .. }
        | Event::Signalled { .. }
        | Event::LoginClosed { .. }
        | Event::Edited { .. }
        | Event::Ended { .. }
        | Event::Closed { .. }
        | Event::SegmentSealed { .. }
        | Event::HeadPublished { .. } => Severity::Info,
    }
}

fn message(entry: &Entry, access: Option<&Access>) -> String {
    let text = body(entry, access);
    match entry.event.access() {
        Some(id) => format!("{} {text}", id.short()),
        None => text,
    }
}

fn body(entry: &Entry, access: Option<&Access>) -> String {
    let visible = |text: &str| Bytes::from(text).visible();
    let quoted = |text: &Option<String>| visible(text.as_deref().unwrap_or_default());
    match &entry.event {
        Event::Requested { uid, user, kind, argv, program, target, role, reason, break_glass, .. } => {
            let who = user.as_deref().map_or_else(|| format!("uid {}", uid.0), visible);
            let target = target.as_deref().map_or_else(|| "root".to_owned(), visible);
            let program = program.as_ref().map(Bytes::visible);
            let act = words::act(*kind, argv, program, &target, role.as_deref());
            let why =
                reason.as_deref().map_or_else(String::new, |reason| format!(" (reason: \"{}\")", visible(reason)));
            let glass = if *break_glass { " by break-glass" } else { "" };
            format!("requested: {who} asks for {act}{glass}{why}")
        }
        Event::Decided { allowed: true, rule, role, break_glass: Some(glass), .. } => {
            let asked = access.map(jitsudo_core::state::Access::asked_for);
            let who = asked.map_or_else(String::new, |asked| quoted(&asked.user));
            let reason = asked.map_or_else(String::new, |asked| quoted(&asked.reason));
            let tell = if glass.tell.is_empty() { String::new() } else { format!("; tell {}", glass.tell.join(", ")) };
            format!(
                "BREAK-GLASS: {who} by rule \"{}\", role {}: \"{reason}\"; to be reviewed by {}{}",
                quoted(rule),
                quoted(role),
                visible(&glass.reviewers.join(", ")),
                visible(&tell)
            )
        }
        Event::Decided { allowed: true, rule, role, .. } => {
            format!("allowed: by rule \"{}\", role {}", quoted(rule), quoted(role))
        }
        Event::Decided { denial, .. } => {
            let cause = denial.as_ref().map(|denial| &denial.cause);
            let cause = cause
                .and_then(|cause| serde_json::to_value(cause).ok())
                .map_or_else(String::new, |cause| cause.as_str().map_or_else(|| cause.to_string(), str::to_owned));
            format!("denied: {}", visible(&cause))
        }
        Event::Activating { ends_at, processes_end_at: None, .. } => format!("activating: ends at {ends_at:.0}"),
        Event::Activating { ends_at, processes_end_at: Some(until), .. } => {
            format!("activating: ends at {ends_at:.0}, what runs then may finish until {until:.0}")
        }
        Event::Active { .. } => "active: its rights are there".to_owned(),
        Event::EffectApplied { effect, ours, .. } => {
            let before = if *ours { "" } else { ", which was there before" };
            format!("effect applied: {}{before}", visible(&effect.to_string()))
        }
        Event::EffectUndone { effect, removed, .. } => {
            let stays = if *removed { "" } else { ", which stays" };
            format!("effect undone: {}{stays}", visible(&effect.to_string()))
        }
        Event::Extended { ends_at, reason, .. } => {
            let why = reason.as_deref().map_or_else(String::new, |reason| format!(": \"{}\"", visible(reason)));
            format!("extended: ends at {ends_at:.0}{why}")
        }
        Event::NotExtended { session, ends_at } => {
            format!("session {} did not hear of the new end: it ends at {ends_at:.0}", session.number)
        }
        Event::Released { by_other, reason, .. } => {
            let who = if *by_other { "ended by another" } else { "given back by its requester" };
            let by = quoted(&entry.actor.name);
            let why = reason.as_deref().map_or_else(String::new, |reason| format!(": \"{}\"", visible(reason)));
            format!("released: {who} {by}{why}")
        }
        Event::Locked { uid, user, reason } => {
            let by = quoted(&entry.actor.name);
            format!("locked: {} (uid {}) by {by}: \"{}\"", quoted(user), uid.0, visible(reason))
        }
        Event::Unlocked { uid, user } => {
            format!("unlocked: {} (uid {}) by {}", quoted(user), uid.0, quoted(&entry.actor.name))
        }
        Event::ActivationFailed { cause, .. } => format!("activation failed: {}", visible(cause)),
        Event::Asked { approvers, persons, answer_by, .. } => {
            let names: Vec<String> = approvers.iter().map(|name| visible(name)).collect();
            format!("asked: {} for {persons} approvals until {answer_by:.0}", names.join(", "))
        }
        Event::Approved { uid, user, enough, .. } => {
            let more = if *enough { "" } else { ", and more are needed" };
            format!("approved: by {} (uid {}){more}", quoted(user), uid.0)
        }
        Event::Refused { uid, user, reason, .. } => {
            format!("refused: by {} (uid {}): \"{}\"", quoted(user), uid.0, visible(reason))
        }
        Event::Lapsed { .. } => "lapsed: its time went by".to_owned(),
        Event::Withdrawn { .. } => match &entry.actor.name {
            Some(name) => format!("withdrawn: by {}", visible(name)),
            None => "withdrawn".to_owned(),
        },
        Event::Escalated { approvers, .. } => {
            let names: Vec<String> = approvers.iter().map(|name| visible(name)).collect();
            format!("escalated: {} are asked by now", names.join(", "))
        }
        Event::Reminded { .. } => "reminded: asked again".to_owned(),
        Event::DeliveryFailed { uid, to, cause, .. } => {
            let who = uid.map_or_else(
                || "nobody is told".to_owned(),
                |uid| format!("uid {} at {} is not told", uid.0, visible(to)),
            );
            format!("delivery failed: {who}: {}", visible(cause))
        }
        Event::SessionStarting { session, target, under, groups, .. } => {
            let what = under.as_ref().map_or_else(String::new, |under| {
                format!(": {}", words::act(under.kind, &under.argv, None, target, None))
            });
            let names: Vec<String> = groups.iter().filter_map(|group| group.name.as_deref()).map(visible).collect();
            let with = if names.is_empty() { String::new() } else { format!(" with group {}", names.join(", ")) };
            format!("session {} starting as {}{with}{what}", session.number, visible(target))
        }
        Event::Authenticated { session, user, remembered } => {
            let how = if *remembered { "a while ago on this terminal" } else { "now" };
            format!("session {}: {} authenticated {how}", session.number, visible(user))
        }
        Event::AuthenticationFailed { session, user, tries, cause } => {
            let cause = visible(cause);
            format!(
                "session {}: {} not authenticated after {tries} wrong tries: {cause}",
                session.number,
                visible(user)
            )
        }
        Event::SessionExit { session, ending, ran_ms, failed, .. } => {
            let how = match ending {
                Ending::Exited(code) => format!("exited with status {code}"),
                Ending::Signalled(signal) => format!("was ended by signal {signal}"),
                Ending::NotStarted(errno) => {
                    format!("was not started (errno {errno}): {}", quoted(failed))
                }
            };
            format!("session {} {how} after {ran_ms} ms", session.number)
        }
        Event::LeftRunning { session, count, released, .. } => {
            let fate = if *released { "given to the host" } else { "to be ended with it" };
            format!("session {} left {count} programs running, {fate}", session.number)
        }
        Event::Edited { session, path, outcome, bytes, after, failed, .. } => {
            let (number, path) = (session.number, path.visible());
            match outcome {
                EditOutcome::Writing => {
                    let digest = after.as_deref().unwrap_or_default();
                    format!("session {number} writes {path}: {bytes} bytes, sha256 {digest}")
                }
                EditOutcome::Written => format!("session {number} has written {path}"),
                EditOutcome::Unchanged => format!("session {number} leaves {path} as it was"),
                EditOutcome::Failed => format!("session {number} could not write {path}: {}", quoted(failed)),
            }
        }
        Event::Signalled { session, count, signal } => {
            format!("session {}: {count} processes got signal {signal}", session.number)
        }
        Event::LoginOpened { login, .. } => format!("login: {}", visible(&login.to_string())),
        Event::LoginClosed { account, killed, .. } => {
            let how = if *killed == 0 { String::new() } else { format!(", {killed} processes killed") };
            format!("login over: {}{how}", visible(account))
        }
        Event::LoginRefused { login, cause } => {
            format!("login refused: {}: {}", visible(&login.to_string()), visible(cause))
        }
        Event::RescueUsed { login } => format!("rescue account entered: {}", visible(&login.to_string())),
        Event::Ended { cause, .. } => {
            let cause = serde_json::to_value(cause).ok();
            format!("ended: {}", cause.as_ref().and_then(Value::as_str).unwrap_or_default().replace('_', " "))
        }
        Event::Reviewed { note, .. } => {
            format!("reviewed by {}: \"{}\"", quoted(&entry.actor.name), visible(note))
        }
        Event::Closed { .. } => {
            let user = access.and_then(|access| access.asked_for().user.as_deref()).unwrap_or_default();
            format!("closed: nothing of it remains ({})", visible(user))
        }
        Event::CleanupFailed { cause, .. } => format!("cleanup failed: {}", visible(cause)),
        Event::SpawnerRefused { cause, .. } => format!("spawner refused: {}", visible(cause)),
        Event::PolicyApplied { policy, rules, roles, .. } => {
            format!("policy applied: {} with {rules} rules and {roles} roles", visible(policy))
        }
        Event::PolicyRefused { cause, errors } => format!("policy refused: {} ({errors} errors)", visible(cause)),
        Event::DenialsCounted { uid, count, seconds } => {
            format!("denials counted: {count} more of uid {} in {seconds} s", uid.0)
        }
        Event::ClockStepped { by_ms } => format!("clock stepped by {by_ms} ms"),
        Event::ChainCut { segment, bytes } => format!("ledger: {bytes} torn bytes cut from {}", visible(segment)),
        Event::RolledBack { known, found } => {
            format!("{}; nothing is given until root acknowledges it", words::rolled_back(*known, *found))
        }
        Event::Acknowledged { concern: Concern::RolledBack, known, reason, .. } => {
            format!("ledger without the signed event {known} acknowledged: \"{}\"", visible(reason))
        }
        Event::Residue { items, count, remark, .. } => {
            let named: Vec<String> = items.iter().take(5).map(|item| item.name.visible()).collect();
            let more = if named.len() < usize::try_from(*count).unwrap_or(usize::MAX) { ", …" } else { "" };
            let remark = remark.as_ref().map_or_else(String::new, |remark| format!(" ({})", visible(remark)));
            format!("residue: {count} changed while it lasted: {}{more}{remark}", named.join(", "))
        }
        Event::ResidueAcknowledged { reason, .. } => format!("residue acknowledged: \"{}\"", visible(reason)),
        Event::SegmentSealed { segment, last_seq, head, signed } => {
            let by = signed_by(signed.as_ref());
            format!("ledger: {} sealed at event {last_seq} {}, {by}", visible(segment), visible(head))
        }
        Event::HeadPublished { head_seq, head, signed } => {
            format!("ledger head {head_seq} {}, {}", visible(head), signed_by(signed.as_ref()))
        }
    }
}

fn signed_by(signed: Option<&Signed>) -> String {
    signed.map_or_else(
        || "not signed".to_owned(),
        |signed| format!("signed by {}", Bytes::from(signed.key.as_str()).visible()),
    )
}

/// `seq=7 event=requested user="alice" …`: one line, values of peers in quotes.
fn line(seq: u64, json: &str) -> String {
    let mut line = format!("seq={seq}");
    let Ok(Value::Object(mut fields)) = serde_json::from_str::<Value>(json) else {
        return line;
    };
    // The name first, for whoever reads the file; what every line has, and what syslog has itself, not at all.
    let name = fields.remove("event");
    fields.retain(|key, value| !matches!(key.as_str(), "host" | "boottime_ms" | "chain") && !value.is_null());
    for (key, value) in name.map(|name| ("event".to_owned(), name)).into_iter().chain(fields) {
        line.push(' ');
        line.push_str(&key);
        line.push('=');
        match value {
            Value::String(text) if is_bare(&text) => line.push_str(&text),
            Value::String(text) => push_quoted(&mut line, &text),
            Value::Bool(_) | Value::Number(_) => line.push_str(&value.to_string()),
            Value::Null => {}
            Value::Array(_) | Value::Object(_) => push_quoted(&mut line, &value.to_string()),
        }
    }
    line
}

fn is_bare(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.:/+".contains(&byte))
}

fn push_quoted(line: &mut String, text: &str) {
    line.push('"');
    for character in Bytes::from(text).visible().chars() {
        if matches!(character, '"' | '\\') {
            line.push('\\');
        }
        line.push(character);
    }
    line.push('"');
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::{Asked, Stamp};
    use crate::tests::samples;
    use jitsudo_core::Timestamp;
    use jitsudo_core::id::AccessId;
    use jitsudo_core::state::State;
    use jitsudo_link::facts::Peer;

    fn entries(argv: &[&str], reason: &str) -> Vec<Entry> {
        let (id, facts, mut request) = (AccessId::new(1, [1; 10]), samples::facts(), samples::request(argv));
        request.reason = Some(reason.to_owned());
        let peer = Peer { pid: 7, uid: 1000, gid: 1000 };
        let asked = Asked { id: &id, peer, facts: &facts, process: None, request: &request, digest: "d", policy: "p1" };
        let stamp = Stamp { host: "h".into(), boot: "b".into(), wall: Timestamp::UNIX_EPOCH, boottime_ms: 1 };
        let target = facts.target.known().cloned().flatten().unwrap();
        asked.given(&stamp, &samples::terms(), &target, Timestamp::UNIX_EPOCH, 1)
    }

    fn told(entries: &[Entry]) -> Vec<Told> {
        let mut state = State::default();
        entries.iter().for_each(|entry| state.apply(entry));
        let told = entries.iter().map(|entry| {
            let access = entry.event.access().and_then(|id| state.access(id));
            of_entry(5, entry, &serde_json::to_string(entry).unwrap(), access)
        });
        told.collect()
    }

    #[test]
    fn every_event_of_a_run_names_id_user_rule_and_policy() {
        for told in told(&entries(&["id"], "why")) {
            for name in ["JITSUDO_ID", "JITSUDO_USER", "JITSUDO_RULE", "JITSUDO_ROLE", "JITSUDO_POLICY", "JITSUDO_JSON"]
            {
                assert!(told.fields.iter().any(|(field, _)| *field == name), "{name} in {told:?}");
            }
        }
    }

    #[test]
    fn audit_log_01_no_control_character_reaches_message_or_line() {
        for told in told(&entries(&["id", "\n\r\x1b\u{85}\u{202e}%s%n"], "a\nb")) {
            for text in [&told.message, &told.line] {
                assert!(!text.chars().any(|one| one.is_control() || one == '\u{202e}'), "{text:?}");
            }
        }
    }

    #[test]
    fn audit_log_02_forged_line_in_a_reason_stays_inside_its_quotes() {
        let forged = "x\" event=decided allowed=true user=\"root\\";
        let line = told(&entries(&["id"], forged))[0].line.clone();
        assert!(line.contains(r#"reason="x\" event=decided allowed=true user=\"root\\""#), "{line}");
        assert!(line.starts_with("seq=5 event=requested "));
    }

    #[test]
    fn status_is_what_a_shell_would_say() {
        let session = "01jd0000000000000000000000.1".to_owned().try_into().unwrap();
        let exit = |ending| Event::SessionExit {
            session: std::clone::Clone::clone(&session),
            ending,
            ran_ms: 5,
            pid: 1,
            audit_session: None,
            failed: None,
            interpreter: None,
        };
        assert_eq!(status(&exit(Ending::Exited(3))), Some("3".into()));
        assert_eq!(status(&exit(Ending::Signalled(9))), Some("137".into()));
    }
}
