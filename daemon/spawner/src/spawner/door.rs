//! The gate's door: the PAM module asks here whether a gated account may be entered. The answer is this program's own, by its own table
//! of held roles and its own policy: a broken decider can neither give it nor learn of it first.
//!
//! MUSTs
//! 1. Only root's processes are answered, and nobody is waited for (`gate` host tests).
//! 2. A yes is recorded durably before it is said, and a login that cannot be noted does not begin.
//! 3. With no decider nobody is let in: what is recorded then could not be seen by anybody but root.

use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use jitsudo_core::event::{Entrance, Event};
use jitsudo_core::gate::{self, Account, Person};
use jitsudo_core::id::AccessId;
use jitsudo_core::name::Uid;
use jitsudo_link::spawner::FromSpawner;
use jitsudo_login_wire::Buffer;
use jitsudo_login_wire::message::{Answer, Behind, Enter, MAX_TEXT_BYTES, Stage, Verdict};
use jitsudo_sys::channel::Channel;
use jitsudo_sys::clock;
use jitsudo_sys::nix::sys::stat::{Mode, umask};

use super::Spawner;
use crate::behind;
use crate::descriptors;
use crate::judge::Now;
use crate::record;

/// Most who ask at once.
const MAX_ASKING: usize = 256;
/// How long one may take to ask, milliseconds: the module has five seconds in all.
const PATIENCE_MS: u64 = 4_000;
/// Between two looks whether the socket is still there by its name, milliseconds.
const LOOK_MS: u64 = 1_000;
/// Refusals recorded in a minute; the module's own lines in the system log are not counted.
const MAX_REFUSALS: u32 = 60;

/// Who asks, and how many were refused lately.
#[derive(Debug, Default)]
pub(crate) struct Door {
    pub(super) listener: Option<Channel>,
    pub(super) asking: BTreeMap<u64, (Channel, u64)>,
    next: u64,
    /// Those who were let in by the account stage, which is their record: the opening of the same login needs no second one.
    entered: BTreeMap<u32, (String, u64)>,
    refusals: (u64, u32),
    /// Device and inode of the socket's name, while it is ours.
    name: Option<(u64, u64)>,
    /// When that is looked at next, CLOCK_BOOTTIME milliseconds.
    next_look_ms: u64,
}

impl Door {
    /// Listens, in the place of a dead spawner; in words why that cannot be.
    pub(crate) fn open(path: &Path) -> (Self, Option<String>) {
        let listen = || -> std::io::Result<Channel> {
            match std::fs::remove_file(path) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
            // Nobody else runs in this process.
            let before = umask(Mode::from_bits_truncate(0o177));
            let listener = Channel::listen(path);
            umask(before);
            let listener = listener?;
            listener.set_nonblocking(true)?;
            Ok(listener)
        };
        match listen() {
            Ok(listener) => (Self { listener: Some(listener), name: name_of(path), ..Self::default() }, None),
            Err(error) => {
                (Self::default(), Some(format!("nobody enters a gated account: {}: {error}", path.display())))
            }
        }
    }
}

/// What stands at the path, be it nothing.
fn name_of(path: &Path) -> Option<(u64, u64)> {
    std::fs::symlink_metadata(path).ok().map(|data| (data.dev(), data.ino()))
}

impl Spawner {
    /// Makes the socket again when its name is gone, or is another's: the module asks whoever stands there.
    fn look_at_door(&mut self, now_ms: u64) {
        if now_ms < self.door.next_look_ms {
            return;
        }
        self.door.next_look_ms = now_ms.saturating_add(LOOK_MS);
        let path = Path::new(jitsudo_login_wire::SOCKET);
        if self.door.listener.is_some() && self.door.name == name_of(path) {
            return;
        }
        let was_open = self.door.listener.is_some();
        let (fresh, shut) = Door::open(path);
        (self.door.listener, self.door.name) = (fresh.listener, fresh.name);
        // Said when it changes, not each second.
        if was_open {
            let cause = shut.unwrap_or_else(|| format!("{} was gone, or another's: it was made again", path.display()));
            self.recorder.record(Event::SpawnerRefused { id: None, cause });
            self.say_to_all(&FromSpawner::Spooled);
        }
    }

    /// Takes who waits at the door.
    pub(super) fn open_door(&mut self) {
        for _ in 0..super::TURN {
            let Some(Ok(channel)) = self.door.listener.as_ref().map(Channel::accept) else { return };
            let is_root = channel.peer().is_ok_and(|peer| peer.uid == 0);
            let is_full = self.door.asking.len() >= MAX_ASKING || descriptors::leave_room(&channel).is_err();
            if !is_root || is_full || channel.set_nonblocking(true).is_err() {
                continue;
            }
            self.door.next += 1;
            let until_ms = clock::boottime_ms().saturating_add(PATIENCE_MS);
            self.door.asking.insert(self.door.next, (channel, until_ms));
        }
    }

    /// One of them said something.
    pub(super) fn asked_at_door(&mut self, number: u64) {
        let Some((channel, _)) = self.door.asking.get(&number) else { return };
        match channel.receive() {
            Err(error) if error.would_block() => {}
            Ok(Some(message)) => {
                if let Some((channel, _)) = self.door.asking.remove(&number) {
                    self.answer_at_door(&channel, &message.bytes);
                }
            }
            Ok(None) | Err(_) => drop(self.door.asking.remove(&number)),
        }
    }

    /// Who takes too long goes; logins are looked after.
    pub(super) fn door_on_time(&mut self, now_ms: u64) {
        self.look_at_door(now_ms);
        self.door.asking.retain(|_, (_, until_ms)| *until_ms > now_ms);
        self.door.entered.retain(|_, (_, until_ms)| *until_ms > now_ms);
        let over = self.logins.on_time(now_ms);
        if !over.is_empty() {
            for event in over {
                self.recorder.record(event);
            }
            self.say_to_all(&FromSpawner::Spooled);
        }
    }

    fn answer_at_door(&mut self, channel: &Channel, bytes: &[u8]) {
        let answer = match Enter::read(bytes) {
            Ok(enter) => self.decide_at_door(channel, &enter),
            Err(error) => Some(Err(format!("the module's question cannot be read: {error}"))),
        };
        let Some(answer) = answer else { return };
        let (verdict, words) = match &answer {
            Ok(()) => (Verdict::Yes, ""),
            Err(words) => (Verdict::No, words.as_str()),
        };
        let mut end = words.len().min(MAX_TEXT_BYTES);
        while !words.is_char_boundary(end) {
            end -= 1;
        }
        let words = words.get(..end).unwrap_or_default().as_bytes();
        let mut buffer = Buffer::default();
        if (Answer { verdict, words }).write(&mut buffer).is_ok() {
            // Who does not take it is denied by the module itself.
            let _ = channel.send_now(buffer.as_bytes(), &[]);
        }
    }

    /// `None` when no answer is waited for.
    fn decide_at_door(&mut self, channel: &Channel, enter: &Enter<'_>) -> Option<Result<(), String>> {
        let lossy = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let peer = channel.peer().ok()?;
        let mut login = Box::new(Entrance {
            account: lossy(enter.account),
            account_uid: enter.uid.map(Uid),
            service: lossy(enter.service),
            person: None,
            by: by(&enter.behind),
            terminal: enter.terminal.map(lossy),
            remote_host: enter.remote_host.map(lossy),
            remote_user: enter.remote_user.map(lossy),
            pid: peer.pid,
        });
        if enter.stage == Stage::Rescued {
            self.recorder.record(Event::RescueUsed { login });
            self.say_to_all(&FromSpawner::Spooled);
            return None;
        }
        let account = Account { name: &login.account, uid: login.account_uid };
        let mut person = None;
        let found = self.role_for(account, enter, &mut person);
        login.person = person;
        let outcome = found.and_then(|id| self.let_in(id, channel, enter, &login));
        if let Err(cause) = &outcome
            && self.may_record_refusal()
        {
            self.recorder.record(Event::LoginRefused { login, cause: cause.clone() });
            self.say_to_all(&FromSpawner::Spooled);
        }
        Some(outcome.map_err(|cause| format!("jitsudo: {cause}")))
    }

    /// Records it, and ties it to the role when it begins.
    fn let_in(&mut self, id: AccessId, channel: &Channel, enter: &Enter<'_>, login: &Entrance) -> Result<(), String> {
        let now_ms = clock::boottime_ms();
        let entered = self.door.entered.remove(&login.pid).is_some_and(|(account, _)| account == login.account);
        let is_settled = enter.behind != Behind::Later;
        if is_settled && !(entered && enter.stage == Stage::Opening) {
            let event = Event::LoginOpened { id: id.clone(), login: Box::new(login.clone()) };
            if !self.recorder.record(event) {
                return Err("the login cannot be recorded".to_owned());
            }
            self.say_to_all(&FromSpawner::Spooled);
        }
        if enter.stage == Stage::Account {
            if is_settled {
                self.door.entered.insert(login.pid, (login.account.clone(), now_ms.saturating_add(120_000)));
            }
            return Ok(());
        }
        let asker = channel.peer_pidfd().map_err(|error| format!("who asks cannot be held on to: {error}"))?;
        let account = (login.account.as_str(), enter.uid, login.service.as_str());
        let ends = self.grants.end_of(&id).cloned();
        if self.logins.open((&id, &self.host, ends), account, (login.pid, asker), now_ms) {
            Ok(())
        } else {
            Err("the login cannot be noted, so it could not be ended with its role".to_owned())
        }
    }

    /// The role that lets them in, and who they are; in words why there is none.
    fn role_for(&self, account: Account<'_>, enter: &Enter<'_>, who: &mut Option<String>) -> Result<AccessId, String> {
        let name = account.name;
        let policy = self.applied.policy.as_ref().ok_or("no policy is applied")?;
        if self.deciders.is_empty() {
            return Err(format!("{name} cannot be entered while jitsudod is not running"));
        }
        let behind = behind::person(policy, account, &enter.behind)
            .map_err(|cause| format!("nobody could be told to be behind this login to {name}: {cause}"))?;
        // Before sshd tells, an account that is somebody's can only be entered by its owner.
        let person = behind.or_else(|| gate::owner(policy, account).filter(|owner| matches!(owner, Person::Named(_))));
        *who = person.map(|person| person.to_string());
        if person.is_some_and(|person| gate::is_of_another(policy, person, account)) {
            return Err(format!("{name} is no account of yours"));
        }
        let moment = clock::now();
        let now = Now { wall: record::wall(moment), boottime_ms: moment.boottime_ms };
        let held = self.grants.all_usable(now).filter_map(|grant| {
            let holder = Account { name: grant.user.as_deref()?, uid: Some(Uid(grant.requester)) };
            let holder = gate::owner(policy, holder)?;
            let is_theirs = person.is_none_or(|person| person == holder);
            (is_theirs && gate::lets_in(policy, &grant.role, holder, account)).then_some(grant)
        });
        let longest = held.max_by_key(|grant| grant.ends.at);
        longest.map(|grant| grant.id.clone()).ok_or_else(|| {
            let roles = person.map(|person| gate::roles(policy, person, account)).unwrap_or_default();
            match roles.first() {
                Some(role) => {
                    format!("{name} is entered only while you hold a role for it\nhint: jitctl request {role}")
                }
                None => format!("{name} is entered only while you hold a role for it, and no role gives it to you"),
            }
        })
    }

    fn may_record_refusal(&mut self) -> bool {
        let now_ms = clock::boottime_ms();
        let (since_ms, count) = self.door.refusals;
        self.door.refusals = if now_ms.saturating_sub(since_ms) > 60_000 { (now_ms, 1) } else { (since_ms, count + 1) };
        self.door.refusals.1 <= MAX_REFUSALS
    }
}

/// How the person is settled, for the record.
fn by(behind: &Behind<'_>) -> Option<String> {
    match behind {
        Behind::Owner => Some("owner".to_owned()),
        Behind::Caller { uid, name, .. } => Some(format!("caller {} (uid {uid})", String::from_utf8_lossy(name))),
        Behind::Authenticated(methods) => {
            let text = String::from_utf8_lossy(methods);
            Some(text.lines().map(|line| line.chars().take(200).collect::<String>()).collect::<Vec<_>>().join("; "))
        }
        Behind::Later => None,
    }
}
