//! Who is behind a login, from what the PAM module was told by the kernel and by sshd. Pure.
//!
//! MUSTs
//! 1. Every way of authentication leads to the same person, or to nobody (`methods_*`).
//! 2. Who logged in as somebody else is not the caller's person (`caller_*`).

use jitsudo_core::gate::{self, Account, Person};
use jitsudo_core::name::Uid;
use jitsudo_core::policy::Policy;
use jitsudo_login_wire::message::Behind;

/// Ending of the types of certificates (OpenSSH's PROTOCOL.certkeys).
const CERTIFICATE: &str = "-cert-v01@openssh.com";

/// The person behind a login to an account; `None` before sshd tells. In words why there is none.
pub(crate) fn person<'a>(
    policy: &'a Policy,
    account: Account<'a>,
    behind: &Behind<'a>,
) -> Result<Option<Person<'a>>, String> {
    let owner = |account: Account<'a>| {
        gate::owner(policy, account).ok_or_else(|| format!("{} is an account of several people", account.name))
    };
    match behind {
        Behind::Later => Ok(None),
        Behind::Owner => owner(account).map(Some),
        Behind::Caller { uid, name, login } => {
            let caller = owner(account_of(*uid, name)?)?;
            if let Some((uid, name)) = login
                && owner(account_of(*uid, name)?)? != caller
            {
                return Err("who logged in is another person than who asks".to_owned());
            }
            Ok(Some(caller))
        }
        Behind::Authenticated(methods) => {
            let methods = std::str::from_utf8(methods).map_err(|_| "sshd's word cannot be read".to_owned())?;
            let mut settled: Option<Person<'a>> = None;
            for line in methods.lines().filter(|line| !line.trim().is_empty()) {
                let person =
                    by_method(policy, line).map_or_else(|| owner(account), |key| key.map_err(str::to_owned))?;
                if settled.is_some_and(|before| before != person) {
                    return Err("its ways of authentication belong to different people".to_owned());
                }
                settled = Some(person);
            }
            settled.map(Some).ok_or_else(|| "sshd does not say how it was authenticated".to_owned())
        }
    }
}

fn account_of<'a>(uid: u32, name: &'a [u8]) -> Result<Account<'a>, String> {
    let name = std::str::from_utf8(name).map_err(|_| "the caller's name cannot be read".to_owned())?;
    Ok(Account { name, uid: Some(Uid(uid)) })
}

/// Whose key it was; `None` for a password, which is its account's owner's.
fn by_method<'a>(policy: &'a Policy, line: &str) -> Option<Result<Person<'a>, &'static str>> {
    let mut words = line.split_ascii_whitespace();
    let method = words.next().unwrap_or_default();
    if method == "password" || method.starts_with("keyboard-interactive") {
        return None;
    }
    let (kind, body) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    if method != "publickey" {
        return Some(Err("it was authenticated in a way that tells no person"));
    }
    let plain = kind.strip_suffix(CERTIFICATE).map(|plain| (plain, key_in_certificate(plain, body)));
    let found = match plain {
        None => gate::owner_of_key(policy, kind, body),
        Some((plain, Some(body))) => gate::owner_of_key(policy, &plain_kind(plain), &body),
        Some((_, None)) => None,
    };
    Some(found.ok_or("its key is nobody's: no [people.NAME] has it in ssh-keys"))
}

/// The type of the key in a certificate: those of hardware keys keep OpenSSH's own ending.
fn plain_kind(kind: &str) -> String {
    if kind.starts_with("sk-") { format!("{kind}@openssh.com") } else { kind.to_owned() }
}

/// The public key that a certificate is about, as `authorized_keys` has it.
fn key_in_certificate(kind: &str, body: &str) -> Option<String> {
    let fields = match kind {
        "ssh-ed25519" => 1,
        "sk-ssh-ed25519" | "ssh-rsa" | "rsa-sha2-256" | "rsa-sha2-512" => 2,
        "ecdsa-sha2-nistp256" | "ecdsa-sha2-nistp384" | "ecdsa-sha2-nistp521" => 2,
        "sk-ecdsa-sha2-nistp256" => 3,
        _ => return None,
    };
    let blob = jitsudo_bytes::base64_decode(body)?;
    // Its own type and a nonce come first.
    let (_, rest) = string(&blob)?;
    let (_, mut rest) = string(rest)?;
    let name = plain_kind(kind);
    let mut key = u32::try_from(name.len()).ok()?.to_be_bytes().to_vec();
    key.extend(name.bytes());
    for _ in 0..fields {
        let (value, after) = string(rest)?;
        key.extend(u32::try_from(value.len()).ok()?.to_be_bytes());
        key.extend(value);
        rest = after;
    }
    Some(jitsudo_bytes::base64_encode(&key))
}

/// A string of RFC 4251 and what follows it.
fn string(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = bytes.split_at_checked(4)?;
    rest.split_at_checked(usize::try_from(u32::from_be_bytes(length.try_into().ok()?)).ok()?)
}

#[cfg(test)]
mod tests {
    use jitsudo_core::language::{self, HostLookup, SourceFile, Support};

    use super::*;

    const BODY: &str = "AAAAC3NzaC1lZDI1NTE5AAAAIGxz4OxdBK88UrsueR6CBvVZ6472MmgHptJO5qDBETm6";

    fn policy() -> Policy {
        let text = format!(
            "[people.alice]\naccounts = [\"alice\", \"alice-adm\"]\nssh-keys = [\"ssh-ed25519 {BODY} alice@laptop\"]\n\
             [people.bob]\naccounts = [\"bob\"]\n[roles.own]\nlogin = [\"@self\"]\n[roles.root]\nlogin = [\"root\"]\n\
             [[allow]]\nname = \"a\"\nwho = [\"alice\"]\nroles = [\"own\", \"root\"]\n"
        );
        let file = SourceFile { name: "10.toml".to_owned(), bytes: text.into() };
        let host = HostLookup { zone: &|_| None, resolve_directory: &str::to_owned, group_has_more: &|_| None };
        language::compile_with(&[file], &host, Support::Everything).unwrap().policy
    }

    const ROOT: Account<'static> = Account { name: "root", uid: Some(Uid(0)) };
    const ADMIN: Account<'static> = Account { name: "alice-adm", uid: Some(Uid(1002)) };

    fn by(account: Account<'_>, methods: &str) -> Result<String, String> {
        let policy = policy();
        let found = person(&policy, account, &Behind::Authenticated(methods.as_bytes()));
        found.map(|person| person.map_or_else(String::new, |person| person.to_string()))
    }

    #[test]
    fn methods_lead_to_one_person_or_to_nobody() {
        let key = format!("publickey ssh-ed25519 {BODY}\n");
        assert_eq!(by(ROOT, &key).unwrap(), "alice", "ssh root@host is alice");
        assert_eq!(by(ADMIN, &key).unwrap(), "alice");
        assert_eq!(by(ADMIN, "password\n").unwrap(), "alice");
        assert_eq!(by(ADMIN, &format!("{key}keyboard-interactive/pam\n")).unwrap(), "alice");
        assert_eq!(by(ROOT, "password\n").unwrap(), "root", "nobody's account is its own");
        for refused in [
            "",
            "\n",
            "publickey",
            "publickey ssh-ed25519 AAAAother",
            "hostbased ssh-ed25519 AAAA",
            "none",
            &format!("{key}publickey ssh-ed25519 AAAAother"),
            &format!("{key}gssapi-with-mic"),
        ] {
            assert!(by(ADMIN, refused).is_err(), "{refused:?}");
        }
        // The key is alice's, the password root's own.
        assert!(by(ROOT, &format!("{key}password\n")).unwrap_err().contains("different people"));
    }

    #[test]
    fn certificate_is_whose_key_it_is_about() {
        let plain = jitsudo_bytes::base64_decode(BODY).unwrap();
        let (_, rest) = string(&plain).unwrap();
        let mut blob = Vec::new();
        for text in [b"ssh-ed25519-cert-v01@openssh.com".as_slice(), &[7; 32]] {
            blob.extend(u32::try_from(text.len()).unwrap().to_be_bytes());
            blob.extend(text);
        }
        blob.extend(rest);
        blob.extend([0, 0, 0, 1]);
        let body = jitsudo_bytes::base64_encode(&blob);
        assert_eq!(by(ROOT, &format!("publickey ssh-ed25519-cert-v01@openssh.com {body}")).unwrap(), "alice");
        for cut in 0..blob.len() {
            let body = jitsudo_bytes::base64_encode(&blob[..cut]);
            let found = by(ROOT, &format!("publickey ssh-ed25519-cert-v01@openssh.com {body}"));
            assert!(found.is_err() || cut >= blob.len() - 4, "{cut}");
        }
    }

    #[test]
    fn caller_is_the_person_who_logged_in() {
        let policy = policy();
        let caller = |uid, name: &'static str, login| {
            let behind = Behind::Caller { uid, name: name.as_bytes(), login };
            person(&policy, ROOT, &behind).map(|person| person.unwrap().to_string())
        };
        assert_eq!(caller(1001, "alice", Some((1001, b"alice".as_slice()))).unwrap(), "alice");
        assert_eq!(caller(1002, "alice-adm", Some((1001, b"alice".as_slice()))).unwrap(), "alice");
        assert_eq!(caller(1001, "alice", None).unwrap(), "alice");
        assert!(caller(1001, "alice", Some((1003, b"bob".as_slice()))).is_err());
        assert_eq!(caller(1020, "dave", None).unwrap(), "dave");
        assert_eq!(person(&policy, ROOT, &Behind::Later), Ok(None));
    }
}
