//! The daemon's programs die, as by kill -9, at any of their system calls, in lives of grants of every kind: with no grant live, one of every
//! kind, and fifty. Each time nothing is on the host that is not given, what was live is, the daemon is back, and the next request works.
//!
//! How many calls a program makes in a life is counted first; which of them it dies at is chosen by a seed (`JITSUDO_SEED`), in equal steps.
//! A few beside a grant of every kind by default, with a fixed seed; all of it with `JITSUDO_SWEEP=all`; `JITSUDO_PROGRAM=NAME` tries one, `JITSUDO_LIVE=N` beside so
//! many alone.
#![expect(clippy::panic, reason = "a test that cannot go on must fail")]

use std::time::Duration;

use jitsudo_tests::life::{self, Life};
use jitsudo_tests::live::{self, KINDS, Live};
use jitsudo_tests::story::installed_host;
use jitsudo_tests::{Host, Stopwatch, package_file};

const SCRIPT: &str = include_str!("../src/calls.sh");
/// Programs, how many of their processes go before (effect workers), and lives that they serve.
const PROGRAMS: &[(&str, u32, Life)] = &[
    ("jitsudod", 0, Life::Grant),
    ("jitsudod", 0, Life::Group),
    ("jitsudod", 0, Life::Login),
    ("jitsudod", 0, Life::Command),
    ("jitsudod", 0, Life::Extend),
    ("jitsudo-spawn", 0, Life::Grant),
    ("jitsudo-spawn", 0, Life::Group),
    ("jitsudo-spawn", 0, Life::Login),
    ("jitsudo-spawn", 0, Life::Command),
    ("jitsudo-spawn", 0, Life::Extend),
    ("jitsudo-facts", 0, Life::Grant),
    ("jitsudo-facts", 0, Life::Group),
    ("jitsudo-session", 0, Life::Grant),
    ("jitsudo-session", 0, Life::Command),
    ("jitsudo-effects", 0, Life::Grant),
    ("jitsudo-effects", 1, Life::Grant),
    ("jitsudo-effects", 2, Life::Grant),
    ("jitsudo-effects", 3, Life::Grant),
    ("jitsudo-effects", 0, Life::Apply),
    ("jitsudo-sweep", 0, Life::Sweep),
];
/// Deaths of each with `JITSUDO_SWEEP=all`, for each number of live grants.
const EACH: u64 = 8;
/// How many of them are tried otherwise, one death each.
const SAMPLE: usize = 6;

fn host(name: &str) -> Host {
    let host = package_file().and_then(|package| installed_host(name, "bookworm", &package));
    let host = host.unwrap_or_else(|error| panic!("{error}"));
    let ready = live::prepare(&host, life::RULES).and_then(|()| life::prepare(&host));
    ready.and_then(|()| host.write("/opt/calls", 0o755, SCRIPT)).unwrap_or_else(|error| panic!("{error}"));
    host
}

/// Lives through it, with a death at a call (`NAME:K`) or none (`-`); whether somebody died, and the names of the calls that were seen.
fn lives(host: &Host, (program, skip, by): (&str, u32, Life), at: &str) -> Result<(bool, Vec<String>, String), String> {
    let kind = format!("{by:?}").to_lowercase();
    let argv = ["/opt/calls", program, &skip.to_string(), at, &kind];
    let told = host.run(&argv).limit(Duration::from_secs(180)).output().map_err(|error| error.to_string())?;
    let calls = told.stdout.lines().find_map(|line| line.strip_prefix("calls"));
    let calls = calls.ok_or_else(|| format!("no trace: {}", told.both()))?;
    let calls = calls.split_whitespace().map(str::to_owned).collect();
    Ok((told.stdout.lines().any(|line| line == "died"), calls, told.both()))
}

/// The call that was the nth, counted from 0, as a death is ordered: its name, and the how-manieth of that name it is.
fn call_at(names: &[String], n: u64) -> String {
    let until: Vec<_> = names.iter().take(usize::try_from(n).unwrap_or(usize::MAX).saturating_add(1)).collect();
    let name = until.last().map_or("read", |name| name.as_str());
    format!("{name}:{}", until.iter().filter(|one| **one == name).count())
}

fn is_whole(host: &Host, by: Life, live: &Live, told: &str) -> Result<Duration, String> {
    let words = |error: jitsudo_tests::Error| {
        let look = "jitctl log --all --limit 30; cd /run/jitsudo; tail -n +1 sessions/* ends/01*";
        format!("{error}\n{told}\n{}", host.sh(look).output().map(|seen| seen.both()).unwrap_or_default())
    };
    let sound = live::is_sound(host).map_err(words)?;
    let gone = live.gone(host).map_err(words)?;
    if by != Life::Sweep && !gone.is_empty() {
        return Err(format!("what was live is not any more: {gone:?}\n{told}"));
    }
    life::tidy(host, live).map_err(words)?;
    Ok(sound.ran)
}

fn deaths(name: &str, count: usize, all: bool) {
    // Any odd constant will do: a run without a seed is the same each time.
    let seed: u64 = std::env::var("JITSUDO_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(0x9e37_79b9);
    let only = std::env::var("JITSUDO_PROGRAM").ok();
    let host = host(name);
    let (mut tried, mut nobody, mut failed, mut times) = (0, 0, Vec::new(), Vec::new());
    let mut live = Live::make(&host, count).unwrap_or_else(|error| panic!("{error}"));
    let step = if all || only.is_some() { 1 } else { PROGRAMS.len().div_ceil(SAMPLE) };
    let meant = PROGRAMS.iter().filter(|(program, ..)| only.as_ref().is_none_or(|one| one == program));
    for (place, which) in meant.enumerate().skip(step / 2).step_by(step) {
        let (program, skip, by) = *which;
        let again = |live: Live| {
            let ended = if live.gone(&host).is_ok_and(|gone| gone.is_empty()) {
                Ok(live)
            } else {
                live.end(&host).and_then(|()| Live::make(&host, count))
            };
            ended.unwrap_or_else(|error| panic!("{program}: {error}"))
        };
        let counted =
            lives(&host, *which, "-").and_then(|(_, calls, told)| is_whole(&host, by, &live, &told).map(|_| calls));
        let names = counted.unwrap_or_else(|why| panic!("{program} {by:?} with nobody dying: {why}"));
        let calls = names.len() as u64;
        live = again(live);
        let each = if all { EACH } else { 1 };
        let stride = (calls / each).max(1);
        let first = seed.wrapping_mul(place as u64 * 2 + 1).rotate_left(17) % stride;
        for n in (0..each).map(|turn| first + turn * stride).filter(|n| *n < calls) {
            let at = call_at(&names, n);
            let watch = Stopwatch::start();
            let outcome = lives(&host, *which, &at).and_then(|(died, _, told)| {
                nobody += u64::from(!died);
                is_whole(&host, by, &live, &told).map(|time| (died, time))
            });
            tried += 1;
            println!(
                "{program} {skip} at call {n} of {calls}, {at}, by {by:?}, {count} live: {:.1} s, {outcome:?}",
                watch.elapsed().as_secs_f64()
            );
            match outcome {
                Ok((_, time)) => times.push(time),
                Err(why) => failed.push(format!("{program} {skip} at call {n}, {at}, by {by:?}, {count} live: {why}")),
            }
            live = again(live);
        }
    }
    let _ = live.end(&host);
    let worst = times.iter().max();
    println!(
        "{count} live: {tried} calls tried, at {nobody} of them nobody died; a command ran again after {worst:?} at most"
    );
    assert!(failed.is_empty(), "{} of {tried} calls:\n{}", failed.len(), failed.join("\n"));
    // A life is never twice the same to the call; but somebody must die.
    assert!(tried > 0 && nobody * 2 <= tried, "nobody died at {nobody} of {tried} calls");
}

#[test]
fn crash_recovery_01_programs_killed_at_any_call_give_nothing_and_lose_nothing() {
    let all = std::env::var("JITSUDO_SWEEP").is_ok_and(|which| which == "all");
    let only: Option<usize> = std::env::var("JITSUDO_LIVE").ok().and_then(|count| count.parse().ok());
    let hosts = [("calls6", KINDS), ("calls0", 0), ("calls50", 50)];
    let meant =
        hosts.into_iter().take(if all { 3 } else { 1 }).filter(|(_, count)| only.is_none_or(|one| one == *count));
    std::thread::scope(|scope| {
        for (name, count) in meant {
            scope.spawn(move || deaths(name, count, all));
        }
    });
}
