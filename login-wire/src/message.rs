//! The questions of the module, and the answers to them.
//!
//! One connection is one question and one answer. Texts are bytes as PAM has them; none holds a NUL.

use crate::fields::{Buffer, Fields, ReadError, TooLong, number, unknown};
use crate::{MAX_MESSAGE_BYTES, MAX_NAME_BYTES};

const ENTER: u8 = 1;
const ANSWER: u8 = 2;

mod tag {
    pub(super) const STAGE: u8 = 1;
    pub(super) const SERVICE: u8 = 2;
    pub(super) const ACCOUNT: u8 = 3;
    pub(super) const UID: u8 = 4;
    /// Said apart, so that a field that was lost does not make a person's key the owner's word.
    pub(super) const BEHIND: u8 = 5;
    pub(super) const CALLER_UID: u8 = 6;
    pub(super) const CALLER: u8 = 7;
    pub(super) const LOGIN_UID: u8 = 8;
    pub(super) const LOGIN: u8 = 9;
    pub(super) const AUTHENTICATED_BY: u8 = 10;
    /// Only recorded, so a reader may miss them.
    pub(super) const TERMINAL: u8 = 128;
    pub(super) const REMOTE_HOST: u8 = 129;
    pub(super) const REMOTE_USER: u8 = 130;

    pub(super) const VERDICT: u8 = 1;
    pub(super) const WORDS: u8 = 2;
}

/// Longest name of a PAM service, terminal or host, bytes.
pub const MAX_WORD_BYTES: usize = 255;
/// Longest text of an answer, bytes.
pub const MAX_TEXT_BYTES: usize = 2048;

/// When the module asks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Stage {
    /// Before anything is given: may this account be entered?
    Account,
    /// The login begins: who is it, now that sshd tells the key, and it belongs to the grant from here on.
    Opening,
    /// A rescue account entered; nothing is asked, and no answer is waited for.
    Rescued,
}

impl Stage {
    const fn byte(self) -> u8 {
        match self {
            Self::Account => 1,
            Self::Opening => 2,
            Self::Rescued => 3,
        }
    }

    const fn of(byte: u8) -> Option<Self> {
        match byte {
            1 => Some(Self::Account),
            2 => Some(Self::Opening),
            3 => Some(Self::Rescued),
            _ => None,
        }
    }
}

/// Who is behind the login, by what the module was told by the kernel and by the service; never by the person.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Behind<'a> {
    /// Whoever knows the account's password, or sits at the console: its owner.
    Owner,
    /// su and sudo: the real uid of the caller, and the account's name where there is one.
    Caller {
        /// As the kernel has it; never 0.
        uid: u32,
        /// By NSS.
        name: &'a [u8],
        /// The uid that the caller logged in as, and its name by NSS; absent where nobody logged in.
        login: Option<(u32, &'a [u8])>,
    },
    /// sshd: how the login was authenticated, `SSH_AUTH_INFO_0`, a method a line.
    Authenticated(&'a [u8]),
    /// sshd before the login begins, which tells the key only then: [`Stage::Opening`] follows and says it.
    Later,
}

/// The module's question.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Enter<'a> {
    /// When it is asked.
    pub stage: Stage,
    /// `PAM_SERVICE`.
    pub service: &'a [u8],
    /// `PAM_USER`.
    pub account: &'a [u8],
    /// Its uid; absent when NSS does not say.
    pub uid: Option<u32>,
    /// Who is behind it.
    pub behind: Behind<'a>,
    /// `PAM_TTY`, for the record.
    pub terminal: Option<&'a [u8]>,
    /// `PAM_RHOST`, for the record.
    pub remote_host: Option<&'a [u8]>,
    /// `PAM_RUSER`, for the record.
    pub remote_user: Option<&'a [u8]>,
}

impl<'a> Enter<'a> {
    /// Writes it.
    ///
    /// # Errors
    /// [`TooLong`] when it does not fit into a message.
    pub fn write(&self, buffer: &mut Buffer) -> Result<(), TooLong> {
        buffer.begin(ENTER)?;
        buffer.field(tag::STAGE, &[self.stage.byte()])?;
        buffer.field(tag::SERVICE, self.service)?;
        buffer.field(tag::ACCOUNT, self.account)?;
        buffer.field_if(tag::UID, self.uid.map(u32::to_be_bytes).as_ref().map(<[u8; 4]>::as_slice))?;
        match self.behind {
            Behind::Owner => buffer.field(tag::BEHIND, &[1])?,
            Behind::Caller { uid, name, login } => {
                buffer.field(tag::BEHIND, &[2])?;
                buffer.field(tag::CALLER_UID, &uid.to_be_bytes())?;
                buffer.field(tag::CALLER, name)?;
                if let Some((uid, name)) = login {
                    buffer.field(tag::LOGIN_UID, &uid.to_be_bytes())?;
                    buffer.field(tag::LOGIN, name)?;
                }
            }
            Behind::Later => buffer.field(tag::BEHIND, &[4])?,
            Behind::Authenticated(methods) => {
                buffer.field(tag::BEHIND, &[3])?;
                buffer.field(tag::AUTHENTICATED_BY, methods)?;
            }
        }
        buffer.field_if(tag::TERMINAL, self.terminal)?;
        buffer.field_if(tag::REMOTE_HOST, self.remote_host)?;
        buffer.field_if(tag::REMOTE_USER, self.remote_user)
    }

    /// Reads it.
    ///
    /// # Errors
    /// Why the bytes are no question.
    pub fn read(bytes: &'a [u8]) -> Result<Self, ReadError> {
        let (kind, mut fields) = Fields::of(bytes)?;
        if kind != ENTER {
            return Err(ReadError::Kind(kind));
        }
        let (mut stage, mut service, mut account, mut uid) = (None, None, None, None);
        let (mut behind, mut caller_uid, mut caller, mut methods) = (None, None, None, None);
        let (mut login_uid, mut login) = (None, None);
        let (mut terminal, mut remote_host, mut remote_user) = (None, None, None);
        while let Some((tag, value)) = fields.next()? {
            match tag {
                tag::STAGE => {
                    let [byte] = value else { return Err(ReadError::Value(tag)) };
                    stage = Some(Stage::of(*byte).ok_or(ReadError::Value(tag))?);
                }
                tag::SERVICE => service = Some(word(tag, value, MAX_WORD_BYTES)?),
                tag::ACCOUNT => account = Some(word(tag, value, MAX_NAME_BYTES)?),
                tag::UID => uid = Some(number(tag, value)?),
                tag::BEHIND => behind = Some(value),
                tag::CALLER_UID => caller_uid = Some(number(tag, value)?).filter(|uid| *uid != 0),
                tag::LOGIN_UID => login_uid = Some(number(tag, value)?),
                tag::LOGIN => login = Some(text(tag, value, MAX_NAME_BYTES)?),
                tag::CALLER => caller = Some(text(tag, value, MAX_NAME_BYTES)?),
                tag::AUTHENTICATED_BY => methods = Some(text(tag, value, MAX_MESSAGE_BYTES)?),
                tag::TERMINAL => terminal = Some(text(tag, value, MAX_WORD_BYTES)?),
                tag::REMOTE_HOST => remote_host = Some(text(tag, value, MAX_WORD_BYTES)?),
                tag::REMOTE_USER => remote_user = Some(text(tag, value, MAX_WORD_BYTES)?),
                other => unknown(other)?,
            }
        }
        let login = match (login_uid, login) {
            (None, None) => None,
            (Some(uid), Some(name)) => Some((uid, name)),
            (None, Some(_)) => return Err(ReadError::Missing(tag::LOGIN_UID)),
            (Some(_), None) => return Err(ReadError::Missing(tag::LOGIN)),
        };
        let behind = match (behind, caller_uid, caller, login, methods) {
            (Some([1]), None, None, None, None) => Behind::Owner,
            (Some([2]), Some(uid), Some(name), login, None) => Behind::Caller { uid, name, login },
            (Some([3]), None, None, None, Some(methods)) => Behind::Authenticated(methods),
            (Some([4]), None, None, None, None) => Behind::Later,
            (None, ..) => return Err(ReadError::Missing(tag::BEHIND)),
            (Some(_), ..) => return Err(ReadError::Value(tag::BEHIND)),
        };
        Ok(Self {
            stage: stage.ok_or(ReadError::Missing(tag::STAGE))?,
            service: service.ok_or(ReadError::Missing(tag::SERVICE))?,
            account: account.ok_or(ReadError::Missing(tag::ACCOUNT))?,
            uid,
            behind,
            terminal,
            remote_host,
            remote_user,
        })
    }
}

/// What the module is told.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// The account may be entered.
    Yes,
    /// It may not.
    No,
}

/// The answer to a question.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Answer<'a> {
    /// Yes or no.
    pub verdict: Verdict,
    /// For the person who logs in, a line or a few; empty = nothing is said.
    pub words: &'a [u8],
}

impl<'a> Answer<'a> {
    /// Writes it.
    ///
    /// # Errors
    /// [`TooLong`] when it does not fit into a message.
    pub fn write(&self, buffer: &mut Buffer) -> Result<(), TooLong> {
        buffer.begin(ANSWER)?;
        buffer.field(tag::VERDICT, &[u8::from(self.verdict == Verdict::Yes)])?;
        buffer.field(tag::WORDS, self.words)
    }

    /// Reads it.
    ///
    /// # Errors
    /// Why the bytes are no answer.
    pub fn read(bytes: &'a [u8]) -> Result<Self, ReadError> {
        let (kind, mut fields) = Fields::of(bytes)?;
        if kind != ANSWER {
            return Err(ReadError::Kind(kind));
        }
        let (mut verdict, mut words) = (None, None);
        while let Some((tag, value)) = fields.next()? {
            match (tag, value) {
                (tag::VERDICT, [1]) => verdict = Some(Verdict::Yes),
                (tag::VERDICT, [0]) => verdict = Some(Verdict::No),
                (tag::VERDICT, _) => return Err(ReadError::Value(tag)),
                (tag::WORDS, value) => words = Some(text(tag, value, MAX_TEXT_BYTES)?),
                (other, _) => unknown(other)?,
            }
        }
        Ok(Self {
            verdict: verdict.ok_or(ReadError::Missing(tag::VERDICT))?,
            words: words.ok_or(ReadError::Missing(tag::WORDS))?,
        })
    }
}

fn text(tag: u8, value: &[u8], most: usize) -> Result<&[u8], ReadError> {
    if value.len() > most || value.contains(&0) { Err(ReadError::Value(tag)) } else { Ok(value) }
}

fn word(tag: u8, value: &[u8], most: usize) -> Result<&[u8], ReadError> {
    if value.is_empty() { Err(ReadError::Value(tag)) } else { text(tag, value, most) }
}
