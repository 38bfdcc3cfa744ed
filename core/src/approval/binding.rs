//! What an approval is bound to: one canonical encoding of a request, whose SHA-256 is the digest that an approver says yes to.
//!
//! Every field is there in a fixed order: numbers as eight bytes, big end first; a string as its length and its bytes; what may be absent
//! as 0, or 1 and the value; a list as its length and its items. The first string names the form, so that no later one can be taken for
//! it. docs/approvals.md describes it for whoever wants to make the digest without a program of ours.
//!
//! MUSTs
//! 1. Every field moves the bytes (`approval_01_every_field_moves_the_bytes`).
//! 2. No two bindings have the same bytes (`fields_never_run_into_each_other`).
//! 3. The bytes of this version never change (`bytes_are_those_of_version_1`).

use jiff::Timestamp;
use jitsudo_bytes::Bytes;

use crate::decision::{Cwd, Record};
use crate::id::AccessId;
use crate::name::{Gid, Uid};
use crate::policy::Policy;
use crate::request::Kind;
use crate::rule::Role;

/// Names the form.
const VERSION: &[u8] = b"jitsudo approval v1";
/// Names the form of a role's content.
const ROLE_VERSION: &[u8] = b"jitsudo role v1";

/// A file that is run, by place and content.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct File<'a> {
    /// Its path: directories resolved, last component as asked.
    pub path: &'a Bytes,
    /// Device number.
    pub device: u64,
    /// Inode number.
    pub inode: u64,
    /// SHA-256 of its content.
    pub sha256: [u8; 32],
}

/// The program of a request.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Program<'a> {
    /// The file.
    pub file: File<'a>,
    /// What runs it, where it is a script.
    pub interpreter: Option<File<'a>>,
}

/// Exactly what is to happen, where, and until when it may be said yes to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Binding<'a> {
    /// Fingerprint of the host's key, `SHA256:…`.
    pub host_key: &'a str,
    /// Boot id.
    pub boot: &'a str,
    /// The access.
    pub id: &'a AccessId,
    /// Random, made for this request.
    pub nonce: [u8; 16],
    /// Answers count until then.
    pub answer_by: Timestamp,
    /// Requester's uid.
    pub uid: Uid,
    /// The person behind it, where the policy names one.
    pub person: Option<&'a str>,
    /// Audit login uid, if set.
    pub loginuid: Option<Uid>,
    /// Kind of request.
    pub kind: Kind,
    /// Program and arguments, or files; empty for a bare shell or a role.
    pub argv: &'a [Bytes],
    /// What is executed; nothing is for `-e` and a role.
    pub program: Option<Program<'a>>,
    /// Working directory.
    pub cwd: Option<&'a Bytes>,
    /// As whom.
    pub target: (Uid, Gid),
    /// Supplementary groups, in the order in which they are set.
    pub groups: &'a [Gid],
    /// The variables that the command gets, sorted by name; what only PAM adds is not among them.
    pub environment: &'a [(Bytes, Bytes)],
    /// The umask that the command gets.
    pub umask: u32,
    /// The capabilities that it is confined to, if it is.
    pub caps: Option<&'a [String]>,
    /// The role that gives it.
    pub role: &'a str,
    /// See [`role_content`].
    pub role_content: &'a [u8],
    /// Seconds that a role, shell or login may last.
    pub window: u64,
    /// Seconds that one command may run.
    pub run_time: u64,
    /// What is kept.
    pub record: Record,
    /// Why.
    pub reason: Option<&'a str>,
    /// Ticket.
    pub ticket: Option<&'a str>,
}

impl Binding<'_> {
    /// The bytes that the digest is made of.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        // Taken apart whole: a field that is added must be in the bytes, under another version.
        let Self {
            host_key,
            boot,
            id,
            nonce,
            answer_by,
            uid,
            person,
            loginuid,
            kind,
            argv,
            program,
            cwd,
            target: (target, gid),
            groups,
            environment,
            umask,
            caps,
            role,
            role_content,
            window,
            run_time,
            record,
            reason,
            ticket,
        } = *self;
        let mut to = Encoder(Vec::new());
        to.bytes(VERSION);
        to.bytes(host_key.as_bytes());
        to.bytes(boot.as_bytes());
        to.bytes(id.as_str().as_bytes());
        to.bytes(&nonce);
        to.0.extend(answer_by.as_microsecond().to_be_bytes());
        to.number(uid.0.into());
        to.optional(person, |to, person| to.bytes(person.as_bytes()));
        to.optional(loginuid, |to, uid| to.number(uid.0.into()));
        to.number(match kind {
            Kind::Command => 1,
            Kind::Shell => 2,
            Kind::LoginShell => 3,
            Kind::Edit => 4,
            Kind::Validate => 5,
            Kind::Role => 6,
            Kind::Approve => 7,
        });
        to.list(argv, |to, word| to.bytes(&word.0));
        to.optional(program, |to, program| {
            to.file(program.file);
            to.optional(program.interpreter, Encoder::file);
        });
        to.optional(cwd, |to, cwd| to.bytes(&cwd.0));
        to.number(target.0.into());
        to.number(gid.0.into());
        to.list(groups, |to, gid| to.number(gid.0.into()));
        to.list(environment, |to, (name, value)| {
            to.bytes(&name.0);
            to.bytes(&value.0);
        });
        to.number(umask.into());
        to.optional(caps, |to, caps| to.list(caps, |to, cap| to.bytes(cap.as_bytes())));
        to.bytes(role.as_bytes());
        to.bytes(role_content);
        to.number(window);
        to.number(run_time);
        to.number(match record {
            Record::None => 0,
            Record::Activity => 1,
            Record::Terminal => 2,
        });
        to.optional(reason, |to, reason| to.bytes(reason.as_bytes()));
        to.optional(ticket, |to, ticket| to.bytes(ticket.as_bytes()));
        to.0
    }
}

/// All that a role gives, it and everything that it includes, in the same encoding; `None` for a name that is no role. Where it stands
/// and its summary are not in it: they give nothing.
#[must_use]
pub fn role_content(policy: &Policy, role: &str) -> Option<Vec<u8>> {
    let place = policy.role_named(role)?;
    let mut to = Encoder(Vec::new());
    to.bytes(ROLE_VERSION);
    let parts: Vec<&Role> = policy.parts_of(place).map(|(_, part)| part).collect();
    to.list(&parts, |to, part| to.part(part));
    Some(to.0)
}

struct Encoder(Vec<u8>);

impl Encoder {
    fn number(&mut self, number: u64) {
        self.0.extend(number.to_be_bytes());
    }

    fn bytes(&mut self, bytes: &[u8]) {
        self.number(bytes.len() as u64);
        self.0.extend(bytes);
    }

    fn optional<T>(&mut self, value: Option<T>, write: impl FnOnce(&mut Self, T)) {
        self.number(u64::from(value.is_some()));
        if let Some(value) = value {
            write(self, value);
        }
    }

    fn list<T>(&mut self, list: &[T], mut write: impl FnMut(&mut Self, &T)) {
        self.number(list.len() as u64);
        for item in list {
            write(self, item);
        }
    }

    fn texts(&mut self, texts: impl IntoIterator<Item = impl ToString>) {
        let texts: Vec<String> = texts.into_iter().map(|text| text.to_string()).collect();
        self.list(&texts, |to, text| to.bytes(text.as_bytes()));
    }

    fn file(&mut self, file: File<'_>) {
        self.bytes(&file.path.0);
        self.number(file.device);
        self.number(file.inode);
        self.bytes(&file.sha256);
    }

    fn part(&mut self, role: &Role) {
        let Role {
            name,
            source: _,
            summary: _,
            run,
            shell,
            as_whom,
            edit,
            create,
            groups,
            membership,
            sudoers,
            sudoers_without_end,
            login,
            pam,
            env_keep,
            env_set,
            cwd,
            umask,
            caps,
            no_new_privs,
            leaves,
            // They are parts of their own.
            includes: _,
        } = role;
        self.bytes(name.as_bytes());
        self.list(run, |to, command| to.texts(Vec::<String>::from(command.clone())));
        self.number(u64::from(*shell));
        self.texts(as_whom);
        self.texts(edit);
        self.number(u64::from(*create));
        for list in [groups, membership, sudoers, login, pam, env_keep] {
            self.texts(list);
        }
        self.list(env_set, |to, (name, value)| {
            to.bytes(name.as_bytes());
            to.bytes(value.as_bytes());
        });
        self.optional(cwd.as_ref(), |to, cwd| match cwd {
            Cwd::Caller => to.number(0),
            Cwd::Home => to.number(1),
            Cwd::Any => to.number(2),
            Cwd::Path(path) => {
                to.number(3);
                to.bytes(&path.0);
            }
        });
        self.optional(*umask, |to, umask| to.number(umask.into()));
        self.optional(caps.as_ref(), |to, caps| to.texts(caps));
        self.number(u64::from(*no_new_privs));
        self.number(u64::from(*leaves));
        self.number(u64::from(*sudoers_without_end));
    }
}
