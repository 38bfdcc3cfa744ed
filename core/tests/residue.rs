//! Who may say that what a grant may have left was looked at.

mod scene;

use jitsudo_core::facts::{Fact, Facts};
use jitsudo_core::name::Uid;
use jitsudo_core::residue::{NoAcknowledgement, may_acknowledge};
use jitsudo_core::state::Residue;
use scene::{alice, now, policy};

const RULES: &str = r#"
[people.alice]
accounts = ["alice", "alice-adm"]
[[duty]]
who = ["@alice", "bob"]
may = ["end"]
[[duty]]
who = ["carol"]
may = ["review"]
[[duty]]
who = ["dan"]
may = ["see", "lock", "policy", "watch"]
"#;

fn person(name: &str, uid: u32) -> Facts {
    let mut facts = alice();
    facts.requester.uid = Uid(uid);
    facts.requester.name = Fact::Is(name.to_owned());
    facts.requester.loginuid = Fact::Is(Some(Uid(uid)));
    facts.requester.login_name = Fact::Is(Some(name.to_owned()));
    facts
}

fn of(name: &str, uid: u32, loginuid: Option<u32>) -> Residue {
    Residue {
        at: now(),
        uid: Some(Uid(uid)),
        loginuid: loginuid.map(Uid),
        user: Some(name.to_owned()),
        role: None,
        items: Vec::new(),
        count: 1,
        remark: None,
    }
}

#[test]
fn nobody_acknowledges_what_a_grant_of_their_own_left() {
    let policy = policy(RULES);
    let may = |facts: &Facts, residue: &Residue| may_acknowledge(Some(&policy), facts, residue, now());
    let alices = of("alice", 1001, Some(1001));
    for own in [person("alice", 1001), person("alice-adm", 1009)] {
        assert_eq!(may(&own, &alices), Err(NoAcknowledgement::Own));
    }
    // Also not what the account was lent to somebody else for, nor as root that she became.
    assert_eq!(may(&person("alice", 1001), &of("deploy", 1020, Some(1001))), Err(NoAcknowledgement::Own));
    let mut as_root = person("alice", 1001);
    (as_root.requester.uid, as_root.requester.name) = (Uid::ROOT, Fact::Is("root".to_owned()));
    assert_eq!(may(&as_root, &alices), Err(NoAcknowledgement::Own));
    let mut unknown = person("bob", 1002);
    unknown.requester.loginuid = Fact::Unknown;
    assert_eq!(may(&unknown, &alices), Err(NoAcknowledgement::Own), "who it is cannot be told");
}

#[test]
fn residue_is_acknowledged_by_root_and_by_the_duties_end_and_review_alone() {
    let policy = policy(RULES);
    let may = |facts: &Facts| may_acknowledge(Some(&policy), facts, &of("alice", 1001, None), now());
    assert_eq!(may(&person("bob", 1002)), Ok(()));
    assert_eq!(may(&person("carol", 1003)), Ok(()));
    assert_eq!(may(&person("dan", 1004)), Err(NoAcknowledgement::NoDuty));
    let mut root = person("root", 0);
    root.requester.loginuid = Fact::Is(None);
    assert_eq!(may(&root), Ok(()));
    assert_eq!(may_acknowledge(None, &root, &of("alice", 1001, None), now()), Ok(()), "without any policy");
}
