//! Clocks are set, and the host sleeps, while grants of every kind live: each ends by whichever clock is past its end first, none lives longer, and
//! the record says why. A container may set no clock: the programs of the package for tests add to theirs what a file says (`sys::clock`).
//! sudo's own NOTAFTER knows nothing of that: it goes by the host's clock.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on must fail")]

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use jitsudo_tests::live::{self, KINDS, Live};
use jitsudo_tests::story::installed_host;
use jitsudo_tests::{Host, Stopwatch, package_file, wait_until};
use serde_json::Value;

const YEARS_10: i64 = 10 * 365 * 86_400;

fn package_for_tests() -> PathBuf {
    let package = std::env::var_os("JITSUDO_TEST_FAILPOINTS").map(PathBuf::from);
    package.unwrap_or_else(|| panic!("`cargo xtask package --failpoints` builds $JITSUDO_TEST_FAILPOINTS"))
}

fn host(name: &str) -> Host {
    let host = installed_host(name, "bookworm", &package_for_tests()).unwrap_or_else(|error| panic!("{error}"));
    live::prepare(&host, "").unwrap();
    host
}

/// Sets both clocks forward, or back, by so many seconds of what the kernel says.
fn set_clocks(host: &Host, wall: i64, boot: i64) {
    host.write("/run/jitsudo-clock", 0o644, format!("{wall} {boot}\n")).unwrap();
}

fn events(host: &Host) -> Vec<Value> {
    let log = host.run(&["jitctl", "log", "--all", "--json", "--limit", "100000"]).ok().unwrap();
    log.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// The events of a name from the `from`th on.
fn named(host: &Host, from: usize, name: &str) -> Vec<Value> {
    let all = events(host);
    all.into_iter().skip(from).filter(|event| event.get("event").and_then(Value::as_str) == Some(name)).collect()
}

/// All that was live is gone, recorded as over in time, and the host is as before.
fn all_ended(host: &Host, ids: &[String], from: usize, what: &str) {
    let left = || live::left(host).unwrap();
    assert!(wait_until(Duration::from_secs(40), || left().is_empty()), "{what}: {:?}", left());
    let of_ours = |name: &str| {
        let all = named(host, from, name).into_iter();
        all.filter(|event| ids.iter().any(|id| event.get("id").and_then(Value::as_str) == Some(id))).collect::<Vec<_>>()
    };
    let closed = wait_until(Duration::from_secs(20), || of_ours("closed").len() == ids.len());
    assert!(closed, "{what}: {} of {} are closed", of_ours("closed").len(), ids.len());
    let ended = of_ours("ended");
    let causes: Vec<&str> = ended.iter().filter_map(|event| event.get("cause").and_then(Value::as_str)).collect();
    assert!(causes.len() == ids.len() && causes.iter().all(|cause| *cause == "window_over"), "{what}: {causes:?}");
    assert_eq!(host.run(&["jitctl", "grants", "--all"]).output().unwrap().status, 3, "{what}");
}

fn is_whole_sweep() -> bool {
    std::env::var("JITSUDO_SWEEP").is_ok_and(|which| which == "all")
}

fn is_sound(host: &Host, what: &str) {
    live::is_sound(host).unwrap_or_else(|error| panic!("{what}: {error}"));
}

/// A step: what it is, the windows that it meets, and how far the clocks are set from then on, seconds of what the kernel says.
struct Step {
    what: &'static str,
    window: &'static str,
    wall: i64,
    boot: i64,
    /// Whether the two clocks tell of it against each other.
    told: bool,
}

fn steps_end_what_is_over_and_lengthen_nothing(host: &Host, count: usize) {
    let now: i64 = host.run(&["date", "+%s"]).ok().unwrap().trim().parse().unwrap();
    let boot: i64 =
        host.sh("cut -d' ' -f2 /run/jitsudo-clock 2>/dev/null || echo 0").ok().unwrap().trim().parse().unwrap_or(0);
    let short = if count > KINDS { "40s" } else { "10s" };
    let hours_3 = 3 * 3600;
    // The boot clock never goes back, on no host: what one step adds the next ones keep.
    for step in [
        Step { what: "set ten years back", window: short, wall: -YEARS_10, boot, told: true },
        Step { what: "set to the epoch", window: short, wall: -now, boot, told: true },
        Step { what: "set ten years forward", window: "1h", wall: YEARS_10, boot, told: true },
        Step { what: "asleep for three hours", window: "1h", wall: hours_3, boot: boot + hours_3, told: false },
        Step {
            what: "asleep, and the wall clock is not set yet",
            window: "1h",
            wall: 0,
            boot: boot + 2 * hours_3,
            told: true,
        },
    ] {
        let Step { what, window, wall, boot, told } = step;
        // Ten years back is the same with less effort.
        if what == "set to the epoch" && !is_whole_sweep() {
            continue;
        }
        let live = Live::make_for(host, count, window).unwrap_or_else(|error| panic!("{what}: {error}"));
        assert_eq!(live.gone(host).unwrap(), Vec::<String>::new(), "{what}");
        let from = events(host).len();
        set_clocks(host, wall, boot);
        let watch = Stopwatch::start();
        all_ended(host, &live.ids(), from, what);
        println!("{what}: {count} grants of {window} were gone after {:?}", watch.elapsed());
        is_sound(host, what);
        wait_until(Duration::from_secs(10), || named(host, from, "clock_stepped").len() >= usize::from(told));
        assert_eq!(named(host, from, "clock_stepped").len(), usize::from(told), "{what}");
        // As sudo has it again, for the lines that the next ones lend.
        if wall != 0 {
            set_clocks(host, 0, boot);
            let told = usize::from(told) + 1;
            let all_told = || named(host, from, "clock_stepped").len() == told;
            assert!(wait_until(Duration::from_secs(10), all_told), "{what}: {:?}", named(host, from, "clock_stepped"));
        }
    }
}

#[test]
fn expiry_clock_02_03_clocks_that_are_set_and_a_host_that_slept_end_grants_of_every_kind_and_lengthen_none() {
    let host = host("clocks");
    for count in if is_whole_sweep() { vec![0, KINDS, 50] } else { vec![KINDS] } {
        steps_end_what_is_over_and_lengthen_nothing(&host, count);
    }
}

#[test]
fn shipped_programs_take_steps_of_clocks_from_nobody() {
    let named = |package: &Path| {
        let look = "dpkg-deb --fsys-tarfile \"$1\" | grep -ac jitsudo-clock";
        let found = Command::new("sh").args(["-c", look, "sh"]).arg(package).output().unwrap();
        String::from_utf8_lossy(&found.stdout).trim() != "0"
    };
    assert!(!named(&package_file().unwrap()), "a program that is shipped must go by the kernel's clocks alone");
    assert!(named(&package_for_tests()), "the look must be able to find it");
}
