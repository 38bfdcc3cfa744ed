//! The command's variables: made by `core::environment` of what the session knows; told instead of used for `--explain-env`.

use jitsudo_bytes::Bytes;
use jitsudo_core::environment::{self, Inputs};
use jitsudo_core::facts::{Executable, Fact};
use jitsudo_core::name::Uid;
use jitsudo_link::session::Spec;
use jitsudo_protocol::act::{Act, ActKind};
use jitsudo_protocol::client::FaultCode;
use jitsudo_protocol::session::FromSession;
use jitsudo_sys::nix::errno::Errno;

use crate::authority::Authority;
use crate::client::Client;
use crate::failure::Failure;
use crate::program;

/// Most names in one line about what `-E` did not keep.
const MAX_NAMES: usize = 30;
/// Text of one message: JSON may make six bytes of one.
const CHUNK_BYTES: usize = 8 * 1024;

/// The variables for exec, `NAME=value`. What `-E` asked for and does not get is named to the requester, never its value.
pub(crate) fn of(
    spec: &Spec,
    executable: &Executable,
    act: &Act,
    authority: &Authority,
    client: &Client,
) -> Vec<Vec<u8>> {
    with_inputs(spec, executable, act, authority, |inputs| {
        if let Some(line) = not_kept(&environment::not_preserved(inputs)) {
            client.say(&FromSession::Notice(line));
        }
        let variables = environment::build(inputs).into_iter();
        variables.map(|(name, value)| [name.0.as_slice(), b"=", &value.0].concat()).collect()
    })
}

/// `--explain-env`: every variable with its cause, sorted, a line each; of what is dropped the name alone.
pub(crate) fn explain(
    spec: &Spec,
    executable: &Executable,
    act: &Act,
    authority: &Authority,
    client: &Client,
) -> Result<(), Failure> {
    let lines = with_inputs(spec, executable, act, authority, |inputs| {
        environment::explain(inputs).iter().map(line).collect::<Vec<_>>()
    });
    for chunk in chunks(lines) {
        client.say(&FromSession::Output(Bytes(chunk)));
        client.flush_patiently();
        if client.has_waiting() {
            let message = "cannot tell the variables: the client does not read".to_owned();
            return Err(Failure::cannot(FaultCode::Internal, message, Errno::EAGAIN));
        }
    }
    Ok(())
}

fn line(one: &environment::Explained) -> String {
    let name = one.name.visible();
    match &one.value {
        Some(value) => format!("{name}={}   {}\n", value.visible(), one.cause),
        None => format!("{name}   {}\n", one.cause),
    }
}

/// Lines joined into messages; a line that is longer than one goes on in the next.
fn chunks(lines: Vec<String>) -> Vec<Vec<u8>> {
    let text = lines.concat().into_bytes();
    text.chunks(CHUNK_BYTES).map(<[u8]>::to_vec).collect()
}

fn not_kept(names: &[Bytes]) -> Option<String> {
    if names.is_empty() {
        return None;
    }
    let shown: Vec<String> = names.iter().take(MAX_NAMES).map(Bytes::visible).collect();
    let more = names.len().saturating_sub(MAX_NAMES);
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    Some(format!("not kept of your environment: {}{more}", shown.join(", ")))
}

fn with_inputs<T>(
    spec: &Spec,
    executable: &Executable,
    act: &Act,
    authority: &Authority,
    ask: impl FnOnce(&Inputs<'_>) -> T,
) -> T {
    let known = |fact: &Fact<String>| fact.known().cloned().unwrap_or_default();
    let (user, home) = (known(&spec.requester.name), known(&spec.requester.home));
    let mut command = vec![executable.path.clone()];
    command.extend(program::arguments(executable, act).into_iter().skip(1));
    let pam: Vec<Bytes> = authority.environment.iter().cloned().map(Bytes).collect();
    let is_nobody_elses = matches!(spec.requester.loginuid, Fact::Is(None | Some(Uid::ROOT)));
    ask(&Inputs {
        caller: &act.env,
        assignments: &act.options.env_set,
        preserve: &act.options.preserve,
        pam: &pam,
        run_as: &spec.run_as,
        root_is_root: spec.requester.uid == Uid::ROOT && is_nobody_elses,
        target: &spec.target,
        uid: spec.requester.uid,
        gid: spec.requester.gid,
        user: &user,
        home: &home,
        command: &command,
        secure_path: &spec.secure_path,
        tty: spec.process.tty_name.as_deref(),
        login: act.options.kind == ActKind::LoginShell,
        id: &spec.session.access,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use jitsudo_core::environment::{Cause, Explained};

    #[test]
    fn lines_have_no_control_character_and_dropped_ones_no_value() {
        let kept = Explained { name: "A".into(), value: Some(Bytes(b"x\x1b[2J\n\xff".to_vec())), cause: Cause::Pam };
        assert_eq!(line(&kept), "A=x\\u{1b}[2J\\u{a}\\xff   PAM\n");
        let dropped = Explained { name: Bytes(b"B\nC".to_vec()), value: None, cause: Cause::Hostile };
        assert_eq!(line(&dropped), "B\\u{a}C   dropped: black list\n");
    }

    #[test]
    fn dropped_names_are_counted_beyond_a_line() {
        assert_eq!(not_kept(&[]), None);
        assert_eq!(not_kept(&["A".into(), "B".into()]).unwrap(), "not kept of your environment: A, B");
        let many: Vec<Bytes> = (0..MAX_NAMES + 5).map(|at| Bytes::from(format!("V{at}").as_str())).collect();
        assert!(not_kept(&many).unwrap().ends_with("V29 and 5 more"));
    }

    #[test]
    fn chunks_are_the_text_and_fit_a_datagram() {
        let lines: Vec<String> = (0..3000).map(|at| format!("V{at}={}\n", "\"é".repeat(50))).collect();
        let chunks = chunks(lines.clone());
        assert_eq!(chunks.concat(), lines.concat().into_bytes());
        for chunk in chunks {
            let message = serde_json::to_vec(&FromSession::Output(Bytes(chunk))).unwrap();
            assert!(message.len() < jitsudo_protocol::MAX_DATAGRAM);
        }
    }
}
