//! Fuzz targets: every parser here that reads bytes which somebody else wrote.
//!
//! A target takes any bytes, and panics when a promise is broken: the parser must not panic, what it accepts must survive being
//! written and read again, and what it decides must not depend on chance. `cargo xtask fuzz TARGET` looks for such bytes guided by
//! coverage; `tests/targets.rs` runs each target on its seeds and on a fixed number of mutations of them, with every test run.
#![forbid(unsafe_code)]
#![expect(clippy::panic, clippy::expect_used, reason = "a broken promise must stop the fuzzer")]

mod events;
mod ledger;
mod login;
mod messages;
mod policy;
mod sample;
mod settings;
mod signed;
mod text;

/// One thing to be fuzzed.
#[derive(Clone, Copy, Debug)]
pub struct Target {
    /// Its name, and that of its folder in `seeds`.
    pub name: &'static str,
    /// Takes any bytes; panics when a promise is broken.
    pub run: fn(&[u8]),
}

/// All of them.
pub const TARGETS: &[Target] = &[
    Target { name: "client", run: messages::client },
    Target { name: "session", run: messages::session },
    Target { name: "spawner", run: messages::spawner },
    Target { name: "policy", run: policy::policy },
    Target { name: "settings", run: settings::settings },
    Target { name: "ledger-line", run: ledger::line },
    Target { name: "ledger-segment", run: ledger::segment },
    Target { name: "events", run: events::events },
    Target { name: "signed", run: signed::signed },
    Target { name: "login", run: login::login },
    Target { name: "gated", run: login::gated },
    Target { name: "text", run: text::text },
];

/// The target of that name.
#[must_use]
pub fn find(name: &str) -> Option<Target> {
    TARGETS.iter().copied().find(|target| target.name == name)
}
