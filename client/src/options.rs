//! sudo's command line (sudo(8), parse_args.c's rules), and our own options.

use jitsudo_protocol::act::{ActKind, Remember};
use jitsudo_protocol::session::Prompt;

mod duration;
mod grammar;
mod modes;
mod settings;

use grammar::{Flag, Name, Reader, Word};

/// The name that this program was called by.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Called {
    /// `jitsudo`, and any other name.
    Jitsudo,
    /// `sudo`: only sudo's options and exit statuses exist.
    Sudo,
    /// `sudoedit`, `jitsudoedit`: `-e` is given, and only what sudoedit has.
    Sudoedit,
}

impl Called {
    /// By `argv[0]`.
    pub(crate) fn by(name: &[u8]) -> Self {
        match name.rsplit(|byte| *byte == b'/').next().unwrap_or_default() {
            b"sudo" => Self::Sudo,
            b"sudoedit" | b"jitsudoedit" => Self::Sudoedit,
            _ => Self::Jitsudo,
        }
    }

    /// What messages begin with.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Jitsudo => "jitsudo",
            Self::Sudo => "sudo",
            Self::Sudoedit => "sudoedit",
        }
    }

    /// Our exit status; sudo knows only 1.
    pub(crate) fn code(self, code: u8) -> crate::ending::End {
        crate::ending::End::Code(if self == Self::Jitsudo { code } else { 1 })
    }
}

/// What a command line asks for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Asked {
    /// Run something, or with `-v` only prove who one is.
    Run(Box<Run>),
    /// `-l`
    List(Box<List>),
    /// `-h`
    Help,
    /// `-V`
    Version,
    /// `-k` or `-K` alone: what is remembered of an authentication goes.
    Forget {
        /// `-K`: on every terminal.
        all: bool,
    },
}

/// A request to run something.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Run {
    pub(crate) kind: ActKind,
    pub(crate) argv: Vec<Vec<u8>>,
    pub(crate) user: Option<String>,
    pub(crate) group: Option<String>,
    pub(crate) role: Option<String>,
    pub(crate) reason: Option<String>,
    pub(crate) ticket: Option<String>,
    pub(crate) window: Option<u64>,
    pub(crate) break_glass: bool,
    pub(crate) env_set: Vec<Vec<u8>>,
    pub(crate) preserve: Vec<Vec<u8>>,
    pub(crate) preserve_groups: bool,
    pub(crate) chdir: Option<Vec<u8>>,
    pub(crate) timeout: Option<u64>,
    /// `jitctl extend`: the id of what is held.
    pub(crate) extends: Option<String>,
    /// `--request`: the id of what waits or was approved.
    pub(crate) request: Option<String>,
    pub(crate) no_wait: bool,
    pub(crate) background: bool,
    pub(crate) non_interactive: bool,
    pub(crate) remember: Remember,
    pub(crate) asking: Asking,
    pub(crate) status_fd: Option<i32>,
    /// Nothing runs: its variables are told.
    pub(crate) explain_env: bool,
}

/// A request to see what may be run (`-l`).
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct List {
    /// Is this allowed; empty: everything.
    pub(crate) argv: Vec<Vec<u8>>,
    pub(crate) user: Option<String>,
    pub(crate) group: Option<String>,
    /// `-U`
    pub(crate) other_user: Option<String>,
    /// `-ll`
    pub(crate) long: bool,
    pub(crate) non_interactive: bool,
    pub(crate) remember: Remember,
    pub(crate) asking: Asking,
}

/// How a password is asked for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Asking {
    pub(crate) source: Source,
    /// `-B`
    pub(crate) bell: bool,
    /// The template; the session fills it in.
    pub(crate) prompt: Prompt,
}

/// Where a password comes from.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Source {
    /// The terminal; where there is none, this helper, if there is a display for it.
    Terminal {
        /// Its path.
        helper: Option<Vec<u8>>,
    },
    /// `-S`
    Stdin,
    /// `-A`: this program, when one is set.
    Askpass(Option<Vec<u8>>),
}

/// A command line that cannot be.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct UsageError {
    lines: Vec<String>,
    /// sudo shows its usage as well.
    pub(crate) with_usage: bool,
}

impl UsageError {
    fn new(line: impl Into<String>) -> Self {
        Self { lines: vec![line.into()], with_usage: true }
    }
    /// sudo says nothing but its usage.
    fn silent() -> Self {
        Self { lines: Vec::new(), with_usage: true }
    }
    /// Well said, and not to be had.
    fn refused(line: impl Into<String>) -> Self {
        Self { lines: vec![line.into()], with_usage: false }
    }
    /// What is wrong.
    pub(crate) fn lines(&self) -> &[String] {
        &self.lines
    }
}

/// Options as they were met.
#[derive(Default)]
struct Met {
    flags: Vec<Flag>,
    values: Vec<(Name, Vec<u8>)>,
    preserve: Vec<Vec<u8>>,
    env_set: Vec<Vec<u8>>,
}

impl Met {
    fn has(&self, flag: Flag) -> bool {
        self.flags.contains(&flag)
    }
    fn count(&self, flag: Flag) -> usize {
        self.flags.iter().filter(|met| **met == flag).count()
    }
    fn value(&self, name: Name) -> Option<&[u8]> {
        self.values.iter().find(|(met, _)| *met == name).map(|(_, value)| value.as_slice())
    }
    fn text(&self, option: &str, name: Name) -> Result<Option<String>, UsageError> {
        let read = |bytes: &[u8]| String::from_utf8(bytes.to_vec());
        let value = self.value(name).map(read).transpose();
        value.map_err(|_| UsageError::new(format!("the value of {option} is not UTF-8")))
    }
}

/// Reads the words after the program's name. `host` is this host's own name, which `-h` may give.
///
/// # Errors
/// A command line that sudo refuses as well, or a value of ours that cannot be read.
pub(crate) fn parse(called: Called, words: Vec<Vec<u8>>, host: &str) -> Result<Asked, UsageError> {
    let mut met = Met::default();
    let mut reader = Reader::new(called, words);
    while let Some(word) = reader.next()? {
        match word {
            Word::Flag(flag) => met.flags.push(flag),
            Word::Assignment(assignment) => met.env_set.push(assignment),
            Word::Preserve(names) => {
                let names = names.split(|byte| *byte == b',').filter(|name| !name.is_empty());
                met.preserve.extend(names.map(<[u8]>::to_vec));
            }
            Word::Value(name, value) => take_value(&mut met, name, value)?,
        }
    }
    modes::decide(called, &met, reader.rest(), host)
}

fn take_value(met: &mut Met, name: Name, value: Vec<u8>) -> Result<(), UsageError> {
    if met.value(name).is_some() {
        return Err(UsageError::silent());
    }
    match name {
        Name::CloseFrom if duration::descriptor(&value).is_none() => {
            return Err(UsageError::new("the argument to -C must be a number greater than or equal to 3"));
        }
        // sudo allows an empty prompt and no other empty value; these two have words of their own for it.
        Name::Prompt | Name::CloseFrom | Name::Timeout => {}
        _ if value.is_empty() => return Err(UsageError::silent()),
        _ => {}
    }
    met.values.push((name, value));
    Ok(())
}

#[cfg(test)]
pub(crate) use grammar::spellings;
#[cfg(test)]
mod tests;
