//! `jitctl gate`: puts the PAM module into a service's own file, and takes it out again. Needs no daemon.
//!
//! MUSTs
//! 1. Only lines with our mark are added and removed; every other byte of the file stays (`other_lines_*`).
//! 2. A file is replaced whole, and only one that root alone can write (`trusted::read`).
//! 3. Nothing is enabled while there is no list: the module would deny root (`enable`).

use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use jitsudo_login_wire::GATED;
use jitsudo_login_wire::gated::{Reader, SERVICES};
use jitsudo_sys::nix::unistd::geteuid;
use jitsudo_sys::trusted;
use serde_json::json;

use super::{say, say_json};
use crate::arguments::{Gate, GateDisable, GateEnable};
use crate::failure::Failure;
use crate::text::visible;

/// Where services have their stacks.
const STACKS: &str = "/etc/pam.d";
/// Where the files are kept as they were before the first line of ours.
const BEFORE: &str = "/var/lib/jitsudo/gate";
/// Largest file of a service that is edited.
const MAX_BYTES: u64 = 64 * 1024;
/// At the end of each line of ours.
const MARK: &str = "# by jitctl gate";

/// Does what the command line says.
pub(super) fn run(what: &Gate, json: bool) -> Result<(), Failure> {
    match what {
        Gate::Enable(what) => enable(what, json),
        Gate::Disable(what) => disable(what, json),
        Gate::Status => status(json),
    }
}

fn enable(what: &GateEnable, json: bool) -> Result<(), Failure> {
    only_root()?;
    if !has_list()? {
        let message = format!("cannot enable the gate: {GATED} is not there, or not whole");
        return Err(Failure::Usage { message, hint: Some("jitctl policy apply writes it") });
    }
    what.services.iter().try_for_each(|service| change(service, &lines(service, what.rescue.as_deref()), json))
}

fn disable(what: &GateDisable, json: bool) -> Result<(), Failure> {
    only_root()?;
    let all = what.all.then(|| SERVICES.iter().map(|name| (*name).to_owned()).filter(|name| place(name).exists()));
    all.into_iter().flatten().chain(what.services.iter().cloned()).try_for_each(|service| change(&service, "", json))
}

fn status(json: bool) -> Result<(), Failure> {
    let mut found = Vec::new();
    for service in SERVICES {
        let Ok(text) = fs::read_to_string(place(service)) else { continue };
        let ours: Vec<&str> = text.lines().filter(|line| line.ends_with(MARK)).collect();
        let rescue = ours.iter().flat_map(|line| line.split_whitespace()).find_map(|word| word.strip_prefix("rescue="));
        found.push((service, !ours.is_empty(), rescue.map(visible)));
    }
    if json {
        let services: Vec<_> = found
            .iter()
            .map(|(service, enabled, rescue)| json!({"service": service, "enabled": enabled, "rescue": rescue}))
            .collect();
        return say_json(&json!({ "services": services }));
    }
    let line = |(service, enabled, rescue): &(&str, bool, Option<String>)| {
        let how = if *enabled { "gated" } else { "open" };
        let rescue = rescue.as_ref().map_or_else(String::new, |name| format!(", {name} enters without a grant"));
        format!("{service:<14} {how}{rescue}\n")
    };
    say(&found.iter().map(line).collect::<String>())
}

fn only_root() -> Result<(), Failure> {
    if geteuid().is_root() {
        return Ok(());
    }
    Err(Failure::Usage { message: "only root edits PAM's files".to_owned(), hint: Some("jitsudo jitctl gate …") })
}

fn has_list() -> Result<bool, Failure> {
    let text = trusted::read(Path::new(GATED), jitsudo_login_wire::gated::MAX_LIST_BYTES);
    let text = text.map_err(|error| Failure::BadCheck(error.to_string()))?;
    let mut reader = Reader::new(None, b"", b"");
    reader.feed(&text.unwrap_or_default());
    Ok(reader.says().is_whole)
}

fn place(service: &str) -> PathBuf {
    Path::new(STACKS).join(service)
}

/// Our lines for a service; at the console root is let in unless another account is named.
fn lines(service: &str, rescue: Option<&str>) -> String {
    let rescue = rescue.or((service == "login").then_some("root"));
    let rescue = rescue.map_or_else(String::new, |name| format!(" rescue={name}"));
    format!(
        "account required pam_jitsudo.so list-required session-follows{rescue} {MARK}\n\
         session required pam_jitsudo.so list-required{rescue} {MARK}\n"
    )
}

/// A text with these lines of ours at its beginning, and no others of ours.
fn with(text: &str, ours: &str) -> String {
    let others = text.split_inclusive('\n').filter(|line| !line.trim_end().ends_with(MARK));
    std::iter::once(ours).chain(others).collect()
}

fn change(service: &str, ours: &str, json: bool) -> Result<(), Failure> {
    if !SERVICES.contains(&service) {
        let message = format!("cannot gate {}: it is none of {}", visible(service), SERVICES.join(", "));
        return Err(Failure::Usage { message, hint: Some("what cron and others include must never be gated") });
    }
    let path = place(service);
    let shown = path.display();
    let read = trusted::read(&path, MAX_BYTES).map_err(|error| Failure::BadCheck(error.to_string()))?;
    let text =
        read.ok_or_else(|| Failure::NothingFound(format!("{shown} does not exist: nothing is entered there")))?;
    let text = String::from_utf8(text).map_err(|_| Failure::BadCheck(format!("cannot read {shown}: it is no text")))?;
    let fresh = with(&text, ours);
    if fresh == text {
        return if json { Ok(()) } else { say(&format!("{shown}: nothing to change\n")) };
    }
    let failed = |what: &str| {
        let what = format!("{what} {shown}");
        move |cause| Failure::File { what, cause }
    };
    if !ours.is_empty() && !text.contains(MARK) {
        keep(service, &text).map_err(failed("keep a copy of"))?;
    }
    replace(&path, &fresh).map_err(failed("write"))?;
    if json {
        return Ok(());
    }
    let gone = text.lines().filter(|line| line.ends_with(MARK)).map(|line| format!("-{line}\n"));
    let new = ours.lines().map(|line| format!("+{line}\n"));
    say(&format!("{shown}\n{}", gone.chain(new).collect::<String>()))
}

fn keep(service: &str, text: &str) -> std::io::Result<()> {
    match fs::DirBuilder::new().mode(0o700).create(BEFORE) {
        Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => return Err(error),
        _ => {}
    }
    replace(&Path::new(BEFORE).join(service), text)
}

/// Whole or not at all, root's, 0644 as Debian has these files.
fn replace(path: &Path, text: &str) -> std::io::Result<()> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let fresh = path.with_file_name(format!(".{name}.jitsudo-new"));
    let _ = fs::remove_file(&fresh);
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&fresh)?;
    file.write_all(text.as_bytes())?;
    file.set_permissions(fs::Permissions::from_mode(0o644))?;
    file.sync_all()?;
    jitsudo_sys::failpoint::reach("ctl.gate.synced");
    fs::rename(&fresh, path)?;
    jitsudo_sys::failpoint::reach("ctl.gate.renamed");
    path.parent().map_or(Ok(()), |folder| fs::File::open(folder)?.sync_all())
}

#[cfg(test)]
mod tests {
    use super::*;

    const STACK: &str =
        "# The PAM file\nauth required pam_env.so\n@include common-auth\naccount required pam_nologin.so";

    #[test]
    fn other_lines_stay_as_they_are_byte_for_byte() {
        let once = with(STACK, &lines("sshd", None));
        assert!(
            once.starts_with(
                "account required pam_jitsudo.so list-required session-follows # by jitctl gate\nsession "
            )
        );
        assert!(once.ends_with(STACK));
        assert_eq!(with(&once, &lines("sshd", None)), once, "twice is once");
        assert_eq!(with(&once, ""), STACK);
        assert_eq!(with(STACK, ""), STACK);
        let by_hand = format!("account required pam_jitsudo.so\n{STACK}");
        assert_eq!(with(&by_hand, ""), by_hand, "what somebody wrote themselves is theirs");
    }

    #[test]
    fn console_has_a_rescue_account_and_other_services_only_a_named_one() {
        assert_eq!(lines("login", None).matches("rescue=root").count(), 2);
        assert_eq!(lines("login", Some("carol")).matches("rescue=carol").count(), 2);
        assert!(!lines("sshd", None).contains("rescue"));
    }
}
