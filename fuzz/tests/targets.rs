//! Every target on its seeds, and on mutations of them from a seed that is printed.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a mutation that goes wrong must fail the test")]

use std::path::{Path, PathBuf};

use jitsudo_fuzz::{TARGETS, find};

/// Mutations of each seed; `cargo xtask test --all` does a hundred times as many.
const MUTATIONS: usize = 1500;

fn folder(target: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("seeds").join(target)
}

fn seeds(target: &str) -> Vec<Vec<u8>> {
    let mut files: Vec<PathBuf> = std::fs::read_dir(folder(target)).unwrap().map(|one| one.unwrap().path()).collect();
    files.sort();
    files.iter().map(|path| std::fs::read(path).unwrap()).collect()
}

/// Bytes that mean something to one parser or another.
const TELLING: &[u8] = b"\"\\{}[],:0-9e\n\0\xff=";

/// xorshift64*: enough chance for mutations.
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        usize::try_from(self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33).unwrap() % bound.max(1)
    }

    /// Flips, cuts, repeats and swaps bytes, a few times.
    fn mutate(&mut self, seed: &[u8]) -> Vec<u8> {
        let mut bytes = seed.to_vec();
        for _ in 0..=self.below(4) {
            let (place, length) = (self.below(bytes.len()), self.below(24));
            let end = (place + length).min(bytes.len());
            match self.below(6) {
                0 if !bytes.is_empty() => bytes[place] ^= 1 << self.below(8),
                1 if !bytes.is_empty() => bytes[place] = TELLING[self.below(TELLING.len())],
                2 => drop(bytes.drain(place..end)),
                3 => {
                    let piece = bytes[place..end].to_vec();
                    let to = self.below(bytes.len());
                    bytes.splice(to..to, piece);
                }
                4 => bytes.truncate(place),
                _ => bytes.insert(place, u8::try_from(self.below(256)).unwrap()),
            }
        }
        bytes
    }
}

fn run(target: &str) {
    let all = std::env::var("JITSUDO_SWEEP").is_ok_and(|value| value == "all");
    let given = std::env::var("JITSUDO_SEED").ok().and_then(|text| text.parse().ok());
    let seed = given.unwrap_or(if all { u64::from(std::process::id()) } else { 1 });
    println!("JITSUDO_SEED={seed}");
    let mut dice = Dice(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
    let run = find(target).unwrap().run;
    let seeds = seeds(target);
    assert!(!seeds.is_empty(), "{target} has no seeds");
    for seed in &seeds {
        run(seed);
        for _ in 0..if all { MUTATIONS * 100 } else { MUTATIONS } {
            run(&dice.mutate(seed));
        }
    }
}

#[test]
fn every_target_has_a_test_here_and_seeds() {
    let names: Vec<&str> = TARGETS.iter().map(|target| target.name).collect();
    let tested = [
        "client",
        "session",
        "spawner",
        "policy",
        "settings",
        "ledger-line",
        "ledger-segment",
        "events",
        "signed",
        "login",
        "gated",
        "text",
    ];
    assert_eq!(names, tested);
}

macro_rules! targets {
    ($($name:ident: $target:literal),* $(,)?) => {
        $(#[test]
        fn $name() {
            run($target);
        })*
    };
}

targets! {
    client_datagrams_never_panic_and_acts_come_together: "client",
    session_datagrams_never_panic: "session",
    spawner_datagrams_never_panic: "spawner",
    policies_compile_or_say_why_and_decide_the_same_each_time: "policy",
    settings_never_panic: "settings",
    edited_ledger_line_is_never_intact: "ledger-line",
    any_segment_is_verified_and_opened_or_refused: "ledger-segment",
    any_events_add_up_to_a_state: "events",
    signatures_never_panic_and_prove_one_card: "signed",
    login_datagrams_never_panic_and_survive_writing: "login",
    any_list_of_gated_accounts_says_the_same_in_pieces: "gated",
    any_bytes_are_readable_and_survive_json: "text",
}
