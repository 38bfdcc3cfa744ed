//! The table of time shares: how long each stage took, how long it may take.

use std::fmt::Write as _;
use std::fs;
use std::time::Duration;

use crate::step::{Failure, Stopwatch, cannot, target, workspace};

/// The stages of one run, in order, with their times.
#[derive(Debug)]
pub(crate) struct Stages {
    budget: Vec<Share>,
    warmth: Warmth,
    taken: Vec<(String, Duration)>,
}

#[derive(Debug, PartialEq, Eq)]
struct Share {
    stage: String,
    cold: u64,
    warm: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Warmth {
    Cold,
    Warm,
}

impl Stages {
    /// Reads `xtask/time-budget.txt`. A run is warm when one before it came to its end in this target folder.
    pub(crate) fn read() -> Result<Self, Failure> {
        let path = workspace().join("xtask/time-budget.txt");
        let text = fs::read_to_string(&path).map_err(cannot(format!("read {}", path.display())))?;
        let warmth = if mark().exists() { Warmth::Warm } else { Warmth::Cold };
        Ok(Self { budget: parse(&text)?, warmth, taken: Vec::new() })
    }

    /// Runs a stage and notes its time, also when it fails.
    pub(crate) fn time<T>(&mut self, stage: &str, work: impl FnOnce() -> Result<T, Failure>) -> Result<T, Failure> {
        let watch = Stopwatch::start();
        let done = work();
        self.taken.push((stage.to_owned(), watch.elapsed()));
        done
    }

    /// Notes that everything is built once, so that the next run is held to the warm shares.
    pub(crate) fn finished(&self) {
        let _ = fs::write(mark(), "");
    }

    /// One line a stage, the sum, and a warning for each that took too long.
    pub(crate) fn table(&self) -> String {
        let name = if self.warmth == Warmth::Cold { "cold" } else { "warm" };
        let mut table = format!("{:<12} {:>8} {:>8}\n", "stage", "taken", name);
        let (mut sum, mut allowed) = (Duration::ZERO, 0);
        for (stage, taken) in &self.taken {
            let share = self.share(stage);
            let warning = if self.is_over(stage, *taken) { "  over its share" } else { "" };
            let _ = writeln!(table, "{stage:<12} {:>6.1} s {:>6} s{warning}", taken.as_secs_f64(), share.unwrap_or(0));
            sum += *taken;
            allowed += share.unwrap_or(0);
        }
        let _ = write!(table, "{:<12} {:>6.1} s {allowed:>6} s", "all", sum.as_secs_f64());
        table
    }

    /// An error that names the stages over their share.
    pub(crate) fn check(&self) -> Result<(), Failure> {
        let over = self.taken.iter().filter(|(stage, taken)| self.is_over(stage, *taken));
        let over: Vec<&str> = over.map(|(stage, _)| stage.as_str()).collect();
        if over.is_empty() { Ok(()) } else { Err(Failure::new(format!("over the time budget: {}", over.join(", ")))) }
    }

    fn is_over(&self, stage: &str, taken: Duration) -> bool {
        self.share(stage).is_some_and(|share| taken.as_secs() > share)
    }

    fn share(&self, stage: &str) -> Option<u64> {
        let share = self.budget.iter().find(|share| share.stage == stage)?;
        Some(if self.warmth == Warmth::Cold { share.cold } else { share.warm })
    }
}

fn mark() -> std::path::PathBuf {
    target().join(".xtask-ran")
}

fn parse(text: &str) -> Result<Vec<Share>, Failure> {
    let lines = text.lines().filter(|line| !line.starts_with('#') && !line.trim().is_empty());
    lines
        .map(|line| {
            let wrong = || Failure::new(format!("time-budget.txt: cannot read {line:?}"));
            let words: Vec<&str> = line.split_whitespace().collect();
            let [stage @ .., cold, warm] = words.as_slice() else { return Err(wrong()) };
            let number = |word: &str| word.parse().map_err(|_| wrong());
            Ok(Share { stage: stage.join(" "), cold: number(cold)?, warm: number(warm)? })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stages(budget: &str, taken: u64) -> Stages {
        let taken = vec![("build".to_owned(), Duration::from_secs(taken))];
        Stages { budget: parse(budget).unwrap(), warmth: Warmth::Warm, taken }
    }

    #[test]
    fn shares_of_the_repository_stay_within_30_minutes_cold_and_12_warm() {
        let stages = Stages::read().unwrap();
        assert!(stages.budget.iter().map(|share| share.cold).sum::<u64>() <= 30 * 60);
        assert!(stages.budget.iter().map(|share| share.warm).sum::<u64>() <= 12 * 60);
    }

    #[test]
    fn stage_over_its_share_is_named() {
        assert!(stages("build 100 10", 10).check().is_ok());
        let late = stages("build 100 10", 11);
        assert!(late.check().unwrap_err().to_string().contains("build"));
        assert!(late.table().contains("over its share"));
    }

    #[test]
    fn broken_line_is_an_error() {
        assert!(parse("unit tests 1 2\n# note\n").is_ok());
        assert!(parse("build 10").is_err());
    }
}
