//! Accounts and groups of a host change while grants of every kind live: what the account held is over, whatever it is called since, and what
//! was lent is found again by its number.
//!
//! A few changes beside one grant of every kind by default; with `JITSUDO_SWEEP=all` all of them, and beside fifty as well.
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
    // What usermod -l does, which does it to nobody who has processes.
    const RENAME: &str = "sed -i 's/\\bbob\\b/robert/g' /etc/passwd /etc/shadow /etc/group /etc/gshadow";
    const NAME_BACK: &str = "sed -i 's/\\brobert\\b/bob/g' /etc/passwd /etc/shadow /etc/group /etc/gshadow";
    let all = std::env::var("JITSUDO_SWEEP").is_ok_and(|which| which == "all");
    let always = [
        ("locked", "usermod -L bob", "usermod -U bob"),
        ("expired", "usermod -e 1970-01-02 bob", "usermod -e '' bob"),
        (
            "deleted and made again with its uid",
            "cp -a /etc/shadow /root/shadow; u=$(id -u bob); userdel -f bob; useradd -u $u -s /bin/bash bob",
            "cp -a /root/shadow /etc/shadow",
        ),
    ];
    let more = [
        ("renamed", RENAME, NAME_BACK),
        (
            "made again with another uid",
            "cp -a /etc/passwd /etc/shadow /root/; userdel -f bob; useradd -u 2099 -M -s /bin/bash bob",
            "userdel bob; cp -a /root/passwd /root/shadow /etc/; groupadd -g $(id -g bob) bob 2>/dev/null; true",
        ),
        (
            "deleted",
            "cp -a /etc/passwd /etc/shadow /root/; userdel -f bob",
            "cp -a /root/passwd /root/shadow /etc/; groupadd -g $(id -g bob) bob 2>/dev/null; true",
        ),
    ];
    // All but alice's login are bob's.
    for (what, change, repair) in always.iter().chain(more.iter().filter(|_| all)) {
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
    // The group is another by name: its entry goes all the same. Or by number, or is none any more, or a new one has its name.
    let more = [
        ("group with another number", "groupmod -g 2901 audio", "groupmod -g 29 audio"),
        ("group deleted", "groupdel audio", "groupadd -g 29 audio"),
        ("group made again", "groupdel audio; groupadd -g 2901 audio", "groupmod -g 29 audio"),
    ];
    let renamed = [("group renamed", "groupmod -n sound audio", "groupmod -n audio sound")];
    for (what, change, repair) in renamed.iter().chain(more.iter().filter(|_| all)) {
        for count in if all { vec![KINDS, 50] } else { vec![KINDS] } {
            let live = Live::make(&host, count).unwrap_or_else(|error| panic!("{what}: {error}"));
            host.sh(change).ok().unwrap();
            let ids = live.ids();
            host.sh(&format!("for id in {}; do jitctl end $id; done", ids.join(" "))).ok().unwrap();
            let member = "grep -E '^(sound|audio):.*bob' /etc/group /etc/gshadow";
            let is_gone = || host.sh(member).output().unwrap().status == 1 && left(&host).is_empty();
            assert!(wait_until(Duration::from_secs(40), is_gone), "{what}: {:?}", left(&host));
            let closed = || events(&host, &ids, "\"closed\"") == count;
            assert!(wait_until(Duration::from_secs(30), closed), "{what}");
            host.sh(repair).ok().unwrap();
            live::is_sound(&host).unwrap_or_else(|error| panic!("{what}: {error}"));
            println!("{what}: {count} ended and closed");
        }
    }
}
