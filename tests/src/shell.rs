//! An interactive shell on a terminal of a host, and a person who types lines into it.

use std::ops::{Deref, DerefMut};

use crate::error::Error;
use crate::host::Host;
use crate::terminal::Terminal;

/// bash with job control and no settings of its own; its prompt is [`Shell::PROMPT`].
#[derive(Debug)]
pub struct Shell(Terminal);

impl Shell {
    /// What is written when a line may be typed.
    pub const PROMPT: &str = "prompt> ";

    /// As this account, logged in.
    ///
    /// # Errors
    /// As [`crate::HostCommand::terminal`]; [`Error::TimedOut`] when no prompt comes.
    pub fn of(host: &Host, user: &str) -> Result<Self, Error> {
        let shell = host.run(&["bash", "--norc", "--noprofile", "--noediting", "-i"]);
        Self::on(shell.as_user(user).terminal()?)
    }

    /// dash instead of bash: it leaves the terminal's modes as programs leave them, where bash would mend them after a stop.
    ///
    /// # Errors
    /// As [`Self::of`].
    pub fn that_mends_nothing(host: &Host, user: &str) -> Result<Self, Error> {
        let mut terminal = host.run(&["dash", "-i"]).as_user(user).terminal()?;
        terminal.send("PS1='pro''mpt> '\n")?;
        terminal.expect(Self::PROMPT)?;
        Ok(Self(terminal))
    }

    /// On a terminal where a shell waits already, be it a remote one.
    ///
    /// # Errors
    /// [`Error::TimedOut`] when no prompt comes.
    pub fn on(mut terminal: Terminal) -> Result<Self, Error> {
        // In two parts: what is typed is shown as well, and is not the prompt.
        terminal.send("PS1='pro''mpt> '; set +o histexpand\n")?;
        terminal.expect(Self::PROMPT)?;
        Ok(Self(terminal))
    }

    /// Types a line and waits for the next prompt; what was written meanwhile, without the line's own echo.
    ///
    /// # Errors
    /// [`Error::TimedOut`] when no prompt comes.
    pub fn line(&mut self, text: &str) -> Result<String, Error> {
        self.send(&format!("{text}\n"))?;
        self.rest()
    }

    /// What is written up to the next prompt, without the first line: the echo of what was typed.
    ///
    /// # Errors
    /// [`Error::TimedOut`] when no prompt comes.
    pub fn rest(&mut self) -> Result<String, Error> {
        let seen = self.expect(Self::PROMPT)?;
        let after = seen.split_once("\r\n").map_or("", |(_, after)| after);
        Ok(after.trim_end_matches(Self::PROMPT).to_owned())
    }
}

impl Deref for Shell {
    type Target = Terminal;
    fn deref(&self) -> &Terminal {
        &self.0
    }
}

impl DerefMut for Shell {
    fn deref_mut(&mut self) -> &mut Terminal {
        &mut self.0
    }
}
