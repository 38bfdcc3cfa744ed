//! One event in words: a label of one or two words, and what happened.

use jitsudo_core::approval::{Limits, Proof};
use jitsudo_core::decision::{Auth, Cause, Denial};
use jitsudo_core::event::{Concern, EditOutcome, EndCause, Entry, Event, Signed};
use jitsudo_core::facts::{Group, NoExecutable};
use jitsudo_core::name::Uid;
use jitsudo_core::request::Kind;
use serde_json::Value;

use super::{ending, joined};
use crate::records::Line;
use crate::text::{View, command, counted, digest, exact, milliseconds, short_id, visible};

/// Label and words of a line; a line of a later version gives its event's name.
pub(crate) fn words(line: &Line, view: &View) -> (String, String) {
    match &line.says {
        Ok(entry) => {
            let (label, mut text) = of_entry(entry, view);
            if entry.late {
                text.push_str(" (recorded late)");
            }
            (label, text)
        }
        Err(value) => {
            let name = value.get("event").and_then(Value::as_str).unwrap_or("unknown");
            (visible(name), "an event of a later version; --json shows it".to_owned())
        }
    }
}

fn of_entry(entry: &Entry, view: &View) -> (String, String) {
    let (label, text) = match &entry.event {
        Event::Requested { uid, user, kind, argv, argv_cut, target, role, reason, ticket, break_glass, .. } => {
            let who = user.as_deref().map_or_else(|| format!("#{}", uid.0), visible);
            let mut text = format!("{who}: {}", asked(*kind, argv, role.as_deref()));
            if *argv_cut {
                text.push_str(" …");
            }
            if let Some(target) = target {
                text.push_str(&format!(" as {}", visible(target)));
            }
            if let Some(role) = role
                && *kind != Kind::Role
            {
                text.push_str(&format!(" by role {}", visible(role)));
            }
            if *break_glass {
                text.push_str(" by break-glass");
            }
            if let Some(reason) = reason {
                text.push_str(&format!(" \"{}\"", visible(reason)));
            }
            if let Some(ticket) = ticket {
                text.push_str(&format!(" {}", visible(ticket)));
            }
            ("asked".to_owned(), text)
        }
        Event::Decided { allowed: true, rule, source, role, policy, joined: requires, break_glass, .. } => {
            let mut text = "allowed".to_owned();
            if let Some(rule) = rule {
                text.push_str(&format!(" by rule \"{}\"", visible(rule)));
            }
            if let Some(source) = source {
                text.push_str(&format!(" ({})", visible(source)));
            }
            if let Some(role) = role {
                text.push_str(&format!(", role {}", visible(role)));
            }
            if break_glass.is_some() {
                text.push_str(", BREAK-GLASS, to be reviewed");
            }
            if !requires.is_empty() {
                text.push_str(&format!(", joined by {}", joined(requires)));
            }
            ("decided".to_owned(), format!("{text}, {}", under(policy)))
        }
        Event::Decided { allowed: false, denial, policy, .. } => {
            let cause = denial.as_ref().map_or_else(|| "not allowed".to_owned(), refusal);
            ("decided".to_owned(), format!("refused: {cause}, {}", under(policy)))
        }
        Event::Asked { approvers, persons, answer_by, .. } => {
            let names: Vec<String> = approvers.iter().map(|name| visible(name)).collect();
            let wanted = counted(u64::from(*persons), "approval");
            let until = view.date_and_time(*answer_by);
            ("waiting".to_owned(), format!("for {wanted} of {}, until {until}", names.join(", ")))
        }
        Event::Approved { uid, user, proof, limits, enough, signed, .. } => {
            let key = signed.as_ref().map(|signed| visible(&signed.key));
            ("approved".to_owned(), approved((*uid, user.as_deref()), (*proof, key), limits, *enough))
        }
        Event::Refused { uid, user, reason, signed, .. } => {
            let by = account((*uid, user.as_deref()));
            let how = signed.as_ref().map_or_else(String::new, |signed| format!(" (signed, {})", visible(&signed.key)));
            ("refused".to_owned(), format!("by {by}{how}: \"{}\"", visible(reason)))
        }
        Event::Lapsed { .. } => ("lapsed".to_owned(), "its time went by; nothing was given".to_owned()),
        Event::Withdrawn { .. } => ("withdrawn".to_owned(), "nothing was given".to_owned()),
        Event::Escalated { approvers, .. } => {
            let names: Vec<String> = approvers.iter().map(|name| visible(name)).collect();
            ("escalated".to_owned(), format!("{} are asked by now", super::joined(&names)))
        }
        Event::Reminded { .. } => ("reminded".to_owned(), "who has not answered is asked again".to_owned()),
        Event::DeliveryFailed { uid, to, cause, .. } => {
            let who =
                uid.map_or_else(|| "nobody".to_owned(), |uid| format!("{} at {}", account((uid, None)), visible(to)));
            ("not told".to_owned(), format!("{who}: {}", visible(cause)))
        }
        Event::Activating { ends_at, processes_end_at, groups, .. } => {
            let finish = processes_end_at
                .map_or_else(String::new, |until| format!(", what runs then until {}", view.date_and_time(until)));
            ("activating".to_owned(), format!("until {}{finish}{}", view.date_and_time(*ends_at), lent(groups)))
        }
        Event::Active { .. } => ("active".to_owned(), "its rights are there".to_owned()),
        Event::EffectApplied { effect, ours, .. } => {
            let before = if *ours { "" } else { ", was there before" };
            ("given".to_owned(), format!("{}{before}", visible(&effect.to_string())))
        }
        Event::EffectUndone { effect, removed, .. } => {
            let stays = if *removed { "" } else { ", stays: the host's own, or another grant's" };
            ("taken back".to_owned(), format!("{}{stays}", visible(&effect.to_string())))
        }
        Event::Extended { ends_at, reason, .. } => {
            let why = reason.as_deref().map_or_else(String::new, |reason| format!(" \"{}\"", visible(reason)));
            ("extended".to_owned(), format!("until {}{why}", view.date_and_time(*ends_at)))
        }
        Event::NotExtended { session, ends_at } => (
            format!("session {}", session.number),
            format!("did not hear of the new end: ends at {}", view.date_and_time(*ends_at)),
        ),
        Event::Locked { uid, user, reason } => {
            let who = user.as_deref().map_or_else(|| format!("uid {}", uid.0), visible);
            let by = entry.actor.name.as_deref().map_or_else(String::new, |by| format!(" by {}", visible(by)));
            ("locked".to_owned(), format!("{who}{by}: nothing starts and everything ends: \"{}\"", visible(reason)))
        }
        Event::Unlocked { uid, user } => {
            let who = user.as_deref().map_or_else(|| format!("uid {}", uid.0), visible);
            let by = entry.actor.name.as_deref().map_or_else(String::new, |by| format!(" by {}", visible(by)));
            ("unlocked".to_owned(), format!("{who}{by}"))
        }
        Event::Released { by_other, reason, .. } => {
            let by = entry.actor.name.as_deref().map_or_else(|| "another".to_owned(), visible);
            let who = if *by_other {
                format!("ended before its time by {by}")
            } else {
                "given back by its requester".to_owned()
            };
            let why = reason.as_deref().map_or_else(String::new, |reason| format!(": \"{}\"", visible(reason)));
            ("released".to_owned(), format!("{who}{why}"))
        }
        Event::ActivationFailed { cause, .. } => {
            ("failed".to_owned(), format!("nothing was given: {}", visible(cause)))
        }
        Event::SessionStarting { session, target, uid, under, groups, .. } => {
            let what =
                under.as_ref().map_or_else(String::new, |under| format!("{} ", asked(under.kind, &under.argv, None)));
            (
                format!("session {}", session.number),
                format!("{what}starts as {} (uid {}){}", visible(target), uid.0, lent(groups)),
            )
        }
        Event::Authenticated { session, user, remembered } => {
            let how = if *remembered { "proven a while ago on this terminal" } else { "proven now" };
            (format!("session {}", session.number), format!("identity of {} {how}", visible(user)))
        }
        Event::AuthenticationFailed { session, user, tries, cause } => {
            let mut text = format!("identity of {} not proven: {}", visible(user), visible(cause));
            if *tries > 0 {
                text.push_str(&format!(", {tries} wrong {}", if *tries == 1 { "try" } else { "tries" }));
            }
            (format!("session {}", session.number), text)
        }
        Event::SessionExit { session, ending: how, ran_ms, pid, failed, interpreter, .. } => {
            let mut text = format!("{} after {}", ending(*how), milliseconds(*ran_ms));
            if let Some(interpreter) = interpreter {
                text.push_str(&format!(", run by {}", visible(interpreter)));
            }
            if *pid > 0 {
                text.push_str(&format!(", pid {pid}"));
            }
            if let Some(failed) = failed {
                text.push_str(&format!(": {}", visible(failed)));
            }
            (format!("session {}", session.number), text)
        }
        Event::Residue { items, count, remark, .. } => {
            let named: Vec<String> = items.iter().take(super::residue::SHOWN).map(super::residue::item).collect();
            let more = u64::from(*count).saturating_sub(named.len() as u64);
            let more = if more == 0 { String::new() } else { format!(", and {more} more") };
            let remark = remark.as_ref().map_or_else(String::new, |remark| format!("; {}", visible(remark)));
            let list = match named.join(", ") {
                none if none.is_empty() => "nothing was found".to_owned(),
                list => format!("changed while it lasted, by whomever: {list}{more}"),
            };
            ("residue".to_owned(), format!("{list}{remark}"))
        }
        Event::ResidueAcknowledged { reason, .. } => {
            let by = entry.actor.name.as_deref().map_or_else(|| "somebody".to_owned(), visible);
            ("residue".to_owned(), format!("acknowledged by {by}: \"{}\"", visible(reason)))
        }
        Event::LeftRunning { programs, count, released, .. } => {
            let names: Vec<String> = programs.iter().map(jitsudo_bytes::Bytes::visible).collect();
            let fate = if *released { "the host's from now on" } else { "ended with the grant" };
            (
                "left".to_owned(),
                format!("{} still running ({}), {fate}", counted(u64::from(*count), "program"), names.join(", ")),
            )
        }
        Event::Signalled { count, signal, .. } => {
            let name = super::signal_name(*signal);
            ("signalled".to_owned(), format!("{} with {name}", counted(u64::from(*count), "program")))
        }
        Event::Edited { path, outcome, before, after, bytes, failed, .. } => {
            let of = |what: &Option<String>| what.as_deref().map_or_else(|| "nothing".to_owned(), digest);
            let path = path.visible();
            let text = match outcome {
                EditOutcome::Writing => {
                    format!("about to replace {path}: {} for {}, {}", of(after), of(before), counted(*bytes, "byte"))
                }
                EditOutcome::Written => format!("{path} replaced: {} for {}", of(after), of(before)),
                EditOutcome::Unchanged => format!("{path} not changed ({})", of(before)),
                EditOutcome::Failed => {
                    format!("{path} not replaced: {}", failed.as_deref().map_or_else(String::new, visible))
                }
            };
            ("edited".to_owned(), text)
        }
        Event::Reviewed { note, .. } => {
            let by = entry.actor.name.as_deref().map_or_else(|| "another".to_owned(), visible);
            ("reviewed".to_owned(), format!("by {by}: \"{}\"", visible(note)))
        }
        Event::LoginOpened { login, .. } => ("login".to_owned(), visible(&login.to_string())),
        Event::LoginClosed { account, killed, .. } => {
            let how = if *killed == 0 {
                "ended by itself".to_owned()
            } else {
                format!("{} killed", counted(u64::from(*killed), "program"))
            };
            ("logged out".to_owned(), format!("{}: {how}", visible(account)))
        }
        Event::Ended { cause, .. } => ("ended".to_owned(), end_cause(*cause).to_owned()),
        Event::Closed { .. } => ("closed".to_owned(), "verified: nothing of it remains".to_owned()),
        Event::CleanupFailed { cause, .. } => {
            ("not clean".to_owned(), format!("cannot remove what it left: {}; tried again", visible(cause)))
        }
        Event::SpawnerRefused { id, cause } => {
            let what = id.as_ref().map_or_else(String::new, |id| format!(" {}", short_id(id.as_str())));
            ("spawner".to_owned(), format!("refused{what}: {}", visible(cause)))
        }
        other => of_host(other),
    };
    (label, text)
}

/// The groups that sessions are lent, behind what is told of them.
fn lent(groups: &[Group]) -> String {
    let name = |group: &Group| group.name.as_deref().map_or_else(|| format!("#{}", group.gid.0), visible);
    match groups {
        [] => String::new(),
        [one] => format!(" with group {}", name(one)),
        many => format!(" with groups {}", many.iter().map(name).collect::<Vec<_>>().join(", ")),
    }
}

/// Events that belong to the host and no access.
fn of_host(event: &Event) -> (String, String) {
    let (label, text) = match event {
        Event::LoginRefused { login, cause } => {
            ("no login", format!("{}: {}", visible(&login.to_string()), visible(cause)))
        }
        Event::RescueUsed { login } => ("rescue", format!("{} entered without a grant", visible(&login.to_string()))),
        Event::PolicyApplied { policy, rules, roles, files, previous } => {
            let before = previous.as_deref().map_or_else(|| "none".to_owned(), digest);
            let text = format!(
                "{} applied: {} and {} from {}; before it {before}",
                digest(policy),
                counted(*rules, "rule"),
                counted(*roles, "role"),
                counted(files.len() as u64, "file"),
            );
            ("policy", text)
        }
        Event::PolicyRefused { cause, errors } => {
            let first = cause.lines().next().unwrap_or_default();
            ("policy", format!("not applied, {}: {}", counted(*errors, "error"), visible(first)))
        }
        Event::DenialsCounted { uid, count, seconds } => {
            let text = format!(
                "{} more refusals to uid {} in {}",
                crate::text::count(*count),
                uid.0,
                crate::text::exact(*seconds)
            );
            ("refused", text)
        }
        Event::ClockStepped { by_ms } => {
            let way = if *by_ms < 0 { "back" } else { "forward" };
            ("clock", format!("set {way} by {}", milliseconds(by_ms.unsigned_abs())))
        }
        Event::ChainCut { segment, bytes } => {
            ("ledger", format!("{} of an unfinished line cut from {}", counted(*bytes, "byte"), visible(segment)))
        }
        Event::RolledBack { known, found } => {
            let what = if known > found {
                format!("rolled back: event {known} was signed, {found} is the last here")
            } else {
                format!("exchanged: event {known} was signed, and is another one here")
            };
            ("ledger", format!("{what}; nothing is given until that is acknowledged"))
        }
        Event::Acknowledged { concern: Concern::RolledBack, known, reason, .. } => {
            ("ledger", format!("goes on without the signed event {known}: \"{}\"", visible(reason)))
        }
        Event::SegmentSealed { segment, last_seq, signed, .. } => {
            ("ledger", format!("{} closed at event {last_seq}, {}", visible(segment), signature(signed.as_ref())))
        }
        Event::HeadPublished { head_seq, head, signed } => {
            let signature = signature(signed.as_ref());
            ("ledger", format!("head {head_seq}:{} told to others, {signature}", digest(head)))
        }
        Event::Requested { .. }
        | Event::Decided { .. }
        | Event::Activating { .. }
        | Event::ActivationFailed { .. }
        | Event::Active { .. }
        | Event::EffectApplied { .. }
        | Event::EffectUndone { .. }
        | Event::Extended { .. }
        | Event::Released { .. }
        | Event::SessionStarting { .. }
        | Event::Authenticated { .. }
        | Event::AuthenticationFailed { .. }
        | Event::SessionExit { .. }
        | Event::LeftRunning { .. }
        | Event::Signalled { .. }
        | Event::LoginOpened { .. }
        | Event::LoginClosed { .. }
        | Event::Edited { .. }
        | Event::Ended { .. }
        | Event::Closed { .. }
        | Event::CleanupFailed { .. }
        | Event::Residue { .. }
        | Event::ResidueAcknowledged { .. }
        | Event::Asked { .. }
        | Event::Approved { .. }
        | Event::Refused { .. }
        | Event::Lapsed { .. }
        | Event::Withdrawn { .. }
        | Event::Escalated { .. }
        | Event::Reminded { .. }
        | Event::DeliveryFailed { .. }
        | Event::Reviewed { .. }
        | Event::NotExtended { .. }
        | Event::Locked { .. }
        | Event::Unlocked { .. }
        | Event::SpawnerRefused { .. } => ("", String::new()),
    };
    (label.to_owned(), text)
}

fn account((uid, user): (Uid, Option<&str>)) -> String {
    user.map_or_else(|| format!("#{}", uid.0), visible)
}

/// `bob (fresh proof on this host), at most 10 min; more are needed`
fn approved(who: (Uid, Option<&str>), (proof, key): (Proof, Option<String>), limits: &Limits, enough: bool) -> String {
    let how = match proof {
        Proof::Signed => key.map_or_else(|| "signed".to_owned(), |key| format!("signed, {key}")),
        Proof::Local(Auth::Fresh) => "fresh proof on this host".to_owned(),
        Proof::Local(Auth::Cached) => "proof of a while ago on this host".to_owned(),
        Proof::Local(Auth::None) => "no proof asked".to_owned(),
    };
    let window = limits.window.map_or_else(String::new, |window| format!(", at most {}", exact(window)));
    let record = limits.record.map_or("", |_| ", to be recorded");
    let more = if enough { "" } else { "; more are needed" };
    format!("by {} ({how}){window}{record}{more}", account(who))
}

fn signature(signed: Option<&Signed>) -> &'static str {
    if signed.is_some() { "signed" } else { "not signed" }
}

/// What was asked, in words: a command line, the kind of shell, or the role.
pub(crate) fn asked(kind: Kind, argv: &[jitsudo_bytes::Bytes], role: Option<&str>) -> String {
    let words = command(argv);
    match (kind, argv.is_empty()) {
        (Kind::Shell, true) => "a shell".to_owned(),
        (Kind::LoginShell, true) => "a login shell".to_owned(),
        (Kind::Shell, false) => format!("a shell: {words}"),
        (Kind::LoginShell, false) => format!("a login shell: {words}"),
        (Kind::Edit, _) => format!("edit {words}"),
        (Kind::Role, _) => role.map_or_else(|| "a role".to_owned(), |role| format!("role {}", visible(role))),
        (Kind::Validate, _) => "proof of identity".to_owned(),
        (Kind::Approve, _) => "a yes to a request of another".to_owned(),
        (Kind::Command, _) => words,
    }
}

/// Why not, in a few words; the deny's name where the decider gives it.
pub(crate) fn refusal(denial: &Denial) -> String {
    let cause = match &denial.cause {
        Cause::NoPolicy => "no policy is applied",
        Cause::NotCovered => "no rule covers it",
        Cause::Denied => "a rule forbids it",
        Cause::NotNow => "outside the hours of its rule",
        Cause::ReasonNeeded => "a reason is needed",
        Cause::TicketNeeded => "a ticket is needed",
        Cause::WindowTooLong => "the asked window is too long",
        Cause::BudgetUsed => "the budget of its rule is used up",
        Cause::ReviewNeeded => "an earlier break-glass was not reviewed",
        Cause::UnsafeProgram => "others can write the program",
        Cause::UnknownTarget => "no such account or group here",
        Cause::NoGroup => "a group that the role lends is not here",
        Cause::Unrunnable(NoExecutable::NotFound) => "command not found",
        Cause::Unrunnable(NoExecutable::NotExecutable) => "the program may not be executed",
        Cause::Unrunnable(NoExecutable::NotRegular) => "the program is not a regular file",
        Cause::Unrunnable(NoExecutable::NotAsked) => "there is no program to run",
        Cause::Environment => "a variable that the role does not let through",
        Cause::WorkingDirectory => "a directory that the role does not let through",
        Cause::Obligation => "an obligation that it cannot honour",
        Cause::Locked => "the account is locked",
        Cause::NotSupported => "the rule needs what this version cannot do",
        Cause::Approval => "other people did not give it",
    };
    denial.by.as_ref().map_or_else(|| cause.to_owned(), |by| format!("{cause} (\"{}\")", visible(by)))
}

/// Why something was ended.
pub(crate) fn end_cause(cause: EndCause) -> &'static str {
    match cause {
        EndCause::Finished => "the command is over",
        EndCause::WindowOver => "the time is over",
        EndCause::ClientLost => "the requester's terminal or client went away",
        EndCause::NotStarted => "it never started",
        EndCause::Released => "what it left belongs to the host",
        EndCause::Lost => "the session is gone without a word",
        EndCause::GivenBack => "its requester gave it back",
        EndCause::EndedByOther => "somebody else ended it",
        EndCause::Locked => "its requester was locked",
        EndCause::RuleGone => "the policy does not give it any more",
        EndCause::AccountGone => "the requester's account is not there any more",
        EndCause::Rebooted => "the host was started anew",
    }
}

fn under(policy: &str) -> String {
    format!("policy {}", digest(policy))
}
