//! jitsudo(8) says what this program takes, and nothing else: its options against the grammar and `--help`, and every command line that
//! a manual or document shows.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use crate::options::{self, Called};
use crate::usage;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// `-u`, `--user` from the lines `.It Fl u Ar user , Fl -user Ns = Ns Ar user`.
fn described(page: &str) -> BTreeSet<String> {
    let heads = page.lines().filter_map(|line| line.strip_prefix(".It "));
    let options = heads.flat_map(|head| {
        let words: Vec<&str> = head.split_whitespace().collect();
        words.windows(2).filter(|pair| pair[0] == "Fl").map(|pair| format!("-{}", pair[1])).collect::<Vec<_>>()
    });
    // The end of the options is none.
    options.filter(|option| option != "--").collect()
}

/// `-u`, `--user` from the lines `  -u, --user=user    …`.
fn helped(help: &str) -> BTreeSet<String> {
    let lines = help.lines().filter_map(|line| line.strip_prefix("  ")).map(str::trim_start);
    let words = lines.filter(|line| line.starts_with('-')).flat_map(|line| {
        let head = line.split("  ").next().unwrap_or_default();
        head.split(", ").map(|option| option.split('=').next().unwrap_or_default().to_owned()).collect::<Vec<_>>()
    });
    words.filter(|option| option != "--").collect()
}

fn missing(of: &BTreeSet<String>, from: &BTreeSet<String>) -> Vec<String> {
    of.difference(from).cloned().collect()
}

#[test]
fn manual_describes_every_option_and_no_other() {
    let page = std::fs::read_to_string(root().join("man/jitsudo.8")).unwrap();
    let described = described(&page);
    let known: BTreeSet<String> = options::spellings().into_iter().collect();
    assert_eq!(missing(&known, &described), Vec::<String>::new(), "not in man/jitsudo.8");
    assert_eq!(missing(&described, &known), Vec::<String>::new(), "in man/jitsudo.8, and no option");
    let helped = helped(&usage::long(Called::Jitsudo));
    assert!(helped.len() > 50, "only {} options were read from the help", helped.len());
    assert_eq!(missing(&helped, &described), Vec::<String>::new(), "in --help, not in man/jitsudo.8");
    // What is always refused is not advertised.
    assert_eq!(missing(&known, &helped), ["--chroot", "--type", "-R", "-r", "-t"]);
}

/// The command lines of jitsudo in a text: behind a prompt in a manual, or in a fenced block of a document.
fn shown(text: &str, is_manual: bool) -> Vec<String> {
    let mut in_block = is_manual;
    let mut found = Vec::new();
    for line in text.lines() {
        if line.starts_with("```") {
            in_block = !in_block;
        }
        let line = line.strip_prefix(".Dl ").unwrap_or(line).replace("\\(dq", "\"");
        let Some((_, command)) = line.split_once("$ ").filter(|_| in_block) else { continue };
        for part in command.split('|').map(str::trim) {
            if part == "jitsudo" || part.starts_with("jitsudo ") {
                found.push(part.to_owned());
            }
        }
    }
    found
}

/// Words as a shell makes them of plain words and double quotes.
fn words(line: &str) -> Vec<Vec<u8>> {
    let mut all = Vec::new();
    for (number, part) in line.split('"').enumerate() {
        if number % 2 == 1 {
            all.push(part.as_bytes().to_vec());
        } else {
            all.extend(part.split_whitespace().map(|word| word.as_bytes().to_vec()));
        }
    }
    all
}

#[test]
fn every_command_line_that_a_manual_or_document_shows_can_be_read() {
    let mut seen = 0;
    for folder in ["man", "docs", "."] {
        for entry in std::fs::read_dir(root().join(folder)).unwrap() {
            let path = entry.unwrap().path();
            let is_manual = folder == "man";
            if !path.is_file() || !(is_manual || path.extension().is_some_and(|end| end == "md")) {
                continue;
            }
            for line in shown(&std::fs::read_to_string(&path).unwrap(), is_manual) {
                let asked = options::parse(Called::Jitsudo, words(&line).split_off(1), "web-1");
                assert!(asked.is_ok(), "{}: {line}: {asked:?}", path.display());
                seen += 1;
            }
        }
    }
    assert!(seen >= 8, "only {seen} command lines were found: is the reader broken?");
}
