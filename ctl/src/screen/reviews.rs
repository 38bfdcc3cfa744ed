//! Break-glass that waits for a review: whose, why, and who may look at it.

use crate::records::Review;
use crate::text::{Tone, View, dotted, short_id, visible, wrapped};

/// A block for each.
pub(crate) fn list(reviews: &[Review], view: &View) -> String {
    reviews.iter().map(|review| block(review, view)).collect()
}

fn block(review: &Review, view: &View) -> String {
    let id = short_id(&review.id);
    let who = review.user.as_deref().map_or_else(|| format!("#{}", review.uid.unwrap_or_default()), visible);
    let role = review.role.as_deref().map_or_else(|| "?".to_owned(), visible);
    let mut parts: Vec<String> = review.at.iter().map(|at| view.date_and_time(*at)).collect();
    parts.push(format!("rule \"{}\"", visible(&review.rule)));
    parts.extend(review.reason.iter().map(|reason| format!("\"{}\"", visible(reason))));
    parts.push(match (review.active, review.own) {
        (true, _) => "not over yet".to_owned(),
        (false, true) => "yours: another person reviews it".to_owned(),
        (false, false) => format!("`jitctl review {id} --note …` once you have looked at `jitctl log {id}`"),
    });
    let column = id.chars().count() + 2;
    let head = wrapped(&format!("{who}  role {role} by break-glass"), column, 4);
    format!("{}  {head}\n{}\n", view.paint(Tone::Strong, &id), dotted(&parts, 4))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::text::tests::view;
    use serde_json::json;

    #[test]
    fn use_says_whose_it_is_and_what_is_to_be_done() {
        let review = |active: bool, own: bool| -> Review {
            serde_json::from_value(json!({
                "id": "01k6q9v0zz0000000000k3v9tz", "user": "alice", "uid": 1001, "rule": "fire", "role": "root-shell",
                "reason": "db down", "at": "2026-10-04T12:27:00Z", "active": active, "own": own, "later": 1,
            }))
            .unwrap()
        };
        let text = list(&[review(false, false)], &view());
        assert!(text.starts_with("k3v9tz  alice  role root-shell by break-glass\n"), "{text}");
        assert!(text.contains("rule \"fire\"") && text.contains("jitctl review k3v9tz --note"), "{text}");
        assert!(list(&[review(false, true)], &view()).contains("another person reviews it"));
        assert!(list(&[review(true, false)], &view()).contains("not over yet"));
    }
}
