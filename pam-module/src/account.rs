//! The account stage and the opening of a session: the same way to the same answer.

use std::fmt::Write as _;
use std::path::Path;

use jitsudo_login_wire::gated::Reader;
use jitsudo_login_wire::message::{Answer, Behind, Enter, MAX_WORD_BYTES, Stage, Verdict};
use jitsudo_login_wire::{GATED, MAX_MESSAGE_BYTES, MAX_NAME_BYTES};

use crate::arguments::Arguments;
use crate::ask::{self, Room};
use crate::code::Code;
use crate::ffi::{self, Handle, Item, Name};
use crate::judge::{Step, Uid, is_from_an_account, is_none_of_ours, judge};
use crate::list;
use crate::log::{self, Loudness};
use crate::login_uid::{LoginUid, login_uid};
use crate::text::{Text, Visible};

/// Longest text for the person who logs in, bytes.
const MAX_SAID_BYTES: usize = 2048;

/// Lets in, keeps out, or stays out of it.
pub(crate) fn enter(handle: &Handle, stage: Stage, arguments: &Arguments<'_>) -> Code {
    let (Some(service), Some(account)) = (handle.item(Item::Service), handle.item(Item::User)) else {
        return deny(handle, b"?", b"?", format_args!("the service names no account"));
    };
    let real_uid = ffi::real_uid();
    if is_none_of_ours(service, real_uid) {
        return Code::Ignore;
    }
    if account.is_empty() || account.len() > MAX_NAME_BYTES || service.len() > MAX_WORD_BYTES {
        return deny(handle, service, account, format_args!("no account or service has such a name"));
    }
    // Another module may give the login to somebody else between the stages; only sudo does so on purpose.
    let sudo = service.starts_with(b"sudo");
    if stage == Stage::Opening && !sudo && handle.remembered().is_some_and(|before| before != account) {
        return deny(handle, service, account, format_args!("the account changed since it was checked"));
    }
    if let Some(word) = arguments.unknown {
        log::line(Loudness::Alert, service, format_args!("no such argument: {}", Visible(word)));
    }
    let uid = ffi::uid_of(account);
    let known = match uid {
        Uid::Is(uid) => Some(uid),
        Uid::Nobody | Uid::Unknown => None,
    };
    let list = list::read(Path::new(GATED), Reader::new(known, account, service));
    let step = judge(list, arguments.list_required, uid, arguments.rescue == Some(account));
    let name = Visible(account);
    match step {
        Step::Ignore => Code::Ignore,
        Step::IgnoreLoudly(why) => {
            log::line(Loudness::Alert, service, format_args!("{GATED}: {why}; {name} is let through ungated"));
            Code::Ignore
        }
        Step::Deny(why) => {
            deny(handle, service, account, format_args!("the list of gated accounts cannot be used: {why}"))
        }
        Step::Rescue => {
            log::line(Loudness::Alert, service, format_args!("rescue account {name} enters without a grant"));
            if stage == Stage::Opening {
                ask::tell(&question(handle, Stage::Rescued, service, account, known, Behind::Owner));
            }
            Code::Ignore
        }
        Step::Ask => asked(handle, stage, arguments, service, account, known, real_uid),
    }
}

fn asked(
    handle: &Handle,
    stage: Stage,
    arguments: &Arguments<'_>,
    service: &[u8],
    account: &[u8],
    uid: Option<u32>,
    real_uid: u32,
) -> Code {
    let (mut caller, mut login) = (Name::new(), Name::new());
    let behind = match behind(handle, stage, arguments, service, real_uid, (&mut caller, &mut login)) {
        Ok(behind) => behind,
        Err(why) => return deny(handle, service, account, format_args!("{why}")),
    };
    let mut room: Room = [0; MAX_MESSAGE_BYTES + 1];
    match ask::ask(&question(handle, stage, service, account, uid, behind), &mut room) {
        Ok(Answer { verdict: Verdict::Yes, words }) => {
            if stage == Stage::Account && !handle.remember(account) {
                return deny(handle, service, account, format_args!("there is no memory left"));
            }
            handle.say(words);
            Code::Success
        }
        Ok(Answer { verdict: Verdict::No, words }) => {
            log::line(Loudness::Notice, service, format_args!("{} is kept out: the daemon says no", Visible(account)));
            handle.say(words);
            Code::PermDenied
        }
        Err(cause) => deny(handle, service, account, format_args!("{cause}")),
    }
}

/// Who is behind the login, by the kernel's word or sshd's.
fn behind<'a>(
    handle: &'a Handle,
    stage: Stage,
    arguments: &Arguments<'_>,
    service: &[u8],
    real_uid: u32,
    (caller, login): (&'a mut Name, &'a mut Name),
) -> Result<Behind<'a>, &'static str> {
    if is_from_an_account(service) {
        if !ffi::name_of(real_uid, caller) {
            return Err("who calls has no account");
        }
        let login = match login_uid() {
            LoginUid::Nobody => None,
            LoginUid::Is(uid) if ffi::name_of(uid, login) => Some((uid, login.as_bytes())),
            LoginUid::Is(_) => return Err("who logged in has no account"),
            LoginUid::Unknown => return Err("the kernel does not say who logged in"),
        };
        return Ok(Behind::Caller { uid: real_uid, name: caller.as_bytes(), login });
    }
    if service != b"sshd" {
        return Ok(Behind::Owner);
    }
    // sshd tells the methods that came before the last one in the account stage, and all of them when the session is opened.
    match handle.variable(c"SSH_AUTH_INFO_0").filter(|methods| !methods.is_empty()) {
        Some(methods) => Ok(Behind::Authenticated(methods)),
        None if stage == Stage::Account && arguments.session_follows => Ok(Behind::Later),
        None if stage == Stage::Account => Ok(Behind::Owner),
        None => Err("sshd does not say how the login was authenticated"),
    }
}

fn question<'a>(
    handle: &'a Handle,
    stage: Stage,
    service: &'a [u8],
    account: &'a [u8],
    uid: Option<u32>,
    behind: Behind<'a>,
) -> Enter<'a> {
    let recorded = |item| handle.item(item).filter(|text| text.len() <= MAX_WORD_BYTES && !text.is_empty());
    Enter {
        stage,
        service,
        account,
        uid,
        behind,
        terminal: recorded(Item::Terminal),
        remote_host: recorded(Item::RemoteHost),
        remote_user: recorded(Item::RemoteUser),
    }
}

/// No, with words for the person and a line in the log.
fn deny(handle: &Handle, service: &[u8], account: &[u8], why: std::fmt::Arguments<'_>) -> Code {
    log::line(Loudness::Alert, service, format_args!("{} is kept out: {why}", Visible(account)));
    let mut said = Text::<MAX_SAID_BYTES>::new();
    let _ = write!(said, "jitsudo: {} cannot be entered: {why}", Visible(account));
    handle.say(said.as_bytes());
    Code::PermDenied
}
