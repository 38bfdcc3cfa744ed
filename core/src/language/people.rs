//! `[people.…]`, `[services.…]`, `[teams.…]`, `[hosts.…]`.

use std::collections::BTreeSet;

use crate::approval::{ApprovalKey, MAX_KEYS};
use crate::rule::{NamedSet, Person, Service};
use crate::subject::{HostIs, Subject};

use super::build::Build;
use super::collect::Head;
use super::reader::{Entry, Table, Text, one_or_more, texts};

/// The sets of a policy, each without sets in it.
pub(super) struct Sets {
    pub(super) sets: Vec<NamedSet<Subject>>,
    pub(super) host_sets: Vec<NamedSet<HostIs>>,
    pub(super) people: Vec<Person>,
    pub(super) services: Vec<Service>,
}

/// Reads all sets. `heads` are sorted by name, each list on its own.
pub(super) fn read(build: &mut Build<'_>, sets: &[Head<'_>], hosts: &[Head<'_>]) -> Sets {
    let mut direct: Vec<Vec<Subject>> = Vec::with_capacity(sets.len());
    let (mut people, mut services, mut named) = (Vec::new(), Vec::new(), NamedKeys::default());
    for (index, head) in (0u32..).zip(sets) {
        let members = match head.table {
            "people" => person(build, head, index, &mut people, &mut named),
            "services" => service(build, head, index, &mut services),
            _ => team(build, head),
        };
        direct.push(members);
    }
    named.check(build);
    let flat = flatten(build, sets, &direct);
    let named = sets.iter().zip(flat).map(|(head, members)| NamedSet { name: head.name.value.clone(), members });
    let host_sets = hosts.iter().map(|head| host_set(build, head)).collect();
    Sets { sets: named.collect(), host_sets, people, services }
}

/// All of them, and those behind the first.
fn accounts(build: &mut Build<'_>, table: &mut Table<'_>, head: &Head<'_>) -> (Vec<Subject>, Vec<Subject>) {
    let Some(entry) = table.take("accounts") else {
        let hint = Some("accounts = [\"alice\"]".to_owned());
        build.findings.error(&head.name.place, format!("{} has no accounts", head.name.value), "names nobody", hint);
        return (Vec::new(), Vec::new());
    };
    let names = texts(&entry, &mut build.findings);
    for name in names.iter().filter(|name| name.value.starts_with(['%', '@']) || name.value == "ALL") {
        build.findings.error(
            &name.place,
            "accounts are account names or #ids",
            "neither",
            Some("teams have members".to_owned()),
        );
    }
    let accounts: Vec<Text> =
        names.into_iter().filter(|name| !name.value.starts_with(['%', '@']) && name.value != "ALL").collect();
    let others = build.subjects(accounts.get(1..).unwrap_or_default());
    (build.subjects(&accounts), others)
}

fn keys(build: &mut Build<'_>, entry: Option<Entry<'_>>) -> Vec<Text> {
    let keys = entry.map(|entry| texts(&entry, &mut build.findings)).unwrap_or_default();
    for key in &keys {
        if key.value.split_ascii_whitespace().count() < 2 || key.value.contains('\n') {
            build.findings.error(&key.place, "this is no public key", "expected \"TYPE BASE64 COMMENT\"", None);
        }
    }
    keys
}

/// All keys of all people: whose answer a signature is must be one person's alone, and none that an agent may have been lent.
#[derive(Default)]
struct NamedKeys {
    /// Each with its person's place.
    approval: Vec<(u32, Text, ApprovalKey)>,
    /// The base64 of those that log in.
    ssh: BTreeSet<String>,
}

impl NamedKeys {
    fn add(&mut self, build: &mut Build<'_>, person: u32, ssh: &[Text], approval: &[Text]) {
        self.ssh.extend(ssh.iter().filter_map(|key| key.value.split_ascii_whitespace().nth(1)).map(str::to_owned));
        if let Some(key) = approval.get(MAX_KEYS) {
            let message = format!("a person has at most {MAX_KEYS} approval keys");
            build.findings.error(&key.place, message, "one too many", None);
        }
        for key in approval {
            match ApprovalKey::parse(&key.value) {
                Ok(read) => self.approval.push((person, key.clone(), read)),
                Err(why) => {
                    let hint = Some("[verify-required] TYPE BASE64 [COMMENT], as ssh-keygen writes it".to_owned());
                    build.findings.error(&key.place, "this key cannot approve", why.to_string(), hint);
                }
            }
        }
    }

    fn check(&self, build: &mut Build<'_>) {
        for (place, (person, text, key)) in self.approval.iter().enumerate() {
            let body = jitsudo_bytes::base64_encode(key.blob());
            if !key.kind().is_hardware() && self.ssh.contains(&body) {
                let hint =
                    "an agent that is forwarded could sign for it: use a key of its own, or a hardware key (sk-…)";
                let hint = Some(hint.to_owned());
                build.findings.error(&text.place, "a key cannot both log in and approve", "also in ssh-keys", hint);
            }
            let before = self.approval.get(..place).unwrap_or_default();
            if before.iter().any(|(other, _, known)| other != person && known.blob() == key.blob()) {
                let hint = Some("whose answer would it be? give each person a key of their own".to_owned());
                build.findings.error(&text.place, "two people cannot have one approval key", "another's too", hint);
            }
        }
    }
}

fn person(
    build: &mut Build<'_>,
    head: &Head<'_>,
    index: u32,
    people: &mut Vec<Person>,
    named: &mut NamedKeys,
) -> Vec<Subject> {
    let Some(mut table) = Table::of(&head.entry, "a person", &mut build.findings) else { return Vec::new() };
    let (members, others) = accounts(build, &mut table, head);
    let entry = table.take("ssh-keys");
    let ssh = keys(build, entry);
    let approval = table.take("approval-keys").map(|entry| texts(&entry, &mut build.findings)).unwrap_or_default();
    table.finish(&mut build.findings);
    named.add(build, index, &ssh, &approval);
    let plain = |keys: Vec<Text>| keys.into_iter().map(|key| key.value).collect();
    people.push(Person { set: index, others, ssh_keys: plain(ssh), approval_keys: plain(approval) });
    members
}

fn service(build: &mut Build<'_>, head: &Head<'_>, index: u32, services: &mut Vec<Service>) -> Vec<Subject> {
    let Some(mut table) = Table::of(&head.entry, "a service", &mut build.findings) else { return Vec::new() };
    let (members, _) = accounts(build, &mut table, head);
    let run_by = table.take("run-by").map(|entry| one_or_more(&entry, &mut build.findings)).unwrap_or_default();
    let run_by = build.subjects(&run_by);
    table.finish(&mut build.findings);
    services.push(Service { set: index, run_by });
    members
}

fn team(build: &mut Build<'_>, head: &Head<'_>) -> Vec<Subject> {
    let Some(mut table) = Table::of(&head.entry, "a team", &mut build.findings) else { return Vec::new() };
    let members = match table.take("members") {
        Some(entry) => texts(&entry, &mut build.findings),
        None => {
            let hint = Some("members = [\"%group\", \"@person\"]".to_owned());
            build.findings.error(
                &head.name.place,
                format!("team {} has no members", head.name.value),
                "names nobody",
                hint,
            );
            Vec::new()
        }
    };
    table.finish(&mut build.findings);
    build.subjects(&members)
}

fn host_set(build: &mut Build<'_>, head: &Head<'_>) -> NamedSet<HostIs> {
    let name = head.name.value.clone();
    let Some(mut table) = Table::of(&head.entry, "a host set", &mut build.findings) else {
        return NamedSet { name, members: Vec::new() };
    };
    let members = match table.take("members") {
        Some(entry) => texts(&entry, &mut build.findings),
        None => {
            let hint = Some("members = [\"web-*\", \"label:prod\"]".to_owned());
            build.findings.error(&head.name.place, format!("host set {name} has no members"), "names nothing", hint);
            Vec::new()
        }
    };
    table.finish(&mut build.findings);
    for member in members.iter().filter(|member| member.value.starts_with('@')) {
        build.findings.error(&member.place, "a host set holds patterns and labels", "a set in a set", None);
    }
    let mut members: Vec<HostIs> = members
        .iter()
        .filter(|member| !member.value.starts_with('@'))
        .filter_map(|member| build.host_name(member))
        .collect();
    members.sort_by_key(ToString::to_string);
    members.dedup();
    NamedSet { name, members }
}

/// Replaces sets in sets by their members; a team that holds itself is a mistake.
fn flatten(build: &mut Build<'_>, heads: &[Head<'_>], direct: &[Vec<Subject>]) -> Vec<Vec<Subject>> {
    let mut all = Vec::with_capacity(direct.len());
    for (index, head) in (0u32..).zip(heads) {
        let mut members = BTreeSet::new();
        let mut seen = BTreeSet::from([index]);
        let mut open = vec![index];
        let mut cycle = false;
        while let Some(next) = open.pop() {
            for member in usize::try_from(next).ok().and_then(|next| direct.get(next)).into_iter().flatten() {
                match member {
                    Subject::Set(inner) if *inner == index => cycle = true,
                    Subject::Set(inner) => {
                        if seen.insert(*inner) {
                            open.push(*inner);
                        }
                    }
                    other => {
                        members.insert(other.clone());
                    }
                }
            }
        }
        if cycle {
            let message = format!("team {} holds itself", head.name.value);
            build.findings.error(&head.name.place, message, "reached again over its members", None);
        }
        all.push(members.into_iter().collect());
    }
    all
}
