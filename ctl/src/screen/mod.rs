//! What people see: pure functions from data to text, each with its golden tests.

pub(crate) mod access;
pub(crate) mod card;
pub(crate) mod doctor;
pub(crate) mod event;
pub(crate) mod explain;
pub(crate) mod grants;
pub(crate) mod log;
pub(crate) mod policy;
pub(crate) mod residue;
pub(crate) mod reviews;
pub(crate) mod roles;
pub(crate) mod sessions;
pub(crate) mod standing;
pub(crate) mod status;
pub(crate) mod timeline;
pub(crate) mod verify;

use jitsudo_core::event::Ending;

/// How a command ended: `exit 0`, `killed by TERM`, `never started: permission denied`.
pub(crate) fn ending(ending: Ending) -> String {
    match ending {
        Ending::Exited(status) => format!("exit {status}"),
        Ending::Signalled(signal) => format!("killed by {}", signal_name(signal)),
        Ending::NotStarted(errno) => {
            format!("never started: {}", crate::failure::of_kernel(&std::io::Error::from_raw_os_error(errno)))
        }
    }
}

fn signal_name(number: u8) -> String {
    use jitsudo_sys::nix::sys::signal::Signal;
    Signal::try_from(i32::from(number))
        .map_or_else(|_| format!("signal {number}"), |signal| signal.as_str().trim_start_matches("SIG").to_owned())
}

/// Names with commas: `a, b and c`.
pub(crate) fn joined(names: &[String]) -> String {
    match names {
        [] => String::new(),
        [one] => crate::text::visible(one),
        [first @ .., last] => {
            let first: Vec<String> = first.iter().map(|name| crate::text::visible(name)).collect();
            format!("{} and {}", first.join(", "), crate::text::visible(last))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endings_read_like_a_shell_tells_them() {
        assert_eq!(ending(Ending::Exited(3)), "exit 3");
        assert_eq!(ending(Ending::Signalled(15)), "killed by TERM");
        assert_eq!(ending(Ending::Signalled(40)), "killed by signal 40");
        assert_eq!(ending(Ending::NotStarted(13)), "never started: permission denied");
    }

    #[test]
    fn names_are_joined_as_a_sentence_does() {
        let names = |list: &[&str]| joined(&list.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>());
        assert_eq!(
            (names(&[]).as_str(), names(&["a"]).as_str(), names(&["a", "b", "c"]).as_str()),
            ("", "a", "a, b and c")
        );
    }
}
