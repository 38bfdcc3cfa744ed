//! PAM: who the requester is, whether their account may be used, and the target's session (pam(3), sudo's order of calls).
//!
//! MUSTs
//! 1. The account stage runs always, also where no proof is needed, before anything else is given (sudo-rs missed it once).
//! 2. The spawner hears of a proof only once the account may be used as well.
//! 3. PAM_USER is the requester's until the account is checked and the target's at the end, or nothing runs (a module may rewrite it).

use std::rc::Rc;

use jitsudo_core::facts::Fact;
use jitsudo_link::session::{Authentication, FromSessionToSpawner, Spec};
use jitsudo_protocol::act::{ActKind, ActOptions};
use jitsudo_protocol::client::FaultCode;
use jitsudo_sys::nix::errno::Errno;
use jitsudo_sys::pam::{Item, PamError, Transaction};

use crate::dialogue::Dialogue;
use crate::failure::Failure;
use crate::limits::Lent;
use crate::proof;
use crate::record::Recorder;
use crate::undisturbed::Before;

/// An open PAM session; closed when dropped.
#[derive(Debug)]
pub(crate) struct Authority {
    /// Variables that modules want, `NAME=value`.
    pub(crate) environment: Vec<Vec<u8>>,
    /// Limits of the command: the requester's, then what modules set.
    pub(crate) limits: Vec<(u32, u64, u64)>,
    /// Nice value of the command, likewise.
    pub(crate) nice: i32,
    _transaction: Transaction,
}

/// Loads the host's PAM modules ahead of a request: a handle that is never used, kept so that they stay (1.7 ms of a start saved).
pub(crate) fn preload() -> Option<Transaction> {
    Transaction::start("jitsudo", "root", Box::new(|_| None)).ok()
}

/// The requester's account, proven as far as that is needed, and usable.
pub(crate) struct Admitted {
    transaction: Transaction,
    before: Before,
}

/// Goes through the authentication and account stages of the spec's service, which come before anything else.
pub(crate) fn admit(spec: &Spec, dialogue: Rc<Dialogue>, recorder: &mut Recorder) -> Result<Admitted, Failure> {
    let name = requester(spec)?;
    let before = Before::note().map_err(|error| Failure::trouble("list this process's descriptors", &error))?;
    let listener = Rc::clone(&dialogue);
    let mut transaction =
        Transaction::start(&spec.pam_service, name, Box::new(move |said| listener.hear(said))).map_err(failed)?;
    transaction.set(Item::RemoteUser, name).map_err(failed)?;
    if let Some(tty) = &spec.process.tty_name {
        transaction.set(Item::Tty, tty).map_err(failed)?;
    }
    if let Some(remote) = &spec.remote {
        transaction.set(Item::RemoteHost, &remote.to_string()).map_err(failed)?;
    }
    let settled = proof::settle(spec, name, &mut transaction, &dialogue, recorder);
    before.or_die();
    settled?;
    still(&transaction, name, "check your account")?;
    let usable = transaction.check_account();
    before.or_die();
    usable.map_err(|error| {
        let hint =
            if error.is_password_expired() { "change your password with passwd(1)" } else { "ask an administrator" };
        denied(format!("cannot use your account {name}: {}", error.text)).with_hint(hint)
    })?;
    still(&transaction, name, "check your account")?;
    if spec.authentication != Authentication::NotNeeded {
        recorder.tell(FromSessionToSpawner::Authenticated);
    }
    Ok(Admitted { transaction, before })
}

/// The requester's account by its name: what a password belongs to.
pub(crate) fn requester(spec: &Spec) -> Result<&str, Failure> {
    match &spec.requester.name {
        Fact::Is(name) => Ok(name),
        Fact::Unknown => Err(denied("cannot check your account: it has no name here".to_owned())),
    }
}

impl Admitted {
    /// Opens the target's session.
    pub(crate) fn open(self, spec: &Spec, options: &ActOptions) -> Result<Authority, Failure> {
        let Self { mut transaction, before } = self;
        let lent = Lent::lend(&spec.process);
        let opened = session(&mut transaction, spec, options);
        let (limits, nice) = lent.take_back();
        before.or_die();
        opened?;
        Ok(Authority { environment: transaction.environment(), limits, nice, _transaction: transaction })
    }
}

fn session(transaction: &mut Transaction, spec: &Spec, options: &ActOptions) -> Result<(), Failure> {
    let target = &spec.target.name;
    // An id without an account has no PAM session, as with sudo.
    if target.starts_with('#') {
        return Ok(());
    }
    transaction.set(Item::User, target).map_err(failed)?;
    if !matches!(options.kind, ActKind::Shell | ActKind::LoginShell) {
        transaction.be_silent();
    }
    // sudo(8) goes on as well: many stacks have no module that knows the target's credentials.
    let _ = transaction.set_credentials();
    transaction.open_session().map_err(|error| {
        Failure::cannot(
            FaultCode::Internal,
            format!("cannot open a session for {target}: {}", error.text),
            Errno::EACCES,
        )
        .with_hint("the journal has the modules' own words: journalctl -t jitsudo-session")
    })?;
    still(transaction, target, &format!("open a session for {target}"))
}

/// PAM_USER is who it was set to.
fn still(transaction: &Transaction, name: &str, what: &str) -> Result<(), Failure> {
    match transaction.item(Item::User) {
        Some(user) if user == name => Ok(()),
        user => Err(Failure::cannot(
            FaultCode::Internal,
            format!("cannot {what}: a PAM module made {name} {:?}", user.unwrap_or_default()),
            Errno::EACCES,
        )),
    }
}

fn failed(error: PamError) -> Failure {
    Failure::cannot(FaultCode::Internal, format!("cannot use {error}"), Errno::EACCES)
}

fn denied(message: String) -> Failure {
    Failure::cannot(FaultCode::Program, message, Errno::EACCES)
}
