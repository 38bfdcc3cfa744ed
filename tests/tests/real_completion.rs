//! The Tab key: words of jitsudo's, commands, and the commands' own words, in the shells themselves.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on must fail")]

use jitsudo_tests::story::host_with_jitsudo_as_sudo;
use jitsudo_tests::{Host, Shell, package_file};

fn host(name: &str) -> Host {
    let host = package_file().and_then(|package| host_with_jitsudo_as_sudo(name, &package));
    host.unwrap_or_else(|error| panic!("{error}"))
}

/// What bash with bash-completion makes of a line with the cursor at its end: the words that it offers.
const OFFERS: &str = r#"
. /usr/share/bash-completion/bash_completion
offers() {
    COMP_LINE=$1 COMP_POINT=${#1} COMP_TYPE=9 COMP_KEY=9
    COMP_WORDS=($2) COMP_CWORD=$((${#COMP_WORDS[@]} - 1))
    [[ $1 == *" " ]] && { COMP_WORDS+=(""); ((COMP_CWORD++)); }
    COMPREPLY=()
    _completion_loader jitsudo
    _jitsudo jitsudo "${COMP_WORDS[COMP_CWORD]}" "${COMP_WORDS[COMP_CWORD-1]}" 2>/dev/null
    printf '%s\n' "${COMPREPLY[@]%% }" | sort -u
}
compopt() { :; }
"#;

/// The line as readline cuts it: a `=` is a word.
fn cut(line: &str) -> String {
    line.replace('=', " = ")
}

fn offers(host: &Host, lines: &[&str]) -> Vec<Vec<String>> {
    let asked: String = lines.iter().map(|line| format!("offers '{line}' '{}'; printf '\\0'\n", cut(line))).collect();
    host.write("/tmp/offers", 0o644, format!("{OFFERS}{asked}")).unwrap();
    let said = host.run(&["bash", "/tmp/offers"]).as_user("alice").ok().unwrap();
    let answers = said.split('\0').take(lines.len());
    answers.map(|answer| answer.lines().filter(|word| !word.is_empty()).map(str::to_owned).collect()).collect()
}

#[test]
fn bash_completes_options_values_commands_and_their_words() {
    let host = host("bash");
    let wanted: &[(&str, &[&str])] = &[
        ("jitsudo systemct", &["systemctl"]),
        ("jitsudo systemctl resta", &["restart"]),
        ("jitsudo -n -u bob systemctl resta", &["restart"]),
        ("jitsudo -nu bob systemctl resta", &["restart"]),
        ("jitsudo -ubob systemctl resta", &["restart"]),
        ("jitsudo --user=bob systemctl resta", &["restart"]),
        ("jitsudo --user bob systemctl resta", &["restart"]),
        ("jitsudo -m why --ticket OPS-1 systemctl resta", &["restart"]),
        ("jitsudo -- systemctl resta", &["restart"]),
        ("jitsudo LANG=C systemctl resta", &["restart"]),
        ("jitsudo LANG= systemctl resta", &["restart"]),
        ("jitsudo --preserve-env=A systemctl resta", &["restart"]),
        ("jitsudo -i systemctl resta", &["restart"]),
        // A command of root's that is not on alice's PATH.
        ("jitsudo useradd --creat", &["--create-home"]),
        ("jitsudo visud", &["visudo"]),
        ("jitsudo git checkou", &["checkout"]),
        ("jitsudo -u bo", &["bob"]),
        ("jitsudo -nu bo", &["bob"]),
        ("jitsudo --user=bo", &["bob"]),
        ("jitsudo -g oncal", &["oncall"]),
        ("jitsudo --role ", &["everything"]),
        ("jitsudo --role=ev", &["everything"]),
        ("jitsudo --rol", &["--role="]),
        ("jitsudo --break", &["--break-glass"]),
        ("jitsudo -e /etc/debian_ver", &["/etc/debian_version"]),
        ("jitsudo -D /usr/loca", &["/usr/local"]),
    ];
    let lines: Vec<&str> = wanted.iter().map(|(line, _)| *line).collect();
    let offered = offers(&host, &lines);
    assert_eq!(offered.len(), wanted.len());
    for ((line, wanted), offered) in wanted.iter().zip(offered) {
        assert_eq!(offered, *wanted, "{line}");
    }
    // Every option that the help names is offered, and known to the files of the other shells.
    let zsh = host.run(&["cat", "/usr/share/zsh/vendor-completions/_jitsudo"]).ok().unwrap();
    let fish = host.run(&["cat", "/usr/share/fish/vendor_completions.d/jitsudo.fish"]).ok().unwrap();
    let help = host.run(&["jitsudo", "--help"]).ok().unwrap();
    let [offered] = <[Vec<String>; 1]>::try_from(offers(&host, &["jitsudo --"])).unwrap();
    for option in help.split([' ', '\n', '[']).filter(|word| word.starts_with("--") && word.len() > 2) {
        let name = option.split(['=', ']']).next().unwrap_or_default();
        assert!(offered.iter().any(|word| word.trim_end_matches('=') == name), "{option} in {offered:?}");
        assert!(zsh.contains(name), "{name} for zsh");
        let word = format!(" -l {} ", name.trim_start_matches('-'));
        assert!(fish.contains(&word), "{name} for fish");
    }
}

#[test]
fn tab_key_completes_in_bash_zsh_and_fish() {
    let host = host("tab");
    // bash, with readline and the key itself; the link `sudo` has the completion that bash-completion ships.
    let mut bash = host.run(&["bash", "--norc", "--noprofile", "-i"]).as_user("alice").terminal().unwrap();
    bash.send(
        "bind 'set enable-bracketed-paste off'; PS1='pro''mpt> '; . /usr/share/bash-completion/bash_completion\n",
    )
    .unwrap();
    let mut bash = Shell::on(bash).unwrap();
    for program in ["jitsudo", "sudo"] {
        bash.send(&format!("{program} -u root systemctl is-activ\t")).unwrap();
        bash.expect("systemctl is-active ").unwrap();
        bash.send("jitsudod.so\t\n").unwrap();
        bash.expect("\r\nactive\r\n").unwrap();
        bash.expect(Shell::PROMPT).unwrap();
    }
    bash.send("jitsudo --user=bo\t id -un\n").unwrap();
    bash.expect("\r\nbob\r\n").unwrap();

    let mut zsh = host.run(&["zsh", "-f", "-i"]).as_user("alice").terminal().unwrap();
    zsh.send("autoload -Uz compinit; compinit -u; PS1='pro''mpt> '\n").unwrap();
    zsh.expect(Shell::PROMPT).unwrap();
    zsh.send("jitsudo --user=bo\t id -u\t\n").unwrap();
    zsh.expect("1003").unwrap();
    zsh.expect(Shell::PROMPT).unwrap();
    zsh.send("jitsudo -n git check-ref-f\t --branch zsh-was-here\n").unwrap();
    zsh.expect("\nzsh-was-here").unwrap();

    let ask = |line: &str| {
        host.run(&["fish", "--no-config", "-c", &format!("set fish_complete_path /usr/share/fish/vendor_completions.d /usr/share/fish/completions; complete -C '{line}'")])
            .as_user("alice")
            .ok()
            .unwrap()
    };
    for (line, wanted) in [
        ("jitsudo -u bo", "bob"),
        ("jitsudo --role ", "everything"),
        ("jitsudo systemct", "systemctl"),
        ("jitsudo -n -u bob git checkou", "checkout"),
        ("jitsudo visud", "visudo"),
        ("jitsudo --break", "--break-glass"),
    ] {
        let offered = ask(line);
        assert!(offered.lines().any(|word| word.split('\t').next() == Some(wanted)), "{line}: {offered}");
    }
    assert!(!ask("jitsudo git --").contains("--break-glass"), "jitsudo's options end where the command begins");
}
