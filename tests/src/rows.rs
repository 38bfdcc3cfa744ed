//! Rows that hold for the real sudo and for jitsudo called as sudo: the files of `tests/rows`, one an area.
//!
//! A row is a script. It runs under the real sudo and then under jitsudo, in the same place on the same host; what is
//! seen of both must be equal. A row with `differs` names a difference of `docs/differences-from-sudo.md` instead and
//! says what is seen under each, exactly: a difference that goes away or changes fails too.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use serde::Deserialize;

mod bench;
mod job;

pub use bench::Bench;
pub use job::{Job, Seen, Step};

use crate::error::{Error, io};

/// The rows of one area: one file.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Area {
    /// The file's name without `.toml`.
    #[serde(skip)]
    pub name: String,
    /// Whose rows these are, unless one says otherwise.
    #[serde(rename = "as", default = "alice")]
    account: String,
    /// Runs as root before each row under each program.
    #[serde(default)]
    setup: String,
    /// What of jitsudo all of them wait for.
    later: Option<String>,
    /// The rows, in the file's order.
    #[serde(rename = "row")]
    pub rows: Vec<Row>,
}

/// One thing that is the same under both, or differs on purpose.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Row {
    /// Unique in its area.
    pub name: String,
    /// What is run by bash; nothing = an interactive bash on a terminal.
    run: Option<String>,
    /// The requester.
    #[serde(rename = "as")]
    account: Option<String>,
    /// Runs as root before the row, after the area's.
    #[serde(default)]
    setup: String,
    /// Runs as root after the row.
    #[serde(default)]
    cleanup: String,
    /// With a terminal, and what is typed there.
    keys: Option<Vec<Step>>,
    /// The real sudo's status, so that a row that shows nothing is found.
    #[serde(default)]
    status: i32,
    /// The signal that ends it under the real sudo.
    #[serde(default)]
    signal: i32,
    /// A usage text counts as one, whatever it lists: the text itself is a row of its own.
    #[serde(default)]
    usage: bool,
    /// Only on this suite.
    only: Option<String>,
    /// The named difference; [`Self::sudo`] and [`Self::jitsudo`] are what is seen.
    pub differs: Option<String>,
    /// The only suite on which it differs.
    differs_on: Option<String>,
    sudo: Option<Seen>,
    jitsudo: Option<Seen>,
    /// What of jitsudo this row waits for: it is not run until that is there.
    later: Option<String>,
    /// Seconds after which it hangs.
    #[serde(default = "limit")]
    limit: u64,
}

fn alice() -> String {
    "alice".to_owned()
}

fn limit() -> u64 {
    15
}

/// What became of a row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// Both are seen to do the same.
    Agrees,
    /// They differ as named.
    Differs,
    /// Why it fails.
    Fails(String),
}

/// The two programs that are called `sudo`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Program {
    /// The real sudo.
    Sudo,
    /// jitsudo, called as sudo.
    Jitsudo,
}

impl Area {
    /// Reads every file of a folder, in the order of their names.
    ///
    /// # Errors
    /// [`Error::Io`] with the file when it cannot be read or is no table of rows, or when two rows share a name.
    pub fn all(folder: &Path) -> Result<Vec<Self>, Error> {
        let listed = fs::read_dir(folder).map_err(io(format!("read {}", folder.display())))?;
        let mut paths: Vec<_> = listed.flatten().map(|entry| entry.path()).collect();
        paths.retain(|path| path.extension().is_some_and(|extension| extension == "toml"));
        paths.sort();
        paths.iter().map(|path| Self::read(path)).collect()
    }

    fn read(path: &Path) -> Result<Self, Error> {
        let wrong = |why: String| Error::Io {
            what: format!("read the rows of {}", path.display()),
            source: std::io::Error::other(why),
        };
        let text = fs::read_to_string(path).map_err(io(format!("read {}", path.display())))?;
        let mut area: Self = toml::from_str(&text).map_err(|error| wrong(error.to_string()))?;
        area.name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let mut names = BTreeSet::new();
        for row in &area.rows {
            if !names.insert(row.name.as_str()) {
                return Err(wrong(format!("two rows are called {:?}", row.name)));
            }
            if row.differs.is_some() != (row.sudo.is_some() && row.jitsudo.is_some()) {
                return Err(wrong(format!("{:?} needs all of differs, sudo and jitsudo, or none", row.name)));
            }
            if row.run.is_none() && row.keys.is_none() {
                return Err(wrong(format!("{:?} neither runs nor types anything", row.name)));
            }
        }
        Ok(area)
    }

    /// Whose row it is.
    pub(crate) fn account<'a>(&'a self, row: &'a Row) -> &'a str {
        row.account.as_deref().unwrap_or(&self.account)
    }

    /// What a row waits for.
    #[must_use]
    pub fn later<'a>(&'a self, row: &'a Row) -> Option<&'a str> {
        row.later.as_deref().or(self.later.as_deref())
    }

    /// The root script before a row.
    pub(crate) fn setup(&self, row: &Row) -> String {
        format!("{}\n{}", self.setup, row.setup)
    }
}

impl Row {
    /// Whether it is meant for a suite.
    #[must_use]
    pub fn is_for(&self, suite: &str) -> bool {
        self.only.as_deref().is_none_or(|only| only == suite)
    }

    /// The root script after it.
    pub(crate) fn cleanup(&self) -> &str {
        &self.cleanup
    }

    /// What the worker is to do.
    pub(crate) fn job(&self, account: &str, program: Program) -> Job {
        let (home, first) = match (account, program) {
            ("root", Program::Sudo) => ("/root".to_owned(), "/opt/sudo"),
            ("root", Program::Jitsudo) => ("/root".to_owned(), "/opt/jitsudo"),
            (_, Program::Sudo) => (format!("/home/{account}"), "/opt/sudo"),
            (_, Program::Jitsudo) => (format!("/home/{account}"), "/opt/jitsudo"),
        };
        let environment = [
            ("HOME", home.as_str()),
            ("USER", account),
            ("LOGNAME", account),
            ("SHELL", "/bin/bash"),
            ("LANG", "C.UTF-8"),
            ("TERM", "xterm"),
            ("PATH", &format!("{first}:/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin")),
        ];
        let mut environment: BTreeMap<String, String> =
            environment.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
        if self.run.is_none() {
            environment.insert("PS1".to_owned(), "> ".to_owned());
        }
        Job {
            script: self.run.clone(),
            folder: format!("/tmp/rows-{account}"),
            environment,
            keys: self.keys.clone(),
            limit: self.limit,
        }
    }

    /// Compares what was seen under both.
    pub(crate) fn judge(&self, suite: &str, sudo: &Seen, jitsudo: &Seen) -> Verdict {
        let (sudo, jitsudo) = (self.tidy(sudo), self.tidy(jitsudo));
        if !sudo.missing.is_empty() {
            return Verdict::Fails(format!("the real sudo does not come to its end\n{sudo:#?}"));
        }
        let differs = self.differs_on.as_deref().is_none_or(|only| only == suite);
        if let (Some(_), Some(of_sudo), Some(of_jitsudo), true) = (&self.differs, &self.sudo, &self.jitsudo, differs) {
            if *of_sudo == *of_jitsudo {
                return Verdict::Fails("it is said to differ, and what it says of both is the same".to_owned());
            }
            return match difference(&[("sudo, as described", of_sudo), ("sudo", &sudo)])
                .or_else(|| difference(&[("jitsudo, as described", of_jitsudo), ("jitsudo", &jitsudo)]))
            {
                None => Verdict::Differs,
                Some(text) => Verdict::Fails(text),
            };
        }
        if (sudo.status, sudo.signal) != (self.status, self.signal) {
            let wanted = format!("status {} signal {}", self.status, self.signal);
            return Verdict::Fails(format!(
                "the real sudo was to end with {wanted}, so the row shows nothing\n{sudo:#?}"
            ));
        }
        difference(&[("sudo", &sudo), ("jitsudo", &jitsudo)]).map_or(Verdict::Agrees, Verdict::Fails)
    }

    pub(crate) fn tidy(&self, seen: &Seen) -> Seen {
        let mut seen = seen.clone();
        seen.screen = without_pids(&without_doubled_returns(&without_record(&seen.screen)));
        seen.stderr = without_record(&seen.stderr);
        if self.usage {
            for text in [&mut seen.stdout, &mut seen.stderr, &mut seen.screen] {
                if let Some(at) = text.find("usage: ").filter(|at| *at == 0 || text[..*at].ends_with('\n')) {
                    text.replace_range(at.., "usage\n");
                }
            }
        }
        seen
    }
}

/// A line that leaves one terminal while the other one's modes change has one carriage return or two: a race of sudo's own.
fn without_doubled_returns(screen: &str) -> String {
    let mut screen = screen.to_owned();
    while screen.contains(r"\r\r") {
        screen = screen.replace(r"\r\r", r"\r");
    }
    screen
}

/// What a refusal says about its record has another id each time, or none when there are many.
fn without_record(text: &str) -> String {
    let line = |line: &str| match line.find("this attempt is recorded as ") {
        Some(at) => line.get(..at).unwrap_or_default().to_owned() + "RECORD",
        None => line.replace("attempts as frequent as these are counted, not listed", "RECORD"),
    };
    text.split('\n').map(line).collect::<Vec<_>>().join("\n")
}

/// bash tells the process id of what it puts into the background: `[1] 1234`.
fn without_pids(screen: &str) -> String {
    let line = |line: &str| match line.split_once("] ") {
        Some((job, pid))
            if job.starts_with('[') && pid.trim_end_matches(r"\r").bytes().all(|one| one.is_ascii_digit()) =>
        {
            format!("{job}] PID\\r")
        }
        _ => line.to_owned(),
    };
    screen.split('\n').map(line).collect::<Vec<_>>().join("\n")
}

/// The parts of two sightings that are not the same, or nothing.
fn difference(both: &[(&str, &Seen); 2]) -> Option<String> {
    let parts = |seen: &Seen| {
        [
            ("ended", format!("status {} signal {}", seen.status, seen.signal)),
            ("stdout", seen.stdout.clone()),
            ("stderr", seen.stderr.clone()),
            ("screen", seen.screen.clone()),
            ("modes", seen.modes.clone()),
            ("missing", seen.missing.clone()),
        ]
    };
    let [(one, left), (other, right)] = both;
    let mut text = String::new();
    for ((part, left), (_, right)) in parts(left).into_iter().zip(parts(right)) {
        if left != right {
            text += &format!("  {part} of {one}:\n{}\n  {part} of {other}:\n{}\n", indented(&left), indented(&right));
        }
    }
    (!text.is_empty()).then_some(text)
}

fn indented(text: &str) -> String {
    if text.is_empty() {
        return "    (nothing)".to_owned();
    }
    text.lines().map(|line| format!("    {line}")).collect::<Vec<_>>().join("\n")
}

/// The short names of the differences that a document lists: the first cell of its tables' lines, in backquotes.
#[must_use]
pub fn named_differences(document: &str) -> BTreeSet<&str> {
    let cells = document.lines().filter_map(|line| line.strip_prefix("| `")?.split_once("` |"));
    cells.map(|(name, _)| name).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(text: &str) -> Row {
        toml::from_str(&format!("name = 'x'\nrun = 'sudo id'\n{text}")).unwrap()
    }

    fn ended(status: i32, stderr: &str) -> Seen {
        Seen { status, stderr: stderr.to_owned(), ..Seen::default() }
    }

    #[test]
    fn equal_sightings_agree_and_others_fail() {
        let plain = row("");
        assert_eq!(plain.judge("bookworm", &ended(0, ""), &ended(0, "")), Verdict::Agrees);
        assert!(matches!(plain.judge("bookworm", &ended(0, ""), &ended(1, "")), Verdict::Fails(_)));
        assert!(matches!(plain.judge("bookworm", &ended(0, "a"), &ended(0, "b")), Verdict::Fails(_)));
    }

    #[test]
    fn row_that_the_real_sudo_does_not_hold_shows_nothing() {
        assert!(matches!(row("").judge("bookworm", &ended(1, ""), &ended(1, "")), Verdict::Fails(_)));
        assert_eq!(row("status = 1").judge("bookworm", &ended(1, ""), &ended(1, "")), Verdict::Agrees);
    }

    #[test]
    fn difference_that_went_away_fails() {
        let named = row("differs = 'y'\nsudo.stderr = 'a'\njitsudo.stderr = 'b'\n");
        assert_eq!(named.judge("bookworm", &ended(0, "a"), &ended(0, "b")), Verdict::Differs);
        assert!(matches!(named.judge("bookworm", &ended(0, "a"), &ended(0, "a")), Verdict::Fails(_)));
        assert!(matches!(named.judge("bookworm", &ended(0, "b"), &ended(0, "b")), Verdict::Fails(_)));
        let older = row("differs = 'y'\ndiffers-on = 'bookworm'\nsudo.stderr = 'a'\njitsudo.stderr = 'b'\n");
        assert_eq!(older.judge("trixie", &ended(0, "b"), &ended(0, "b")), Verdict::Agrees);
    }

    #[test]
    fn names_of_differences_are_first_cells_in_backquotes() {
        let document = "| name | sudo |\n| --- | --- |\n| `secure-path` | x |\n|  | `not-this` |\n";
        assert_eq!(named_differences(document).into_iter().collect::<Vec<_>>(), ["secure-path"]);
    }
}
