//! The power goes while a program stands between two steps that are each durable by themselves; what was not synced is lost. When the host is
//! up again no right of the former boot is left, the checker and the chain are whole, `closed` is said only of what is verified, and the
//! next request works.
//!
//! A fixed sample beside a grant of every kind by default; every point, beside none, one of every kind and fifty, with `JITSUDO_SWEEP=all`;
//! `JITSUDO_POINT=BEGINNING` tries those alone whose names begin so.
#![expect(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test that cannot go on must fail")]

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use jitsudo_tests::life::{self, Life, There};
use jitsudo_tests::live::{self, KINDS, Live};
use jitsudo_tests::points::{POINTS, failpoints_package};
use jitsudo_tests::story::installed_host;
use jitsudo_tests::{Host, Stopwatch, wait_until};
use serde_json::Value;

/// How many without `JITSUDO_SWEEP=all`.
const SAMPLE: usize = 4;

fn host(name: &str) -> Host {
    let host = failpoints_package().and_then(|package| installed_host(name, "bookworm", &package));
    let host = host.unwrap_or_else(|error| panic!("{error}"));
    live::prepare(&host, life::RULES).unwrap_or_else(|error| panic!("{error}"));
    life::prepare(&host).unwrap();
    // What the test itself has put there; nothing is synced by the test after this.
    host.sh("sync").ok().unwrap();
    host
}

/// What of a former boot is on the host: entries of the people in groups that are lent, drop-ins, notes.
fn left(host: &Host) -> Result<String, String> {
    let people = "alice\\|bob\\|carol\\|admin";
    let groups = "adm users audio video cdrom floppy tape dialout fax voice plugdev games";
    let line = format!(
        "for g in {groups}; do grep -h \"^$g:.*[:,]\\({people}\\)\\>\" /etc/group /etc/gshadow; done; \
         ls -A /run/jitsudo/ends /run/jitsudo/sudoers.d /run/jitsudo/lent /run/jitsudo/logins /var/lib/jitsudo/ends 2>/dev/null \
         | grep -v '^$\\|:$\\|^\\.lock$'; true"
    );
    host.sh(&line).ok().map_err(|error| error.to_string())
}

/// Accesses of which the record says that they are closed and not that what they changed is gone. What a reboot takes away by itself needs
/// no word in a later boot.
fn closed_unverified(log: &str) -> Vec<String> {
    let mut made: BTreeMap<(String, String), String> = BTreeMap::new();
    let mut wrong = Vec::new();
    for event in log.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()) {
        let (id, effect) = (event["id"].as_str().unwrap_or_default().to_owned(), event["effect"].to_string());
        let boot = event["boot"].as_str().unwrap_or_default().to_owned();
        match event["event"].as_str().unwrap_or_default() {
            "effect_applied" if event["ours"] == true => drop(made.insert((id, effect), boot)),
            "effect_undone" => drop(made.remove(&(id, effect))),
            "closed" => {
                let of_id = made.iter().filter(|((one, _), _)| *one == id);
                let there = of_id.filter(|((_, effect), made_in)| **made_in == boot || effect.contains("membership"));
                wrong.extend(there.map(|((_, effect), _)| format!("{id}: {effect}")));
            }
            _ => {}
        }
    }
    wrong
}

fn log(host: &Host) -> String {
    host.run(&["jitctl", "log", "--all", "--json", "--limit", "100000"]).ok().unwrap_or_else(|error| panic!("{error}"))
}

/// Cuts the power at a point and boots again; how long until a command ran, or what is wrong.
fn cut(host: &mut Host, point: &str, skip: u32, by: Life, live: &Live) -> Result<Duration, String> {
    let words = |error: jitsudo_tests::Error| error.to_string();
    let told = by.with_point(host, point, skip, There::Stops).map_err(words)?;
    let watch = Stopwatch::start();
    host.power_cut().map_err(words)?;
    host.start().map_err(words)?;
    let up = watch.elapsed();
    let left_at_boot = left(host)?;
    if !left_at_boot.is_empty() {
        return Err(format!("when the host was up: {left_at_boot}\n{told}"));
    }
    let sound = live::is_sound(host).map_err(|error| {
        let look = "jitctl log --all --limit 30; cd /run/jitsudo; tail -n +1 ends/01* /var/lib/jitsudo/ends/01*; \
                    journalctl -b -n 40 --no-pager -t jitsudo-sweep -t jitsudod -t jitsudo-spawn";
        format!("{error}\n{told}\n{}", host.sh(look).output().map(|seen| seen.both()).unwrap_or_default())
    })?;
    // Everything of the former boot is over, and is said to be.
    let over = || {
        let nothing = |verb: &str| host.run(&["jitctl", verb, "--all"]).output().is_ok_and(|said| said.status == 3);
        nothing("grants") && nothing("sessions")
    };
    if !wait_until(Duration::from_secs(30), over) {
        let look = "jitctl grants --all; jitctl sessions --all; jitctl log --all --limit 30";
        return Err(format!("it is not over: {}\n{told}", host.sh(look).output().map_err(words)?.both()));
    }
    println!("  up after {up:?}, over after {:?}", watch.elapsed());
    let ids = live.ids();
    let log = log(host);
    let closed: BTreeSet<&str> = log
        .lines()
        .filter(|line| line.contains("\"event\":\"closed\""))
        .filter_map(|line| ids.iter().find(|id| line.contains(id.as_str())).map(String::as_str))
        .collect();
    if closed.len() != ids.len() {
        return Err(format!("{} of {} live grants are closed: {closed:?}", closed.len(), ids.len()));
    }
    let unverified = closed_unverified(&log);
    if !unverified.is_empty() {
        return Err(format!("closed, and not said to be gone: {unverified:?}"));
    }
    by.put_right(host).map_err(words)?;
    Ok(sound.ran)
}

fn cuts(name: &str, count: usize) {
    let all = std::env::var("JITSUDO_SWEEP").is_ok_and(|which| which == "all");
    let one = std::env::var("JITSUDO_POINT").ok();
    let mut host = host(name);
    let step = if all || one.is_some() { 1 } else { POINTS.len().div_ceil(SAMPLE) };
    let meant = POINTS.iter().filter(|(name, ..)| one.as_ref().is_none_or(|one| name.starts_with(one)));
    let (mut tried, mut failed, mut times) = (0, Vec::new(), Vec::new());
    for (point, skip, by) in meant.skip(if step == 1 { 0 } else { 7 }).step_by(step) {
        if *point == "sweep.noted" && count == 0 {
            continue;
        }
        tried += 1;
        let watch = Stopwatch::start();
        let live = Live::make(&host, count).unwrap_or_else(|error| panic!("{error}"));
        let outcome = cut(&mut host, point, *skip, *by, &live);
        println!("{point} {skip} by {by:?}, {count} live: {:.1} s, {outcome:?}", watch.elapsed().as_secs_f64());
        match outcome {
            Ok(time) => times.push(time),
            Err(why) => {
                failed.push(format!("{point} {skip} by {by:?}, {count} live: {why}"));
                // What is wrong is wrong with this point: the next one has a host that is whole.
                drop(host);
                host = self::host(name);
            }
        }
    }
    println!("{count} live: {tried} power cuts; a command ran {:?} after the boot at most", times.iter().max());
    assert!(failed.is_empty(), "{} of {tried} points:\n{}", failed.len(), failed.join("\n"));
}

#[test]
fn power_cut_at_any_durable_step_leaves_no_right_of_the_former_boot() {
    let all = std::env::var("JITSUDO_SWEEP").is_ok_and(|which| which == "all");
    std::thread::scope(|scope| {
        scope.spawn(|| cuts("power6", KINDS));
        if all {
            scope.spawn(|| cuts("power0", 0));
            scope.spawn(|| cuts("power50", 50));
        }
    });
}

#[test]
fn record_that_closes_what_is_not_said_to_be_gone_is_found() {
    let line = |event: &str, effect: &str, boot: u8| {
        format!(r#"{{"event":"{event}","id":"a","effect":{{{effect}}},"ours":true,"boot":"{boot}"}}"#)
    };
    let (group, lines) = (r#""membership":"adm""#, r#""sudoers":["/usr/bin/id"]"#);
    let found = |events: &[String]| closed_unverified(&events.join("\n")).len();
    assert_eq!(found(&[line("effect_applied", group, 1), line("effect_undone", group, 2), line("closed", "", 2)]), 0);
    assert_eq!(found(&[line("effect_applied", group, 1), line("closed", "", 2)]), 1);
    assert_eq!(found(&[line("effect_applied", lines, 1), line("closed", "", 1)]), 1);
    assert_eq!(found(&[line("effect_applied", lines, 1), line("closed", "", 2)]), 0, "a reboot cleared it");
}
