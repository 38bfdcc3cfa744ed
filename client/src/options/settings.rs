//! What comes from variables rather than from options: prompts, the askpass helper, and what sudo's options cannot say.

use jitsudo_bytes::Bytes;
use jitsudo_protocol::session::Prompt;

use super::grammar::{Flag, Name};
use super::{Asked, Asking, Called, Met, Source, UsageError};

/// Longest template, bytes: the protocol's bound.
const MAX_PROMPT_BYTES: usize = 4 * 1024;

/// How the options want a password to be asked for.
pub(super) fn asking(called: Called, met: &Met) -> Result<Asking, UsageError> {
    let source = match (met.has(Flag::Stdin), met.has(Flag::Askpass)) {
        (true, _) => Source::Stdin,
        (_, true) => Source::Askpass(None),
        _ => Source::Terminal { helper: None },
    };
    let own = met.value(Name::Prompt);
    let template = own.unwrap_or(match called {
        Called::Jitsudo => b"[jitsudo] password for %p: ",
        Called::Sudo | Called::Sudoedit => b"[sudo] password for %p: ",
    });
    let prompt = Prompt { template: Bytes(bounded(template)?), overrides: own.is_some() };
    Ok(Asking { source, bell: met.has(Flag::Bell), prompt })
}

fn bounded(template: &[u8]) -> Result<Vec<u8>, UsageError> {
    if template.len() > MAX_PROMPT_BYTES {
        return Err(UsageError::refused(format!("the prompt is longer than {MAX_PROMPT_BYTES} bytes")));
    }
    Ok(template.to_vec())
}

impl Asked {
    /// Fills in from the environment what the options left open: SUDO_PROMPT, SUDO_ASKPASS, and for sudo JITSUDO_ROLE, JITSUDO_REASON
    /// and JITSUDO_TICKET.
    ///
    /// # Errors
    /// A SUDO_PROMPT that is too long.
    pub(crate) fn with_settings(mut self, called: Called, environment: &[Vec<u8>]) -> Result<Self, UsageError> {
        let variable = |name: &str| {
            let value = |entry: &Vec<u8>| entry.strip_prefix(name.as_bytes())?.strip_prefix(b"=").map(<[u8]>::to_vec);
            environment.iter().find_map(value).filter(|value| !value.is_empty())
        };
        let setting = |name: &str| variable(name).and_then(|value| String::from_utf8(value).ok());
        match &mut self {
            Self::Run(run) => {
                fill_in(&mut run.asking, called, &variable)?;
                if called != Called::Jitsudo {
                    run.role = run.role.take().or_else(|| setting("JITSUDO_ROLE"));
                    run.reason = run.reason.take().or_else(|| setting("JITSUDO_REASON"));
                    run.ticket = run.ticket.take().or_else(|| setting("JITSUDO_TICKET"));
                }
            }
            Self::List(list) => fill_in(&mut list.asking, called, &variable)?,
            Self::Help | Self::Version | Self::Forget { .. } => {}
        }
        Ok(self)
    }
}

fn fill_in(asking: &mut Asking, called: Called, variable: &dyn Fn(&str) -> Option<Vec<u8>>) -> Result<(), UsageError> {
    let names = match called {
        Called::Jitsudo => ["JITSUDO_ASKPASS", "SUDO_ASKPASS"],
        Called::Sudo | Called::Sudoedit => ["SUDO_ASKPASS", "JITSUDO_ASKPASS"],
    };
    let program = || names.into_iter().find_map(variable);
    // A helper draws a window: sudo takes it by itself only where there is a display to draw on.
    let has_display = || variable("DISPLAY").or_else(|| variable("WAYLAND_DISPLAY")).is_some();
    match &mut asking.source {
        Source::Askpass(path) => *path = program(),
        Source::Terminal { helper } => *helper = program().filter(|_| has_display()),
        Source::Stdin => {}
    }
    if let Some(template) = variable("SUDO_PROMPT").filter(|_| !asking.prompt.overrides) {
        asking.prompt.template = Bytes(bounded(&template)?);
    }
    Ok(())
}
