//! The accounts of those who hold something: whether each is still the one that it was. A user who was renamed, deleted, made anew or locked
//! holds nothing any more.
//!
//! Three files are looked at every second, which costs nothing; only when one of them changed, and once a minute for directories elsewhere,
//! `jitsudo-facts` is asked, in a process of its own, about some accounts at a time. Between that nothing walks through the accounts: who
//! begins or ceases to hold something is told.
//!
//! MUSTs
//! 1. What cannot be learnt ends nothing: nothing is given on the strength of it either (`what_is_not_known_ends_nothing`).
//! 2. An account that is not the one that it was is gone (`account_that_changed_is_gone`).
//! 3. One that a directory elsewhere does not know must be unknown several times: directories fail (`directory_that_knows_nobody_is_asked_again`).
//! 4. Of many accounts each has its turn (`each_of_many_accounts_is_asked_about`).

use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use jitsudo_core::facts::Fact;
use jitsudo_link::LIBEXEC;
use jitsudo_link::facts::{About, Account, Answer, Entry, Peer, Question};
use jitsudo_sys::channel::Channel;
use jitsudo_sys::child::{self, Child};

/// What accounts of this host are made of.
const FILES: [&str; 3] = ["/etc/passwd", "/etc/shadow", "/etc/group"];
/// Milliseconds between two looks at accounts that are elsewhere.
const EVERY_MS: u64 = 60_000;
/// Milliseconds for one answer.
const PATIENCE_MS: u64 = 5_000;
/// Milliseconds between two looks at the files; and how long something is held before its account is looked at: most commands are shorter.
const TICK_MS: u64 = 1_000;
/// Accounts asked about at once; the others follow.
const MAX_ASKED: usize = 256;
/// How often a directory must not know an account that is not in this host's own file.
const MAX_MISSES: u32 = 3;

/// (device, inode, mtime, size) of each file; 0 where there is none.
type Marks = [(u64, u64, i64, i64, u64); 3];

/// What an account was when it was first looked at.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Known {
    name: String,
    gid: u32,
    home: String,
    shell: String,
    local: bool,
    locked: bool,
    misses: u32,
}

/// A question on its way.
struct Look {
    child: Child,
    channel: Channel,
    until_ms: u64,
}

/// What was found out of an account.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Verdict {
    /// It is not the one that it was; in words.
    Gone(String),
    /// It is.
    There(Box<Entry>),
}

/// See the module.
#[derive(Default)]
pub(crate) struct Accounts {
    marks: Option<Marks>,
    known: BTreeMap<u32, Known>,
    /// Nobody has looked at these yet: since when each holds something, CLOCK_BOOTTIME milliseconds.
    fresh: BTreeMap<u32, u64>,
    /// Those of the known ones that are to be looked at again.
    due: BTreeSet<u32>,
    /// Whose sessions run.
    running: BTreeSet<u32>,
    look: Option<Look>,
    next_ms: u64,
    next_stat_ms: u64,
    /// Something else asks for a look: another policy, an account that nobody looked at yet.
    wanted: bool,
}

impl Accounts {
    /// Asks for a look as soon as can be.
    pub(crate) fn look_soon(&mut self) {
        self.wanted = true;
    }

    /// Looks at accounts when it is time to; in words why that cannot be done. `moved` are those of whom it may have changed whether they hold
    /// a role, `running` those whose sessions run.
    pub(crate) fn on_time(
        &mut self,
        running: BTreeSet<u32>,
        moved: BTreeSet<u32>,
        holds_role: impl Fn(u32) -> bool,
        now_ms: u64,
    ) -> Result<(), String> {
        if self.look.as_ref().is_some_and(|look| look.until_ms <= now_ms) {
            self.drop_look();
        }
        self.heed(running, moved, holds_role, now_ms);
        if self.look.is_some() {
            return Ok(());
        }
        let accounts = self.next_asked(|| FILES.map(mark), now_ms);
        if !accounts.is_empty() {
            self.look = Some(begin(accounts, now_ms)?);
        }
        Ok(())
    }

    /// Takes up who began to hold something, and forgets who holds nothing any more.
    fn heed(
        &mut self,
        running: BTreeSet<u32>,
        mut moved: BTreeSet<u32>,
        holds_role: impl Fn(u32) -> bool,
        now_ms: u64,
    ) {
        moved.extend(self.running.symmetric_difference(&running));
        self.running = running;
        // Root is nobody's account to be lost.
        for uid in moved.into_iter().filter(|uid| *uid != 0) {
            if !self.running.contains(&uid) && !holds_role(uid) {
                self.known.remove(&uid);
                self.fresh.remove(&uid);
                self.due.remove(&uid);
            } else if !self.known.contains_key(&uid) {
                self.fresh.entry(uid).or_insert(now_ms);
            }
        }
    }

    /// Who is to be asked about now.
    fn next_asked(&mut self, marks: impl Fn() -> Marks, now_ms: u64) -> Vec<u32> {
        let mut asked = Vec::new();
        let is_anybody = !self.known.is_empty() || !self.fresh.is_empty();
        if is_anybody && (self.wanted || now_ms >= self.next_stat_ms) {
            let wanted = std::mem::take(&mut self.wanted);
            self.next_stat_ms = now_ms.saturating_add(TICK_MS);
            let marks = marks();
            let changed = self.marks.replace(marks) != Some(marks);
            if changed || wanted || now_ms >= self.next_ms {
                self.next_ms = now_ms.saturating_add(EVERY_MS);
                self.due.extend(self.known.keys());
            }
            // Those that nobody looked at come first, but leave room: a directory may not answer about them for ever.
            let lasts = |since_ms: u64| wanted || now_ms.saturating_sub(since_ms) >= TICK_MS;
            let lasting = self.fresh.iter().filter(|(_, since_ms)| lasts(**since_ms));
            let mut lasting: Vec<(u64, u32)> = lasting.map(|(uid, since_ms)| (*since_ms, *uid)).collect();
            lasting.sort_unstable();
            lasting.truncate(if self.due.is_empty() { MAX_ASKED } else { MAX_ASKED / 2 });
            asked.extend(lasting.into_iter().map(|(_, uid)| uid));
            self.fresh.extend(asked.iter().map(|uid| (*uid, now_ms)));
        }
        // What the look before left over waits for no tick.
        while asked.len() < MAX_ASKED
            && let Some(uid) = self.due.pop_first()
        {
            asked.push(uid);
        }
        asked
    }

    /// To be waited for.
    pub(crate) fn channel(&self) -> Option<&Channel> {
        self.look.as_ref().map(|look| &look.channel)
    }

    /// When there is something to do, CLOCK_BOOTTIME milliseconds.
    pub(crate) fn next(&self) -> Option<u64> {
        self.look.as_ref().map(|look| look.until_ms)
    }

    fn drop_look(&mut self) {
        if let Some(look) = self.look.take() {
            look.child.end();
        }
    }

    /// Takes the answer. `names` gives what a holder was called when it got what it holds.
    pub(crate) fn answer(&mut self, names: impl Fn(u32) -> BTreeSet<String>) -> Vec<(u32, Verdict)> {
        let Some(look) = self.look.take() else { return Vec::new() };
        let answer = match look.channel.receive() {
            Ok(Some(message)) => serde_json::from_slice(&message.bytes).ok(),
            Ok(None) | Err(_) => None,
        };
        look.child.end();
        let Some(Answer::Accounts(accounts)) = answer else { return Vec::new() };
        let judged = accounts.into_iter().filter_map(|account| {
            let uid = account.uid;
            if !self.fresh.contains_key(&uid) && !self.known.contains_key(&uid) {
                // It ceased to hold anything while it was asked about.
                return None;
            }
            let verdict = self.judge(account, &names(uid));
            if self.known.contains_key(&uid) {
                self.fresh.remove(&uid);
            }
            Some((uid, verdict?))
        });
        judged.collect()
    }

    fn judge(&mut self, account: Account, held_as: &BTreeSet<String>) -> Option<Verdict> {
        let known = self.known.get_mut(&account.uid);
        let entry = match account.entry {
            Fact::Unknown => return None,
            Fact::Is(None) => {
                let local = known.as_ref().is_some_and(|known| known.local);
                let blank = || Known {
                    name: String::new(),
                    gid: 0,
                    home: String::new(),
                    shell: String::new(),
                    local: false,
                    locked: false,
                    misses: 0,
                };
                let known = self.known.entry(account.uid).or_insert_with(blank);
                known.misses = known.misses.saturating_add(1);
                let gone = local || known.misses >= MAX_MISSES;
                return gone.then(|| Verdict::Gone(format!("uid {} has no account any more", account.uid)));
            }
            Fact::Is(Some(entry)) => entry,
        };
        if held_as.iter().any(|name| *name != entry.name) {
            return Some(Verdict::Gone(format!("uid {} is called {} now", account.uid, entry.name)));
        }
        let locked = entry.locked.known().copied();
        match known.filter(|known| !known.name.is_empty()) {
            None => {
                let known = Known {
                    name: entry.name.clone(),
                    gid: entry.gid,
                    home: entry.home.clone(),
                    shell: entry.shell.clone(),
                    local: entry.local,
                    locked: locked.unwrap_or(false),
                    misses: 0,
                };
                self.known.insert(account.uid, known);
            }
            Some(known) => {
                known.misses = 0;
                let same = known.name == entry.name
                    && known.gid == entry.gid
                    && known.home == entry.home
                    && known.shell == entry.shell;
                if !same {
                    let what = "another name, group, home or shell than it had";
                    return Some(Verdict::Gone(format!("account {} has {what}", entry.name)));
                }
                if !known.locked && locked == Some(true) {
                    return Some(Verdict::Gone(format!("account {} was locked", entry.name)));
                }
                known.locked &= locked.unwrap_or(true);
            }
        }
        Some(Verdict::There(Box::new(entry)))
    }
}

fn begin(accounts: Vec<u32>, now_ms: u64) -> Result<Look, String> {
    let about = About {
        user: None,
        group: None,
        program: None,
        shell: None,
        words: vec![],
        same_as: vec![],
        subject: None,
        own: false,
        groups: vec![],
        hash: false,
    };
    let question = Question { peer: Peer { pid: 0, uid: 0, gid: 0 }, about, accounts, here: false, proof: None };
    let start = || -> std::io::Result<Look> {
        let (channel, theirs) = Channel::pair()?;
        let child = child::start(&Path::new(LIBEXEC).join("jitsudo-facts"), &[], &theirs)?;
        Ok(Look { child, channel, until_ms: now_ms.saturating_add(PATIENCE_MS) })
    };
    let look = start().map_err(|error| format!("cannot start jitsudo-facts to look at accounts: {error}"))?;
    let text = serde_json::to_vec(&question).map_err(|error| error.to_string())?;
    look.channel.send(&text, &[]).map_err(|error| format!("cannot ask jitsudo-facts about accounts: {error}"))?;
    Ok(look)
}

fn mark(file: &str) -> (u64, u64, i64, i64, u64) {
    std::fs::metadata(file)
        .map_or((0, 0, 0, 0, 0), |data| (data.dev(), data.ino(), data.mtime(), data.mtime_nsec(), data.size()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry() -> Entry {
        Entry {
            name: "alice".into(),
            gid: 1000,
            home: "/home/alice".into(),
            shell: "/bin/bash".into(),
            groups: Fact::Unknown,
            local: true,
            locked: Fact::Is(false),
        }
    }

    fn judge(accounts: &mut Accounts, entry: Fact<Option<Entry>>) -> Option<Verdict> {
        let names = BTreeSet::from(["alice".to_owned()]);
        accounts.judge(Account { uid: 1000, entry }, &names)
    }

    fn is_gone(change: impl FnOnce(&mut Entry)) -> bool {
        let mut accounts = Accounts::default();
        assert!(matches!(judge(&mut accounts, Fact::Is(Some(entry()))), Some(Verdict::There(_))));
        let mut changed = entry();
        change(&mut changed);
        matches!(judge(&mut accounts, Fact::Is(Some(changed))), Some(Verdict::Gone(_)))
    }

    #[test]
    fn account_that_changed_is_gone() {
        assert!(!is_gone(|_| {}));
        assert!(is_gone(|entry| entry.name = "alina".into()));
        assert!(is_gone(|entry| entry.gid = 7));
        assert!(is_gone(|entry| entry.home = "/home/new".into()));
        assert!(is_gone(|entry| entry.shell = "/usr/sbin/nologin".into()));
        assert!(is_gone(|entry| entry.locked = Fact::Is(true)));
        assert!(!is_gone(|entry| entry.local = false));
        // One that never had a password is not locked by that; nor is it when nobody can tell.
        let mut accounts = Accounts::default();
        let keys_only = || Fact::Is(Some(Entry { locked: Fact::Is(true), ..entry() }));
        assert!((0..3).all(|_| matches!(judge(&mut accounts, keys_only()), Some(Verdict::There(_)))));
        // A name is known from the grant itself, also to a spawner that has just begun.
        let renamed = Fact::Is(Some(Entry { name: "alina".into(), ..entry() }));
        assert!(matches!(judge(&mut Accounts::default(), renamed), Some(Verdict::Gone(_))));
    }

    #[test]
    fn what_is_not_known_ends_nothing() {
        let mut accounts = Accounts::default();
        assert_eq!(judge(&mut accounts, Fact::Unknown), None);
        assert!(judge(&mut accounts, Fact::Is(Some(entry()))).is_some());
        assert_eq!(judge(&mut accounts, Fact::Unknown), None);
        assert!(!is_gone(|entry| entry.locked = Fact::Unknown));
    }

    #[test]
    fn directory_that_knows_nobody_is_asked_again() {
        let mut accounts = Accounts::default();
        assert!(judge(&mut accounts, Fact::Is(Some(entry()))).is_some());
        assert!(matches!(judge(&mut accounts, Fact::Is(None)), Some(Verdict::Gone(_))), "this host's own file is sure");
        let mut accounts = Accounts::default();
        let elsewhere = || Fact::Is(Some(Entry { local: false, ..entry() }));
        judge(&mut accounts, elsewhere());
        assert_eq!((judge(&mut accounts, Fact::Is(None)), judge(&mut accounts, Fact::Is(None))), (None, None));
        judge(&mut accounts, elsewhere());
        assert_eq!((judge(&mut accounts, Fact::Is(None)), judge(&mut accounts, Fact::Is(None))), (None, None));
        assert!(matches!(judge(&mut accounts, Fact::Is(None)), Some(Verdict::Gone(_))));
    }

    const QUIET: Marks = [(0, 0, 0, 0, 0); 3];

    /// As though all that are asked about were found as they were.
    fn ask(accounts: &mut Accounts, marks: Marks, now_ms: u64) -> Vec<u32> {
        let asked = accounts.next_asked(|| marks, now_ms);
        for uid in &asked {
            let entry = Entry { name: uid.to_string(), ..entry() };
            accounts.judge(Account { uid: *uid, entry: Fact::Is(Some(entry)) }, &BTreeSet::new());
            accounts.fresh.remove(uid);
        }
        asked
    }

    #[test]
    fn each_of_many_accounts_is_asked_about() {
        let mut accounts = Accounts::default();
        let all: BTreeSet<u32> = (0..700).collect();
        accounts.heed(BTreeSet::new(), all.clone(), |_| true, 0);
        assert_eq!(ask(&mut accounts, QUIET, TICK_MS - 1), [0; 0], "most is held for a moment only");
        let asked: Vec<u32> = (2..5).flat_map(|second| ask(&mut accounts, QUIET, second * TICK_MS)).collect();
        assert_eq!(asked, (1..700).collect::<Vec<_>>(), "not about root");
        assert_eq!(ask(&mut accounts, QUIET, 5 * TICK_MS), [0; 0], "nothing has changed");
        let changed = [(1, 1, 1, 1, 1); 3];
        let asked: Vec<u32> = (0..4).flat_map(|_| ask(&mut accounts, changed, 6 * TICK_MS)).collect();
        assert_eq!(asked, (1..700).collect::<Vec<_>>(), "one after another, without waiting");
        let asked = ask(&mut accounts, changed, 6 * TICK_MS + EVERY_MS);
        assert_eq!(asked.len(), MAX_ASKED, "and from time to time");
        // Those who hold nothing are nobody's matter; a new one comes first.
        accounts.heed([7].into(), all, |_| false, 0);
        accounts.heed([7, 900].into(), BTreeSet::new(), |_| false, 0);
        accounts.look_soon();
        assert_eq!(ask(&mut accounts, changed, 7 * TICK_MS + EVERY_MS), [900, 7]);
        accounts.heed(BTreeSet::new(), BTreeSet::new(), |_| false, 0);
        accounts.look_soon();
        assert_eq!(ask(&mut accounts, changed, 9 * TICK_MS + EVERY_MS), [0; 0]);
    }

    #[test]
    fn who_cannot_be_looked_at_keeps_nobody_else_from_it() {
        let mut accounts = Accounts::default();
        accounts.heed(BTreeSet::new(), (1..2_000).collect(), |_| true, 0);
        let asked = |accounts: &mut Accounts, now_ms| accounts.next_asked(|| QUIET, now_ms);
        let all: BTreeSet<u32> = (1..9).flat_map(|second| asked(&mut accounts, second * TICK_MS)).collect();
        assert_eq!(all.len(), 1_999);
    }
}
