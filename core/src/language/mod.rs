//! The policy language: TOML in, a compiled [`crate::policy::Policy`] or a compiler's diagnostics out.

mod diagnostic;

pub use diagnostic::Diagnostic;

use crate::policy::Policy;

/// One policy file.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SourceFile {
    /// Full path as shown to people.
    pub name: String,
    /// Its content, unchecked.
    pub bytes: Vec<u8>,
}

/// What the compiler asks of the host that it runs on.
#[derive(Clone, Copy)]
pub struct HostLookup<'a> {
    /// Gives the TZif bytes of an IANA zone.
    pub zone: &'a dyn Fn(&str) -> Option<Vec<u8>>,
    /// Gives a directory with its links resolved, or itself where it does not exist.
    pub resolve_directory: &'a dyn Fn(&str) -> String,
}

/// Which keys and values a compilation lets through.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Support {
    /// What this version can do; the rest answers "not supported yet".
    Released,
    /// The whole language, for tests of the evaluator.
    Everything,
}

/// A policy and what the checker wants to be thought over.
#[derive(Clone, Debug)]
pub struct Compiled {
    /// The policy.
    pub policy: Policy,
    /// Findings that are no errors.
    pub warnings: Vec<Diagnostic>,
}

/// Compiles for this version: [`compile_with`] with [`Support::Released`].
///
/// # Errors
/// Every mistake found, in order of file and line; warnings included.
pub fn compile(files: &[SourceFile], host: &HostLookup<'_>) -> Result<Compiled, Vec<Diagnostic>> {
    compile_with(files, host, Support::Released)
}

/// Parses, checks and compiles files; their order does not matter.
///
/// # Errors
/// Every mistake found, in order of file and line; warnings included.
pub fn compile_with(
    files: &[SourceFile],
    host: &HostLookup<'_>,
    support: Support,
) -> Result<Compiled, Vec<Diagnostic>> {
    let _ = (files, host, support);
    Err(Vec::new())
}
