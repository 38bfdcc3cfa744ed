//! What one compilation knows while it goes from files to rules: names with their places, zones, resolved directories.

use std::collections::{BTreeMap, HashMap};

use crate::command::Command;
use crate::rule::Zone;
use crate::subject::{HostIs, Subject};

use super::HostLookup;
use super::reader::{Entry, Findings, Text, list, text, texts, wrong_type};
use super::source::Place;
use crate::nearest::nearest;

/// A defined name: its place in the sorted list, and where it was written.
#[derive(Clone, Debug)]
pub(super) struct Defined {
    pub(super) index: u32,
    pub(super) place: Place,
}

/// The state of a compilation.
pub(super) struct Build<'a> {
    pub(super) findings: Findings<'a>,
    pub(super) host: &'a HostLookup<'a>,
    pub(super) sets: BTreeMap<String, Defined>,
    pub(super) host_sets: BTreeMap<String, Defined>,
    pub(super) roles: BTreeMap<String, Defined>,
    pub(super) zones: Vec<Zone>,
    pub(super) zone_index: HashMap<String, Option<u32>>,
    pub(super) directories: HashMap<String, String>,
    /// Groups that `who`, teams or duties name, with the first place.
    pub(super) groups_named: BTreeMap<String, Place>,
}

impl Build<'_> {
    /// A name of `who`, `members`, `by`: checked, and resolved if it begins with `@`.
    pub(super) fn subject(&mut self, text: &Text) -> Option<Subject> {
        if let Some(name) = text.value.strip_prefix('@') {
            let found = self.sets.get(name).map(|defined| Subject::Set(defined.index));
            if found.is_none() {
                let hint = if self.host_sets.contains_key(name) {
                    format!("[hosts.{name}] is a set of hosts; name a person, service or team")
                } else {
                    self.did_you_mean(name, &["people", "services", "teams"], |build| &build.sets)
                };
                self.findings.error(
                    &text.place,
                    format!("\"@{name}\" is not defined"),
                    "no person, service or team of this name",
                    Some(hint),
                );
            }
            return found;
        }
        match Subject::try_from(text.value.clone()) {
            Ok(subject) => {
                let group = match &subject {
                    Subject::Group(group) => Some(group.clone()),
                    Subject::Gid(gid) => Some(format!("#{gid}")),
                    Subject::User(_) | Subject::Uid(_) | Subject::Set(_) | Subject::All => None,
                };
                if let Some(group) = group {
                    self.groups_named.entry(group).or_insert_with(|| text.place.clone());
                }
                Some(subject)
            }
            Err(error) => {
                let digits = !text.value.is_empty() && text.value.bytes().all(|byte| byte.is_ascii_digit());
                let hint = if digits {
                    format!("an id is written \"#{}\"", text.value)
                } else {
                    "write \"alice\", \"%group\", \"#1002\", \"%#27\", \"@name\" or \"ALL\"".to_owned()
                };
                self.findings.error(&text.place, error.to_string(), "no name", Some(hint));
                None
            }
        }
    }

    /// A list of subjects, in a fixed order without doubles.
    pub(super) fn subjects(&mut self, texts: &[Text]) -> Vec<Subject> {
        let mut all: Vec<Subject> = texts.iter().filter_map(|text| self.subject(text)).collect();
        all.sort();
        all.dedup();
        all
    }

    pub(super) fn host_name(&mut self, text: &Text) -> Option<HostIs> {
        if let Some(name) = text.value.strip_prefix('@') {
            let found = self.host_sets.get(name).map(|defined| HostIs::Set(defined.index));
            if found.is_none() {
                let hint = self.did_you_mean(name, &["hosts"], |build| &build.host_sets);
                self.findings.error(
                    &text.place,
                    format!("\"@{name}\" is not defined"),
                    "no host set of this name",
                    Some(hint),
                );
            }
            return found;
        }
        HostIs::try_from(text.value.clone())
            .map_err(|error| self.findings.error(&text.place, error.to_string(), "no host", None))
            .ok()
    }

    /// The role of a name.
    pub(super) fn role(&mut self, text: &Text) -> Option<u32> {
        let found = self.roles.get(&text.value).map(|defined| defined.index);
        if found.is_none() {
            let files = self.findings.sources.len();
            let label = format!("no [roles.{}] in {files} file{}", text.value, if files == 1 { "" } else { "s" });
            let hint = self.did_you_mean(&text.value, &["roles"], |build| &build.roles);
            self.findings.error(&text.place, format!("role \"{}\" is not defined", text.value), label, Some(hint));
        }
        found
    }

    /// `did you mean "db-admin" (10-roles.toml:3)?`
    fn did_you_mean(&self, name: &str, tables: &[&str], known: impl Fn(&Self) -> &BTreeMap<String, Defined>) -> String {
        let known = known(self);
        match nearest(name, known.keys().map(String::as_str)).and_then(|near| known.get_key_value(near)) {
            Some((near, defined)) => {
                format!("did you mean \"{near}\" ({})?", self.findings.short_place(&defined.place))
            }
            None => {
                let tables: Vec<String> = tables.iter().map(|table| format!("[{table}.{name}]")).collect();
                format!("define {} or correct the name", tables.join(" or "))
            }
        }
    }

    /// A zone with its rules, looked up once.
    pub(super) fn zone(&mut self, text: &Text) -> Option<u32> {
        if !self.zone_index.contains_key(&text.value) {
            let sound = text.value.len() < 64
                && text.value.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"/_+-".contains(&byte));
            let bytes = match text.value.as_str() {
                "UTC" => Some(Vec::new()),
                name if sound => (self.host.zone)(name),
                _ => None,
            };
            let known = bytes.filter(|bytes| bytes.is_empty() || jiff::tz::TimeZone::tzif(&text.value, bytes).is_ok());
            let index = known.and_then(|bytes| {
                let index = u32::try_from(self.zones.len()).ok()?;
                self.zones.push(Zone { name: text.value.clone(), tzif: jitsudo_bytes::base64_encode(&bytes) });
                Some(index)
            });
            self.zone_index.insert(text.value.clone(), index);
        }
        let index = self.zone_index.get(&text.value).copied().flatten();
        if index.is_none() {
            let hint = "write a name of the IANA database such as \"Europe/Paris\", or \"UTC\" (is tzdata installed?)"
                .to_owned();
            self.findings.error(
                &text.place,
                format!("there is no time zone {:?}", text.value),
                "not a zone of this host",
                Some(hint),
            );
        }
        index
    }

    /// A list of commands: strings are split at blanks, arrays are taken word by word.
    pub(super) fn commands(&mut self, entry: &Entry<'_>) -> Vec<(Command, Place)> {
        let mut commands = Vec::new();
        for element in list(entry, &mut self.findings) {
            let words: Vec<String> = if element.value.is_str() {
                let Some(line) = text(&element, &mut self.findings) else { continue };
                line.value.split_ascii_whitespace().map(str::to_owned).collect()
            } else if element.value.is_array() {
                texts(&element, &mut self.findings).into_iter().map(|word| word.value).collect()
            } else {
                wrong_type(&element, "a string or an array of strings", &mut self.findings);
                continue;
            };
            if let Some(command) = self.command(words, &element.place) {
                commands.push((command, element.place.clone()));
            }
        }
        commands
    }

    fn command(&mut self, mut words: Vec<String>, place: &Place) -> Option<Command> {
        let hint = |words: &[String]| {
            let first = words.first().map_or("", String::as_str);
            if words.is_empty() {
                "name a program: \"/usr/bin/id\"".to_owned()
            } else if !first.starts_with('/') {
                format!("write its path: \"/usr/bin/{first}\"")
            } else {
                "quote a character of the pattern with a backslash; a word with blanks goes into an array: [\"/usr/bin/psql\", \"-c\", \"select 1\"]".to_owned()
            }
        };
        let hint = hint(&words);
        if let Some(program) = words.first_mut() {
            *program = self.resolve_program(program);
        }
        match Command::try_from(words) {
            Ok(command) => Some(command),
            Err(error) => {
                self.findings.error(place, error.to_string(), "no command", Some(hint));
                None
            }
        }
    }

    /// Resolves the directory of a literal program, so that /bin/x is /usr/bin/x where the host has it so.
    fn resolve_program(&mut self, program: &str) -> String {
        let Some((directory, name)) = program.rsplit_once('/') else { return program.to_owned() };
        let special = |byte: u8| matches!(byte, b'*' | b'?' | b'[' | b']' | b'{' | b'}' | b'<' | b'\\');
        if directory.bytes().any(special) || !program.starts_with('/') || name.contains('}') && !name.contains('{') {
            return program.to_owned();
        }
        let asked = if directory.is_empty() { "/" } else { directory };
        let host = self.host;
        let resolved = self.directories.entry(asked.to_owned()).or_insert_with(|| (host.resolve_directory)(asked));
        if resolved.bytes().any(special) || !resolved.starts_with('/') {
            return program.to_owned();
        }
        format!("{}/{name}", resolved.trim_end_matches('/'))
    }
}
