//! Who is at a terminal that takes messages. Only its inode is looked at: nothing is opened.

use std::collections::BTreeSet;

use jitsudo_link::terminals;

/// Most accounts that are told of.
const MAX_ACCOUNTS: usize = 64;

/// The accounts, by uid, root left out: it is nobody's approver.
pub(crate) fn at_terminals() -> Vec<u32> {
    let uids: BTreeSet<u32> = terminals::open_ones().into_iter().map(|terminal| terminal.uid).collect();
    uids.into_iter().filter(|uid| *uid != 0).take(MAX_ACCOUNTS).collect()
}
