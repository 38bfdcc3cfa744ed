use super::*;
use crate::options::{Asking, Source};
use jitsudo_protocol::act::Remember;
use jitsudo_protocol::session::Prompt;

fn asked(line: &[&str], long: bool) -> List {
    let argv = line.iter().map(|word| word.as_bytes().to_vec()).collect();
    List {
        argv,
        user: None,
        group: None,
        other_user: None,
        long,
        non_interactive: false,
        remember: Remember::Use,
        asking: Asking { source: Source::Stdin, bell: false, prompt: Prompt::default() },
    }
}
fn whose() -> ListItem {
    ListItem::Whose { user: "alice".into(), host: "web-1".into() }
}
fn entry() -> ListEntry {
    ListEntry {
        rule: "alice runs the web tier".into(),
        role: "web-operator".into(),
        users: vec!["root".into()],
        gives: vec![Given::Command("/usr/bin/systemctl {restart,reload} nginx".into()), Given::Shell],
        auth: "none".into(),
        record: "none".into(),
        window: 5400,
        run_time: 43_200,
        ..ListEntry::default()
    }
}
fn told(list: &List, items: Vec<ListItem>) -> Told {
    let items: Vec<ListItem> = std::iter::once(whose()).chain(items).collect();
    tell(Called::Sudo, list, &items)
}
fn of(entry: ListEntry) -> ListItem {
    ListItem::Entry(Box::new(entry))
}

#[test]
fn short_form_has_one_line_a_command_in_sudos_shape() {
    let all = ListEntry {
        users: vec!["ALL".into()],
        groups: vec!["ALL".into()],
        gives: vec![Given::Command("ALL".into())],
        auth: "cached".into(),
        record: "terminal".into(),
        ..entry()
    };
    let other = ListEntry { gives: vec![Given::Other("membership of docker".into())], ..entry() };
    let told = told(&asked(&[], false), vec![of(entry()), of(all), of(other)]);
    assert_eq!(
        told.output,
        "User alice may run the following commands on web-1:\n    \
         (root) NOPASSWD: /usr/bin/systemctl {restart,reload} nginx\n    \
         (root) NOPASSWD: a shell (-s, -i)\n    (ALL : ALL) LOG_OUTPUT: ALL\n"
    );
    assert_eq!((told.complaint.as_str(), told.code), ("", 0));
}

#[test]
fn long_form_has_role_rule_terms_and_what_is_closed() {
    let closed = ListEntry {
        closed: Some("mon-fri 08:00-18:00 Europe/Paris".into()),
        auth: "fresh".into(),
        reason_needed: true,
        approvals: 2,
        approvers: vec!["@sre-leads".into()],
        ..entry()
    };
    let long = told(&asked(&[], true), vec![of(closed.clone())]).output;
    for line in [
        "\n\nSudoers entry: alice runs the web tier\n    Role: web-operator\n    RunAsUsers: root\n    Options: authenticate\n",
        "    Timeout: 43200\n    Window: 1 h 30 min\n    Needs: fresh password, reason (-m), approval by 2 of @sre-leads\n",
        "    Closed: now; opens mon-fri 08:00-18:00 Europe/Paris\n    Commands:\n\t/usr/bin/systemctl",
    ] {
        assert!(long.contains(line), "{line}\nis not in\n{long}");
    }
    let short = told(&asked(&[], false), vec![of(closed)]);
    assert_eq!((short.output.as_str(), short.code), ("", 1));
    assert!(short.complaint.starts_with("Sorry, user alice may not run sudo on web-1.\n  hint: "));
}

#[test]
fn nothing_and_not_yours_are_sudos_words() {
    let none = told(&asked(&[], false), vec![]);
    assert_eq!((none.complaint.as_str(), none.code), ("Sorry, user alice may not run sudo on web-1.\n", 1));
    let of_bob = List { other_user: Some("bob".into()), ..asked(&[], false) };
    let empty = told(&of_bob, vec![]);
    assert_eq!((empty.output.as_str(), empty.code), ("User alice is not allowed to run sudo on web-1.\n", 0));
    let refused = told(&of_bob, vec![ListItem::NotYours]);
    let words = "Sorry, user alice is not allowed to execute 'list' as bob on web-1.\n";
    assert_eq!((refused.complaint.as_str(), refused.code), (words, 1));
    assert_eq!(tell(Called::Sudo, &of_bob, &[ListItem::UnknownUser]).complaint, "sudo: unknown user bob\n");
}

#[test]
fn command_is_answered_by_its_path_or_by_silence() {
    let list = asked(&["id", "-u"], false);
    let path = ListItem::Allowed { path: Bytes::from("/usr/bin/id") };
    assert_eq!(told(&list, vec![of(entry()), path.clone()]).output, "/usr/bin/id -u\n");
    assert_eq!(told(&list, vec![ListItem::NotAllowed]), no(String::new()));
    assert_eq!(told(&list, vec![ListItem::NotFound]).complaint, "sudo: id: command not found\n");
    // Nothing that could be read as a yes: an answer of another daemon, or none.
    assert_eq!(told(&list, vec![of(entry())]).code, 1);
    assert_eq!(tell(Called::Sudo, &list, &[]).code, 1);
    assert_eq!(tell(Called::Sudo, &list, std::slice::from_ref(&path)).code, 1);
    let long = told(&asked(&["id"], true), vec![of(entry()), path]).output;
    assert!(long.starts_with("Sudoers entry: ") && long.ends_with("    Matched: /usr/bin/id\n"), "{long}");
}

#[test]
fn durations_are_in_words() {
    assert_eq!((duration(5400), duration(45), duration(3600)), ("1 h 30 min".into(), "45 s".into(), "1 h".into()));
}
