//! Questions that take long, on a thread of their own: a long ledger or a large policy delays nobody but who asks.
//!
//! MUST: without the duty `see` an account gets only lines of accesses that its own uid asked for, of a denial not the name of the
//! rule behind it (`info_leak_07_*`), and of a path not what was found there (`info_leak_01_*`).

use std::borrow::Cow;
use std::collections::{BTreeSet, VecDeque};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};

use jitsudo_core::Timestamp;
use jitsudo_core::explain::{Visible, explain};
use jitsudo_core::facts::Facts;
use jitsudo_core::policy::Policy;
use jitsudo_core::request::Request;
use jitsudo_protocol::client::{Fault, FaultCode, FromDecider};
use jitsudo_sys::nix::sys::eventfd::EventFd;
use serde::Deserialize;
use serde_json::Value;

use crate::answers;

/// Most bytes of one answer.
pub(crate) const MAX_BYTES: usize = 8 * 1024 * 1024;

/// Which lines somebody wants.
#[derive(Clone, Debug)]
pub(crate) struct Wanted {
    /// Only this account's; `None` = everybody's.
    pub(crate) uid: Option<u32>,
    /// Accesses that are known to be that account's.
    pub(crate) own: BTreeSet<String>,
    /// Only this access.
    pub(crate) id: Option<String>,
    /// Only accesses that this account asked for.
    pub(crate) user: Option<String>,
    /// Only later lines.
    pub(crate) after: Option<u64>,
    /// Only what happened then or later.
    pub(crate) since: Option<Timestamp>,
    /// At most so many, the newest.
    pub(crate) limit: usize,
}

/// A request that is to be explained.
#[derive(Debug)]
pub(crate) struct Unclear {
    pub(crate) policy: Option<Arc<Policy>>,
    pub(crate) facts: Facts,
    pub(crate) request: Request,
    pub(crate) now: Timestamp,
    pub(crate) visible: Visible,
}

/// A question.
#[derive(Debug)]
pub(crate) enum Question {
    /// Lines of the ledger.
    Log(Wanted),
    /// Why a decision would be what it is.
    Explain(Box<Unclear>),
}

/// The thread that answers.
#[derive(Debug)]
pub(crate) struct Worker {
    sender: Sender<(u64, Question)>,
    receiver: Receiver<(u64, Vec<FromDecider>)>,
}

impl Worker {
    /// Starts the thread; it ends with the worker.
    pub(crate) fn start(dir: &Path, wake: Arc<EventFd>) -> io::Result<Self> {
        let (sender, questions) = channel::<(u64, Question)>();
        let (answers, receiver) = channel();
        let dir: PathBuf = dir.to_path_buf();
        std::thread::Builder::new().name("questions".to_owned()).spawn(move || {
            while let Ok((client, question)) = questions.recv() {
                if answers.send((client, answer(&dir, question))).is_err() || wake.write(1).is_err() {
                    return;
                }
            }
        })?;
        Ok(Self { sender, receiver })
    }

    /// Hands a question over; false when the thread is gone.
    pub(crate) fn ask(&self, client: u64, question: Question) -> bool {
        self.sender.send((client, question)).is_ok()
    }

    /// What was answered since the last call.
    pub(crate) fn answered(&self) -> Vec<(u64, Vec<FromDecider>)> {
        self.receiver.try_iter().collect()
    }
}

fn answer(dir: &Path, question: Question) -> Vec<FromDecider> {
    match question {
        Question::Log(wanted) => match find(dir, wanted) {
            Ok(items) => answers::parts(items),
            Err(fault) => vec![FromDecider::Fault(fault)],
        },
        Question::Explain(unclear) => {
            let Unclear { policy, facts, request, now, visible } = *unclear;
            let explanation = explain(policy.as_deref(), &facts, &request, now, visible);
            answers::parts(serde_json::to_value(explanation).into_iter().collect())
        }
    }
}

/// What of a line decides whose it is.
#[derive(Deserialize)]
struct Glance<'a> {
    #[serde(borrow)]
    event: Cow<'a, str>,
    #[serde(borrow, default)]
    id: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    session: Option<Cow<'a, str>>,
    #[serde(default)]
    uid: Option<u32>,
    #[serde(borrow, default)]
    user: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    wall: Option<Cow<'a, str>>,
}

/// Decides line by line, oldest first.
struct Filter {
    wanted: Wanted,
    of_user: BTreeSet<String>,
}

impl Filter {
    fn keeps(&mut self, line: &[u8]) -> bool {
        let Ok(glance) = serde_json::from_slice::<Glance<'_>>(line) else { return false };
        let session = glance.session.as_deref().and_then(|session| session.split('.').next());
        let access = glance.id.as_deref().or(session);
        if let Some(id) = access.filter(|_| glance.event == "requested") {
            if self.wanted.uid.is_some() && glance.uid == self.wanted.uid {
                self.wanted.own.insert(id.to_owned());
            }
            if self.wanted.user.is_some() && glance.user.as_deref() == self.wanted.user.as_deref() {
                self.of_user.insert(id.to_owned());
            }
        }
        let recent = self.wanted.since.is_none_or(|since| {
            glance.wall.as_deref().and_then(|wall| wall.parse::<Timestamp>().ok()).is_some_and(|wall| wall >= since)
        });
        if !recent {
            return false;
        }
        // What is about an account, and no access.
        let about = matches!(glance.event.as_ref(), "denials_counted" | "locked" | "unlocked");
        let counted = about && glance.uid == self.wanted.uid;
        let own = self.wanted.uid.is_none() || counted || access.is_some_and(|id| self.wanted.own.contains(id));
        let names = about && glance.user.is_some() && glance.user.as_deref() == self.wanted.user.as_deref();
        let of_user = self.wanted.user.is_none() || names || access.is_some_and(|id| self.of_user.contains(id));
        let meant = self.wanted.id.as_deref().is_none_or(|text| access.is_some_and(|id| is_meant(text, id)));
        own && of_user && meant
    }
}

pub(crate) fn is_meant(text: &str, id: &str) -> bool {
    id.parse::<jitsudo_core::id::AccessId>().is_ok_and(|id| id.is_meant_by(text))
}

fn find(dir: &Path, wanted: Wanted) -> Result<Vec<Value>, Fault> {
    let (limit, after, only_own) = (wanted.limit, wanted.after, wanted.uid.is_some());
    // Whose an access is stands in its first line: with a lower bound the caller names the accesses that began before it.
    let from = after.map_or(0, |after| after.saturating_add(1));
    let mut filter = Filter { wanted, of_user: BTreeSet::new() };
    let trouble = |error: &dyn std::fmt::Display| Fault {
        code: FaultCode::Ledger,
        message: format!("cannot read the ledger: {error}"),
        hint: Some("jitctl audit verify (as root)".to_owned()),
    };
    let lines = jitsudo_ledger::read(dir, from, |line| filter.keeps(line.bytes())).map_err(|error| trouble(&error))?;
    // A line that is none is the verifier's business; the others are still an answer.
    let Some(newest) = newest(lines.filter_map(Result::ok).map(|line| line.bytes), limit) else {
        return Err(Fault {
            code: FaultCode::NotSupported,
            message: "cannot answer: these events are more than 8 MiB".to_owned(),
            hint: Some("ask for fewer: --limit 1000".to_owned()),
        });
    };
    let mut items: Vec<Value> = newest.iter().filter_map(|line| serde_json::from_slice(line).ok()).collect();
    if only_own {
        items.iter_mut().for_each(hide_from_requester);
    }
    Ok(items)
}

/// The last `limit` lines; `None` when these are longer than an answer may be. Never holds more than that.
fn newest(lines: impl Iterator<Item = Vec<u8>>, limit: usize) -> Option<VecDeque<Vec<u8>>> {
    let (mut newest, mut bytes, mut short_of_room) = (VecDeque::new(), 0usize, false);
    for line in lines {
        bytes = bytes.saturating_add(line.len());
        newest.push_back(line);
        while newest.len() > limit || bytes > MAX_BYTES {
            short_of_room |= newest.len() <= limit;
            let oldest: Vec<u8> = newest.pop_front()?;
            bytes = bytes.saturating_sub(oldest.len());
        }
    }
    (!short_of_room || newest.len() >= limit).then_some(newest)
}

/// Takes the name of the deny or require out of a denial: it may be about others (`core::decision::Denial::by`). Takes out, too, what was
/// found where a path was asked for: a denial does not tell whether it is there.
fn hide_from_requester(item: &mut Value) {
    let by_path = |name: &Value| name.as_str().is_none_or(|name| name.contains('/'));
    if item.pointer("/argv/0").is_some_and(by_path)
        && let Some(program) = item.get_mut("program")
    {
        *program = Value::Null;
    }
    if let Some(by) = item.pointer_mut("/denial/by") {
        *by = Value::Null;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn everything() -> Wanted {
        Wanted { uid: None, own: BTreeSet::new(), id: None, user: None, after: None, since: None, limit: 100 }
    }

    const ONE: &str = "01jd000000000000000000aaaa";
    const TWO: &str = "01jd000000000000000000bbbb";

    fn lines() -> Vec<String> {
        vec![
            format!(r#"{{"event":"requested","id":"{ONE}","uid":1000,"user":"alice"}}"#),
            format!(r#"{{"event":"requested","id":"{TWO}","uid":1001,"user":"bob"}}"#),
            format!(r#"{{"event":"session_starting","session":"{ONE}.1","uid":1001}}"#),
            format!(r#"{{"event":"session_exit","session":"{TWO}.1","pid":1}}"#),
            r#"{"event":"spawner_refused","id":null,"cause":"x"}"#.to_owned(),
            r#"{"event":"denials_counted","uid":1000,"count":3}"#.to_owned(),
        ]
    }

    fn kept(wanted: Wanted) -> Vec<usize> {
        let mut filter = Filter { wanted, of_user: BTreeSet::new() };
        let lines = lines();
        (0..lines.len()).filter(|place| filter.keeps(lines[*place].as_bytes())).collect()
    }

    #[test]
    fn info_leak_07_an_account_sees_its_own_accesses_only() {
        assert_eq!(kept(Wanted { uid: Some(1000), ..everything() }), [0, 2, 5]);
        // uid 1001 is a target in alice's session: that is not asking for it.
        assert_eq!(kept(Wanted { uid: Some(1001), ..everything() }), [1, 3]);
        assert_eq!(kept(Wanted { uid: Some(1002), ..everything() }), Vec::<usize>::new());
        assert_eq!(kept(everything()), [0, 1, 2, 3, 4, 5]);
    }

    #[test]
    fn long_lines_never_fill_the_memory_and_the_newest_that_fit_are_given() {
        let long = || std::iter::repeat_with(|| vec![b'x'; 1 << 20]).take(100);
        assert_eq!(newest(long(), 1000), None);
        assert_eq!(newest(long(), 3).unwrap().len(), 3);
        let short = (0..5u8).map(|number| vec![number]);
        assert_eq!(newest(long().chain(short.clone()), 5).unwrap(), short.clone().collect::<Vec<_>>());
        assert_eq!(newest(short, 1000).unwrap().len(), 5);
        assert_eq!(newest(std::iter::empty(), 1000).unwrap().len(), 0);
    }

    #[test]
    fn info_leak_07_own_log_hides_the_name_of_the_rule_that_denied() {
        let denial = jitsudo_core::decision::Denial {
            cause: jitsudo_core::decision::Cause::Denied,
            detail: vec!["x".into()],
            by: Some("bob is under investigation".into()),
        };
        let event = jitsudo_core::event::Event::Decided {
            id: ONE.parse().unwrap(),
            allowed: false,
            rule: None,
            source: None,
            role: None,
            policy: "p".into(),
            denial: Some(denial),
            joined: Vec::new(),
            counted: None,
            break_glass: None,
        };
        let mut item = serde_json::to_value(event).unwrap();
        assert!(item.to_string().contains("investigation"));
        hide_from_requester(&mut item);
        assert!(!item.to_string().contains("investigation"), "{item}");
        assert_eq!(item["denial"]["detail"][0], "x");
    }

    #[test]
    fn info_leak_01_own_log_does_not_tell_what_a_path_led_to() {
        let told = |argv: &str| {
            let mut item = serde_json::json!({"event": "requested", "argv": [argv, "x"], "program": "/usr/bin/id"});
            hide_from_requester(&mut item);
            item["program"].clone()
        };
        assert_eq!(told("id"), "/usr/bin/id");
        assert_eq!((told("/root/link"), told("./x")), (Value::Null, Value::Null));
        let mut bytes = serde_json::json!({"argv": [{"b64": "L3Jvb3Qv/w=="}], "program": "/root/\u{fffd}"});
        hide_from_requester(&mut bytes);
        assert_eq!(bytes["program"], Value::Null);
    }

    #[test]
    fn peer_auth_08_naming_another_user_or_access_shows_nothing_of_theirs() {
        assert_eq!(kept(Wanted { uid: Some(1001), user: Some("alice".into()), ..everything() }), Vec::<usize>::new());
        assert_eq!(kept(Wanted { uid: Some(1001), id: Some(ONE.into()), ..everything() }), Vec::<usize>::new());
        assert_eq!(kept(Wanted { user: Some("alice".into()), ..everything() }), [0, 2]);
        assert_eq!(kept(Wanted { id: Some("00bbbb".into()), ..everything() }), [1, 3]);
    }

    #[test]
    fn accesses_known_before_count_when_reading_on() {
        let mut wanted = Wanted { uid: Some(1000), ..everything() };
        wanted.own.insert(ONE.to_owned());
        let mut filter = Filter { wanted, of_user: BTreeSet::new() };
        assert!(filter.keeps(lines()[2].as_bytes()));
    }
}
