//! `policy apply`: a dry run, what it would change, the question, and then exactly what was shown.

use std::io::{self, IsTerminal as _, Write as _};

use jitsudo_protocol::client::Ask;
use serde_json::{Value, json};

use super::{say, say_json};
use crate::arguments::Apply;
use crate::decider::Decider;
use crate::failure::Failure;
use crate::records::{Applied, Outcome, read};
use crate::screen;
use crate::text::{digest, visible, visible_lines};

/// Applies the files of policy.d.
pub(super) fn run(how: &Apply, json: bool) -> Result<(), Failure> {
    let may_ask = !json && io::stdin().is_terminal() && io::stderr().is_terminal();
    if !how.yes && !how.dry_run && !may_ask {
        return Err(Failure::Usage {
            message: "cannot ask without a terminal whether to apply the policy".to_owned(),
            hint: Some("`--yes` applies without a question, `--dry-run` only says what would change"),
        });
    }
    let (tried, _) = order(None, true, json)?;
    if !json {
        say(&screen::policy::change(&tried))?;
    }
    if how.dry_run {
        return if json { say_done(&tried, false) } else { Ok(()) };
    }
    if !how.yes && !confirmed()? {
        return Err(Failure::NotConfirmed);
    }
    let (applied, _) = order(Some(tried.policy.clone()), false, json)?;
    if json {
        return say_done(&applied, true);
    }
    say(&format!("applied: policy {}\n", digest(&applied.policy)))
}

/// Gives one order; what is not `Done` is printed (as JSON) or told (as a failure).
fn order(expect: Option<String>, dry_run: bool, json: bool) -> Result<(Applied, Value), Failure> {
    let value = Decider::connect()?.ask_one(Ask::PolicyApply { dry_run, expect })?;
    match read::<Outcome>(value.clone())? {
        Outcome::Done(applied) => Ok((*applied, value)),
        Outcome::Refused { .. } | Outcome::Failed(_) if json => {
            say_json(&value)?;
            Err(Failure::BadCheckSaid)
        }
        Outcome::Refused { text, errors } => {
            let count = crate::text::counted(errors, "error");
            Err(Failure::BadCheck(format!("the policy was not applied, {count}\n{}", visible_lines(&text))))
        }
        Outcome::Failed(cause) => Err(Failure::BadCheck(format!("the policy was not applied: {}", visible(&cause)))),
    }
}

fn say_done(applied: &Applied, in_force: bool) -> Result<(), Failure> {
    say_json(&json!({"done": {
        "policy": applied.policy, "previous": applied.previous, "rules": applied.rules, "roles": applied.roles,
        "files": applied.files, "warnings": applied.warnings, "added": applied.added, "removed": applied.removed,
        "changed": applied.changed, "ends": applied.ends, "more_end": applied.more_end, "applied": in_force,
    }}))
}

fn confirmed() -> Result<bool, Failure> {
    let trouble = |cause| Failure::File { what: "ask on the terminal".to_owned(), cause };
    io::stderr().write_all(b"apply this policy? [y/N] ").map_err(trouble)?;
    let mut answer = String::new();
    io::stdin().read_line(&mut answer).map_err(trouble)?;
    Ok(is_yes(&answer))
}

fn is_yes(answer: &str) -> bool {
    matches!(answer.trim().to_ascii_lowercase().as_str(), "y" | "yes")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_yes_is_a_yes() {
        for (answer, yes) in
            [("y\n", true), ("Yes\n", true), ("", false), ("\n", false), ("n\n", false), ("yy\n", false)]
        {
            assert_eq!(is_yes(answer), yes, "{answer:?}");
        }
    }
}
