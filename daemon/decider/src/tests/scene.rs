//! A daemon with everything around it played: spawner, journald, clients.

use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;
use std::time::Duration;

use jitsudo_core::event::Signed;
use jitsudo_core::facts::{Fact, Facts};
use jitsudo_core::language::{HostLookup, SourceFile, compile};
use jitsudo_core::name::Uid;
use jitsudo_link::facts::{About, Peer};
use jitsudo_link::locks::Locked;
use jitsudo_link::settings::Settings;
use jitsudo_link::spawner::{
    ApplyOutcome, FromSpawner, Memory, ProofOutcome, ReviewOutcome, SignOutcome, Start, ToSpawner, Told, Untold, Wanted,
};
use jitsudo_protocol::VERSION;
use jitsudo_protocol::act::{Act, ActKind, ActOptions, Assembler, Progress};
use jitsudo_protocol::client::{Ask, Fault, FromClient, FromDecider, Say};
use jitsudo_sys::channel::Channel;
use jitsudo_sys::nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::{Folder, folder, samples};
use crate::daemon::{Daemon, Setup};
use crate::places::{Patience, Places};

/// The uid that the tests run as.
pub(crate) fn own() -> u32 {
    jitsudo_sys::nix::unistd::geteuid().as_raw()
}

/// What the played spawner does when a session is to be started.
#[derive(Clone, Debug)]
pub(crate) enum OnStart {
    HandOver,
    Refuse { cause: String, disagree: bool },
}

/// What is played.
#[derive(Clone, Debug)]
pub(crate) struct Play {
    /// TOML of the applied policy.
    pub(crate) policy: Option<String>,
    pub(crate) facts: Facts,
    pub(crate) on_start: OnStart,
    pub(crate) apply: Option<ApplyOutcome>,
    pub(crate) answers_looks: bool,
    pub(crate) has_spawner: bool,
    pub(crate) has_ledger: bool,
    /// Whose uid counts as root's.
    pub(crate) root: u32,
    pub(crate) patience: Patience,
    /// Spool files that lie there at the start: name and JSON.
    pub(crate) spooled: Vec<(String, String)>,
    /// What was signed, as the played spawner tells; `None` = an older one.
    pub(crate) memory: Option<Memory>,
    pub(crate) on_sign: SignOutcome,
    /// A ledger to begin with.
    pub(crate) ledger: Option<PathBuf>,
    /// It tells people on their terminals; these accounts are at some.
    pub(crate) tells: bool,
    pub(crate) here: Vec<jitsudo_link::facts::Account>,
    /// How long the spawner is silent at first.
    pub(crate) greets_after: Duration,
    /// Whom the played spawner knows to be locked; `None` = an older one.
    pub(crate) locks: Option<Vec<Locked>>,
    /// Why it unlocks nobody.
    pub(crate) keeps_locked: Option<String>,
    /// What it finds of an answer that is said to be this person's; none: an older one.
    pub(crate) on_proof: Vec<(String, ProofOutcome)>,
}

/// A signature for the played host.
pub(crate) fn signed(host: &str) -> Signed {
    Signed { host: host.into(), key: "SHA256:x".into(), at: "2026-10-04T10:15:00Z".into(), signature: "U1NI".into() }
}

impl Default for Play {
    fn default() -> Self {
        let mut facts = samples::facts();
        facts.requester.uid = Uid(own());
        Self {
            policy: None,
            facts,
            on_start: OnStart::HandOver,
            apply: None,
            answers_looks: true,
            has_spawner: true,
            has_ledger: true,
            root: own(),
            patience: Patience { tick_ms: 50, ..Patience::default() },
            spooled: Vec::new(),
            memory: None,
            on_sign: SignOutcome::Done(Box::new(signed("web-1"))),
            ledger: None,
            tells: true,
            here: Vec::new(),
            greets_after: Duration::ZERO,
            locks: Some(Vec::new()),
            keeps_locked: None,
            on_proof: Vec::new(),
        }
    }
}

/// A rule for whoever runs the tests (as root it is alice who became root).
pub(crate) fn rules(more: &str) -> String {
    format!(
        "[roles.ids]\nrun = [\"/usr/bin/id\", \"/usr/bin/id ...\"]\n\
         [[allow]]\nname = \"ids\"\nwho = [\"#1000\", \"#{}\"]\nroles = [\"ids\"]\nauth = \"none\"\n{more}",
        own()
    )
}

fn compiled(text: &str) -> Vec<u8> {
    let files = [SourceFile { name: "10.toml".into(), bytes: text.as_bytes().to_vec() }];
    let host = HostLookup { zone: &|_| None, resolve_directory: &|path| path.to_owned(), group_has_more: &|_| None };
    let compiled = compile(&files, &host).unwrap_or_else(|errors| panic!("{}", errors[0].render(&files, false)));
    compiled.policy.to_compiled()
}

/// Puts a policy where the applied one is.
pub(crate) fn put_policy(folder: &Path, text: &str) -> Vec<u8> {
    let (bytes, path) = (compiled(text), folder.join("applied.json"));
    std::fs::write(&path, &bytes).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o640)).unwrap();
    bytes
}

/// What the played spawner was told.
#[derive(Debug)]
pub(crate) enum Seen {
    Look(About),
    /// The start, its act, and what the ledger held at that moment.
    Start(Box<Start>, Box<Act>, String),
    Apply {
        dry_run: bool,
    },
    /// Whose connection was attached.
    Forget {
        all: bool,
        uid: u32,
    },
    Folded(Vec<String>),
    /// Whom, and what.
    Tell(Vec<u32>, String),
    EndGrant(jitsudo_core::id::AccessId, jitsudo_core::event::EndCause),
    Lock(Uid),
    /// Whose lock, and whose connection was attached.
    Unlock(Uid, u32),
    /// What was to be signed, and what the ledger held at that moment.
    Sign(Wanted, String),
    /// The same on the word of somebody, by uid.
    Acknowledge(Wanted, u32, String),
}

/// A running daemon.
pub(crate) struct Scene {
    pub(crate) folder: Folder,
    pub(crate) seen: Receiver<Seen>,
    pub(crate) journal: UnixDatagram,
    stop: Option<OwnedFd>,
    daemon: Option<JoinHandle<()>>,
}

impl Scene {
    pub(crate) fn play(name: &str, play: Play) -> Self {
        let folder = folder(name);
        // Others connect here.
        std::fs::set_permissions(&*folder, std::fs::Permissions::from_mode(0o755)).unwrap();
        let make = |name: &str| std::fs::DirBuilder::new().mode(0o700).create(folder.join(name)).unwrap();
        make("spool");
        if play.has_ledger {
            make("ledger");
            for entry in play.ledger.iter().flat_map(|from| std::fs::read_dir(from).unwrap()) {
                let entry = entry.unwrap();
                std::fs::copy(entry.path(), folder.join("ledger").join(entry.file_name())).unwrap();
            }
        }
        for (name, json) in &play.spooled {
            jitsudo_ledger::spool::write(&folder.join("spool"), name, json).unwrap();
        }
        let policy = play.policy.as_deref().map(|text| put_policy(&folder, text));
        // Of any form: whose key it is says its fingerprint.
        std::fs::write(folder.join("host.pub"), "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5 web-1\n").unwrap();
        let journal = UnixDatagram::bind(folder.join("journal")).unwrap();
        let syslog = UnixDatagram::bind(folder.join("log")).unwrap();
        let (sender, seen) = channel();
        if play.has_spawner {
            let listener = Channel::listen(&folder.join("spawner")).unwrap();
            let digest = policy.as_deref().map(jitsudo_protocol::digest::of_bytes);
            let (play, ledger) = (play.clone(), folder.join("ledger"));
            std::thread::spawn(move || play_spawner(&listener, &play, digest, &sender, &ledger));
        }
        let listener = Channel::listen(&folder.join("socket")).unwrap();
        std::fs::set_permissions(folder.join("socket"), std::fs::Permissions::from_mode(0o666)).unwrap();
        let places = Places {
            spawner: folder.join("spawner"),
            policy: folder.join("applied.json"),
            ledger: folder.join("ledger"),
            reserve_bytes: 0,
            spool: folder.join("spool"),
            journal: folder.join("journal"),
            syslog: folder.join("log"),
            host_key: folder.join("host.pub"),
            root: play.root,
        };
        let (ended, stop) = std::io::pipe().unwrap();
        let daemon = std::thread::spawn(move || {
            let _open = syslog;
            let setup = Setup {
                listener,
                signals: None,
                places,
                patience: play.patience,
                settings: Settings::default(),
                nodename: "Web-1".into(),
                boot: jitsudo_sys::clock::boot_id().unwrap(),
                stop: Some(ended.into()),
            };
            Daemon::prepare(setup).map_err(|error| error.to_string()).unwrap().serve().unwrap();
        });
        Self { folder, seen, journal, stop: Some(stop.into()), daemon: Some(daemon) }
    }

    pub(crate) fn client(&self) -> Caller {
        Caller::connect(&self.folder.join("socket"))
    }

    /// The events in the ledger, by name.
    pub(crate) fn events(&self) -> Vec<String> {
        ledger_text(&self.folder.join("ledger"))
            .lines()
            .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap()["event"].as_str().unwrap().to_owned())
            .filter(|name| name != "head_published")
            .collect()
    }

    /// Ends the daemon and waits until everything is written.
    pub(crate) fn end(&mut self) {
        self.stop = None;
        if let Some(daemon) = self.daemon.take() {
            daemon.join().unwrap();
        }
    }
}

impl Drop for Scene {
    fn drop(&mut self) {
        self.stop = None;
        if let Some(daemon) = self.daemon.take() {
            let _ = daemon.join();
        }
    }
}

pub(crate) fn ledger_text(dir: &Path) -> String {
    let lines = jitsudo_ledger::read(dir, 0, |_| true).unwrap();
    lines.map(|line| String::from_utf8(line.unwrap().bytes).unwrap() + "\n").collect()
}

fn play_spawner(listener: &Channel, play: &Play, policy: Option<String>, seen: &Sender<Seen>, ledger: &Path) {
    while let Ok(decider) = listener.accept() {
        decider.set_nonblocking(false).unwrap();
        let say = |message: &FromSpawner| decider.send(&serde_json::to_vec(message).unwrap(), &[]).is_ok();
        std::thread::sleep(play.greets_after);
        let (memory, grants, reviews, extends) = (play.memory.clone(), true, true, true);
        say(&FromSpawner::Ready {
            policy: policy.clone(),
            memory,
            grants,
            reviews,
            extends,
            effects: true,
            tells: play.tells,
            locks: play.locks.clone(),
            knows: true,
            proves: !play.on_proof.is_empty(),
        });
        let mut arriving: Option<(u64, Box<Start>, Channel, Progress)> = None;
        while let Ok(Some(message)) = decider.receive() {
            let connection = message.descriptors.into_iter().next().map(Channel::from_descriptor);
            match serde_json::from_slice(&message.bytes).unwrap() {
                ToSpawner::Look { number, about } => {
                    let _ = seen.send(Seen::Look(about));
                    if play.answers_looks {
                        let peer = connection.unwrap().peer().unwrap();
                        let peer = Peer { pid: peer.pid, uid: peer.uid, gid: peer.gid };
                        let mut facts = play.facts.clone();
                        if peer.uid != own() {
                            facts.requester.uid = Uid(peer.uid);
                            facts.requester.loginuid = Fact::Is(None);
                        }
                        say(&FromSpawner::Looked {
                            number,
                            peer,
                            facts: Box::new(facts),
                            process: None,
                            program: None,
                            inside: Some(false),
                        });
                    }
                }
                ToSpawner::Start { number, start, act } => {
                    arriving = Some((number, start, connection.unwrap(), Assembler::begin(*act).unwrap()));
                }
                ToSpawner::More { number, more } => {
                    let (expected, start, connection, progress) = arriving.take().unwrap();
                    assert_eq!(number, expected);
                    let Progress::More(assembler) = progress else { panic!("whole already") };
                    arriving = Some((number, start, connection, assembler.more(more).unwrap()));
                }
                ToSpawner::Apply { number, dry_run, expect: _ } => {
                    let _ = seen.send(Seen::Apply { dry_run });
                    say(&FromSpawner::Applied { number, outcome: play.apply.clone().unwrap() });
                }
                ToSpawner::Forget { number, all } => {
                    let peer = connection.unwrap().peer().unwrap();
                    let _ = seen.send(Seen::Forget { all, uid: peer.uid });
                    say(&FromSpawner::Forgotten { number });
                }
                ToSpawner::Sign { number, wanted } => {
                    let outcome = play.on_sign.clone();
                    let _ = seen.send(Seen::Sign(wanted, ledger_text(ledger)));
                    say(&FromSpawner::Signed { number, outcome });
                }
                ToSpawner::Acknowledge { number, wanted } => {
                    let peer = connection.unwrap().peer().unwrap();
                    let _ = seen.send(Seen::Acknowledge(wanted, peer.uid, ledger_text(ledger)));
                    say(&FromSpawner::Signed { number, outcome: play.on_sign.clone() });
                }
                ToSpawner::EndGrant { number, id, cause } => {
                    let _ = seen.send(Seen::EndGrant(id, cause));
                    say(&FromSpawner::Ending { number, known: true });
                }
                ToSpawner::Review { number, id: _ } => {
                    say(&FromSpawner::Reviewed { number, outcome: ReviewOutcome::Done { known: true } });
                }
                ToSpawner::WhoIsHere { number } => {
                    say(&FromSpawner::Here { number, accounts: play.here.clone() });
                }
                ToSpawner::Tell { number, to, text } => {
                    let failed = to.iter().filter(|uid| **uid == 1003).map(|uid| Untold {
                        uid: *uid,
                        to: "pts/9".into(),
                        cause: "the terminal is stopped".into(),
                    });
                    let failed = failed.collect();
                    let _ = seen.send(Seen::Tell(to, text));
                    say(&FromSpawner::Told { number, told: Told { terminals: 1, failed } });
                }
                ToSpawner::Lock { uid, user: _ } => {
                    let _ = seen.send(Seen::Lock(uid));
                }
                ToSpawner::Unlock { number, uid } => {
                    let by = connection.unwrap().peer().unwrap().uid;
                    let _ = seen.send(Seen::Unlock(uid, by));
                    say(&FromSpawner::Unlocked { number, refused: play.keeps_locked.clone() });
                }
                ToSpawner::Prove { number, handed } => {
                    let found = play.on_proof.iter().find(|(person, _)| *person == handed.person);
                    say(&FromSpawner::Proved { number, outcome: found.unwrap().1.clone() });
                }
                // All of them.
                ToSpawner::Known { ids: _ } => {}
                ToSpawner::Folded { names } => {
                    let _ = seen.send(Seen::Folded(names));
                }
            }
            if let Some((number, start, connection, Progress::Whole(act))) =
                arriving.take_if(|(_, _, _, progress)| matches!(progress, Progress::Whole(_)))
            {
                let session = start.session.to_string();
                let proves = start.yes.is_some().then(|| start.session.clone());
                let _ = seen.send(Seen::Start(start, Box::new(act), ledger_text(ledger)));
                match &play.on_start {
                    OnStart::HandOver => {
                        let (_ours, theirs) = Channel::pair().unwrap();
                        let hand_over = serde_json::to_vec(&FromDecider::HandOver { session }).unwrap();
                        connection.send(&hand_over, &[theirs.as_fd()]).unwrap();
                        say(&FromSpawner::Started { number, pid: 1 });
                        // Whoever says yes proves at once who they are.
                        proves.map(|session| say(&FromSpawner::SaidYes { session }));
                    }
                    OnStart::Refuse { cause, disagree } => {
                        say(&FromSpawner::StartRefused { number, cause: cause.clone(), disagree: *disagree });
                    }
                }
            }
        }
    }
}

/// A client.
pub(crate) struct Caller {
    pub(crate) channel: Channel,
    pub(crate) nonce: String,
}

impl Caller {
    pub(crate) fn connect(path: &Path) -> Self {
        let channel = Channel::connect(path).unwrap();
        match hear(&channel) {
            Some(FromDecider::Hello { oldest, newest, nonce, host }) => {
                assert!((oldest..=newest).contains(&VERSION));
                assert_eq!(host, "web-1");
                Self { channel, nonce }
            }
            other => panic!("no hello but {other:?}"),
        }
    }

    pub(crate) fn say(&self, say: Say) {
        self.say_with(FromClient { nonce: self.nonce.clone(), version: VERSION, say }, &[]);
    }

    pub(crate) fn say_with(&self, message: FromClient, descriptors: &[BorrowedFd<'_>]) {
        self.channel.send(&serde_json::to_vec(&message).unwrap(), descriptors).unwrap();
    }

    pub(crate) fn hear(&self) -> Option<FromDecider> {
        hear(&self.channel)
    }

    pub(crate) fn run(&self, argv: &[&str]) {
        self.run_act(&act(argv));
    }

    pub(crate) fn run_act(&self, act: &Act) {
        let (start, more) = act.split();
        self.say(Say::Run(Box::new(start)));
        more.into_iter().for_each(|more| self.say(Say::More(more)));
    }

    pub(crate) fn ask(&self, ask: Ask) -> Result<Vec<serde_json::Value>, Fault> {
        self.say(Say::Ask(ask));
        let mut all = Vec::new();
        loop {
            match self.hear() {
                Some(FromDecider::Answer { items, more }) => {
                    all.extend(items);
                    if !more {
                        return Ok(all);
                    }
                }
                Some(FromDecider::Fault(fault)) => return Err(fault),
                other => panic!("no answer but {other:?}"),
            }
        }
    }

    pub(crate) fn ask_one(&self, ask: Ask) -> serde_json::Value {
        self.ask(ask).unwrap().remove(0)
    }

    /// The fault that is answered; the connection is then closed.
    pub(crate) fn fault_and_end(&self) -> Fault {
        let fault = match self.hear() {
            Some(FromDecider::Fault(fault)) => fault,
            other => panic!("no fault but {other:?}"),
        };
        assert_eq!(self.hear(), None);
        fault
    }
}

/// The next message within ten seconds; `None` at the end.
pub(crate) fn hear(channel: &Channel) -> Option<FromDecider> {
    let mut entry = [PollFd::new(channel.as_fd(), PollFlags::POLLIN)];
    assert_eq!(poll(&mut entry, PollTimeout::from(10_000u16)).unwrap(), 1, "nothing in ten seconds");
    let message = channel.receive().ok()??;
    Some(serde_json::from_slice(&message.bytes).unwrap())
}

pub(crate) fn act(argv: &[&str]) -> Act {
    let options = ActOptions {
        kind: ActKind::Command,
        user: None,
        group: None,
        role: None,
        reason: None,
        ticket: None,
        window: None,
        break_glass: false,
        preserve_groups: false,
        timeout: None,
        extends: None,
        request: None,
        no_wait: false,
        remember: jitsudo_protocol::act::Remember::Use,
        env_set: Vec::new(),
        preserve: Vec::new(),
        chdir: None,
        cwd: "/".into(),
        umask: 0o22,
        non_interactive: false,
        terminal: false,
    };
    Act { options, argv: argv.iter().map(|word| (*word).into()).collect(), env: Vec::new() }
}

/// Waits for what the played spawner sees next.
pub(crate) fn next(seen: &Receiver<Seen>) -> Seen {
    seen.recv_timeout(Duration::from_secs(10)).unwrap()
}
