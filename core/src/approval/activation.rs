//! What was approved is decided again before it is given: enough answers under the policy in force then, and terms that are the card's or
//! stricter.

use serde::{Deserialize, Serialize};

use super::{Answer, Case, Moment};
use crate::decision::{Record, RunAs, Terms};

/// What an approver adds to a yes; it only narrows.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Limits {
    /// At most so many seconds: of the window, and of one command.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub window: Option<u64>,
    /// At least this must be kept.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub record: Option<Record>,
}

impl Limits {
    /// Both hold.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        let window = [self.window, other.window].into_iter().flatten().min();
        Self { window, record: self.record.max(other.record) }
    }

    /// Terms with the limits in them.
    #[must_use]
    pub fn narrow(self, terms: Terms) -> Terms {
        let most = self.window.unwrap_or(u64::MAX);
        Terms {
            window: terms.window.min(most),
            run_time: terms.run_time.min(most),
            record: self.record.map_or(terms.record, |least| least.max(terms.record)),
            ..terms
        }
    }
}

/// Why an approved request cannot be activated.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Unusable {
    /// It was not used in time.
    Lapsed,
    /// By the policy in force, and by what is known of the approvers now, the answers are not enough.
    NotEnough,
    /// These terms are looser than those on the card.
    Looser(Vec<&'static str>),
}

impl Case<'_> {
    /// Whether what was approved at `approved`, on a card with the terms `card`, may be activated now by the terms `again` of a new decision.
    /// The case must be made anew as well: of the policy in force, of what is known of the requester now, and of the digest of the act that
    /// is to be started.
    ///
    /// # Errors
    /// The first thing that speaks against it.
    pub fn may_activate(
        &self,
        answers: &[Answer<'_>],
        approved: Moment,
        (card, again): (&Terms, &Terms),
        now: Moment,
    ) -> Result<(), Unusable> {
        if self.asking.use_is_over(approved, now) {
            return Err(Unusable::Lapsed);
        }
        if !self.tally(answers).enough {
            return Err(Unusable::NotEnough);
        }
        let looser = looser_than(card, again);
        if looser.is_empty() { Ok(()) } else { Err(Unusable::Looser(looser)) }
    }
}

/// The terms of `again` that are looser than those of `card`, by name; empty when they are equal or stricter.
#[must_use]
pub fn looser_than(card: &Terms, again: &Terms) -> Vec<&'static str> {
    // Taken apart whole: a term that is added has to say here what stricter means for it.
    let Terms {
        rule: _,
        source: _,
        role,
        window,
        run_time,
        start_by,
        auth,
        approvals: _,
        record,
        when_full: _,
        not_after,
        finish,
        // How it is announced, what it counts against and that it is reviewed afterwards gives nothing.
        warn: _,
        counted: _,
        break_glass: _,
        run_as,
        secret_arguments,
        joined: _,
        groups,
    } = again;
    let forever = jiff::Timestamp::MAX;
    let looser = [
        ("role", *role != card.role),
        ("window", *window > card.window),
        ("run-time", *run_time > card.run_time),
        ("start-by", *start_by > card.start_by),
        ("auth", *auth < card.auth),
        ("record", *record < card.record),
        ("not-after", not_after.unwrap_or(forever) > card.not_after.unwrap_or(forever)),
        ("at-end", *finish > card.finish),
        ("how it runs", is_looser(run_as, &card.run_as)),
        ("groups", groups.iter().any(|group| !card.groups.contains(group))),
        // What was hidden on the card may be shown later, and is recorded then; what was shown was approved as shown.
        ("secret words", secret_arguments.iter().any(|place| !card.secret_arguments.contains(place))),
    ];
    looser.into_iter().filter(|(_, is_looser)| *is_looser).map(|(name, _)| name).collect()
}

fn is_looser(again: &RunAs, card: &RunAs) -> bool {
    let RunAs { env_keep, env_free, env_set, cwd, umask, no_new_privs, leaves, safe_chain, create } = again;
    env_keep.iter().any(|name| !card.env_keep.contains(name))
        || (*env_free && !card.env_free)
        || *env_set != card.env_set
        || *cwd != card.cwd
        || *umask != card.umask
        || (!*no_new_privs && card.no_new_privs)
        || (*leaves && !card.leaves)
        || (!*safe_chain && card.safe_chain)
        || (*create && !card.create)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decision::{Auth, Cwd};

    fn terms() -> Terms {
        Terms {
            rule: "web".to_owned(),
            source: "10.toml:1".to_owned(),
            role: "web".to_owned(),
            window: 600,
            run_time: 600,
            start_by: 60,
            auth: Auth::Cached,
            approvals: 1,
            record: Record::Activity,
            when_full: false,
            not_after: None,
            finish: 60,
            warn: Vec::new(),
            counted: None,
            break_glass: None,
            run_as: RunAs {
                env_keep: vec!["A".to_owned()],
                env_free: false,
                env_set: Vec::new(),
                cwd: Cwd::Caller,
                umask: None,
                no_new_privs: false,
                leaves: false,
                safe_chain: false,
                create: false,
            },
            secret_arguments: vec![1],
            joined: Vec::new(),
            groups: Vec::new(),
        }
    }

    #[test]
    fn terms_that_are_equal_or_stricter_are_no_looser() {
        assert!(looser_than(&terms(), &terms()).is_empty());
        let mut stricter = terms();
        (stricter.window, stricter.run_time, stricter.start_by, stricter.finish) = (1, 1, 1, 0);
        (stricter.auth, stricter.record) = (Auth::Fresh, Record::Terminal);
        stricter.not_after = Some(jiff::Timestamp::UNIX_EPOCH);
        stricter.run_as.env_keep.clear();
        (stricter.run_as.no_new_privs, stricter.run_as.safe_chain) = (true, true);
        assert!(looser_than(&terms(), &stricter).is_empty());
        assert!(!looser_than(&stricter, &terms()).is_empty());
    }

    #[test]
    fn each_looser_term_is_named() {
        type Change = fn(&mut Terms);
        let lent = |terms: &mut Terms| {
            terms.groups.push(crate::facts::Group { gid: crate::name::Gid(999), name: None });
        };
        let changes: [(&str, Change); 17] = [
            ("groups", lent),
            ("role", |terms| terms.role = "other".to_owned()),
            ("window", |terms| terms.window = 601),
            ("run-time", |terms| terms.run_time = 601),
            ("start-by", |terms| terms.start_by = 61),
            ("auth", |terms| terms.auth = Auth::None),
            ("record", |terms| terms.record = Record::None),
            ("at-end", |terms| terms.finish = 61),
            ("how it runs", |terms| terms.run_as.env_keep.push("B".to_owned())),
            ("how it runs", |terms| terms.run_as.env_free = true),
            ("how it runs", |terms| terms.run_as.env_set.push(("A".to_owned(), "b".to_owned()))),
            ("how it runs", |terms| terms.run_as.cwd = Cwd::Home),
            ("how it runs", |terms| terms.run_as.umask = Some(0)),
            ("how it runs", |terms| terms.run_as.leaves = true),
            ("how it runs", |terms| terms.run_as.create = true),
            ("secret words", |terms| terms.secret_arguments.push(2)),
            ("secret words", |terms| terms.secret_arguments = vec![0, 1]),
        ];
        for (name, change) in changes {
            let mut again = terms();
            change(&mut again);
            assert_eq!(looser_than(&terms(), &again), [name]);
        }
        let mut bounded = terms();
        bounded.not_after = Some(jiff::Timestamp::UNIX_EPOCH);
        assert_eq!(looser_than(&bounded, &terms()), ["not-after"]);
    }

    #[test]
    fn limits_of_several_approvers_all_hold_and_only_narrow() {
        let limits = Limits { window: Some(300), record: None };
        let both = limits.and(Limits { window: Some(900), record: Some(Record::Terminal) });
        assert_eq!(both, Limits { window: Some(300), record: Some(Record::Terminal) });
        let narrowed = both.narrow(terms());
        assert_eq!((narrowed.window, narrowed.run_time, narrowed.record), (300, 300, Record::Terminal));
        let wide = Limits { window: Some(u64::MAX), record: Some(Record::None) };
        assert_eq!(wide.narrow(terms()), terms(), "a wide limit widens nothing");
        assert!(looser_than(&terms(), &narrowed).is_empty());
    }
}
