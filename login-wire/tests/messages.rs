//! Messages: whole, cut, mutated, of another version, with fields of a newer one.
#![expect(clippy::unwrap_used, reason = "a message that goes wrong must fail the test")]

use jitsudo_login_wire::message::{Answer, Behind, Enter, MAX_TEXT_BYTES, Stage, Verdict};
use jitsudo_login_wire::{Buffer, MAX_MESSAGE_BYTES, ReadError, TooLong};
use proptest::prelude::{Just, Strategy, any, prop, prop_assert_eq, prop_oneof, proptest};

/// A login of alice's admin account over ssh.
fn sample() -> Enter<'static> {
    Enter {
        stage: Stage::Account,
        service: b"sshd",
        account: b"alice-adm",
        uid: Some(1002),
        behind: Behind::Authenticated(b"publickey ssh-ed25519 AAAA"),
        terminal: Some(b"ssh"),
        remote_host: Some(b"192.0.2.7"),
        remote_user: None,
    }
}

fn written(enter: &Enter<'_>) -> Vec<u8> {
    let mut buffer = Buffer::default();
    enter.write(&mut buffer).unwrap();
    buffer.as_bytes().to_vec()
}

fn answered(verdict: Verdict, words: &[u8]) -> Vec<u8> {
    let mut buffer = Buffer::default();
    Answer { verdict, words }.write(&mut buffer).unwrap();
    buffer.as_bytes().to_vec()
}

#[test]
fn bytes_of_version_1_stay_as_they_are() {
    let mut expected =
        b"jl\x01\x01\x01\x00\x01\x01\x02\x00\x04sshd\x03\x00\x09alice-adm\x04\x00\x04\x00\x00\x03\xea".to_vec();
    expected.extend(b"\x05\x00\x01\x03\x0a\x00\x1apublickey ssh-ed25519 AAAA\x80\x00\x03ssh\x81\x00\x09192.0.2.7");
    assert_eq!(written(&sample()), expected);
    assert_eq!(answered(Verdict::No, b"why"), b"jl\x01\x02\x01\x00\x01\x00\x02\x00\x03why");
}

#[test]
fn message_that_is_cut_anywhere_is_refused() {
    // Where a field that may be missed begins, the shorter one is a message too.
    let whole = written(&sample());
    let sound: Vec<usize> = (0..whole.len()).filter(|end| Enter::read(&whole[..*end]).is_ok()).collect();
    let optional = written(&Enter { terminal: None, remote_host: None, ..sample() }).len();
    assert_eq!(sound.len(), 2, "{sound:?}: only what may be missed may be lost");
    assert!(sound.contains(&optional));
    let answer = answered(Verdict::Yes, b"welcome");
    assert!((0..answer.len()).all(|end| Answer::read(&answer[..end]).is_err()));
}

#[test]
fn additions_of_a_newer_writer_are_missed_or_refused_as_it_says() {
    let mut newer = answered(Verdict::Yes, b"");
    newer.extend(b"\xf0\x00\x02xx");
    assert_eq!(Answer::read(&newer).unwrap().verdict, Verdict::Yes);
    let mut stricter = answered(Verdict::Yes, b"");
    stricter.extend(b"\x10\x00\x02xx");
    assert_eq!(Answer::read(&stricter), Err(ReadError::Unknown(0x10)));
}

#[test]
fn other_versions_kinds_and_protocols_are_refused() {
    let mut bytes = answered(Verdict::Yes, b"");
    for version in [0, 2, 255] {
        bytes[2] = version;
        assert_eq!(Answer::read(&bytes), Err(ReadError::Version(version)));
    }
    assert_eq!(Answer::read(&written(&sample())), Err(ReadError::Kind(1)));
    assert_eq!(Enter::read(&answered(Verdict::Yes, b"")), Err(ReadError::Kind(2)));
    assert_eq!(Answer::read(b"{\"ye"), Err(ReadError::NoMessage));
    assert_eq!(Answer::read(b""), Err(ReadError::Length));
    assert_eq!(Answer::read(&[0; MAX_MESSAGE_BYTES + 1]), Err(ReadError::Length));
}

#[test]
fn answer_is_yes_only_with_the_one_byte_that_says_so() {
    for value in 0..=255u8 {
        let bytes = [b"jl\x01\x02\x01\x00\x01".as_slice(), &[value], b"\x02\x00\x00"].concat();
        let verdict = Answer::read(&bytes).map(|answer| answer.verdict);
        assert_eq!(verdict == Ok(Verdict::Yes), value == 1, "{value}");
    }
    // Twice, or not at all.
    assert_eq!(Answer::read(b"jl\x01\x02\x01\x00\x01\x00\x01\x00\x01\x01\x02\x00\x00"), Err(ReadError::Order(1)));
    assert_eq!(Answer::read(b"jl\x01\x02\x02\x00\x00"), Err(ReadError::Missing(1)));
}

#[test]
fn caller_is_whole_and_never_root() {
    let caller = |uid, name| written(&Enter { behind: Behind::Caller { uid, name, login: None }, ..sample() });
    assert!(Enter::read(&caller(1001, b"alice")).is_ok());
    assert_eq!(Enter::read(&caller(0, b"root")), Err(ReadError::Value(5)));
    for (service, account) in
        [(b"".as_slice(), b"alice".as_slice()), (b"su", b""), (b"su\0", b"alice"), (b"su", &[b'a'; 256])]
    {
        assert!(Enter::read(&written(&Enter { service, account, ..sample() })).is_err());
    }
}

#[test]
fn message_that_would_not_fit_is_not_written() {
    let long = [b'x'; MAX_MESSAGE_BYTES];
    let mut buffer = Buffer::default();
    assert_eq!(Enter { behind: Behind::Authenticated(&long), ..sample() }.write(&mut buffer), Err(TooLong));
    let words = [b'x'; MAX_TEXT_BYTES + 1];
    Answer { verdict: Verdict::No, words: &words }.write(&mut buffer).unwrap();
    assert_eq!(Answer::read(buffer.as_bytes()), Err(ReadError::Value(2)));
}

fn text(most: usize) -> impl Strategy<Value = Vec<u8>> {
    prop::collection::vec(1..=255u8, 1..most)
}

proptest! {
    #[test]
    fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = Enter::read(&bytes);
        let _ = Answer::read(&bytes);
        let dressed = [b"jl\x01\x01".as_slice(), &bytes].concat();
        let _ = Enter::read(&dressed);
    }

    #[test]
    fn what_is_read_is_written_the_same(
        service in text(64), account in text(200), name in text(100), methods in text(900), host in text(100),
        stage in prop_oneof![Just(Stage::Account), Just(Stage::Opening), Just(Stage::Rescued)],
        uid in any::<Option<u32>>(), caller in 1u32.., which in 0..4,
    ) {
        let behind = match which {
            0 => Behind::Owner,
            1 => Behind::Caller { uid: caller, name: &name, login: uid.map(|uid| (uid, account.as_slice())) },
            2 => Behind::Later,
            _ => Behind::Authenticated(&methods),
        };
        let (service, account) = (service.as_slice(), account.as_slice());
        let enter = Enter { stage, service, account, uid, behind, terminal: None, remote_host: Some(&host), remote_user: None };
        let bytes = written(&enter);
        prop_assert_eq!(Enter::read(&bytes), Ok(enter));
    }

    #[test]
    fn flipped_byte_is_refused_or_another_message_and_never_a_yes_out_of_a_no(place in 0usize..40, value in any::<u8>()) {
        let mut bytes = answered(Verdict::No, b"no grant of yours is active here");
        let verdict = 7;
        if place != verdict && place < bytes.len() {
            bytes[place] = value;
            let answer = Answer::read(&bytes);
            assert!(!answer.is_ok_and(|answer| answer.verdict == Verdict::Yes));
        }
    }
}
