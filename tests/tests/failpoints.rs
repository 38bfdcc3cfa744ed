//! The daemon's programs die, as by kill -9, between any two steps that are each durable by themselves: with no grant live, one of every
//! kind, and fifty. Each time nothing is on the host that is not given, what was live is, the daemon is back, and the next request works.
//!
//! A fixed sample by default; every point with `JITSUDO_SWEEP=all` (`cargo xtask test --all`); `JITSUDO_POINT=BEGINNING` tries
//! those alone whose names begin so.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on must fail")]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use jitsudo_tests::life::{self, Life, There};
use jitsudo_tests::live::{self, KINDS, Live};
use jitsudo_tests::points::{POINTS, failpoints_package};
use jitsudo_tests::story::installed_host;
use jitsudo_tests::{Host, Stopwatch, package_file, wait_until};

/// How many without `JITSUDO_SWEEP=all`, for each number of live grants: fifty take their time.
const SAMPLE: usize = 8;
const SAMPLE_OF_FIFTY: usize = 4;

fn host(name: &str) -> Host {
    let host = failpoints_package().and_then(|package| installed_host(name, "bookworm", &package));
    let host = host.unwrap_or_else(|error| panic!("{error}"));
    live::prepare(&host, life::RULES).unwrap_or_else(|error| panic!("{error}"));
    life::prepare(&host).unwrap();
    host
}

/// Lives up to a point and beyond; how long the host took to be whole, or what is not.
fn play(host: &Host, point: &str, skip: u32, by: Life, live: &Live) -> Result<Duration, String> {
    let told = by.with_point(host, point, skip, There::Dies).map_err(|error| error.to_string())?;
    let sound = live::is_sound(host).map_err(|error| {
        let look = "jitctl log --all --limit 30; cd /run/jitsudo; tail -n +1 sessions/* ends/01*; \
                    systemd-cgls --no-pager -u jitsudo-spawn; journalctl -n 20 --no-pager -u jitsudo-spawn";
        let seen = host.sh(look).output().map(|seen| seen.both()).unwrap_or_default();
        format!("{error}\n{told}\n{seen}")
    })?;
    let gone = live.gone(host).map_err(|error| error.to_string())?;
    // The sweep was told to end everything, commands by their marks too.
    if by != Life::Sweep && !gone.is_empty() {
        return Err(format!("what was live is not any more: {gone:?}\n{told}"));
    }
    if by == Life::Sweep && gone.len() != live.count() {
        return Err(format!("{} of {} were ended\n{told}", gone.len(), live.count()));
    }
    life::tidy(host, live).map_err(|error| format!("{error}\n{told}"))?;
    Ok(sound.ran)
}

/// Plays all points, or a sample, beside so many live grants.
fn plays(name: &str, count: usize, from: usize) {
    let all = std::env::var("JITSUDO_SWEEP").is_ok_and(|which| which == "all");
    let one = std::env::var("JITSUDO_POINT").ok();
    let host = host(name);
    let step =
        if all || one.is_some() { 1 } else { POINTS.len().div_ceil(if count < 50 { SAMPLE } else { SAMPLE_OF_FIFTY }) };
    let (mut tried, mut failed, mut times) = (0, Vec::new(), Vec::new());
    let mut live = Live::make(&host, count).unwrap_or_else(|error| panic!("{error}"));
    let meant = POINTS.iter().filter(|(name, ..)| one.as_ref().is_none_or(|one| name.starts_with(one)));
    for (point, skip, by) in meant.skip(if step == 1 { 0 } else { from }).step_by(step) {
        // Only a grant with a session is noted by a sweep.
        if *point == "sweep.noted" && count == 0 {
            continue;
        }
        tried += 1;
        let watch = Stopwatch::start();
        let outcome = play(&host, point, *skip, *by, &live);
        println!("{point} {skip} by {by:?}, {count} live: {:.1} s, {outcome:?}", watch.elapsed().as_secs_f64());
        if outcome.is_err() {
            let _ = life::tidy(&host, &live);
        }
        let is_whole = outcome.is_ok() && *by != Life::Sweep;
        match outcome {
            Ok(time) => times.push(time),
            Err(why) => failed.push(format!("{point} {skip} by {by:?}, {count} live: {why}")),
        }
        if !is_whole && count > 0 {
            let ended = live.end(&host);
            live = ended.and_then(|()| Live::make(&host, count)).unwrap_or_else(|error| panic!("{point}: {error}"));
        }
    }
    live.end(&host).unwrap_or_else(|error| panic!("{error}"));
    if count == 0 {
        role_waits_for_the_picture(&host);
    }
    println!("{count} live: {tried} points tried; a command ran again after {:?} at most", times.iter().max());
    assert!(failed.is_empty(), "{} of {tried} points:\n{}", failed.len(), failed.join("\n"));
}

/// Nothing of a role is made as long as its picture of the host is not taken: here it is held up.
fn role_waits_for_the_picture(host: &Host) {
    // Another host than the one that pictures were taken of.
    let order = "echo '# other' > /etc/cron.d/other; echo 'effects.picture.written 0 0 stop' > /run/.point; \
                 chmod 644 /run/.point; mv /run/.point /run/jitsudo-failpoint";
    host.sh(order).ok().unwrap();
    std::thread::scope(|scope| {
        let asks = scope.spawn(|| host.sh("jitctl request life-host --for 5m").as_user("alice").output().unwrap());
        let stopped = || host.sh("ps -eo stat=,comm= | grep -q '^T.*jitsudo-effects'").ok().is_ok();
        let is_held_up = wait_until(Duration::from_secs(20), stopped);
        // It would be made in a moment.
        let look = || host.sh("grep -h '^adm:.*alice' /etc/group; ls /run/jitsudo/sudoers.d").output().unwrap().stdout;
        let is_made = wait_until(Duration::from_secs(2), || !look().is_empty());
        let listed = host.sh("jitctl grants --all").output().unwrap().both();
        host.sh("for p in $(pidof jitsudo-effects); do kill -CONT $p; done; rm -f /run/jitsudo-failpoint")
            .output()
            .unwrap();
        let said = asks.join().unwrap();
        assert!(is_held_up && !is_made && listed.contains("not given yet"), "{is_held_up} {is_made}: {listed}");
        assert!(said.stdout.starts_with("granted: "), "{}", said.both());
    });
    let made = host.sh("grep -h '^adm:.*alice' /etc/group; ls /run/jitsudo/sudoers.d").ok().unwrap();
    assert_eq!(made.lines().count(), 2, "{made}");
    host.sh("jitctl end $(ls /run/jitsudo/ends | grep ^01); rm /etc/cron.d/other").ok().unwrap();
}

// Another part of the sample each time.
#[test]
fn crash_recovery_01_programs_that_die_at_any_durable_step_give_nothing_and_lose_nothing() {
    plays("points", 0, 0);
}

#[test]
fn crash_recovery_01_programs_that_die_at_any_durable_step_beside_a_grant_of_every_kind() {
    plays("points6", KINDS, 5);
}

#[test]
fn crash_recovery_01_programs_that_die_at_any_durable_step_beside_fifty_grants() {
    plays("points50", 50, 10);
}

#[test]
fn every_point_of_the_sources_is_tried() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut found = BTreeSet::new();
    let mut folders = vec![root.join("daemon"), root.join("ctl/src"), root.join("ledger/src")];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap().flatten() {
            let path = entry.path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|end| end == "rs") {
                let text = std::fs::read_to_string(path).unwrap();
                let named = text.split("failpoint::reach").skip(1).filter_map(|rest| rest.split('"').nth(1));
                found.extend(named.map(str::to_owned));
            }
        }
    }
    let tried: BTreeSet<String> =
        POINTS.iter().map(|(name, _, _)| name.split(':').next().unwrap_or_default().to_owned()).collect();
    assert_eq!(found, tried);
}

#[test]
fn shipped_programs_have_no_point_to_die_at() {
    let points = |package: &Path| {
        let folder = std::env::temp_dir().join(format!("jitsudo-points-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&folder);
        let unpack = std::process::Command::new("dpkg-deb").arg("--extract").args([package, &folder]).status().unwrap();
        assert!(unpack.success());
        let list = |place: &str| std::fs::read_dir(folder.join(place)).unwrap().flatten().map(|entry| entry.path());
        let programs: Vec<PathBuf> =
            ["usr/bin", "usr/sbin", "usr/libexec/jitsudo"].into_iter().flat_map(list).collect();
        let has = |program: &&PathBuf| {
            String::from_utf8_lossy(&std::fs::read(program).unwrap()).contains("/run/jitsudo-failpoint")
        };
        let count = (programs.len(), programs.iter().filter(has).count());
        std::fs::remove_dir_all(folder).unwrap();
        count
    };
    let shipped = package_file().unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(points(&shipped), (8, 0));
    assert_eq!(points(&failpoints_package().unwrap()), (8, 7), "the look itself must be able to fail");
}
