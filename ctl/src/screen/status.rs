//! The daemon's health: a line each, good or bad said in words.

use crate::records::Status;
use crate::text::{Tone, View, count, counted, digest, padded, visible};

/// The screen of `jitctl status`.
pub(crate) fn screen(status: &Status, view: &View) -> String {
    let mut text = String::new();
    let mut line = |good: bool, name: &str, words: String| {
        let mark = if good { view.paint(Tone::Good, "ok  ") } else { view.paint(Tone::Bad, "bad ") };
        text.push_str(&format!("{mark}  {}{words}\n", padded(name, 9)));
    };
    let mut daemon = format!("jitsudod {} on {}", visible(&status.version), visible(&status.host));
    if let Some(since) = status.since {
        daemon.push_str(&format!(", up for {}", view.since(since)));
    }
    line(true, "daemon", daemon);
    let spawner = if status.spawner.connected { "connected" } else { "not connected: nothing can be started" };
    line(status.spawner.connected, "spawner", spawner.to_owned());
    match (&status.policy, &status.policy_trouble) {
        (_, Some(trouble)) => {
            line(false, "policy", format!("{}; nobody is allowed anything but root", visible(trouble)))
        }
        (Some(policy), None) => line(true, "policy", digest(policy)),
        (None, None) => line(true, "policy", "none applied: nobody is allowed anything but root".to_owned()),
    }
    let ledger = &status.ledger;
    let mut words = format!("{}, head {}", counted(ledger.seq, "line"), digest(&ledger.hash));
    if let Some(segments) = ledger.segments {
        words.push_str(&format!(", {}", counted(segments, "segment")));
    }
    if !ledger.sound {
        let cause = ledger.cause.as_deref().map_or_else(|| "not sound".to_owned(), visible);
        words = format!("{cause}; {words}");
    }
    line(ledger.sound, "ledger", words);
    match (&ledger.signed.trouble, &ledger.signed.key) {
        (Some(trouble), _) => line(false, "host key", format!("the head is not signed: {}", visible(trouble))),
        (None, Some(key)) => {
            line(true, "host key", format!("{}, signed line {}", visible(key), count(ledger.signed.seq.unwrap_or(0))))
        }
        (None, None) => {}
    }
    let outputs = &status.outputs;
    for (name, state) in [("journald", &outputs.journald), ("syslog", &outputs.syslog)] {
        line(state == "up", name, visible(state));
    }
    if outputs.lost > 0 {
        line(false, "copies", format!("{} dropped; the ledger has them", counted_copies(outputs.lost)));
    }
    for lock in &status.locked {
        line(true, "locked", super::access::locked(lock, view));
    }
    if status.residue.waiting > 0 {
        let grants = counted(status.residue.waiting, "grant");
        line(true, "residue", format!("nobody has looked at what {grants} may have left: `jitctl residue`"));
    }
    if let (Some(sessions), Some(connections)) = (status.sessions, status.connections) {
        line(true, "now", format!("{}, {}", counted(sessions, "session"), counted(connections, "connection")));
    }
    text
}

/// True when everything is as it should be.
pub(crate) fn is_well(status: &Status) -> bool {
    status.spawner.connected
        && status.ledger.sound
        && status.ledger.signed.trouble.is_none()
        && status.policy_trouble.is_none()
        && [&status.outputs.journald, &status.outputs.syslog].into_iter().all(|state| state == "up")
}

fn counted_copies(number: u64) -> String {
    if number == 1 { "1 was".to_owned() } else { format!("{} were", count(number)) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::text::tests::view;
    use serde_json::json;

    fn status() -> serde_json::Value {
        json!({
            "version": "0.1.0", "host": "web-1", "boot": "b", "since": "2026-10-04T10:15:00Z", "policy": "ab".repeat(32),
            "spawner": {"connected": true, "policy": "ab".repeat(32)},
            "ledger": {"seq": 18204, "hash": "cd".repeat(32), "segments": 3, "sound": true, "cause": null,
                "signed": {"key": "SHA256:x", "seq": 18200, "at": "2026-10-04T10:15:00Z", "trouble": null}},
            "outputs": {"journald": "up", "syslog": "up", "lost": 0}, "policy_trouble": null, "enrolled": false, "sessions": 1, "connections": 2,
        })
    }

    #[test]
    fn a_healthy_daemon_is_all_ok() {
        let status: Status = serde_json::from_value(status()).unwrap();
        assert!(is_well(&status));
        assert_eq!(
            screen(&status, &view()),
            "ok    daemon   jitsudod 0.1.0 on web-1, up for 2 h\nok    spawner  connected\nok    policy   abababababab\n\
             ok    ledger   18 204 lines, head cdcdcdcdcdcd, 3 segments\nok    host key SHA256:x, signed line 18 200\nok    journald up\nok    syslog   up\n\
             ok    now      1 session, 2 connections\n"
        );
    }

    #[test]
    fn what_is_broken_is_said_in_words() {
        let mut value = status();
        value["spawner"] = json!({"connected": false, "policy": null});
        value["ledger"]["sound"] = json!(false);
        value["ledger"]["cause"] = json!("cannot write the ledger: no space left");
        value["ledger"]["signed"]["trouble"] = json!("cannot use the host's key");
        value["outputs"] = json!({"journald": "up", "syslog": "down", "lost": 1200});
        value["policy_trouble"] = json!("cannot use the applied policy /x: others can write it");
        let status: Status = serde_json::from_value(value).unwrap();
        assert!(!is_well(&status));
        let text = screen(&status, &view());
        for line in [
            "bad   spawner  not connected",
            "bad   ledger   cannot write the ledger: no space left; ",
            "bad   host key the head is not signed: cannot use the host's key",
            "bad   syslog   down",
            "bad   copies   1 200 were dropped",
            "bad   policy   cannot use the applied policy /x: others can write it; nobody",
        ] {
            assert!(text.contains(line), "{text}");
        }
    }
}
