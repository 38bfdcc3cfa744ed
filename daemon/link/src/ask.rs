//! The one mapping from the public protocol to the core: an act becomes what policy sees of it, and what facts are asked about.

use jitsudo_bytes::Bytes;
use jitsudo_core::policy::Policy;
use jitsudo_core::request::{Kind, Request};
use jitsudo_protocol::act::{Act, ActKind};

use crate::facts::{About, WhichShell};

/// What policy sees of an act.
#[must_use]
pub fn request(act: &Act) -> Request {
    let options = &act.options;
    let assigned = options.env_set.iter().map(name_of);
    Request {
        kind: match options.kind {
            ActKind::Command => Kind::Command,
            ActKind::Shell => Kind::Shell,
            ActKind::LoginShell => Kind::LoginShell,
            ActKind::Edit => Kind::Edit,
            ActKind::Validate => Kind::Validate,
            ActKind::Approve => Kind::Approve,
            ActKind::Role => Kind::Role,
        },
        argv: act.argv.clone(),
        role: options.role.clone(),
        user: options.user.clone(),
        group: options.group.clone(),
        reason: options.reason.clone(),
        ticket: options.ticket.clone(),
        window: options.window,
        timeout: options.timeout,
        break_glass: options.break_glass,
        // `-E` keeps what may be kept and is told of the rest: it names nothing that could be refused.
        env_names: assigned.chain(options.preserve.iter().filter(|name| name.0 != b"*").cloned()).collect(),
        cwd: options.chdir.clone(),
        terminal: options.terminal,
    }
}

/// What facts are asked about for an act under a policy.
#[must_use]
pub fn about(act: &Act, policy: Option<&Policy>) -> About {
    let options = &act.options;
    let role = options.role.as_deref();
    let runs = matches!(options.kind, ActKind::Command | ActKind::Shell | ActKind::LoginShell);
    let lends = runs || options.kind == ActKind::Role;
    let (program, shell) = match options.kind {
        ActKind::Command => (act.argv.first().cloned(), None),
        ActKind::Shell => (None, Some(WhichShell::Requester)),
        ActKind::LoginShell => (None, Some(WhichShell::Target)),
        ActKind::Edit | ActKind::Validate | ActKind::Role | ActKind::Approve => (None, None),
    };
    About {
        user: options.user.clone(),
        group: options.group.clone(),
        program,
        shell,
        words: paths(&act.argv),
        same_as: policy.map_or(&[][..], Policy::deny_programs).to_vec(),
        subject: None,
        own: runs && policy.zip(role).is_some_and(|(policy, role)| policy.runs_as_oneself(role)),
        groups: policy.filter(|_| lends).map(|policy| policy.lendable(role)).unwrap_or_default(),
        hash: false,
    }
}

/// Most words of one act that are looked at.
const MAX_WORDS: usize = 64;
/// Longest path looked at, bytes (PATH_MAX).
const MAX_PATH_BYTES: usize = 4096;

/// The words after the program that are absolute paths; beyond the limits they stay unlooked at, and so match no `<path:DIR>`.
fn paths(argv: &[Bytes]) -> Vec<(usize, Bytes)> {
    let words = argv.iter().enumerate().skip(1);
    let paths = words.filter(|(_, word)| word.0.first() == Some(&b'/') && word.0.len() <= MAX_PATH_BYTES);
    paths.take(MAX_WORDS).map(|(index, word)| (index, word.clone())).collect()
}

fn name_of(entry: &Bytes) -> Bytes {
    let end = entry.0.iter().position(|byte| *byte == b'=').unwrap_or(entry.0.len());
    Bytes(entry.0.get(..end).unwrap_or_default().to_vec())
}
