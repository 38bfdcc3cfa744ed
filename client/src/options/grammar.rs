//! getopt_long(3)'s grammar as sudo uses it: it stops at the first word that is no option; `NAME=value` words may stand between
//! options; short options may be bundled; long ones may be shortened as long as they stay unique.

use std::collections::VecDeque;

use super::{Called, UsageError};

/// An option without a value.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Flag {
    Askpass,
    Background,
    Bell,
    BreakGlass,
    Edit,
    ExplainEnv,
    Help,
    List,
    Login,
    NoUpdate,
    NoWait,
    NonInteractive,
    PreserveEnv,
    PreserveGroups,
    RemoveTickets,
    ResetTicket,
    SetHome,
    Shell,
    Stdin,
    Validate,
    Version,
}

/// An option with a value.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Name {
    Chdir,
    Chroot,
    CloseFrom,
    For,
    Group,
    Host,
    OtherUser,
    Prompt,
    Reason,
    Request,
    /// `--want-role`, hidden.
    WantRole,
    /// `--extend`, hidden.
    Extend,
    /// `--approve`, hidden.
    Approve,
    Role,
    SelinuxRole,
    SelinuxType,
    StatusFd,
    Ticket,
    Timeout,
    User,
}

/// One thing that was read.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Word {
    Flag(Flag),
    Value(Name, Vec<u8>),
    /// `--preserve-env=list`
    Preserve(Vec<u8>),
    Assignment(Vec<u8>),
}

/// What an option means and takes.
#[derive(Clone, Copy)]
enum Meaning {
    Flag(Flag),
    Value(Name),
    /// `--preserve-env[=list]`
    PreserveList,
    /// `-h`: help, or with a word behind it the host that sudo -l is asked about.
    HelpOrHost,
}

const SHORT: [(u8, Meaning); 28] = [
    (b'A', Meaning::Flag(Flag::Askpass)),
    (b'B', Meaning::Flag(Flag::Bell)),
    (b'b', Meaning::Flag(Flag::Background)),
    (b'C', Meaning::Value(Name::CloseFrom)),
    (b'D', Meaning::Value(Name::Chdir)),
    (b'E', Meaning::Flag(Flag::PreserveEnv)),
    (b'e', Meaning::Flag(Flag::Edit)),
    (b'g', Meaning::Value(Name::Group)),
    (b'H', Meaning::Flag(Flag::SetHome)),
    (b'h', Meaning::HelpOrHost),
    (b'i', Meaning::Flag(Flag::Login)),
    (b'K', Meaning::Flag(Flag::RemoveTickets)),
    (b'k', Meaning::Flag(Flag::ResetTicket)),
    (b'l', Meaning::Flag(Flag::List)),
    (b'N', Meaning::Flag(Flag::NoUpdate)),
    (b'n', Meaning::Flag(Flag::NonInteractive)),
    (b'P', Meaning::Flag(Flag::PreserveGroups)),
    (b'p', Meaning::Value(Name::Prompt)),
    (b'R', Meaning::Value(Name::Chroot)),
    (b'r', Meaning::Value(Name::SelinuxRole)),
    (b'S', Meaning::Flag(Flag::Stdin)),
    (b's', Meaning::Flag(Flag::Shell)),
    (b'T', Meaning::Value(Name::Timeout)),
    (b't', Meaning::Value(Name::SelinuxType)),
    (b'U', Meaning::Value(Name::OtherUser)),
    (b'u', Meaning::Value(Name::User)),
    (b'V', Meaning::Flag(Flag::Version)),
    (b'v', Meaning::Flag(Flag::Validate)),
];
/// Short options that sudoedit does not have.
const NOT_OF_SUDOEDIT: &[u8] = b"bEeHilPsUv";
/// Not sudo's.
const SHORT_OURS: [(u8, Meaning); 1] = [(b'm', Meaning::Value(Name::Reason))];

const LONG: [(&str, Meaning); 27] = [
    ("askpass", Meaning::Flag(Flag::Askpass)),
    ("background", Meaning::Flag(Flag::Background)),
    ("bell", Meaning::Flag(Flag::Bell)),
    ("chdir", Meaning::Value(Name::Chdir)),
    ("chroot", Meaning::Value(Name::Chroot)),
    ("close-from", Meaning::Value(Name::CloseFrom)),
    ("command-timeout", Meaning::Value(Name::Timeout)),
    ("edit", Meaning::Flag(Flag::Edit)),
    ("group", Meaning::Value(Name::Group)),
    ("help", Meaning::Flag(Flag::Help)),
    ("host", Meaning::Value(Name::Host)),
    ("list", Meaning::Flag(Flag::List)),
    ("login", Meaning::Flag(Flag::Login)),
    ("no-update", Meaning::Flag(Flag::NoUpdate)),
    ("non-interactive", Meaning::Flag(Flag::NonInteractive)),
    ("other-user", Meaning::Value(Name::OtherUser)),
    ("preserve-env", Meaning::PreserveList),
    ("preserve-groups", Meaning::Flag(Flag::PreserveGroups)),
    ("prompt", Meaning::Value(Name::Prompt)),
    ("remove-timestamp", Meaning::Flag(Flag::RemoveTickets)),
    ("reset-timestamp", Meaning::Flag(Flag::ResetTicket)),
    ("set-home", Meaning::Flag(Flag::SetHome)),
    ("shell", Meaning::Flag(Flag::Shell)),
    ("stdin", Meaning::Flag(Flag::Stdin)),
    ("user", Meaning::Value(Name::User)),
    ("validate", Meaning::Flag(Flag::Validate)),
    ("version", Meaning::Flag(Flag::Version)),
];
/// Long options that sudoedit does not have.
const LONG_NOT_OF_SUDOEDIT: [&str; 10] = [
    "background",
    "edit",
    "list",
    "login",
    "other-user",
    "preserve-env",
    "preserve-groups",
    "set-home",
    "shell",
    "validate",
];
/// SELinux's, where this is called sudo.
const LONG_SUDO: [(&str, Meaning); 2] =
    [("role", Meaning::Value(Name::SelinuxRole)), ("type", Meaning::Value(Name::SelinuxType))];
/// Not sudo's.
const LONG_OURS: [(&str, Meaning); 10] = [
    ("break-glass", Meaning::Flag(Flag::BreakGlass)),
    ("explain-env", Meaning::Flag(Flag::ExplainEnv)),
    ("for", Meaning::Value(Name::For)),
    ("no-wait", Meaning::Flag(Flag::NoWait)),
    ("reason", Meaning::Value(Name::Reason)),
    ("request", Meaning::Value(Name::Request)),
    ("role", Meaning::Value(Name::Role)),
    ("status-fd", Meaning::Value(Name::StatusFd)),
    ("ticket", Meaning::Value(Name::Ticket)),
    ("type", Meaning::Value(Name::SelinuxType)),
];

/// For `jitctl request`, `jitctl extend` and `jitctl approve` alone: never shortened, never shown.
const LONG_HIDDEN: [(&str, Meaning); 3] = [
    ("want-role", Meaning::Value(Name::WantRole)),
    ("extend", Meaning::Value(Name::Extend)),
    ("approve", Meaning::Value(Name::Approve)),
];

/// Every option of `jitsudo` as it is typed: `-u`, `--user`.
#[cfg(test)]
pub(crate) fn spellings() -> Vec<String> {
    let short = SHORT.iter().chain(&SHORT_OURS).map(|(letter, _)| format!("-{}", char::from(*letter)));
    let long = LONG.iter().chain(&LONG_OURS).map(|(name, _)| format!("--{name}"));
    short.chain(long).collect()
}

/// The words of a command line, read from the front.
pub(super) struct Reader {
    called: Called,
    words: VecDeque<Vec<u8>>,
    /// Letters of a bundle that were not read yet.
    bundle: Vec<u8>,
}

impl Reader {
    pub(super) fn new(called: Called, words: Vec<Vec<u8>>) -> Self {
        Self { called, words: words.into(), bundle: Vec::new() }
    }

    /// The command: what was not read.
    pub(super) fn rest(self) -> Vec<Vec<u8>> {
        self.words.into()
    }

    /// Reads the next option or assignment; `None` at the first word of the command.
    pub(super) fn next(&mut self) -> Result<Option<Word>, UsageError> {
        if !self.bundle.is_empty() {
            let bundle = std::mem::take(&mut self.bundle);
            return self.short(&bundle).map(Some);
        }
        let Some(word) = self.words.front() else {
            return Ok(None);
        };
        let is_option = word.first() == Some(&b'-') && word.len() > 1;
        if !is_option && !is_assignment(word) {
            return Ok(None);
        }
        let Some(word) = self.words.pop_front() else {
            return Ok(None);
        };
        match word.as_slice() {
            b"--" => Ok(None),
            [b'-', b'-', name @ ..] => self.long(name).map(Some),
            [b'-', bundle @ ..] => self.short(bundle).map(Some),
            _ => Ok(Some(Word::Assignment(word))),
        }
    }

    /// The first option of a bundle; what follows it is its value, or the next options.
    fn short(&mut self, bundle: &[u8]) -> Result<Word, UsageError> {
        let Some((letter, rest)) = bundle.split_first() else {
            return Err(UsageError::silent());
        };
        let ours: &[(u8, Meaning)] = if self.called == Called::Jitsudo { &SHORT_OURS } else { &[] };
        let shown = char::from(*letter).escape_default();
        let known = |(known, _): &&(u8, Meaning)| {
            known == letter && !(self.called == Called::Sudoedit && NOT_OF_SUDOEDIT.contains(letter))
        };
        let Some((_, meaning)) = SHORT.iter().chain(ours).find(known) else {
            return Err(UsageError::new(format!("invalid option -- '{shown}'")));
        };
        match meaning {
            Meaning::Value(name) => Ok(Word::Value(*name, self.value_of(&shown.to_string(), rest)?)),
            Meaning::HelpOrHost => {
                let behind = self.words.front().is_some_and(|word| word.first() != Some(&b'-') && !is_assignment(word));
                if rest.is_empty() && !behind {
                    return Ok(Word::Flag(Flag::Help));
                }
                Ok(Word::Value(Name::Host, self.value_of(&shown.to_string(), rest)?))
            }
            Meaning::Flag(flag) => {
                self.bundle = rest.to_vec();
                Ok(Word::Flag(*flag))
            }
            Meaning::PreserveList => {
                self.bundle = rest.to_vec();
                Ok(Word::Flag(Flag::PreserveEnv))
            }
        }
    }

    fn value_of(&mut self, shown: &str, rest: &[u8]) -> Result<Vec<u8>, UsageError> {
        if !rest.is_empty() {
            return Ok(rest.to_vec());
        }
        self.words.pop_front().ok_or_else(|| UsageError::new(format!("option requires an argument -- '{shown}'")))
    }

    fn long(&mut self, word: &[u8]) -> Result<Word, UsageError> {
        let mut parts = word.splitn(2, |byte| *byte == b'=');
        let (name, value) = (parts.next().unwrap_or_default(), parts.next().map(<[u8]>::to_vec));
        let (full, meaning) = self.find(name)?;
        let lonely = |word: Word| match &value {
            None => Ok(word),
            Some(_) => Err(UsageError::new(format!("option '--{full}' doesn't allow an argument"))),
        };
        match meaning {
            Meaning::Flag(flag) => lonely(Word::Flag(flag)),
            Meaning::HelpOrHost => lonely(Word::Flag(Flag::Help)),
            Meaning::PreserveList => Ok(value.map_or(Word::Flag(Flag::PreserveEnv), Word::Preserve)),
            Meaning::Value(name) => {
                let value = value.or_else(|| self.words.pop_front());
                let value = value.ok_or_else(|| UsageError::new(format!("option '--{full}' requires an argument")))?;
                Ok(Word::Value(name, value))
            }
        }
    }

    /// The option of that name, or the only one that begins so.
    fn find(&self, name: &[u8]) -> Result<(&'static str, Meaning), UsageError> {
        let hidden = LONG_HIDDEN.iter().find(|(known, _)| known.as_bytes() == name);
        if let Some(hidden) = hidden.filter(|_| self.called == Called::Jitsudo) {
            return Ok(*hidden);
        }
        let own: &'static [(&str, Meaning)] = if self.called == Called::Jitsudo { &LONG_OURS } else { &LONG_SUDO };
        let is_known = |known: &str| self.called != Called::Sudoedit || !LONG_NOT_OF_SUDOEDIT.contains(&known);
        let fits = |(known, _): &&(&str, Meaning)| known.as_bytes().starts_with(name) && is_known(known);
        let fitting: Vec<_> = LONG.iter().chain(own).filter(fits).collect();
        let shown = name.escape_ascii();
        if let Some(exact) = fitting.iter().find(|(known, _)| known.as_bytes() == name) {
            return Ok(**exact);
        }
        match fitting.as_slice() {
            [] => Err(UsageError::new(format!("unrecognized option '--{shown}'"))),
            [only] => Ok(**only),
            several => {
                let list: Vec<String> = several.iter().map(|(known, _)| format!("'--{known}'")).collect();
                let list = list.join(" ");
                Err(UsageError::new(format!("option '--{shown}' is ambiguous; possibilities: {list}")))
            }
        }
    }
}

/// A word that does not begin with `/` or `=` and contains `=`.
fn is_assignment(word: &[u8]) -> bool {
    !matches!(word.first(), None | Some(b'/' | b'=' | b'-')) && word.contains(&b'=')
}
