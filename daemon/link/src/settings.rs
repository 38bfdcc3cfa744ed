//! The settings of a host: `jitsudod.toml`, read by the decider and the spawner alike.
//!
//! A strict subset of TOML 1.0, so that the spawner needs no TOML: blank lines, `# comments`, `host = "…"` and
//! `labels = ["…", …]` on one line each, plain double-quoted strings without escapes. Every file taken here means the same in TOML.

use std::collections::BTreeSet;
use std::fmt;

/// Longest settings text, bytes.
pub const MAX_SETTINGS_BYTES: usize = 64 * 1024;
/// Longest host name, bytes (RFC 1035 section 2.3.4).
const MAX_HOST_BYTES: usize = 253;
/// Longest label, bytes.
const MAX_LABEL_BYTES: usize = 128;
/// Most labels.
const MAX_LABELS: usize = 256;

/// Every key.
const KEYS: [&str; 2] = ["host", "labels"];

/// What the file says.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Settings {
    /// The enrolled name, lower case; absent = not enrolled.
    pub host: Option<String>,
    /// Labels that rules match as `label:NAME`.
    pub labels: BTreeSet<String>,
}

impl Settings {
    /// The name that rules match: the enrolled one, else the kernel's nodename as it was when the program started.
    #[must_use]
    pub fn host_or(&self, nodename: &str) -> String {
        self.host.clone().unwrap_or_else(|| nodename.to_ascii_lowercase())
    }
}

/// A line that cannot be read.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SettingsError {
    /// From 1; 0 = the file as a whole.
    pub line: usize,
    /// What is wrong with it.
    pub what: String,
}

impl fmt::Display for SettingsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: {}", self.line, self.what)
    }
}
impl std::error::Error for SettingsError {}

/// Reads the settings' text.
///
/// ```
/// let settings = jitsudo_link::settings::parse("host = \"Web-1.example.com\"\nlabels = [\"prod\"] # ours\n").unwrap();
/// assert_eq!(settings.host.as_deref(), Some("web-1.example.com"));
/// assert!(settings.labels.contains("prod"));
/// ```
///
/// # Errors
/// The first line that is not of the subset, an unknown or repeated key, a name that is none.
pub fn parse(text: &str) -> Result<Settings, SettingsError> {
    if text.len() > MAX_SETTINGS_BYTES {
        return Err(SettingsError { line: 0, what: format!("longer than {MAX_SETTINGS_BYTES} bytes") });
    }
    let mut settings = Settings::default();
    let mut seen = BTreeSet::new();
    for (number, line) in (1..).zip(text.lines()) {
        let fail = |what: String| SettingsError { line: number, what };
        let line = line.trim_matches([' ', '\t']);
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let (key, value) = line.split_once('=').ok_or_else(|| fail("not `key = value`".to_owned()))?;
        let (key, value) = (key.trim_end_matches([' ', '\t']), value.trim_start_matches([' ', '\t']));
        if !KEYS.contains(&key) {
            let known = KEYS.join(", ");
            return Err(fail(format!("unknown key `{}`; known here: {known}", key.escape_debug())));
        }
        if !seen.insert(key) {
            return Err(fail(format!("`{key}` is given twice")));
        }
        match key {
            "host" => {
                let (host, rest) = string(value).map_err(fail)?;
                nothing(rest).map_err(fail)?;
                settings.host = Some(host_name(host).map_err(fail)?);
            }
            // "labels"
            _ => settings.labels = labels(value).map_err(fail)?,
        }
    }
    Ok(settings)
}

/// Takes a string off the front; gives what follows it.
fn string(text: &str) -> Result<(&str, &str), String> {
    let inner = text.strip_prefix('"').ok_or("a string in double quotes is due")?;
    let (string, rest) = inner.split_once('"').ok_or("the string does not end on its line")?;
    if string.contains('\\') || string.chars().any(char::is_control) {
        return Err("a string here has no escapes and no control characters".to_owned());
    }
    Ok((string, rest))
}

fn nothing(rest: &str) -> Result<(), String> {
    let rest = rest.trim_start_matches([' ', '\t']);
    let sound = rest.is_empty() || (rest.starts_with('#') && !rest.chars().any(|one| one.is_control() && one != '\t'));
    if sound { Ok(()) } else { Err("more than one value on the line".to_owned()) }
}

fn labels(value: &str) -> Result<BTreeSet<String>, String> {
    let blank = [' ', '\t'];
    let mut labels = BTreeSet::new();
    let mut rest = value.strip_prefix('[').ok_or("a list in brackets is due")?.trim_start_matches(blank);
    loop {
        if let Some(after) = rest.strip_prefix(']') {
            nothing(after)?;
            return Ok(labels);
        }
        let (label, after) = string(rest)?;
        let plain = |one: char| one.is_ascii_alphanumeric() || "-_.:/".contains(one);
        if label.is_empty() || label.len() > MAX_LABEL_BYTES || !label.chars().all(plain) {
            return Err(format!("`{}` is no label: letters, digits, - _ . : /", label.escape_debug()));
        }
        labels.insert(label.to_owned());
        if labels.len() > MAX_LABELS {
            return Err(format!("more than {MAX_LABELS} labels"));
        }
        rest = after.trim_start_matches(blank);
        match rest.strip_prefix(',') {
            Some(after) => rest = after.trim_start_matches(blank),
            None if rest.starts_with(']') => {}
            None => return Err("a comma or the closing bracket is due on the same line".to_owned()),
        }
    }
}

fn host_name(text: &str) -> Result<String, String> {
    let part = |part: &str| {
        let plain = |one: u8| one.is_ascii_alphanumeric() || one == b'-' || one == b'_';
        !part.is_empty() && part.len() <= 63 && !part.starts_with('-') && part.bytes().all(plain)
    };
    if text.len() > MAX_HOST_BYTES || !text.split('.').all(part) {
        return Err(format!("`{}` is no host name", text.escape_debug()));
    }
    Ok(text.to_ascii_lowercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn absent_keys_are_the_defaults() {
        assert_eq!(parse("").unwrap(), Settings::default());
        assert_eq!(parse("# host = \"x\"\r\n\n   # more\n").unwrap(), Settings::default());
        assert_eq!(Settings::default().host_or("Web-1"), "web-1");
        assert_eq!(parse("host=\"a\"").unwrap().host_or("b"), "a");
    }

    #[test]
    fn manual_and_installed_file_have_every_key_and_no_other() {
        let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        let read = |path: &str| std::fs::read_to_string(root.join(path)).unwrap();
        let (manual, installed) = (read("man/jitsudod.toml.5"), read("packaging/jitsudod.toml"));
        let described: Vec<&str> = manual.lines().filter_map(|line| line.strip_prefix(".It Ic ")).collect();
        assert_eq!(described, KEYS);
        let lines = installed.lines().filter_map(|line| line.strip_prefix("# ")?.split_once(" = "));
        assert_eq!(lines.map(|(key, _)| key).collect::<Vec<_>>(), KEYS);
        let example = manual.split(".Bd -literal -offset indent\n").nth(1).unwrap().split("\n.Ed").next().unwrap();
        assert_eq!(parse(example).map(|settings| (settings.host.is_some(), settings.labels.len())), Ok((true, 2)));
    }

    #[test]
    fn labels_are_a_set_on_one_line() {
        let labels = parse("labels = [ \"prod\", \"zone:eu\", ] # two").unwrap().labels;
        assert_eq!(labels.into_iter().collect::<Vec<_>>(), ["prod", "zone:eu"]);
        assert_eq!(parse("labels = []").unwrap().labels.len(), 0);
    }

    #[test]
    fn policy_05_unknown_repeated_and_damaged_lines_are_refused_with_their_number() {
        for (text, line) in [
            ("hots = \"a\"", 1),
            ("\nhost = \"a\"\nhost = \"b\"", 3),
            ("host", 1),
            ("host = a", 1),
            ("host = \"a", 1),
            ("host = \"a\" \"b\"", 1),
            ("host = \"a\\u0041\"", 1),
            ("host = \"\"", 1),
            ("host = \"a..b\"", 1),
            ("host = \"-a\"", 1),
            ("host = \"a b\"", 1),
            ("[host]\nname = \"a\"", 1),
            ("labels = \"a\"", 1),
            ("labels = [\"a\" \"b\"]", 1),
            ("labels = [\"a\"", 1),
            ("labels = [", 1),
            ("labels = [\"a b\"]", 1),
            ("labels = [\"\"]", 1),
            ("labels = [\"a\"] x", 1),
            ("labels = [,]", 1),
        ] {
            assert_eq!(parse(text).map_err(|error| error.line), Err(line), "{text}");
        }
        assert!(parse(&"#".repeat(MAX_SETTINGS_BYTES + 1)).is_err());
    }
}
