//! PAM: may the requester's account be used, and the target's session (pam(3), sudo's order of calls).
//!
//! MUSTs
//! 1. The account stage runs always, before anything else is given (sudo-rs missed it once).
//! 2. Nothing is asked: prompts are refused, texts are passed on.
//! 3. PAM_USER is the target's at the end, or nothing runs (a module may rewrite it).

use std::rc::Rc;

use jitsudo_core::facts::Fact;
use jitsudo_link::session::Spec;
use jitsudo_protocol::act::{ActKind, ActOptions};
use jitsudo_protocol::client::FaultCode;
use jitsudo_protocol::session::FromSession;
use jitsudo_sys::nix::errno::Errno;
use jitsudo_sys::pam::{Item, PamError, Said, Transaction};

use crate::client::Client;
use crate::failure::Failure;
use crate::limits::Lent;

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
    Transaction::start("jitsudo", "root", Box::new(|_| {})).ok()
}

/// Goes through the stack of the spec's service.
pub(crate) fn open(spec: &Spec, options: &ActOptions, client: Rc<Client>) -> Result<Authority, Failure> {
    let Fact::Is(name) = &spec.requester.name else {
        return Err(denied("cannot check your account: it has no name here".to_owned()));
    };
    let mut transaction =
        Transaction::start(&spec.pam_service, name, Box::new(move |said| pass_on(&client, said))).map_err(failed)?;
    transaction.set(Item::RemoteUser, name).map_err(failed)?;
    if let Some(tty) = &spec.process.tty_name {
        transaction.set(Item::Tty, tty).map_err(failed)?;
    }
    transaction.check_account().map_err(|error| {
        let hint =
            if error.is_password_expired() { "change your password with passwd(1)" } else { "ask an administrator" };
        denied(format!("cannot use your account {name}: {}", error.text)).with_hint(hint)
    })?;
    let lent = Lent::lend(&spec.process);
    let opened = session(&mut transaction, spec, options);
    let (limits, nice) = lent.take_back();
    opened?;
    Ok(Authority { environment: transaction.environment(), limits, nice, _transaction: transaction })
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
    match transaction.item(Item::User) {
        Some(user) if user == *target => Ok(()),
        user => Err(Failure::cannot(
            FaultCode::Internal,
            format!("cannot open a session for {target}: a PAM module made it {}", user.unwrap_or_default()),
            Errno::EACCES,
        )),
    }
}

fn pass_on(client: &Client, said: Said) {
    match said {
        Said::Info(text) | Said::Error(text) => {
            let text: String = text.lines().map(visible).collect::<Vec<_>>().join("\n");
            client.say(&FromSession::Notice(text));
        }
        Said::Refused(_) => {}
    }
}

/// A module's line without what could move a cursor.
fn visible(line: &str) -> String {
    line.chars().map(|one| if one.is_control() && one != '\t' { '?' } else { one }).collect()
}

fn failed(error: PamError) -> Failure {
    Failure::cannot(FaultCode::Internal, format!("cannot use {error}"), Errno::EACCES)
}

fn denied(message: String) -> Failure {
    Failure::cannot(FaultCode::Program, message, Errno::EACCES)
}
