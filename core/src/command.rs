//! A command of a policy against a request's argv, word by word, as bytes.

use std::collections::BTreeSet;

use jitsudo_bytes::Bytes;

use crate::facts::Executable;
use crate::pattern::{Element, Flat, PatternError, Reading, Shape};

/// Most elements of one command.
const MAX_ELEMENTS: usize = 256;

/// One entry of a `run` list.
#[derive(Clone, PartialEq, Debug, serde::Serialize, serde::Deserialize)]
#[serde(try_from = "Vec<String>", into = "Vec<String>")]
pub(crate) enum Command {
    /// `"ALL"`: every command.
    All,
    /// A program with its arguments.
    One {
        /// Literal paths or globs.
        program: Element,
        /// What follows; empty = no arguments (in a deny: any).
        arguments: Vec<Element>,
    },
}

impl TryFrom<Vec<String>> for Command {
    type Error = PatternError;
    fn try_from(words: Vec<String>) -> Result<Self, PatternError> {
        if words.len() == 1 && words.first().is_some_and(|word| word == "ALL") {
            return Ok(Self::All);
        }
        if words.len() > MAX_ELEMENTS {
            return Err(PatternError::TooLong);
        }
        let mut words = words.into_iter();
        let program = Element::try_from(words.next().ok_or(PatternError::Empty)?)?;
        if program.many || !matches!(program.shape, Shape::Words(_)) || !program.as_str().starts_with('/') {
            return Err(PatternError::NotAbsolute);
        }
        let arguments = words.map(Element::try_from).collect::<Result<_, _>>()?;
        Ok(Self::One { program, arguments })
    }
}
impl From<Command> for Vec<String> {
    fn from(command: Command) -> Self {
        match command {
            Command::All => vec!["ALL".to_owned()],
            Command::One { program, arguments } => {
                std::iter::once(program).chain(arguments).map(String::from).collect()
            }
        }
    }
}

impl Command {
    /// The literal paths that it can run; `None` when a wildcard is in the path, or for `ALL`.
    pub(crate) fn literal_programs(&self) -> Option<Vec<&[u8]>> {
        let Self::One { program, .. } = self else { return None };
        let Shape::Words(words) = &program.shape else { return None };
        words.iter().map(|word| if let Flat::Literal(path) = word { Some(path.as_slice()) } else { None }).collect()
    }

    /// True when its program is, or can be, this one.
    pub(crate) fn names_program(&self, executable: &Executable, reading: Reading) -> bool {
        let Self::One { program, .. } = self else { return true };
        let Shape::Words(words) = &program.shape else { return false };
        words.iter().any(|word| {
            let same_file = match word {
                Flat::Literal(path) if reading == Reading::Deny => {
                    std::str::from_utf8(path).is_ok_and(|path| executable.same_file_as.contains(path))
                }
                _ => false,
            };
            same_file || word.covers(&executable.path.0, reading)
        })
    }

    /// Compares program and arguments. Gives the places in argv that `<secret>` matched.
    pub(crate) fn covers(
        &self,
        executable: &Executable,
        argv: &[Bytes],
        rooted: &BTreeSet<usize>,
        reading: Reading,
    ) -> Option<Vec<usize>> {
        let Self::One { arguments, .. } = self else { return Some(Vec::new()) };
        if !self.names_program(executable, reading) {
            return None;
        }
        if arguments.is_empty() && reading == Reading::Deny {
            return Some(Vec::new());
        }
        cover_words(arguments, argv.get(1..).unwrap_or_default(), rooted, reading)
    }

    /// As a person would write it, the program by its last component.
    pub(crate) fn shown(&self) -> String {
        match self {
            Self::All => "ALL".to_owned(),
            Self::One { program, arguments } => {
                let program = program.as_str();
                let mut text = program.rsplit('/').next().unwrap_or(program).to_owned();
                for argument in arguments {
                    text.push(' ');
                    text.push_str(argument.as_str());
                }
                text
            }
        }
    }

    /// As the policy writes it.
    pub(crate) fn written(&self) -> String {
        Vec::<String>::from(self.clone()).join(" ")
    }

    /// How many leading arguments are covered, for telling which entry is nearest.
    pub(crate) fn covered_words(&self, argv: &[Bytes], rooted: &BTreeSet<usize>) -> usize {
        let Self::One { arguments, .. } = self else { return usize::MAX };
        let words = argv.get(1..).unwrap_or_default();
        let pairs = arguments.iter().zip(words).enumerate();
        pairs
            .take_while(|(at, (element, word))| element.covers(&word.0, rooted.contains(&(at + 1)), Reading::Allow))
            .count()
    }

    /// How much the word after the covered ones is like what stands there: bytes that begin and end alike; for telling a slip of the
    /// fingers from another act.
    pub(crate) fn likeness(&self, covered: usize, argv: &[Bytes]) -> usize {
        let Self::One { arguments, .. } = self else { return 0 };
        let (Some(element), Some(word)) = (arguments.get(covered), argv.get(covered + 1)) else { return 0 };
        let Shape::Words(ways) = &element.shape else { return 0 };
        let literals = ways.iter().filter_map(|way| if let Flat::Literal(text) = way { Some(text) } else { None });
        literals
            .map(|text| common(text.iter(), word.0.iter()) + common(text.iter().rev(), word.0.iter().rev()))
            .max()
            .unwrap_or(0)
    }
}

fn common<'a>(one: impl Iterator<Item = &'a u8>, other: impl Iterator<Item = &'a u8>) -> usize {
    one.zip(other).take_while(|(one, other)| one == other).count()
}

/// Runs the elements as a machine over the words: all states at once, so time is elements × words and nothing goes back.
fn cover_words(
    elements: &[Element],
    words: &[Bytes],
    rooted: &BTreeSet<usize>,
    reading: Reading,
) -> Option<Vec<usize>> {
    let mut secrets = BTreeSet::new();
    if !elements.iter().any(|element| element.many || element.is_rest()) {
        if elements.len() != words.len() {
            return None;
        }
        for (at, (element, word)) in elements.iter().zip(words).enumerate() {
            if !element.covers(&word.0, rooted.contains(&(at + 1)), reading) {
                return None;
            }
            if element.is_secret() {
                secrets.insert(at + 1);
            }
        }
        return Some(secrets.into_iter().collect());
    }
    // State n: the first n elements are done. `again` n: element n took a word and, being `X...`, may take another.
    let mut done = vec![false; elements.len() + 1];
    let mut again = vec![false; elements.len()];
    if let Some(first) = done.first_mut() {
        *first = true;
    }
    pass_rests(elements, &mut done);
    for (at, word) in words.iter().enumerate() {
        let is_rooted = rooted.contains(&(at + 1));
        let mut next = vec![false; elements.len() + 1];
        let mut next_again = vec![false; elements.len()];
        for (place, element) in elements.iter().enumerate() {
            let ready = done.get(place) == Some(&true) || again.get(place) == Some(&true);
            if !ready || !element.covers(&word.0, is_rooted, reading) {
                continue;
            }
            if element.is_secret() {
                secrets.insert(at + 1);
            }
            let to = if element.is_rest() { place } else { place + 1 };
            if let Some(state) = next.get_mut(to) {
                *state = true;
            }
            if element.many
                && let Some(state) = next_again.get_mut(place)
            {
                *state = true;
            }
        }
        pass_rests(elements, &mut next);
        if !next.contains(&true) {
            return None;
        }
        (done, again) = (next, next_again);
    }
    (done.last() == Some(&true)).then(|| secrets.into_iter().collect())
}

/// A lone `...` may take nothing.
fn pass_rests(elements: &[Element], done: &mut [bool]) {
    for (place, element) in elements.iter().enumerate() {
        if element.is_rest()
            && done.get(place) == Some(&true)
            && let Some(state) = done.get_mut(place + 1)
        {
            *state = true;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn command(text: &str) -> Command {
        Command::try_from(text.split(' ').map(str::to_owned).collect::<Vec<_>>()).unwrap()
    }

    fn covers(pattern: &str, words: &[&[u8]], reading: Reading) -> Option<Vec<usize>> {
        let argv: Vec<Bytes> = words.iter().map(|word| Bytes(word.to_vec())).collect();
        let executable = Executable {
            path: argv[0].clone(),
            chain: Vec::new(),
            writable_by_others: None,
            is_shell: false,
            same_file_as: BTreeSet::new(),
        };
        command(pattern).covers(&executable, &argv, &(0..argv.len()).collect(), reading)
    }

    #[test]
    fn each_element_covers_its_words_and_no_others() {
        // pattern, arguments, in an allow, in a deny
        let table: &[(&str, &[&str], bool, bool)] = &[
            ("/b/x", &[], true, true),
            ("/b/x", &["a"], false, true),
            ("/b/x a", &["a"], true, true),
            ("/b/x a", &["a", "b"], false, false),
            ("/b/x a", &[], false, false),
            ("/b/x -a", &["-a"], true, true),
            ("/b/x {-a,b}", &["-a"], true, true),
            ("/b/x {-a,b}", &["c"], false, false),
            ("/b/x n{,ginx}", &["n"], true, true),
            ("/b/x n{,ginx}", &["nginx"], true, true),
            ("/b/x {a{1,2},b}", &["a2"], true, true),
            ("/b/x {a{1,2},b}", &["b1"], false, false),
            ("/b/x *", &["any/thing"], true, true),
            ("/b/x *", &["-rf"], false, true),
            ("/b/x *", &["a", "b"], false, false),
            ("/b/x *", &[""], true, true),
            ("/b/x db-*", &["db-1"], true, true),
            ("/b/x db-*", &["db-1/x"], false, true),
            ("/b/x <int:1-10>", &["10"], true, true),
            ("/b/x <int:1-10>", &["11"], false, false),
            ("/b/x <int:1-10>", &["007"], false, true),
            ("/b/x <int:1-10>", &["+7"], false, true),
            ("/b/x <int:1-10>", &["7x"], false, false),
            ("/b/x <int:0-18446744073709551615>", &["18446744073709551616"], false, false),
            ("/b/x --lines=<int:1-10>", &["--lines=7"], true, true),
            ("/b/x --lines=<int:1-10>", &["--lines=70"], false, false),
            ("/b/x <re:[a-z]+>", &["abc"], true, true),
            ("/b/x <re:[a-z]+>", &["abc1"], false, false),
            ("/b/x <re:a|b>", &["ab"], false, false),
            ("/b/x <re:.*>", &["-abc"], false, true),
            ("/b/x <re:a>b>", &["a>b"], true, true),
            ("/b/x <path:/var/log>", &["/var/log/a/b"], true, true),
            ("/b/x <path:/var/log>", &["/var/log"], false, true),
            ("/b/x <path:/var/log>", &["/var/logs/a"], false, false),
            ("/b/x <path:/var/log>", &["/var/log/../x"], false, true),
            ("/b/x <path:/var/log>", &["/var/log//x"], false, true),
            ("/b/x <path:/var/log>", &["x"], false, true),
            ("/b/x <path:/>", &["/x"], true, true),
            ("/b/x <any>", &["-rf"], true, true),
            ("/b/x <any>", &["a", "b"], false, false),
            ("/b/x <any...>", &["-a", "b"], true, true),
            ("/b/x <any...>", &[], true, true),
            ("/b/x ...", &["a", "b"], true, true),
            ("/b/x ...", &[], true, true),
            ("/b/x ...", &["a", "-b"], false, true),
            ("/b/x a ... b", &["a", "q", "b"], true, true),
            ("/b/x a ... b", &["a", "q"], false, false),
            ("/b/x {a,b}...", &["a", "b", "a"], true, true),
            ("/b/x {a,b}...", &[], false, false),
            ("/b/x {a,b}...", &["a", "c"], false, false),
            ("/b/x a... a", &["a", "a", "a"], true, true),
            ("/b/x a... a", &["a"], false, false),
            ("/b/x \\*", &["*"], true, true),
            ("/b/x \\*", &["a"], false, false),
            ("/b/x \\<any>", &["<any>"], true, true),
            ("/b/x <secret>", &["hunter2"], true, true),
            ("/b/x <secret>", &["-p"], false, true),
        ];
        for (pattern, words, allow, deny) in table {
            let argv: Vec<&[u8]> =
                std::iter::once(&b"/b/x"[..]).chain(words.iter().map(|word| word.as_bytes())).collect();
            assert_eq!(covers(pattern, &argv, Reading::Allow).is_some(), *allow, "{pattern} allows {words:?}");
            assert_eq!(covers(pattern, &argv, Reading::Deny).is_some(), *deny, "{pattern} denies {words:?}");
        }
    }

    #[test]
    fn secrets_are_told_by_their_place() {
        assert_eq!(covers("/b/x -p <secret> *", &[b"/b/x", b"-p", b"s", b"y"], Reading::Allow), Some(vec![2]));
        assert_eq!(covers("/b/x ... --pw=<secret>", &[b"/b/x", b"q", b"--pw=s"], Reading::Allow), Some(vec![2]));
    }

    #[test]
    fn cmd_match_08_odd_bytes_are_compared_exactly() {
        assert!(covers("/b/x a*", &[b"/b/x", b"a\xff\n\xe2\x80\xae"], Reading::Allow).is_some());
        assert!(covers("/b/x ab", &[b"/b/x", b"a\xff"], Reading::Deny).is_none());
        assert!(covers("/b/x <re:.*>", &[b"/b/x", b"\xff"], Reading::Allow).is_none());
        assert!(covers("/b/x <re:x>", &[b"/b/x", b"\xff"], Reading::Deny).is_some());
        assert!(Element::try_from("a\0b".to_owned()).is_err());
    }

    #[test]
    fn cmd_match_15_empty_argv_matches_nothing_with_arguments_and_does_not_panic() {
        let executable = Executable {
            path: Bytes::from("/b/x"),
            chain: Vec::new(),
            writable_by_others: None,
            is_shell: false,
            same_file_as: BTreeSet::new(),
        };
        assert!(command("/b/x a").covers(&executable, &[], &BTreeSet::new(), Reading::Allow).is_none());
        assert!(command("/b/x").covers(&executable, &[], &BTreeSet::new(), Reading::Allow).is_some());
    }

    #[test]
    fn confused_deputy_03_extra_words_and_double_dash_do_not_slip_through() {
        assert!(covers("/b/edit *", &[b"/b/edit", b"a", b"--", b"/etc/shadow"], Reading::Allow).is_none());
        assert!(covers("/b/edit *", &[b"/b/edit", b"--"], Reading::Allow).is_none());
        assert!(covers("/b/edit *...", &[b"/b/edit", b"a", b"--", b"b"], Reading::Allow).is_none());
    }

    #[test]
    fn cmd_match_11_a_name_is_no_program() {
        for text in ["edit", "./edit", "ALL x", "sh -c", "~/x"] {
            assert!(Command::try_from(text.split(' ').map(str::to_owned).collect::<Vec<_>>()).is_err(), "{text}");
        }
    }

    #[test]
    fn dos_11_hostile_patterns_are_refused_or_linear() {
        let deep = format!("/b/x {}", "{".repeat(1000));
        assert!(Command::try_from(deep.split(' ').map(str::to_owned).collect::<Vec<_>>()).is_err());
        let wide = format!("/b/x {}", "{a,b}".repeat(20));
        assert!(Command::try_from(wide.split(' ').map(str::to_owned).collect::<Vec<_>>()).is_err());
        let regex = "<re:((((a{100}){100}){100}){100}){100}>";
        assert!(Element::try_from(regex.to_owned()).is_err());
        let words: Vec<&[u8]> = std::iter::once(&b"/b/x"[..]).chain(std::iter::repeat_n(&b"a"[..], 20_000)).collect();
        assert!(covers("/b/x a... a... a... a... b", &words, Reading::Allow).is_none());
    }
}
