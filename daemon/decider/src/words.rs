//! What requesters read: denials and our own faults. Pure.
//!
//! MUST: a denial names what would be needed and never other people's rules; text of peers is escaped
//! (`audit_log_01_*`, `denials_never_name_the_rule_that_denied`); a path that nobody let them run sounds the same to them whether it exists
//! or not (`info_leak_01_*`).

use jitsudo_bytes::Bytes;
use jitsudo_core::decision::{Cause, Denial};
use jitsudo_core::facts::{Fact, Facts, NoExecutable};
use jitsudo_core::id::AccessId;
use jitsudo_core::request::{Kind, Request};
use jitsudo_ledger::AppendError;
use jitsudo_link::spawner::LookFailure;
use jitsudo_protocol::client::{Denied, Fault, FaultCode};

/// Longest command shown, characters.
const MAX_SHOWN: usize = 200;

/// Whether a denial is in the ledger.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Recorded<'a> {
    /// Under this id.
    As(&'a AccessId),
    /// One of many that are only counted.
    Counted,
    /// The ledger cannot take it.
    Not,
}

/// A denial as the requester reads it.
pub(crate) fn denied(denial: &Denial, facts: &Facts, request: &Request, recorded: Recorded<'_>) -> Denied {
    let act = what(facts, request);
    let host = facts.host.split('.').next().unwrap_or_default();
    let on = format!("{act} on {host}");
    let name = request.argv.first().map(Bytes::visible).unwrap_or_default();
    let mut detail = denial.detail.iter().map(|line| Bytes::from(line.as_str()).visible());
    let headline = match &denial.cause {
        Cause::NoPolicy => "this host has no rules yet".to_owned(),
        Cause::NotCovered
        | Cause::Denied
        | Cause::UnsafeProgram
        | Cause::WorkingDirectory
        | Cause::Obligation
        | Cause::NoGroup => format!("not allowed: {on}"),
        // sudo's words: scripts know them.
        Cause::Environment => format!(
            "sorry, you are not allowed to set the following environment variables: {}",
            detail.next().unwrap_or_default()
        ),
        Cause::NotNow => format!("not now: {}", detail.next().unwrap_or(on)),
        Cause::ReasonNeeded => format!("a reason is needed: {on}"),
        Cause::TicketNeeded => format!("a ticket is needed: {on}"),
        Cause::WindowTooLong => format!("not for that long: {on}"),
        Cause::BudgetUsed => format!("the budget is used up: {on}"),
        Cause::ReviewNeeded => format!("not before a review: {on}"),
        Cause::UnknownTarget => unknown(request),
        Cause::Unrunnable(NoExecutable::NotFound) => format!("{name}: command not found"),
        Cause::Unrunnable(NoExecutable::NotExecutable) => format!("{name}: cannot be executed by the target account"),
        Cause::Unrunnable(NoExecutable::NotRegular) => format!("{name}: not a regular file"),
        Cause::Unrunnable(NoExecutable::NotAsked) => "no command was given".to_owned(),
        Cause::NotSupported => format!("not supported yet: {on}"),
        Cause::Locked => format!("locked: {on} is not given"),
        Cause::Approval if request.kind == Kind::Approve => "not approved".to_owned(),
        Cause::Approval => format!("not approved: {on}"),
    };
    let step = match &denial.cause {
        Cause::NoPolicy => Some("an administrator runs `jitctl policy apply` (as root)".to_owned()),
        // The detail says what to do.
        Cause::ReasonNeeded | Cause::TicketNeeded | Cause::WindowTooLong | Cause::BudgetUsed => None,
        Cause::ReviewNeeded => Some("who may review it runs `jitctl review`".to_owned()),
        Cause::Locked => Some("who has the duty `lock`, or root, lifts it: jitctl unlock ACCOUNT".to_owned()),
        Cause::UnknownTarget | Cause::NoGroup | Cause::Unrunnable(_) | Cause::NotSupported | Cause::Approval => None,
        Cause::NotCovered
        | Cause::Denied
        | Cause::NotNow
        | Cause::UnsafeProgram
        | Cause::Environment
        | Cause::WorkingDirectory
        | Cause::Obligation => Some("`jitctl roles` shows what you may ask for".to_owned()),
    };
    let record = match recorded {
        Recorded::As(id) => Some(format!("this attempt is recorded as {}", id.short())),
        Recorded::Counted => Some("attempts as frequent as these are counted, not listed".to_owned()),
        Recorded::Not => Some("this attempt could not be recorded".to_owned()),
    };
    let hint = [step, record].into_iter().flatten().collect::<Vec<_>>().join("; ");
    let id = match recorded {
        Recorded::As(id) => Some(id.to_string()),
        Recorded::Counted | Recorded::Not => None,
    };
    Denied {
        headline,
        // There the headline says it all.
        detail: detail.filter(|_| !matches!(denial.cause, Cause::NoPolicy | Cause::UnknownTarget)).collect(),
        hint: (!hint.is_empty()).then_some(hint),
        id,
        by_person: false,
        unanswered: false,
    }
}

/// Text of others.
pub(crate) fn visible(text: &str) -> String {
    Bytes::from(text).visible()
}

/// `/usr/bin/systemctl restart ssh as root`, `a root shell`. A path is shown as it was asked for: whether it is there and where its links
/// lead is not for everybody to know.
pub(crate) fn what(facts: &Facts, request: &Request) -> String {
    let by_path = request.argv.first().is_some_and(|name| name.0.contains(&b'/'));
    let program = match &facts.executable {
        Fact::Is(Ok(found)) if !by_path => Some(found.path.visible()),
        Fact::Is(_) | Fact::Unknown => None,
    };
    let target = match &facts.target {
        Fact::Is(Some(target)) => Bytes::from(target.name.as_str()).visible(),
        Fact::Is(None) | Fact::Unknown => target_asked(request),
    };
    act(request.kind, &request.argv, program, &target, request.role.as_deref())
}

/// An act in words.
pub(crate) fn act(kind: Kind, argv: &[Bytes], program: Option<String>, target: &str, role: Option<&str>) -> String {
    match kind {
        Kind::Command => {
            let first = program.or_else(|| argv.first().map(quoted)).unwrap_or_default();
            let rest = argv.iter().skip(1).map(quoted);
            format!("{} as {target}", shortened(&std::iter::once(first).chain(rest).collect::<Vec<_>>().join(" ")))
        }
        Kind::Shell if argv.is_empty() => format!("a {target} shell"),
        Kind::LoginShell if argv.is_empty() => format!("a {target} login shell"),
        Kind::Shell | Kind::LoginShell => format!("a {target} shell for `{}`", shortened(&words(argv))),
        Kind::Edit => format!("editing {} as {target}", shortened(&words(argv))),
        Kind::Validate => "anything".to_owned(),
        Kind::Approve => "a yes to a request of another".to_owned(),
        Kind::Role => format!("role {}", Bytes::from(role.unwrap_or_default()).visible()),
    }
}

/// Words with blanks between them, escaped, each quoted where it must be.
pub(crate) fn words(argv: &[Bytes]) -> String {
    argv.iter().map(quoted).collect::<Vec<_>>().join(" ")
}

fn quoted(word: &Bytes) -> String {
    let visible = word.visible();
    if !visible.is_empty() && !visible.contains([' ', '\'', '"', '`', '$', '&', '|', ';', '<', '>', '(', ')']) {
        return visible;
    }
    format!("'{}'", visible.replace('\'', "'\\''"))
}

fn shortened(text: &str) -> String {
    if text.chars().count() <= MAX_SHOWN {
        return text.to_owned();
    }
    text.chars().take(MAX_SHOWN - 1).chain(['…']).collect()
}

fn target_asked(request: &Request) -> String {
    let visible = |text: &String| Bytes::from(text.as_str()).visible();
    match (&request.user, &request.group) {
        (None, None) => "root".to_owned(),
        (Some(user), None) => visible(user),
        (None, Some(group)) => format!(":{}", visible(group)),
        (Some(user), Some(group)) => format!("{}:{}", visible(user), visible(group)),
    }
}

/// What is wrong with a ledger that lacks a line that was signed.
pub(crate) fn rolled_back(known: u64, found: u64) -> String {
    if known > found {
        format!("the ledger was rolled back: event {known} was signed, the last one here is {found}")
    } else {
        format!("the ledger was exchanged: event {known} was signed, and is another one here")
    }
}

/// Nothing is given while the ledger may not be the one that was signed.
pub(crate) fn untrusted_ledger(cause: &str) -> Fault {
    Fault {
        code: FaultCode::Ledger,
        message: format!("cannot give anything: {}", Bytes::from(cause).visible()),
        hint: Some("root looks why (`jitctl audit verify`), then: jitctl audit acknowledge --reason '…'".to_owned()),
    }
}

/// sudo's words, which scripts know.
fn unknown(request: &Request) -> String {
    let visible = |text: &String| Bytes::from(text.as_str()).visible();
    match (&request.user, &request.group) {
        (None, None) => "unknown user root".to_owned(),
        (Some(user), None) => format!("unknown user {}", visible(user)),
        (None, Some(group)) => format!("unknown group {}", visible(group)),
        (Some(user), Some(group)) => format!("unknown user {} or group {}", visible(user), visible(group)),
    }
}

/// The ledger cannot take what would have to be recorded before anything is given.
pub(crate) fn ledger_fault(error: &AppendError) -> Fault {
    let (cause, hint) = match error {
        AppendError::Full => (
            "the ledger is full (No space left on device)".to_owned(),
            "free space on the file system of /var/lib/jitsudo",
        ),
        AppendError::Busy => ("too many requests wait for the disk".to_owned(), "try again in a moment"),
        AppendError::Write(_)
        | AppendError::Sync(_)
        | AppendError::Unsure(_)
        | AppendError::Unfit
        | AppendError::Stopped => (error.to_string(), "jitctl status; journalctl -u jitsudod"),
    };
    Fault {
        code: FaultCode::Ledger,
        message: format!("cannot record the request: {cause}"),
        hint: Some(format!("nothing is given without a record: {hint}")),
    }
}

/// The spawner is away, busy, or will not.
pub(crate) fn spawner_fault(cause: &str) -> Fault {
    Fault {
        code: FaultCode::Spawner,
        message: format!("cannot reach jitsudo-spawn: {cause}"),
        hint: Some("systemctl status jitsudo-spawn".to_owned()),
    }
}

/// Facts could not be had.
pub(crate) fn look_fault(failure: &LookFailure) -> Fault {
    match failure {
        LookFailure::TimedOut => Fault {
            code: FaultCode::Directory,
            message: "cannot look up accounts: the directory did not answer within 2 s".to_owned(),
            hint: Some("getent passwd, getent group; systemctl status nscd sssd".to_owned()),
        },
        LookFailure::PeerGone => Fault {
            code: FaultCode::Credentials,
            message: "cannot tell who asks: the asking process is gone".to_owned(),
            hint: None,
        },
        LookFailure::Refused(cause) => Fault {
            code: FaultCode::Credentials,
            message: format!("cannot take the request: {}", Bytes::from(cause.as_str()).visible()),
            hint: None,
        },
        LookFailure::Failed(cause) => Fault {
            code: FaultCode::Spawner,
            message: format!("cannot learn the facts: {}", Bytes::from(cause.as_str()).visible()),
            hint: Some("journalctl -u jitsudo-spawn".to_owned()),
        },
        LookFailure::Busy => Fault {
            code: FaultCode::Busy,
            message: "cannot take the request: too many are waiting".to_owned(),
            hint: Some("try again in a moment".to_owned()),
        },
    }
}

/// The account or the host has no room for more.
pub(crate) fn busy(what: &str) -> Fault {
    Fault { code: FaultCode::Busy, message: format!("cannot take the request: {what}"), hint: None }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::samples;

    fn id() -> AccessId {
        AccessId::new(1_790_000_000_000, [7; 10])
    }

    fn denial(cause: Cause) -> Denial {
        Denial { cause, detail: vec!["your role web-operator covers `x`".into()], by: Some("secret rule".into()) }
    }

    #[test]
    fn not_covered_reads_as_experience_shows_it() {
        let request = samples::request(&["systemctl", "restart", "ssh"]);
        let mut facts = samples::facts();
        samples::program(&mut facts, "/usr/bin/systemctl");
        facts.host = "web-1.example.com".into();
        let id = id();
        let denied = denied(&denial(Cause::NotCovered), &facts, &request, Recorded::As(&id));
        assert_eq!(denied.headline, "not allowed: /usr/bin/systemctl restart ssh as root on web-1");
        assert_eq!(denied.detail, ["your role web-operator covers `x`"]);
        let hint = format!("`jitctl roles` shows what you may ask for; this attempt is recorded as {}", id.short());
        assert_eq!(denied.hint, Some(hint));
        assert_eq!(denied.id, Some(id.to_string()));
    }

    #[test]
    fn closed_hours_are_the_headline() {
        let detail = vec!["role web-operator opens mon-fri 08:00-18:00 Europe/Paris (in 9 h)".into(), "more".into()];
        let (facts, request) = (samples::facts(), samples::request(&["id"]));
        let denial = Denial { cause: Cause::NotNow, detail, by: None };
        let answer = denied(&denial, &facts, &request, Recorded::Counted);
        assert_eq!(answer.headline, "not now: role web-operator opens mon-fri 08:00-18:00 Europe/Paris (in 9 h)");
        assert_eq!(answer.detail, ["more"]);
    }

    #[test]
    fn info_leak_01_path_is_shown_as_asked_whether_it_is_there_or_not() {
        let id = id();
        let request = samples::request(&["/root/secret/../tool", "x"]);
        let mut facts = samples::facts();
        let there = denied(&denial(Cause::NotCovered), &facts, &request, Recorded::As(&id));
        facts.executable = Fact::Is(Err(NoExecutable::NotFound));
        let absent = denied(&denial(Cause::NotCovered), &facts, &request, Recorded::As(&id));
        assert_eq!(format!("{there:?}"), format!("{absent:?}"));
        assert!(there.headline.starts_with("not allowed: /root/secret/../tool x as root"), "{}", there.headline);
    }

    #[test]
    fn host_without_rules_says_what_an_administrator_does() {
        let id = id();
        let answer = denied(&denial(Cause::NoPolicy), &samples::facts(), &samples::request(&["id"]), Recorded::As(&id));
        assert_eq!(answer.headline, "this host has no rules yet");
        assert_eq!(answer.detail, Vec::<String>::new());
        assert!(answer.hint.unwrap().starts_with("an administrator runs `jitctl policy apply` (as root)"));
    }

    #[test]
    fn denials_never_name_the_rule_that_denied() {
        for cause in [Cause::Denied, Cause::NotCovered, Cause::NotNow, Cause::Obligation, Cause::NotSupported] {
            let facts = samples::facts();
            let answer = denied(&denial(cause), &facts, &samples::request(&["id"]), Recorded::Counted);
            assert!(!format!("{answer:?}").contains("secret rule"));
            assert_eq!(answer.id, None);
        }
    }

    #[test]
    fn audit_log_01_control_characters_are_escaped_and_long_lines_cut() {
        let request = samples::request(&["id", "a\x1b[2J\nroot", "two words", "", &"x".repeat(5000)]);
        let mut facts = samples::facts();
        facts.executable = Fact::Unknown;
        let text = what(&facts, &request);
        assert!(text.starts_with("id a\\u{1b}[2J\\u{a}root 'two words' '' xxx"), "{text}");
        assert!(text.chars().count() < 230 && text.ends_with("… as root"));
    }

    #[test]
    fn full_ledger_says_so_and_what_to_do() {
        let fault = ledger_fault(&AppendError::Full);
        assert_eq!(fault.message, "cannot record the request: the ledger is full (No space left on device)");
        assert!(fault.hint.unwrap().contains("free space"));
    }

    #[test]
    fn shells_and_roles_have_names() {
        let shell = |kind, argv: &[&str]| {
            let mut request = samples::request(argv);
            request.kind = kind;
            what(&samples::facts(), &request)
        };
        assert_eq!(shell(Kind::Shell, &[]), "a root shell");
        assert_eq!(shell(Kind::LoginShell, &[]), "a root login shell");
        assert_eq!(shell(Kind::Shell, &["id -u"]), "a root shell for `'id -u'`");
        assert_eq!(shell(Kind::Edit, &["/etc/hosts"]), "editing /etc/hosts as root");
    }
}
