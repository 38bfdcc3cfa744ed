//! What the PAM module and the daemon say to each other, and the list that it reads: all of it inside sshd and su.

use jitsudo_login_wire::Buffer;
use jitsudo_login_wire::gated::Reader;
use jitsudo_login_wire::message::{Answer, Enter};

/// A question or an answer: what is accepted survives being written and read again.
pub(crate) fn login(bytes: &[u8]) {
    let mut buffer = Buffer::default();
    if let Ok(enter) = Enter::read(bytes) {
        enter.write(&mut buffer).expect("what was read can be written");
        assert_eq!(Enter::read(buffer.as_bytes()).expect("and read"), enter);
    }
    if let Ok(answer) = Answer::read(bytes) {
        answer.write(&mut buffer).expect("what was read can be written");
        assert_eq!(Answer::read(buffer.as_bytes()).expect("and read"), answer);
        assert!(Enter::read(bytes).is_err(), "an answer is also a question");
    }
}

/// A list says the same whole and in pieces, and never that it is whole without its last line.
pub(crate) fn gated(bytes: &[u8]) {
    let read = |pieces: &[&[u8]]| {
        let mut reader = Reader::new(Some(1002), b"alice-adm", b"sshd");
        pieces.iter().for_each(|piece| reader.feed(piece));
        reader.says()
    };
    let says = read(&[bytes]);
    let (first, second) = bytes.split_at(bytes.len() / 2);
    assert_eq!(read(&[first, second]), says);
    let last = bytes.strip_suffix(b"\n").and_then(|rest| rest.rsplit(|byte| *byte == b'\n').next());
    assert!(!says.is_whole || last.is_some_and(|last| last.starts_with(b"end ")), "whole without its end");
}
