//! A host on which rows run: a worker for each account, logged in once, that runs one script after another.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout};

use super::{Area, Job, Program, Row, Seen, Verdict};
use crate::error::{Error, io};
use crate::host::Host;

const WORKER: &str = "/opt/row-worker";

/// A host and the people at work on it.
#[derive(Debug)]
pub struct Bench<'a> {
    host: &'a Host,
    suite: &'a str,
    workers: BTreeMap<String, Worker>,
}

#[derive(Debug)]
struct Worker {
    child: Child,
    jobs: ChildStdin,
    sightings: BufReader<ChildStdout>,
}

impl<'a> Bench<'a> {
    /// Puts the worker, and both programs under the name `sudo`, on a host; `second` is jitsudo's file, or sudo's own
    /// to see whether rows come out the same twice.
    ///
    /// # Errors
    /// As [`Host::push`] and [`HostCommand::ok`](crate::HostCommand::ok).
    pub fn set_up(host: &'a Host, suite: &'a str, worker: &Path, second: &str) -> Result<Self, Error> {
        host.push(worker, WORKER, 0o755)?;
        let names = format!(
            "mkdir -p /opt/sudo /opt/jitsudo; ln -s /usr/bin/sudo /usr/bin/sudoedit /opt/sudo/
             ln -s {second} /opt/jitsudo/sudo; ln -s {second} /opt/jitsudo/sudoedit"
        );
        host.sh(&names).ok()?;
        Ok(Self { host, suite, workers: BTreeMap::new() })
    }

    /// Runs a row under the real sudo, then under jitsudo, and compares.
    ///
    /// # Errors
    /// [`Error::Io`] when a worker is gone; [`Error::Failed`] when the row's root script fails.
    pub fn run(&mut self, area: &Area, row: &Row) -> Result<(Verdict, [Seen; 2]), Error> {
        let sudo = self.see(area, row, Program::Sudo)?;
        let jitsudo = self.see(area, row, Program::Jitsudo)?;
        Ok((row.judge(self.suite, &sudo, &jitsudo), [row.tidy(&sudo), row.tidy(&jitsudo)]))
    }

    fn see(&mut self, area: &Area, row: &Row, program: Program) -> Result<Seen, Error> {
        let account = area.account(row);
        self.as_root(&area.setup(row))?;
        let seen = self.do_job(account, &row.job(account, program))?;
        self.as_root(row.cleanup())?;
        Ok(seen)
    }

    fn as_root(&mut self, script: &str) -> Result<(), Error> {
        if script.trim().is_empty() {
            return Ok(());
        }
        let path = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
        let job = Job {
            script: Some(format!("set -e\n{script}")),
            folder: "/tmp/rows-setup".to_owned(),
            environment: BTreeMap::from([("PATH".to_owned(), path.to_owned())]),
            keys: None,
            limit: 20,
        };
        let seen = self.do_job("root", &job)?;
        if seen.status == 0 && seen.signal == 0 && seen.missing.is_empty() {
            return Ok(());
        }
        Err(Error::Failed { what: script.to_owned(), status: seen.status, output: format!("{seen:#?}") })
    }

    fn do_job(&mut self, account: &str, job: &Job) -> Result<Seen, Error> {
        if !self.workers.contains_key(account) {
            let command = self.host.run(&[WORKER]);
            let command = if account == "root" { command } else { command.as_user(account) };
            let mut child = command.piped()?;
            let (Some(jobs), Some(sightings)) = (child.stdin.take(), child.stdout.take()) else {
                return Err(io("take the pipes of a worker")(std::io::ErrorKind::BrokenPipe.into()));
            };
            self.workers.insert(account.to_owned(), Worker { child, jobs, sightings: BufReader::new(sightings) });
        }
        let Some(worker) = self.workers.get_mut(account) else {
            return Err(io("find a worker")(std::io::ErrorKind::NotFound.into()));
        };
        let seen = worker.run(job);
        if seen.is_err() || seen.as_ref().is_ok_and(|seen| !seen.missing.is_empty()) {
            // Something of that row may still run and hold what the next one needs: a new worker starts clean.
            self.workers.remove(account);
        }
        seen
    }
}

impl Worker {
    fn run(&mut self, job: &Job) -> Result<Seen, Error> {
        let mut line = serde_json::to_string(job).map_err(|error| io("write a job")(error.into()))?;
        line.push('\n');
        self.jobs.write_all(line.as_bytes()).map_err(io("give a job to a worker"))?;
        let mut answer = String::new();
        self.sightings.read_line(&mut answer).map_err(io("hear from a worker"))?;
        serde_json::from_str(&answer).map_err(|error| io(format!("read a worker's {answer:?}"))(error.into()))
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
