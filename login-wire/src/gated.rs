//! `/etc/jitsudo/gated`: which accounts are entered only under a grant, and through which services that holds.
//!
//! A line is an account (`1002 alice-adm`; `- NAME` where the host did not know it when the list was written), a service
//! (`service sshd`) or a comment (`# …`); the last is `end N`, N being the number of accounts and services above it.

use core::fmt;

use crate::MAX_NAME_BYTES;

/// Longest line, bytes, without its newline.
const MAX_LINE_BYTES: usize = 300;
/// Longest list that is read, bytes.
pub const MAX_LIST_BYTES: u64 = 4 * 1024 * 1024;
/// Services in which nothing is ever gated: they are no logins, and a host without them is broken.
const NEVER: [&[u8]; 5] = [b"cron", b"crond", b"atd", b"systemd-user", b"runuser"];
/// Beginnings of services that are jitsudo's own.
const OWN: &[u8] = b"jitsudo";
/// The services that a list names.
pub const SERVICES: [&str; 11] =
    ["sshd", "login", "su", "su-l", "sudo", "sudo-i", "gdm-password", "lightdm", "sddm", "cockpit", "remote"];

/// True for a service in which nothing is ever gated, whatever a list says.
#[must_use]
pub fn is_never_gated(service: &[u8]) -> bool {
    NEVER.contains(&service) || service.starts_with(OWN)
}

/// An account on a list.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Account<'a> {
    /// Absent when the host did not know it when the list was written.
    pub uid: Option<u32>,
    /// Its name.
    pub name: &'a str,
}

/// A list, to be written with `to_string` or `write!`.
#[derive(Clone, Copy, Debug)]
pub struct Gated<'a> {
    /// The accounts.
    pub accounts: &'a [Account<'a>],
    /// The services.
    pub services: &'a [&'a str],
}

impl fmt::Display for Gated<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "# Written when a policy is applied; see pam_jitsudo(8).")?;
        for account in self.accounts {
            match account.uid {
                Some(uid) => writeln!(f, "{uid} {}", account.name)?,
                None => writeln!(f, "- {}", account.name)?,
            }
        }
        for service in self.services {
            writeln!(f, "service {service}")?;
        }
        writeln!(f, "end {}", self.accounts.len().saturating_add(self.services.len()))
    }
}

/// What a list says of one login.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Says {
    /// It reads whole to its last line.
    pub is_whole: bool,
    /// The account is on a line that reads whole.
    pub account: bool,
    /// The service is.
    pub service: bool,
    /// Any account is.
    pub any_account: bool,
}

/// Reads a list piece by piece, for one login.
#[derive(Clone, Debug)]
pub struct Reader<'a> {
    uid: Option<u32>,
    name: &'a [u8],
    service: &'a [u8],
    line: [u8; MAX_LINE_BYTES],
    length: usize,
    /// Accounts and services so far.
    count: u32,
    ended: bool,
    damaged: bool,
    says: Says,
}

impl<'a> Reader<'a> {
    /// Looks for an account, by its uid or by its name, and for a service.
    #[must_use]
    pub const fn new(uid: Option<u32>, name: &'a [u8], service: &'a [u8]) -> Self {
        let says = Says { is_whole: false, account: false, service: false, any_account: false };
        Self { uid, name, service, line: [0; MAX_LINE_BYTES], length: 0, count: 0, ended: false, damaged: false, says }
    }

    /// Takes the next bytes.
    pub fn feed(&mut self, bytes: &[u8]) {
        for byte in bytes {
            if *byte == b'\n' {
                self.take_line();
            } else {
                // A line that is too long has no place for its end, and is damage.
                match self.line.get_mut(self.length) {
                    Some(place) => *place = *byte,
                    None => self.damaged = true,
                }
                self.length = self.length.saturating_add(1);
            }
        }
    }

    /// What it says, all of it having been fed.
    #[must_use]
    pub fn says(&self) -> Says {
        Says { is_whole: self.ended && !self.damaged && self.length == 0, ..self.says }
    }

    fn take_line(&mut self) {
        let length = core::mem::take(&mut self.length);
        // Behind the last line nothing may follow.
        self.damaged |= self.ended;
        let line = self.line;
        match line.get(..length).and_then(Line::of) {
            Some(Line::Comment) => {}
            Some(Line::Account { uid, name }) => {
                self.count = self.count.saturating_add(1);
                self.says.any_account = true;
                // Also by name: the host may know the account by now, or not tell its uid at this moment.
                self.says.account |= name == self.name || (uid.is_some() && uid == self.uid);
            }
            Some(Line::Service(service)) => {
                self.count = self.count.saturating_add(1);
                self.says.service |= service == self.service;
            }
            Some(Line::End(count)) => {
                self.ended = true;
                self.damaged |= count != self.count;
            }
            None => self.damaged = true,
        }
    }
}

enum Line<'a> {
    Comment,
    Account { uid: Option<u32>, name: &'a [u8] },
    Service(&'a [u8]),
    End(u32),
}

impl<'a> Line<'a> {
    fn of(line: &'a [u8]) -> Option<Self> {
        if line.first() == Some(&b'#') {
            return Some(Self::Comment);
        }
        let place = line.iter().position(|byte| *byte == b' ')?;
        let (word, rest) = line.split_at_checked(place)?;
        let (_, rest) = rest.split_first()?;
        match word {
            b"service" => name(rest).map(Self::Service),
            b"end" => decimal(rest).map(Self::End),
            b"-" => name(rest).map(|name| Self::Account { uid: None, name }),
            uid => Some(Self::Account { uid: Some(decimal(uid)?), name: name(rest)? }),
        }
    }
}

fn name(bytes: &[u8]) -> Option<&[u8]> {
    let is_name = !bytes.is_empty()
        && bytes.len() <= MAX_NAME_BYTES
        && !bytes.iter().any(|byte| byte.is_ascii_control() || *byte == b' ');
    is_name.then_some(bytes)
}

/// A number without sign or leading zeros.
fn decimal(bytes: &[u8]) -> Option<u32> {
    if bytes.is_empty() || bytes.len() > 10 || (bytes.len() > 1 && bytes.first() == Some(&b'0')) {
        return None;
    }
    bytes.iter().try_fold(0u32, |number, byte| {
        let digit = byte.checked_sub(b'0').filter(|digit| *digit <= 9)?;
        number.checked_mul(10)?.checked_add(u32::from(digit))
    })
}
