//! What the harness and the worker inside the host say to each other: one line of JSON each way.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// One script to be run by the worker, under one of the two programs.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Job {
    /// For bash; nothing = an interactive bash that is typed at.
    pub script: Option<String>,
    /// Made anew before the script, which starts there.
    pub folder: String,
    /// The whole environment.
    pub environment: BTreeMap<String, String>,
    /// What a person types, when there is a terminal.
    pub keys: Option<Vec<Step>>,
    /// Given up after so many seconds.
    pub limit: u64,
}

/// One thing that a person at the terminal does.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Step {
    /// Waits until this is written after what the last step waited for.
    pub at: String,
    /// Then waits until the terminal does not echo: a prompt is written before typed-ahead input is thrown away.
    pub quiet: bool,
    /// Or until it echoes again.
    pub echo: bool,
    /// Types this, as it is.
    pub send: String,
    /// Drags the window: rows and columns.
    pub resize: Option<(u16, u16)>,
    /// Hangs up: closes the terminal.
    pub hangup: bool,
}

/// What was seen of a script.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Seen {
    /// Its exit status; 0 when a signal ended it.
    pub status: i32,
    /// The signal that ended it, or 0.
    pub signal: i32,
    /// Standard output. What is not UTF-8 and control characters are escaped as `\xNN`, as below.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
    /// Everything written to the terminal.
    pub screen: String,
    /// How `stty -g` changed over the script; empty when it did not.
    pub modes: String,
    /// What did not come in time: the script's end, or a text on the terminal.
    pub missing: String,
}
