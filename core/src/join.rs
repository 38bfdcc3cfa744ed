//! Joins every matching require into a candidate's terms and says whether the request meets them.
//!
//! MUST: joining only ever strengthens (`adding_a_deny_or_require_*`); an obligation that cannot be honoured gives nothing.

use crate::conditions::Setting;
use crate::cover::Candidate;
use crate::decision::{Auth, Cause, Cwd, Record, RunAs, Terms};
use crate::request::Kind;
use crate::rule::{Approval, Approvers, Need, Obligations, Require, Role};

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
    /// A budget, a watch or a ticket check: not expressed in [`Terms`].
    beyond: bool,
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
            beyond: is_beyond(terms),
            names: Vec::new(),
        };
        if let Some(glass) = &candidate.allow.break_glass {
            joined.window = glass.window;
            joined.auth = glass.auth.unwrap_or(joined.auth);
            joined.approvals.clear();
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
        self.auth = self.auth.max(terms.auth.unwrap_or(Auth::None));
        self.finish = self.finish.min(terms.finish.unwrap_or(u64::MAX));
        self.beyond |= is_beyond(terms);
        self.approvals.extend(terms.approval.as_deref());
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
        self.window
    }
    pub(crate) fn run_time(&self) -> u64 {
        self.run_time
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
        if let Some(effect) = self.unrecordable(setting, candidate) {
            return unmet(Cause::Obligation, format!("{effect} cannot be recorded; use jitsudo --role {role} CMD"));
        }
        if let Err(words) = setting.lent(candidate) {
            return unmet(Cause::NoGroup, words);
        }
        if let Some(asked) = setting.request.window
            && asked > self.window
        {
            let most = crate::hours::duration_in_words(self.window);
            let typed = crate::hours::duration_as_typed(self.window);
            return unmet(
                Cause::WindowTooLong,
                format!("role {role} is given for at most {most}: ask with --for {typed}"),
            );
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

    /// The effect of a role request that leaves nothing to record, where something must be.
    fn unrecordable(&self, setting: &Setting<'_>, candidate: &Candidate<'_>) -> Option<String> {
        if self.record == Record::None || setting.request.kind != Kind::Role {
            return None;
        }
        setting.parts(Some(candidate.role)).find_map(|part: &Role| {
            let lists = [("membership of", &part.membership), ("sudoers line", &part.sudoers), ("login", &part.login)];
            lists.into_iter().find_map(|(kind, list)| list.first().map(|one| format!("{kind} {one}")))
        })
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
        let mut joined: Vec<String> = self.names.into_iter().map(str::to_owned).collect();
        joined.sort_unstable();
        // Checked: nothing that is not known is given.
        let groups = setting.lent(&candidate).unwrap_or_default();
        Terms {
            rule: allow.name.clone(),
            source: allow.source.clone(),
            role: candidate.role_name.to_owned(),
            window: setting.request.window.unwrap_or(self.window).min(self.window),
            run_time: self.run_time,
            start_by: allow.start_by.unwrap_or(START_BY),
            auth: self.auth,
            approvals,
            record,
            when_full: allow.when_full,
            not_after,
            finish: self.finish,
            warn: allow.warn.as_ref().map_or_else(warnings, |warn| warn.iter().rev().copied().collect()),
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
    verifies || terms.budget.is_some() || terms.watch.is_some()
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
