//! What grants may have left on the host: whose, what, and what is to be done about it.

use jitsudo_core::residue::{Change, Item};

use crate::records::Residue;
use crate::text::{Tone, View, dotted, short_id, visible, wrapped};

/// Items named in one sentence.
pub(crate) const SHOWN: usize = 20;

/// A block for each.
pub(crate) fn list(residues: &[Residue], view: &View) -> String {
    let mut text: String = residues.iter().map(|residue| block(residue, view)).collect();
    if let Some(first) = residues.first() {
        let id = short_id(&first.id);
        text.push_str(&wrapped(
            "This changed while the grants lasted, by whomever: it is a list to look at, and no proof of anything.",
            0,
            0,
        ));
        text.push_str(&format!(
            "\n  hint: `jitctl residue acknowledge {id} --reason WHAT` by root or the duty `end`\n"
        ));
    }
    text
}

fn block(residue: &Residue, view: &View) -> String {
    let id = short_id(&residue.id);
    let who = match (&residue.user, residue.uid) {
        (Some(user), _) => visible(user),
        (None, Some(uid)) => format!("#{uid}"),
        (None, None) => "?".to_owned(),
    };
    let role = residue.role.as_deref().map_or_else(|| "?".to_owned(), visible);
    let when = residue.at.map_or_else(String::new, |at| format!(", found {}", view.date_and_time(at)));
    let head = format!("{who}  role {role}{when}");
    let column = id.chars().count() + 2;
    let mut text = format!("{}  {}\n", view.paint(Tone::Strong, &id), wrapped(&head, column, 4));
    for one in &residue.items {
        let mut parts = vec![item(one)];
        parts.extend(one.at.map(|at| view.date_and_time(at)));
        text.push_str(&format!("{}\n", dotted(&parts, 4)));
    }
    let more = residue.count.saturating_sub(residue.items.len() as u64);
    if more > 0 {
        text.push_str(&format!("    and {more} more: `jitctl log {id} --json` has up to 100\n"));
    }
    if let Some(remark) = &residue.remark {
        text.push_str(&format!("    {}\n", wrapped(&visible(remark), 4, 4)));
    }
    text
}

/// One of them: `new at job a0001 (root's)`.
pub(crate) fn item(item: &Item) -> String {
    let change = match item.change {
        Change::New => "new",
        Change::Changed => "changed",
        Change::Gone => "gone",
    };
    let detail = item.detail.as_ref().map_or_else(String::new, |detail| format!(" ({})", visible(detail)));
    format!("{change}: {} {}{detail}", item.kind.words(), item.name.visible())
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::text::tests::view;
    use serde_json::json;

    pub(crate) fn left() -> Residue {
        serde_json::from_value(json!({
            "id": "01k6q9v0zz0000000000k3v9tz", "user": "alice", "uid": 1001, "role": "web-operator",
            "items": [{"kind": "at", "change": "new", "name": "/var/spool/cron/atjobs/a00001", "detail": "root's"}],
            "count": 2, "remark": "not all files were looked at", "later": true,
        }))
        .unwrap()
    }

    #[test]
    fn residue_names_what_changed_and_what_to_do() {
        assert_eq!(
            list(&[left()], &view()),
            "k3v9tz  alice  role web-operator\n    new: at job /var/spool/cron/atjobs/a00001 (root's)\n    and 1 more: \
             `jitctl log k3v9tz --json` has up to 100\n    not all files were looked at\nThis changed while the grants \
             lasted, by whomever: it is a list to look at, and\nno proof of anything.\n  hint: `jitctl residue \
             acknowledge k3v9tz --reason WHAT` by root or the duty `end`\n"
        );
        assert_eq!(list(&[], &view()), "");
    }
}
