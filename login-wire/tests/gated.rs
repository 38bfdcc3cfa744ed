//! The list of gated accounts: whole, cut, damaged, in pieces.

use jitsudo_login_wire::gated::{Account, Gated, Reader, SERVICES, Says, is_never_gated};
use proptest::prelude::{any, prop, prop_assert, prop_assert_eq, proptest};

const ACCOUNTS: [Account<'static>; 3] = [
    Account { uid: Some(0), name: "root" },
    Account { uid: Some(1002), name: "alice-adm" },
    Account { uid: None, name: "bob-adm" },
];

fn list() -> String {
    Gated { accounts: &ACCOUNTS, services: &["sshd", "su"] }.to_string()
}

fn says(text: &[u8], uid: Option<u32>, name: &str, service: &str) -> Says {
    let mut reader = Reader::new(uid, name.as_bytes(), service.as_bytes());
    reader.feed(text);
    reader.says()
}

#[test]
fn list_is_written_as_documented() {
    let text = "# Written when a policy is applied; see pam_jitsudo(8).\n0 root\n1002 alice-adm\n- bob-adm\nservice sshd\nservice su\nend 5\n";
    assert_eq!(list(), text);
}

#[test]
fn account_is_found_by_uid_or_by_name_and_no_other_is() {
    let found = |uid, name| {
        let says = says(list().as_bytes(), uid, name, "sshd");
        assert!(says.is_whole && says.service && says.any_account);
        says.account
    };
    assert!(found(Some(1002), "alice-adm") && found(Some(1002), "another-name") && found(None, "alice-adm"));
    assert!(found(Some(0), "toor") && found(Some(1009), "bob-adm"), "uid 0's second name; an account made since");
    assert!(!found(Some(1001), "alice") && !found(Some(100), "alice-ad") && !found(None, "1002"));
    assert!(!says(list().as_bytes(), Some(1002), "alice-adm", "ssh").service);
}

#[test]
fn list_that_is_cut_anywhere_is_not_whole() {
    let whole = list();
    for end in 0..whole.len() {
        assert!(!says(&whole.as_bytes()[..end], Some(1002), "alice-adm", "sshd").is_whole, "{end}");
    }
    assert!(says(whole.as_bytes(), Some(1002), "alice-adm", "sshd").is_whole);
}

#[test]
fn line_that_is_missing_added_or_damaged_makes_it_not_whole_and_keeps_the_others() {
    let whole = list();
    for damage in [
        whole.replace("- bob-adm\n", ""),
        whole.replace("end 5", "end 6"),
        whole.replace("end 5", "end 05"),
        whole.replace("service su\n", "service su\n9999 alice-adm\n"),
        whole.replace("- bob-adm", "- bob adm"),
        whole.replace("- bob-adm", "-1 bob-adm"),
        whole.replace("- bob-adm", "4294967296 bob-adm"),
        whole.replace("- bob-adm", &format!("- {}", "b".repeat(400))),
        format!("{whole}1003 bob\n"),
        format!("{whole}\n"),
        whole.replace('\n', "\r\n"),
    ] {
        let says = says(damage.as_bytes(), Some(1002), "x", "sshd");
        assert!(!says.is_whole, "{damage}");
        // With the ends of lines of another system no line reads whole.
        assert_eq!(says.account, !damage.contains('\r'), "{damage}");
    }
}

#[test]
fn services_that_are_no_logins_are_never_gated() {
    assert!(
        ["cron", "atd", "systemd-user", "jitsudo", "jitsudo-i"]
            .iter()
            .all(|service| is_never_gated(service.as_bytes()))
    );
    assert!(!SERVICES.iter().any(|service| is_never_gated(service.as_bytes())));
}

proptest! {
    #[test]
    fn any_bytes_in_any_pieces_say_the_same(bytes in prop::collection::vec(any::<u8>(), 0..600), cut in 0usize..600) {
        let mut reader = Reader::new(Some(0), b"root", b"sshd");
        let (first, second) = bytes.split_at(cut.min(bytes.len()));
        reader.feed(first);
        reader.feed(second);
        prop_assert_eq!(reader.says(), says(&bytes, Some(0), "root", "sshd"));
    }

    #[test]
    fn changed_byte_is_seen_or_changes_no_other_line(place in 0usize..200, value in any::<u8>()) {
        let whole = list();
        let mut bytes = whole.clone().into_bytes();
        let place = place % bytes.len();
        bytes[place] = value;
        let says = says(&bytes, Some(1002), "alice-adm", "sshd");
        let line = whole[..place].matches('\n').count();
        let own = whole.lines().position(|line| line == "1002 alice-adm").unwrap();
        // A newline that goes joins a line with the next.
        prop_assert!(says.account || line == own || line + 1 == own);
    }
}
