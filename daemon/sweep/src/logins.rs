//! Logins under roles that are over: ended by their notes, all at once, since no spawner did.
//!
//! MUSTs
//! 1. A login ends when its role is over, or is not noted any more; one whose role cannot be read ends at the end that it was opened
//!    with (`due_*`).
//! 2. Nothing is ended for running as root: `sys::login` says what belongs to a login (`sys::login::signal`).

use std::collections::BTreeSet;
use std::time::Duration;

use jitsudo_core::event::Event;
use jitsudo_core::id::AccessId;
use jitsudo_link::folder::{Folder, Named as _};
use jitsudo_link::logins::Login;
use jitsudo_link::notes::{Note, Notes};
use jitsudo_sys::login::Traces;
use jitsudo_sys::nix::libc;

use crate::over::{self, Now, Which};
use crate::record::{self, Recorder};

/// Steps of the grace between TERM and KILL, and as many again until what was killed has to be gone.
const STEPS: u32 = 20;
/// One of them.
const STEP: Duration = Duration::from_millis(50);

/// What is left.
#[derive(PartialEq, Eq, Default, Debug)]
pub(crate) struct Left {
    /// Roles of which a login runs on.
    pub(crate) of: BTreeSet<AccessId>,
    /// A note could not be read.
    pub(crate) unread: bool,
}

/// Ends those that are due. Nobody gets in meanwhile: the gate gives nothing while no spawner answers.
pub(crate) fn end(folder: &Folder<Login>, notes: &Notes, recorder: &Recorder, which: Which) -> Left {
    // Before the roles are read: a login is noted after its role, and a role is forgotten after its logins.
    let listing = folder.read_all();
    for (path, why) in &listing.garbage {
        recorder.say(&format!("cannot read the note {}: {why}; that login may go on", path.display()));
    }
    let is_due = |login: &Login| is_due(login, notes.of(&login.id), which, &record::now());
    let mut due: Vec<Login> = listing.notes.into_iter().filter(is_due).collect();
    for login in &mut due {
        let (scope, audit_session) = traces(login).found_since();
        login.scope = login.scope.take().or(scope);
        login.audit_session = login.audit_session.or(audit_session);
        // A shell minds no TERM, but its terminal's end.
        let _ = traces(login).signal(libc::SIGTERM);
        let _ = traces(login).signal(libc::SIGHUP);
    }
    let runs = |login: &Login| !traces(login).targets().is_empty();
    wait_for(|| !due.iter().any(runs));
    let mut killed = vec![0_u32; due.len()];
    wait_for(|| {
        let each = due.iter().zip(&mut killed);
        each.for_each(|(login, killed)| *killed = killed.saturating_add(traces(login).signal(libc::SIGKILL)));
        !due.iter().any(runs)
    });
    let mut left = Left { of: BTreeSet::new(), unread: !listing.garbage.is_empty() };
    for (login, killed) in due.iter().zip(killed) {
        let Login { id, account, pid, .. } = login;
        if runs(login) {
            recorder.say(&format!("{id}: a login to {account} runs on after SIGKILL"));
            left.of.insert(id.clone());
            continue;
        }
        let event = Event::LoginClosed { id: id.clone(), account: account.clone(), pid: *pid, killed };
        recorder.record(&login.host, &format!("1.login.{pid}"), event);
        if let Err(error) = folder.remove(&login.name()) {
            recorder.say(&format!("{id}: cannot remove the note of a login: {error}"));
        }
    }
    left
}

/// Whether a login ends now, by the note of its role (in words why that cannot be used).
fn is_due(login: &Login, role: Result<Option<Note>, String>, which: Which, now: &Now) -> bool {
    match role {
        Ok(Some(note)) => over::cause(&note, which, now).is_some(),
        Ok(None) => true,
        Err(_) => which == Which::All || login.ends.as_ref().is_some_and(|ends| over::has_passed(ends, now)),
    }
}

fn wait_for(mut condition: impl FnMut() -> bool) {
    for _ in 0..STEPS {
        if condition() {
            return;
        }
        std::thread::sleep(STEP);
    }
}

fn traces(login: &Login) -> Traces<'_> {
    let Login { uid, pid, start_ticks, since_ticks, audit_before, audit_session, .. } = *login;
    let (group, scope) = (login.group.as_deref(), login.scope.as_deref());
    Traces { uid, pid, start_ticks, since_ticks, group, scope, audit_before, audit_session }
}

#[cfg(test)]
mod tests {
    use super::*;
    use jitsudo_core::state::Ends;

    const ID: &str = "01jd0000000000000000000000";

    fn now(boottime_ms: u64) -> Now {
        Now { wall: "2026-01-01T00:00:00Z".parse().unwrap(), boottime_ms, boot: "b1".to_owned() }
    }

    fn login(ends: Option<Ends>) -> Login {
        let text = format!(
            r#"{{"id":"{ID}","account":"root","uid":0,"service":"sshd","pid":4,"start_ticks":7,"since_ticks":9,"group":null}}"#
        );
        Login { ends, ..serde_json::from_str(&text).unwrap() }
    }

    fn role() -> Note {
        let text = format!(
            r#"{{"id":"{ID}","host":"h","uid":1001,"user":"alice","boot":"b1",
                "ends_at":"2026-01-01T01:00:00Z","ends_boottime_ms":60000}}"#
        );
        serde_json::from_str(&text).unwrap()
    }

    #[test]
    fn due_is_what_belongs_to_a_role_that_is_over_or_gone() {
        let due = |role: Option<Note>, which, boottime_ms| is_due(&login(None), Ok(role), which, &now(boottime_ms));
        assert!(!due(Some(role()), Which::Over, 64_999), "the spawner comes first");
        assert!(due(Some(role()), Which::Over, 65_000));
        assert!(due(Some(role()), Which::All, 1));
        assert!(due(None, Which::Over, 1), "its role is forgotten");
        assert!(due(Some(Note { boot: "b0".to_owned(), ..role() }), Which::Over, 1));
    }

    #[test]
    fn due_by_its_own_end_is_what_belongs_to_a_role_that_cannot_be_read() {
        let ends = Ends { at: "2026-01-01T01:00:00Z".parse().unwrap(), boottime_ms: 60_000, boot: "b1".to_owned() };
        let due = |ends: Option<Ends>, which, ms| is_due(&login(ends), Err("garbage".to_owned()), which, &now(ms));
        assert!(!due(Some(ends.clone()), Which::Over, 64_999) && due(Some(ends.clone()), Which::Over, 65_000));
        assert!(!due(None, Which::Over, u64::MAX), "when it ends nobody can tell");
        assert!(due(None, Which::All, 1) && due(Some(ends), Which::All, 1));
    }
}
