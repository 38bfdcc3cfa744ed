//! The command line of `jitctl`.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

/// Exit statuses, shown under every help.
const STATUSES: &str =
    "Exit status: 0 done, 1 refused, 2 usage, 3 nothing found, 4 a check found something bad, 69 no daemon.";

/// Look at rights, records and rules of jitsudo on this host; without a verb: where do I stand?
#[derive(Parser, Debug)]
#[command(name = "jitctl", version, after_help = STATUSES, max_term_width = 80, disable_help_subcommand = true)]
pub(crate) struct Arguments {
    /// Print the data as JSON (docs/json.md)
    #[arg(long, global = true)]
    pub(crate) json: bool,
    #[command(subcommand)]
    pub(crate) verb: Option<Verb>,
}

#[derive(Subcommand, Debug)]
pub(crate) enum Verb {
    /// Check, apply and explain the rules of this host
    #[command(subcommand)]
    Policy(Policy),
    /// Ask for a whole role: what it lists, any number of times, until it is over
    Request(Request),
    /// Hold a role for longer, where its rule lets you
    Extend(Extend),
    /// Say yes to a request that waits for you; without an ID: show what waits for you
    Approve(Approve),
    /// Say no to a request that waits for you
    Refuse(Refuse),
    /// Give back a role, or end a command of yours, before its time
    Release(Release),
    /// Take a request back that nothing was given for yet
    Withdraw(Withdraw),
    /// The same for anybody's (others' need the duty `end` or root)
    End(End),
    /// Show the break-glass that waits for a review, or say that one was done
    Review(Review),
    /// Let nothing start for an account and its person, and end all of it (duty `lock` or root)
    Lock(Lock),
    /// Give back what a lock took (duty `lock` or root)
    Unlock(Unlock),
    /// Show what you may ask for
    Roles,
    /// Show what was asked, and what became of it; yours without a duty
    Requests(Requests),
    /// Show everything of one access, or the card of what you may answer; yours without a duty
    Show(Show),
    /// Tell what happened, in the order in which it did; yours without a duty
    Timeline(Timeline),
    /// Show the roles that are held; yours without a duty
    Grants(Grants),
    /// Show what grants may have left on the host, until somebody acknowledges it; yours without a duty
    Residue(Residue),
    /// Show what was asked, decided and run; yours without a duty
    Log(Log),
    /// Show running commands and shells; yours without a duty
    Sessions(Sessions),
    /// Prove the records
    #[command(subcommand)]
    Audit(Audit),
    /// Put the gate before admin accounts into services, and take it out (root only)
    #[command(subcommand)]
    Gate(Gate),
    /// Show the health of the daemon
    Status,
    /// Look for what is broken on this host, with the command that mends it
    Doctor(Doctor),
}

#[derive(Subcommand, Debug)]
pub(crate) enum Policy {
    /// Check policy files, as anybody, without a daemon; nothing is changed
    Check(Check),
    /// Put the files of /etc/jitsudo/policy.d in force (root only)
    Apply(Apply),
    /// Say how a command would be decided, and why
    Explain(Explain),
    /// Say which policy is in force
    Status,
}

#[derive(Subcommand, Debug)]
pub(crate) enum Gate {
    /// Keep gated accounts out of these services without a grant
    Enable(GateEnable),
    /// Take it out of these services
    Disable(GateDisable),
    /// Say which services are gated
    Status,
}

#[derive(Args, Debug)]
pub(crate) struct GateEnable {
    /// Services, as their files in /etc/pam.d are called
    #[arg(required = true, value_name = "SERVICE")]
    pub(crate) services: Vec<String>,
    /// This account enters there without a grant, loudly [default: root in login, none elsewhere]
    #[arg(long, value_name = "ACCOUNT", value_parser = account_name)]
    pub(crate) rescue: Option<String>,
}

#[derive(Args, Debug)]
pub(crate) struct GateDisable {
    /// Services
    #[arg(required_unless_present = "all", value_name = "SERVICE")]
    pub(crate) services: Vec<String>,
    /// Every service
    #[arg(long, conflicts_with = "services")]
    pub(crate) all: bool,
}

/// A name that stands in a line of PAM's as one word.
fn account_name(text: &str) -> Result<String, String> {
    let is_name = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    let sound = !text.is_empty() && text.len() <= 32 && text.bytes().all(is_name);
    if sound { Ok(text.to_owned()) } else { Err("this is no account's name".to_owned()) }
}

#[derive(Args, Debug)]
pub(crate) struct Check {
    /// Files or directories of .toml files [default: /etc/jitsudo/policy.d]
    #[arg(value_name = "PATH")]
    pub(crate) paths: Vec<PathBuf>,
}

#[derive(Args, Debug)]
pub(crate) struct Apply {
    /// Do not ask; for scripts
    #[arg(long, conflicts_with = "dry_run")]
    pub(crate) yes: bool,
    /// Only say what would change
    #[arg(long)]
    pub(crate) dry_run: bool,
}

#[derive(Args, Debug)]
pub(crate) struct Explain {
    /// As if this account asked (needs the duty `policy`)
    #[arg(long, value_name = "ACCOUNT")]
    pub(crate) user: Option<String>,
    /// The account to run as
    #[arg(short = 'u', value_name = "TARGET")]
    pub(crate) target: Option<String>,
    /// The group to run as
    #[arg(short = 'g', value_name = "GROUP")]
    pub(crate) group: Option<String>,
    /// The command and its arguments
    #[arg(required = true, trailing_var_arg = true, value_name = "CMD")]
    pub(crate) command: Vec<OsString>,
}

#[derive(Args, Debug)]
pub(crate) struct Log {
    /// Every event of this access: its id, or the last six characters of it
    #[arg(value_name = "ID", conflicts_with_all = ["user", "all", "follow"])]
    pub(crate) id: Option<String>,
    /// Only what this account asked
    #[arg(long, value_name = "ACCOUNT")]
    pub(crate) user: Option<String>,
    /// Everybody's (needs the duty `see`)
    #[arg(long)]
    pub(crate) all: bool,
    /// At most this many events, the newest
    #[arg(long, value_name = "N", default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub(crate) limit: u32,
    /// Go on with what happens from now on
    #[arg(long, short = 'f')]
    pub(crate) follow: bool,
}

#[derive(Args, Debug)]
pub(crate) struct Request {
    /// The role, as `jitctl roles` names it
    #[arg(value_name = "ROLE", value_parser = clap::builder::NonEmptyStringValueParser::new())]
    pub(crate) role: String,
    /// For so long, as 30m or 1h30m [default: as long as the rule gives it]
    #[arg(long = "for", value_name = "DURATION", allow_hyphen_values = true)]
    pub(crate) window: Option<String>,
    /// Why; some rules ask for it
    #[arg(long, short = 'm', value_name = "TEXT")]
    pub(crate) reason: Option<String>,
    /// The ticket that it is for
    #[arg(long, value_name = "ID")]
    pub(crate) ticket: Option<String>,
    /// By a break-glass rule: proven now, recorded loudly, reviewed by another person before the next
    #[arg(long)]
    pub(crate) break_glass: bool,
    /// Do not wait for approvers: print the id
    #[arg(long)]
    pub(crate) no_wait: bool,
    /// Use the approval of what was asked under this id, with the same words
    #[arg(long, value_name = "ID")]
    pub(crate) use_id: Option<String>,
}

#[derive(Args, Debug)]
pub(crate) struct Review {
    /// The id, or the last six characters of it; without it: show what waits
    #[arg(value_name = "ID", requires = "note")]
    pub(crate) id: Option<String>,
    /// What was found; it stands in the ledger
    #[arg(long, short = 'm', value_name = "TEXT", requires = "id")]
    pub(crate) note: Option<String>,
}

#[derive(Args, Debug)]
pub(crate) struct Approve {
    /// The request: its id, or the last six characters of it
    #[arg(value_name = "ID")]
    pub(crate) id: Option<String>,
    /// For at most so long, as 30m or 1h30m
    #[arg(long = "for", value_name = "DURATION", requires = "id")]
    pub(crate) window: Option<String>,
    /// Do not ask, and say yes to the card of this digest alone; for scripts
    #[arg(long, value_name = "HEX", requires = "id")]
    pub(crate) digest: Option<String>,
    /// Hand in a yes that was signed elsewhere: what `ssh-keygen -Y sign` wrote; - reads it from standard input
    #[arg(long, value_name = "FILE", requires = "id", conflicts_with = "digest")]
    pub(crate) signature: Option<PathBuf>,
}

#[derive(Args, Debug)]
pub(crate) struct Refuse {
    /// The request: its id, or the last six characters of it
    #[arg(value_name = "ID")]
    pub(crate) id: String,
    /// Why; its requester reads it
    #[arg(long, short = 'm', value_name = "TEXT")]
    pub(crate) reason: String,
    /// Hand in a no that was signed elsewhere, for that reason; - reads it from standard input
    #[arg(long, value_name = "FILE")]
    pub(crate) signature: Option<PathBuf>,
}

#[derive(Args, Debug)]
pub(crate) struct Doctor {
    /// Compare the privileges on this host with the grants on record (root only)
    #[arg(long)]
    pub(crate) privileges: bool,
}

#[derive(Args, Debug)]
pub(crate) struct Extend {
    /// The id, or the last six characters of it
    #[arg(value_name = "ID", value_parser = clap::builder::NonEmptyStringValueParser::new())]
    pub(crate) id: String,
    /// For so much longer, as 15m [default: as much as the rule gives at once]
    #[arg(long = "for", value_name = "DURATION", allow_hyphen_values = true)]
    pub(crate) window: Option<String>,
    /// Why; without it the reason that the role was asked for with
    #[arg(long, short = 'm', value_name = "TEXT")]
    pub(crate) reason: Option<String>,
}

#[derive(Args, Debug)]
pub(crate) struct Withdraw {
    /// The id, or the last six characters of it
    #[arg(value_name = "ID")]
    pub(crate) id: String,
}

#[derive(Args, Debug)]
pub(crate) struct Lock {
    /// The account, or #UID
    #[arg(value_name = "ACCOUNT")]
    pub(crate) account: String,
    /// Why; it stands in the ledger, and the account's requester reads it
    #[arg(long, short = 'm', value_name = "TEXT")]
    pub(crate) reason: String,
}

#[derive(Args, Debug)]
pub(crate) struct Unlock {
    /// The account, or #UID
    #[arg(value_name = "ACCOUNT")]
    pub(crate) account: String,
}

#[derive(Args, Debug)]
pub(crate) struct Requests {
    /// Everybody's (needs the duty `see`)
    #[arg(long)]
    pub(crate) all: bool,
    /// Only your own, as root too
    #[arg(long, conflicts_with = "all")]
    pub(crate) mine: bool,
    /// What waits for your answer
    #[arg(long, conflicts_with_all = ["all", "mine"])]
    pub(crate) to_approve: bool,
    /// Go on with what changes from now on
    #[arg(long, short = 'f')]
    pub(crate) follow: bool,
}

#[derive(Args, Debug)]
pub(crate) struct Show {
    /// The id, or the last six characters of it
    #[arg(value_name = "ID")]
    pub(crate) id: String,
    /// Write the text that an approver signs elsewhere: ssh-keygen -Y sign -n jitsudo-approval@v1 -f KEY FILE
    #[arg(long)]
    pub(crate) card: bool,
    /// With --card: the answer is a yes for at most so long, as 30m or 1h30m
    #[arg(long = "for", value_name = "DURATION", requires = "card")]
    pub(crate) window: Option<String>,
    /// With --card: the answer is a no, for this reason
    #[arg(long, value_name = "TEXT", requires = "card", conflicts_with = "window")]
    pub(crate) refuse: Option<String>,
}

#[derive(Args, Debug)]
pub(crate) struct Timeline {
    /// Only this access: its id, or the last six characters of it
    #[arg(value_name = "ID", conflicts_with_all = ["user", "all"])]
    pub(crate) id: Option<String>,
    /// Only what this account asked (another's needs the duty `see`)
    #[arg(long, value_name = "ACCOUNT")]
    pub(crate) user: Option<String>,
    /// Everybody's, and what concerns the host (needs the duty `see`)
    #[arg(long)]
    pub(crate) all: bool,
    /// Only what happened since: 2h, 14:30, 2026-10-04, 2026-10-04T14:30
    #[arg(long, value_name = "WHEN", allow_hyphen_values = true)]
    pub(crate) since: Option<String>,
}

#[derive(Args, Debug)]
pub(crate) struct Release {
    /// The id, or the last six characters of it
    #[arg(value_name = "ID")]
    pub(crate) id: String,
}

#[derive(Args, Debug)]
pub(crate) struct End {
    /// The id, or the last six characters of it
    #[arg(value_name = "ID")]
    pub(crate) id: String,
    /// Why; it stands in the ledger
    #[arg(long, short = 'm', value_name = "TEXT")]
    pub(crate) reason: Option<String>,
}

#[derive(Args, Debug)]
pub(crate) struct Grants {
    /// Everybody's (needs the duty `see`)
    #[arg(long)]
    pub(crate) all: bool,
}

#[derive(Args, Debug)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct Residue {
    /// Everybody's (needs the duty `see`)
    #[arg(long)]
    pub(crate) all: bool,
    #[command(subcommand)]
    pub(crate) what: Option<ResidueVerb>,
}

#[derive(Subcommand, Debug)]
pub(crate) enum ResidueVerb {
    /// Say that it was looked at (root, or the duty `end` or `review`; never one's own)
    Acknowledge(AcknowledgeResidue),
}

#[derive(Args, Debug)]
pub(crate) struct AcknowledgeResidue {
    /// The grant's id, or the last six characters of it
    #[arg(value_name = "ID")]
    pub(crate) id: String,
    /// What was found or done; it stands in the ledger
    #[arg(long, short = 'm', value_name = "TEXT")]
    pub(crate) reason: String,
}

#[derive(Args, Debug)]
pub(crate) struct Sessions {
    /// Those that ended as well
    #[arg(long)]
    pub(crate) ended: bool,
    /// Everybody's (needs the duty `see`)
    #[arg(long)]
    pub(crate) all: bool,
}

#[derive(Subcommand, Debug)]
pub(crate) enum Audit {
    /// Verify order and integrity of the ledger (root only, works without the daemon)
    Verify(Verify),
    /// Go on with a ledger that lacks what was signed (root only); say why
    Acknowledge(Acknowledge),
}

#[derive(Args, Debug)]
pub(crate) struct Verify {
    /// A head known from elsewhere (another host's syslog, a printout); may be given several times
    #[arg(long, value_name = "SEQ:HASH", value_parser = head)]
    pub(crate) head: Vec<Head>,
    /// Another ledger than this host's
    #[arg(long, value_name = "DIR")]
    pub(crate) ledger: Option<PathBuf>,
    /// The public key of the host that signed; may be given several times [default: /var/lib/jitsudo/host.pub]
    #[arg(long, value_name = "FILE")]
    pub(crate) key: Vec<PathBuf>,
}

#[derive(Args, Debug)]
pub(crate) struct Acknowledge {
    /// Why it may go on: what happened to the ledger, who looked, what was found
    #[arg(long, value_name = "TEXT")]
    pub(crate) reason: String,
}

/// A head known from elsewhere.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Head {
    /// Sequence of the event.
    pub(crate) seq: u64,
    /// Its hash, 64 lower-case hex digits.
    pub(crate) hash: String,
}

/// Parses `SEQ:HASH`.
pub(crate) fn head(text: &str) -> Result<Head, String> {
    let (seq, hash) = text.split_once(':').ok_or("expected SEQ:HASH")?;
    let seq = seq.parse().map_err(|_| "the sequence is not a number")?;
    let hash = hash.to_ascii_lowercase();
    if hash.len() != 64 || !hash.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Err("the hash is not 64 hex digits".to_owned());
    }
    Ok(Head { seq, hash })
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory as _;

    fn parse(line: &str) -> Result<Arguments, clap::Error> {
        Arguments::try_parse_from(std::iter::once("jitctl").chain(line.split_whitespace()))
    }

    #[test]
    fn the_definition_is_sound() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn every_verb_of_this_version_parses_with_json() {
        for line in [
            "",
            "policy check",
            "policy check a.toml dir",
            "policy apply --yes",
            "policy apply --dry-run",
            "policy explain -- systemctl restart nginx",
            "policy explain --user bob -u root -g adm systemctl restart nginx",
            "policy status",
            "roles",
            "request web-operator --for 30m -m why --ticket OPS-1",
            "extend k3v9tz --for 15m -m why",
            "release k3v9tz",
            "withdraw k3v9tz",
            "lock bob --reason left",
            "unlock bob",
            "requests --all",
            "requests --mine",
            "show k3v9tz",
            "timeline",
            "timeline k3v9tz --since 2h",
            "timeline --user bob",
            "timeline --all --since 14:30",
            "end k3v9tz --reason late",
            "grants --all",
            "request root-shell --break-glass -m fire",
            "review",
            "review k3v9tz --note sound",
            "log",
            "log k3v9tz",
            "log --user bob --limit 5 --follow",
            "log --all",
            "sessions --ended --all",
            "audit verify --head 7:0000000000000000000000000000000000000000000000000000000000000000 --ledger /tmp/l",
            "audit verify --key a.pub --key b.pub",
            "audit acknowledge --reason restored",
            "status",
            "doctor",
            "doctor --privileges",
        ] {
            assert!(parse(&format!("--json {line}")).is_ok(), "{line}");
        }
    }

    #[test]
    fn options_after_the_explained_command_are_the_commands() {
        let Some(Verb::Policy(Policy::Explain(explain))) = parse("policy explain -u bob ls --json -u x").unwrap().verb
        else {
            panic!("not explain")
        };
        assert_eq!(explain.command, ["ls", "--json", "-u", "x"]);
        assert_eq!(explain.target.as_deref(), Some("bob"));
    }

    #[test]
    fn wrong_usage_exits_2_and_help_exits_0() {
        for line in [
            "policy",
            "policy apply --yes --dry-run",
            "policy explain",
            "request",
            "release",
            "review k3v9tz",
            "review --note sound",
            "extend",
            "lock bob",
            "requests --all --mine",
            "timeline k3v9tz --user bob",
            "log --limit 0",
            "log --limit 100001",
            "log k3v9tz --all",
            "audit acknowledge",
            "audit verify --head 7",
            "audit verify --head 7:abc",
            "audit verify --head x:0000000000000000000000000000000000000000000000000000000000000000",
            "nonsense",
            "--nonsense",
        ] {
            assert_eq!(parse(line).unwrap_err().exit_code(), 2, "{line}");
        }
        for line in ["--help", "--version", "log --help", "policy explain --help"] {
            assert_eq!(parse(line).unwrap_err().exit_code(), 0, "{line}");
        }
    }
}
