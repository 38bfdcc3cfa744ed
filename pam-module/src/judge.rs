//! Whether a login is any of our business, and what is to be done then. Pure.

use jitsudo_login_wire::gated;

use crate::list::List;

/// What NSS says of the account.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Uid {
    /// It has this uid.
    Is(u32),
    /// There is no such account.
    Nobody,
    /// NSS does not say.
    Unknown,
}

/// What is to be done.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Step {
    /// Nothing: the other modules of the stack decide.
    Ignore,
    /// Nothing, but somebody must hear that the list is not as it should be.
    IgnoreLoudly(&'static str),
    /// It is a rescue account: let in, loudly.
    Rescue,
    /// Nobody could tell whether there is a grant, and why.
    Deny(&'static str),
    /// Ask the daemon.
    Ask,
}

/// True where root goes on as somebody else, which is no login: root could do it without su too.
pub(crate) fn is_root_going_on(service: &[u8], real_uid: u32) -> bool {
    real_uid == 0 && is_from_an_account(service)
}

/// The services in which the kernel knows the account of who calls: the real uid of a setuid program.
pub(crate) fn is_from_an_account(service: &[u8]) -> bool {
    [b"su".as_slice(), b"su-l", b"sudo", b"sudo-i"].contains(&service)
}

/// True for a service that this module is never asked about, whatever a list says.
pub(crate) fn is_none_of_ours(service: &[u8], real_uid: u32) -> bool {
    gated::is_never_gated(service) || is_root_going_on(service, real_uid)
}

/// Decides by the list alone.
pub(crate) fn judge(list: List, list_required: bool, uid: Uid, is_rescue: bool) -> Step {
    let (is_gated, trouble) = match list {
        List::Whole(says) => {
            let listed = says.account || (uid == Uid::Unknown && says.any_account);
            (says.service && listed, None)
        }
        List::Missing if !list_required => return Step::IgnoreLoudly("there is none"),
        List::Missing => (matches!(uid, Uid::Is(0) | Uid::Unknown), Some("there is none")),
        List::Damaged(says, why) => (says.account || matches!(uid, Uid::Is(0) | Uid::Unknown), Some(why)),
    };
    match (is_gated, is_rescue, trouble) {
        (false, _, None) => Step::Ignore,
        (false, _, Some(why)) => Step::IgnoreLoudly(why),
        (true, true, _) => Step::Rescue,
        (true, false, Some(why)) => Step::Deny(why),
        (true, false, None) => Step::Ask,
    }
}

#[cfg(test)]
mod tests {
    use jitsudo_login_wire::gated::Says;

    use super::*;

    fn says(account: bool, service: bool) -> Says {
        Says { is_whole: true, account, service, any_account: true }
    }

    #[test]
    fn only_listed_accounts_on_listed_services_are_asked_about() {
        for (account, service, uid, expected) in [
            (true, true, Uid::Is(1002), Step::Ask),
            (true, true, Uid::Nobody, Step::Ask),
            (true, false, Uid::Is(1002), Step::Ignore),
            (false, true, Uid::Is(1001), Step::Ignore),
            (false, true, Uid::Is(0), Step::Ignore),
            (false, true, Uid::Nobody, Step::Ignore),
            // Who cannot be told apart from a gated account is one.
            (false, true, Uid::Unknown, Step::Ask),
            (false, false, Uid::Unknown, Step::Ignore),
        ] {
            for list_required in [false, true] {
                let list = List::Whole(says(account, service));
                assert_eq!(judge(list, list_required, uid, false), expected, "{account} {service} {uid:?}");
            }
        }
    }

    #[test]
    fn list_that_is_damaged_denies_root_and_its_whole_lines_on_every_service() {
        for service in [false, true] {
            let damaged = |account| List::Damaged(Says { is_whole: false, ..says(account, service) }, "cut");
            for (account, uid, expected) in [
                (true, Uid::Is(1002), Step::Deny("cut")),
                (false, Uid::Is(0), Step::Deny("cut")),
                (false, Uid::Unknown, Step::Deny("cut")),
                (false, Uid::Is(1001), Step::IgnoreLoudly("cut")),
                (false, Uid::Nobody, Step::IgnoreLoudly("cut")),
            ] {
                assert_eq!(judge(damaged(account), false, uid, false), expected);
                assert_eq!(judge(damaged(account), true, uid, false), expected);
            }
        }
    }

    #[test]
    fn list_that_is_missing_denies_root_where_it_is_required() {
        assert_eq!(judge(List::Missing, true, Uid::Is(0), false), Step::Deny("there is none"));
        assert_eq!(judge(List::Missing, true, Uid::Is(1001), false), Step::IgnoreLoudly("there is none"));
        assert_eq!(judge(List::Missing, false, Uid::Is(0), false), Step::IgnoreLoudly("there is none"));
    }

    #[test]
    fn rescue_account_enters_where_it_would_be_denied_or_asked_about_and_is_not_told_of_otherwise() {
        assert_eq!(judge(List::Whole(says(true, true)), true, Uid::Is(0), true), Step::Rescue);
        assert_eq!(judge(List::Missing, true, Uid::Is(0), true), Step::Rescue);
        assert_eq!(judge(List::Damaged(says(true, true), "cut"), true, Uid::Is(0), true), Step::Rescue);
        assert_eq!(judge(List::Whole(says(false, true)), true, Uid::Is(0), true), Step::Ignore);
    }

    #[test]
    fn cron_and_root_in_su_are_none_of_ours() {
        for service in ["cron", "atd", "systemd-user", "jitsudo", "jitsudo-i", "runuser"] {
            assert!(is_none_of_ours(service.as_bytes(), 1001), "{service}");
        }
        for service in ["su", "su-l", "sudo", "sudo-i"] {
            assert!(is_none_of_ours(service.as_bytes(), 0) && !is_none_of_ours(service.as_bytes(), 1001), "{service}");
        }
        // sshd and login run as root and call as root: that says nothing of who logs in.
        assert!(!is_none_of_ours(b"sshd", 0) && !is_none_of_ours(b"login", 0));
    }
}
