//! Answers that are signed on another host, with no network between the two: the card goes out, the signature comes back.
#![expect(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test that cannot go on must fail")]

use std::time::Duration;

use ed25519_dalek::{Signer as _, SigningKey};
use jitsudo_tests::story::{apply_policy, installed_host};
use jitsudo_tests::{Host, Options, Output, Root, package_file, wait_until};
use serde_json::Value;
use ssh_key::{HashAlg, SshSig, sha2};

const RULES: &str = r#"
[roles.who]
run = ["/usr/bin/id {-u,-un}"]
[roles.web-operator]
run = ["/usr/bin/systemctl {restart,reload} nginx"]
[roles.root]
shell = true

[[allow]]
name = "root for a while"
who = ["alice"]
roles = ["root"]
grant = "role"
auth = "none"

[[allow]]
name = "a colleague and security"
who = ["alice"]
roles = ["web-operator"]
auth = "none"
[allow.approval]
all = [{ by = "@colleagues" }, { by = "@security" }]
answer-by = "10m"

[[allow]]
name = "security alone"
who = ["alice"]
roles = ["who"]
auth = "none"
[allow.approval]
by = ["@security", "alice-adm"]
answer-by = "10m"
"#;

/// carol is security; her key is on another host. alice has one as well, and so has bob, who is a colleague.
fn policy(people: &[(&str, &str)]) -> String {
    let person = |(name, key): &(&str, &str)| {
        let more = if *name == "alice" { ", \"alice-adm\"" } else { "" };
        format!("[people.{name}]\naccounts = [\"{name}\"{more}]\napproval-keys = [\"{}\"]\n", key.trim())
    };
    let teams = "[teams.colleagues]\nmembers = [\"bob\"]\n[teams.security]\nmembers = [\"carol\"]\n";
    people.iter().map(person).collect::<String>() + teams + RULES
}

fn web(name: &str) -> Host {
    let host = package_file().and_then(|package| installed_host(name, "bookworm", &package));
    host.unwrap_or_else(|error| panic!("{error}"))
}

/// Somebody's own machine: it knows no jitsudo, and no cable is in it.
struct Desk {
    host: Host,
}

impl Desk {
    fn new(name: &str) -> Self {
        let root = Root::debian("bookworm");
        let host = root.and_then(|root| Host::boot(name, &root, Options::default()));
        let host = host.unwrap_or_else(|error| panic!("{error}"));
        let links = "for link in $(ip -o link | cut -d: -f2 | cut -d@ -f1); do ip link set \"$link\" down; done; ip -brief link";
        let links = host.sh(links).ok().unwrap();
        assert!(!links.contains(" UP "), "{links}");
        Self { host }
    }

    /// Makes a key, and gives its public half.
    fn key(&self, name: &str) -> String {
        let line = format!("ssh-keygen -q -t ed25519 -N '' -C {name} -f /root/{name} && cat /root/{name}.pub");
        self.host.sh(&line).ok().unwrap().trim().to_owned()
    }

    /// What `ssh-keygen -Y sign` writes for a text.
    fn sign(&self, key: &str, card: &str) -> String {
        self.sign_in(key, "jitsudo-approval@v1", card)
    }

    fn sign_in(&self, key: &str, namespace: &str, card: &str) -> String {
        self.host.write("/root/card", 0o600, card).unwrap();
        let line =
            format!("cd /root; rm -f card.sig; ssh-keygen -q -Y sign -f {key} -n {namespace} card; cat card.sig");
        self.host.sh(&line).ok().unwrap()
    }
}

fn user(host: &Host, user: &str, line: &str) -> Output {
    host.sh(line).as_user(user).output().unwrap_or_else(|error| panic!("{error}"))
}

/// alice asks and does not wait; the id.
fn asks(host: &Host, line: &str) -> String {
    let asked = user(host, "alice", &format!("jitsudo --no-wait {line}"));
    assert_eq!(asked.status, 75, "{}", asked.both());
    let id = asked.stderr.split_once("the id is ").map(|(_, rest)| rest[..26].to_owned());
    id.unwrap_or_else(|| panic!("{}", asked.both()))
}

/// The text to sign, as its requester carries it away.
fn card(host: &Host, id: &str, more: &str) -> String {
    let output = user(host, "alice", &format!("jitctl show {id} --card {more}"));
    assert_eq!(output.status, 0, "{}", output.both());
    output.stdout
}

/// An account hands a signature in.
fn hands_in(host: &Host, account: &str, id: &str, signature: &str, more: &str) -> Output {
    host.write("/tmp/signature", 0o644, signature).unwrap();
    user(host, account, &format!("jitctl approve {id} --signature /tmp/signature {more}"))
}

/// Nothing comes of it: the screen says why, and so does the ledger.
fn refused(host: &Host, (id, signature, more): (&str, &str, &str), why: &str) {
    let said = hands_in(host, "alice", id, signature, more);
    assert!(said.status == 1 && said.stderr.contains(why), "{why}: {}", said.both());
    let log = host.run(&["jitctl", "log", "--all", "--json", "--limit", "30"]).ok().unwrap();
    let lines = log.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let mut denials = lines.filter(|line| line["event"] == "decided" && line["allowed"] == false);
    let last = denials.next_back().unwrap()["denial"]["detail"][0].as_str().unwrap().to_owned();
    assert!(last.contains(why) && last.contains(&id[20..]), "{why}: {last}");
}

fn events(host: &Host, id: &str) -> Vec<Value> {
    let log = host.run(&["jitctl", "log", id, "--json"]).ok().unwrap();
    log.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// Waits until that is what became of a request.
fn becomes(host: &Host, id: &str, stage: &str) {
    let is = || {
        let shown = user(host, "alice", &format!("jitctl show {id} --json")).stdout;
        serde_json::from_str::<Value>(&shown).is_ok_and(|shown| shown["stage"] == stage)
    };
    assert!(wait_until(Duration::from_secs(30), is), "{id} is not {stage}: {:?}", events(host, id));
}

fn has(host: &Host, id: &str, name: &str) -> bool {
    events(host, id).iter().any(|event| event["event"] == name)
}

#[test]
fn colleague_here_and_security_officer_on_a_host_without_network_say_yes_together() {
    let (host, desk) = (web("here"), Desk::new("desk"));
    let (carol, bob, alice) = (desk.key("carol"), desk.key("bob"), desk.key("alice"));
    apply_policy(&host, &policy(&[("alice", &alice), ("bob", &bob), ("carol", &carol)])).unwrap();
    assert_ne!(desk.host.sh(&format!("ping -c1 -W1 {}", host.address())).output().unwrap().status, 0);
    let nginx = || jitsudo_tests::story::nginx_pid(&host).unwrap();
    let before = nginx();
    std::thread::scope(|scope| {
        let asking = scope.spawn(|| user(&host, "alice", "jitsudo -m 'cert renewed' systemctl restart nginx"));
        let waits = || {
            let listed = user(&host, "bob", "jitctl approve --json").stdout;
            serde_json::from_str::<Value>(&listed).ok().and_then(|all| all[0]["id"].as_str().map(str::to_owned))
        };
        let mut id = None;
        assert!(wait_until(Duration::from_secs(30), || {
            id = waits();
            id.is_some()
        }));
        let id = id.unwrap();
        let card = card(&host, &id, "--for 10m");
        for line in ["answer yes", "host here", "as uid 0 root", "word restart", "reason cert renewed", "at-most 600 s"]
        {
            assert!(card.lines().any(|one| one == line), "{line}: {card}");
        }
        // alice carries the text to carol's desk and what she signed back: who hands it in does not matter.
        let said = hands_in(&host, "alice", &id, &desk.sign("carol", &card), "--for 10m");
        assert!(
            said.status == 0 && said.stdout.contains("approved by carol") && said.stdout.contains("more are needed"),
            "{}",
            said.both()
        );
        let digest = card.lines().find_map(|line| line.strip_prefix("digest ")).unwrap().to_owned();
        let line = format!("jitctl approve {id} --digest {digest}; echo status=$?=");
        let mut terminal = host.sh(&line).as_user("bob").terminal().unwrap();
        terminal.answer_hidden("password for", "bob-pw").unwrap();
        terminal.expect("status=0=").unwrap();
        let output = asking.join().unwrap();
        assert_eq!(output.status, 0, "{}", output.both());
        let signed = events(&host, &id).into_iter().find(|event| event["proof"] == "signed").unwrap();
        assert_eq!((&signed["user"], &signed["person"]), (&"carol".into(), &"carol".into()));
        assert_eq!((&signed["actor"]["name"], &signed["limits"]["window"]), (&"alice".into(), &600.into()));
        assert_eq!(signed["signed"]["card"], card.as_str());
        the_ledger_alone_proves_it(&desk, &signed["signed"], &carol);
    });
    assert_ne!(nginx(), before, "nginx was restarted");
    a_no_is_signed_as_well(&host, &desk);
    a_card_and_its_answer_need_no_file(&host, &desk);
    only_signatures_count_while_the_requester_is_as_good_as_root(&host, &desk);
}

/// Whoever has the event and carol's public key needs nothing of ours to prove that she said so.
fn the_ledger_alone_proves_it(desk: &Desk, signed: &Value, key: &str) {
    let armour: Vec<&[u8]> = signed["signature"].as_str().unwrap().as_bytes().chunks(70).collect();
    let body = armour.into_iter().map(|line| String::from_utf8_lossy(line) + "\n").collect::<String>();
    let armour = format!("-----BEGIN SSH SIGNATURE-----\n{body}-----END SSH SIGNATURE-----\n");
    desk.host.write("/root/event.sig", 0o600, armour).unwrap();
    desk.host.write("/root/event", 0o600, signed["card"].as_str().unwrap()).unwrap();
    desk.host.write("/root/allowed", 0o600, format!("carol {key}\n")).unwrap();
    let verify =
        "ssh-keygen -Y verify -f /root/allowed -I carol -n jitsudo-approval@v1 -s /root/event.sig </root/event";
    let said = desk.host.sh(verify).ok().unwrap();
    assert!(said.starts_with("Good") && said.contains(signed["key"].as_str().unwrap()), "{said}");
}

fn a_no_is_signed_as_well(host: &Host, desk: &Desk) {
    let id = asks(host, "id -u");
    let text = card(host, &id, "--refuse 'not today'");
    assert!(text.contains("answer no\nbecause not today\n"), "{text}");
    host.write("/tmp/signature", 0o644, desk.sign("carol", &text)).unwrap();
    let other = user(host, "bob", &format!("jitctl refuse {id} --reason 'not today' --signature /tmp/signature"));
    assert!(other.status != 0, "bob may not see it: {}", other.both());
    let said = user(host, "alice", &format!("jitctl refuse {id} --reason 'not today' --signature /tmp/signature"));
    assert!(said.status == 0 && said.stdout.contains("refused by carol"), "{}", said.both());
    let refused = events(host, &id).into_iter().find(|event| event["event"] == "refused").unwrap();
    assert_eq!((&refused["user"], &refused["signed"]["card"]), (&"carol".into(), &text.into()));
}

fn a_card_and_its_answer_need_no_file(host: &Host, desk: &Desk) {
    let id = asks(host, "id -un");
    let signature = desk.sign("carol", &card(host, &id, ""));
    let said = user(host, "carol", &format!("jitctl approve {id} --signature - <<'END'\n{signature}END"));
    assert_eq!(said.status, 0, "{}", said.both());
    let used = user(host, "alice", &format!("jitsudo --request {id} id -un"));
    assert_eq!((used.status, used.stdout.as_str()), (0, "root\n"), "{}", used.both());
}

/// Whoever is root here could act as bob; nobody here could sign as bob.
fn only_signatures_count_while_the_requester_is_as_good_as_root(host: &Host, desk: &Desk) {
    let held = user(host, "alice", "jitctl request root --for 5m");
    assert_eq!(held.status, 0, "{}", held.both());
    let id = asks(host, "systemctl reload nginx");
    let text = card(host, &id, "");
    let digest = text.lines().find_map(|line| line.strip_prefix("digest ")).unwrap();
    let here = user(host, "bob", &format!("jitctl approve {id} --digest {digest}"));
    assert!(here.status == 1 && here.stderr.contains("only a signed answer counts"), "{}", here.both());
    for key in ["bob", "carol"] {
        let said = hands_in(host, "alice", &id, &desk.sign(key, &text), "");
        assert_eq!(said.status, 0, "{key}: {}", said.both());
    }
    let used = user(host, "alice", &format!("jitsudo --request {id} systemctl reload nginx"));
    assert_eq!(used.status, 0, "{}", used.both());
}

/// A FIDO key in software: what it signs has these flags.
struct Token(SigningKey);

impl Token {
    const KIND: &str = "sk-ssh-ed25519@openssh.com";

    fn blob(&self) -> Vec<u8> {
        [string(Self::KIND.as_bytes()), string(self.0.verifying_key().as_bytes()), string(b"ssh:")].concat()
    }

    fn public(&self) -> String {
        format!("{} {} carol", Self::KIND, base64(&self.blob()))
    }

    /// PROTOCOL.sshsig around PROTOCOL.u2f.
    fn sign(&self, card: &str, flags: u8) -> String {
        use sha2::Digest as _;
        let namespace = "jitsudo-approval@v1";
        let message = SshSig::signed_data(namespace, HashAlg::Sha512, card.as_bytes()).unwrap();
        let trailer = [flags, 0, 0, 0, 9];
        let digest = |bytes: &[u8]| sha2::Sha256::digest(bytes).to_vec();
        let bytes = self.0.sign(&[digest(b"ssh:"), trailer.to_vec(), digest(&message)].concat()).to_bytes();
        let signature = [string(Self::KIND.as_bytes()), string(&bytes), trailer.to_vec()].concat();
        let parts = [&self.blob(), namespace.as_bytes(), b"", b"sha512", &signature].map(string).concat();
        base64(&[b"SSHSIG\0\0\0\x01".to_vec(), parts].concat())
    }
}

fn string(bytes: &[u8]) -> Vec<u8> {
    [&u32::try_from(bytes.len()).unwrap().to_be_bytes(), bytes].concat()
}

fn base64(bytes: &[u8]) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let group = |group: &[u8]| {
        let word = group.iter().chain(&[0, 0]).take(3).fold(0usize, |word, byte| word << 8 | usize::from(*byte));
        let letter =
            |place: usize| if place > group.len() { '=' } else { char::from(LETTERS[word >> (18 - 6 * place) & 63]) };
        (0..4).map(letter).collect::<String>()
    };
    bytes.chunks(3).map(group).collect()
}

#[test]
fn approval_02_approval_05_approval_09_forged_and_stale_signatures_are_refused_and_the_ledger_says_why() {
    let (mut host, twin, desk) = (web("forge"), web("twin"), Desk::new("mint"));
    let (carol, bob, alice) = (desk.key("carol"), desk.key("bob"), desk.key("alice"));
    desk.key("nobody");
    let people = [("alice", alice.as_str()), ("bob", bob.as_str()), ("carol", carol.as_str())];
    let rules = policy(&people);
    for host in [&host, &twin] {
        apply_policy(host, &rules).unwrap();
    }
    let id = asks(&host, "id -u");
    let text = card(&host, &id, "");
    let sound = desk.sign("carol", &text);
    // 1, 2: for another host, which asks for just the same; for another request of this one.
    let elsewhere = asks(&twin, "id -u");
    let other = desk.sign("carol", &card(&twin, &elsewhere, ""));
    refused(&host, (&id, &other, ""), "signs another card");
    refused(&host, (&elsewhere, &other, ""), "nothing of that id waits");
    let second = asks(&host, "id -un");
    refused(&host, (&second, &sound, ""), "signs another card");
    // 3, 4, 5, 6: by the requester's own key, which stands for her second account too; by somebody who is not asked; by a stranger; by
    // the right key for something else.
    refused(&host, (&id, &desk.sign("alice", &text), ""), "who signed it asked for it");
    refused(&host, (&id, &desk.sign("bob", &text), ""), "who signed it is not asked");
    refused(&host, (&id, &desk.sign("nobody", &text), ""), "no approval key of anybody");
    refused(&host, (&id, &desk.sign_in("carol", "file", &text), ""), "made for something else");
    // 7, 8: a no that is handed in as a yes; a yes for ten minutes as one for ever, or for an hour.
    refused(&host, (&id, &desk.sign("carol", &card(&host, &id, "--refuse busy")), ""), "signs another card");
    let short = desk.sign("carol", &card(&host, &id, "--for 10m"));
    refused(&host, (&id, &short, ""), "signs another card");
    refused(&host, (&id, &short, "--for 1h"), "signs another card");
    // 9: changed on the way.
    let line = sound.lines().nth(3).unwrap();
    let changed = if line.starts_with('A') { line.replacen('A', "B", 1) } else { format!("A{}", &line[1..]) };
    let said = hands_in(&host, "alice", &id, &sound.replace(line, &changed), "");
    assert_eq!(said.status, 1, "{}", said.both());
    refused(&host, (&id, "no signature", ""), "no SSH signature");
    assert!(!has(&host, &id, "approved"));
    // 10: twice at once: it counts once.
    host.write("/tmp/signature", 0o644, sound.as_str()).unwrap();
    let both = "for i in 1 2 3 4; do jitctl approve ID --signature /tmp/signature >/tmp/out.$i 2>&1 & done; wait; cat /tmp/out.?";
    let both = user(&host, "alice", &both.replace("ID", &id)).stdout;
    assert_eq!(both.matches("approved by carol").count(), 1, "{both}");
    assert_eq!(both.matches("said yes already").count(), 3, "{both}");
    assert_eq!(events(&host, &id).iter().filter(|event| event["event"] == "approved").count(), 1);
    // 11: used, and then again, also after both programs were killed, and after the power went.
    let used = user(&host, "alice", &format!("jitsudo --request {id} id -u"));
    assert_eq!((used.status, used.stdout.as_str()), (0, "0\n"), "{}", used.both());
    refused(&host, (&id, &sound, ""), "its answers were used already");
    host.sh("systemctl kill -s KILL jitsudo-spawn jitsudod; systemctl restart jitsudo-spawn jitsudod").ok().unwrap();
    let again = user(&host, "alice", &format!("jitsudo --request {id} id -u"));
    assert!(again.status != 0 && again.stdout.is_empty(), "{}", again.both());
    refused(&host, (&id, &sound, ""), "its answers were used already");
    assert!(host.sh("cat /run/jitsudo/used-answers").ok().unwrap().contains(&id));
    stale_signatures_count_for_nothing(&host, &desk, &people);
    touch_and_pin_are_checked(&host);
    host.kill9();
    host.start().unwrap();
    refused(&host, (&id, &sound, ""), "its answers were used already");
}

/// After it was withdrawn, after its time, by a key that the policy has no more (before it is handed in, and after), by an account that is
/// locked; and the right one at the end.
fn stale_signatures_count_for_nothing(host: &Host, desk: &Desk, people: &[(&str, &str)]) {
    let rules = policy(people);
    let id = asks(host, "id -u");
    let sound = desk.sign("carol", &card(host, &id, ""));
    assert_eq!(user(host, "alice", &format!("jitctl withdraw {id}")).status, 0);
    becomes(host, &id, "withdrawn");
    refused(host, (&id, &sound, ""), "it was withdrawn");
    apply_policy(host, &rules.replace("\"10m\"", "\"3s\"")).unwrap();
    let id = asks(host, "id -u");
    let sound = desk.sign("carol", &card(host, &id, ""));
    becomes(host, &id, "lapsed");
    refused(host, (&id, &sound, ""), "its time went by");
    apply_policy(host, &rules).unwrap();
    // Her key is taken away after she said yes: what it signed counts no more.
    let id = asks(host, "id -u");
    let text = card(host, &id, "");
    let sound = desk.sign("carol", &text);
    let said = hands_in(host, "alice", &id, &sound, "");
    assert_eq!(said.status, 0, "{}", said.both());
    let new = desk.key("carol-new");
    let replaced = rules.replace(people[2].1, &new);
    apply_policy(host, &replaced).unwrap();
    let used = user(host, "alice", &format!("jitsudo --request {id} id -u"));
    assert!(used.status == 1 && used.stdout.is_empty() && used.stderr.contains("not enough"), "{}", used.both());
    let id = asks(host, "id -u");
    let text = card(host, &id, "");
    refused(host, (&id, &desk.sign("carol", &text), ""), "no approval key of anybody");
    host.sh("usermod -L carol").ok().unwrap();
    refused(host, (&id, &desk.sign("carol-new", &text), ""), "locked or expired");
    host.sh("usermod -U carol").ok().unwrap();
    host.run(&["jitctl", "lock", "carol", "--reason", "left"]).ok().unwrap();
    refused(host, (&id, &desk.sign("carol-new", &text), ""), "is locked");
    host.run(&["jitctl", "unlock", "carol"]).ok().unwrap();
    let said = hands_in(host, "alice", &id, &desk.sign("carol-new", &text), "");
    assert_eq!(said.status, 0, "{}", said.both());
    let used = user(host, "alice", &format!("jitsudo --request {id} id -u"));
    assert_eq!((used.status, used.stdout.as_str()), (0, "0\n"), "{}", used.both());
}

fn touch_and_pin_are_checked(host: &Host) {
    let token = Token(SigningKey::from_bytes(&[7; 32]));
    let asked = |key: &str| {
        apply_policy(host, &policy(&[("carol", key)])).unwrap();
        let id = asks(host, "id -u");
        let text = card(host, &id, "");
        (id, text)
    };
    let (id, text) = asked(&token.public());
    refused(host, (&id, &token.sign(&text, 0), ""), "was not touched");
    refused(host, (&id, &token.sign(&text, 4), ""), "was not touched");
    let said = hands_in(host, "alice", &id, &token.sign(&text, 1), "");
    assert_eq!(said.status, 0, "{}", said.both());
    let used = user(host, "alice", &format!("jitsudo --request {id} id -u"));
    assert_eq!((used.status, used.stdout.as_str()), (0, "0\n"), "{}", used.both());
    let (id, text) = asked(&format!("verify-required {}", token.public()));
    refused(host, (&id, &token.sign(&text, 1), ""), "did not ask for the PIN");
    let said = hands_in(host, "alice", &id, &token.sign(&text, 5), "");
    assert_eq!(said.status, 0, "{}", said.both());
}
