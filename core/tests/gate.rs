//! The gate: which accounts are gated, who is behind a login, which role lets them in.

#![expect(clippy::unwrap_used, reason = "a policy that is taken must fail the test")]

mod scene;

use jitsudo_core::gate::{Account, Gated, Person, accounts, is_of_another, lets_in, owner, owner_of_key, roles};
use jitsudo_core::name::Uid;
use jitsudo_core::policy::Policy;

const RULES: &str = r##"
[people.alice]
accounts = ["alice", "alice-adm", "#1010"]
ssh-keys = ["ssh-ed25519 AAAAalice alice@laptop", "ssh-ed25519 AAAAshared"]
[people.bob]
accounts = ["zoe", "bob"]
ssh-keys = ["ssh-ed25519 AAAAbob", "ssh-ed25519 AAAAshared"]
[people.carol]
accounts = ["carol"]
[roles.own-admin]
login = ["@self"]
[roles.admin-too]
includes = ["own-admin"]
run = ["/usr/bin/id"]
[roles.root-login]
login = ["root"]
[roles.web]
run = ["/usr/bin/id"]
[[allow]]
name = "own admin accounts"
who = ["@alice", "@bob"]
roles = ["own-admin", "admin-too", "root-login", "web"]
"##;

fn policy() -> Policy {
    scene::policy(RULES)
}

/// What the compiler says of a policy that it does not take.
fn refused(text: &str) -> String {
    let sources = [scene::file("10.toml", text)];
    let findings = scene::compile(text).unwrap_err();
    findings.iter().map(|finding| finding.render(&sources, false)).collect()
}

fn account(name: &str, uid: u32) -> Account<'_> {
    Account { name, uid: Some(Uid(uid)) }
}

const ALICE: Person<'static> = Person::Named("alice");

#[test]
fn gated_accounts_are_the_named_ones_and_every_persons_but_the_first() {
    let name = |name: &str| Gated::Name(name.to_owned());
    // bob is second in his person's list: the order that was written counts, not the alphabet.
    assert_eq!(accounts(&policy()), [name("alice-adm"), name("bob"), name("root"), Gated::Uid(Uid(1010))]);
    let no_self = scene::policy(&RULES.replace("login = [\"@self\"]", "login = [\"toor\"]"));
    assert_eq!(accounts(&no_self), [name("root"), name("toor")]);
    let none = scene::policy(
        &RULES.replace("login = [\"@self\"]", "shell = true").replace("login = [\"root\"]", "shell = true"),
    );
    assert_eq!(accounts(&none), []);
}

#[test]
fn person_is_settled_by_an_account_or_a_key_of_theirs_alone() {
    let policy = policy();
    assert_eq!(owner(&policy, account("alice-adm", 1002)), Some(ALICE));
    assert_eq!(owner(&policy, account("renamed", 1010)), Some(ALICE));
    let root = account("root", 0);
    assert_eq!(owner(&policy, root), Some(Person::Account(root)));
    assert_eq!(owner_of_key(&policy, "ssh-ed25519", "AAAAalice"), Some(ALICE));
    for (kind, body) in [("ssh-rsa", "AAAAalice"), ("ssh-ed25519", "AAAAalic"), ("ssh-ed25519", "AAAAshared"), ("", "")]
    {
        assert_eq!(owner_of_key(&policy, kind, body), None, "{kind} {body}");
    }
    let twice = scene::policy(&RULES.replace("accounts = [\"carol\"]", "accounts = [\"carol\", \"alice-adm\"]"));
    assert_eq!(owner(&twice, account("alice-adm", 1002)), None, "two people's account settles nobody");
    assert!(is_of_another(&twice, ALICE, account("alice-adm", 1002)));
}

#[test]
fn role_lets_its_holder_into_their_own_accounts_and_the_named_ones() {
    let policy = policy();
    let bob = Person::Named("bob");
    for (role, person, name, uid, expected) in [
        ("own-admin", ALICE, "alice-adm", 1002, true),
        ("admin-too", ALICE, "alice-adm", 1002, true),
        ("own-admin", ALICE, "alice", 1001, false),
        ("own-admin", ALICE, "root", 0, false),
        ("root-login", ALICE, "root", 0, true),
        ("root-login", ALICE, "toor", 0, false),
        ("web", ALICE, "alice-adm", 1002, false),
        ("none", ALICE, "alice-adm", 1002, false),
        ("own-admin", bob, "bob", 1003, true),
        ("own-admin", bob, "alice-adm", 1002, false),
    ] {
        assert_eq!(lets_in(&policy, role, person, account(name, uid)), expected, "{role} {person} {name}");
    }
    assert_eq!(roles(&policy, ALICE, account("alice-adm", 1002)), ["admin-too", "own-admin"]);
    assert_eq!(roles(&policy, bob, account("alice-adm", 1002)), [""; 0]);
}

#[test]
fn account_of_another_person_is_never_entered_and_named_in_no_role() {
    let policy = policy();
    assert!(is_of_another(&policy, Person::Named("bob"), account("alice-adm", 1002)));
    assert!(!is_of_another(&policy, Person::Named("bob"), account("root", 0)));
    let named = RULES.replace("login = [\"root\"]", "login = [\"alice-adm\"]");
    let words = refused(&named);
    assert!(words.contains("lets others enter alice-adm, an account of @alice"), "{words}");
    // Nobody's own second account is one more thing to think over, and no mistake.
    let nobody = "[roles.own]\nlogin = [\"@self\"]\n[[allow]]\nname = \"a\"\nwho = [\"alice\"]\nroles = [\"own\"]\n";
    let warnings = scene::compile(nobody).unwrap().warnings;
    assert!(warnings.iter().any(|one| one.message.contains("no person has a second account")), "{warnings:?}");
}

#[test]
fn login_without_a_person_of_the_policy_is_by_name_alone() {
    let policy = policy();
    let dave = Person::Account(account("dave", 1020));
    assert!(!lets_in(&policy, "own-admin", dave, account("dave", 1020)), "@self needs a person");
    assert!(lets_in(&policy, "root-login", dave, account("root", 0)));
    assert!(!lets_in(&policy, "root-login", dave, account("alice-adm", 1002)));
}
