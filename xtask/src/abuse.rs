//! `tests/abuse-cases.md` says which tests try which attack. Its third column is made from the names of the tests, so
//! that it cannot go stale: `cargo xtask abuse-cases` writes it, `cargo xtask lint` compares.
//!
//! A test belongs to a row when its name begins with the row's id, `_` for `-`; several ids stand one after the other,
//! the class only once (`fd_tty_02_03_…`) or again (`fd_tty_02_env_01_…`). What a row still waits for is kept as it is
//! written there: `later: FEATURE`.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs;

use crate::manifests;
use crate::step::{Failure, cannot, workspace};

const FILE: &str = "tests/abuse-cases.md";
const LATER: &str = "later: ";
const NONE: &str = "none by this id yet";

/// Writes the column and the counts.
pub(crate) fn write() -> Result<(), Failure> {
    let made = make()?;
    fs::write(workspace().join(FILE), made).map_err(cannot(format!("write {FILE}")))
}

/// Compares the file with what it should be.
pub(crate) fn check() -> Result<(), Failure> {
    let (is, should) = (read()?, make()?);
    let differs: Vec<String> = (1..)
        .zip(is.lines().zip(should.lines()))
        .filter(|(_, (is, should))| is != should)
        .map(|(number, (_, should))| format!("{FILE}:{number}: should be {should}"))
        .collect();
    if is == should {
        return Ok(());
    }
    Err(Failure::new(format!("abuse cases (`cargo xtask abuse-cases` writes them):\n  {}", differs.join("\n  "))))
}

fn read() -> Result<String, Failure> {
    fs::read_to_string(workspace().join(FILE)).map_err(cannot(format!("read {FILE}")))
}

fn make() -> Result<String, Failure> {
    let mut tests = Vec::new();
    for member in manifests::members()? {
        let place = if member == "tests" { "host tests" } else { member.rsplit('/').next().unwrap_or(&member) };
        for file in manifests::sources(&workspace().join(&member)) {
            let source = fs::read_to_string(&file).map_err(cannot(format!("read {}", file.display())))?;
            tests.extend(tests_in(&source).into_iter().map(|name| format!("`{name}` ({place})")));
        }
    }
    render(&read()?, &tests).map_err(|wrong| Failure::new(format!("abuse cases:\n  {}", wrong.join("\n  "))))
}

/// Names of the functions of a source that are tests.
fn tests_in(source: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut is_test = false;
    for line in source.lines().map(str::trim) {
        if line == "#[test]" {
            is_test = true;
        } else if let Some(rest) = line.strip_prefix("fn ") {
            let name = rest.split(['(', '<']).next().unwrap_or_default();
            if std::mem::take(&mut is_test) {
                found.push(name.to_owned());
            }
        }
    }
    found
}

/// The file with its third column and its counts made from the tests (`` `name` (place)``).
fn render(old: &str, tests: &[String]) -> Result<String, Vec<String>> {
    let ids: Vec<&str> = old.lines().filter_map(row).map(|(id, _, _)| id).collect();
    let classes: BTreeSet<String> =
        ids.iter().filter_map(|id| id.rsplit_once('-')).map(|(class, _)| snake(class)).collect();
    let mut of: BTreeMap<String, BTreeSet<&str>> = BTreeMap::new();
    let mut wrong = Vec::new();
    for test in tests {
        for id in ids_of(test.trim_start_matches('`'), &classes) {
            if !ids.contains(&id.as_str()) {
                wrong.push(format!("{test} names {id}, which is no row of {FILE}"));
            }
            of.entry(id).or_default().insert(test);
        }
    }
    if let Some(twice) = ids.iter().find(|id| ids.iter().filter(|other| other == id).count() > 1) {
        wrong.push(format!("{FILE} has the row {twice} twice"));
    }
    if !wrong.is_empty() {
        return Err(wrong);
    }
    let (mut tried, mut later, mut none) = (0, 0, 0);
    let mut made = String::new();
    for line in old.lines() {
        let Some((id, attack, cell)) = row(line) else {
            made.push_str(line);
            made.push('\n');
            continue;
        };
        let waits = cell.split("<br>").find(|part| part.starts_with(LATER));
        let parts: Vec<&str> = of.get(id).into_iter().flatten().copied().chain(waits).collect();
        match (of.contains_key(id), waits) {
            (true, _) => tried += 1,
            (false, Some(_)) => later += 1,
            (false, None) => none += 1,
        }
        let cell = if parts.is_empty() { NONE.to_owned() } else { parts.join("<br>") };
        // Writing to a string does not fail.
        let _ = writeln!(made, "| {id} | {attack} | {cell} |");
    }
    let counts = format!("Rows: {}; tried: {tried}; later: {later}; none by this id yet: {none}.", ids.len());
    let is_counts = |line: &&str| line.starts_with("Rows: ");
    match old.lines().find(is_counts) {
        Some(line) => Ok(made.replacen(line, &counts, 1)),
        None => Err(vec![format!("{FILE} has no line of counts (`Rows: `)")]),
    }
}

/// id, attack, tests of a row of the tables.
fn row(line: &str) -> Option<(&str, &str, &str)> {
    let inner = line.strip_prefix("| ")?.strip_suffix(" |")?;
    let (id, rest) = inner.split_once(" | ")?;
    let (attack, cell) = rest.rsplit_once(" | ")?;
    let (class, number) = id.rsplit_once('-')?;
    (!class.is_empty() && number.len() == 2 && number.bytes().all(|byte| byte.is_ascii_digit()))
        .then_some((id, attack, cell))
}

fn snake(class: &str) -> String {
    class.replace('-', "_")
}

/// The ids that a name begins with.
fn ids_of(name: &str, classes: &BTreeSet<String>) -> Vec<String> {
    let mut ids = Vec::new();
    let mut rest = name;
    let mut class = None;
    loop {
        if let Some((number, after)) = class.and_then(|_| number(rest)) {
            ids.extend(class.map(|class: &String| format!("{}-{number}", class.replace('_', "-"))));
            rest = after;
            continue;
        }
        let next = classes.iter().find_map(|class| {
            let after = rest.strip_prefix(class.as_str())?.strip_prefix('_')?;
            number(after).map(|_| (class, after))
        });
        match next {
            Some((found, after)) => (class, rest) = (Some(found), after),
            None => return ids,
        }
    }
}

/// Two digits and an underscore, and what follows.
fn number(text: &str) -> Option<(&str, &str)> {
    let (number, after) = text.split_once('_')?;
    (number.len() == 2 && number.bytes().all(|byte| byte.is_ascii_digit())).then_some((number, after))
}

#[cfg(test)]
mod tests {
    use super::*;

    const OLD: &str = "# Abuse\n\nRows: 9; tried: 9.\n\n| id | attack | tests |\n| --- | --- | --- |\n\
                       | fd-tty-02 | list \\| them | none by this id yet |\n| fd-tty-03 | b | `fd_tty_03_gone` (core) |\n\
                       | pam-02 | c | later: the module |\n| pam-03 | d | later: the module |\n";

    #[test]
    fn map_of_the_repository_is_what_the_names_of_its_tests_say() {
        check().unwrap_or_else(|failure| panic!("{failure}"));
    }

    #[test]
    fn column_and_counts_are_made_from_names_and_what_waits_is_kept() {
        let tests = ["`fd_tty_02_x` (sys)", "`pam_02_y` (core)", "`other` (core)"].map(str::to_owned);
        let made = render(OLD, &tests).unwrap();
        assert!(made.contains("| fd-tty-02 | list \\| them | `fd_tty_02_x` (sys) |\n"), "{made}");
        assert!(made.contains("| fd-tty-03 | b | none by this id yet |\n"), "{made}");
        assert!(made.contains("| pam-02 | c | `pam_02_y` (core)<br>later: the module |\n"), "{made}");
        assert!(made.contains("Rows: 4; tried: 2; later: 1; none by this id yet: 1.\n"), "{made}");
        assert_eq!(render(&made, &tests).unwrap(), made, "writing twice changes nothing");
    }

    #[test]
    fn test_of_a_row_that_is_not_there_is_an_error() {
        let wrong = render(OLD, &["`fd_tty_99_x` (sys)".to_owned()]).unwrap_err();
        assert!(wrong.iter().any(|line| line.contains("fd-tty-99")), "{wrong:?}");
        assert!(render(&OLD.replace("pam-03", "pam-02"), &[]).is_err());
    }

    #[test]
    fn ids_are_read_from_the_beginning_of_a_name() {
        let classes = ["fd_tty", "env", "pam"].map(str::to_owned).into();
        let ids = |name| ids_of(name, &classes);
        assert_eq!(ids("fd_tty_02_fd_tty_03_three_descriptors"), ["fd-tty-02", "fd-tty-03"]);
        assert_eq!(ids("env_01_02_10_environment"), ["env-01", "env-02", "env-10"]);
        assert_eq!(ids("env_is_built_01_x"), Vec::<String>::new());
        assert_eq!(ids("env_1_x"), Vec::<String>::new());
        assert_eq!(ids("environment_01_x"), Vec::<String>::new());
    }

    #[test]
    fn tests_are_told_from_other_functions() {
        let source = "fn helper() {}\n    #[test]\n    #[cfg(unix)]\n    fn env_01_a() {\n fn inner() {} }\n#[test]\nfn b(x in 0..3) {}";
        assert_eq!(tests_in(source), ["env_01_a", "b"]);
    }
}
