//! The mark by which what the command started is found when this session is gone and nobody has looked (`link::marks`).

use std::io;
use std::path::Path;

use jitsudo_core::Timestamp;
use jitsudo_core::state::Ends;
use jitsudo_link::folder::Folder;
use jitsudo_link::marks::Mark;
use jitsudo_link::session::Spec;
use jitsudo_sys::clock;

/// Says until when what is marked may run: the session's end by both clocks, the time to finish, and the grace.
pub(crate) fn write(spec: &Spec, audit_session: Option<u32>, end: (Timestamp, u64)) -> io::Result<()> {
    folder(spec).write(&of(spec, audit_session, end, clock::boot_id()?))
}

/// What runs is the host's, and nobody's to look for.
pub(crate) fn remove(spec: &Spec) -> io::Result<()> {
    folder(spec).remove(&spec.session.to_string())
}

fn folder(spec: &Spec) -> Folder<Mark> {
    Folder::at(Path::new(&spec.marks))
}

fn of(spec: &Spec, audit_session: Option<u32>, (ends_at, boottime_ms): (Timestamp, u64), boot: String) -> Mark {
    let more_ms = spec.finish_ms.saturating_add(spec.grace_ms);
    let more = jitsudo_core::SignedDuration::from_millis(i64::try_from(more_ms).unwrap_or(i64::MAX));
    let ends = Ends {
        at: ends_at.checked_add(more).unwrap_or(ends_at),
        boottime_ms: boottime_ms.saturating_add(more_ms),
        boot,
    };
    Mark {
        session: spec.session.clone(),
        host: spec.host.clone(),
        audit_session,
        cgroup: spec.cgroup.clone(),
        ends,
        held: spec.held,
    }
}
