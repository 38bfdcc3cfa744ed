//! How much one account may take: connections, requests, denials in the ledger. Pure: time is an argument.
//!
//! MUSTs
//! 1. One account never takes the places of others (`dos_01_*`).
//! 2. What is remembered of an account that went away is forgotten (`accounts_that_went_away_are_forgotten`).

use std::collections::HashMap;

/// Connections of one account that are not handed over to a session.
pub(crate) const MAX_OF_ACCOUNT: usize = 64;
/// Connections in all.
pub(crate) const MAX_IN_ALL: usize = 1024;
/// Of those, kept for uid 0.
pub(crate) const RESERVE_OF_ROOT: usize = 64;
/// Tokens a second.
const RATE: u64 = 100;
/// Tokens that may be saved up.
const BURST: u64 = 200;
/// Thousandths of a token.
const MILLI: u64 = 1000;
/// Bytes of acts under way of one account: four of the longest.
const MAX_HELD_OF_ACCOUNT: usize = 32 << 20;
/// Bytes of acts under way in all.
const MAX_HELD_IN_ALL: usize = 256 << 20;
/// Denials of one account that are listed in a minute.
pub(crate) const LISTED_DENIALS: u64 = 20;
/// The minute.
const DENIAL_WINDOW_MS: u64 = 60_000;

/// What something costs, thousandths of a token.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Cost {
    /// A request or question.
    Request,
    /// A following datagram of an act: 2 MiB of arguments are within the burst.
    Datagram,
}

impl Cost {
    fn milli(self) -> u64 {
        match self {
            Self::Request => MILLI,
            Self::Datagram => MILLI / 16,
        }
    }
}

/// Why a connection is not taken.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Refusal {
    /// The account has its share.
    Account,
    /// There are no places left for it.
    Full,
}

/// What becomes of a denial.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Denial {
    /// Listed in the ledger.
    Listed,
    /// Counted, and the count written later.
    Counted,
}

#[derive(Debug)]
struct Account {
    connections: usize,
    held: usize,
    milli_tokens: u64,
    refilled_ms: u64,
    denials: u64,
    denials_since_ms: u64,
}

/// What every account takes now.
#[derive(Debug, Default)]
pub(crate) struct Limits {
    accounts: HashMap<u32, Account>,
    connections: usize,
    held: usize,
}

impl Limits {
    /// Takes a place for a connection.
    pub(crate) fn admit(&mut self, uid: u32, now_ms: u64) -> Result<(), Refusal> {
        let all = if uid == 0 { MAX_IN_ALL } else { MAX_IN_ALL - RESERVE_OF_ROOT };
        if self.connections >= all {
            return Err(Refusal::Full);
        }
        let account = self.account(uid, now_ms);
        if account.connections >= MAX_OF_ACCOUNT {
            return Err(Refusal::Account);
        }
        account.connections += 1;
        self.connections += 1;
        Ok(())
    }

    /// Gives a place back.
    pub(crate) fn leave(&mut self, uid: u32) {
        if let Some(account) = self.accounts.get_mut(&uid) {
            account.connections = account.connections.saturating_sub(1);
        }
        self.connections = self.connections.saturating_sub(1);
    }

    /// Takes memory for a datagram of an act; false when the account, or everybody, has too much of it already.
    pub(crate) fn hold(&mut self, uid: u32, bytes: usize, now_ms: u64) -> bool {
        let all = self.held.saturating_add(bytes);
        let account = self.account(uid, now_ms);
        let own = account.held.saturating_add(bytes);
        if own > MAX_HELD_OF_ACCOUNT || all > MAX_HELD_IN_ALL {
            return false;
        }
        account.held = own;
        self.held = all;
        true
    }

    /// Gives memory back.
    pub(crate) fn release(&mut self, uid: u32, bytes: usize) {
        if let Some(account) = self.accounts.get_mut(&uid) {
            account.held = account.held.saturating_sub(bytes);
        }
        self.held = self.held.saturating_sub(bytes);
    }

    /// Connections taken now.
    pub(crate) fn connections(&self) -> usize {
        self.connections
    }

    /// Pays; false when the account has no tokens left.
    pub(crate) fn pay(&mut self, uid: u32, cost: Cost, now_ms: u64) -> bool {
        let account = self.account(uid, now_ms);
        // RATE tokens a second are RATE thousandths a millisecond.
        let gained = now_ms.saturating_sub(account.refilled_ms).saturating_mul(RATE);
        account.refilled_ms = now_ms;
        account.milli_tokens = account.milli_tokens.saturating_add(gained).min(BURST * MILLI);
        match account.milli_tokens.checked_sub(cost.milli()) {
            Some(rest) => {
                account.milli_tokens = rest;
                true
            }
            None => false,
        }
    }

    /// Notes a denial.
    pub(crate) fn denied(&mut self, uid: u32, now_ms: u64) -> Denial {
        let account = self.account(uid, now_ms);
        if account.denials == 0 {
            account.denials_since_ms = now_ms;
        }
        account.denials = account.denials.saturating_add(1);
        if account.denials <= LISTED_DENIALS { Denial::Listed } else { Denial::Counted }
    }

    /// Closes the minutes that are over: (account, denials that were only counted, seconds). Forgets who is gone.
    pub(crate) fn close_minutes(&mut self, now_ms: u64) -> Vec<(u32, u64, u64)> {
        let mut counted = Vec::new();
        for (uid, account) in &mut self.accounts {
            let lasted = now_ms.saturating_sub(account.denials_since_ms);
            if account.denials > 0 && lasted >= DENIAL_WINDOW_MS {
                if account.denials > LISTED_DENIALS {
                    counted.push((*uid, account.denials - LISTED_DENIALS, lasted / 1000));
                }
                account.denials = 0;
            }
        }
        let full_after_ms = BURST * MILLI / RATE;
        self.accounts.retain(|_, account| {
            let idle = now_ms.saturating_sub(account.refilled_ms) >= full_after_ms;
            account.connections > 0 || account.held > 0 || account.denials > 0 || !idle
        });
        counted
    }

    fn account(&mut self, uid: u32, now_ms: u64) -> &mut Account {
        self.accounts.entry(uid).or_insert(Account {
            connections: 0,
            held: 0,
            milli_tokens: BURST * MILLI,
            refilled_ms: now_ms,
            denials: 0,
            denials_since_ms: now_ms,
        })
    }
}

/// What a datagram of an act takes in memory: its bytes, and for each string in it a header and the least that is allocated.
pub(crate) fn weight(datagram: &[u8]) -> usize {
    const OF_STRING: usize = 64;
    let quotes = datagram.iter().filter(|byte| **byte == b'"').count();
    datagram.len().saturating_add((quotes / 2).saturating_mul(OF_STRING))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dos_05_many_short_strings_weigh_more_than_their_bytes() {
        assert_eq!(weight(br#"["a","b"]"#), 9 + 2 * 64);
        assert_eq!(weight(&[b'x'; 100]), 100);
    }

    #[test]
    fn dos_01_one_account_has_its_share_and_root_a_reserve() {
        let mut limits = Limits::default();
        for _ in 0..MAX_OF_ACCOUNT {
            limits.admit(1000, 0).unwrap();
        }
        assert_eq!(limits.admit(1000, 0), Err(Refusal::Account));
        let mut uid = 1001;
        while limits.connections() < MAX_IN_ALL - RESERVE_OF_ROOT {
            if limits.admit(uid, 0).is_err() {
                uid += 1;
            }
        }
        assert_eq!(limits.admit(5000, 0), Err(Refusal::Full));
        for _ in 0..RESERVE_OF_ROOT {
            limits.admit(0, 0).unwrap();
        }
        assert_eq!(limits.admit(0, 0), Err(Refusal::Full));
        limits.leave(1000);
        limits.leave(1000);
        assert_eq!(limits.admit(1000, 0), Err(Refusal::Full));
    }

    #[test]
    fn flood_is_slowed_to_the_rate_and_leaves_others_alone() {
        let mut limits = Limits::default();
        let paid = (0..1000).filter(|_| limits.pay(1000, Cost::Request, 0)).count();
        assert_eq!(paid, 200);
        assert!(limits.pay(1001, Cost::Request, 0));
        let paid = (0..1000).filter(|_| limits.pay(1000, Cost::Request, 500)).count();
        assert_eq!(paid, 50);
        // A clock that jumps gives no more than the burst.
        let paid = (0..1000).filter(|_| limits.pay(1000, Cost::Request, u64::MAX)).count();
        assert_eq!(paid, 200);
    }

    #[test]
    fn two_mebibytes_of_arguments_are_within_the_burst() {
        let mut limits = Limits::default();
        assert!((0..3000).all(|_| limits.pay(1000, Cost::Datagram, 0)));
    }

    #[test]
    fn env_11_memory_for_acts_is_bounded_for_one_and_for_all() {
        let mut limits = Limits::default();
        let mut taken = 0;
        while limits.hold(1000, 64 << 10, 0) {
            taken += 64 << 10;
        }
        assert_eq!(taken, MAX_HELD_OF_ACCOUNT);
        assert!(limits.hold(1001, 64 << 10, 0));
        limits.release(1000, taken);
        assert!(limits.hold(1000, 64 << 10, 0));
        let held: usize = (2000..2100).map(|uid| (0..512).filter(|_| limits.hold(uid, 64 << 10, 0)).count()).sum();
        assert!((held + 2) * (64 << 10) <= MAX_HELD_IN_ALL);
    }

    #[test]
    fn denials_beyond_the_limit_are_counted_once_a_minute() {
        let mut limits = Limits::default();
        let listed = (0..100).filter(|_| limits.denied(1000, 5) == Denial::Listed).count();
        assert_eq!(listed, 20);
        assert_eq!(limits.close_minutes(59_000), []);
        assert_eq!(limits.close_minutes(60_005), [(1000, 80, 60)]);
        assert_eq!(limits.close_minutes(130_000), []);
        assert_eq!(limits.denied(1000, 130_000), Denial::Listed);
    }

    #[test]
    fn accounts_that_went_away_are_forgotten() {
        let mut limits = Limits::default();
        for uid in 0..10_000 {
            let _ = limits.admit(uid, 0);
            limits.leave(uid);
            limits.pay(uid, Cost::Request, 0);
        }
        limits.close_minutes(2000);
        assert!(limits.accounts.is_empty());
        assert_eq!(limits.connections(), 0);
    }
}
