//! Help texts, in sudo's form: what is listed is what there is.

use crate::options::Called;

/// After a usage error.
pub(crate) fn short(called: Called) -> String {
    let name = called.name();
    match called {
        Called::Sudoedit => format!(
            "usage: {name} -h | -V\n\
             usage: {name} [-ABkNnS] [-C num] [-g group] [-h host] [-p prompt]\n\
             \x20               [-T timeout] [-u user] file ...\n"
        ),
        Called::Jitsudo => format!(
            "usage: {name} -h | -K | -k | -V\n\
             usage: {name} -v [-ABkNnS] [-g group] [-h host] [-p prompt] [-u user]\n\
             usage: {name} -l [-ABkNnS] [-g group] [-h host] [-p prompt] [-U user]\n\
             \x20              [-u user] [command [arg ...]]\n\
             usage: {name} [-ABbEHkNnPS] [-C num] [-D directory] [-g group] [-h host]\n\
             \x20              [-p prompt] [-T timeout] [-u user] [-m reason]\n\
             \x20              [--ticket id] [--role role] [--for duration] [--break-glass]\n\
             \x20              [--no-wait] [--request id] [--status-fd n] [VAR=value]\n\
             \x20              [-i | -s] [command [arg ...]]\n\
             usage: {name} -e [-ABkNnS] [-C num] [-g group] [-h host] [-p prompt]\n\
             \x20              [-T timeout] [-u user] file ...\n"
        ),
        Called::Sudo => format!(
            "usage: {name} -h | -K | -k | -V\n\
             usage: {name} -v [-ABkNnS] [-g group] [-h host] [-p prompt] [-u user]\n\
             usage: {name} -l [-ABkNnS] [-g group] [-h host] [-p prompt] [-U user]\n\
             \x20           [-u user] [command [arg ...]]\n\
             usage: {name} [-ABbEHkNnPS] [-C num] [-D directory] [-g group] [-h host]\n\
             \x20           [-p prompt] [-T timeout] [-u user] [VAR=value] [-i | -s]\n\
             \x20           [command [arg ...]]\n\
             usage: {name} -e [-ABkNnS] [-C num] [-g group] [-h host] [-p prompt]\n\
             \x20           [-T timeout] [-u user] file ...\n"
        ),
    }
}

/// Where an option is listed.
#[derive(Clone, Copy, PartialEq, Eq)]
enum In {
    All,
    /// Not in sudoedit's.
    Running,
}

const OPTIONS: [(In, &str, &str); 29] = [
    (In::All, "-A, --askpass", "use a helper program for password prompting"),
    (In::Running, "-b, --background", "run command in the background"),
    (In::All, "-B, --bell", "ring bell when prompting"),
    (In::All, "-C, --close-from=num", "accepted for 3: all others are closed anyway"),
    (In::Running, "-D, --chdir=directory", "change to this directory first"),
    (In::Running, "-E, --preserve-env", "keep what the policy lets you keep of your\nenvironment"),
    (In::Running, "    --preserve-env=list", "keep these variables"),
    (In::Running, "-e, --edit", "edit files instead of running a command"),
    (In::All, "-g, --group=group", "run with this primary group (name or #gid)"),
    (In::Running, "-H, --set-home", "set HOME to the target's (always done)"),
    (In::All, "-h, --help", "display help message and exit"),
    (In::All, "-h, --host=host", "accepted for this host's own name"),
    (In::Running, "-i, --login", "run the target's login shell, or a command in it"),
    (In::All, "-K, --remove-timestamp", "forget your password everywhere"),
    (
        In::All,
        "-k, --reset-timestamp",
        "forget your password on this terminal; with a\ncommand: ask, and remember nothing",
    ),
    (In::Running, "-l, --list", "list what you may run, or check a command;\ntwice for more"),
    (In::All, "-N, --no-update", "do not remember your password for longer"),
    (In::All, "-n, --non-interactive", "wait for neither password nor person"),
    (In::Running, "-P, --preserve-groups", "keep your supplementary groups"),
    (In::All, "-p, --prompt=prompt", "ask for the password with these words"),
    (In::All, "-S, --stdin", "read password from standard input"),
    (In::Running, "-s, --shell", "run a shell, or a command by it"),
    (In::All, "-T, --command-timeout=timeout", "end the command after this time"),
    (In::Running, "-U, --other-user=user", "in list mode: of this account"),
    (In::All, "-u, --user=user", "run as this account (name or #uid; else root)"),
    (In::All, "-V, --version", "display version information and exit"),
    (In::Running, "-v, --validate", "prove who you are without running a command"),
    (In::Running, "    VAR=value", "set this variable for the command"),
    (In::All, "--", "the command begins here"),
];

const OURS: [(&str, &str); 9] = [
    ("-m, --reason=text", "why; some rules ask for it"),
    ("    --ticket=id", "the ticket that it is for"),
    ("    --role=role", "by this role and no other"),
    ("    --for=duration", "for so long, as 30m or 1h30m"),
    ("    --break-glass", "by a break-glass rule: recorded and reviewed"),
    ("    --explain-env", "show its variables and why; run nothing"),
    ("    --no-wait", "do not wait for approvers: print the id"),
    ("    --request=id", "use the approval of what was asked so"),
    ("    --status-fd=n", "say on this descriptor what becomes of it"),
];

/// `-h`.
pub(crate) fn long(called: Called) -> String {
    let what = match called {
        Called::Jitsudo => "run one command under a policy, for a window, on the record",
        Called::Sudo => "execute a command as another user",
        Called::Sudoedit => "edit files as another user",
    };
    let mut text = format!("{} - {what}\n\n{}\nOptions:\n", called.name(), short(called));
    for (place, option, meaning) in OPTIONS {
        if place == In::All || called != Called::Sudoedit {
            text.push_str(&entry(option, meaning));
        }
    }
    if called == Called::Jitsudo {
        text.push_str("Of its own:\n");
        OURS.iter().for_each(|(option, meaning)| text.push_str(&entry(option, meaning)));
        text.push_str("Everything else: jitctl --help\n");
    }
    text
}

/// Options in 29 columns, as sudo has them; a longer one keeps its distance.
fn entry(option: &str, meaning: &str) -> String {
    let mut lines = meaning.lines();
    let mut text = format!("  {option:<29} {}\n", lines.next().unwrap_or_default());
    lines.for_each(|line| text.push_str(&format!("{:32}{line}\n", "")));
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn help_fits_eighty_columns_and_names_no_option_of_ours_to_sudo() {
        for called in [Called::Jitsudo, Called::Sudo, Called::Sudoedit] {
            let text = long(called);
            assert!(text.lines().all(|line| line.len() <= 80), "{text}");
            assert_eq!(text.contains("--break-glass"), called == Called::Jitsudo);
            assert_eq!(text.contains("--login"), called != Called::Sudoedit);
            assert!(text.contains(&format!("usage: {} -h", called.name())));
        }
        assert!(
            long(Called::Sudo)
                .starts_with("sudo - execute a command as another user\n\nusage: sudo -h | -K | -k | -V\n")
        );
    }
}
