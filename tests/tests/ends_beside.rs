//! Parts of the host fail, or are in the way, while grants of every kind live and their windows end: each ends in time, what cannot be taken back is
//! said and taken back once it can be, and the next request works.
//!
//! One of every kind and several faults together by default; with `JITSUDO_SWEEP=all` each fault by itself meets none, six and fifty, and the
//! group file is locked for ten minutes (`lent` has it for as long as a try lasts).
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on must fail")]

use std::cell::Cell;
use std::time::Duration;

use jitsudo_tests::live::{self, KINDS, Live};
use jitsudo_tests::story::installed_host;
use jitsudo_tests::{Host, Shell, Stopwatch, package_file, wait_until};

/// What happens to a host while grants live, and how it is mended.
struct Fault {
    what: &'static str,
    /// Shell lines of root's, and `systemd stops`, `systemd goes on`.
    trouble: &'static [&'static str],
    repair: &'static [&'static str],
    /// What may still be there while it lasts: beginnings of lines of [`live::left`].
    keeps: &'static [&'static str],
    /// What a request of bob's says meanwhile; `root`: it runs.
    says: &'static str,
    /// What the record says of it.
    records: Option<&'static str>,
    /// How long it lasts at the least, from its beginning; looked at all that time.
    lasts: Duration,
    /// What `jitctl grants` and `jitctl doctor` say meanwhile of what is not taken back.
    waits_for: Option<&'static str>,
}

impl Fault {
    const fn of(what: &'static str, trouble: &'static [&'static str], repair: &'static [&'static str]) -> Self {
        Self { what, trouble, repair, keeps: &[], says: "root", records: None, lasts: Duration::ZERO, waits_for: None }
    }
}

/// A host, and bob at a terminal of it, who has logged in before anything happened.
struct Scene {
    host: Host,
    bob: Shell,
    tried: Cell<u32>,
}

fn scene(name: &str) -> Scene {
    let host = package_file().and_then(|package| installed_host(name, "bookworm", &package));
    let host = host.unwrap_or_else(|error| panic!("{error}"));
    live::prepare(&host, "").unwrap();
    let bob = Shell::of(&host, "bob").unwrap();
    Scene { host, bob, tried: Cell::new(0) }
}

fn is_whole_sweep() -> bool {
    std::env::var("JITSUDO_SWEEP").is_ok_and(|which| which == "all")
}

fn counts() -> Vec<usize> {
    if is_whole_sweep() { vec![0, KINDS, 50] } else { vec![KINDS] }
}

impl Scene {
    fn sh(&self, line: &str) {
        self.host.sh(line).ok().unwrap_or_else(|error| panic!("{error}"));
    }

    fn left(&self) -> Vec<String> {
        live::left(&self.host).unwrap()
    }

    fn is_sound(&self, what: &str) {
        live::is_sound(&self.host).unwrap_or_else(|error| panic!("{what}: {error}"));
    }

    /// What three requests of bob's say: what was started ahead serves the first.
    fn asks(&mut self) -> String {
        let ask = "for n in 1 2 3; do timeout 20 jitsudo -n id -un; done";
        self.bob.line(ask).unwrap_or_else(|error| panic!("{error}"))
    }

    /// All that live end by their windows while the fault lasts.
    fn ends_beside(&mut self, fault: &Fault, count: usize) {
        let Fault { what, trouble, repair, keeps, says, records, lasts, waits_for } = *fault;
        let window = if count > KINDS { "40s" } else { "10s" };
        let live = Live::make_for(&self.host, count, window).unwrap_or_else(|error| panic!("{what}: {error}"));
        assert_eq!(live.gone(&self.host).unwrap(), Vec::<String>::new(), "{what}");
        let watch = Stopwatch::start();
        self.trouble(trouble);
        let said = self.asks();
        assert!(said.contains(says), "{what}: {said}");
        let over = || self.left().iter().all(|line| keeps.iter().any(|kept| line.starts_with(kept)));
        let in_time = wait_until(Duration::from_secs(60), over);
        let took = watch.elapsed();
        let left = self.left();
        let words = records.is_none_or(|words| {
            // What waits in the spool meanwhile is in the journal.
            let look = format!("journalctl -q -b -o cat -t jitsudo-spawn | grep -c '{words}'");
            wait_until(Duration::from_secs(20), || {
                self.host.sh(&look).output().is_ok_and(|found| found.stdout.trim() != "0")
            })
        });
        while watch.elapsed() < lasts {
            let kept = |line: &String| keeps.iter().any(|kept| line.starts_with(kept));
            assert!(self.left().iter().all(kept), "{what}, after {:?}: {:?}", watch.elapsed(), self.left());
            let said = self.asks();
            assert!(said.contains(says), "{what}, after {:?}: {said}", watch.elapsed());
            if let Some(words) = waits_for.filter(|_| count > 0) {
                for line in ["jitctl grants --all", "jitctl doctor; true"] {
                    let said = self.host.sh(line).output().unwrap().both();
                    let said = said.split_whitespace().collect::<Vec<_>>().join(" ");
                    assert!(said.contains(words), "{what}, after {:?}: {line}: {said}", watch.elapsed());
                }
            }
            std::thread::sleep(Duration::from_secs(5));
        }
        self.trouble(repair);
        assert!(in_time, "{what}: {left:?}");
        assert!(words || count == 0, "{what}: {records:?} is nowhere");
        let back = Stopwatch::start();
        let clean = wait_until(Duration::from_secs(40), || self.left().is_empty());
        assert!(clean, "{what}: {:?}", self.left());
        let closed = || {
            let log =
                self.host.run(&["jitctl", "log", "--all", "--json", "--limit", "100000"]).ok().unwrap_or_default();
            let is_closed =
                |id: &String| log.lines().any(|line| line.contains("\"closed\"") && line.contains(id.as_str()));
            live.ids().iter().filter(|id| !is_closed(id)).count()
        };
        assert!(wait_until(Duration::from_secs(30), || closed() == 0), "{what}: {} are not closed", closed());
        // What could not be signed meanwhile is signed within a minute.
        wait_until(Duration::from_secs(90), || self.host.run(&["jitctl", "status"]).output().unwrap().status == 0);
        self.is_sound(what);
        self.tried.set(self.tried.get() + 1);
        println!(
            "{what}: {count} grants of {window} ended within {took:?}, all was clean {:?} after that",
            back.elapsed()
        );
    }

    fn trouble(&self, lines: &[&str]) {
        for line in lines {
            match *line {
                "systemd stops" => self.host.stop_systemd(true).unwrap(),
                "systemd goes on" => self.host.stop_systemd(false).unwrap(),
                line => self.sh(line),
            }
        }
    }
}

#[test]
fn ends_and_requests_go_on_beside_a_stopped_systemd_dbus_logind_and_logs() {
    let mut scene = scene("beside");
    const STOP: &str = "kill -STOP $(pidof dbus-daemon systemd-journald systemd-logind rsyslogd)";
    const GO_ON: &str = "kill -CONT $(pidof dbus-daemon systemd-journald systemd-logind rsyslogd)";
    // With systemd stopped NSS does not answer (nss-systemd): the entries are gone, and the notes of those that are still to be looked for stay.
    let together = Fault {
        keeps: &["run/jitsudo/ends/", "var/lib/jitsudo/ends/"],
        ..Fault::of(
            "D-Bus, journald, logind, rsyslog and systemd stopped",
            &[STOP, "systemd stops"],
            &["systemd goes on", GO_ON],
        )
    };
    let singly = [
        Fault { keeps: together.keeps, ..Fault::of("systemd stopped", &["systemd stops"], &["systemd goes on"]) },
        Fault::of("D-Bus stopped", &["kill -STOP $(pidof dbus-daemon)"], &["kill -CONT $(pidof dbus-daemon)"]),
        Fault::of(
            "D-Bus gone",
            &["systemctl stop dbus.socket dbus.service"],
            &["systemctl start dbus.socket dbus.service"],
        ),
        Fault::of(
            "journald stopped",
            &["kill -STOP $(pidof systemd-journald)"],
            &["kill -CONT $(pidof systemd-journald)"],
        ),
        Fault::of(
            "journald gone",
            &[
                "systemctl stop systemd-journald.socket systemd-journald-dev-log.socket systemd-journald.service 2>/dev/null || true",
            ],
            &["systemctl start systemd-journald.socket systemd-journald-dev-log.socket systemd-journald.service"],
        ),
        Fault::of(
            "rsyslog gone",
            &["systemctl stop syslog.socket rsyslog.service"],
            &["systemctl start syslog.socket rsyslog.service"],
        ),
        Fault::of("logind stopped", &["kill -STOP $(pidof systemd-logind)"], &["kill -CONT $(pidof systemd-logind)"]),
        Fault::of(
            "logind gone",
            &["systemctl stop systemd-logind.service"],
            &["systemctl start systemd-logind.service"],
        ),
        Fault::of("systemd executed anew", &["systemctl daemon-reexec"], &[]),
        Fault::of(
            "the sweep's timer stopped",
            &["systemctl stop jitsudo-sweep.timer"],
            &["systemctl start jitsudo-sweep.timer"],
        ),
    ];
    for count in counts() {
        scene.ends_beside(&together, count);
        if is_whole_sweep() {
            singly.iter().for_each(|fault| scene.ends_beside(fault, count));
        }
    }
    println!("{} faults", scene.tried.get());
}

#[test]
fn sudoers_dropin_12_what_cannot_be_taken_back_is_pending_and_goes_once_it_can() {
    let mut scene = scene("beside-ro");
    // An entry stays as long as nobody can write the file, a drop-in as long as nobody can remove it: sudo itself ends that. All else goes.
    const ENTRY: &[&str] =
        &["etc/group is another", "etc/gshadow is another", "run/jitsudo/ends/", "var/lib/jitsudo/ends/"];
    const DROP_IN: &[&str] = &["run/jitsudo/sudoers.d/", "run/jitsudo/ends/"];
    const BOTH: &[&str] = &[
        "etc/group is another",
        "etc/gshadow is another",
        "run/jitsudo/ends/",
        "var/lib/jitsudo/ends/",
        "run/jitsudo/sudoers.d/",
    ];
    const READ_ONLY: &str = "d=/run/jitsudo/sudoers.d; mount --bind $d $d && mount -o remount,bind,ro $d";
    const DENIED: &str = "! runuser -l bob -c 'sudo -n whoami 0'";
    let records = Some("cannot take");
    let immutable = Fault {
        keeps: ENTRY,
        records,
        ..Fault::of("group file immutable", &["chattr +i /etc/group"], &["chattr -i /etc/group"])
    };
    let read_only = Fault {
        keeps: ENTRY,
        records,
        ..Fault::of("/etc read-only", &["mount --bind /etc /etc && mount -o remount,bind,ro /etc"], &["umount /etc"])
    };
    // No name can be given to another file there: EBUSY, as in a container whose file is the machine's.
    let mounted = Fault {
        keeps: ENTRY,
        records,
        ..Fault::of("group file is a mount", &["mount --bind /etc/group /etc/group"], &["umount /etc/group"])
    };
    let drop_ins = Fault {
        keeps: DROP_IN,
        records: Some("cleanup_failed"),
        ..Fault::of("drop-ins of sudo read-only", &[READ_ONLY], &[DENIED, "umount /run/jitsudo/sudoers.d"])
    };
    let both = Fault {
        keeps: BOTH,
        records,
        ..Fault::of(
            "group file immutable, drop-ins of sudo read-only",
            &["chattr +i /etc/group", READ_ONLY],
            &[DENIED, "umount /run/jitsudo/sudoers.d", "chattr -i /etc/group"],
        )
    };
    for count in counts() {
        scene.ends_beside(&both, count);
        if is_whole_sweep() {
            [&immutable, &read_only, &mounted, &drop_ins].iter().for_each(|fault| scene.ends_beside(fault, count));
        }
    }
    // While it is being given: refused in words, and nothing stays.
    for fault in [&immutable, &read_only, &mounted] {
        scene.trouble(fault.trouble);
        let refused = scene.bob.line("jitctl request live-membership-0; echo \"status $?\"").unwrap();
        scene.trouble(fault.repair);
        assert!(refused.contains("status 1") && refused.contains("cannot make bob a member"), "{refused}");
        assert!(wait_until(Duration::from_secs(20), || scene.left().is_empty()), "{:?}", scene.left());
        scene.tried.set(scene.tried.get() + 1);
    }
    scene.is_sound("refused activations");
    println!("{} faults", scene.tried.get());
}

/// The true ten minutes, beside none, six and fifty at once on hosts of their own.
#[test]
fn group_grant_01_group_file_that_is_locked_for_ten_minutes_keeps_nothing_else_and_is_tried_for_ever() {
    if !is_whole_sweep() {
        return println!("ten minutes, with JITSUDO_SWEEP=all");
    }
    // As lckpwdf(3) does, which shadow's tools begin with.
    let locked = Fault {
        keeps: &["etc/group is another", "etc/gshadow is another", "run/jitsudo/ends/", "var/lib/jitsudo/ends/"],
        records: Some("the group file is locked by locker"),
        lasts: Duration::from_secs(600),
        waits_for: Some("the group file is locked by locker (pid "),
        ..Fault::of(
            "group file locked for ten minutes",
            &[
                "printf '#!/usr/bin/python3\nimport fcntl, time\nfile = open(\"/etc/.pwd.lock\", \"w\")\nfcntl.lockf(file, fcntl.LOCK_EX)\nopen(\"/run/locked\", \"w\")\ntime.sleep(900)\n' > /usr/local/bin/locker; \
                 chmod 755 /usr/local/bin/locker; setsid /usr/local/bin/locker >/dev/null 2>&1 & echo $! > /run/locker; \
                 until [ -e /run/locked ]; do sleep 0.05; done",
            ],
            &["kill $(cat /run/locker)"],
        )
    };
    std::thread::scope(|scope| {
        for count in counts() {
            let locked = &locked;
            scope.spawn(move || scene(&format!("locked-{count}")).ends_beside(locked, count));
        }
    });
}

#[test]
fn spawner_that_can_start_nothing_gives_nothing_and_ends_all_the_same() {
    let mut scene = scene("beside-no");
    let kept = &[
        "etc/group is another",
        "etc/gshadow is another",
        "run/jitsudo/ends/",
        "var/lib/jitsudo/ends/",
        "run/jitsudo/sudoers.d/",
    ];
    // The calls fail for the spawner alone, from one moment to another.
    let no_process = Fault {
        keeps: kept,
        says: "jitsudo: cannot",
        records: Some("cannot be started"),
        ..Fault::of(
            "no process can be made",
            &[
                "calls=clone,clone3,fork,vfork; strace -qq -o /dev/null -e trace=$calls -e inject=$calls:error=EAGAIN -p $(pidof jitsudo-spawn) >/dev/null 2>&1 & \
                 echo $! > /run/tracer; while grep -q 'TracerPid:\\s0' /proc/$(pidof jitsudo-spawn)/status; do sleep 0.05; done",
            ],
            &["kill $(cat /run/tracer)"],
        )
    };
    // What is left is kept for ends, and serves them.
    let no_descriptor = Fault {
        says: "jitsudo: cannot",
        ..Fault::of(
            "few descriptors left",
            &[
                "p=$(pidof jitsudo-spawn); n=0; while [ -e /proc/$p/fd/$n ]; do n=$((n + 1)); done; prlimit --pid $p --nofile=$((n * 4 / 3)):16384",
            ],
            &["prlimit --pid $(pidof jitsudo-spawn) --nofile=16384:16384"],
        )
    };
    for count in counts() {
        scene.ends_beside(&no_process, count);
        if is_whole_sweep() {
            scene.ends_beside(&no_descriptor, count);
        }
    }
    println!("{} faults", scene.tried.get());
}

/// Linux has the greatest process id by PID namespace since 6.14; before that it is the machine's own, and no test's to set.
fn has_process_ids_of_its_own() -> bool {
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap();
    let mut numbers =
        release.split(|letter: char| !letter.is_ascii_digit()).map_while(|number| number.parse::<u32>().ok());
    let (major, minor) = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
    (major, minor) >= (6, 14)
}

/// Nothing on the whole host can be forked: no worker, no tool, no session, no helper, not by systemd or a shell either. All that can be done by
/// who lives already is done in time.
#[test]
fn host_with_no_process_left_ends_what_runs_and_takes_the_rest_back_when_it_has_one() {
    if !is_whole_sweep() || !has_process_ids_of_its_own() {
        return println!("with JITSUDO_SWEEP=all, on Linux 6.14");
    }
    for count in counts() {
        let scene = scene(&format!("forkless-{count}"));
        let host = &scene.host;
        scene.sh("mkdir /run/proc; mount -t proc proc /run/proc; for n in $(seq 320); do (:); done");
        let most = host.sh("cat /run/proc/sys/kernel/pid_max").ok().unwrap();
        let (mut root, mut asks) = (Shell::of(host, "root").unwrap(), Shell::of(host, "bob").unwrap());
        let live = Live::make_for(host, count, "60s").unwrap_or_else(|error| panic!("{error}"));
        let pids = host.sh("pgrep -xf 'sleep 50[0-9][0-9][0-9]' | tr '\n' ' '").output().unwrap().stdout;
        let watch = Stopwatch::start();
        // One number is left, and taken: below 300 they are given once.
        root.line("echo 301 > /run/proc/sys/kernel/pid_max; sleep 900 &").unwrap();
        asks.send("exec jitsudo -n id -un\n").unwrap();
        let said = asks.expect("jitsudo: ").unwrap() + &asks.expect("\n").unwrap();
        assert!(!said.contains("root"), "{said}");
        println!("asked meanwhile: {said}");
        let look = format!("for p in {pids}; do [ -e /proc/$p ] && echo \"runs $p\"; done; echo \"then $?\"");
        let mut left = String::new();
        let gone = wait_until(Duration::from_secs(90), || {
            left = root.line(&look).unwrap();
            !left.contains("runs ")
        });
        let took = watch.elapsed();
        root.line(&format!("echo {} > /run/proc/sys/kernel/pid_max; kill %1", most.trim())).unwrap();
        assert!(gone, "after {took:?}: {left}");
        let back = Stopwatch::start();
        assert!(wait_until(Duration::from_secs(60), || scene.left().is_empty()), "{:?}", scene.left());
        let clean = back.elapsed();
        let closed = || {
            let log = host.run(&["jitctl", "log", "--all", "--json", "--limit", "100000"]).ok().unwrap_or_default();
            let is_closed =
                |id: &String| log.lines().any(|line| line.contains("\"closed\"") && line.contains(id.as_str()));
            live.ids().iter().filter(|id| !is_closed(id)).count()
        };
        assert!(wait_until(Duration::from_secs(60), || closed() == 0), "{} are not closed", closed());
        // What could not be signed meanwhile is signed within a minute.
        wait_until(Duration::from_secs(90), || host.run(&["jitctl", "status"]).output().unwrap().status == 0);
        scene.is_sound("no process left");
        println!(
            "no process left: {count} grants of 60 s, what ran was gone after {took:?}, all {:?} after the first fork",
            clean
        );
    }
}
