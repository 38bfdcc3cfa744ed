//! Groups that this host gives more than their files: in sudoers, and as administrators of polkit. A role that lends one lends that too.
//!
//! Read as text, and rather too much than too little: a group in a line that is never reached counts as well.

use std::collections::BTreeMap;
use std::fs;
use std::io::Read as _;
use std::path::{Path, PathBuf};

const SUDOERS: &str = "/etc/sudoers";
/// Where polkit(8) and the older one name administrators.
const POLKIT: [&str; 6] = [
    "/etc/polkit-1/rules.d",
    "/run/polkit-1/rules.d",
    "/usr/local/share/polkit-1/rules.d",
    "/usr/share/polkit-1/rules.d",
    "/etc/polkit-1/localauthority.conf.d",
    "/var/lib/polkit-1/localauthority.conf.d",
];
/// Most bytes read of one file, most files in all, and most levels of inclusion.
const MAX_BYTES: u64 = 1 << 20;
const MAX_FILES: usize = 1_000;
const MAX_DEPTH: usize = 16;

/// Each group, with the file that gives it more.
pub(crate) fn of_host() -> BTreeMap<String, String> {
    let mut groups = BTreeMap::new();
    let mut left = MAX_FILES;
    sudoers(Path::new(SUDOERS), 0, &mut left, &mut groups);
    for folder in POLKIT {
        for path in files(Path::new(folder)) {
            if left == 0 {
                break;
            }
            left -= 1;
            add(&mut groups, in_polkit(&read(&path)), &path);
        }
    }
    groups
}

fn sudoers(path: &Path, depth: usize, left: &mut usize, groups: &mut BTreeMap<String, String>) {
    if depth > MAX_DEPTH || *left == 0 {
        return;
    }
    *left -= 1;
    let text = read(path);
    add(groups, in_sudoers(&text), path);
    for (what, is_folder) in included(&text) {
        let what = path.parent().unwrap_or(Path::new("/")).join(what);
        if is_folder {
            for file in files(&what) {
                sudoers(&file, depth + 1, left, groups);
            }
        } else {
            sudoers(&what, depth + 1, left, groups);
        }
    }
}

fn add(groups: &mut BTreeMap<String, String>, found: Vec<String>, path: &Path) {
    for group in found {
        groups.entry(group).or_insert_with(|| path.display().to_string());
    }
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let mut all: Vec<PathBuf> =
        fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path()).collect();
    all.sort();
    all
}

fn read(path: &Path) -> String {
    let mut bytes = Vec::new();
    // One that is not there gives nobody anything.
    let _ = fs::File::open(path).and_then(|file| file.take(MAX_BYTES).read_to_end(&mut bytes));
    String::from_utf8_lossy(&bytes).into_owned()
}

/// `@include`, `@includedir` and their older forms with `#`.
fn included(text: &str) -> Vec<(String, bool)> {
    let of_line = |line: &str| {
        let rest = line.trim_start().strip_prefix(['@', '#'])?;
        let (word, what) = rest.split_once([' ', '\t'])?;
        let what = what.trim().trim_matches('"').to_owned();
        match word {
            "include" => Some((what, false)),
            "includedir" => Some((what, true)),
            _ => None,
        }
    };
    text.lines().filter_map(of_line).collect()
}

/// Every `%group` outside comments.
fn in_sudoers(text: &str) -> Vec<String> {
    let ends = |one: char| one.is_whitespace() || matches!(one, ',' | '=' | ':' | '!' | '"' | '(' | ')');
    let mut groups = Vec::new();
    for line in text.lines() {
        // `#27` is an id where no blank follows; a group never stands behind one.
        let line = line.split_once("# ").map_or(line, |(before, _)| before);
        if line.trim_start().starts_with('#') {
            continue;
        }
        let names = line.split(ends).filter_map(|word| word.strip_prefix('%'));
        groups.extend(names.filter(|name| !name.is_empty() && !name.starts_with('#')).map(str::to_owned));
    }
    groups
}

/// Every `unix-group:NAME`.
fn in_polkit(text: &str) -> Vec<String> {
    let ends = ['"', '\'', ';', ',', '\n', ' '];
    let names = text.split("unix-group:").skip(1).filter_map(|part| part.split(ends).next());
    names.filter(|name| !name.is_empty()).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_of_sudoers_are_found_wherever_they_stand() {
        let text = "# %no\n#%neither\n%sudo ALL=(ALL:ALL) ALL\n%admin\tALL=(ALL) ALL # %not this\n\
            User_Alias OPS = alice, %ops,!%x\n%#27 ALL=ALL\n\"%with quotes\" ALL=ALL\n@includedir /etc/sudoers.d\n\
            #include sudoers.local\n#includes nothing\n";
        assert_eq!(in_sudoers(text), ["sudo", "admin", "ops", "x", "with"]);
        assert_eq!(included(text), [("/etc/sudoers.d".to_owned(), true), ("sudoers.local".to_owned(), false)]);
    }

    #[test]
    fn administrators_of_polkit_are_found() {
        let text = "polkit.addAdminRule(function(a, s) { return [\"unix-group:sudo\", 'unix-group:wheel']; });\n\
            if (subject.isInGroup(\"netdev\")) { return polkit.Result.YES; }\nAdminIdentities=unix-user:0;unix-group:adm\n";
        assert_eq!(in_polkit(text), ["sudo", "wheel", "adm"]);
    }
}
