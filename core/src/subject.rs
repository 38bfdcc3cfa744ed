//! The names of a policy: who, as whom, where, from where. Each is one string in the compiled form.

use std::fmt;
use std::net::IpAddr;

use crate::pattern::{Flat, PatternError, Slash};

/// Why a text is none of these names.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NameError(pub(crate) String);

impl fmt::Display for NameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
impl std::error::Error for NameError {}

fn wrong<T>(text: impl Into<String>) -> Result<T, NameError> {
    Err(NameError(text.into()))
}

/// Gives a string type its serde shape.
macro_rules! as_string {
    ($name:ident) => {
        impl TryFrom<String> for $name {
            type Error = NameError;
            fn try_from(text: String) -> Result<Self, NameError> {
                Self::parse(&text)
            }
        }
        impl From<$name> for String {
            fn from(value: $name) -> Self {
                value.to_string()
            }
        }
    };
}

/// Parses an id: digits only, and not 2^32-1, which is "no id" to the kernel.
pub(crate) fn id(text: &str) -> Option<u32> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse::<u32>().ok().filter(|id| digits && *id != u32::MAX)
}

/// True for a name that an account or group can have here. Compared byte by byte; what looks like a number or an option is none.
pub(crate) fn is_account_name(text: &str) -> bool {
    let odd = |character: char| {
        character.is_control()
            || character.is_whitespace()
            || matches!(character, ':' | ',' | '/' | '%' | '#' | '*' | '?')
    };
    !text.is_empty()
        && text.len() <= 256
        && !text.starts_with(['-', '@', '+', '!'])
        && !text.chars().any(odd)
        && !text.bytes().all(|byte| byte.is_ascii_digit())
}

/// Whom `who`, `members` and `by` name.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, serde::Serialize, serde::Deserialize)]
#[serde(try_from = "String", into = "String")]
pub(crate) enum Subject {
    /// That account.
    User(String),
    /// That uid.
    Uid(u32),
    /// That Unix group.
    Group(String),
    /// That gid.
    Gid(u32),
    /// uids 1000-60000 that NSS knows.
    All,
    /// A person, service or team, by its place in the policy.
    Set(u32),
}
as_string!(Subject);

impl Subject {
    fn parse(text: &str) -> Result<Self, NameError> {
        if text == "ALL" {
            return Ok(Self::All);
        }
        if let Some(set) = text.strip_prefix('@') {
            return set.parse().map(Self::Set).or_else(|_| wrong(format!("@{set} is no place of a set")));
        }
        let named = |name: &str, kind: &str| {
            if is_account_name(name) {
                Ok(name.to_owned())
            } else {
                wrong(format!("{name:?} cannot be the name of {kind}"))
            }
        };
        match text.strip_prefix('%') {
            Some(group) => match group.strip_prefix('#') {
                Some(number) => {
                    id(number).map(Self::Gid).ok_or_else(|| NameError(format!("{number:?} is no group id")))
                }
                None => named(group, "a group").map(Self::Group),
            },
            None => match text.strip_prefix('#') {
                Some(number) => id(number).map(Self::Uid).ok_or_else(|| NameError(format!("{number:?} is no user id"))),
                None => named(text, "an account").map(Self::User),
            },
        }
    }
}
impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::User(name) => f.write_str(name),
            Self::Uid(uid) => write!(f, "#{uid}"),
            Self::Group(name) => write!(f, "%{name}"),
            Self::Gid(gid) => write!(f, "%#{gid}"),
            Self::All => f.write_str("ALL"),
            Self::Set(set) => write!(f, "@{set}"),
        }
    }
}

/// One half of an `as` entry.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Whom {
    /// Every one.
    All,
    /// By name.
    Name(String),
    /// By id.
    Id(u32),
}

impl Whom {
    fn parse(text: &str) -> Result<Self, NameError> {
        if text == "ALL" {
            return Ok(Self::All);
        }
        match text.strip_prefix('#') {
            Some(number) => id(number).map(Self::Id).ok_or_else(|| NameError(format!("{number:?} is no id"))),
            None if is_account_name(text) => Ok(Self::Name(text.to_owned())),
            None => wrong(format!("{text:?} cannot be a name of an account or group")),
        }
    }
}
impl fmt::Display for Whom {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::All => f.write_str("ALL"),
            Self::Name(name) => f.write_str(name),
            Self::Id(id) => write!(f, "#{id}"),
        }
    }
}

/// An entry of `as`: `user`, `user:group`, `:group`.
#[derive(Clone, PartialEq, Eq, Debug, serde::Serialize, serde::Deserialize)]
#[serde(try_from = "String", into = "String")]
pub(crate) struct AsWhom {
    /// `None`: the requester's own account.
    pub(crate) user: Option<Whom>,
    /// `None`: no `-g`.
    pub(crate) group: Option<Whom>,
}
as_string!(AsWhom);

impl AsWhom {
    fn parse(text: &str) -> Result<Self, NameError> {
        let (user, group) = match text.split_once(':') {
            Some((user, group)) => (user, Some(Whom::parse(group)?)),
            None => (text, None),
        };
        if user.is_empty() && group.is_none() {
            return wrong("an entry of `as` is an account, account:group or :group");
        }
        let user = if user.is_empty() { None } else { Some(Whom::parse(user)?) };
        Ok(Self { user, group })
    }
}
impl fmt::Display for AsWhom {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(user) = &self.user {
            write!(f, "{user}")?;
        }
        if let Some(group) = &self.group {
            write!(f, ":{group}")?;
        }
        Ok(())
    }
}

/// A value of `origin`.
#[derive(Clone, PartialEq, Eq, Debug, serde::Serialize, serde::Deserialize)]
#[serde(try_from = "String", into = "String")]
pub(crate) enum OriginIs {
    /// The peer has a terminal.
    Terminal,
    /// It has none.
    NoTerminal,
    /// It is in this unit.
    Unit(String),
    /// It is confined.
    Sandbox,
    /// A login at the console.
    Console,
    /// A login over ssh.
    Ssh,
    /// A login over ssh from this network.
    SshFrom(IpAddr, u8),
}
as_string!(OriginIs);

impl OriginIs {
    fn parse(text: &str) -> Result<Self, NameError> {
        Ok(match text {
            "terminal" => Self::Terminal,
            "no-terminal" => Self::NoTerminal,
            "sandbox" => Self::Sandbox,
            "console" => Self::Console,
            "ssh" => Self::Ssh,
            _ => match (text.strip_prefix("unit:"), text.strip_prefix("ssh:")) {
                (Some(unit), _) if !unit.is_empty() => Self::Unit(unit.to_owned()),
                (_, Some(network)) => return network_of(network),
                _ => {
                    return wrong(format!(
                        "there is no origin {text:?}: terminal, no-terminal, console, ssh, ssh:CIDR, unit:NAME, sandbox"
                    ));
                }
            },
        })
    }

    /// True when the address lies in the network; IPv4 inside IPv6 counts as IPv4.
    pub(crate) fn network_holds(network: IpAddr, bits: u8, address: IpAddr) -> bool {
        match (network.to_canonical(), address.to_canonical()) {
            (IpAddr::V4(network), IpAddr::V4(address)) => {
                let keep = u32::MAX.checked_shl(32u32.saturating_sub(u32::from(bits))).unwrap_or(0);
                network.to_bits() & keep == address.to_bits() & keep
            }
            (IpAddr::V6(network), IpAddr::V6(address)) => {
                let keep = u128::MAX.checked_shl(128u32.saturating_sub(u32::from(bits))).unwrap_or(0);
                network.to_bits() & keep == address.to_bits() & keep
            }
            _ => false,
        }
    }
}

fn network_of(text: &str) -> Result<OriginIs, NameError> {
    let bad = || NameError(format!("{text:?} is no network: write ssh:10.0.0.0/8"));
    let (address, bits) = match text.split_once('/') {
        Some((address, bits)) if bits.bytes().all(|byte| byte.is_ascii_digit()) => {
            (address.parse::<IpAddr>().map_err(|_| bad())?, Some(bits.parse::<u8>().map_err(|_| bad())?))
        }
        Some(_) => return Err(bad()),
        None => (text.parse::<IpAddr>().map_err(|_| bad())?, None),
    };
    let most = if address.is_ipv4() { 32 } else { 128 };
    let bits = bits.unwrap_or(most);
    let canonical = address.to_canonical() == address;
    if bits > most || !canonical { Err(bad()) } else { Ok(OriginIs::SshFrom(address, bits)) }
}
impl fmt::Display for OriginIs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Terminal => f.write_str("terminal"),
            Self::NoTerminal => f.write_str("no-terminal"),
            Self::Sandbox => f.write_str("sandbox"),
            Self::Console => f.write_str("console"),
            Self::Ssh => f.write_str("ssh"),
            Self::Unit(unit) => write!(f, "unit:{unit}"),
            Self::SshFrom(network, bits) => write!(f, "ssh:{network}/{bits}"),
        }
    }
}

/// A value of `hosts`.
#[derive(Clone, PartialEq, Eq, Debug, serde::Serialize, serde::Deserialize)]
#[serde(try_from = "String", into = "String")]
pub(crate) enum HostIs {
    /// A name or pattern; with a dot against the full name, without one against the first label.
    Name(Words),
    /// A label of the host.
    Label(String),
    /// A host set, by its place in the policy.
    Set(u32),
}
as_string!(HostIs);

impl HostIs {
    fn parse(text: &str) -> Result<Self, NameError> {
        if let Some(set) = text.strip_prefix('@') {
            return set.parse().map(Self::Set).or_else(|_| wrong(format!("@{set} is no place of a set")));
        }
        if let Some(label) = text.strip_prefix("label:") {
            let sound = !label.is_empty() && label.chars().all(|character| character.is_ascii_graphic());
            return if sound { Ok(Self::Label(label.to_owned())) } else { wrong(format!("{label:?} is no label")) };
        }
        let sound = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-._*?[]{},!".contains(&byte);
        if text.is_empty() || !text.bytes().all(sound) {
            return wrong(format!(
                "{text:?} is no host pattern: lower case letters, digits, `-`, `.`, `*`, `?`, `[]`, `{{}}`"
            ));
        }
        Words::parse(text, false).map(Self::Name).map_err(|error| NameError(error.to_string()))
    }

    /// True when the pattern covers this enrolled name.
    pub(crate) fn name_holds(pattern: &Words, host: &str) -> bool {
        let host = if pattern.text.contains('.') { host } else { host.split('.').next().unwrap_or(host) };
        pattern.ways.iter().any(|way| way.covers_text(host, Slash::IsPlain))
    }
}
impl fmt::Display for HostIs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(words) => f.write_str(&words.text),
            Self::Label(label) => write!(f, "label:{label}"),
            Self::Set(set) => write!(f, "@{set}"),
        }
    }
}

/// A text with braces and globs, parsed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Words {
    /// As written.
    pub(crate) text: String,
    /// One for each way through the braces.
    pub(crate) ways: Vec<Flat>,
}

impl Words {
    fn parse(text: &str, deep: bool) -> Result<Self, PatternError> {
        Ok(Self { text: text.to_owned(), ways: crate::pattern::words(text, deep)? })
    }
}

/// A path glob of `edit`.
#[derive(Clone, PartialEq, Eq, Debug, serde::Serialize, serde::Deserialize)]
#[serde(try_from = "String", into = "String")]
pub(crate) struct PathGlob(pub(crate) Words);
as_string!(PathGlob);

impl PathGlob {
    fn parse(text: &str) -> Result<Self, NameError> {
        let climbs = text.split('/').any(|part| part == "..");
        if !text.starts_with('/') || climbs {
            return wrong(format!("{text:?} is no absolute path without `..`"));
        }
        Words::parse(text, true).map(Self).map_err(|error| NameError(error.to_string()))
    }
}
impl fmt::Display for PathGlob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identity_nss_05_numbers_options_and_blanks_are_no_names() {
        for text in [
            "0",
            "1002",
            "-rf",
            "root ",
            "",
            "a:b",
            "%",
            "%%g",
            "#",
            "#-1",
            "#4294967295",
            "#4294967296",
            "%#x",
            "a\nb",
            "#+1",
            "+x",
        ] {
            assert!(Subject::parse(text).is_err(), "{text:?}");
        }
        assert_eq!(Subject::parse("ROOT").unwrap(), Subject::User("ROOT".to_owned()));
        assert_eq!(Subject::parse("user@realm").unwrap(), Subject::User("user@realm".to_owned()));
        assert_ne!(Subject::parse("r\u{43e}\u{43e}t").unwrap(), Subject::User("root".to_owned()));
    }

    #[test]
    fn cmd_match_01_uid_minus_one_is_no_account() {
        for text in ["#-1", "#4294967295", "-1", "4294967295", "#", "#1:", ":"] {
            assert!(AsWhom::parse(text).is_err(), "{text:?}");
        }
        assert_eq!(AsWhom::parse("#4294967294").unwrap().user, Some(Whom::Id(4_294_967_294)));
    }

    #[test]
    fn networks_hold_their_addresses_only() {
        for (network, address, holds) in [
            ("ssh:10.0.0.0/8", "10.4.1.7", true),
            ("ssh:10.0.0.0/8", "11.4.1.7", false),
            ("ssh:10.0.0.0/8", "::ffff:10.1.1.1", true),
            ("ssh:0.0.0.0/0", "1.2.3.4", true),
            ("ssh:0.0.0.0/0", "2001:db8::1", false),
            ("ssh:2001:db8::/32", "2001:db8::1", true),
            ("ssh:2001:db8::/32", "2001:db9::1", false),
            ("ssh:192.0.2.1", "192.0.2.1", true),
            ("ssh:192.0.2.1", "192.0.2.2", false),
        ] {
            let OriginIs::SshFrom(net, bits) = OriginIs::parse(network).unwrap() else { panic!("{network}") };
            assert_eq!(OriginIs::network_holds(net, bits, address.parse().unwrap()), holds, "{network} {address}");
        }
        for text in ["ssh:", "ssh:host", "ssh:10.0.0.0/33", "ssh:10.0.0.0/+8", "unit:", "tty", "ssh:::ffff:1.2.3.4/128"]
        {
            assert!(OriginIs::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn host_patterns_read_the_full_name_only_with_a_dot() {
        for (pattern, host, holds) in [
            ("web-*", "web-1", true),
            ("web-*", "web-1.prod.example.com", true),
            ("web-*", "xweb-1", false),
            ("web-1", "web-1.prod.example.com", true),
            ("*.example.com", "db.prod.example.com", true),
            ("*.example.com", "web-1", false),
            ("db-*.prod.example.com", "db-1.prod.example.com", true),
            ("db-*.prod.example.com", "db-1.test.example.com", false),
            ("{web,db}-[12]", "db-2", true),
        ] {
            let HostIs::Name(words) = HostIs::parse(pattern).unwrap() else { panic!("{pattern}") };
            assert_eq!(HostIs::name_holds(&words, host), holds, "{pattern} {host}");
        }
        assert!(HostIs::parse("Web").is_err());
    }
}
