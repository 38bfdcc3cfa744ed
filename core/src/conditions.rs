//! Judges the conditions of a rule, each as true, false or unknown.
//!
//! MUST: an unknown fact never makes an allow hold and never keeps a require or deny from holding; `except` turns both round.

use jiff::Timestamp;

use crate::facts::{Fact, Facts};
use crate::identity::Identity;
use crate::past::Past;
use crate::pattern::Reading;
use crate::policy::Policy;
use crate::request::{Kind, Request};
use crate::rule::{Role, When};
use crate::subject::{AsWhom, HostIs, OriginIs, Whom};
use crate::truth::Truth;

/// Everything that a decision reads.
#[derive(Debug)]
pub(crate) struct Setting<'a> {
    pub(crate) policy: &'a Policy,
    pub(crate) facts: &'a Facts,
    pub(crate) request: &'a Request,
    pub(crate) past: &'a Past,
    /// Only the allow of this name counts.
    pub(crate) only: Option<&'a str>,
    pub(crate) now: Timestamp,
    pub(crate) who: Identity<'a>,
}

/// How the conditions of one verb are read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Manner {
    /// Which way patterns and names err.
    pub(crate) reading: Reading,
    /// `run` also holds for what can run anything.
    anything: bool,
    /// On a request for a role, `run` and `edit` are unknown when the role gives something of that kind.
    overlap: bool,
    /// Without `origin`, sandboxes and units are left out.
    ordinary_origin: bool,
}

impl Manner {
    /// `[[allow]]` and `[[duty]]`.
    pub(crate) const ALLOW: Self =
        Self { reading: Reading::Allow, anything: false, overlap: false, ordinary_origin: true };
    /// `[[require]]`.
    pub(crate) const REQUIRE: Self =
        Self { reading: Reading::Deny, anything: false, overlap: true, ordinary_origin: false };
    /// `[[deny]]`.
    pub(crate) fn deny(only_this_path: bool) -> Self {
        Self { reading: Reading::Deny, anything: !only_this_path, overlap: false, ordinary_origin: false }
    }
    /// The `except` of these.
    fn turned(self) -> Self {
        match self.reading {
            // What an allow takes back by `run` must not come back through a shell or a whole role.
            Reading::Allow => Self { reading: Reading::Deny, anything: true, overlap: true, ordinary_origin: false },
            Reading::Deny => Self { reading: Reading::Allow, anything: false, overlap: false, ordinary_origin: false },
        }
    }
}

/// A condition's key.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Key {
    Who,
    Hosts,
    Roles,
    Run,
    As,
    Edit,
    Shell,
    Groups,
    Membership,
    Sudoers,
    Login,
    Origin,
    Hours,
    NotBefore,
    NotAfter,
    Except,
}

impl Setting<'_> {
    /// Judges all conditions: false as soon as one is.
    pub(crate) fn judge(&self, when: &When, manner: Manner, role: Option<u32>) -> Truth {
        let mut all = Truth::True;
        self.each(when, manner, role, &mut |_, truth| {
            all = all.min(truth);
            all != Truth::False
        });
        all
    }

    /// Hands every condition given to `visit` until it answers false.
    pub(crate) fn each(
        &self,
        when: &When,
        manner: Manner,
        role: Option<u32>,
        visit: &mut dyn FnMut(Key, Truth) -> bool,
    ) {
        let reading = manner.reading;
        if let Some(who) = &when.who {
            let truth = Truth::any(who.iter().map(|subject| self.who.is(self.policy, subject, reading)));
            if !visit(Key::Who, truth) {
                return;
            }
        }
        if let Some(hosts) = &when.hosts
            && !visit(Key::Hosts, self.hosts(hosts))
        {
            return;
        }
        if let Some(roles) = &when.roles
            && !visit(Key::Roles, self.roles(roles, role, reading))
        {
            return;
        }
        if when.run.is_some() && !visit(Key::Run, self.run(when, manner, role)) {
            return;
        }
        if let Some(whom) = &when.as_whom
            && !visit(Key::As, self.as_whom(whom, role, reading))
        {
            return;
        }
        if when.edit.is_some() && !visit(Key::Edit, self.edit(when, manner, role)) {
            return;
        }
        if let Some(shell) = when.shell {
            let truth = self.shell(role);
            if !visit(Key::Shell, if shell { truth } else { !truth }) {
                return;
            }
        }
        let lists = [
            (Key::Groups, &when.groups),
            (Key::Membership, &when.membership),
            (Key::Sudoers, &when.sudoers),
            (Key::Login, &when.login),
        ];
        for (key, list) in lists {
            if let Some(list) = list
                && !visit(key, Truth::from(self.parts(role).any(|part| gives_one_of(part, key, list))))
            {
                return;
            }
        }
        let origin = match &when.origin {
            Some(origins) => Some(self.origin(origins, reading)),
            None => manner.ordinary_origin.then(|| self.is_ordinary_origin()),
        };
        if let Some(truth) = origin
            && !visit(Key::Origin, truth)
        {
            return;
        }
        if !when.hours.is_empty() {
            let open = when.hours.iter().any(|entry| {
                let zone = usize::try_from(entry.zone).ok().and_then(|zone| self.policy.zones.get(zone));
                zone.is_some_and(|zone| entry.is_open(zone, self.now, reading))
            });
            if !visit(Key::Hours, Truth::from(open)) {
                return;
            }
        }
        if let Some(instant) = when.not_before
            && !visit(Key::NotBefore, Truth::from(self.now > instant))
        {
            return;
        }
        if let Some(instant) = when.not_after
            && !visit(Key::NotAfter, Truth::from(self.now < instant))
        {
            return;
        }
        if !when.except.is_empty() {
            let inner = Truth::any(when.except.iter().map(|except| self.judge(except, manner.turned(), role)));
            visit(Key::Except, !inner);
        }
    }

    /// A role with all that it includes; nothing without a role.
    pub(crate) fn parts(&self, role: Option<u32>) -> impl Iterator<Item = &Role> {
        role.into_iter().flat_map(|role| self.policy.parts_of(role)).map(|(_, role)| role)
    }

    /// The role that the request names with `--role`.
    pub(crate) fn named_role(&self) -> Option<u32> {
        self.request.role.as_deref().and_then(|name| self.policy.role_named(name))
    }

    fn hosts(&self, hosts: &[HostIs]) -> Truth {
        if self.facts.host.is_empty() {
            return Truth::Unknown;
        }
        let is = |host: &HostIs| match host {
            HostIs::Name(pattern) => HostIs::name_holds(pattern, &self.facts.host),
            HostIs::Label(label) => self.facts.labels.contains(label),
            HostIs::Set(_) => false,
        };
        Truth::from(hosts.iter().any(|host| match host {
            HostIs::Set(place) => {
                let set = usize::try_from(*place).ok().and_then(|place| self.policy.content.host_sets.get(place));
                set.is_some_and(|set| set.members.iter().any(is))
            }
            HostIs::Name(_) | HostIs::Label(_) => is(host),
        }))
    }

    fn roles(&self, roles: &[u32], role: Option<u32>, reading: Reading) -> Truth {
        let Some(role) = role else { return Truth::False };
        Truth::from(match reading {
            Reading::Allow => roles.contains(&role),
            Reading::Deny => self.policy.parts_of(role).any(|(part, _)| roles.contains(&part)),
        })
    }

    fn run(&self, when: &When, manner: Manner, role: Option<u32>) -> Truth {
        let commands = when.run.as_deref().unwrap_or_default();
        match self.request.kind {
            Kind::Command => match &self.facts.executable {
                Fact::Unknown => Truth::Unknown,
                Fact::Is(Err(_)) => Truth::False,
                Fact::Is(Ok(executable)) => {
                    let rooted = &self.facts.rooted_arguments;
                    let runs = commands.iter().any(|command| {
                        command.covers(executable, &self.request.argv, rooted, manner.reading).is_some()
                    });
                    let lends = || self.parts(self.named_role()).any(Role::is_groups_only);
                    Truth::from(runs || (manner.anything && (executable.is_shell || lends())))
                }
            },
            Kind::Shell | Kind::LoginShell => {
                let all = manner.reading == Reading::Deny && commands.contains(&crate::command::Command::All);
                Truth::from(manner.anything || all)
            }
            Kind::Edit | Kind::Validate | Kind::Approve => Truth::False,
            Kind::Role => {
                if manner.anything && self.parts(role).any(Role::can_run_anything) {
                    return Truth::True;
                }
                let overlaps =
                    manner.overlap && self.parts(role).any(|part| !part.run.is_empty() || part.can_run_anything());
                if overlaps { Truth::Unknown } else { Truth::False }
            }
        }
    }

    fn as_whom(&self, list: &[AsWhom], role: Option<u32>, reading: Reading) -> Truth {
        if self.request.kind == Kind::Role {
            let root = [AsWhom { user: Some(Whom::Name("root".to_owned())), group: None }];
            let all = |entry: &AsWhom| entry.user == Some(Whom::All);
            let mut given =
                self.parts(role).flat_map(|part| if part.as_whom.is_empty() { &root[..] } else { &part.as_whom });
            let listed = |one: &AsWhom| list.contains(one) || list.iter().any(all);
            return Truth::from(match reading {
                Reading::Allow => role.is_some() && given.all(listed),
                Reading::Deny => {
                    given.any(|one| listed(one) || all(one) || list.iter().any(|entry| entry.user == one.user))
                }
            });
        }
        match &self.facts.target {
            Fact::Unknown => Truth::Unknown,
            Fact::Is(None) => Truth::False,
            Fact::Is(Some(_)) => Truth::from(list.iter().any(|entry| self.is_as(entry, reading))),
        }
    }

    /// Whether an `as` entry means the target and group asked for.
    pub(crate) fn is_as(&self, entry: &AsWhom, reading: Reading) -> bool {
        let Fact::Is(Some(target)) = &self.facts.target else { return false };
        let user = match &entry.user {
            // `:group`: the requester's own account.
            None => reading == Reading::Deny || target.uid == self.facts.requester.uid,
            Some(Whom::All) => true,
            Some(Whom::Id(uid)) => target.uid.0 == *uid,
            Some(Whom::Name(name)) => target.name == *name || (name == "root" && target.uid.0 == 0),
        };
        let asked = self.request.group.is_some();
        let group = match &entry.group {
            None => !asked || reading == Reading::Deny,
            Some(Whom::All) => asked || entry.user.is_some(),
            Some(Whom::Id(gid)) => asked && target.gid.0 == *gid,
            Some(Whom::Name(name)) => asked && target.group.as_ref() == Some(name),
        };
        user && group
    }

    fn edit(&self, when: &When, manner: Manner, role: Option<u32>) -> Truth {
        let globs = when.edit.as_deref().unwrap_or_default();
        let is = |path: &jitsudo_bytes::Bytes| {
            globs.iter().any(|glob| glob.0.ways.iter().any(|way| way.covers(&path.0, manner.reading)))
        };
        match (self.request.kind, manner.reading) {
            (Kind::Edit, Reading::Allow) => {
                Truth::from(!self.request.argv.is_empty() && self.request.argv.iter().all(is))
            }
            (Kind::Edit, Reading::Deny) => Truth::from(self.request.argv.iter().any(is)),
            (Kind::Role, Reading::Deny) if manner.overlap && self.parts(role).any(|part| !part.edit.is_empty()) => {
                Truth::Unknown
            }
            (Kind::Role | Kind::Command | Kind::Shell | Kind::LoginShell | Kind::Validate | Kind::Approve, _) => {
                Truth::False
            }
        }
    }

    /// Whether the request is for a shell.
    pub(crate) fn shell(&self, role: Option<u32>) -> Truth {
        match self.request.kind {
            Kind::Shell | Kind::LoginShell => Truth::True,
            Kind::Edit | Kind::Validate | Kind::Approve => Truth::False,
            Kind::Role => Truth::from(self.parts(role).any(|part| part.shell)),
            Kind::Command => match &self.facts.executable {
                Fact::Unknown => Truth::Unknown,
                Fact::Is(Err(_)) => Truth::False,
                Fact::Is(Ok(executable)) => Truth::from(executable.is_shell && self.request.argv.len() == 1),
            },
        }
    }

    fn is_ordinary_origin(&self) -> Truth {
        match &self.facts.origin {
            Fact::Unknown => Truth::Unknown,
            Fact::Is(origin) => Truth::from(!origin.sandbox && origin.unit.is_none()),
        }
    }

    fn origin(&self, origins: &[OriginIs], reading: Reading) -> Truth {
        let Fact::Is(origin) = &self.facts.origin else { return Truth::Unknown };
        let known = |fact: &Fact<bool>| fact.known().map_or(Truth::Unknown, |is| Truth::from(*is));
        // A confined peer, or one in a unit, is that first: an allow must name it.
        let named = |wanted: &OriginIs| origins.contains(wanted);
        let unit = origin.unit.as_ref().map(|unit| OriginIs::Unit(unit.clone()));
        let left_out = (origin.sandbox && !named(&OriginIs::Sandbox)) || unit.as_ref().is_some_and(|unit| !named(unit));
        if reading == Reading::Allow && left_out {
            return Truth::False;
        }
        Truth::any(origins.iter().map(|wanted| match wanted {
            OriginIs::Terminal => Truth::from(origin.terminal),
            OriginIs::NoTerminal => Truth::from(!origin.terminal),
            OriginIs::Sandbox => Truth::from(origin.sandbox),
            OriginIs::Unit(_) => Truth::from(unit.as_ref() == Some(wanted)),
            OriginIs::Console => known(&origin.console),
            OriginIs::Ssh => known(&origin.ssh),
            OriginIs::SshFrom(network, bits) => known(&origin.ssh).min(match &origin.address {
                Fact::Is(Some(address)) => Truth::from(OriginIs::network_holds(*network, *bits, *address)),
                Fact::Is(None) | Fact::Unknown => Truth::Unknown,
            }),
        }))
    }
}

/// Whether a role gives one of these groups, memberships, sudoers lines or logins.
fn gives_one_of(role: &Role, key: Key, list: &[String]) -> bool {
    let given = match key {
        Key::Groups => &role.groups,
        Key::Membership => &role.membership,
        Key::Sudoers => &role.sudoers,
        _ => &role.login,
    };
    given.iter().any(|one| list.contains(one))
}
