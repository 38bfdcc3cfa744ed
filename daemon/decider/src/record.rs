//! What the ledger is told of a request: pure, from the kernel's word, the facts and the decision.
//!
//! MUSTs
//! 1. Secret words are recorded as their length, environment values never (`audit_log_12_*`).
//! 2. What the requester chose is bounded (`audit_log_07_*`).

use jitsudo_bytes::Bytes;
use jitsudo_core::Timestamp;
use jitsudo_core::decision::{Denial, Terms};
use jitsudo_core::event::{Actor, Entry, Event, Under};
use jitsudo_core::facts::{Facts, Target};
use jitsudo_core::id::{AccessId, SessionId};
use jitsudo_core::name::Uid;
use jitsudo_core::request::{Kind, Request};
use jitsudo_link::ends;
use jitsudo_link::facts::{Peer, Process};

/// Words of argv that are recorded.
const MAX_WORDS: usize = 4096;
/// Bytes of all of them; one word may have all: whoever wants to hide something puts it behind a comment, or behind other words. JSON
/// makes six of a control byte, and an event that is too long for the ledger would be lost.
const MAX_ARGV_BYTES: usize = 64 << 10;

/// Which host, which boot, what time: what every entry begins with.
#[derive(Clone, Debug)]
pub(crate) struct Stamp {
    /// Enrolled name.
    pub(crate) host: String,
    /// Boot id.
    pub(crate) boot: String,
    /// Wall clock.
    pub(crate) wall: Timestamp,
    /// Boot clock.
    pub(crate) boottime_ms: u64,
}

impl Stamp {
    /// An entry of our own.
    pub(crate) fn entry(&self, event: Event) -> Entry {
        self.entry_for(None, None, event)
    }

    /// An entry that an account caused.
    pub(crate) fn entry_for(&self, uid: Option<Uid>, name: Option<String>, event: Event) -> Entry {
        Entry {
            host: self.host.clone(),
            boot: self.boot.clone(),
            wall: self.wall,
            boottime_ms: self.boottime_ms,
            actor: Actor { program: "jitsudod".to_owned(), uid, name },
            spool: None,
            late: false,
            event,
        }
    }
}

/// A request with all that is known of it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Asked<'a> {
    pub(crate) id: &'a AccessId,
    pub(crate) peer: Peer,
    pub(crate) facts: &'a Facts,
    pub(crate) process: Option<&'a Process>,
    pub(crate) request: &'a Request,
    pub(crate) digest: &'a str,
    /// Digest of the policy, empty without one.
    pub(crate) policy: &'a str,
}

impl Asked<'_> {
    fn requested(&self, secrets: &[usize]) -> Event {
        let requester = &self.facts.requester;
        let (argv, argv_cut) = recorded_argv(&self.request.argv, secrets);
        Event::Requested {
            id: self.id.clone(),
            uid: Uid(self.peer.uid),
            user: requester.name.known().cloned(),
            loginuid: requester.loginuid.known().copied().flatten(),
            origin: self.facts.origin.known().cloned(),
            kind: self.request.kind,
            argv,
            argv_cut,
            program: self.facts.executable.known().and_then(|found| found.as_ref().ok()).map(|one| one.path.clone()),
            cwd: self.facts.cwd.known().cloned(),
            target: target_asked(self.request),
            role: self.request.role.clone(),
            reason: self.request.reason.clone(),
            ticket: self.request.ticket.clone(),
            digest: self.digest.to_owned(),
            tty: self.process.map_or(0, |process| process.tty),
            pid: self.peer.pid,
            break_glass: self.request.break_glass,
        }
    }

    fn entry(&self, stamp: &Stamp, secrets: &[usize]) -> Entry {
        let name = self.facts.requester.name.known().cloned();
        stamp.entry_for(Some(Uid(self.peer.uid)), name, self.requested(secrets))
    }

    /// [requested, decided]: not allowed.
    pub(crate) fn denied(&self, stamp: &Stamp, denial: &Denial) -> Vec<Entry> {
        let decided = Event::Decided {
            id: self.id.clone(),
            allowed: false,
            rule: None,
            source: None,
            role: None,
            policy: self.policy.to_owned(),
            denial: Some(denial.clone()),
            joined: Vec::new(),
            counted: None,
            break_glass: None,
        };
        vec![self.entry(stamp, &[]), stamp.entry(decided)]
    }

    /// [requested, decided, activating, session_starting]: allowed, until this end.
    pub(crate) fn given(
        &self,
        stamp: &Stamp,
        terms: &Terms,
        target: &Target,
        ends_at: Timestamp,
        ends_boottime_ms: u64,
    ) -> Vec<Entry> {
        let [requested, decided, activating] = self.granted(stamp, terms, ends_at, ends_boottime_ms);
        let session = SessionId { access: self.id.clone(), number: 1 };
        vec![requested, decided, activating, stamp.entry(self.starting(session, terms, target, None))]
    }

    /// [requested, decided, activating]: a role is to be held until this end.
    pub(crate) fn granted(
        &self,
        stamp: &Stamp,
        terms: &Terms,
        ends_at: Timestamp,
        ends_boottime_ms: u64,
    ) -> [Entry; 3] {
        let decided = Event::Decided {
            id: self.id.clone(),
            allowed: true,
            rule: Some(terms.rule.clone()),
            source: Some(terms.source.clone()),
            role: Some(terms.role.clone()),
            policy: self.policy.to_owned(),
            denial: None,
            joined: terms.joined.clone(),
            counted: terms.counted,
            break_glass: terms.break_glass.clone(),
        };
        let is_role = self.request.kind == Kind::Role;
        let groups = if is_role { terms.groups.clone() } else { Vec::new() };
        let activating = Event::Activating {
            id: self.id.clone(),
            ends_at,
            ends_boottime_ms,
            processes_end_at: ends::processes(ends_at, ends::finish(terms, self.request, self.facts)),
            groups,
        };
        [self.entry(stamp, &terms.secret_arguments), stamp.entry(decided), stamp.entry(activating)]
    }

    /// [session_starting]: under a role that is held, whose id this is, until this end.
    pub(crate) fn under(
        &self,
        stamp: &Stamp,
        session: SessionId,
        terms: &Terms,
        target: &Target,
        (ends_at, ends_boottime_ms): (Timestamp, u64),
    ) -> Vec<Entry> {
        let (argv, argv_cut) = recorded_argv(&self.request.argv, &terms.secret_arguments);
        let under = Under {
            kind: self.request.kind,
            argv,
            argv_cut,
            program: self.facts.executable.known().and_then(|found| found.as_ref().ok()).map(|one| one.path.clone()),
            cwd: self.facts.cwd.known().cloned(),
            digest: self.digest.to_owned(),
            policy: self.policy.to_owned(),
            tty: self.process.map_or(0, |process| process.tty),
            pid: self.peer.pid,
            ends_at,
            ends_boottime_ms,
            processes_end_at: ends::processes(ends_at, ends::finish(terms, self.request, self.facts)),
        };
        let name = self.facts.requester.name.known().cloned();
        let starting = self.starting(session, terms, target, Some(Box::new(under)));
        vec![stamp.entry_for(Some(Uid(self.peer.uid)), name, starting)]
    }

    fn starting(&self, session: SessionId, terms: &Terms, target: &Target, under: Option<Box<Under>>) -> Event {
        let chain = self.facts.executable.known().and_then(|found| found.as_ref().ok());
        Event::SessionStarting {
            session,
            uid: target.uid,
            gid: target.gid,
            target: target.name.clone(),
            record: terms.record,
            chain: chain.map(|found| found.chain.clone()).unwrap_or_default(),
            under,
            groups: terms.groups.clone(),
        }
    }
}

fn target_asked(request: &Request) -> Option<String> {
    match (&request.user, &request.group) {
        (None, None) => None,
        (Some(user), None) => Some(user.clone()),
        (user, Some(group)) => Some(format!("{}:{group}", user.as_deref().unwrap_or_default())),
    }
}

/// argv as it is recorded, and whether anything was cut from it.
fn recorded_argv(argv: &[Bytes], secrets: &[usize]) -> (Vec<Bytes>, bool) {
    let mut cut = argv.len() > MAX_WORDS;
    let mut left = MAX_ARGV_BYTES;
    let words = argv.iter().enumerate().take(MAX_WORDS);
    let words = words.map(|(place, word)| {
        if secrets.contains(&place) {
            return Bytes::from(format!("<secret:{}>", word.0.len()).as_str());
        }
        let length = word.0.len().min(left);
        left -= length;
        cut |= length < word.0.len();
        Bytes(word.0.iter().take(length).copied().collect())
    });
    let words = words.collect();
    (words, cut)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::samples;
    use jitsudo_core::facts::Fact;

    fn asked<'a>(id: &'a AccessId, facts: &'a Facts, request: &'a Request) -> Asked<'a> {
        let peer = Peer { pid: 7, uid: 1000, gid: 1000 };
        Asked { id, peer, facts, process: None, request, digest: "d", policy: "p" }
    }

    fn stamp() -> Stamp {
        Stamp { host: "h".into(), boot: "b".into(), wall: Timestamp::UNIX_EPOCH, boottime_ms: 1 }
    }

    #[test]
    fn audit_log_12_secret_words_are_recorded_as_their_length() {
        let (id, facts) = (AccessId::new(1, [1; 10]), samples::facts());
        let request = samples::request(&["mysql", "--password", "hunter2", "é"]);
        let mut terms = samples::terms();
        terms.secret_arguments = vec![2, 3];
        let target = facts.target.known().cloned().flatten().unwrap();
        let entries = asked(&id, &facts, &request).given(&stamp(), &terms, &target, Timestamp::UNIX_EPOCH, 1);
        let text = serde_json::to_string(&entries).unwrap();
        assert!(!text.contains("hunter2"));
        assert!(text.contains(r#"["mysql","--password","<secret:7>","<secret:2>"]"#), "{text}");
        let names: Vec<_> = entries.iter().map(|entry| entry.event.name()).collect();
        assert_eq!(names, ["requested", "decided", "activating", "session_starting"]);
    }

    #[test]
    fn audit_log_07_long_argv_is_cut_and_says_so() {
        let many: Vec<Bytes> = (0..1000).map(|_| Bytes(vec![b'x'; 10_000])).collect();
        let (words, cut) = recorded_argv(&many, &[]);
        assert!(cut && words.len() == 1000 && words.iter().take(6).all(|word| word.0.len() == 10_000));
        assert_eq!(words.iter().map(|word| word.0.len()).sum::<usize>(), MAX_ARGV_BYTES);
        let (words, cut) = recorded_argv(&[Bytes(vec![b'x'; 4096])], &[]);
        assert!(!cut && words[0].0.len() == 4096);
    }

    #[test]
    fn audit_log_07_what_stands_behind_padding_is_recorded_as_well() {
        let script = Bytes([b": ".as_slice(), &[b'x'; 20_000], b"; useradd carol"].concat());
        let (words, cut) = recorded_argv(&["sh".into(), "-c".into(), script.clone()], &[]);
        assert!(!cut && words[2] == script);
        let many: Vec<Bytes> = (0..3000).map(|_| "/tmp/x".into()).chain(["/etc/shadow".into()]).collect();
        let (words, cut) = recorded_argv(&many, &[]);
        assert!(!cut && words == many);
    }

    #[test]
    fn audit_log_07_longest_request_of_bytes_that_json_makes_six_of_fits_the_ledger() {
        let (id, mut facts) = (AccessId::new(1, [1; 10]), samples::facts());
        let long = || Some("\u{1}".repeat(4096));
        let mut request = samples::request(&["x"]);
        request.argv = vec![Bytes(vec![1; 4096]); 16_384];
        (request.user, request.group, request.role) = (long(), long(), long());
        (request.reason, request.ticket) = (long(), long());
        facts.cwd = Fact::Is(Bytes(vec![1; 4096]));
        let denial = Denial { cause: jitsudo_core::decision::Cause::NotCovered, detail: Vec::new(), by: None };
        let short_words_of_no_text = vec![Bytes(vec![0xff; 16]); 16_384];
        for argv in [request.argv.clone(), short_words_of_no_text] {
            let request = Request { argv, ..request.clone() };
            for entry in asked(&id, &facts, &request).denied(&stamp(), &denial) {
                let json = serde_json::to_string(&entry).unwrap();
                assert!(jitsudo_ledger::Body::new(json).is_ok());
            }
        }
    }

    #[test]
    fn denial_is_recorded_with_its_full_reason() {
        let (id, facts) = (AccessId::new(1, [1; 10]), samples::facts());
        let request = samples::request(&["id"]);
        let denial = Denial {
            cause: jitsudo_core::decision::Cause::Denied,
            detail: Vec::new(),
            by: Some("contractors are over".into()),
        };
        let text = serde_json::to_string(&asked(&id, &facts, &request).denied(&stamp(), &denial)).unwrap();
        assert!(text.contains("contractors are over") && text.contains(r#""allowed":false"#));
    }
}
