//! Programs of the machine itself: ip, mount, mkfs and their like.

use std::os::unix::process::ExitStatusExt as _;
use std::process::{Command, ExitStatus, Stdio};

use crate::error::{Error, io};

/// Runs a program of the machine with no standard input; its output, or an error when it fails.
pub(crate) fn tool(program: &str, args: &[&str]) -> Result<String, Error> {
    let what = format!("{program} {}", args.join(" "));
    let output = Command::new(program)
        .args(args)
        .stdin(Stdio::null())
        .output()
        .map_err(io(format!("run {program} (`cargo xtask setup` installs what is missing)")))?;
    let stdout = String::from_utf8_lossy(&output.stdout).into_owned();
    if output.status.success() {
        return Ok(stdout);
    }
    let output_text = format!("{stdout}{}", String::from_utf8_lossy(&output.stderr));
    Err(Error::Failed { what, status: code(output.status), output: output_text })
}

/// The exit status as a shell has it: 128 + N for signal N.
pub(crate) fn code(status: ExitStatus) -> i32 {
    status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or(0))
}
