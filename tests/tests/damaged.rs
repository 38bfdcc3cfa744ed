//! What the daemons keep is cut, flipped, zeroed, of a later version, another's or gone while grants of every kind live: nothing widens, each ends no
//! later than it would have, and words say what is wrong.
//!
//! A sample of damages and places by default; with `JITSUDO_SWEEP=all` all of them (`JITSUDO_DAMAGED='the ledger'`: to one kind of file), with
//! a seed (`JITSUDO_SEED`) for the places.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on must fail")]

use std::path::Path;
use std::time::Duration;

use jitsudo_tests::live::{self, KINDS, Live};
use jitsudo_tests::story::installed_host;
use jitsudo_tests::{Host, Output, audit, package_file, wait_until};

const STOP: &str = "systemctl stop jitsudod.socket jitsudod.service jitsudo-spawn.service";
const START: &str = "systemctl start jitsudo-spawn.socket jitsudod.socket jitsudo-spawn.service; timeout 20 systemctl start jitsudod.service";
const HOWS: [&str; 6] = ["cut", "flip", "zeros", "newer", "foreign", "gone"];

/// A kind of file.
struct Kept {
    what: &'static str,
    files: &'static str,
    /// A request of bob's is refused as long as it is damaged, however that is.
    refuses: bool,
    /// What may be left at the end: what cannot be read is left for somebody to look at.
    keeps: &'static [&'static str],
}

const KEPT: [Kept; 7] = [
    Kept { what: "notes of grants", files: "/run/jitsudo/ends/01*", refuses: false, keeps: &[] },
    Kept {
        what: "lasting notes",
        files: "/var/lib/jitsudo/ends/01*",
        refuses: false,
        keeps: &["var/lib/jitsudo/ends/"],
    },
    Kept { what: "notes of sessions", files: "/run/jitsudo/sessions/01*", refuses: false, keeps: &[] },
    Kept {
        what: "records of lent groups",
        files: "/run/jitsudo/lent/01*",
        refuses: false,
        keeps: &["run/jitsudo/lent/"],
    },
    Kept { what: "the ledger", files: "$(ls /var/lib/jitsudo/ledger/*.jsonl | tail -n 1)", refuses: false, keeps: &[] },
    Kept { what: "the applied policy", files: "/var/lib/jitsudo/policy/applied.json", refuses: false, keeps: &[] },
    Kept { what: "the signed head", files: "/var/lib/jitsudo/head", refuses: false, keeps: &[] },
];

/// What is tried by default.
const SAMPLE: [(&str, &str); 2] = [("notes of grants", "cut"), ("the ledger", "flip")];

fn host(name: &str) -> Host {
    let host = package_file().and_then(|package| installed_host(name, "bookworm", &package));
    let host = host.unwrap_or_else(|error| panic!("{error}"));
    live::prepare(&host, "").unwrap();
    host.push(Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/fault/damage.py")), "/opt/damage.py", 0o755).unwrap();
    host
}

fn sh(host: &Host, line: &str) -> Output {
    host.sh(line).limit(Duration::from_secs(120)).output().unwrap()
}

/// One damage beside live grants, until all of them are over, and mended. False where the host's history has a hole from then on.
fn is_mended(host: &Host, kept: &Kept, how: &str, place: u64) -> bool {
    let what = format!("{} {how} at {place} %", kept.what);
    let live = Live::make_for(host, KINDS, "12s").unwrap_or_else(|error| panic!("{what}: {error}"));
    host.sh(STOP).ok().unwrap();
    let keep = format!("rm -rf /root/kept; mkdir /root/kept; cp -a --parents {} /root/kept/", kept.files);
    let damaged = sh(host, &format!("{keep} && python3 /opt/damage.py {how} {place} {}", kept.files));
    assert!(damaged.stdout.contains("damaged"), "{what}: {}", damaged.both());
    sh(host, START);
    // Nothing is there that was not given: the checker reads the same files, and may miss what it cannot read, but says so.
    // A login that a lent membership let in goes with it: then bob asks in another one.
    let ask = || host.sh("timeout 8 jitsudo -n id -un").as_user("bob").output().unwrap();
    let mut asked = ask();
    wait_until(Duration::from_secs(10), || {
        asked = ask();
        asked.both().contains("root") || asked.both().contains("jitsudo: ")
    });
    assert!(asked.stdout == "root\n" || asked.stderr.contains("jitsudo: "), "{what}: {}", asked.both());
    assert!(!kept.refuses || asked.stdout.is_empty(), "{what}: {}", asked.both());
    let over = || {
        let left = live::left(host).unwrap();
        left.into_iter().filter(|line| !kept.keeps.iter().any(|kept| line.starts_with(kept))).collect::<Vec<_>>()
    };
    // Twelve seconds, those of the sessions' grace, and those in which the spawner has given up on them.
    assert!(
        wait_until(Duration::from_secs(40), || over().is_empty()),
        "{what}: {:?}\n{}",
        over(),
        sh(host, "journalctl -b -n 30 -o cat -t jitsudo-spawn -t jitsudo-sweep").both()
    );
    if asked.stdout != "root\n" {
        let words = sh(host, "jitctl status; systemctl status jitsudod jitsudo-spawn; journalctl -q -b -o cat -t jitsudo-spawn -t jitsudod -n 60").both();
        assert!(
            ["cannot", "rolled back", "none applied"].iter().any(|said| words.contains(said)),
            "{what}: nothing says what is wrong: {words}"
        );
    }
    // What is no note of a grant is put back; notes of grants that are over would be of nobody. A ledger that goes on with what is left of it
    // has records since: somebody answers for what it lacks.
    let runs = asked.stdout == "root\n" || sh(host, "timeout 5 jitctl status").both().contains("rolled back");
    let (mended, put_back) = match kept.what {
        "the ledger" if runs => (false, ""),
        "the ledger" | "the applied policy" | "the signed head" => (true, "cp -a /root/kept/. /"),
        _ => (false, "rm -f /var/lib/jitsudo/ends/01* /run/jitsudo/lent/01*"),
    };
    if mended || !kept.keeps.is_empty() {
        host.sh(&format!("{STOP}; {put_back}")).ok().unwrap();
        sh(host, START);
    }
    if kept.what == "the ledger" && sh(host, "jitctl status").both().contains("rolled back") {
        host.run(&["jitctl", "audit", "acknowledge", "--reason", "damaged by a test"]).ok().unwrap();
        let next = || host.sh("timeout 8 jitsudo -n id -un").as_user("bob").output().unwrap();
        assert!(wait_until(Duration::from_secs(20), || next().stdout == "root\n"), "{what}: {}", next().both());
        let proved = sh(host, "jitctl audit verify");
        assert!(proved.status == 4 && proved.stdout.contains("cut or rolled back"), "{what}: {}", proved.both());
        println!("{what}: bob was refused until root answered for it, and the hole is told for ever");
        return false;
    }
    // Of a note that is gone nobody knows: its end is lost, and closed once the spawner has nothing of it any more.
    let last = "\"closed\"";
    let closed = || {
        let log = host.run(&["jitctl", "log", "--all", "--json", "--limit", "100000"]).ok().unwrap_or_default();
        live.ids()
            .into_iter()
            .filter(|id| !log.lines().any(|line| line.contains(last) && line.contains(id.as_str())))
            .collect::<Vec<_>>()
    };
    assert!(wait_until(Duration::from_secs(120), || closed().is_empty()), "{what}: {:?} are not closed", closed());
    wait_until(Duration::from_secs(90), || audit(host).is_ok() && sh(host, "jitctl status").status == 0);
    live::is_sound(host).unwrap_or_else(|error| panic!("{what}: {error}"));
    println!(
        "{what}: bob's request said {:?}; nothing widened, all ended",
        asked.both().lines().next().unwrap_or_default()
    );
    true
}

#[test]
fn crash_recovery_04_damaged_state_beside_live_grants_widens_nothing_and_ends_go_on() {
    let mut host = host("damaged");
    let all = std::env::var("JITSUDO_SWEEP").is_ok_and(|which| which == "all");
    let seed: u64 = std::env::var("JITSUDO_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(4);
    let only = std::env::var("JITSUDO_DAMAGED").ok();
    let mut tried = 0;
    for (number, kept) in (0u64..).zip(&KEPT) {
        for (turn, how) in (0u64..).zip(HOWS) {
            if (!all && !SAMPLE.contains(&(kept.what, how))) || only.as_ref().is_some_and(|only| only != kept.what) {
                continue;
            }
            let places: Vec<u64> = match (all, how) {
                (true, "cut" | "flip" | "zeros") => {
                    vec![0, (seed.wrapping_mul(31) + number * 17 + turn * 7) % 97 + 1, 99]
                }
                _ => vec![(seed + number * 17 + turn * 29) % 100],
            };
            for place in places {
                if !is_mended(&host, kept, how, place) {
                    host = self::host("damaged");
                }
                tried += 1;
            }
        }
    }
    println!("{tried} damages (seed {seed})");
}
