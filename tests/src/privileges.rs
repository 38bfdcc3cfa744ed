//! The checker, asked on a host: are the privileges there a subset of the durable, unexpired, logged grants?

use serde_json::Value;

use crate::error::Error;
use crate::host::Host;

/// What `jitctl doctor --privileges` says.
///
/// # Errors
/// [`Error::Failed`] when it says nothing that can be read.
pub fn compared(host: &Host) -> Result<Value, Error> {
    let output = host.run(&["jitctl", "doctor", "--privileges", "--json"]).output()?;
    let unreadable = |_| Error::Failed { what: "jitctl doctor".into(), status: output.status, output: output.both() };
    serde_json::from_str(&output.stdout).map_err(unreadable)
}

/// The kinds of what is there and is not given, each once; empty when everything is.
///
/// # Errors
/// As [`compared`].
pub fn violations(host: &Host) -> Result<Vec<String>, Error> {
    let compared = compared(host)?;
    let findings = compared.get("findings").and_then(Value::as_array).into_iter().flatten();
    let unknown = findings.filter(|finding| finding.get("known") == Some(&Value::Bool(false)));
    let kind = |finding: &Value| finding.get("kind").and_then(Value::as_str).map(str::to_owned);
    let mut kinds: Vec<String> = unknown.filter_map(kind).collect();
    kinds.sort_unstable();
    kinds.dedup();
    Ok(kinds)
}

/// Says what is wrong, in the checker's words, when something on the host is not given.
///
/// # Errors
/// [`Error::Failed`] with the findings.
pub fn audit(host: &Host) -> Result<(), Error> {
    let compared = compared(host)?;
    if compared.get("holds") == Some(&Value::Bool(true)) {
        return Ok(());
    }
    let what = format!("the checker on {}", host.name());
    Err(Error::Failed { what, status: 4, output: format!("{compared:#}") })
}
