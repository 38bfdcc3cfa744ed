//! jitctl(8) says what this program takes, and nothing else; every command of it that a manual or document shows exists.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use clap::{CommandFactory as _, Parser as _};

use crate::arguments::Arguments;

/// Options by verb; `""` has those that fit every verb.
type Verbs = BTreeMap<String, BTreeSet<String>>;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn options_of(command: &clap::Command) -> BTreeSet<String> {
    let options = command.get_arguments().filter(|option| !option.is_positional());
    let spellings = options.flat_map(|option| {
        let long = option.get_long().map(|long| format!("--{long}"));
        long.into_iter().chain(option.get_short().map(|short| format!("-{short}")))
    });
    spellings.collect()
}

fn add(command: &clap::Command, before: &str, all: &mut Verbs) {
    for verb in command.get_subcommands() {
        let name = format!("{before} {}", verb.get_name()).trim().to_owned();
        if verb.has_subcommands() {
            add(verb, &name, all);
        }
        if !verb.is_subcommand_required_set() {
            all.insert(name, options_of(verb));
        }
    }
}

fn known() -> Verbs {
    let command = Arguments::command();
    let mut options = options_of(&command);
    options.extend(["--help", "-h", "--version", "-V"].map(str::to_owned));
    let mut all = Verbs::from([(String::new(), options)]);
    add(&command, "", &mut all);
    all
}

/// From the lines `.It Cm policy apply` and, behind them, `.It Fl -yes`.
fn described(page: &str) -> Verbs {
    let mut all = Verbs::new();
    let mut verb = None;
    for line in page.lines() {
        let words: Vec<&str> = line.split_whitespace().collect();
        match words.as_slice() {
            [".Sh", "OPTIONS"] => verb = Some(String::new()),
            [".Sh", ..] => verb = None,
            [".It", "Cm", rest @ ..] => {
                let name: Vec<&str> = rest.iter().copied().take_while(|word| !["Op", "Ar"].contains(word)).collect();
                all.entry(name.join(" ")).or_default();
                verb = Some(name.join(" "));
            }
            [".It", "Fl", ..] => {
                let options = words.windows(2).filter(|pair| pair[0] == "Fl").map(|pair| format!("-{}", pair[1]));
                all.entry(verb.clone().expect("an option behind its verb")).or_default().extend(options);
            }
            _ => {}
        }
    }
    all
}

#[test]
fn manual_describes_every_verb_and_option_and_no_other() {
    let page = std::fs::read_to_string(root().join("man/jitctl.8")).unwrap();
    assert_eq!(described(&page), known());
}

#[test]
fn every_command_that_a_document_shows_exists() {
    let documents = ["docs", "man"].into_iter().flat_map(|folder| std::fs::read_dir(root().join(folder)).unwrap());
    let documents = documents.map(|entry| entry.unwrap().path());
    let more = [root().join("README.md"), root().join("CHANGELOG.md"), root().join("SECURITY.md")];
    let (mut in_documents, mut in_manuals) = (0, 0);
    for document in documents.chain(more) {
        let text = std::fs::read_to_string(&document).unwrap();
        let is_document = document.extension().is_some_and(|end| end == "md");
        for shown in if is_document { shown(&text) } else { shown_by_manual(&text) } {
            let line = shown.replace(" CMD…", " true").replace("SEQ:HASH", &format!("1:{}", "0".repeat(64)));
            let words = std::iter::once("jitctl").chain(line.split_whitespace());
            assert!(Arguments::try_parse_from(words).is_ok(), "{}: jitctl {shown}", document.display());
            *if is_document { &mut in_documents } else { &mut in_manuals } += 1;
        }
    }
    assert!(in_documents > 20, "only {in_documents} commands were found: is the reader of documents broken?");
    assert!(in_manuals > 10, "only {in_manuals} commands were found: is the reader of manuals broken?");
}

/// What follows `jitctl` in code spans and at the beginning of lines of code blocks.
fn shown(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    for (number, block) in text.split("```").enumerate() {
        if number % 2 == 1 {
            for line in block.lines().map(|line| line.trim_start_matches(['$', '#', ' '])) {
                if let Some(words) = line.strip_prefix("jitctl").filter(|rest| rest.is_empty() || rest.starts_with(' '))
                {
                    // What is behind is a remark, or the shell's.
                    let words = [" #", " > "].iter().fold(words, |words, end| words.split(end).next().unwrap_or(words));
                    found.push(words.trim().to_owned());
                }
            }
        } else {
            for span in block.split('`').skip(1).step_by(2) {
                if let Some(words) = span.strip_prefix("jitctl").filter(|rest| rest.is_empty() || rest.starts_with(' '))
                {
                    found.push(words.trim().to_owned());
                }
            }
        }
    }
    found
}

/// The same in a manual: `.Ql jitctl …`, and lines behind a prompt.
fn shown_by_manual(text: &str) -> Vec<String> {
    let lines = text.lines().map(|line| line.strip_prefix(".Dl ").unwrap_or(line));
    let commands = lines.filter_map(|line| {
        let quoted = line.strip_prefix(".Ql jitctl ").map(|rest| rest.trim_end_matches([' ', '.', ',']));
        quoted.or_else(|| line.strip_prefix("$ jitctl ")).or_else(|| line.strip_prefix("# jitctl "))
    });
    commands.map(|words| words.trim().to_owned()).collect()
}
