//! The package on real hosts: what it installs, what it leaves alone, how it goes.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on must fail")]

use std::time::Duration;

use jitsudo_tests::story::{EVERYTHING, apply_policy, install};
use jitsudo_tests::{Error, Host, Options, Root, package_file, wait_until};

fn host(name: &str, suite: &str) -> Host {
    let booted = || -> Result<Host, Error> {
        let host = Host::boot(name, &Root::debian(suite)?, Options::default())?;
        install(&host, &package_file()?)?;
        Ok(host)
    };
    booted().unwrap_or_else(|error| panic!("{error}"))
}

/// `path mode owner group` of everything below some folders.
fn listing(host: &Host, folders: &str) -> String {
    host.sh(&format!("find {folders} -printf '%p %m %u %g\\n' | sort")).ok().unwrap_or_else(|error| panic!("{error}"))
}

fn installs_runs_and_goes(suite: &str) {
    let host = host("pkg", suite);
    let active = "systemctl is-active jitsudod.socket jitsudod.service jitsudo-spawn.socket jitsudo-spawn.service";
    let verify = "systemd-analyze verify --man=no /usr/lib/systemd/system/jitsudo*.{socket,service,timer,path}";
    assert_eq!(host.sh(verify).output().unwrap().both(), "", "systemd must understand every line of the units");
    assert_eq!(host.sh(active).output().unwrap().stdout, "active\n".repeat(4));
    assert_eq!(host.sh("systemctl list-units --failed --no-legend").ok().unwrap(), "");
    let sweeps = "systemctl is-enabled jitsudo-sweep.timer jitsudo-sweep-boot.service jitsudo-front.path; systemctl is-active jitsudo-sweep.timer jitsudo-front.path";
    assert_eq!(host.sh(sweeps).output().unwrap().stdout, "enabled\nenabled\nenabled\nactive\nactive\n");
    let places = "/run/jitsudo /run/jitsudo/sessions /run/jitsudo/ends /run/jitsudo/sudoers.d /var/lib/jitsudo \
                  /var/lib/jitsudo/ends /var/lib/jitsudo/ledger /var/lib/jitsudo/policy \
                  /var/lib/jitsudo/spool /var/lib/jitsudo/recordings /run/jitsudo/socket /run/jitsudo/spawner";
    let modes = host.sh(&format!("stat -c '%n %a %U:%G' {places}")).ok().unwrap();
    assert_eq!(
        modes,
        "/run/jitsudo 755 root:root\n\
         /run/jitsudo/sessions 700 root:root\n\
         /run/jitsudo/ends 700 root:root\n\
         /run/jitsudo/sudoers.d 700 root:root\n\
         /var/lib/jitsudo 755 root:root\n\
         /var/lib/jitsudo/ends 700 root:root\n\
         /var/lib/jitsudo/ledger 700 _jitsudo:_jitsudo\n\
         /var/lib/jitsudo/policy 750 root:_jitsudo\n\
         /var/lib/jitsudo/spool 2750 root:_jitsudo\n\
         /var/lib/jitsudo/recordings 700 root:root\n\
         /run/jitsudo/socket 666 root:root\n\
         /run/jitsudo/spawner 600 _jitsudo:_jitsudo\n"
    );
    let decider = host.sh("ps -o user= -C jitsudod").ok().unwrap();
    assert_eq!(decider.trim(), "_jitsudo", "the decider must have its own account");
    let capabilities = host.sh("grep CapEff /proc/$(pidof jitsudod)/status").ok().unwrap();
    assert_eq!(capabilities, "CapEff:\t0000000000000000\n", "the decider must have no capability");

    // An administrator's change outlives the package; the package's own files do not outlive it.
    host.sh("echo '# mine' >> /etc/jitsudo/jitsudod.toml").ok().unwrap();
    host.sh("DEBIAN_FRONTEND=noninteractive apt-get remove -y -qq jitsudo").ok().unwrap();
    assert_eq!(host.sh("grep -c mine /etc/jitsudo/jitsudod.toml").ok().unwrap(), "1\n");
    assert_eq!(host.sh("pgrep jitsudo").output().unwrap().status, 1, "no program of ours may run on");
    host.sh("DEBIAN_FRONTEND=noninteractive apt-get purge -y -qq jitsudo").ok().unwrap();
    assert_eq!(listing(&host, "/etc /usr /run -xdev -iname '*jitsudo*'"), "");
    // Evidence stays.
    host.run(&["test", "-d", "/var/lib/jitsudo/ledger"]).ok().unwrap();
    // To save space the roots of tests leave manuals out, which other hosts do not.
    host.sh("rm $(grep -l share/man /etc/dpkg/dpkg.cfg.d/*)").ok().unwrap();
    install(&host, &package_file().unwrap()).unwrap();
    assert_eq!(host.sh(active).output().unwrap().stdout, "active\n".repeat(4));
    manuals_are_as_they_were_written(&host);
}

/// The pages that `cargo xtask lint` formats, where man(1) looks for them.
fn manuals_are_as_they_were_written(host: &Host) {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../man");
    let mut pages = 0;
    for page in std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap()) {
        let name = page.file_name().to_string_lossy().into_owned();
        let (_, section) = name.rsplit_once('.').unwrap();
        let installed = host.sh(&format!("zcat /usr/share/man/man{section}/{name}.gz")).ok().unwrap();
        assert_eq!(installed, std::fs::read_to_string(page.path()).unwrap(), "{name}");
        pages += 1;
    }
    assert!(pages >= 6, "only {pages} manuals");
}

#[test]
fn crash_recovery_07_removal_ends_what_runs_and_leaves_its_record() {
    let host = host("removal", "bookworm");
    apply_policy(&host, EVERYTHING).unwrap();
    let runs = || host.sh("pgrep -x sleep").output().unwrap().status == 0;
    std::thread::scope(|scope| {
        let line = "jitsudo bash -c 'trap \"\" TERM; while :; do sleep 4740; done'";
        let client = scope.spawn(|| host.sh(line).as_user("alice").output().unwrap());
        assert!(wait_until(Duration::from_secs(10), runs));
        host.sh("DEBIAN_FRONTEND=noninteractive apt-get purge -y -qq jitsudo").ok().unwrap();
        assert!(!runs(), "a command outlived the package that gave it");
        assert_ne!(client.join().unwrap().status, 0);
    });
    let gone = || host.sh("pgrep jitsudo").output().unwrap().status == 1;
    assert!(wait_until(Duration::from_secs(5), gone), "{}", host.sh("ps ax").ok().unwrap());
    let record = host.sh("cat /var/lib/jitsudo/ledger/*.jsonl").ok().unwrap();
    assert!(record.contains("session_exit") && record.contains("\"closed\""), "{record}");
    assert_eq!(host.sh("id -un").as_user("alice").output().unwrap().stdout, "alice\n", "logins must go on");
}

#[test]
fn bookworm_package_installs_runs_and_goes() {
    installs_runs_and_goes("bookworm");
}

#[test]
fn trixie_package_installs_runs_and_goes() {
    installs_runs_and_goes("trixie");
}

#[test]
fn package_brings_no_setuid_file_and_no_file_that_others_may_write() {
    let host = host("setuid", "bookworm");
    // The roots of tests leave manuals out.
    let ours = host.sh("dpkg-query -L jitsudo | grep -v /share/man | sort -u").ok().unwrap();
    assert!(ours.contains("/usr/bin/jitsudo\n") && ours.contains("/usr/libexec/jitsudo/jitsudo-spawn\n"), "{ours}");
    let bad = "dpkg-query -L jitsudo | grep -v /share/man | xargs -d '\\n' -I{} find {} -maxdepth 0 '(' -perm /6000 -o ! -type l -perm /022 ')'";
    assert_eq!(host.sh(bad).ok().unwrap(), "");
    let capable = host.sh("python3 -c 'import os,sys; [print(p) for p in sys.stdin.read().split() if \"security.capability\" in os.listxattr(p)]'");
    assert_eq!(capable.stdin(ours.replace("/.\n", "")).ok().unwrap(), "");
    // Whatever it made when it was installed and started, too.
    let made = host.sh("find / -xdev -perm /4000 -newer /root/jitsudo.deb -type f").ok().unwrap();
    assert_eq!(made, "");
    let linked = host
        .sh("file=/usr/bin/jitsudo; python3 -c \"print(b'/ld-linux' in open('$file','rb').read(4096))\"")
        .ok()
        .unwrap();
    assert_eq!(linked, "False\n", "the client must need no loader and no library");
}
