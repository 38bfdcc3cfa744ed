//! What many live grants cost: `cargo bench -p jitsudo-core --bench state_scale --features language [-- N]`. Prints, and judges nothing.
#![expect(
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a measurement that prints, and cannot go on when its samples are wrong"
)]
#![expect(clippy::disallowed_methods, reason = "it measures time")]

use std::hint::black_box;
use std::time::Instant;

use jitsudo_core::event::Entry;
use jitsudo_core::id::AccessId;
use jitsudo_core::name::Uid;
use jitsudo_core::state::{Access, State};

/// Accounts that the grants are spread over.
const ACCOUNTS: u64 = 2_000;

fn main() {
    let count = std::env::args().filter_map(|word| word.parse().ok()).next().unwrap_or(100_000);
    println!("size of an access {} bytes", size_of::<Access>());
    let before = resident_kib();
    let watch = Instant::now();
    let mut state = State::default();
    for number in 0..count {
        events(number).iter().for_each(|entry| state.apply(entry));
    }
    println!("{count} grants folded in {:?}", watch.elapsed());
    println!("resident {} MiB more", (resident_kib() - before) / 1024);
    let watch = Instant::now();
    let snapshot = serde_json::to_vec(&state).unwrap();
    println!("snapshot of {} MiB in {:?}", snapshot.len() >> 20, watch.elapsed());
    let watch = Instant::now();
    let again: State = serde_json::from_slice(&snapshot).unwrap();
    println!("restored in {:?}", watch.elapsed());
    assert!(again == state);
    drop((again, snapshot));
    time("one account's roles", || state.held_by(Uid(1_000 + 7)).count());
    time("the whole request of one command more", || {
        let mut state = Some(&state);
        state.take().map_or(0, |state| state.held_by(Uid(1_000 + 7)).count())
    });
    let watch = Instant::now();
    for number in 0..1000 {
        events(count + number).iter().take(2).for_each(|entry| state.apply(entry));
    }
    println!("a new request {:?}", watch.elapsed() / 1000);
    time("every live access", || state.live_accesses().count());
}

fn time(what: &str, mut work: impl FnMut() -> usize) {
    let watch = Instant::now();
    for _ in 0..10 {
        black_box(work());
    }
    println!("{what}: {:?}", watch.elapsed() / 10);
}

/// A role that is asked for, given and held.
fn events(number: u64) -> Vec<Entry> {
    let id = AccessId::new(1_790_000_000_000 + number, [7; 10]);
    let uid = 1_000 + number % ACCOUNTS;
    let head = format!(
        r#"{{"host":"web-1","boot":"5c0a0a4b-5f6e-4a53-8f3a-0d9f8f6f7a10","wall":"2026-11-21T12:00:00Z","boottime_ms":1000,"actor":{{"program":"jitsudod","uid":{uid},"name":"user{uid}"}}"#
    );
    let digest = "9c".repeat(32);
    let text = [
        format!(
            r#""event":"requested","id":"{id}","uid":{uid},"user":"user{uid}","loginuid":{uid},"origin":{{"terminal":true,"sandbox":false,"unit":null,"console":{{"is":false}},"ssh":{{"is":true}},"address":{{"is":"10.1.4.7"}}}},"kind":"role","argv":[],"program":null,"cwd":null,"target":null,"role":"web-operator","reason":"cert renewed, nginx must reload","ticket":"OPS-4711","digest":"{digest}","tty":34816,"pid":4711"#
        ),
        format!(
            r#""event":"decided","id":"{id}","allowed":true,"rule":"on-call runs the web tier","source":"policy.d/10-web.toml:14","role":"web-operator","policy":"{digest}""#
        ),
        format!(
            r#""event":"activating","id":"{id}","ends_at":"2026-11-21T20:00:00Z","ends_boottime_ms":{}"#,
            28_800_000 + number
        ),
        format!(r#""event":"active","id":"{id}""#),
    ];
    text.iter().map(|event| serde_json::from_str(&format!("{head},{event}}}")).unwrap()).collect()
}

fn resident_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap_or("0");
    line.split_whitespace().next().and_then(|number| number.parse().ok()).unwrap_or(0)
}
