//! Roles: what the requester may ask for.

use jitsudo_core::decision::{Auth, Record};
use jitsudo_core::offers::{Offer, Opening};

use super::joined;
use crate::text::{Tone, View, dotted, exact, visible, wrapped};

/// Commands shown of one role; `--json` has all.
const SHOWN: usize = 12;

/// A block for each offer.
pub(crate) fn list(offers: &[Offer], view: &View) -> String {
    offers.iter().map(|offer| block(offer, view)).collect()
}

fn block(offer: &Offer, view: &View) -> String {
    let role = visible(&offer.role);
    let mut text = view.paint(Tone::Strong, &role);
    if let Some(summary) = &offer.summary {
        text.push_str("  ");
        text.push_str(&wrapped(&visible(summary), role.chars().count() + 2, 4));
    }
    text.push('\n');
    text.push_str(&dotted(&terms(offer, view), 4));
    text.push('\n');
    for line in offer.commands.iter().take(SHOWN) {
        text.push_str(&format!("    {}\n", wrapped(&visible(line), 4, 8)));
    }
    if let Some(more) = offer.commands.len().checked_sub(SHOWN).filter(|more| *more > 0) {
        text.push_str(&format!("    and {more} more; --json shows all\n"));
    }
    text
}

fn terms(offer: &Offer, view: &View) -> Vec<String> {
    let mut parts = vec![exact(offer.window), approval(offer)];
    if let Some(extend) = offer.extend {
        parts.push(format!("extended by {} at once, {} in all", exact(extend.each), exact(extend.total)));
    }
    if !offer.run_as.is_empty() {
        parts.push(format!("as {}", joined(&offer.run_as)));
    }
    match offer.auth {
        Auth::None => {}
        Auth::Cached => parts.push("password".to_owned()),
        Auth::Fresh => parts.push("fresh password".to_owned()),
    }
    if offer.reason_needed {
        parts.push("reason needed".to_owned());
    }
    if offer.ticket_needed {
        parts.push("ticket needed".to_owned());
    }
    match offer.record {
        Record::None => {}
        Record::Activity => parts.push("activity recorded".to_owned()),
        Record::Terminal => parts.push("terminal recorded".to_owned()),
    }
    if offer.break_glass {
        parts.push("only with --break-glass".to_owned());
    }
    if offer.limited {
        parts.push("part of it forbidden by another rule".to_owned());
    }
    parts.extend(closed(offer, view));
    parts.push(format!("rule \"{}\"", visible(&offer.rule)));
    parts
}

fn approval(offer: &Offer) -> String {
    match (offer.approvals, offer.approvers.is_empty()) {
        (0, _) => "no approval".to_owned(),
        (_, false) => joined(&offer.approvers),
        (1, true) => "1 approval".to_owned(),
        (count, true) => format!("{count} approvals"),
    }
}

fn closed(offer: &Offer, view: &View) -> Option<String> {
    match &offer.opening {
        Opening::Open => None,
        Opening::Closed { hours, opens_at: Some(opens) } => {
            Some(format!("closed now: {} (opens {})", visible(hours), view.until(*opens)))
        }
        Opening::Closed { hours, opens_at: None } => Some(format!("closed now: {}", visible(hours))),
    }
}

/// `web-operator (30 min, no approval)`.
pub(crate) fn short(offer: &Offer, view: &View) -> String {
    let mut words = vec![exact(offer.window), approval(offer)];
    words.extend(closed(offer, view));
    format!("{} ({})", visible(&offer.role), words.join(", "))
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::text::tests::view;

    pub(crate) fn offer(role: &str) -> Offer {
        Offer {
            role: role.to_owned(),
            summary: Some("Look after nginx".to_owned()),
            rule: "on-call runs the web tier".to_owned(),
            window: 1800,
            auth: Auth::None,
            record: Record::None,
            approvals: 0,
            approvers: Vec::new(),
            run_time: 43_200,
            limited: false,
            extend: None,
            reason_needed: false,
            ticket_needed: false,
            break_glass: false,
            opening: Opening::Open,
            run_as: vec!["root".to_owned()],
            commands: vec!["/usr/bin/systemctl {restart,reload} nginx".to_owned()],
        }
    }

    #[test]
    fn a_role_says_how_long_by_whom_as_whom_and_what() {
        assert_eq!(
            list(&[offer("web-operator")], &view()),
            "web-operator  Look after nginx\n    30 min · no approval · as root · rule \"on-call runs the web tier\"\n    \
             /usr/bin/systemctl {restart,reload} nginx\n"
        );
    }

    #[test]
    fn needs_are_named_before_they_stop_somebody() {
        let needy = Offer {
            approvals: 2,
            approvers: vec!["sre-leads".to_owned(), "security".to_owned()],
            run_time: 43_200,
            limited: false,
            extend: Some(jitsudo_core::offers::Extend { each: 900, total: 3600 }),
            reason_needed: true,
            ticket_needed: true,
            auth: Auth::Fresh,
            record: Record::Terminal,
            opening: Opening::Closed {
                hours: "mon-fri 08:00-18:00 Europe/Paris".to_owned(),
                opens_at: Some("2026-10-04T21:27:00Z".parse().unwrap()),
            },
            commands: vec!["a shell".to_owned()],
            summary: None,
            ..offer("root-shell")
        };
        assert_eq!(
            list(&[needy], &view()),
            "root-shell\n    30 min · sre-leads and security · extended by 15 min at once, 1 h in all\n    \
             as root · fresh password · reason needed · ticket needed · terminal recorded\n    \
             closed now: mon-fri 08:00-18:00 Europe/Paris (opens in 9 h 12 min)\n    \
             rule \"on-call runs the web tier\"\n    a shell\n"
        );
    }

    #[test]
    fn many_commands_are_counted_not_poured_out() {
        let many = Offer { commands: (0..20).map(|n| format!("/bin/c{n}")).collect(), ..offer("r") };
        let text = list(&[many], &view());
        assert!(text.ends_with("/bin/c11\n    and 8 more; --json shows all\n"), "{text}");
    }
}
