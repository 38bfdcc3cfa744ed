//! The list of installed files, `packaging/files.txt`: one line a file, and what no line may say.

use crate::step::Failure;

/// One line of the list.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Installed {
    pub(crate) source: Source,
    pub(crate) destination: String,
    pub(crate) mode: u32,
    pub(crate) is_conffile: bool,
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Source {
    Program(String),
    StaticProgram(String),
    /// A shared library that other programs load, by its package's name.
    Module(String),
    /// A page of `man/`, compressed as it is packed.
    Manual(String),
    File(String),
}

/// Reads the list, sorted by destination.
pub(crate) fn parse(list: &str) -> Result<Vec<Installed>, Failure> {
    let lines = list.lines().filter(|line| !line.starts_with('#') && !line.trim().is_empty());
    let mut files = lines.map(parse_line).collect::<Result<Vec<_>, _>>()?;
    files.sort_by(|one, other| one.destination.cmp(&other.destination));
    Ok(files)
}

fn parse_line(line: &str) -> Result<Installed, Failure> {
    let wrong = |why: &str| Failure::new(format!("packaging/files.txt: {why}: {line}"));
    let words: Vec<&str> = line.split_whitespace().collect();
    let [source, destination, mode, owner, rest @ ..] = words.as_slice() else { return Err(wrong("too few columns")) };
    let is_conffile = match rest {
        [] => false,
        ["conf"] => true,
        _ => return Err(wrong("unknown last column")),
    };
    let source = match source.split_once(':') {
        Some(("bin", name)) => Source::Program(name.to_owned()),
        Some(("static", name)) => Source::StaticProgram(name.to_owned()),
        Some(("module", name)) => Source::Module(name.to_owned()),
        Some(("man", name)) => Source::Manual(name.to_owned()),
        Some(_) => return Err(wrong("unknown kind of source")),
        None => Source::File((*source).to_owned()),
    };
    // dpkg-deb packs everything as root's; other owners are tmpfiles.d's work.
    if *owner != "root:root" {
        return Err(wrong("every file is root's"));
    }
    let mode = u32::from_str_radix(mode, 8).map_err(|_| wrong("mode is not octal"))?;
    if mode & !0o755 != 0 {
        return Err(wrong("no file is setuid, setgid or writable by others"));
    }
    if !destination.starts_with('/') || destination.contains("..") {
        return Err(wrong("destination is not a plain absolute path"));
    }
    // As `dpkg-architecture -qDEB_HOST_MULTIARCH` says on the two kinds of machines that packages are made on.
    let destination = destination.replace("@MULTIARCH@", &format!("{}-linux-gnu", std::env::consts::ARCH));
    Ok(Installed { source, destination, mode, is_conffile })
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::step::workspace;

    fn repository_list() -> Vec<Installed> {
        parse(&fs::read_to_string(workspace().join("packaging/files.txt")).unwrap()).unwrap()
    }

    #[test]
    fn list_of_the_repository_names_files_that_exist_and_nothing_setuid() {
        for installed in repository_list() {
            assert_eq!(installed.mode & 0o7022, 0, "{installed:?}");
            match &installed.source {
                Source::File(name) => assert!(workspace().join("packaging").join(name).is_file(), "{name}"),
                Source::Manual(name) => assert!(workspace().join("man").join(name).is_file(), "{name}"),
                Source::Program(_) | Source::StaticProgram(_) | Source::Module(_) => {}
            }
            assert_eq!(installed.is_conffile, installed.destination.starts_with("/etc/"), "{installed:?}");
        }
    }

    #[test]
    fn every_file_of_packaging_is_installed_or_a_maintainer_script() {
        let packaging = workspace().join("packaging");
        let listed = repository_list();
        for folder in ["systemd", "pam"] {
            for entry in fs::read_dir(packaging.join(folder)).unwrap().flatten() {
                let name = format!("{folder}/{}", entry.file_name().to_string_lossy());
                assert!(listed.iter().any(|installed| installed.source == Source::File(name.clone())), "{name}");
            }
        }
    }

    #[test]
    fn every_manual_is_installed_compressed_in_the_folder_of_its_section() {
        let listed = repository_list();
        for entry in fs::read_dir(workspace().join("man")).unwrap().flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            let (_, section) = name.rsplit_once('.').unwrap();
            let destination = format!("/usr/share/man/man{section}/{name}.gz");
            let installed = listed.iter().find(|installed| installed.source == Source::Manual(name.clone()));
            assert_eq!(installed.map(|installed| &installed.destination), Some(&destination), "{name}");
        }
    }

    #[test]
    fn setuid_setgid_and_writable_files_are_refused() {
        for mode in ["4755", "2755", "0775", "0666", "1755", "rwx"] {
            assert!(parse_line(&format!("bin:x /usr/bin/x {mode} root:root")).is_err(), "{mode}");
        }
        assert!(parse_line("bin:x /usr/bin/x 0755 root:root").is_ok());
    }

    #[test]
    fn odd_lines_are_refused() {
        for line in [
            "a /b 0644",
            "a b 0644 root:root",
            "a /../b 0644 root:root",
            "a /b 0644 alice:root",
            "x:a /b 0644 root:root",
            "a /b 0644 root:root x",
        ] {
            assert!(parse_line(line).is_err(), "{line}");
        }
    }
}
