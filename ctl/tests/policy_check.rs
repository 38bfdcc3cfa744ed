//! `jitctl policy check` on files, as anybody, without a daemon.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on must fail")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// A folder that is gone with its test.
struct Folder(PathBuf);
impl Folder {
    fn new(name: &str) -> Self {
        let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }
    fn with(self, name: &str, text: impl AsRef<[u8]>) -> Self {
        fs::write(self.0.join(name), text).unwrap();
        self
    }
    fn check(&self, more: &[&str]) -> Output {
        let path = self.0.to_str().unwrap();
        Command::new(env!("CARGO_BIN_EXE_jitctl")).args(["policy", "check", path]).args(more).output().unwrap()
    }
}
impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

const SOUND: &str = r#"[roles.web-operator]
run = ["/usr/bin/systemctl {restart,reload} nginx"]

[[allow]]
name = "alice runs the web tier"
who = ["alice"]
roles = ["web-operator"]
auth = "none"
"#;

#[test]
fn sound_files_are_counted_and_leftovers_are_not_read() {
    let folder = Folder::new("sound").with("10-web.toml", SOUND).with("10-web.toml~", "[").with(".x.toml", "[");
    let output = folder.check(&[]);
    let shown = text(&output.stdout);
    assert_eq!(output.status.code(), Some(0), "{shown}");
    assert!(shown.ends_with("sound: 1 rule and 1 role in 1 file\n"), "{shown}");
    let json: serde_json::Value = serde_json::from_slice(&folder.check(&["--json"]).stdout).unwrap();
    assert_eq!((&json["ok"], &json["rules"], &json["roles"]), (&true.into(), &1.into(), &1.into()));
}

#[test]
fn policy_05_mistakes_are_shown_in_their_place_and_the_exit_status_is_4() {
    let wrong = SOUND.replace("roles = [\"web-operator\"]", "roles = [\"web-operater\"]");
    let folder = Folder::new("wrong").with("10-web.toml", &wrong);
    let output = folder.check(&[]);
    let shown = text(&output.stdout);
    assert_eq!(output.status.code(), Some(4), "{shown}");
    assert!(shown.contains("10-web.toml:7:10") && shown.contains("web-operater"), "{shown}");
    assert!(!shown.contains('\u{1b}'), "no colour without a terminal:\n{shown}");
    let json: serde_json::Value = serde_json::from_slice(&folder.check(&["--json"]).stdout).unwrap();
    assert_eq!((&json["ok"], &json["errors"][0]["line"]), (&false.into(), &7.into()));
}

#[test]
fn files_that_are_no_text_or_miss_get_a_clear_answer() {
    let output = Folder::new("bytes").with("a.toml", b"\xff\xfe").check(&[]);
    assert_eq!(output.status.code(), Some(4));
    assert!(text(&output.stdout).contains("not UTF-8"));
    let output = Folder::new("more").with("a.toml", SOUND).check(&["/nonexistent.toml"]);
    assert_eq!(output.status.code(), Some(2));
    assert_eq!(text(&output.stderr), "jitctl: cannot read policy /nonexistent.toml: no such file or directory\n");
}

#[test]
fn every_policy_that_a_document_shows_is_sound() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut seen = 0;
    for name in ["README.md", "docs/policy.md"] {
        let document = fs::read_to_string(root.join(name)).unwrap();
        for block in document.split("```toml\n").skip(1).filter_map(|rest| rest.split("```").next()) {
            let output = Folder::new(&format!("shown-{seen}")).with("10-shown.toml", block).check(&[]);
            assert_eq!(output.status.code(), Some(0), "{name}:\n{}", text(&output.stdout));
            seen += 1;
        }
    }
    assert_eq!(seen, 8, "documents show policies");
    let manual = fs::read_to_string(root.join("man/jitsudo-policy.5")).unwrap();
    let (_, example) = manual.split_once(".Bd -literal\n[defaults]").unwrap();
    let example = format!("[defaults]{}", example.split("\n.Ed").next().unwrap());
    let output = Folder::new("shown-manual").with("10-shown.toml", &example).check(&[]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stdout));
}
