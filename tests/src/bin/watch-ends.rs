//! Looks at what many grants leave on a host when they end, and times commands; for measurements.
//!
//! `watch-ends watch END LIMIT` waits until entries of `many…` accounts in the group files, drop-ins, and processes `sleep 7000` are gone, at
//! most LIMIT seconds past END (nanoseconds since 1970), and prints when each was, by kind, from END. Meanwhile accounts try to go on.
//! `watch-ends time ROUNDS UID…` runs `jitsudo true` for each account in turn, so many times, and prints what it took.

use std::collections::{BTreeMap, BTreeSet};
use std::error::Error;
use std::fs;
use std::os::unix::process::CommandExt as _;
use std::process::{Command, ExitCode, Stdio};
use std::thread;
use std::time::Duration;

use jitsudo_sys::clock;

/// Between two looks.
const STEP: Duration = Duration::from_millis(2);
/// Accounts that try.
const TRYING: u32 = 4;
const FIRST: u32 = 20_000;

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let outcome = match words.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        ["watch", end, limit] => watch(end, limit),
        ["time", rounds, uids @ ..] => time(rounds, uids),
        _ => Err("watch END LIMIT | time ROUNDS UID…".into()),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            println!("watch-ends: {error}");
            ExitCode::FAILURE
        }
    }
}

/// What there is, by kind.
type Seen = BTreeMap<&'static str, BTreeSet<String>>;

fn see() -> Seen {
    let members = |path: &str| -> BTreeSet<String> {
        let text = fs::read_to_string(path).unwrap_or_default();
        let of =
            |line: &str| line.rsplit(':').next().unwrap_or_default().split(',').map(str::to_owned).collect::<Vec<_>>();
        text.lines().flat_map(of).filter(|member| member.starts_with("many")).collect()
    };
    let names = |path: &str| -> BTreeSet<String> {
        let entries = fs::read_dir(path).into_iter().flatten().flatten();
        entries
            .map(|entry| entry.file_name().to_string_lossy().into_owned())
            .filter(|name| !name.contains('.'))
            .collect()
    };
    [
        ("membership in group", members("/etc/group")),
        ("membership in gshadow", members("/etc/gshadow")),
        ("sudoers", names("/run/jitsudo/sudoers.d")),
    ]
    .into()
}

/// Processes of the commands: not what has died and is not reaped yet.
fn commands() -> BTreeSet<String> {
    let numbers = fs::read_dir("/proc")
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.file_name().to_string_lossy().into_owned());
    numbers.filter(|number| number.bytes().all(|byte| byte.is_ascii_digit()) && is_command(number)).collect()
}

fn is_command(number: &str) -> bool {
    let is_sleep = fs::read_link(format!("/proc/{number}/exe")).is_ok_and(|program| program.ends_with("sleep"));
    is_sleep && fs::read(format!("/proc/{number}/cmdline")).is_ok_and(|line| line.ends_with(b"\x007000\0"))
}

fn lives(number: &str) -> bool {
    let stat = fs::read_to_string(format!("/proc/{number}/stat")).unwrap_or_default();
    stat.rsplit(") ").next().and_then(|rest| rest.chars().next()).is_some_and(|state| !matches!(state, 'Z' | 'X'))
}

fn watch(end: &str, limit: &str) -> Result<(), Box<dyn Error>> {
    let (end_ns, limit): (i128, i128) = (end.parse()?, limit.parse()?);
    let since = |ns: i128| (ns - end_ns) as f64 / 1e6;
    let trying: Vec<_> =
        (0..TRYING).map(|number| thread::spawn(move || try_to_go_on(FIRST + number, end_ns))).collect();
    let mut left = see();
    left.insert("processes", commands());
    let mut gone: BTreeMap<&str, Vec<f64>> = left.keys().map(|kind| (*kind, Vec::new())).collect();
    println!(
        "there: {}",
        left.iter().map(|(kind, all)| format!("{} {kind}", all.len())).collect::<Vec<_>>().join(", ")
    );
    while left.values().any(|all| !all.is_empty()) && clock::now().wall_ns < end_ns + limit * 1_000_000_000 {
        let mut there = see();
        there.insert(
            "processes",
            left.get("processes").into_iter().flatten().filter(|one| lives(one)).cloned().collect(),
        );
        let now = since(clock::now().wall_ns);
        for (kind, all) in &mut left {
            let still = there.remove(kind).unwrap_or_default();
            let before = all.len();
            all.retain(|one| still.contains(one));
            gone.entry(kind).or_default().extend(std::iter::repeat_n(now, before - all.len()));
        }
        thread::sleep(STEP);
    }
    for (kind, times) in &mut gone {
        let left = left.get(kind).map_or(0, BTreeSet::len);
        println!("{kind}: {} gone, {left} left; ms from the end: {}", times.len(), quantiles(times));
    }
    let tried: Vec<(Vec<i128>, usize)> = trying.into_iter().filter_map(|one| one.join().ok()).collect();
    let begun: Vec<i128> = tried.iter().flat_map(|(begun, _)| begun.iter().copied()).collect();
    let refused: usize = tried.iter().map(|(_, refused)| refused).sum();
    let last =
        begun.iter().max().map_or_else(|| "never".to_owned(), |last| format!("{:.1} ms from the end", since(*last)));
    println!("commands that began: {}, the last {last}; refused: {refused}", begun.len());
    Ok(())
}

/// Starts commands under a role until three seconds past the end; when each began by its own word, and how many were refused.
fn try_to_go_on(uid: u32, end_ns: i128) -> (Vec<i128>, usize) {
    let (mut begun, mut refused) = (Vec::new(), 0);
    let pause = (end_ns - clock::now().wall_ns) / 1_000_000 - 2_000;
    thread::sleep(Duration::from_millis(u64::try_from(pause).unwrap_or(0)));
    while clock::now().wall_ns < end_ns + 3_000_000_000 {
        let mut command = Command::new("jitsudo");
        command.args(["-n", "--role", "many-run", "date", "+%s%N"]).uid(uid).gid(FIRST).stdin(Stdio::null());
        match command
            .stderr(Stdio::null())
            .output()
            .ok()
            .and_then(|said| String::from_utf8_lossy(&said.stdout).trim().parse().ok())
        {
            Some(ns) => begun.push(ns),
            None => refused += 1,
        }
    }
    (begun, refused)
}

fn time(rounds: &str, uids: &[&str]) -> Result<(), Box<dyn Error>> {
    let rounds: usize = rounds.parse()?;
    let mut took: BTreeMap<&str, Vec<f64>> = BTreeMap::new();
    for _ in 0..rounds {
        for uid in uids {
            let mut command = Command::new("jitsudo");
            let (user, group) = uid.split_once(':').unwrap_or((uid, uid));
            command.args(["-n", "true"]).uid(user.parse()?).gid(group.parse()?).stdin(Stdio::null());
            let begun = clock::now().wall_ns;
            let status = command.status()?;
            if !status.success() {
                return Err(format!("uid {uid}: {status}").into());
            }
            took.entry(uid).or_default().push((clock::now().wall_ns - begun) as f64 / 1e6);
        }
    }
    for (uid, times) in &mut took {
        println!("uid {uid}: ms for `jitsudo true`: {}", quantiles(times));
    }
    Ok(())
}

fn quantiles(times: &mut [f64]) -> String {
    times.sort_unstable_by(f64::total_cmp);
    let at = |hundredths: usize| times.get((times.len().saturating_sub(1) * hundredths).div_ceil(100)).copied();
    let [half, most, all] =
        [50, 99, 100].map(|part| at(part).map_or_else(|| "-".to_owned(), |time| format!("{time:.1}")));
    format!("50% {half}, 99% {most}, all {all}")
}
