//! Points at which a build for tests dies on request, as by kill -9: between two steps that are each durable by themselves.
//!
//! Without the feature `failpoints` a point is nothing, and the package that is shipped is built without it (host test
//! `shipped_programs_have_no_point_to_die_at`). With it, `/run/jitsudo-failpoint` names the point: `NAME [SKIP [PID [stop]]]`. Whoever comes
//! there for the SKIP-th time after the first dies, if PID is its own, 0 or absent, and removes the file before, where it may: a program that
//! is started again does not die again. With `stop` it stops there, as by SIGSTOP: what the disk has then is what a power cut leaves.
//!
//! MUST: only root says where to die, and only root can tell a program to (`file_of_anybody_else_is_no_order`).

/// Goes on, or dies here.
#[cfg(not(feature = "failpoints"))]
#[inline(always)]
pub fn reach(_name: &'static str) {}

/// The same, for a step that is done about several kinds of things: `NAME:KIND`.
#[cfg(not(feature = "failpoints"))]
#[inline(always)]
pub fn reach_with(_name: &'static str, _kind: &str) {}

#[cfg(feature = "failpoints")]
pub use on_request::{reach, reach_with};

#[cfg(feature = "failpoints")]
mod on_request {
    use std::path::Path;
    use std::sync::atomic::{AtomicU32, Ordering};

    use nix::sys::signal::{Signal, kill, raise};
    use nix::unistd::Pid;

    const ORDER: &str = "/run/jitsudo-failpoint";
    const MAX_BYTES: u64 = 256;
    /// How often this process came to the point that is named.
    static TIMES: AtomicU32 = AtomicU32::new(0);

    /// Goes on, or dies here.
    pub fn reach(name: &'static str) {
        reach_with(name, "");
    }

    /// The same, for a step that is done about several kinds of things: `NAME:KIND`.
    pub fn reach_with(name: &'static str, kind: &str) {
        let order = crate::trusted::read(Path::new(ORDER), MAX_BYTES).ok().flatten().unwrap_or_default();
        if !is_meant(&String::from_utf8_lossy(&order), name, kind, std::process::id(), || {
            TIMES.fetch_add(1, Ordering::Relaxed)
        }) {
            return;
        }
        // The decider may not: its order names it by its pid.
        let _ = std::fs::remove_file(ORDER);
        if String::from_utf8_lossy(&order).split_whitespace().nth(3) == Some("stop") {
            let _ = raise(Signal::SIGSTOP);
            return;
        }
        let _ = kill(Pid::this(), Signal::SIGKILL);
        std::process::abort();
    }

    /// Whether this process is to die here, now.
    pub(super) fn is_meant(order: &str, name: &str, kind: &str, own: u32, times: impl FnOnce() -> u32) -> bool {
        let mut words = order.split_whitespace();
        let (wanted, wanted_kind) = words.next().map_or(("", ""), |word| word.split_once(':').unwrap_or((word, "")));
        let (skip, pid) = (words.next().map(str::parse::<u32>), words.next().map(str::parse::<u32>));
        let is_here = wanted == name && (wanted_kind.is_empty() || wanted_kind == kind);
        is_here
            && pid.is_none_or(|pid| pid == Ok(own) || pid == Ok(0))
            && times() >= skip.and_then(Result::ok).unwrap_or(0)
    }
}

#[cfg(all(test, feature = "failpoints"))]
mod tests {
    use super::on_request::is_meant;

    #[test]
    fn order_names_point_kind_times_and_process() {
        let meant = |order: &str, times: u32| is_meant(order, "spawner.record", "active", 7, || times);
        for order in [
            "spawner.record",
            "spawner.record:active",
            "spawner.record 0 7\n",
            "spawner.record:active 2 7",
            "spawner.record 0 0 stop",
        ] {
            assert!(meant(order, 2), "{order}");
        }
        for order in [
            "",
            "spawner.recor",
            "spawner.record:ended",
            "spawner.record 3",
            "spawner.record 0 8",
            "spawner.record 0 x",
        ] {
            assert!(!meant(order, 2), "{order}");
        }
        assert!(is_meant("a", "a", "", 1, || 0) && !is_meant("a:b", "a", "", 1, || 0));
    }

    #[test]
    fn file_of_anybody_else_is_no_order() {
        // Read as every file is that decides about rights: root's (or this account's), writable by nobody else.
        let path = std::env::temp_dir().join(format!("jitsudo-failpoint-{}", std::process::id()));
        std::fs::write(&path, "a").unwrap();
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o666);
        std::fs::set_permissions(&path, mode).unwrap();
        assert!(crate::trusted::read(&path, 256).is_err());
        std::fs::remove_file(&path).unwrap();
    }
}
