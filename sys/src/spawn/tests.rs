use super::*;
use std::io::Write as _;
use std::process::Command;

macro_rules! say {
    ($($words:tt)*) => { writeln!(io::stdout(), $($words)*).unwrap() };
}

/// Runs a program as root by a process of one thread: this test program itself, called anew for one ignored test.
fn run_alone(name: &str) -> String {
    let own = std::env::current_exe().unwrap();
    let name = format!("spawn::tests::{name}");
    let output = Command::new(own).args(["--exact", &name, "--ignored", "--nocapture", "--test-threads=1"]).output();
    String::from_utf8(output.unwrap().stdout).unwrap()
}

fn outcome(path: &str, arguments: &[&str], change: impl FnOnce(&mut Plan<'_>)) -> Result<String, StartError> {
    let string = |text: &str| CString::new(text).unwrap();
    let (mut read, write) = io::pipe().unwrap();
    let null = File::open("/dev/null").unwrap();
    let root = File::open("/").unwrap();
    let mut plan = Plan {
        path: string(path),
        arguments: arguments.iter().map(|argument| string(argument)).collect(),
        environment: vec![string("A=b")],
        standard: [null.as_fd(), write.as_fd(), null.as_fd()],
        foreground_of: None,
        cgroup: None,
        directory: root.as_fd(),
        account: Account { uid: 0, gid: 0, groups: vec![0] },
        limits: vec![(libc::RLIMIT_CORE, 0, 0)],
        nice: 0,
        cpus: vec![],
        umask: 0o27,
        no_new_privs: false,
        hangup_ignored: true,
    };
    change(&mut plan);
    let mut child = start(&plan)?;
    drop(write);
    let executed = child.executed(10_000);
    let mut text = String::new();
    read.read_to_string(&mut text).unwrap();
    nix::sys::wait::waitpid(nix::unistd::Pid::from_raw(child.pid), None).unwrap();
    executed.map(|()| text)
}

#[test]
#[ignore = "called by the tests below in a process of its own"]
fn listing() {
    // A clean slate is no proof: the starter's is not clean.
    signals::ignore(libc::SIGPIPE);
    signals::ignore(libc::SIGCHLD);
    let _taken = signals::take(&[nix::sys::signal::Signal::SIGUSR1]).unwrap();
    signals::reset(libc::SIGCHLD);
    let script = "ls -m /proc/self/fd; grep -E '^(Sig(Blk|Ign)|Umask|Groups)' /proc/self/status; env; pwd; ulimit -c";
    say!("{}", outcome("/bin/sh", &["other-name", "-c", script], |_| {}).unwrap());
}

#[test]
fn fd_tty_02_only_the_standard_descriptors_are_open() {
    let said = run_alone("listing");
    // 3 is the listing's own.
    assert!(said.contains("0, 1, 2, 3\n"), "{said}");
    assert!(said.contains("A=b\n") && said.contains("\n/\n0\n"), "{said}");
}

#[test]
fn signal_ptrace_10_mask_and_dispositions_are_the_defaults() {
    let said = run_alone("listing");
    assert!(said.contains("SigBlk:\t0000000000000000"), "{said}");
    assert!(said.contains("SigIgn:\t0000000000000001"), "{said}");
    assert!(said.contains("Umask:\t0027"), "{said}");
}

#[test]
fn step_that_fails_is_named_and_nothing_runs() {
    let said = run_alone("failing");
    assert!(said.contains("missing Err(StartError { step: Execute, errno: ENOENT })"), "{said}");
    assert!(said.contains("format Err(StartError { step: Execute, errno: ENOEXEC })"), "{said}");
    assert!(said.contains("limits Err(StartError { step: Limits, errno: EINVAL })"), "{said}");
    assert!(said.contains("directory Err(StartError { step: Directory, errno: ENOTDIR })"), "{said}");
}

#[test]
#[ignore = "called by the test above in a process of its own"]
fn failing() {
    use std::os::unix::fs::PermissionsExt as _;
    say!("missing {:?}", outcome("/nonexistent/x", &["x"], |_| {}));
    let odd = std::env::temp_dir().join(format!("jitsudo-odd-{}", std::process::id()));
    std::fs::write(&odd, "no program").unwrap();
    std::fs::set_permissions(&odd, std::fs::Permissions::from_mode(0o755)).unwrap();
    say!("format {:?}", outcome(odd.to_str().unwrap(), &["x"], |_| {}));
    std::fs::remove_file(&odd).unwrap();
    say!("limits {:?}", outcome("/bin/true", &["x"], |plan| plan.limits.push((99, 0, 0))));
    let null = File::open("/dev/null").unwrap();
    let null: &'static File = Box::leak(Box::new(null));
    say!("directory {:?}", outcome("/bin/true", &["x"], |plan| plan.directory = null.as_fd()));
}
