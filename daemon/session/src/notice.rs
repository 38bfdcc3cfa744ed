//! The lines that a requester reads while a session runs and at its end.

use jitsudo_bytes::Bytes;
use jitsudo_core::Timestamp;
use jitsudo_core::event::EndCause;
use jitsudo_core::lends::Effect;
use jitsudo_sys::local_time;

/// How a command is called in a sentence.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Called {
    /// `-s`, `-i`.
    Shell,
    /// Anything else.
    Command,
}

/// Before the end.
pub(crate) fn left(seconds: u64, ends_at: Timestamp) -> String {
    format!("{} left in this window (ends {})", in_words(seconds), clock(ends_at, true))
}

/// At the end, where what runs may finish.
pub(crate) fn may_finish(until: Timestamp) -> String {
    format!("the time is over; this command may finish until {}", clock(until, true))
}

/// Whole ones of the largest unit: more than is left is never said.
fn in_words(seconds: u64) -> String {
    let (count, unit) = match seconds {
        0..60 => (seconds, "second"),
        60..7200 => (seconds / 60, "minute"),
        _ => (seconds / 3600, "hour"),
    };
    format!("{count} {unit}{}", if count == 1 { "" } else { "s" })
}

/// A role is held from now on, and what of the host was changed for it does.
pub(crate) fn granted(role: &str, ends_at: Timestamp, id: &str, lent: &[Effect]) -> String {
    let role = Bytes::from(role).visible();
    let mut text = format!("granted: {role} until {} ({id})\n", clock(ends_at, false));
    let groups: Vec<String> = lent
        .iter()
        .filter_map(|effect| match effect {
            Effect::Membership(group) => Some(Bytes::from(group.as_str()).visible()),
            Effect::Sudoers(_) | Effect::SudoersWithoutEnd(_) | Effect::Login(_) => None,
        })
        .collect();
    if let Some(first) = groups.first() {
        let named = if groups.len() == 1 { "group" } else { "groups" };
        text.push_str(&format!(
            "  you are in {named} {}: new logins have it, shells that run now do not (`newgrp {first}`, or log in again)\n",
            groups.join(", ")
        ));
    }
    for line in lent.iter().filter_map(Effect::sudoers_lines).flatten() {
        let line = Bytes::from(line.as_str()).visible();
        let line = if line == "ALL" { "every command as root".to_owned() } else { line };
        text.push_str(&format!("  sudo now gives: {line}\n"));
    }
    if lent.iter().any(|effect| matches!(effect, Effect::SudoersWithoutEnd(_))) {
        text.push_str("  where sudo itself ends no line, it gives them until jitsudo takes them back\n");
    }
    text
}

/// A role that is held is held for longer.
pub(crate) fn extended(role: &str, ends_at: Timestamp, id: &str) -> String {
    let role = Bytes::from(role).visible();
    format!("extended: {role} until {} ({id})\n", clock(ends_at, false))
}

/// At the end: how many programs beside the command itself.
pub(crate) fn over(cause: EndCause, called: Called, others: usize) -> Option<String> {
    let why = match cause {
        EndCause::WindowOver => "the time is over",
        EndCause::GivenBack => "the grant was given back",
        EndCause::EndedByOther => "the grant was ended by another",
        EndCause::Locked => "your account was locked",
        EndCause::RuleGone => "the rules do not give it any more",
        EndCause::AccountGone => "your account is gone",
        EndCause::Lost => "the session was ended",
        EndCause::Finished | EndCause::ClientLost | EndCause::NotStarted | EndCause::Released | EndCause::Rebooted => {
            return None;
        }
    };
    let this = if called == Called::Shell { "this shell" } else { "this command" };
    Some(match others {
        0 => format!("{why}; {this} was ended"),
        1 => format!("{why}; {this} and 1 program it started were ended"),
        count => format!("{why}; {this} and {count} programs it started were ended"),
    })
}

/// After the command, when programs of it run on.
pub(crate) fn still_running(names: &[Bytes], count: usize, ends_at: Timestamp) -> String {
    const SHOWN: usize = 5;
    let mut list: Vec<String> = names.iter().take(SHOWN).map(Bytes::visible).collect();
    if count > list.len() {
        list.push("…".to_owned());
    }
    let (list, at) = (list.join(", "), clock(ends_at, false));
    if count == 1 {
        format!("1 program still runs under this grant and will be ended at {at} ({list})")
    } else {
        format!("{count} programs still run under this grant and will be ended at {at} ({list})")
    }
}

fn clock(at: Timestamp, seconds: bool) -> String {
    match local_time::of(at.as_second()) {
        Some(time) if seconds => format!("{:02}:{:02}:{:02}", time.hour, time.minute, time.second),
        Some(time) => format!("{:02}:{:02}", time.hour, time.minute),
        None => at.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_count_and_name_programs() {
        let at = Timestamp::from_second(1_790_000_000).unwrap();
        let names = [Bytes::from("apache2"), Bytes::from("rota\u{1b}telogs")];
        let line = still_running(&names, 2, at);
        assert!(line.starts_with("2 programs still run under this grant and will be ended at "), "{line}");
        assert!(line.ends_with(" (apache2, rota\\u{1b}telogs)"), "{line}");
        assert!(still_running(&names[..1], 1, at).starts_with("1 program still runs"));
        assert!(still_running(&names, 9, at).ends_with(", …)"));
        let said = |cause, called, others| over(cause, called, others).unwrap_or_default();
        assert_eq!(
            said(EndCause::WindowOver, Called::Shell, 2),
            "the time is over; this shell and 2 programs it started were ended"
        );
        assert_eq!(said(EndCause::WindowOver, Called::Command, 0), "the time is over; this command was ended");
        assert_eq!(
            said(EndCause::GivenBack, Called::Command, 1),
            "the grant was given back; this command and 1 program it started were ended"
        );
        let words = [300, 60, 90, 1, 45, 5400, 7200].map(in_words);
        assert_eq!(words, ["5 minutes", "1 minute", "1 minute", "1 second", "45 seconds", "90 minutes", "2 hours"]);
        assert!(left(60, at).starts_with("1 minute left in this window (ends "));
        assert_eq!(over(EndCause::ClientLost, Called::Command, 0), None);
    }
}
