//! Accounts and groups of a host change while grants of every kind live: what the account held is over, whatever it is called since, and what
//! was lent is found again by its number.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on must fail")]

use std::time::Duration;

use jitsudo_tests::live::{self, KINDS, Live};
use jitsudo_tests::story::installed_host;
use jitsudo_tests::{Host, package_file, wait_until};

/// Entries, drop-ins and processes that are there though nobody holds anything.
fn left(host: &Host) -> Vec<String> {
    // The files themselves are others since.
    live::left(host).unwrap().into_iter().filter(|line| !line.ends_with(" is another")).collect()
}

fn events(host: &Host, ids: &[String], word: &str) -> usize {
    let log = host.run(&["jitctl", "log", "--all", "--json", "--limit", "100000"]).ok().unwrap_or_default();
    let says = |id: &&String| log.lines().any(|line| line.contains(word) && line.contains(id.as_str()));
    ids.iter().filter(says).count()
}

#[test]
fn identity_nss_02_grants_of_every_kind_are_over_with_their_account_and_lent_groups_are_found_by_number() {
    let host = package_file().and_then(|package| installed_host("renamed", "bookworm", &package));
    let host = host.unwrap_or_else(|error| panic!("{error}"));
    live::prepare(&host, "").unwrap();
    // All but alice's login are bob's.
    for (what, change, repair) in [
        ("locked", "usermod -L bob", "usermod -U bob"),
        ("expired", "usermod -e 1970-01-02 bob", "usermod -e '' bob"),
        (
            "deleted and made again with its uid",
            "cp -a /etc/shadow /root/shadow; u=$(id -u bob); userdel -f bob; useradd -u $u -s /bin/bash bob",
            "cp -a /root/shadow /etc/shadow",
        ),
    ] {
        let live = Live::make(&host, KINDS).unwrap_or_else(|error| panic!("{what}: {error}"));
        let ids = live.ids();
        host.sh(change).ok().unwrap_or_else(|error| panic!("{what}: {error}"));
        let over = || live.gone(&host).unwrap().len();
        assert!(wait_until(Duration::from_secs(30), || over() == KINDS - 1), "{what}: {:?}", live.gone(&host));
        assert!(wait_until(Duration::from_secs(10), || events(&host, &ids, "account_gone") >= KINDS - 2), "{what}");
        host.sh(repair).ok().unwrap();
        live.end(&host).unwrap_or_else(|error| panic!("{what}: {error}"));
        assert!(wait_until(Duration::from_secs(30), || left(&host).is_empty()), "{what}: {:?}", left(&host));
        assert!(wait_until(Duration::from_secs(20), || events(&host, &ids, "\"closed\"") == KINDS), "{what}");
        live::is_sound(&host).unwrap_or_else(|error| panic!("{what}: {error}"));
        println!("{what}: over and closed");
    }
    // The group is another by name: its entry goes all the same.
    let live = Live::make(&host, KINDS).unwrap_or_else(|error| panic!("{error}"));
    host.sh("groupmod -n sound audio").ok().unwrap();
    let ids = live.ids();
    host.sh(&format!("for id in {}; do jitctl end $id; done", ids.join(" "))).ok().unwrap();
    let member = "grep -E '^(sound|audio):.*bob' /etc/group /etc/gshadow";
    assert!(
        wait_until(Duration::from_secs(30), || host.sh(member).output().unwrap().status == 1 && left(&host).is_empty()),
        "{:?}",
        left(&host)
    );
    assert!(wait_until(Duration::from_secs(20), || events(&host, &ids, "\"closed\"") == KINDS));
    host.sh("groupmod -n audio sound").ok().unwrap();
    live::is_sound(&host).unwrap_or_else(|error| panic!("{error}"));
}
