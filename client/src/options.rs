//! sudo's command line (sudo(8), parse_args.c's rules), and our own options.

use jitsudo_protocol::act::ActKind;

mod grammar;

use grammar::{Flag, Name, Reader, Word};

/// The name that this program was called by.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Called {
    /// `jitsudo`, and any other name.
    Jitsudo,
    /// `sudo`: only sudo's options and exit statuses exist.
    Sudo,
    /// `sudoedit`, `jitsudoedit`: `-e` is given.
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
        crate::ending::End::Code(if self == Self::Sudo { 1 } else { code })
    }
}

/// What a command line asks for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Asked {
    /// Run something.
    Run(Box<Run>),
    /// `-h`
    Help,
    /// `-V`
    Version,
    /// `-k` or `-K` alone: nothing is remembered yet, so nothing is to be forgotten.
    ForgetAuthentication,
    /// Known, and not in this version.
    NotYet(String),
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
    pub(crate) chdir: Option<Vec<u8>>,
    pub(crate) non_interactive: bool,
    pub(crate) status_fd: Option<i32>,
}

/// A command line that cannot be.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct UsageError {
    lines: Vec<String>,
}

impl UsageError {
    fn new(line: impl Into<String>) -> Self {
        Self { lines: vec![line.into()] }
    }
    /// sudo says nothing but its usage.
    fn silent() -> Self {
        Self { lines: Vec::new() }
    }
    /// What is wrong.
    pub(crate) fn lines(&self) -> &[String] {
        &self.lines
    }
}

/// sudo's words for two modes at once.
const ONE_MODE: &str = "Only one of the -e, -h, -i, -K, -l, -s, -v or -V options may be specified";

/// Options as they were met.
#[derive(Default)]
struct Met {
    flags: Vec<Flag>,
    user: Option<Vec<u8>>,
    group: Option<Vec<u8>>,
    chdir: Option<Vec<u8>>,
    prompt: Option<Vec<u8>>,
    role: Option<Vec<u8>>,
    reason: Option<Vec<u8>>,
    ticket: Option<Vec<u8>>,
    window: Option<Vec<u8>>,
    status_fd: Option<Vec<u8>>,
    other_user: Option<Vec<u8>>,
    preserve: Vec<Vec<u8>>,
    preserve_all: bool,
    env_set: Vec<Vec<u8>>,
    not_yet: Option<String>,
}

impl Met {
    fn has(&self, flag: Flag) -> bool {
        self.flags.contains(&flag)
    }
    fn count(&self, flag: Flag) -> usize {
        self.flags.iter().filter(|met| **met == flag).count()
    }
}

/// Reads the words after the program's name.
///
/// # Errors
/// A command line that sudo refuses as well, or a value of ours that cannot be read.
pub(crate) fn parse(called: Called, words: Vec<Vec<u8>>) -> Result<Asked, UsageError> {
    let mut met = Met::default();
    let mut reader = Reader::new(called, words);
    while let Some(word) = reader.next()? {
        match word {
            Word::Flag(flag) => met.flags.push(flag),
            Word::Assignment(assignment) => met.env_set.push(assignment),
            Word::NotYet(what) => met.not_yet = met.not_yet.or(Some(what)),
            Word::Preserve(None) => met.preserve_all = true,
            Word::Preserve(Some(names)) => {
                met.preserve
                    .extend(names.split(|byte| *byte == b',').filter(|name| !name.is_empty()).map(<[u8]>::to_vec));
            }
            Word::Value(name, value) => take_value(&mut met, name, value)?,
        }
    }
    decide(called, met, reader.rest())
}

fn take_value(met: &mut Met, name: Name, value: Vec<u8>) -> Result<(), UsageError> {
    let place = match name {
        Name::User => &mut met.user,
        Name::Group => &mut met.group,
        Name::Chdir => &mut met.chdir,
        Name::Prompt => &mut met.prompt,
        Name::Role => &mut met.role,
        Name::Reason => &mut met.reason,
        Name::Ticket => &mut met.ticket,
        Name::For => &mut met.window,
        Name::StatusFd => &mut met.status_fd,
        Name::OtherUser => &mut met.other_user,
    };
    // sudo allows an empty prompt and no other empty value, and nothing twice.
    if place.is_some() || (value.is_empty() && name != Name::Prompt) {
        return Err(UsageError::silent());
    }
    *place = Some(value);
    Ok(())
}

fn decide(called: Called, met: Met, argv: Vec<Vec<u8>>) -> Result<Asked, UsageError> {
    let edit = met.has(Flag::Edit) || called == Called::Sudoedit;
    let (shell, login) = (met.has(Flag::Shell), met.has(Flag::Login));
    let modes = [
        edit,
        met.has(Flag::Help),
        met.has(Flag::Version),
        met.has(Flag::List),
        met.has(Flag::Validate),
        met.has(Flag::RemoveTickets),
    ];
    let modes = modes.into_iter().filter(|given| *given).count();
    if modes > 1 || (modes == 1 && (shell || login) && !met.has(Flag::Help) && !edit) {
        return Err(UsageError::new(ONE_MODE));
    }
    if shell && login {
        return Err(UsageError::new("you may not specify both the -i and -s options"));
    }
    if login && met.preserve_all {
        return Err(UsageError::new("you may not specify both the -i and -E options"));
    }
    if met.has(Flag::Askpass) && met.has(Flag::Stdin) {
        return Err(UsageError::new("the -A and -S options may not be used together"));
    }
    if met.other_user.is_some() && !met.has(Flag::List) {
        return Err(UsageError::new("the -U option may only be used with the -l option"));
    }
    if met.has(Flag::NoUpdate) && (met.has(Flag::ResetTicket) || met.has(Flag::RemoveTickets)) {
        return Err(UsageError::silent());
    }
    if edit {
        if met.preserve_all || !met.preserve.is_empty() || !met.env_set.is_empty() {
            return Err(UsageError::new("you may not specify environment variables in edit mode"));
        }
        if shell || login || met.has(Flag::Background) || met.has(Flag::SetHome) || met.has(Flag::PreserveGroups) {
            return Err(UsageError::silent());
        }
    }
    if met.has(Flag::Help) {
        return Ok(Asked::Help);
    }
    if met.has(Flag::Version) {
        return Ok(Asked::Version);
    }
    if met.has(Flag::RemoveTickets) {
        return if argv.is_empty() && met.env_set.is_empty() && met.flags.len() == 1 {
            Ok(Asked::ForgetAuthentication)
        } else {
            Err(UsageError::silent())
        };
    }
    if met.has(Flag::Validate) {
        return if argv.is_empty() { Ok(Asked::NotYet("-v".to_owned())) } else { Err(UsageError::silent()) };
    }
    if met.has(Flag::List) {
        return Ok(Asked::NotYet(if met.count(Flag::List) > 1 { "-ll" } else { "-l" }.to_owned()));
    }
    if let Some(what) = met.not_yet {
        return Ok(Asked::NotYet(what));
    }
    for (flag, what) in [(Flag::Background, "-b"), (Flag::PreserveGroups, "-P")] {
        if met.has(flag) {
            return Ok(Asked::NotYet(what.to_owned()));
        }
    }
    let kind = match (edit, shell, login, argv.is_empty()) {
        (true, ..) if argv.is_empty() => return Err(UsageError::silent()),
        (true, ..) => ActKind::Edit,
        (_, true, ..) => ActKind::Shell,
        (_, _, true, _) => ActKind::LoginShell,
        (_, _, _, false) => ActKind::Command,
        (_, _, _, true) => {
            // -k alone; with no command at all sudo shows its usage and jitsudo gives a shell, where a role has one.
            if met.has(Flag::ResetTicket) && met.flags.len() == 1 && met.env_set.is_empty() {
                return Ok(Asked::ForgetAuthentication);
            }
            if called == Called::Sudo {
                return Err(UsageError::silent());
            }
            ActKind::Shell
        }
    };
    finish(met, kind, argv)
}

fn finish(met: Met, kind: ActKind, argv: Vec<Vec<u8>>) -> Result<Asked, UsageError> {
    let mut preserve = met.preserve;
    if met.preserve_all {
        preserve.push(b"*".to_vec());
    }
    let run = Run {
        kind,
        argv,
        user: text("-u", met.user)?,
        group: text("-g", met.group)?,
        role: text("--role", met.role)?,
        reason: text("--reason", met.reason)?,
        ticket: text("--ticket", met.ticket)?,
        window: match text("--for", met.window)? {
            None => None,
            Some(text) => Some(seconds(&text).ok_or_else(|| {
                UsageError::new(format!("cannot read --for {text:?}: a duration such as 30m or 1h30m is due"))
            })?),
        },
        break_glass: met.flags.contains(&Flag::BreakGlass),
        env_set: met.env_set,
        preserve,
        chdir: met.chdir,
        non_interactive: met.flags.contains(&Flag::NonInteractive),
        status_fd: match text("--status-fd", met.status_fd)? {
            None => None,
            Some(text) => Some(text.parse().ok().filter(|number| *number >= 0).ok_or_else(|| {
                UsageError::new(format!("cannot read --status-fd {text:?}: the number of an open descriptor is due"))
            })?),
        },
    };
    Ok(Asked::Run(Box::new(run)))
}

fn text(option: &str, value: Option<Vec<u8>>) -> Result<Option<String>, UsageError> {
    value
        .map(|bytes| {
            String::from_utf8(bytes).map_err(|_| UsageError::new(format!("the value of {option} is not UTF-8")))
        })
        .transpose()
}

/// `1h30m`, `45s`, `2d`: at least one second.
fn seconds(text: &str) -> Option<u64> {
    let mut total = 0u64;
    let mut rest = text;
    while !rest.is_empty() {
        let digits = rest.find(|one: char| !one.is_ascii_digit())?;
        let (number, unit) = rest.split_at(digits);
        let factor = match unit.as_bytes().first()? {
            b's' => 1,
            b'm' => 60,
            b'h' => 3600,
            b'd' => 86_400,
            _ => return None,
        };
        total = total.checked_add(number.parse::<u64>().ok()?.checked_mul(factor)?)?;
        rest = unit.get(1..)?;
    }
    (total > 0).then_some(total)
}

impl Asked {
    /// Fills in from JITSUDO_ROLE, JITSUDO_REASON and JITSUDO_TICKET what sudo's options cannot say.
    pub(crate) fn with_settings(self, called: Called, environment: &[Vec<u8>]) -> Self {
        let Self::Run(mut run) = self else {
            return self;
        };
        if called == Called::Sudo {
            let setting = |name: &[u8]| {
                let entry = environment.iter().find_map(|entry| entry.strip_prefix(name)?.strip_prefix(b"="))?;
                String::from_utf8(entry.to_vec()).ok().filter(|text| !text.is_empty())
            };
            run.role = run.role.or_else(|| setting(b"JITSUDO_ROLE"));
            run.reason = run.reason.or_else(|| setting(b"JITSUDO_REASON"));
            run.ticket = run.ticket.or_else(|| setting(b"JITSUDO_TICKET"));
        }
        Self::Run(run)
    }
}

#[cfg(test)]
mod tests;
