//! jitsudo called as `sudo` does what the real sudo of the same host does: every row of `tests/rows`, on both hosts.
//!
//! `JITSUDO_ROWS=signals` runs that area only, `JITSUDO_ROWS='signals/death by TERM'` one row, `JITSUDO_ROWS=all` also the
//! rows that wait for something of jitsudo. `JITSUDO_ROWS_TWICE=1` runs the real sudo both times: rows that then fail are
//! not repeatable, and show nothing about jitsudo. `JITSUDO_ROWS_SEEN=FILE` writes what was seen, a line of JSON a row.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on must fail")]

use std::fs::File;
use std::io::Write as _;
use std::path::Path;

use jitsudo_tests::rows::{Area, Bench, Row, Verdict, named_differences};
use jitsudo_tests::story::installed_host;
use jitsudo_tests::{Host, Stopwatch, package_file};

/// The same rights twice: alice everything without a password, bob everything with one, alice-adm a little, carol nothing.
const SUDOERS: &str = include_str!("../rows/sudoers");
const POLICY: &str = include_str!("../rows/policy.toml.in");
const DIFFERENCES: &str = include_str!("../../docs/differences-from-sudo.md");
/// A row that takes longer is named, so that the suite stays fast.
const SLOW_SECONDS: f64 = 5.0;

fn set_up(host: &Host) {
    host.write("/etc/sudoers.d/rows", 0o440, SUDOERS).unwrap();
    host.sh("visudo -cq").ok().unwrap();
    host.write("/etc/jitsudo/policy.d/10-rows.toml", 0o644, POLICY).unwrap();
    host.run(&["jitctl", "policy", "apply", "--yes"]).ok().unwrap();
    // A wrong password is answered at once, under both.
    host.sh("sed -i 's/pam_unix.so nullok/pam_unix.so nullok nodelay/' /etc/pam.d/common-auth; grep -q nodelay /etc/pam.d/common-auth")
        .ok()
        .unwrap();
}

/// Which rows are to be run.
struct Choice(Option<String>);

impl Choice {
    fn holds(&self, area: &Area, row: &Row) -> bool {
        match self.0.as_deref() {
            None => area.later(row).is_none(),
            Some("all") => true,
            Some(some) => some.split(',').any(|one| one == area.name || one == format!("{}/{}", area.name, row.name)),
        }
    }
}

#[derive(Default)]
struct Tally {
    agree: usize,
    differ: usize,
    later: usize,
    fail: Vec<String>,
}

impl Tally {
    fn count(&mut self, name: &str, verdict: Verdict) {
        match verdict {
            Verdict::Agrees => self.agree += 1,
            Verdict::Differs => self.differ += 1,
            Verdict::Fails(why) => self.fail.push(format!("{name}\n{why}")),
        }
    }
}

fn every_row_holds(suite: &str) {
    let host = package_file().and_then(|package| installed_host("rows", suite, &package));
    let host = host.unwrap_or_else(|error| panic!("{error}"));
    set_up(&host);
    let areas = Area::all(&Path::new(env!("CARGO_MANIFEST_DIR")).join("rows")).unwrap();
    let twice = std::env::var_os("JITSUDO_ROWS_TWICE").is_some();
    let second = if twice { "/usr/bin/sudo" } else { "/usr/bin/jitsudo" };
    let mut bench = Bench::set_up(&host, suite, Path::new(env!("CARGO_BIN_EXE_row-worker")), second).unwrap();
    let choice = Choice(std::env::var("JITSUDO_ROWS").ok());
    let mut sightings = std::env::var_os("JITSUDO_ROWS_SEEN").map(|file| File::create(file).unwrap());
    let mut tally = Tally::default();
    for area in &areas {
        let (watch, failed, mut run) = (Stopwatch::start(), tally.fail.len(), 0);
        for row in area.rows.iter().filter(|row| row.is_for(suite)) {
            if !choice.holds(area, row) {
                tally.later += usize::from(area.later(row).is_some());
                continue;
            }
            run += 1;
            let (name, of_row) = (format!("{}/{}", area.name, row.name), Stopwatch::start());
            let verdict = match bench.run(area, row) {
                Ok((verdict, seen)) => {
                    if let Some(file) = &mut sightings {
                        writeln!(file, "{}", serde_json::json!([name, format!("{verdict:?}"), seen])).unwrap();
                    }
                    verdict
                }
                Err(error) => Verdict::Fails(error.to_string()),
            };
            // At once: a run that is cut off says it too.
            if let Verdict::Fails(why) = &verdict {
                println!("{suite} {name} fails:\n{why}");
            }
            tally.count(&name, verdict);
            if of_row.elapsed().as_secs_f64() > SLOW_SECONDS {
                println!("{suite} {name} takes {:.1} s", of_row.elapsed().as_secs_f64());
            }
        }
        if run > 0 {
            let failed = tally.fail.len() - failed;
            println!("{suite} {}: {run} rows, {failed} fail, {:.1} s", area.name, watch.elapsed().as_secs_f64());
        }
    }
    let version = host.sh("sudo -V | head -n 1").ok().unwrap();
    let Tally { agree, differ, later, fail } = tally;
    println!(
        "{suite}: {agree} rows agree with the real sudo ({}), {differ} differ on purpose, {} fail, {later} wait",
        version.trim(),
        fail.len()
    );
    assert!(fail.is_empty(), "rows that fail on {suite}:\n\n{}", fail.join("\n"));
}

#[test]
fn bookworm_every_row_that_holds_for_sudo_holds_for_jitsudo() {
    every_row_holds("bookworm");
}

#[test]
fn trixie_every_row_that_holds_for_sudo_holds_for_jitsudo() {
    every_row_holds("trixie");
}

#[test]
fn every_difference_of_a_row_is_explained_in_the_document() {
    let named = named_differences(DIFFERENCES);
    let areas = Area::all(&Path::new(env!("CARGO_MANIFEST_DIR")).join("rows")).unwrap();
    let used = areas.iter().flat_map(|area| &area.rows).filter_map(|row| row.differs.as_deref());
    let unknown: Vec<&str> = used.filter(|name| !named.contains(name)).collect();
    assert!(unknown.is_empty(), "docs/differences-from-sudo.md does not name {unknown:?}");
}
