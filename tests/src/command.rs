//! Commands inside a host: as root in a plain cgroup, or as a person who has logged in.

use std::io::Write as _;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use crate::error::{Error, io};
use crate::host::Host;
use crate::terminal::Terminal;
use crate::tool::code;

/// Joins the host's cgroup `/jst-run` (a leaf that systemd leaves alone, no unit) and forgets the machine's login id.
const JOIN: &str =
    r#"echo $$ > "$1" || exit 125; echo 4294967295 2>/dev/null > /proc/self/loginuid || :; shift; exec "$@""#;
const PATH: &str = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// One command to be run inside a host.
#[derive(Debug, Clone)]
#[must_use]
pub struct HostCommand<'a> {
    host: &'a Host,
    argv: Vec<String>,
    user: Option<String>,
    environment: Vec<String>,
    input: Vec<u8>,
    limit: Duration,
}

/// What a command inside a host did.
#[derive(Debug, Clone)]
pub struct Output {
    /// Its exit status; 128 + N for signal N; 124 when its time limit ended it.
    pub status: i32,
    /// What it wrote to standard output.
    pub stdout: String,
    /// What it wrote to standard error.
    pub stderr: String,
}

impl Output {
    /// Both outputs, standard error last.
    #[must_use]
    pub fn both(&self) -> String {
        format!("{}{}", self.stdout, self.stderr)
    }
}

impl<'a> HostCommand<'a> {
    pub(crate) fn new(host: &'a Host, argv: Vec<String>) -> Self {
        let limit = Duration::from_secs(60);
        Self { host, argv, user: None, environment: Vec::new(), input: Vec::new(), limit }
    }

    /// As this account, logged in: PAM session, audit login id, logind scope, login shell's environment.
    ///
    /// Not in any service's cgroup: to jitsudo it is a person, not a unit.
    pub fn as_user(mut self, user: &str) -> Self {
        self.user = Some(user.to_owned());
        self
    }

    /// With this variable (`NAME=value`) set for the command.
    pub fn env(mut self, variable: &str) -> Self {
        self.environment.push(variable.to_owned());
        self
    }

    /// With these bytes on standard input, which is empty otherwise.
    pub fn stdin(mut self, input: impl Into<Vec<u8>>) -> Self {
        self.input = input.into();
        self
    }

    /// Ended with status 124 after this long; a minute otherwise.
    pub fn limit(mut self, limit: Duration) -> Self {
        self.limit = limit;
        self
    }

    /// Runs it without a terminal and returns its status and what it wrote, whatever the status.
    ///
    /// # Errors
    /// [`Error::WrongState`] when the host is down, [`Error::Io`] when the command cannot be started.
    pub fn output(self) -> Result<Output, Error> {
        let limit = format!("{}", self.limit.as_secs().max(1));
        let mut argv: Vec<String> = ["timeout", "-k", "1", &limit].map(str::to_owned).to_vec();
        argv.extend(self.login(&[]));
        let mut child = self
            .enter(&argv)?
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(io("start nsenter"))?;
        let stdin = child.stdin.take();
        let input = self.input;
        // A writer of its own: a command that writes much before it reads would block both sides.
        let writer = std::thread::spawn(move || stdin.map(|mut stdin| stdin.write_all(&input)));
        let output = child.wait_with_output().map_err(io("wait for nsenter"))?;
        let _ = writer.join();
        Ok(Output {
            status: code(output.status),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        })
    }

    /// Starts it with pipes at its standard input and output, for a dialogue; its standard error is the machine's.
    ///
    /// # Errors
    /// As [`Self::output`].
    pub(crate) fn piped(self) -> Result<Child, Error> {
        let mut command = self.enter(&self.login(&[]))?;
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().map_err(io("start nsenter"))
    }

    /// Runs it, which must succeed; its standard output.
    ///
    /// # Errors
    /// As [`Self::output`], and [`Error::Failed`] when it does not end with 0.
    pub fn ok(self) -> Result<String, Error> {
        let what = self.argv.join(" ");
        let output = self.output()?;
        if output.status == 0 {
            return Ok(output.stdout);
        }
        Err(Error::Failed { what, status: output.status, output: output.both() })
    }

    /// Starts it on a terminal of the host, 24 rows by 80 columns, as its session's leader.
    ///
    /// # Errors
    /// As [`Self::output`]; [`Error::Io`] also when the host gives no terminal.
    pub fn terminal(self) -> Result<Terminal, Error> {
        let leader = self.host.leader()?;
        let argv = self.login(&["setsid", "--ctty", "--wait"]);
        Terminal::open(leader, |slave| {
            let mut command = self.enter(&argv)?;
            let end = |slave: &std::os::fd::OwnedFd| slave.try_clone().map_err(io("duplicate the terminal"));
            command.stdin(end(&slave)?).stdout(end(&slave)?).stderr(slave);
            command.spawn().map_err(io("start nsenter"))
        })
    }

    /// The command after `before`, behind a login when a user was named.
    ///
    /// `before` stands inside the login: a terminal belongs to the program's session, not to runuser's, which would
    /// keep a hang-up to itself.
    fn login(&self, before: &[&str]) -> Vec<String> {
        let mut argv: Vec<String> = before.iter().map(|&word| word.to_owned()).collect();
        if !self.environment.is_empty() {
            argv.push("env".to_owned());
            argv.extend(self.environment.iter().cloned());
        }
        argv.extend(self.argv.iter().cloned());
        let Some(user) = &self.user else { return argv };
        let words: Vec<String> = argv.iter().map(|word| quoted(word)).collect();
        ["runuser", "-l", user, "-c", &format!("exec {}", words.join(" "))].map(str::to_owned).to_vec()
    }

    fn enter(&self, argv: &[String]) -> Result<Command, Error> {
        let leader = self.host.leader()?.to_string();
        let mut command = Command::new("sh");
        command.args(["-c", JOIN, "join"]).arg(self.host.command_cgroup()?.join("cgroup.procs"));
        command.args(["nsenter", "--target", &leader, "-m", "-u", "-i", "-n", "-p", "-C", "--root", "--wdns=/", "--"]);
        command.args(["env", "-i", PATH, "LANG=C.UTF-8", "TERM=xterm", "HOME=/root"]).args(argv);
        Ok(command)
    }
}

/// A word as a shell reads it back unchanged.
fn quoted(word: &str) -> String {
    format!("'{}'", word.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quoted_words_keep_quotes_and_blanks() {
        assert_eq!(quoted("it's a $HOME"), r"'it'\''s a $HOME'");
    }
}
