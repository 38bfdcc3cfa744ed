//! The act: exactly what is to run. Sent to the decider, and again to the session; long lists travel in numbered datagrams.

use std::fmt;

use jitsudo_bytes::Bytes;
use serde::{Deserialize, Serialize};

/// Longest single argument or variable, bytes (the kernel's MAX_ARG_STRLEN).
pub const MAX_STRING_BYTES: usize = 128 * 1024;
/// Most bytes of all arguments, and of all variables.
pub const MAX_LIST_BYTES: usize = 2 * 1024 * 1024;
/// Most arguments: what xargs and find make of their 128 KiB when every word is one letter.
pub const MAX_ARGUMENTS: usize = 64 * 1024;
/// Most variables.
pub const MAX_VARIABLES: usize = 16 * 1024;
/// Longest reason, ticket, role, account, group name, bytes.
pub const MAX_WORD_BYTES: usize = 4 * 1024;

/// What kind of thing is to run.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ActKind {
    /// One program with arguments.
    Command,
    /// `-s`: the requester's `$SHELL`, perhaps with a command line.
    Shell,
    /// `-i`: the target's login shell, perhaps with a command line.
    LoginShell,
    /// `-e`: edit files.
    Edit,
    /// `-v`: prove who you are; nothing runs.
    Validate,
    /// `jitctl request ROLE`: the whole of `options.role` for a window; nothing runs.
    Role,
    /// `jitctl approve ID`: say yes to the request `argv[0]` as its card with the digest `argv[1]` showed it, for at most
    /// `options.window`; nothing runs.
    Approve,
}

/// What is to become of an authentication that is remembered for this terminal.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Remember {
    /// It may be used, and a new one is remembered.
    #[default]
    Use,
    /// `-N`: it may be used; nothing is remembered or prolonged.
    Keep,
    /// `-k` with a command: it is not used, and nothing is remembered.
    Ignore,
}

/// Everything of an act but its two long lists.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ActOptions {
    /// What kind.
    pub kind: ActKind,
    /// `-u`, as typed.
    pub user: Option<String>,
    /// `-g`, as typed.
    pub group: Option<String>,
    /// `--role`.
    pub role: Option<String>,
    /// `-m`, `--reason`.
    pub reason: Option<String>,
    /// `--ticket`.
    pub ticket: Option<String>,
    /// `--for`, seconds.
    pub window: Option<u64>,
    /// `--break-glass`.
    pub break_glass: bool,
    /// `NAME=value` words of the command line, in order.
    pub env_set: Vec<Bytes>,
    /// `--preserve-env=NAMES`; `*` alone stands for `-E`.
    pub preserve: Vec<Bytes>,
    /// `-D DIR`.
    pub chdir: Option<Bytes>,
    /// `-P`: the caller's supplementary groups rather than the target's.
    pub preserve_groups: bool,
    /// `-T`, seconds: the command runs no longer than this.
    pub timeout: Option<u64>,
    /// For a role: not a new one, but more time for the one that is held under this id, or the end of it. `window` says how much.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub extends: Option<String>,
    /// Not a new request, but the one that waits, or was approved, under this id: the act must be the same. Not part of the digest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request: Option<String>,
    /// Where other people are asked: do not wait for them; the request waits by itself. Not part of the digest.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub no_wait: bool,
    /// The caller's working directory, as getcwd(3) gives it; empty when it has none.
    pub cwd: Bytes,
    /// The caller's umask.
    pub umask: u32,
    /// `-n`: wait for neither password nor person. Not part of the digest.
    pub non_interactive: bool,
    /// `-k`, `-N`. Not part of the digest.
    pub remember: Remember,
    /// The caller has a terminal that the session may be relayed to. Not part of the digest.
    pub terminal: bool,
}

/// Exactly what is to run.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Act {
    /// Everything but the long lists.
    pub options: ActOptions,
    /// Program and arguments, any bytes but NUL.
    pub argv: Vec<Bytes>,
    /// The caller's environment, `NAME=value` entries as they stand in environ(7).
    pub env: Vec<Bytes>,
}

/// The first datagram of an act.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ActStart {
    /// Everything but the long lists.
    pub options: ActOptions,
    /// Number of arguments; they come first.
    pub argc: u32,
    /// Number of variables; they come second.
    pub envc: u32,
    /// The first strings.
    pub strings: Vec<Bytes>,
    /// The last of `strings` goes on in the next datagram.
    pub open: bool,
}

/// A following datagram of an act.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ActMore {
    /// 1, 2, 3, …
    pub number: u32,
    /// The next strings; the first one continues an open string.
    pub strings: Vec<Bytes>,
    /// The last of `strings` goes on in the next datagram.
    pub open: bool,
}

/// Raw bytes of strings put into one datagram at most: JSON may make six of one.
const CHUNK_BYTES: usize = 9 * 1024;
/// Strings put into one datagram at most.
const CHUNK_STRINGS: usize = 256;

impl Act {
    /// Splits the act into its datagrams' contents.
    #[must_use]
    pub fn split(&self) -> (ActStart, Vec<ActMore>) {
        let mut chunks: Vec<(Vec<Bytes>, bool)> = vec![(Vec::new(), false)];
        let mut room = CHUNK_BYTES;
        for string in self.argv.iter().chain(&self.env) {
            let mut rest = string.0.as_slice();
            loop {
                let full = chunks.last().is_none_or(|(strings, _)| strings.len() >= CHUNK_STRINGS);
                if full || room == 0 {
                    chunks.push((Vec::new(), false));
                    room = CHUNK_BYTES;
                }
                let (now, later) = rest.split_at(rest.len().min(room));
                room -= now.len();
                if let Some((strings, open)) = chunks.last_mut() {
                    strings.push(Bytes(now.to_vec()));
                    *open = !later.is_empty();
                }
                if later.is_empty() {
                    break;
                }
                rest = later;
            }
        }
        let mut chunks = chunks.into_iter();
        let (strings, open) = chunks.next().unwrap_or_default();
        let count = |list: &[Bytes]| u32::try_from(list.len()).unwrap_or(u32::MAX);
        let start =
            ActStart { options: self.options.clone(), argc: count(&self.argv), envc: count(&self.env), strings, open };
        let more = chunks.zip(1..).map(|((strings, open), number)| ActMore { number, strings, open }).collect();
        (start, more)
    }
}

/// What is wrong with an act on its way in. The connection is closed after any of these.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ActError {
    /// More strings, a longer string or more bytes than allowed; which limit, and its value.
    TooLarge {
        /// `arguments`, `variables`, `argument`, `variable` or `option`.
        what: &'static str,
        /// The limit, in bytes or strings.
        limit: usize,
    },
    /// Numbers out of order, more strings than announced, or an end in the middle.
    OutOfOrder,
    /// A NUL byte, which no exec can carry.
    Nul,
    /// A command without any word.
    Empty,
}

impl fmt::Display for ActError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLarge { what, limit } => write!(f, "cannot take the request: {what} over the limit of {limit}"),
            Self::OutOfOrder => f.write_str("cannot take the request: its parts are out of order"),
            Self::Nul => f.write_str("cannot take the request: a NUL byte in an argument or variable"),
            Self::Empty => f.write_str("cannot take the request: it names no command"),
        }
    }
}
impl std::error::Error for ActError {}

/// Puts an act together from its datagrams, within the limits.
#[derive(Debug)]
pub struct Assembler {
    options: ActOptions,
    argc: usize,
    total: usize,
    strings: Vec<Bytes>,
    argv_bytes: usize,
    env_bytes: usize,
    open: bool,
    next: u32,
}

/// What the assembler has after a datagram.
#[derive(Debug)]
pub enum Progress {
    /// More datagrams are to come.
    More(Assembler),
    /// All there.
    Whole(Act),
}

impl Assembler {
    /// Begins with the first datagram.
    ///
    /// # Errors
    /// Anything of [`ActError`].
    pub fn begin(start: ActStart) -> Result<Progress, ActError> {
        let options = start.options;
        let words = [&options.user, &options.group, &options.role, &options.reason, &options.ticket];
        for word in words.into_iter().flatten() {
            if word.len() > MAX_WORD_BYTES {
                return Err(ActError::TooLarge { what: "option", limit: MAX_WORD_BYTES });
            }
            if word.contains('\0') {
                return Err(ActError::Nul);
            }
        }
        let paths = options.chdir.iter().chain([&options.cwd]).chain(&options.env_set).chain(&options.preserve);
        for bytes in paths {
            if bytes.0.len() > MAX_STRING_BYTES {
                return Err(ActError::TooLarge { what: "option", limit: MAX_STRING_BYTES });
            }
            if bytes.0.contains(&0) {
                return Err(ActError::Nul);
            }
        }
        let count = |announced: u32, limit, what| match usize::try_from(announced) {
            Ok(count) if count <= limit => Ok(count),
            _ => Err(ActError::TooLarge { what, limit }),
        };
        let argc = count(start.argc, MAX_ARGUMENTS, "arguments")?;
        let total = argc + count(start.envc, MAX_VARIABLES, "variables")?;
        if argc == 0 && matches!(options.kind, ActKind::Command | ActKind::Edit) {
            return Err(ActError::Empty);
        }
        let assembler =
            Self { options, argc, total, strings: Vec::new(), argv_bytes: 0, env_bytes: 0, open: false, next: 1 };
        assembler.take(start.strings, start.open)
    }

    /// Adds a following datagram.
    ///
    /// # Errors
    /// Anything of [`ActError`].
    pub fn more(mut self, more: ActMore) -> Result<Progress, ActError> {
        if more.number != self.next || more.strings.is_empty() {
            return Err(ActError::OutOfOrder);
        }
        self.next = self.next.checked_add(1).ok_or(ActError::OutOfOrder)?;
        self.take(more.strings, more.open)
    }

    fn take(mut self, strings: Vec<Bytes>, open: bool) -> Result<Progress, ActError> {
        for string in strings {
            if string.0.contains(&0) {
                return Err(ActError::Nul);
            }
            let continued = std::mem::take(&mut self.open);
            let place = if continued { self.strings.len().saturating_sub(1) } else { self.strings.len() };
            if place >= self.total {
                return Err(ActError::OutOfOrder);
            }
            let is_argument = place < self.argc;
            let (bytes, what) =
                if is_argument { (&mut self.argv_bytes, "arguments") } else { (&mut self.env_bytes, "variables") };
            *bytes += string.0.len() + usize::from(!continued);
            if *bytes > MAX_LIST_BYTES {
                return Err(ActError::TooLarge { what, limit: MAX_LIST_BYTES });
            }
            let what = if is_argument { "argument" } else { "variable" };
            match self.strings.last_mut() {
                Some(last) if continued => last.0.extend_from_slice(&string.0),
                _ => self.strings.push(string),
            }
            if self.strings.last().is_some_and(|last| last.0.len() > MAX_STRING_BYTES) {
                return Err(ActError::TooLarge { what, limit: MAX_STRING_BYTES });
            }
        }
        self.open = open;
        if self.open || self.strings.len() < self.total {
            return if self.open && self.strings.is_empty() {
                Err(ActError::OutOfOrder)
            } else {
                Ok(Progress::More(self))
            };
        }
        let env = self.strings.split_off(self.argc);
        Ok(Progress::Whole(Act { options: self.options, argv: self.strings, env }))
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use proptest::prelude::*;

    pub(crate) fn options() -> ActOptions {
        ActOptions {
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
            remember: Remember::Use,
            env_set: Vec::new(),
            preserve: Vec::new(),
            chdir: None,
            cwd: Bytes::from("/"),
            umask: 0o22,
            non_interactive: false,
            terminal: false,
        }
    }

    fn join(act: &Act) -> Result<Act, ActError> {
        let (start, more) = act.split();
        let mut progress = Assembler::begin(start)?;
        for part in more {
            let text = serde_json::to_string(&part).unwrap();
            assert!(text.len() < crate::MAX_DATAGRAM - 256, "{}", text.len());
            progress = match progress {
                Progress::More(assembler) => assembler.more(serde_json::from_str(&text).unwrap())?,
                Progress::Whole(_) => panic!("whole too early"),
            };
        }
        match progress {
            Progress::Whole(act) => Ok(act),
            Progress::More(_) => Err(ActError::OutOfOrder),
        }
    }

    fn act(argv: Vec<Vec<u8>>, env: Vec<Vec<u8>>) -> Act {
        let list = |strings: Vec<Vec<u8>>| strings.into_iter().map(Bytes).collect();
        Act { options: options(), argv: list(argv), env: list(env) }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]
        #[test]
        fn any_act_within_limits_arrives_byte_for_byte(
            argv in prop::collection::vec(prop::collection::vec(1u8..=255, 0..20_000), 1..6),
            env in prop::collection::vec(prop::collection::vec(1u8..=31, 0..300), 0..400),
        ) {
            let act = act(argv, env);
            prop_assert_eq!(join(&act).unwrap(), act);
        }
    }

    #[test]
    fn dos_05_longest_argument_arrives_and_one_more_byte_is_refused() {
        let whole = act(vec![vec![b'x'; MAX_STRING_BYTES]], vec![]);
        assert_eq!(join(&whole).unwrap(), whole);
        let over = act(vec![vec![b'x'; MAX_STRING_BYTES + 1]], vec![]);
        assert_eq!(join(&over), Err(ActError::TooLarge { what: "argument", limit: MAX_STRING_BYTES }));
    }

    #[test]
    fn env_11_environment_over_two_mebibytes_is_refused() {
        let over = act(vec![b"x".to_vec()], vec![vec![b'v'; 100_000]; 22]);
        assert_eq!(join(&over), Err(ActError::TooLarge { what: "variables", limit: MAX_LIST_BYTES }));
        let many = act(vec![b"x".to_vec()], vec![b"a=b".to_vec(); MAX_VARIABLES + 1]);
        assert_eq!(join(&many), Err(ActError::TooLarge { what: "variables", limit: MAX_VARIABLES }));
    }

    #[test]
    fn as_many_arguments_as_xargs_makes_arrive_and_one_more_is_refused() {
        let whole = act(vec![b"x".to_vec(); MAX_ARGUMENTS], vec![]);
        assert_eq!(join(&whole).unwrap(), whole);
        let over = act(vec![b"x".to_vec(); MAX_ARGUMENTS + 1], vec![]);
        assert_eq!(join(&over), Err(ActError::TooLarge { what: "arguments", limit: MAX_ARGUMENTS }));
    }

    #[test]
    fn parts_out_of_order_repeated_or_beyond_the_announced_are_refused() {
        let (start, more) = act(vec![vec![b'x'; 30_000], b"y".to_vec()], vec![]).split();
        let begin = || match Assembler::begin(start.clone()).unwrap() {
            Progress::More(assembler) => assembler,
            Progress::Whole(_) => panic!("whole too early"),
        };
        assert_eq!(begin().more(more[1].clone()).unwrap_err(), ActError::OutOfOrder);
        let Progress::More(second) = begin().more(more[0].clone()).unwrap() else { panic!("whole too early") };
        assert_eq!(second.more(more[0].clone()).unwrap_err(), ActError::OutOfOrder);
        let extra =
            ActStart { strings: vec![Bytes::from("a"), Bytes::from("b"), Bytes::from("c")], open: false, ..start };
        assert_eq!(Assembler::begin(extra).unwrap_err(), ActError::OutOfOrder);
    }

    #[test]
    fn nul_bytes_and_commands_without_words_are_refused() {
        assert_eq!(join(&act(vec![b"a\0b".to_vec()], vec![])), Err(ActError::Nul));
        assert_eq!(join(&act(vec![], vec![])), Err(ActError::Empty));
    }
}
