//! A policy part by part, each under a name that people know it by, in a form that only changes when its meaning does.

use serde::Serialize;
use serde_json::Value;

use crate::policy::{Content, Policy};

impl Policy {
    /// Every part with its text: `role web-operator`, `allow on-call runs the web tier`, `require …`, `deny …`, `duty 1`, `@sre-leads`.
    /// Texts are for comparing with those of another policy, place by place of no importance: lines and files are not in them.
    #[must_use]
    pub fn rule_texts(&self) -> Vec<(String, String)> {
        let content = &self.content;
        let mut out = Vec::new();
        let named = |kind: &str, name: &str| if name.is_empty() { kind.to_owned() } else { format!("{kind} {name}") };
        let mut add = |label: String, value: Value| out.push((label, value.to_string()));
        for role in &content.roles {
            add(named("role", &role.name), text(content, role));
        }
        for rule in &content.allows {
            add(named("allow", &rule.name), text(content, rule));
        }
        for rule in &content.requires {
            add(named("require", &rule.name), text(content, rule));
        }
        for rule in &content.denies {
            add(named("deny", &rule.name), text(content, rule));
        }
        for (number, rule) in (1u32..).zip(&content.duties) {
            add(format!("duty {number}"), text(content, rule));
        }
        for set in &content.sets {
            add(format!("@{}", set.name), text(content, set));
        }
        for set in &content.host_sets {
            add(format!("hosts @{}", set.name), text(content, set));
        }
        out
    }
}

fn text(content: &Content, part: &impl Serialize) -> Value {
    // Plain data: what serde cannot write does not occur, and null would only compare as changed.
    let mut value = serde_json::to_value(part).unwrap_or(Value::Null);
    name_places(content, &mut value, false);
    value
}

/// Replaces places in lists by the names that stand there, and drops where it is written.
fn name_places(content: &Content, value: &mut Value, hosts: bool) {
    match value {
        Value::Object(fields) => {
            fields.remove("source");
            for (key, field) in fields.iter_mut() {
                let place = |number: &Value| number.as_u64().and_then(|place| usize::try_from(place).ok());
                match (key.as_str(), &mut *field) {
                    ("roles" | "includes", Value::Array(places)) => {
                        for entry in places.iter_mut() {
                            if let Some(role) = place(entry).and_then(|place| content.roles.get(place)) {
                                *entry = Value::String(role.name.clone());
                            }
                        }
                    }
                    ("zone", number @ Value::Number(_)) => {
                        if let Some(zone) = place(number).and_then(|place| content.zones.get(place)) {
                            *number = Value::String(zone.name.clone());
                        }
                    }
                    _ => name_places(content, field, hosts || key == "hosts"),
                }
            }
        }
        Value::Array(entries) => entries.iter_mut().for_each(|entry| name_places(content, entry, hosts)),
        Value::String(name) => {
            let place = name.strip_prefix('@').and_then(|digits| digits.parse::<usize>().ok());
            let named = match (place, hosts) {
                (Some(place), true) => content.host_sets.get(place).map(|set| &set.name),
                (Some(place), false) => content.sets.get(place).map(|set| &set.name),
                (None, _) => None,
            };
            if let Some(known) = named {
                *name = format!("@{known}");
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}
