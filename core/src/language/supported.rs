//! What the grammar has and this version cannot do yet. Work that brings one of these deletes its line.

/// Where a key stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Context {
    /// `[roles.…]`
    Role,
    /// A condition of any rule.
    Condition,
    /// A term of an allow, a require or `[defaults]`.
    Term,
}

/// Keys whose effect does not exist yet.
const NOT_YET: &[(Context, &str)] =
    &[(Context::Role, "pam"), (Context::Role, "caps"), (Context::Term, "watch"), (Context::Term, "ticket.verify")];

/// The only `record` that can be kept yet.
pub(super) const RECORD: crate::decision::Record = crate::decision::Record::None;

/// True when this version does what the key says.
pub(super) fn is_supported(context: Context, key: &str) -> bool {
    !NOT_YET.contains(&(context, key))
}
