//! Joins every matching require into a candidate's terms and says whether the request meets them.
//!
//! MUST: joining only ever strengthens (`adding_a_deny_or_require_*`); an obligation that cannot be honoured gives nothing.

use crate::conditions::Setting;
use crate::cover::Candidate;
use crate::decision::{Auth, Cause, Cwd, Glass, Record, RunAs, Terms};
use crate::hours::{duration_as_typed, duration_in_words};
use crate::past::{Counted, Room};
use crate::request::Kind;
use crate::rule::{Approval, Approvers, BreakGlass, Budget, Need, Obligations, Require, Role};
use crate::subject::Subject;

/// `window` of an allow that names none, seconds.
pub(crate) const WINDOW: u64 = 3600;
/// `run-time` likewise.
pub(crate) const RUN_TIME: u64 = 12 * 3600;
/// `start-by` likewise.
pub(crate) const START_BY: u64 = 300;

/// `warn` likewise.
pub(crate) fn warnings() -> Vec<u64> {
    vec![300, 60]
}
/// Break-glass is never without a reason.
static ANY_REASON: Need = Need { min_length: 1, pattern: None, verify: None };

/// A candidate's terms with everything joined.
#[derive(Clone, Debug)]
pub(crate) struct Joined<'a> {
    window: u64,
    run_time: u64,
    auth: Auth,
    approvals: Vec<&'a Approval>,
    reasons: Vec<&'a Need>,
    tickets: Vec<&'a Need>,
    /// Forms that a ticket must have if one is given, though none is needed.
    tickets_if_given: Vec<&'a Need>,
    record: Record,
    finish: u64,
    /// A rule says how long one command may run.
    limits_commands: bool,
    /// A watch or a ticket check: not expressed in [`Terms`].
    beyond: bool,
    budgets: Vec<&'a Budget>,
    /// Seconds that the budgets leave at most.
    left: Option<u64>,
    /// What speaks against it whatever is asked: a budget that is used up, a review that was not done.
    closed: Option<Unmet>,
    names: Vec<&'a str>,
}

/// Why a candidate that covers the request does not give it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Unmet {
    pub(crate) cause: Cause,
    pub(crate) words: String,
}

impl<'a> Joined<'a> {
    /// The allow's own terms.
    pub(crate) fn of(candidate: &Candidate<'a>) -> Self {
        let terms = &candidate.allow.terms;
        let mut joined = Self {
            window: terms.window.unwrap_or(WINDOW),
            run_time: terms.run_time.unwrap_or(RUN_TIME),
            auth: terms.auth.unwrap_or(Auth::Cached),
            approvals: terms.approval.as_deref().into_iter().collect(),
            reasons: terms.reason.as_deref().into_iter().collect(),
            tickets: terms.ticket.as_deref().into_iter().collect(),
            tickets_if_given: Vec::new(),
            record: terms.record.unwrap_or(Record::None),
            finish: terms.finish.unwrap_or(0),
            limits_commands: terms.run_time.is_some(),
            beyond: is_beyond(terms),
            budgets: terms.budget.iter().collect(),
            left: None,
            closed: None,
            names: Vec::new(),
        };
        if let Some(glass) = &candidate.allow.break_glass {
            joined.window = glass.window;
            joined.auth = Auth::Fresh;
            joined.approvals.clear();
            joined.reasons.push(&ANY_REASON);
        }
        joined
    }

    /// Step 3 for one require.
    pub(crate) fn join(&mut self, require: &'a Require, break_glass: bool) {
        let terms = &require.terms;
        self.names.push(&require.name);
        self.reasons.extend(terms.reason.as_deref());
        self.record = self.record.max(terms.record.unwrap_or(Record::None));
        if break_glass {
            self.tickets_if_given.extend(terms.ticket.as_deref());
            return;
        }
        self.tickets.extend(terms.ticket.as_deref());
        self.window = self.window.min(terms.window.unwrap_or(u64::MAX));
        self.run_time = self.run_time.min(terms.run_time.unwrap_or(u64::MAX));
        self.limits_commands |= terms.run_time.is_some();
        self.auth = self.auth.max(terms.auth.unwrap_or(Auth::None));
        self.finish = self.finish.min(terms.finish.unwrap_or(u64::MAX));
        self.beyond |= is_beyond(terms);
        self.approvals.extend(terms.approval.as_deref());
        self.budgets.extend(&terms.budget);
    }

    /// Looks at what was given before: how much the budgets leave, and whether break-glass waits for a review.
    pub(crate) fn count(&mut self, setting: &Setting<'_>, candidate: &Candidate<'_>) {
        let role = candidate.role_name;
        if let Some(glass) = &candidate.allow.break_glass {
            self.closed = unreviewed(setting, glass, role);
        }
        if self.budgets.is_empty() {
            return;
        }
        let counted = Counted::of(setting.past, setting, &candidate.allow.name);
        for budget in &self.budgets {
            match counted.room(budget, setting.now) {
                Room::Left(left) => self.left = self.left.into_iter().chain(left).min(),
                Room::None(words) => {
                    let unmet = Unmet { cause: Cause::BudgetUsed, words: format!("role {role}: {words}") };
                    self.closed = self.closed.take().or(Some(unmet));
                    self.left = Some(0);
                }
            }
        }
    }

    /// The same for more time of what is given already: that is no further use.
    pub(crate) fn count_time(&mut self, setting: &Setting<'_>, candidate: &Candidate<'_>) {
        let timed: Vec<Budget> = self.budgets.iter().map(|budget| Budget { uses: None, ..**budget }).collect();
        let timed: Vec<&Budget> = timed.iter().filter(|budget| budget.time.is_some()).collect();
        let mut only_time = Joined { budgets: timed, closed: None, left: None, ..self.clone() };
        only_time.count(setting, candidate);
        let (left, closed) = (only_time.left, only_time.closed);
        (self.left, self.closed) = (left, closed);
    }

    /// False when nothing that is asked for could make it given now.
    pub(crate) fn is_open(&self) -> bool {
        self.closed.is_none()
    }

    /// Persons needed.
    pub(crate) fn persons(&self) -> u32 {
        self.needs().into_iter().map(Approvers::persons).fold(0, u32::saturating_add)
    }

    /// What other people are asked for: in the same words by several rules is asked once.
    pub(crate) fn needs(&self) -> Vec<&'a Approvers> {
        let mut needs: Vec<&'a Approvers> = Vec::new();
        for approval in &self.approvals {
            if !needs.contains(&&approval.need) {
                needs.push(&approval.need);
            }
        }
        needs
    }

    pub(crate) fn approvals(&self) -> &[&'a Approval] {
        &self.approvals
    }
    pub(crate) fn auth(&self) -> Auth {
        self.auth
    }
    pub(crate) fn window(&self) -> u64 {
        self.window.min(self.left.unwrap_or(u64::MAX))
    }
    pub(crate) fn run_time(&self) -> u64 {
        self.run_time.min(self.left.unwrap_or(u64::MAX))
    }
    pub(crate) fn record(&self) -> Record {
        self.record
    }
    pub(crate) fn needs_reason(&self) -> bool {
        !self.reasons.is_empty()
    }
    pub(crate) fn needs_ticket(&self) -> bool {
        !self.tickets.is_empty()
    }

    /// Compares the joined terms with what the request brings.
    pub(crate) fn check(&self, setting: &Setting<'_>, candidate: &Candidate<'_>) -> Result<(), Unmet> {
        let unmet = |cause: Cause, words: String| Err(Unmet { cause, words });
        let role = candidate.role_name;
        if self.beyond {
            return unmet(
                Cause::NotSupported,
                format!("role {role} is bound to something that this version cannot do yet"),
            );
        }
        if setting.request.kind == Kind::Validate {
            // Nothing is given that a reason could be for.
            return Ok(());
        }
        if let Some(words) = self.not_honoured(setting, candidate) {
            return unmet(Cause::Obligation, words);
        }
        if let Err(words) = setting.lent(candidate) {
            return unmet(Cause::NoGroup, words);
        }
        if let Some(closed) = &self.closed {
            return Err(closed.clone());
        }
        if let Some(asked) = setting.request.window
            && asked > self.window()
        {
            let (most, typed) = (duration_in_words(self.window()), duration_as_typed(self.window()));
            let given = if self.window() < self.window { "has left of its budget" } else { "is given for at most" };
            return unmet(Cause::WindowTooLong, format!("role {role} {given} {most}: ask with --for {typed}"));
        }
        if let Some(words) = missing(&self.reasons, setting.request.reason.as_deref(), "reason") {
            return unmet(Cause::ReasonNeeded, format!("role {role} needs a reason{words}: -m WHY"));
        }
        let given = setting.request.ticket.as_deref();
        let if_given = if given.is_some() { missing(&self.tickets_if_given, given, "ticket") } else { None };
        if let Some(words) = missing(&self.tickets, given, "ticket").or(if_given) {
            return unmet(Cause::TicketNeeded, format!("role {role} needs a ticket{words}: --ticket ID"));
        }
        Ok(())
    }

    /// What an effect of a role request cannot keep to, and what could.
    fn not_honoured(&self, setting: &Setting<'_>, candidate: &Candidate<'_>) -> Option<String> {
        if setting.request.kind != Kind::Role {
            return None;
        }
        // A group is its sessions': each of them is recorded and ends.
        let first = |part: &Role| {
            let lists = [("membership of", &part.membership), ("sudoers line", &part.sudoers), ("login", &part.login)];
            lists.into_iter().find_map(|(kind, list)| list.first().map(|one| format!("{kind} {one}")))
        };
        let effect = setting.parts(Some(candidate.role)).find_map(first)?;
        let role = candidate.role_name;
        let gives_commands = |part: &Role| !part.run.is_empty() || part.shell || !part.groups.is_empty();
        let runs = setting.parts(Some(candidate.role)).any(gives_commands);
        let otherwise = if runs {
            format!("use jitsudo --role {role} CMD")
        } else {
            format!("have `run` in role {role}: only commands can")
        };
        if self.record != Record::None {
            return Some(format!("{effect} cannot be recorded; {otherwise}"));
        }
        // What lasts no longer than one command may run keeps to that.
        let window = setting.request.window.unwrap_or(self.window).min(self.window);
        if self.limits_commands && window > self.run_time {
            let most = crate::hours::duration_in_words(self.run_time);
            let typed = crate::hours::duration_as_typed(self.run_time);
            return Some(format!(
                "{effect} cannot end each command after {most}: ask with --for {typed}, or {otherwise}"
            ));
        }
        None
    }

    /// The terms of the answer.
    pub(crate) fn terms(self, setting: &Setting<'_>, candidate: Candidate<'a>) -> Terms {
        let (allow, part) = (candidate.allow, candidate.part);
        // Nothing is given that a person could say yes to.
        let approvals = if setting.request.kind == Kind::Validate { 0 } else { self.persons() };
        let record = match self.record {
            Record::Terminal if !setting.request.terminal => Record::Activity,
            other => other,
        };
        let cut = crate::hours::cut_at(&allow.when.hours, &setting.policy.zones, setting.now);
        let not_after = [cut, allow.when.not_after].into_iter().flatten().min();
        let (most, run_time) = (self.window(), self.run_time());
        let counted = self.budgets.iter().map(|budget| budget.per).max();
        let named = |subjects: &[Subject]| subjects.iter().map(|one| setting.policy.subject_name(one)).collect();
        let break_glass = allow
            .break_glass
            .as_ref()
            .map(|glass| Glass { reviewers: named(&glass.reviewers), tell: named(&glass.tell) });
        let mut joined: Vec<String> = self.names.into_iter().map(str::to_owned).collect();
        joined.sort_unstable();
        // Checked: nothing that is not known is given.
        let groups = setting.lent(&candidate).unwrap_or_default();
        Terms {
            rule: allow.name.clone(),
            source: allow.source.clone(),
            role: candidate.role_name.to_owned(),
            window: setting.request.window.unwrap_or(most).min(most),
            run_time,
            start_by: allow.start_by.unwrap_or(START_BY),
            auth: self.auth,
            approvals,
            record,
            when_full: allow.when_full,
            not_after,
            finish: self.finish,
            warn: allow.warn.as_ref().map_or_else(warnings, |warn| warn.iter().rev().copied().collect()),
            counted,
            break_glass,
            run_as: RunAs {
                env_keep: part.env_keep.clone(),
                env_free: part.can_run_every_command(),
                env_set: part.env_set.clone(),
                cwd: part.cwd.clone().unwrap_or(Cwd::Caller),
                umask: part.umask,
                no_new_privs: part.no_new_privs,
                leaves: part.leaves,
                safe_chain: candidate.cover.safe_chain,
                create: part.create,
            },
            secret_arguments: candidate.cover.secrets,
            joined,
            groups,
        }
    }
}

fn is_beyond(terms: &Obligations) -> bool {
    let verifies = terms.ticket.as_ref().is_some_and(|need| need.verify.is_some());
    verifies || terms.watch.is_some()
}

/// A use of break-glass that was not reviewed keeps the next one from being given, by whichever rule it was.
fn unreviewed(setting: &Setting<'_>, glass: &BreakGlass, role: &str) -> Option<Unmet> {
    let cause = Cause::ReviewNeeded;
    if setting.past.is_full() {
        return Some(Unmet { cause, words: "too many uses of break-glass wait for a review on this host".to_owned() });
    }
    let waiting: Vec<_> = setting.past.unreviewed_of(setting).collect();
    let first = waiting.first().filter(|_| u64::try_from(waiting.len()).is_ok_and(|count| count >= glass.uses))?;
    let ago = setting.now.as_second().saturating_sub(first.at.as_second());
    let ago = duration_in_words(u64::try_from(ago).unwrap_or(0));
    let by: Vec<String> = glass.reviewers.iter().map(|one| setting.policy.subject_name(one)).collect();
    let words = format!(
        "break-glass {} of {ago} ago waits for its review by {}: role {role} is not given before",
        first.id.short(),
        by.join(", "),
    );
    Some(Unmet { cause, words })
}

/// What a text lacks of what is needed, in words; `None` when it will do.
fn missing(needs: &[&Need], text: Option<&str>, kind: &str) -> Option<String> {
    let longest = needs.iter().map(|need| need.min_length.max(1)).max()?;
    let text = text.map(str::trim).unwrap_or_default();
    if u64::try_from(text.chars().count()).is_ok_and(|length| length < longest) {
        return Some(if longest > 1 { format!(" of at least {longest} characters") } else { String::new() });
    }
    let form = needs.iter().filter_map(|need| need.pattern.as_ref()).find(|pattern| !pattern.is_in(text))?;
    Some(format!(" of the form {} (this {kind} is not)", form.as_str()))
}
