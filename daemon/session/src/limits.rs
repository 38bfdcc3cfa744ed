//! Resource limits: the command gets the requester's, and on top what PAM modules (pam_limits) set on the process that opens the
//! session. That is this one, which must not itself run out of anything: so dangerous ones are only compared, not worn.

use jitsudo_link::facts::Process;
use jitsudo_sys::limits::{self, Limit};
use jitsudo_sys::nix::libc;

/// Fewest open files with which this process still works.
const ENOUGH_FILES: u64 = 256;

/// Limits worn while PAM opens the session.
pub(crate) struct Lent {
    resources: Vec<Resource>,
    own_nice: i32,
    nice: i32,
}

struct Resource {
    number: u32,
    own: Limit,
    worn: Limit,
    requester: Limit,
}

impl Lent {
    /// Puts on what the requester has, as far as that is harmless.
    pub(crate) fn lend(process: &Process) -> Self {
        let mut resources = Vec::new();
        for (number, soft, hard) in &process.limits {
            let (number, hard) = (*number, *hard);
            let Ok(own) = limits::of(number) else { continue };
            // A core of a privileged program is for whoever is root to ask for.
            let soft = if number == libc::RLIMIT_CORE { 0 } else { *soft };
            let requester = Limit { soft, hard };
            let worn = if may_be_worn(number, soft) { requester } else { own };
            let worn = if limits::set(number, worn).is_ok() { worn } else { own };
            resources.push(Resource { number, own, worn, requester });
        }
        let own_nice = limits::nice();
        Self { resources, own_nice, nice: process.nice }
    }

    /// Puts them off again, and gives what the command gets.
    pub(crate) fn take_back(self) -> (Vec<(u32, u64, u64)>, i32) {
        let mut given = Vec::new();
        for Resource { number, own, worn, requester } in &self.resources {
            let now = limits::of(*number).unwrap_or(*worn);
            let limit = if now == *worn { *requester } else { now };
            given.push((*number, limit.soft, limit.hard));
            // Root may always set its own limits; what it had was valid.
            let _ = limits::set(*number, *own);
        }
        let nice = match limits::nice() {
            now if now == self.own_nice => self.nice,
            set => {
                let _ = limits::set_nice(self.own_nice);
                set
            }
        };
        (given, nice)
    }
}

/// False for limits that could end or cripple this process.
fn may_be_worn(number: u32, soft: u64) -> bool {
    match number {
        libc::RLIMIT_CPU
        | libc::RLIMIT_FSIZE
        | libc::RLIMIT_DATA
        | libc::RLIMIT_STACK
        | libc::RLIMIT_RSS
        | libc::RLIMIT_AS
        | libc::RLIMIT_NPROC
        | libc::RLIMIT_RTTIME => false,
        libc::RLIMIT_NOFILE => soft >= ENOUGH_FILES,
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn process(limits: Vec<(u32, u64, u64)>) -> Process {
        Process {
            start_ticks: 0,
            tty: 0,
            tty_name: None,
            nice: 7,
            cpus: vec![],
            limits,
            hangup_ignored: false,
            umask: 0,
            leader: (0, 0),
            audit_session: None,
            mount_namespace: 0,
        }
    }

    #[test]
    fn requester_limits_reach_the_command_and_what_pam_sets_wins() {
        let files = limits::of(libc::RLIMIT_NOFILE).unwrap();
        let size = limits::of(libc::RLIMIT_FSIZE).unwrap();
        let asked = vec![
            (libc::RLIMIT_CORE, 99, limits::of(libc::RLIMIT_CORE).unwrap().hard),
            (libc::RLIMIT_NOFILE, 300, files.hard),
            (libc::RLIMIT_FSIZE, 0, 0),
        ];
        let lent = Lent::lend(&process(asked));
        // The requester's `ulimit -f 0` must not keep this process from writing its record.
        assert_eq!(limits::of(libc::RLIMIT_FSIZE).unwrap(), size);
        assert_eq!(limits::of(libc::RLIMIT_NOFILE).unwrap().soft, 300);
        limits::set(libc::RLIMIT_NOFILE, Limit { soft: 400, hard: files.hard }).unwrap();
        let (given, nice) = lent.take_back();
        assert_eq!(
            given.iter().map(|one| (one.0, one.1)).collect::<Vec<_>>(),
            [(libc::RLIMIT_CORE, 0), (libc::RLIMIT_NOFILE, 400), (libc::RLIMIT_FSIZE, 0)]
        );
        assert_eq!(nice, 7);
        assert_eq!(limits::of(libc::RLIMIT_NOFILE).unwrap(), files);
    }
}
