//! Writes `/etc/jitsudo/gated`, which the PAM module reads, before the policy that it comes from takes effect.
//!
//! MUSTs
//! 1. The list is replaced whole, like the policy (`place::put`).
//! 2. A directory that does not answer leaves no account open: then nothing is written and nothing applied (`list_*`).

use std::fs;
use std::path::Path;

use jitsudo_core::gate::{self, Gated};
use jitsudo_core::name::Uid;
use jitsudo_core::policy::Policy;
use jitsudo_login_wire::gated::{self, SERVICES};

use crate::{accounts, place};

/// The list as it was before.
pub(crate) struct Before(Option<Vec<u8>>);

/// Writes the list of a policy; in words why not.
pub(crate) fn put(path: &Path, policy: &Policy) -> Result<Before, String> {
    let text = list(policy, &|name| accounts::account_named(name), &|uid| accounts::by_uid(uid))?;
    let before = Before(fs::read(path).ok());
    place::put(path, text.as_bytes(), 0o644).map_err(|error| format!("cannot write {}: {error}", path.display()))?;
    Ok(before)
}

/// Puts the list back that was there before: its policy stays in force.
pub(crate) fn put_back(path: &Path, before: &Before) {
    // What cannot be put back gates by the newer list; nothing is open that was not.
    let _ = match &before.0 {
        Some(text) => place::put(path, text, 0o644),
        None => fs::remove_file(path),
    };
}

type Found = Result<Option<accounts::Account>, String>;

fn list(policy: &Policy, by_name: &dyn Fn(&str) -> Found, by_uid: &dyn Fn(Uid) -> Found) -> Result<String, String> {
    let mut lines: Vec<(Option<u32>, String)> = Vec::new();
    for account in gate::accounts(policy) {
        let line = match account {
            Gated::Name(name) => (by_name(&name)?.map(|found| found.uid.0), name),
            Gated::Uid(uid) => (Some(uid.0), by_uid(uid)?.map_or_else(|| format!("#{}", uid.0), |found| found.name)),
        };
        lines.push(line);
    }
    lines.sort();
    lines.dedup();
    let accounts: Vec<gated::Account<'_>> =
        lines.iter().map(|(uid, name)| gated::Account { uid: *uid, name: name.as_str() }).collect();
    Ok(gated::Gated { accounts: &accounts, services: &SERVICES }.to_string())
}

#[cfg(test)]
mod tests {
    use jitsudo_core::language::{self, HostLookup, SourceFile, Support};
    use jitsudo_core::name::Gid;

    use super::*;

    fn policy() -> Policy {
        let text = "[people.alice]\naccounts = [\"alice\", \"alice-adm\", \"new-adm\", \"#1010\"]\n[roles.own]\nlogin = [\"@self\"]\n\
                    [[allow]]\nname = \"a\"\nwho = [\"alice\"]\nroles = [\"own\"]\n";
        let file = SourceFile { name: "10.toml".to_owned(), bytes: text.into() };
        let host = HostLookup { zone: &|_| None, resolve_directory: &str::to_owned, group_has_more: &|_| None };
        language::compile_with(&[file], &host, Support::Everything).unwrap().policy
    }

    fn nobody(_: Uid) -> Result<Option<accounts::Account>, String> {
        Ok(None)
    }

    #[test]
    fn list_names_known_accounts_by_uid_and_unknown_ones_by_name() {
        let known = |name: &str| {
            let account = accounts::Account { name: name.to_owned(), uid: Uid(1002), gid: Gid(1002) };
            Ok((name == "alice-adm").then_some(account))
        };
        let text = list(&policy(), &known, &nobody).unwrap();
        assert!(text.contains("\n- new-adm\n1002 alice-adm\n1010 #1010\nservice sshd\n"), "{text}");
        assert!(text.ends_with(&format!("\nend {}\n", 3 + SERVICES.len())), "{text}");
    }

    #[test]
    fn list_is_not_written_when_the_directory_does_not_answer() {
        assert_eq!(list(&policy(), &|_| Err("ldap is away".to_owned()), &nobody), Err("ldap is away".to_owned()));
    }
}
