//! Help texts.

use crate::options::Called;

/// After a usage error.
pub(crate) fn short(called: Called) -> String {
    let name = called.name();
    match called {
        Called::Sudoedit => format!("usage: {name} [-knS] [-g group] [-p prompt] [-u user] file ...\n"),
        Called::Jitsudo => format!(
            "usage: {name} -h | -K | -k | -V\n\
             usage: {name} [-AEHknSis] [-D directory] [-g group] [-p prompt] [-u user]\n\
             \x20              [-m reason] [--ticket id] [--role role] [--for duration]\n\
             \x20              [--break-glass] [--status-fd n] [VAR=value] [command [arg ...]]\n\
             usage: {name} -e [-u user] file ...\n"
        ),
        Called::Sudo => format!(
            "usage: {name} -h | -K | -k | -V\n\
             usage: {name} [-AEHknSis] [-D directory] [-g group] [-p prompt] [-u user]\n\
             \x20           [VAR=value] [-i | -s] [command [arg ...]]\n\
             usage: {name} -e [-u user] file ...\n"
        ),
    }
}

/// `-h`.
pub(crate) fn long(called: Called) -> String {
    let name = called.name();
    let mut text =
        format!("{name} - run one command under a policy, for a window, on the record\n\n{}\n", short(called));
    text.push_str(
        "Options:\n\
         \x20 -u, --user=user           run as this account (name or #uid; else root)\n\
         \x20 -g, --group=group         run with this primary group (name or #gid)\n\
         \x20 -s, --shell               run a shell, or a command by it\n\
         \x20 -i, --login               run the target's login shell, or a command by it\n\
         \x20 -D, --chdir=directory     change to this directory first\n\
         \x20 -E, --preserve-env        keep what the policy lets you keep of your environment\n\
         \x20     --preserve-env=list   keep these variables\n\
         \x20 -n, --non-interactive     wait for neither password nor person\n\
         \x20 -e, --edit                edit files (not supported yet)\n\
         \x20 -h, --help                show this text\n\
         \x20 -V, --version             show the version\n\
         \x20 --                        the command begins here\n",
    );
    if called != Called::Sudo {
        text.push_str(
            "Of its own:\n\
             \x20 -m, --reason=text         why; some rules ask for it\n\
             \x20     --ticket=id           the ticket that it is for\n\
             \x20     --role=role           by this role and no other\n\
             \x20     --for=duration        for so long, as 30m or 1h30m\n\
             \x20     --break-glass         by a break-glass rule: recorded and reviewed\n\
             \x20     --no-wait             do not wait for approvers\n\
             \x20     --status-fd=n         say on this descriptor what became of the request\n\
             Everything else: jitctl --help\n",
        );
    }
    text
}
