//! The pure heart of jitsudo: what a policy says, how it decides, which events exist and what state they add up to.
//!
//! Nothing here does I/O, reads a clock, holds `unsafe` or knows of async. The daemon's programs gather [`facts::Facts`],
//! call [`evaluate::evaluate`], write the [`event::Event`]s that follow and then act. The same code runs in the decider,
//! in the spawner (which trusts the decider with nothing that it can decide itself) and in `jitctl policy explain`.
#![forbid(unsafe_code)]
#![deny(clippy::print_stdout, clippy::print_stderr)]

pub use jiff::{SignedDuration, Timestamp};

pub mod approval;
mod command;
mod conditions;
mod cover;
pub mod decision;
mod denial;
pub mod duty;
pub mod environment;
pub mod evaluate;
pub mod event;
pub mod explain;
pub mod extension;
pub mod facts;
pub mod gate;
pub mod held;
pub mod hours;
pub mod id;
mod identity;
mod index;
mod join;
#[cfg(feature = "language")]
pub mod language;
pub mod lends;
mod lent;
pub mod listing;
pub mod lock;
pub mod name;
mod nearest;
pub mod offers;
mod outline;
pub mod past;
pub mod pattern;
pub mod policy;
pub mod request;
pub mod residue;
pub mod review;
mod rule;
pub mod state;
pub mod subject;
mod truth;
