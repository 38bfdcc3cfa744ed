//! The host before a grant and after it: what may change anything waits for the picture, and nobody waits for the comparison.
//!
//! MUSTs
//! 1. Nothing of a role is made, and no shell and no break-glass begins, before its picture is taken or cannot be
//!    (`what_gives_waits_for_its_picture_and_for_no_comparison`, host test `session_end_03_*`).
//! 2. What waits can be ended, and is then never begun (`begin_end`).

use jitsudo_core::id::AccessId;
use jitsudo_link::spawner::{FromSpawner, Start};
use jitsudo_protocol::act::{Act, ActKind};
use jitsudo_sys::channel::Channel;
use jitsudo_sys::clock;

use super::Spawner;
use super::held::now;
use crate::comparison::Compared;
use crate::judge::Now;

/// Most starts that wait for a picture at once.
const MAX_WAITING: usize = 256;

/// A start that waits for the picture.
pub(super) struct Waiting {
    decider: u64,
    number: u64,
    start: Start,
    connection: Channel,
    act: Act,
}

/// What waits for pictures.
#[derive(Default)]
pub(super) struct Unpictured {
    starts: Vec<Waiting>,
    roles: Vec<AccessId>,
}

impl Unpictured {
    /// Accesses that are to be started once their picture is taken.
    pub(super) fn accesses(&self) -> impl Iterator<Item = &AccessId> {
        self.starts.iter().map(|waiting| &waiting.start.session.access)
    }
}

/// True for what is not on record by its words alone: anything may be done in it. A role has its picture since it was asked for, and one
/// command is what its record says.
fn is_compared(start: &Start, act: &Act) -> bool {
    let is_of_its_own = !start.held && !start.extends && start.yes.is_none();
    let is_open = matches!(act.options.kind, ActKind::Shell | ActKind::LoginShell);
    let gives_a_command = is_open || matches!(act.options.kind, ActKind::Command | ActKind::Edit);
    is_of_its_own && gives_a_command && (is_open || act.options.break_glass)
}

impl Spawner {
    /// Starts it, once its picture is there where it needs one.
    pub(super) fn start_pictured(&mut self, decider: u64, number: u64, start: Start, connection: Channel, act: Act) {
        let access = &start.session.access;
        if !is_compared(&start, &act) || self.comparison.knows(access) || self.unpictured.starts.len() >= MAX_WAITING {
            return self.start(decider, number, start, &connection, &act);
        }
        self.comparison.begin(access, now());
        self.unpictured.starts.push(Waiting { decider, number, start, connection, act });
    }

    /// True where a role's picture is still to be taken: it is gone on with then.
    pub(super) fn waits_for_picture(&mut self, id: &AccessId) -> bool {
        let waits = self.comparison.is_awaited(id);
        if waits && !self.unpictured.roles.contains(id) {
            self.unpictured.roles.push(id.clone());
        }
        waits
    }

    /// Ends a start that waits; false when there is none.
    pub(super) fn end_unpictured(&mut self, id: &AccessId) -> bool {
        let is_meant = |waiting: &Waiting| waiting.start.session.access == *id;
        let Some(place) = self.unpictured.starts.iter().position(is_meant) else { return false };
        let Waiting { decider, number, start, .. } = self.unpictured.starts.remove(place);
        self.refuse(decider, number, &start, "it was ended before it was given", false);
        true
    }

    /// A decider is gone: who waits for its word is told by the next one.
    pub(super) fn forget_unpictured_of(&mut self, decider: u64) {
        let (gone, waiting) =
            std::mem::take(&mut self.unpictured.starts).into_iter().partition(|waiting| waiting.decider == decider);
        self.unpictured.starts = waiting;
        let gone: Vec<Waiting> = gone;
        gone.iter().for_each(|waiting| self.comparison.forget(&waiting.start.session.access));
    }

    /// What grants may have left.
    pub(super) fn compare_the_host(&mut self, now: Now) {
        let now_ms = now.boottime_ms;
        let (over, given_up) = self.grants.gone();
        over.into_iter().for_each(|id| self.comparison.end(id, now));
        given_up.iter().for_each(|id| self.comparison.forget(id));
        for compared in self.comparison.give_up_the_late(now_ms) {
            self.compared(compared);
        }
        for compared in self.comparison.start_due(&self.host, now_ms) {
            self.compared(compared);
        }
        self.go_on_with_the_pictured();
    }

    /// A picture is taken, or cannot be: then the comparison says so.
    pub(super) fn picture_taken(&mut self) {
        let pictured = self.comparison.pictured();
        self.compared(pictured);
        // The next one at once: others wait for it.
        for compared in self.comparison.start_due(&self.host, clock::boottime_ms()) {
            self.compared(compared);
        }
        self.go_on_with_the_pictured();
    }

    pub(super) fn host_compared(&mut self) {
        let compared = self.comparison.outcome(clock::boottime_ms());
        self.compared(compared);
    }

    fn go_on_with_the_pictured(&mut self) {
        let comparison = &self.comparison;
        let (waiting, starts): (Vec<Waiting>, Vec<Waiting>) = std::mem::take(&mut self.unpictured.starts)
            .into_iter()
            .partition(|waiting| comparison.is_awaited(&waiting.start.session.access));
        let (unpictured, roles): (Vec<AccessId>, Vec<AccessId>) =
            std::mem::take(&mut self.unpictured.roles).into_iter().partition(|id| comparison.is_awaited(id));
        (self.unpictured.starts, self.unpictured.roles) = (waiting, unpictured);
        for Waiting { decider, number, start, connection, act } in starts {
            self.start(decider, number, start, &connection, &act);
        }
        for id in roles {
            let is_wanted = |on_host: &crate::grants::OnHost| on_host.activating && on_host.failed.is_none();
            if self.grants.find(&id).is_some_and(|grant| is_wanted(&grant.on_host)) {
                self.go_on(&id);
            }
        }
    }

    fn compared(&mut self, compared: Compared) {
        match compared {
            Compared::Nothing => {}
            Compared::Spooled => self.say_to_all(&FromSpawner::Spooled),
            Compared::Trouble(cause) => {
                self.recorder.say(&format!("cannot compare the host before and after grants: {cause}"))
            }
        }
    }
}
