//! Compares what is on the host with what was given: pure.
//!
//! A grant that is over may still be on the host for as long as its end takes: two seconds where the spawner runs, else until the sweep has come.
//! What the record names as not taken back is told, and is no violation: somebody is told already, and it is tried again.

use std::collections::BTreeSet;

use jiff::Timestamp;
use jitsudo_core::id::{AccessId, SessionId};
use jitsudo_core::lends::Effect;
use jitsudo_core::state::Access;

use super::host::{DropIn, Note, Process, SUDOERS_LINE, Seen};
use super::log::{Log, Support};

/// Milliseconds that an end takes at most with the spawner.
const WITH_SPAWNER_MS: u64 = 2_000;
/// Without it: the sweep's timer, its patience and its work.
const WITHOUT_MS: u64 = 61_000;
/// Milliseconds that a session's note may name beyond the grant's end: the grace and the spawner's patience.
const SESSION_MS: u64 = 10_000;

/// What kind of thing was found.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Kind {
    /// The ledger or the spool cannot be read or proved.
    Ledger,
    /// A file of the host cannot be read.
    Host,
    /// A note of a grant, or of a session.
    Note,
    /// An entry in group or gshadow.
    Group,
    /// A drop-in of sudo's.
    DropIn,
    /// A session's processes.
    Session,
    /// A process outside of sessions.
    Process,
}

impl Kind {
    /// Its name in JSON.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Ledger => "ledger",
            Self::Host => "host",
            Self::Note => "note",
            Self::Group => "group",
            Self::DropIn => "drop_in",
            Self::Session => "session",
            Self::Process => "process",
        }
    }
}

/// Something that is there and is not given.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Finding {
    pub(crate) kind: Kind,
    /// The grant that it says it is of.
    pub(crate) grant: Option<AccessId>,
    /// What is there.
    pub(crate) what: String,
    /// Why it should not be.
    pub(crate) why: String,
    /// The record says so itself.
    pub(crate) known: bool,
}

impl Finding {
    /// True for the same thing, whatever the words about it.
    pub(crate) fn is_same_as(&self, other: &Self) -> bool {
        (self.kind, &self.grant, &self.what) == (other.kind, &other.grant, &other.what)
    }
}

/// What came of a comparison.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Verdict {
    /// Accesses that may have something on the host.
    pub(crate) grants: u64,
    /// Things on the host that were compared.
    pub(crate) privileges: u64,
    /// Events proved in the ledger's chain.
    pub(crate) events: u64,
    /// Events that wait in the spool.
    pub(crate) spooled: u64,
    /// What is there and should not be.
    pub(crate) findings: Vec<Finding>,
}

impl Verdict {
    /// Nothing could be compared.
    pub(super) fn unreadable(why: String) -> Self {
        let what = "the log".to_owned();
        Self { findings: vec![Finding { kind: Kind::Ledger, grant: None, what, why, known: false }], ..Self::default() }
    }

    /// True when everything on the host is given.
    pub(crate) fn holds(&self) -> bool {
        self.findings.iter().all(|finding| finding.known)
    }
}

/// Compares.
pub(super) fn judge(seen: &Seen, log: &Log) -> Verdict {
    let mut judge = Judge { seen, log, verdict: Verdict::default() };
    judge.verdict.grants = log.state.live_accesses().count() as u64;
    judge.verdict.events = log.report.events;
    judge.verdict.spooled = log.spooled as u64;
    for flaw in log.flaws() {
        judge.find(Kind::Ledger, None, "the log".to_owned(), flaw);
    }
    for trouble in &seen.troubles {
        judge.find(Kind::Host, None, "a file of the host".to_owned(), trouble.clone());
    }
    judge.notes();
    judge.groups();
    seen.drop_ins.iter().for_each(|drop_in| judge.drop_in(drop_in));
    judge.sessions();
    seen.processes.iter().for_each(|process| judge.process(process));
    judge.verdict
}

struct Judge<'a> {
    seen: &'a Seen,
    log: &'a Log,
    verdict: Verdict,
}

impl Judge<'_> {
    fn find(&mut self, kind: Kind, grant: Option<&AccessId>, what: String, why: String) {
        self.add(kind, grant, what, why, false);
    }

    fn add(&mut self, kind: Kind, grant: Option<&AccessId>, what: String, why: String, known: bool) {
        let finding = Finding { kind, grant: grant.cloned(), what, why, known };
        if !self.verdict.findings.iter().any(|other| other.is_same_as(&finding)) {
            self.verdict.findings.push(finding);
        }
    }

    /// Milliseconds that what is over may take to go.
    fn patience_ms(&self) -> u64 {
        let settled = |since: u64| self.seen.now.boottime_ms >= since.saturating_add(WITH_SPAWNER_MS);
        if self.seen.spawner_since_ms.is_some_and(settled) { WITH_SPAWNER_MS } else { WITHOUT_MS }
    }

    /// Counts a thing that says it is of this grant; true when the grant gives something to this account, or its end is under way.
    fn is_given(&mut self, kind: Kind, id: &AccessId, uid: Option<u32>, what: &str) -> bool {
        self.verdict.privileges += 1;
        let asked = self.log.state.access(id).map(Access::asked_for);
        if let (Some(asked), Some(uid)) = (asked, uid)
            && asked.uid.0 != uid
        {
            let why = format!("grant {id} is of uid {}, not of uid {uid}", asked.uid.0);
            self.find(kind, Some(id), what.to_owned(), why);
            return false;
        }
        match self.log.support(id, &self.seen.now) {
            Support::Live => true,
            Support::Over(ms) if ms <= self.patience_ms() => true,
            Support::Over(ms) => {
                self.find(kind, Some(id), what.to_owned(), format!("its grant is over for {} s", ms / 1000));
                false
            }
            Support::Unclean(cause) => {
                self.add(
                    kind,
                    Some(id),
                    what.to_owned(),
                    format!("its end is on record as not complete: {cause}"),
                    true,
                );
                false
            }
            Support::Never => {
                self.find(kind, Some(id), what.to_owned(), "no durable record gives it".to_owned());
                false
            }
        }
    }

    /// A note is a right that is held, or is about to be: commands start by it, and it decides when the end comes.
    fn notes(&mut self) {
        for (path, note) in &self.seen.notes {
            let what = format!("the note {}", path.display());
            let note = match note {
                Ok(note) => note,
                Err(why) => {
                    self.find(Kind::Note, None, what, why.clone());
                    continue;
                }
            };
            if !self.is_given(Kind::Note, &note.id, Some(note.uid), &what) {
                continue;
            }
            let Some(given) = self.log.given(&note.id) else { continue };
            if note.boot != given.ends.boot {
                self.find(Kind::Note, Some(&note.id), what.clone(), "it is of another boot than its grant".to_owned());
            } else if note.ends_at > given.ends.at || note.ends_boottime_ms > given.ends.boottime_ms {
                let why = format!("it ends at {}, its grant at {}", note.ends_at, given.ends.at);
                self.find(Kind::Note, Some(&note.id), what.clone(), why);
            }
            if let Some(unlogged) = self.unlogged(note) {
                self.find(Kind::Note, Some(&note.id), what, format!("{unlogged} was made without a record"));
            }
        }
        for (name, until_ms) in &self.seen.session_notes {
            let Ok(session) = SessionId::try_from(name.clone()) else { continue };
            let Some(given) = self.log.given(&session.access) else { continue };
            let finish_ms =
                self.log.finish.get(&session).map_or(0, |until| until.duration_since(given.ends.at).as_millis());
            let bound_ms = given.ends.boottime_ms.saturating_add(u64::try_from(finish_ms).unwrap_or(0));
            if given.ends.boot == self.seen.now.boot && *until_ms > bound_ms.saturating_add(SESSION_MS) {
                let why = format!("it lets the session run {} ms past its end", until_ms - bound_ms);
                self.find(Kind::Note, Some(&session.access), format!("the note of session {name}"), why);
            }
        }
    }

    /// An effect that is there by the note, and of which the log of a grant that is active knows nothing.
    fn unlogged(&self, note: &Note) -> Option<String> {
        let Some(Access::Active(given)) = self.log.state.access(&note.id) else { return None };
        let unlogged = |effect: &Effect| !given.lent.contains(effect);
        let mut effects = note.effects.iter().filter(|noted| noted.ours && noted.applied);
        effects.find(|noted| unlogged(&noted.effect)).map(|noted| noted.effect.to_string())
    }

    /// Entries in group and gshadow that jitsudo made, by its notes or by the log.
    fn groups(&mut self) {
        let mut claims: Vec<(AccessId, u32, String, String, Option<u32>)> = Vec::new();
        for note in self.seen.notes.iter().filter_map(|(_, note)| note.as_ref().ok()) {
            for noted in note.effects.iter().filter(|noted| noted.ours) {
                if let Effect::Membership(group) = &noted.effect {
                    claims.push((note.id.clone(), note.uid, note.user.clone(), group.clone(), noted.gid));
                }
            }
        }
        for access in self.log.state.all() {
            let Some(given) = access.given() else { continue };
            for effect in &given.lent {
                if let Effect::Membership(group) = effect {
                    let asked = access.asked_for();
                    let user = asked.user.clone().unwrap_or_default();
                    claims.push((asked.id.clone(), asked.uid.0, user, group.clone(), None));
                }
            }
        }
        for (id, uid, user, group, gid) in claims {
            let now_called = self.seen.accounts.iter().find(|(_, number, _)| *number == uid).map(|(name, _, _)| name);
            let names: BTreeSet<&str> = [user.as_str()].into_iter().chain(now_called.map(String::as_str)).collect();
            let is_meant = |name: &str, number: Option<u32>| name == group || (number.is_some() && number == gid);
            let entries = self.seen.groups.iter().filter(|line| is_meant(&line.name, line.gid));
            let entries = entries.filter(|line| line.members.iter().any(|member| names.contains(member.as_str())));
            for (file, name) in entries.map(|line| (line.file, line.name.clone())).collect::<Vec<_>>() {
                // Another grant of the same account may have taken it over.
                if !self.is_lent(uid, &group, &id) {
                    self.is_given(Kind::Group, &id, Some(uid), &format!("{user} in group {name} ({file})"));
                } else {
                    self.verdict.privileges += 1;
                }
            }
        }
    }

    /// True when another grant than this one, live, lends the group to the account.
    fn is_lent(&self, uid: u32, group: &str, but: &AccessId) -> bool {
        let is_live = |id: &AccessId| id != but && self.log.support(id, &self.seen.now) == Support::Live;
        let logged = self.log.lent.get(&(uid, group.to_owned())).into_iter().flatten();
        let of_account =
            self.seen.notes.iter().filter_map(|(_, note)| note.as_ref().ok()).filter(|note| note.uid == uid);
        let lends = |note: &&Note| {
            let mut effects = note.effects.iter().filter(|noted| noted.ours);
            effects.any(|noted| noted.effect == Effect::Membership(group.to_owned()))
        };
        let noted = of_account.filter(lends).map(|note| &note.id);
        logged.chain(noted).any(is_live)
    }

    fn drop_in(&mut self, drop_in: &DropIn) {
        let what = format!("the drop-in {}", drop_in.path.display());
        let name = drop_in.path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        let text = match &drop_in.text {
            Ok(text) => text,
            Err(why) => return self.find(Kind::DropIn, None, what, why.clone()),
        };
        let mut lines = text.lines().filter(|line| !line.trim().is_empty() && !is_comment(line));
        if !drop_in.ours && name.parse::<AccessId>().is_err() {
            if let Some(line) = lines.find(|line| *line != SUDOERS_LINE) {
                self.find(Kind::DropIn, None, what, format!("it says {line:?}; only `{SUDOERS_LINE}` belongs there"));
            }
            return;
        }
        let Ok(id) = name.parse::<AccessId>() else {
            return self.find(Kind::DropIn, None, what, "its name is no grant's".to_owned());
        };
        if !drop_in.ours {
            return self.find(
                Kind::DropIn,
                Some(&id),
                what,
                "a grant's drop-in has no place outside of /run".to_owned(),
            );
        }
        let lines: Vec<&str> = lines.collect();
        // A line that has no end is one that the role accepts so; jitsudo ends it with its grant. Until that is active what it lends is
        // perhaps not on record yet.
        let may_lack_end = self.log.given(&id).is_some_and(|given| {
            let is_active = matches!(self.log.state.access(&id), Some(Access::Active(_)));
            !is_active || given.lent.iter().any(|effect| matches!(effect, Effect::SudoersWithoutEnd(_)))
        });
        let uids: BTreeSet<Option<u32>> = lines.iter().map(|line| subject(line, may_lack_end)).collect();
        for uid in uids {
            if uid.is_none() {
                let why = "a line of it is not of the kind that jitsudo writes".to_owned();
                self.find(Kind::DropIn, Some(&id), what.clone(), why);
            } else if !self.is_given(Kind::DropIn, &id, uid, &what) {
                return;
            }
        }
        let Some(given) = self.log.given(&id) else { return };
        for line in &lines {
            let at = not_after(line);
            let is_accepted = at.is_none() && may_lack_end;
            if !is_accepted && at.is_none_or(|at| at > given.ends.at) {
                let why = format!("it does not end with its grant: {line}");
                self.find(Kind::DropIn, Some(&id), what.clone(), why);
            }
        }
        // Until the grant is active its effects are perhaps not on record yet.
        if let Some(Access::Active(given)) = self.log.state.access(&id) {
            let lent = given.lent.iter().filter_map(Effect::sudoers_lines);
            let lent: BTreeSet<String> = lent.flatten().map(|command| as_sudoers_has_it(command)).collect();
            let more =
                lines.iter().filter_map(|line| line.split_once("NOPASSWD: ")).find(|(_, one)| !lent.contains(*one));
            if let Some((_, command)) = more {
                self.find(Kind::DropIn, Some(&id), what, format!("no record lends {command:?}"));
            }
        }
    }

    fn sessions(&mut self) {
        for group in &self.seen.strange_groups {
            let what = format!("processes in {}", group.display());
            self.find(Kind::Session, None, what, "that group is no session's".to_owned());
        }
        for (session, pids) in &self.seen.sessions {
            let what = format!("session {session}");
            let Some(given) = self.log.given(&session.access) else {
                self.is_given(Kind::Session, &session.access, None, &what);
                continue;
            };
            let logged = given.sessions.get(&session.number);
            if logged.and_then(|one| one.left.as_ref()).is_some_and(|left| left.released) {
                // By its role they are the host's from then on.
                continue;
            }
            match self.log.finishes(session, &self.seen.now) {
                Some(late) if late <= self.patience_ms() => {
                    self.verdict.privileges += 1;
                    continue;
                }
                Some(late) => {
                    let why = format!("it had time to finish until {} s ago", late / 1000);
                    self.find(Kind::Session, Some(&session.access), what, why);
                    continue;
                }
                None if !self.is_given(Kind::Session, &session.access, None, &what) => continue,
                None => {}
            }
            let Some(logged) = logged else {
                // A grant may have had more sessions than are remembered.
                if given.sessions.len() < 1000 {
                    let why = format!("no record says that it was started, and {} processes run in it", pids.len());
                    self.find(Kind::Session, Some(&session.access), what, why);
                }
                continue;
            };
            let patience = i64::try_from(self.patience_ms()).unwrap_or(i64::MAX);
            let late = logged.ends_at.and_then(|at| at.checked_add(jiff::SignedDuration::from_millis(patience)).ok());
            if late.is_some_and(|late| late < self.seen.now.wall) {
                let why = format!("its own end was at {}", logged.ends_at.unwrap_or_default());
                self.find(Kind::Session, Some(&session.access), what, why);
            }
        }
    }

    fn process(&mut self, process: &Process) {
        let in_session = self.seen.sessions.iter().any(|(_, pids)| pids.contains(&process.pid));
        if in_session {
            return;
        }
        let what = format!("process {} ({})", process.pid, process.name);
        if let Some((boot, session)) = process.audit_session.and_then(|audit| self.log.audit_sessions.get(&audit)) {
            let logged = self.log.given(&session.access).and_then(|given| given.sessions.get(&session.number));
            let released = logged.and_then(|one| one.left.as_ref()).is_some_and(|left| left.released);
            if *boot == self.seen.now.boot && !released {
                self.is_given(Kind::Process, &session.access, None, &what);
            }
        }
        for (uid, gid, group, ids) in self.lent_gids(process) {
            let user = self.seen.accounts.iter().find(|(_, number, _)| *number == uid);
            let primary = user.is_some_and(|(_, _, own)| *own == gid);
            let lines = self.seen.groups.iter().filter(|line| line.gid == Some(gid));
            let mut members = lines.flat_map(|line| &line.members);
            if primary || user.is_some_and(|(name, _, _)| members.any(|member| member == name)) {
                continue;
            }
            let supports = ids.iter().map(|id| (self.log.support(id, &self.seen.now), id)).collect::<Vec<_>>();
            let patience = self.patience_ms();
            let is_fine = |support: &Support| match support {
                Support::Live => true,
                Support::Over(ms) => *ms <= patience,
                Support::Unclean(_) | Support::Never => false,
            };
            self.verdict.privileges += 1;
            if !supports.iter().any(|(support, _)| is_fine(support)) {
                let known = supports.iter().any(|(support, _)| matches!(support, Support::Unclean(_)));
                let why = format!("it has gid {gid} of group {group}, which no grant lends to uid {uid} any more");
                self.add(Kind::Process, supports.first().map(|(_, id)| *id), what.clone(), why, known);
            }
        }
    }

    /// The gids of a process that were ever lent to its account, with the grants that did.
    fn lent_gids(&self, process: &Process) -> Vec<(u32, u32, String, Vec<AccessId>)> {
        let uids: BTreeSet<u32> = process.uids.iter().copied().collect();
        let mut found: Vec<(u32, u32, String, Vec<AccessId>)> = Vec::new();
        let mut add = |uid: u32, gid: u32, group: &str, ids: Vec<AccessId>| {
            if uids.contains(&uid) && process.gids.contains(&gid) {
                found.push((uid, gid, group.to_owned(), ids));
            }
        };
        let gid_of = |group: &str| self.seen.groups.iter().find(|line| line.name == group).and_then(|line| line.gid);
        for ((uid, group), ids) in &self.log.lent {
            if let Some(gid) = gid_of(group) {
                add(*uid, gid, group, ids.iter().cloned().collect());
            }
        }
        let name_of = |gid: u32| {
            let line = self.seen.groups.iter().find(|line| line.gid == Some(gid));
            line.map_or_else(|| gid.to_string(), |line| line.name.clone())
        };
        for ((uid, gid), ids) in &self.log.lent_gids {
            add(*uid, *gid, &name_of(*gid), ids.iter().cloned().collect());
        }
        for note in self.seen.notes.iter().filter_map(|(_, note)| note.as_ref().ok()) {
            for group in &note.groups {
                if let Some(gid) = gid_of(group) {
                    add(note.uid, gid, group, vec![note.id.clone()]);
                }
            }
            for noted in &note.effects {
                if let (Effect::Membership(group), Some(gid), true) = (&noted.effect, noted.gid, noted.ours) {
                    add(note.uid, gid, group, vec![note.id.clone()]);
                }
            }
        }
        // One gid, with every grant that lends it.
        let mut joined: Vec<(u32, u32, String, Vec<AccessId>)> = Vec::new();
        for (uid, gid, group, ids) in found {
            match joined.iter_mut().find(|one| (one.0, one.1) == (uid, gid)) {
                Some(one) => one.3.extend(ids),
                None => joined.push((uid, gid, group, ids)),
            }
        }
        joined
    }
}

/// A comment, and not a subject by its number.
fn is_comment(line: &str) -> bool {
    let line = line.trim_start();
    line.starts_with('#') && !line.get(1..2).is_some_and(|next| next.bytes().all(|byte| byte.is_ascii_digit()))
}

/// The uid that a line of jitsudo's is for; none for a line of another form.
fn subject(line: &str, may_lack_end: bool) -> Option<u32> {
    let (subject, rest) = line.strip_prefix('#')?.split_once(' ')?;
    let rest = rest.strip_prefix("ALL=(root) ")?;
    let without_end = rest.starts_with("TIMEOUT=") || rest.starts_with("NOPASSWD: ");
    let is_ours = rest.starts_with("NOTAFTER=") || (may_lack_end && without_end);
    is_ours.then(|| subject.parse().ok()).flatten()
}

/// `NOTAFTER=yyyymmddHHMMSSZ`.
fn not_after(line: &str) -> Option<Timestamp> {
    let digits = line.split_once("NOTAFTER=")?.1.split_once('Z')?.0;
    let part = |from: usize, to: usize| digits.get(from..to);
    let text = format!(
        "{}-{}-{}T{}:{}:{}Z",
        part(0, 4)?,
        part(4, 6)?,
        part(6, 8)?,
        part(8, 10)?,
        part(10, 12)?,
        part(12, 14)?
    );
    text.parse().ok()
}

/// A role's command as sudoers(5) has it: one without arguments takes none, and three characters are escaped.
fn as_sudoers_has_it(command: &str) -> String {
    if command == "ALL" {
        return command.to_owned();
    }
    let escaped = command.replace(',', "\\,").replace(':', "\\:").replace('=', "\\=");
    if command.contains(' ') { escaped } else { format!("{escaped} \"\"") }
}
