//! Who proved their identity lately, and where: in memory alone, so that a restart or reboot forgets everything.
//!
//! MUSTs
//! 1. A proof counts on the terminal, in the login and in the namespaces where it was given, and nowhere else (`key_*`).
//! 2. It ends fifteen minutes after its last use by the boot clock, whatever the wall clock says, and when the leader of its terminal's
//!    session is gone (`proof_is_forgotten_*`).
//! 3. One account's proofs push out its own oldest only (`dos_*`).

use jitsudo_core::decision::Auth;
use jitsudo_core::facts::{Fact, Origin};
use jitsudo_link::facts::Process;
use jitsudo_link::session::Authentication;
use jitsudo_protocol::act::Remember;

/// How long a proof counts after its last use (Debian's sudo: `timestamp_timeout` 15).
const HOLDS_MS: u64 = 15 * 60 * 1000;
/// Most proofs of one account: terminals that it works on.
const MAX_OF_ACCOUNT: usize = 32;
/// Most proofs of all.
const MAX: usize = 4096;

/// Where a proof counts. No time of a terminal's device is in it: its owner can set that.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Key {
    uid: u32,
    tty: u64,
    /// Leader of the terminal's session and its start: the number of a terminal is used again, this pair is not.
    leader: (u32, u64),
    audit_session: Option<u32>,
    mount_namespace: u64,
    /// In other namespaces or with fewer rights than the login itself.
    sandbox: bool,
}

impl Key {
    /// The key of a process by facts; `None` where a proof cannot be tied to a place: without a terminal, or when something is unknown.
    pub(crate) fn of(uid: u32, process: &Process, origin: &Fact<Origin>) -> Option<Self> {
        let Fact::Is(origin) = origin else { return None };
        let known = process.tty != 0 && process.leader.0 != 0 && process.leader.1 != 0 && process.mount_namespace != 0;
        known.then_some(Self {
            uid,
            tty: process.tty,
            leader: process.leader,
            audit_session: process.audit_session,
            mount_namespace: process.mount_namespace,
            sandbox: origin.sandbox,
        })
    }
}

/// One proof.
#[derive(Debug)]
struct Proof {
    key: Key,
    used_ms: u64,
}

/// All proofs, oldest use first.
#[derive(Default)]
pub(crate) struct Remembered(Vec<Proof>);

/// What is to be done when a session says that its requester's identity is settled.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum WhenSettled {
    /// A proof was given: it counts from now on.
    Remember(Key),
    /// A remembered one was used: it counts longer, if it was not forgotten meanwhile.
    Prolong(Key),
}

impl Remembered {
    /// What a requester has to do, and what follows once they have. `alive` says whether a process of that id and start is there.
    pub(crate) fn needed(
        &self,
        auth: Auth,
        uid: u32,
        remember: Remember,
        key: Option<Key>,
        now_ms: u64,
        alive: impl Fn((u32, u64)) -> bool,
    ) -> (Authentication, Option<WhenSettled>) {
        // Root can become anybody: asking it proves nothing (as with sudo).
        if auth == Auth::None || uid == 0 {
            return (Authentication::NotNeeded, None);
        }
        let known = auth == Auth::Cached
            && remember != Remember::Ignore
            && key.is_some_and(|key| self.has(key, now_ms) && alive(key.leader));
        let keeps = key.filter(|_| remember == Remember::Use);
        if known {
            (Authentication::Remembered, keeps.map(WhenSettled::Prolong))
        } else {
            (Authentication::Needed, keeps.map(WhenSettled::Remember))
        }
    }

    fn has(&self, key: Key, now_ms: u64) -> bool {
        self.0.iter().any(|proof| proof.key == key && now_ms.saturating_sub(proof.used_ms) < HOLDS_MS)
    }

    /// A session says that its requester's identity is settled.
    pub(crate) fn settled(&mut self, what: WhenSettled, now_ms: u64) {
        let key = match what {
            WhenSettled::Prolong(key) if !self.has(key, now_ms) => return,
            WhenSettled::Prolong(key) | WhenSettled::Remember(key) => key,
        };
        self.0.retain(|proof| proof.key != key);
        let of_account = self.0.iter().filter(|proof| proof.key.uid == key.uid).count();
        let crowded = self.0.len() >= MAX;
        if of_account >= MAX_OF_ACCOUNT || (crowded && of_account > 0) {
            if let Some(oldest) = self.0.iter().position(|proof| proof.key.uid == key.uid) {
                self.0.remove(oldest);
            }
        } else if crowded {
            // Who is asked again loses a moment; nobody else loses anything.
            return;
        }
        self.0.push(Proof { key, used_ms: now_ms });
    }

    /// Forgets one place.
    pub(crate) fn forget(&mut self, key: Key) {
        self.0.retain(|proof| proof.key != key);
    }

    /// Forgets everything of an account.
    pub(crate) fn forget_all(&mut self, uid: u32) {
        self.0.retain(|proof| proof.key.uid != uid);
    }

    /// Drops what does not count any more.
    pub(crate) fn tidy(&mut self, now_ms: u64, alive: impl Fn((u32, u64)) -> bool) {
        self.0.retain(|proof| now_ms.saturating_sub(proof.used_ms) < HOLDS_MS && alive(proof.key.leader));
    }
}

/// A process of this id and start is there.
pub(crate) fn is_alive((pid, start): (u32, u64)) -> bool {
    jitsudo_sys::process::start_ticks(pid).is_ok_and(|found| found == start)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u64 = 1_000_000_000;

    fn process() -> Process {
        Process {
            start_ticks: 9,
            tty: 34_816,
            tty_name: None,
            nice: 0,
            cpus: vec![],
            limits: vec![],
            hangup_ignored: false,
            umask: 0o22,
            leader: (7, 77),
            audit_session: Some(3),
            mount_namespace: 4_026_531_841,
        }
    }

    fn origin(sandbox: bool) -> Fact<Origin> {
        Fact::Is(Origin {
            terminal: true,
            sandbox,
            unit: None,
            console: Fact::Is(false),
            ssh: Fact::Is(false),
            address: Fact::Is(None),
        })
    }

    fn key() -> Key {
        Key::of(1000, &process(), &origin(false)).unwrap()
    }

    fn alive(_: (u32, u64)) -> bool {
        true
    }

    /// A table in which alice has just proven who she is.
    fn table() -> Remembered {
        let mut table = Remembered::default();
        table.settled(WhenSettled::Remember(key()), NOW);
        table
    }

    fn ask(table: &Remembered, auth: Auth, remember: Remember, key: Option<Key>, now_ms: u64) -> Authentication {
        table.needed(auth, 1000, remember, key, now_ms, alive).0
    }

    #[test]
    fn expiry_clock_05_key_is_of_one_terminal_login_and_namespace() {
        type Change = fn(&mut Process);
        let table = table();
        assert_eq!(ask(&table, Auth::Cached, Remember::Use, Some(key()), NOW), Authentication::Remembered);
        let others: [Change; 6] = [
            |process| process.tty += 1,
            |process| process.leader.0 += 1,
            |process| process.leader.1 += 1,
            |process| process.audit_session = Some(4),
            |process| process.audit_session = None,
            |process| process.mount_namespace += 1,
        ];
        for (place, change) in others.into_iter().enumerate() {
            let mut process = process();
            change(&mut process);
            let key = Key::of(1000, &process, &origin(false));
            assert!(key.is_some(), "{place}");
            assert_eq!(ask(&table, Auth::Cached, Remember::Use, key, NOW), Authentication::Needed, "{place}");
        }
        let confined = Key::of(1000, &process(), &origin(true));
        assert_eq!(ask(&table, Auth::Cached, Remember::Use, confined, NOW), Authentication::Needed);
        let bob = Key::of(1001, &process(), &origin(false));
        assert_eq!(table.needed(Auth::Cached, 1001, Remember::Use, bob, NOW, alive).0, Authentication::Needed);
    }

    #[test]
    fn key_needs_a_terminal_and_nothing_unknown() {
        type Change = fn(&mut Process);
        let without: [Change; 4] = [
            |process| process.tty = 0,
            |process| process.leader.0 = 0,
            |process| process.leader.1 = 0,
            |process| process.mount_namespace = 0,
        ];
        for change in without {
            let mut process = process();
            change(&mut process);
            assert_eq!(Key::of(1000, &process, &origin(false)), None);
        }
        assert_eq!(Key::of(1000, &process(), &Fact::Unknown), None);
        assert_eq!(table().needed(Auth::Cached, 1000, Remember::Use, None, NOW, alive), (Authentication::Needed, None));
    }

    #[test]
    fn rule_and_options_choose_what_is_needed_and_what_follows() {
        use {Authentication as A, WhenSettled as W};
        let table = table();
        let (remember, prolong) = (Some(W::Remember(key())), Some(W::Prolong(key())));
        for (auth, option, later, needed, then) in [
            (Auth::None, Remember::Use, 0, A::NotNeeded, None),
            (Auth::None, Remember::Ignore, 0, A::NotNeeded, None),
            (Auth::Cached, Remember::Use, 0, A::Remembered, prolong),
            (Auth::Cached, Remember::Keep, 0, A::Remembered, None),
            (Auth::Cached, Remember::Ignore, 0, A::Needed, None),
            (Auth::Cached, Remember::Use, HOLDS_MS, A::Needed, remember),
            (Auth::Cached, Remember::Keep, HOLDS_MS, A::Needed, None),
            (Auth::Fresh, Remember::Use, 0, A::Needed, remember),
            (Auth::Fresh, Remember::Keep, 0, A::Needed, None),
            (Auth::Fresh, Remember::Ignore, 0, A::Needed, None),
        ] {
            let found = table.needed(auth, 1000, option, Some(key()), NOW + later, alive);
            assert_eq!(found, (needed, then), "{auth:?} {option:?} {later}");
        }
        assert_eq!(table.needed(Auth::Fresh, 0, Remember::Use, None, NOW, alive).0, A::NotNeeded, "root");
    }

    #[test]
    fn proof_is_forgotten_fifteen_minutes_after_its_last_use() {
        let mut table = table();
        table.settled(WhenSettled::Prolong(key()), NOW + HOLDS_MS - 1);
        assert!(table.has(key(), NOW + HOLDS_MS + 1));
        assert!(!table.has(key(), NOW + 2 * HOLDS_MS));
        table.settled(WhenSettled::Prolong(key()), NOW + 2 * HOLDS_MS);
        assert!(!table.has(key(), NOW + 2 * HOLDS_MS), "what is over is not prolonged");
    }

    #[test]
    fn proof_is_forgotten_with_its_leader_and_by_order() {
        let mut table = table();
        let gone = |_| false;
        assert_eq!(table.needed(Auth::Cached, 1000, Remember::Use, Some(key()), NOW, gone).0, Authentication::Needed);
        table.tidy(NOW, gone);
        assert!(!table.has(key(), NOW));

        let mut table = self::table();
        let other = Key { tty: 34_817, ..key() };
        let bob = Key { uid: 1001, ..key() };
        [other, bob].into_iter().for_each(|key| table.settled(WhenSettled::Remember(key), NOW));
        table.forget(key());
        assert!(!table.has(key(), NOW) && table.has(other, NOW) && table.has(bob, NOW));
        table.settled(WhenSettled::Prolong(key()), NOW);
        assert!(!table.has(key(), NOW), "a use that began before -k does not bring it back");
        table.forget_all(1000);
        assert!(!table.has(other, NOW) && table.has(bob, NOW));
    }

    #[test]
    fn dos_01_one_account_pushes_out_its_own_oldest_only() {
        let mut table = table();
        let bob = |tty| Key { uid: 1001, tty, ..key() };
        (0..1000).for_each(|tty| table.settled(WhenSettled::Remember(bob(tty)), NOW + tty));
        assert_eq!(table.0.len(), MAX_OF_ACCOUNT + 1);
        assert!(table.has(key(), NOW) && table.has(bob(999), NOW + 999) && !table.has(bob(900), NOW + 999));
        (2000..2000 + u32::try_from(MAX).unwrap())
            .for_each(|uid| table.settled(WhenSettled::Remember(Key { uid, ..key() }), NOW));
        assert_eq!(table.0.len(), MAX);
        assert!(table.has(key(), NOW), "nobody else is pushed out");
        table.settled(WhenSettled::Remember(Key { tty: 5, ..key() }), NOW);
        assert!(
            table.has(Key { tty: 5, ..key() }, NOW) && !table.has(key(), NOW),
            "among many, one's own place is used"
        );
    }

    #[test]
    fn leader_is_told_from_a_later_process_of_its_number() {
        let own = jitsudo_sys::process::start_ticks(std::process::id()).unwrap();
        assert!(is_alive((std::process::id(), own)));
        assert!(!is_alive((std::process::id(), own + 1)));
        assert!(!is_alive((0, own)));
    }
}
