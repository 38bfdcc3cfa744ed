//! What the options ask for together: sudo's modes exclude each other, and each takes only some of the options.

use jitsudo_protocol::act::{ActKind, Remember};

use super::duration::{self, TimeoutError};
use super::grammar::{Flag, Name};
use super::settings;
use super::{Asked, Called, List, Met, Run, UsageError};

/// sudo's words for two modes at once.
pub(super) const ONE_MODE: &str = "Only one of the -e, -h, -i, -K, -l, -s, -v or -V options may be specified";

/// Flags that not every mode takes; the others (`-A -B -S -k -N`) fit any.
const LIMITED: [Flag; 10] = [
    Flag::Background,
    Flag::BreakGlass,
    Flag::ExplainEnv,
    Flag::Login,
    Flag::NonInteractive,
    Flag::NoWait,
    Flag::PreserveEnv,
    Flag::PreserveGroups,
    Flag::SetHome,
    Flag::Shell,
];

#[derive(Clone, Copy, PartialEq, Eq)]
enum Mode {
    Run,
    Edit,
    List,
    Validate,
    Forget,
    ForgetAll,
    Help,
    Version,
}

impl Mode {
    fn takes(self, flag: Flag) -> bool {
        match self {
            Self::Run => true,
            Self::Edit | Self::List | Self::Validate => {
                matches!(flag, Flag::NonInteractive | Flag::BreakGlass | Flag::NoWait)
            }
            Self::Forget | Self::ForgetAll | Self::Help | Self::Version => false,
        }
    }

    /// As sudo calls it where it refuses an option.
    fn is_called(self, argv: &[Vec<u8>]) -> String {
        match (self, argv.first()) {
            (Self::List, _) => "list".to_owned(),
            (Self::Validate, _) => "validate".to_owned(),
            (Self::Edit, _) => "sudoedit".to_owned(),
            (_, Some(command)) => command.escape_ascii().to_string(),
            (_, None) => "a shell".to_owned(),
        }
    }
}

/// Decides, in the order in which sudo does.
pub(super) fn decide(called: Called, met: &Met, argv: Vec<Vec<u8>>, host: &str) -> Result<Asked, UsageError> {
    let (shell, login) = (met.has(Flag::Shell), met.has(Flag::Login));
    if met.has(Flag::NoUpdate) && (met.has(Flag::ResetTicket) || met.has(Flag::RemoveTickets)) {
        return Err(UsageError::new("Only one of the -K, -k or -N options may be specified"));
    }
    if met.value(Name::WantRole).is_some() || met.value(Name::Extend).is_some() {
        return role(called, met, argv);
    }
    if let Some(what) = met.value(Name::Approve) {
        return approve(called, met, what, argv);
    }
    let mode = mode(called, met, !argv.is_empty() || shell || login)?;
    if login && shell {
        return Err(UsageError::new("you may not specify both the -i and -s options"));
    }
    if login && met.has(Flag::PreserveEnv) {
        return Err(UsageError::new("you may not specify both the -i and -E options"));
    }
    // Whoever wants to read what there would be does not send it into the background.
    if met.has(Flag::ExplainEnv) && met.has(Flag::Background) {
        return Err(UsageError::silent());
    }
    if LIMITED.into_iter().any(|flag| met.has(flag) && !mode.takes(flag)) {
        return Err(UsageError::silent());
    }
    if mode == Mode::Edit && !met.env_set.is_empty() {
        return Err(UsageError::new("you may not specify environment variables in edit mode"));
    }
    let names_target = met.value(Name::User).is_some() || met.value(Name::Group).is_some();
    let has_target = match mode {
        Mode::Run | Mode::Edit | Mode::Validate => true,
        Mode::List => !argv.is_empty(),
        Mode::Forget | Mode::ForgetAll | Mode::Help | Mode::Version => false,
    };
    if names_target && !has_target {
        return Err(UsageError::silent());
    }
    if met.value(Name::OtherUser).is_some() && mode != Mode::List {
        return Err(UsageError::new("the -U option may only be used with the -l option"));
    }
    if met.has(Flag::Askpass) && met.has(Flag::Stdin) {
        return Err(UsageError::new("the -A and -S options may not be used together"));
    }
    let takes_words = matches!(mode, Mode::Run | Mode::Edit | Mode::List);
    if (!takes_words && !argv.is_empty()) || (mode == Mode::Edit && argv.is_empty()) {
        return Err(UsageError::silent());
    }
    match mode {
        Mode::Help => return Ok(Asked::Help),
        Mode::Version => return Ok(Asked::Version),
        Mode::Forget => return Ok(Asked::Forget { all: false }),
        Mode::ForgetAll => return Ok(Asked::Forget { all: true }),
        Mode::Run | Mode::Edit | Mode::List | Mode::Validate => {}
    }
    refuse(met, mode, &argv, host)?;
    let kind = match mode {
        Mode::List => return list(called, met, argv),
        Mode::Edit => ActKind::Edit,
        Mode::Validate => ActKind::Validate,
        _ if shell => ActKind::Shell,
        _ if login => ActKind::LoginShell,
        _ if !argv.is_empty() => ActKind::Command,
        // With no command at all sudo shows its usage and jitsudo gives a shell, where a role has one.
        _ if called == Called::Jitsudo => ActKind::Shell,
        _ => return Err(UsageError::silent()),
    };
    run(called, met, kind, argv)
}

/// `jitctl request ROLE`, `jitctl extend ID`: no command, and none of what only a command has.
fn role(called: Called, met: &Met, argv: Vec<Vec<u8>>) -> Result<Asked, UsageError> {
    let fits = [
        Flag::Askpass,
        Flag::Bell,
        Flag::BreakGlass,
        Flag::NonInteractive,
        Flag::NoUpdate,
        Flag::NoWait,
        Flag::ResetTicket,
        Flag::Stdin,
    ];
    let extends = met.value(Name::Extend).is_some();
    let names: &[Name] = if extends {
        &[Name::Extend, Name::For, Name::Reason, Name::Prompt, Name::StatusFd]
    } else {
        &[Name::WantRole, Name::Request, Name::For, Name::Reason, Name::Ticket, Name::Prompt, Name::StatusFd]
    };
    let fitting = met.flags.iter().all(|flag| fits.contains(flag))
        && met.values.iter().all(|(name, _)| names.contains(name))
        && met.preserve.is_empty()
        && met.env_set.is_empty();
    if !fitting || !argv.is_empty() {
        let what =
            if extends { "extended with --for and -m" } else { "asked for with --for, -m, --ticket and --break-glass" };
        return Err(UsageError::refused(format!("a role is {what} alone")));
    }
    run(called, met, ActKind::Role, argv)
}

/// `jitctl approve ID`: `ID:DIGEST`, and for how long at most.
fn approve(called: Called, met: &Met, what: &[u8], argv: Vec<Vec<u8>>) -> Result<Asked, UsageError> {
    let names = [Name::Approve, Name::For];
    let words: Vec<Vec<u8>> = what.splitn(2, |byte| *byte == b':').map(<[u8]>::to_vec).collect();
    let fitting = met.flags.is_empty() && met.values.iter().all(|(name, _)| names.contains(name));
    if !fitting || !argv.is_empty() || words.len() != 2 || !met.preserve.is_empty() || !met.env_set.is_empty() {
        return Err(UsageError::refused("a yes names a request and its card, and --for alone"));
    }
    run(called, met, ActKind::Approve, words)
}

fn mode(called: Called, met: &Met, has_words: bool) -> Result<Mode, UsageError> {
    let all = [
        (Flag::Edit, Mode::Edit),
        (Flag::Help, Mode::Help),
        (Flag::List, Mode::List),
        (Flag::RemoveTickets, Mode::ForgetAll),
        (Flag::Validate, Mode::Validate),
        (Flag::Version, Mode::Version),
    ];
    let mut given = all.into_iter().filter(|(flag, _)| met.has(*flag)).map(|(_, mode)| mode);
    match (given.next(), given.next()) {
        (Some(_), Some(_)) => Err(UsageError::new(ONE_MODE)),
        (Some(mode), None) if called == Called::Sudoedit && !matches!(mode, Mode::Help | Mode::Version) => {
            Err(UsageError::new(ONE_MODE))
        }
        (Some(mode), None) => Ok(mode),
        (None, _) if called == Called::Sudoedit => Ok(Mode::Edit),
        (None, _) if met.has(Flag::ResetTicket) && !has_words => Ok(Mode::Forget),
        (None, _) => Ok(Mode::Run),
    }
}

/// Options of sudo's that its policy refuses, and so do we.
fn refuse(met: &Met, mode: Mode, argv: &[Vec<u8>], host: &str) -> Result<(), UsageError> {
    let is_called = || mode.is_called(argv);
    // 3 is where the command's descriptors end anyway.
    if met.value(Name::CloseFrom).and_then(duration::descriptor).is_some_and(|number| number > 3) {
        return Err(UsageError::refused("you are not permitted to use the -C option"));
    }
    // Deprecated upstream after CVE-2025-32463, and never to be had here.
    if met.value(Name::Chroot).is_some() {
        return Err(UsageError::refused(format!("you are not permitted to use the -R option with {}", is_called())));
    }
    if met.value(Name::Chdir).is_some() && mode != Mode::Run {
        return Err(UsageError::refused(format!("you are not permitted to use the -D option with {}", is_called())));
    }
    for (name, option) in [(Name::SelinuxRole, "-r"), (Name::SelinuxType, "-t")] {
        if met.value(name).is_some() {
            let line = format!("the {option} option is not supported here: no SELinux context is set for a command");
            return Err(UsageError::refused(line));
        }
    }
    if let Some(asked) = met.value(Name::Host)
        && !is_own(asked, host)
    {
        // Running on another host by a name was CVE-2025-32462.
        return Err(UsageError::refused(if mode == Mode::List {
            format!("cannot list privileges for {}: only this host's are known here", asked.escape_ascii())
        } else {
            "a remote host may only be specified when listing privileges.".to_owned()
        }));
    }
    Ok(())
}

/// This host's name, or that up to its first dot.
fn is_own(asked: &[u8], host: &str) -> bool {
    let short = host.split('.').next().unwrap_or_default();
    asked.eq_ignore_ascii_case(host.as_bytes()) || asked.eq_ignore_ascii_case(short.as_bytes())
}

fn list(called: Called, met: &Met, argv: Vec<Vec<u8>>) -> Result<Asked, UsageError> {
    Ok(Asked::List(Box::new(List {
        argv,
        user: met.text("-u", Name::User)?,
        group: met.text("-g", Name::Group)?,
        other_user: met.text("-U", Name::OtherUser)?,
        long: met.count(Flag::List) > 1,
        non_interactive: met.has(Flag::NonInteractive),
        remember: remember(met),
        asking: settings::asking(called, met)?,
    })))
}

fn run(called: Called, met: &Met, kind: ActKind, argv: Vec<Vec<u8>>) -> Result<Asked, UsageError> {
    let mut preserve = met.preserve.clone();
    if met.has(Flag::PreserveEnv) {
        preserve.push(b"*".to_vec());
    }
    Ok(Asked::Run(Box::new(Run {
        kind,
        argv,
        user: met.text("-u", Name::User)?,
        group: met.text("-g", Name::Group)?,
        role: met.text("--role", Name::Role)?.or(met.text("--want-role", Name::WantRole)?),
        reason: met.text("--reason", Name::Reason)?,
        ticket: met.text("--ticket", Name::Ticket)?,
        window: window(met)?,
        break_glass: met.has(Flag::BreakGlass),
        env_set: met.env_set.clone(),
        preserve,
        preserve_groups: met.has(Flag::PreserveGroups),
        chdir: met.value(Name::Chdir).map(<[u8]>::to_vec),
        timeout: timeout(met)?,
        extends: met.text("--extend", Name::Extend)?,
        request: met.text("--request", Name::Request)?,
        no_wait: met.has(Flag::NoWait),
        background: met.has(Flag::Background),
        non_interactive: met.has(Flag::NonInteractive),
        remember: remember(met),
        asking: settings::asking(called, met)?,
        status_fd: status_fd(met)?,
        explain_env: met.has(Flag::ExplainEnv),
    })))
}

fn remember(met: &Met) -> Remember {
    match (met.has(Flag::ResetTicket), met.has(Flag::NoUpdate)) {
        (true, _) => Remember::Ignore,
        (_, true) => Remember::Keep,
        _ => Remember::Use,
    }
}

fn timeout(met: &Met) -> Result<Option<u64>, UsageError> {
    let Some(text) = met.value(Name::Timeout) else { return Ok(None) };
    let shown = text.escape_ascii();
    match duration::timeout(text) {
        Ok(seconds) => Ok((seconds > 0).then_some(seconds)),
        Err(TimeoutError::Invalid) => Err(UsageError::refused(format!("{shown}: invalid timeout value"))),
        Err(TimeoutError::TooLarge) => Err(UsageError::refused(format!("{shown}: timeout value too large"))),
    }
}

fn window(met: &Met) -> Result<Option<u64>, UsageError> {
    let Some(text) = met.text("--for", Name::For)? else { return Ok(None) };
    let unreadable = || UsageError::new(format!("cannot read --for {text:?}: a duration such as 30m or 1h30m is due"));
    duration::window(&text).ok_or_else(unreadable).map(Some)
}

fn status_fd(met: &Met) -> Result<Option<i32>, UsageError> {
    let Some(text) = met.text("--status-fd", Name::StatusFd)? else { return Ok(None) };
    let number = text.parse().ok().filter(|number| *number >= 0);
    let unreadable =
        || UsageError::new(format!("cannot read --status-fd {text:?}: the number of an open descriptor is due"));
    number.ok_or_else(unreadable).map(Some)
}
