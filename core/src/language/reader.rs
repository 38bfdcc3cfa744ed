//! Reads tables key by key: every wrong type, empty list and unknown key is a finding with its place.

use std::collections::BTreeSet;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::source::{Place, Source};
use super::supported::{self, Context};
use super::{Diagnostic, Support};
use crate::nearest::nearest;

/// Longest duration of the language, seconds: a year.
const MAX_SECONDS: u64 = 366 * 86_400;

/// A text with its place.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Text {
    pub(super) value: String,
    pub(super) place: Place,
}

/// Everything found so far.
pub(super) struct Findings<'a> {
    pub(super) sources: &'a [Source<'a>],
    pub(super) support: Support,
    pub(super) all: Vec<Diagnostic>,
}

impl Findings<'_> {
    pub(super) fn error(
        &mut self,
        place: &Place,
        message: impl Into<String>,
        label: impl Into<String>,
        hint: Option<String>,
    ) {
        self.add(true, place, message.into(), label.into(), hint);
    }

    pub(super) fn warn(
        &mut self,
        place: &Place,
        message: impl Into<String>,
        label: impl Into<String>,
        hint: Option<String>,
    ) {
        self.add(false, place, message.into(), label.into(), hint);
    }

    fn add(&mut self, is_error: bool, place: &Place, message: String, label: String, hint: Option<String>) {
        let Some(source) = self.sources.get(place.file) else { return };
        let (line, column) = source.line_and_column(place.span.start);
        let (file, span) = (source.name.to_owned(), place.span.clone());
        self.all.push(Diagnostic { is_error, file, line, column, span, message, label, hint });
    }

    /// `10-web.toml:14`
    pub(super) fn short_place(&self, place: &Place) -> String {
        self.sources.get(place.file).map(|source| source.short_place(place.span.start)).unwrap_or_default()
    }
}

/// A table whose keys are taken one by one.
pub(super) struct Table<'t> {
    pub(super) file: usize,
    pub(super) place: Place,
    what: &'static str,
    map: &'t DeTable<'t>,
    taken: Vec<&'static str>,
}

/// A value with the place of its key.
#[derive(Clone)]
pub(super) struct Entry<'t> {
    pub(super) key: Place,
    pub(super) place: Place,
    pub(super) value: &'t DeValue<'t>,
}

impl<'t> Entry<'t> {
    pub(super) fn of(file: usize, key: std::ops::Range<usize>, value: &'t Spanned<DeValue<'t>>) -> Self {
        Self { key: Place { file, span: key }, place: Place { file, span: value.span() }, value: value.get_ref() }
    }

    /// The elements of an array; each takes the key's place for what is missing in it.
    fn elements(&self) -> Option<Vec<Self>> {
        let array = self.value.as_array()?;
        Some(array.iter().map(|value| Self::of(self.place.file, value.span(), value)).collect())
    }
}

impl<'t> Table<'t> {
    /// A table from a value; a finding when it is something else. `what` is for messages: `role`, `allow`.
    pub(super) fn of(entry: &Entry<'t>, what: &'static str, findings: &mut Findings<'_>) -> Option<Self> {
        let Some(map) = entry.value.as_table() else {
            wrong_type(entry, "a table", findings);
            return None;
        };
        Some(Self { file: entry.place.file, place: entry.place.clone(), what, map, taken: Vec::new() })
    }

    /// The top of a file.
    pub(super) fn of_root(file: usize, root: &'t Spanned<DeTable<'t>>) -> Self {
        let place = Place { file, span: root.span() };
        Self { file, place, what: "a policy file", map: root.get_ref(), taken: Vec::new() }
    }

    /// The place of what is absent: the table's header.
    pub(super) fn header(&self) -> &Place {
        &self.place
    }

    /// Takes a key.
    pub(super) fn take(&mut self, key: &'static str) -> Option<Entry<'t>> {
        self.taken.push(key);
        let (spanned, value) = self.map.get_key_value(key)?;
        Some(Entry::of(self.file, spanned.span(), value))
    }

    /// Takes a key that this version may not be able to honour.
    pub(super) fn take_new(
        &mut self,
        context: Context,
        key: &'static str,
        findings: &mut Findings<'_>,
    ) -> Option<Entry<'t>> {
        let entry = self.take(key)?;
        not_yet(context, key, &entry.key, findings);
        Some(entry)
    }

    /// Every key with its value, in order of the file.
    pub(super) fn entries(&self) -> Vec<(Text, Entry<'t>)> {
        let mut all: Vec<(Text, Entry<'t>)> = self
            .map
            .iter()
            .map(|(key, value)| {
                let place = Place { file: self.file, span: key.span() };
                (Text { value: key.get_ref().to_string(), place }, Entry::of(self.file, key.span(), value))
            })
            .collect();
        all.sort_by_key(|(key, _)| key.place.span.start);
        all
    }

    /// Reports every key that nobody took.
    pub(super) fn finish(self, findings: &mut Findings<'_>) {
        if self.map.keys().all(|key| self.taken.contains(&key.get_ref().as_ref())) {
            return;
        }
        for (key, _) in self.entries() {
            let name = key.value.as_str();
            if self.taken.contains(&name) {
                continue;
            }
            let known = self.taken.iter().copied();
            let hint = match nearest(name, known.clone()) {
                Some(near) => format!("did you mean \"{near}\"?"),
                None => {
                    format!("known here: {}", known.collect::<BTreeSet<_>>().into_iter().collect::<Vec<_>>().join(", "))
                }
            };
            findings.error(
                &key.place,
                format!("unknown key \"{name}\" in {}", self.what),
                "not a key of this table",
                Some(hint),
            );
        }
    }
}

/// Reports a key of a later version.
pub(super) fn not_yet(context: Context, key: &str, place: &Place, findings: &mut Findings<'_>) {
    if findings.support == Support::Released && !supported::is_supported(context, key) {
        findings.error(
            place,
            format!("`{key}` is not supported yet"),
            "a later version brings it",
            Some("leave it out".to_owned()),
        );
    }
}

pub(super) fn wrong_type(entry: &Entry<'_>, wanted: &str, findings: &mut Findings<'_>) {
    let found = match entry.value {
        DeValue::String(_) => "a string",
        DeValue::Integer(_) => "an integer",
        DeValue::Float(_) => "a float",
        DeValue::Boolean(_) => "a boolean",
        DeValue::Datetime(_) => "a datetime",
        DeValue::Array(_) => "an array",
        DeValue::Table(_) => "a table",
    };
    findings.error(&entry.place, format!("expected {wanted}, found {found}"), format!("this is {found}"), None);
}

/// A string.
pub(super) fn text(entry: &Entry<'_>, findings: &mut Findings<'_>) -> Option<Text> {
    match entry.value {
        DeValue::String(value) => Some(Text { value: value.to_string(), place: entry.place.clone() }),
        _ => {
            wrong_type(entry, "a string", findings);
            None
        }
    }
}

/// A list that holds something.
pub(super) fn list<'t>(entry: &Entry<'t>, findings: &mut Findings<'_>) -> Vec<Entry<'t>> {
    let Some(elements) = entry.elements() else {
        wrong_type(entry, "an array", findings);
        return Vec::new();
    };
    if elements.is_empty() {
        findings.error(
            &entry.place,
            "this list is empty",
            "names nothing",
            Some("leave the key out, or name something".to_owned()),
        );
    }
    elements
}

/// A list of strings that holds something.
pub(super) fn texts(entry: &Entry<'_>, findings: &mut Findings<'_>) -> Vec<Text> {
    let elements = list(entry, findings);
    elements.iter().filter_map(|element| text(element, findings)).collect()
}

/// A string or a list of strings.
pub(super) fn one_or_more(entry: &Entry<'_>, findings: &mut Findings<'_>) -> Vec<Text> {
    match entry.value {
        DeValue::String(_) => text(entry, findings).into_iter().collect(),
        _ => texts(entry, findings),
    }
}

pub(super) fn boolean(entry: &Entry<'_>, findings: &mut Findings<'_>) -> Option<bool> {
    let value = entry.value.as_bool();
    if value.is_none() {
        wrong_type(entry, "true or false", findings);
    }
    value
}

/// An integer within bounds, both inclusive.
pub(super) fn number(entry: &Entry<'_>, least: u64, most: u64, findings: &mut Findings<'_>) -> Option<u64> {
    let Some(integer) = entry.value.as_integer() else {
        wrong_type(entry, "an integer", findings);
        return None;
    };
    let value =
        u64::from_str_radix(integer.as_str(), integer.radix()).ok().filter(|value| (least..=most).contains(value));
    if value.is_none() {
        findings.error(&entry.place, format!("expected a number from {least} to {most}"), "out of bounds", None);
    }
    value
}

/// A duration such as `1h30m`, in seconds.
pub(super) fn duration(entry: &Entry<'_>, findings: &mut Findings<'_>) -> Option<u64> {
    let text = text(entry, findings)?;
    let seconds = seconds(&text.value);
    if seconds.is_none() {
        let hint = "write \"30m\", \"1h30m\", \"2d\"; from 1s to 366d".to_owned();
        findings.error(
            &entry.place,
            format!("{:?} is no duration", text.value),
            "a number with s, m, h, d or w",
            Some(hint),
        );
    }
    seconds
}

/// The seconds of a duration as it is typed, `1h30m`: 1 s to 366 d; `None` for what is none.
#[must_use]
pub fn seconds(text: &str) -> Option<u64> {
    let mut total = 0u64;
    let mut number: Option<u64> = None;
    let mut smaller_than = u64::MAX;
    for byte in text.bytes() {
        if byte.is_ascii_digit() {
            number = Some(number.unwrap_or(0).checked_mul(10)?.checked_add(u64::from(byte - b'0'))?);
            continue;
        }
        let unit = match byte {
            b's' => 1,
            b'm' => 60,
            b'h' => 3600,
            b'd' => 86_400,
            b'w' => 7 * 86_400,
            _ => return None,
        };
        if unit >= smaller_than {
            return None;
        }
        smaller_than = unit;
        total = total.checked_add(number.take()?.checked_mul(unit)?)?;
    }
    number.is_none().then_some(total).filter(|seconds| (1..=MAX_SECONDS).contains(seconds))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dos_11_expiry_clock_08_durations_are_exact_or_refused() {
        for (text, wanted) in [
            ("9223372036854775808", None),
            ("9223372036854775808s", None),
            ("inf", None),
            ("nan", None),
            ("1e300", None),
            ("1e3s", None),
            ("10m;1y", None),
            ("10m 1h", None),
            ("-1", None),
            ("0x10s", None),
            ("", None),
            ("30m", Some(1800)),
            ("1h30m", Some(5400)),
            ("2d", Some(172_800)),
            ("30", None),
            ("m", None),
            ("1m1h", None),
            ("1h1h", None),
            ("-1h", None),
            ("1.5h", None),
            ("99999999999999999999h", None),
            ("18446744073709551615w", None),
        ] {
            assert_eq!(seconds(text), wanted, "{text}");
        }
    }
}
