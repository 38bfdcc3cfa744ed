//! Everything unsafe: the functions that libpam calls, what they call of libpam and libc, and a socket with a deadline.
//!
//! libpam calls one function of a transaction at a time, with a handle that outlives the call; all pointers taken from it live until
//! the item is set again, which nothing here does.
#![expect(unsafe_code, reason = "the boundary to libpam and libc")]

use std::ffi::{CStr, c_char, c_int, c_void};
use std::fmt;
use std::mem;
use std::os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::ptr;

use jitsudo_login_wire::MAX_NAME_BYTES;
use jitsudo_login_wire::message::Stage;

use crate::account;
use crate::arguments::Arguments;
use crate::code::Code;
use crate::judge::Uid;
use crate::text::Text;

/// uid 0.
pub(crate) const ROOT: u32 = 0;
/// Nothing is said to the person.
const SILENT: c_int = 0x8000;
/// Under this name the account that was let in is kept with the transaction.
const REMEMBERED: &CStr = c"jitsudo_account";

#[repr(C)]
struct RawHandle {
    _private: [u8; 0],
}

#[repr(C)]
struct Message {
    style: c_int,
    text: *const c_char,
}

#[repr(C)]
struct Response {
    text: *mut c_char,
    code: c_int,
}

type Converse = unsafe extern "C" fn(c_int, *mut *const Message, *mut *mut Response, *mut c_void) -> c_int;

#[repr(C)]
struct Conversation {
    converse: Option<Converse>,
    data: *mut c_void,
}

type Cleanup = unsafe extern "C" fn(*mut RawHandle, *mut c_void, c_int);

#[link(name = "pam")]
unsafe extern "C" {
    fn pam_get_item(handle: *const RawHandle, item: c_int, value: *mut *const c_void) -> c_int;
    fn pam_getenv(handle: *mut RawHandle, name: *const c_char) -> *const c_char;
    fn pam_set_data(handle: *mut RawHandle, name: *const c_char, data: *mut c_void, cleanup: Option<Cleanup>) -> c_int;
    fn pam_get_data(handle: *const RawHandle, name: *const c_char, data: *mut *const c_void) -> c_int;
}

/// An item of a transaction (pam_get_item(3)).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(i32)]
pub(crate) enum Item {
    Service = 1,
    User = 2,
    Terminal = 3,
    RemoteHost = 4,
    RemoteUser = 8,
}

/// A transaction, for the time of one call.
#[derive(Debug)]
pub(crate) struct Handle {
    raw: *mut RawHandle,
    silent: bool,
}

/// The name of an account.
pub(crate) type Name = Text<MAX_NAME_BYTES>;

/// An account that was let in.
#[repr(C)]
struct Kept {
    length: usize,
    name: [u8; MAX_NAME_BYTES],
}

impl Handle {
    /// An item that is text.
    pub(crate) fn item(&self, item: Item) -> Option<&[u8]> {
        let text = self.raw_item(item as c_int)?.cast::<c_char>();
        // SAFETY: these items are strings with a NUL at their end, and live as long as the transaction leaves them alone.
        Some(unsafe { CStr::from_ptr(text) }.to_bytes())
    }

    /// A variable of PAM's own environment.
    pub(crate) fn variable(&self, name: &CStr) -> Option<&[u8]> {
        // SAFETY: the handle is libpam's, the name has a NUL at its end.
        let value = unsafe { pam_getenv(self.raw, name.as_ptr()) };
        if value.is_null() {
            return None;
        }
        // SAFETY: libpam answers with a string of its own that lives as long as the variable is not set again.
        Some(unsafe { CStr::from_ptr(value) }.to_bytes())
    }

    /// Says something to the person, where there is a way to.
    pub(crate) fn say(&self, words: &[u8]) {
        /// `PAM_TEXT_INFO`.
        const INFO: c_int = 4;
        if self.silent || words.is_empty() {
            return;
        }
        // One byte stays zero: the end of the string.
        let mut text = [0u8; 2049];
        let mut tamed = Text::<2048>::new();
        tamed.push_foreign(words);
        for (place, byte) in text.iter_mut().zip(tamed.as_bytes()) {
            *place = *byte;
        }
        /// `PAM_CONV`.
        const CONVERSATION: c_int = 5;
        let Some(item) = self.raw_item(CONVERSATION) else { return };
        // SAFETY: the item is a pam_conv of the service, which lives as long as the transaction.
        let Conversation { converse, data } = unsafe { item.cast::<Conversation>().read() };
        let Some(converse) = converse else { return };
        let message = Message { style: INFO, text: text.as_ptr().cast() };
        let mut messages: [*const Message; 1] = [&raw const message];
        let mut responses: *mut Response = ptr::null_mut();
        // SAFETY: one message, alive until the call returns, as pam_conv(3) asks for.
        let _ = unsafe { converse(1, messages.as_mut_ptr(), &raw mut responses, data) };
        if !responses.is_null() {
            // SAFETY: the service made one response with malloc, and leaves it to us (pam_conv(3)).
            let response = unsafe { responses.read() };
            // SAFETY: its text is null or made with malloc.
            unsafe { libc::free(response.text.cast()) };
            // SAFETY: nobody has it but us.
            unsafe { libc::free(responses.cast()) };
        }
    }

    /// Keeps the account that was let in, for the later stages of this transaction; false when there is no memory.
    pub(crate) fn remember(&self, account: &[u8]) -> bool {
        let mut kept = Kept { length: account.len(), name: [0; MAX_NAME_BYTES] };
        let Some(place) = kept.name.get_mut(..account.len()) else { return false };
        place.copy_from_slice(account);
        // By malloc and not by Rust's own: that one ends the process when there is no memory.
        // SAFETY: any size may be asked for.
        let memory = unsafe { libc::malloc(size_of::<Kept>()) }.cast::<Kept>();
        if memory.is_null() {
            return false;
        }
        // SAFETY: malloc gave room for it, aligned for everything.
        unsafe { memory.write(kept) };
        // SAFETY: the handle is libpam's; what is replaced goes through its own cleanup.
        let set = unsafe { pam_set_data(self.raw, REMEMBERED.as_ptr(), memory.cast(), Some(forget)) };
        if set != c_int::from(Code::Success) {
            // SAFETY: libpam did not take it.
            unsafe { libc::free(memory.cast()) };
        }
        set == c_int::from(Code::Success)
    }

    /// The account that was let in before in this transaction.
    pub(crate) fn remembered(&self) -> Option<&[u8]> {
        let mut data: *const c_void = ptr::null();
        // SAFETY: the handle is libpam's, the place for the answer ours.
        let found = unsafe { pam_get_data(self.raw, REMEMBERED.as_ptr(), &raw mut data) };
        if found != c_int::from(Code::Success) || data.is_null() {
            return None;
        }
        // SAFETY: only `remember` sets data of this name, and it lives until it is set again.
        let kept = unsafe { &*data.cast::<Kept>() };
        kept.name.get(..kept.length)
    }

    fn raw_item(&self, item: c_int) -> Option<*const c_void> {
        let mut value: *const c_void = ptr::null();
        // SAFETY: the handle is libpam's, the place for the answer ours.
        let found = unsafe { pam_get_item(self.raw, item, &raw mut value) };
        (found == c_int::from(Code::Success) && !value.is_null()).then_some(value)
    }
}

/// Frees what `remember` kept.
unsafe extern "C" fn forget(_handle: *mut RawHandle, data: *mut c_void, _status: c_int) {
    // SAFETY: libpam gives back what `remember` gave it, once.
    unsafe { libc::free(data) };
}

/// The words behind the module's name, as libpam passes them.
struct Words {
    next: *const *const c_char,
    left: usize,
}

impl Iterator for Words {
    type Item = &'static [u8];

    fn next(&mut self) -> Option<&'static [u8]> {
        self.left = self.left.checked_sub(1)?;
        // SAFETY: libpam passes so many pointers.
        let word = unsafe { self.next.read() };
        // SAFETY: at most the place behind the last of them.
        self.next = unsafe { self.next.add(1) };
        if word.is_null() {
            return None;
        }
        // SAFETY: strings with a NUL at their end, which live as long as the service file is loaded: longer than the call.
        Some(unsafe { CStr::from_ptr(word) }.to_bytes())
    }
}

/// Runs one stage: no panic leaves it, and a panic is a denial.
///
/// # Safety
/// The handle is null or of a transaction, and `words` null or `count` strings, for as long as the call lasts.
unsafe fn guarded(
    handle: *mut RawHandle,
    flags: c_int,
    count: c_int,
    words: *const *const c_char,
    stage: Stage,
) -> c_int {
    let outcome = catch_unwind(AssertUnwindSafe(|| {
        if handle.is_null() {
            return Code::PermDenied;
        }
        let left = if words.is_null() { 0 } else { usize::try_from(count).unwrap_or(0) };
        let arguments = Arguments::of(Words { next: words, left });
        if arguments.panic {
            panic_for_a_test();
        }
        account::enter(&Handle { raw: handle, silent: flags & SILENT != 0 }, stage, &arguments)
    }));
    match outcome {
        Ok(code) => code.into(),
        Err(payload) => {
            // Dropping it could panic once more.
            mem::forget(payload);
            Code::PermDenied.into()
        }
    }
}

#[expect(clippy::panic, reason = "shows that a panic is a denial; only in debug builds is there an argument for it")]
fn panic_for_a_test() {
    panic!("pam_jitsudo: asked to panic");
}

/// Nothing to say, before anything is looked at: a yes in sshd or login would be a login without credentials, and approval within su and
/// sudo does not exist in this version.
#[unsafe(no_mangle)]
unsafe extern "C" fn pam_sm_authenticate(
    _handle: *mut RawHandle,
    _flags: c_int,
    _count: c_int,
    _words: *const *const c_char,
) -> c_int {
    Code::AuthinfoUnavail.into()
}

/// There are no credentials to set.
#[unsafe(no_mangle)]
unsafe extern "C" fn pam_sm_setcred(
    _handle: *mut RawHandle,
    _flags: c_int,
    _count: c_int,
    _words: *const *const c_char,
) -> c_int {
    Code::Success.into()
}

/// May this account be entered?
#[unsafe(no_mangle)]
unsafe extern "C" fn pam_sm_acct_mgmt(
    handle: *mut RawHandle,
    flags: c_int,
    count: c_int,
    words: *const *const c_char,
) -> c_int {
    // SAFETY: as libpam called it.
    unsafe { guarded(handle, flags, count, words, Stage::Account) }
}

/// The login begins.
#[unsafe(no_mangle)]
unsafe extern "C" fn pam_sm_open_session(
    handle: *mut RawHandle,
    flags: c_int,
    count: c_int,
    words: *const *const c_char,
) -> c_int {
    // SAFETY: as libpam called it.
    unsafe { guarded(handle, flags, count, words, Stage::Opening) }
}

/// The login is over, which its processes tell by themselves.
#[unsafe(no_mangle)]
unsafe extern "C" fn pam_sm_close_session(
    _handle: *mut RawHandle,
    _flags: c_int,
    _count: c_int,
    _words: *const *const c_char,
) -> c_int {
    Code::Success.into()
}

/// Passwords are others' business.
#[unsafe(no_mangle)]
unsafe extern "C" fn pam_sm_chauthtok(
    _handle: *mut RawHandle,
    _flags: c_int,
    _count: c_int,
    _words: *const *const c_char,
) -> c_int {
    Code::Ignore.into()
}

/// The uid of who called a setuid program.
pub(crate) fn real_uid() -> u32 {
    // SAFETY: cannot fail.
    unsafe { libc::getuid() }
}

/// Room for what NSS says of an account.
const PASSWD_BYTES: usize = 16 * 1024;

/// The uid of an account by NSS.
pub(crate) fn uid_of(account: &[u8]) -> Uid {
    let mut name = [0u8; MAX_NAME_BYTES + 1];
    let Some(place) = name.get_mut(..account.len().min(MAX_NAME_BYTES)) else { return Uid::Unknown };
    place.copy_from_slice(account.get(..place.len()).unwrap_or_default());
    let mut room: [c_char; PASSWD_BYTES] = [0; PASSWD_BYTES];
    // SAFETY: a struct of numbers and pointers, for which zeros are valid.
    let mut entry: libc::passwd = unsafe { mem::zeroed() };
    let mut found: *mut libc::passwd = ptr::null_mut();
    // SAFETY: the name ends with a NUL; all places are ours and as long as is said.
    let errno = unsafe {
        libc::getpwnam_r(name.as_ptr().cast(), &raw mut entry, room.as_mut_ptr(), room.len(), &raw mut found)
    };
    match (errno, found.is_null()) {
        (0, false) => Uid::Is(entry.pw_uid),
        // The ways in which getpwnam(3) says that there is none.
        (0 | libc::ENOENT | libc::ESRCH, true) => Uid::Nobody,
        (_, _) => Uid::Unknown,
    }
}

/// The name of a uid by NSS; false when there is none, or NSS does not say.
pub(crate) fn name_of(uid: u32, name: &mut Name) -> bool {
    let mut room: [c_char; PASSWD_BYTES] = [0; PASSWD_BYTES];
    // SAFETY: a struct of numbers and pointers, for which zeros are valid.
    let mut entry: libc::passwd = unsafe { mem::zeroed() };
    let mut found: *mut libc::passwd = ptr::null_mut();
    // SAFETY: all places are ours and as long as is said.
    let errno = unsafe { libc::getpwuid_r(uid, &raw mut entry, room.as_mut_ptr(), room.len(), &raw mut found) };
    if errno != 0 || found.is_null() || entry.pw_name.is_null() {
        return false;
    }
    // SAFETY: getpwuid_r put a string into our room.
    let text = unsafe { CStr::from_ptr(entry.pw_name) }.to_bytes();
    name.push_foreign(text);
    name.as_bytes() == text
}

/// A moment of the clock that nobody sets.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) struct Moment {
    ms: u64,
}

impl Moment {
    pub(crate) fn now() -> Self {
        let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
        // SAFETY: the place is ours; this clock is always there.
        unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &raw mut time) };
        let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
        Self { ms: seconds.saturating_mul(1000).saturating_add(u64::try_from(time.tv_nsec).unwrap_or(0) / 1_000_000) }
    }

    pub(crate) fn after_ms(self, ms: u64) -> Self {
        Self { ms: self.ms.saturating_add(ms) }
    }

    /// Milliseconds until then, for poll(2).
    fn left(self) -> c_int {
        c_int::try_from(self.ms.saturating_sub(Self::now().ms)).unwrap_or(c_int::MAX)
    }
}

/// What went wrong on the way to the daemon.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Trouble {
    /// The system's number.
    System(c_int),
    /// It took too long.
    TooLate,
    /// The other side closed without a word.
    Closed,
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::System(libc::ENOENT | libc::ECONNREFUSED) => write!(f, "it is not running"),
            Self::System(errno) => write!(f, "error {errno}"),
            Self::TooLate => write!(f, "it takes too long"),
            Self::Closed => write!(f, "it closed the connection"),
        }
    }
}

/// A connection whose every step has a deadline.
#[derive(Debug)]
pub(crate) struct Connection(OwnedFd);

impl Connection {
    /// Connects.
    pub(crate) fn to(path: &Path, until: Moment) -> Result<Self, Trouble> {
        let kind = libc::SOCK_SEQPACKET | libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK;
        // SAFETY: no pointers.
        let raw = unsafe { libc::socket(libc::AF_UNIX, kind, 0) };
        if raw < 0 {
            return Err(errno());
        }
        // SAFETY: the kernel just gave it to us alone.
        let socket = Self(unsafe { OwnedFd::from_raw_fd(raw) });
        // SAFETY: a struct of numbers, for which zeros are valid.
        let mut address: libc::sockaddr_un = unsafe { mem::zeroed() };
        address.sun_family = libc::sa_family_t::try_from(libc::AF_UNIX).unwrap_or_default();
        let bytes = path.as_os_str().as_bytes();
        // One byte stays zero: the end of the path.
        if bytes.len() >= address.sun_path.len() {
            return Err(Trouble::System(libc::ENAMETOOLONG));
        }
        for (place, byte) in address.sun_path.iter_mut().zip(bytes) {
            *place = *byte as c_char;
        }
        let length = libc::socklen_t::try_from(size_of::<libc::sockaddr_un>()).unwrap_or_default();
        loop {
            // SAFETY: the address is whole and as long as is said.
            let done = unsafe { libc::connect(socket.0.as_raw_fd(), (&raw const address).cast(), length) };
            match (done, last_errno()) {
                (0, _) => return Ok(socket),
                (_, libc::EINTR) => {}
                // Its queue is full, which cannot be waited for: asked again.
                (_, libc::EAGAIN) if until.left() > 0 => pause(until.left().min(20)),
                (_, libc::EAGAIN) => return Err(Trouble::TooLate),
                (_, errno) => return Err(Trouble::System(errno)),
            }
        }
    }

    /// The uid of who listens.
    pub(crate) fn peer_uid(&self) -> Option<u32> {
        let mut peer = libc::ucred { pid: 0, uid: u32::MAX, gid: u32::MAX };
        let mut length = libc::socklen_t::try_from(size_of::<libc::ucred>()).unwrap_or_default();
        // SAFETY: the place is ours and as long as is said.
        let done = unsafe {
            libc::getsockopt(
                self.0.as_raw_fd(),
                libc::SOL_SOCKET,
                libc::SO_PEERCRED,
                (&raw mut peer).cast(),
                &raw mut length,
            )
        };
        (done == 0).then_some(peer.uid)
    }

    /// Sends one datagram.
    pub(crate) fn send(&self, bytes: &[u8], until: Moment) -> Result<(), Trouble> {
        loop {
            // SAFETY: the bytes are ours. Without MSG_NOSIGNAL a daemon that dies would kill sshd.
            let sent =
                unsafe { libc::send(self.0.as_raw_fd(), bytes.as_ptr().cast(), bytes.len(), libc::MSG_NOSIGNAL) };
            match (sent, last_errno()) {
                (0.., _) => return Ok(()),
                (_, libc::EINTR) => {}
                (_, libc::EAGAIN) => self.wait(libc::POLLOUT, until)?,
                (_, errno) => return Err(Trouble::System(errno)),
            }
        }
    }

    /// Waits for one datagram; its length.
    pub(crate) fn receive(&self, room: &mut [u8], until: Moment) -> Result<usize, Trouble> {
        loop {
            // SAFETY: the room is ours and as long as is said.
            let received = unsafe { libc::recv(self.0.as_raw_fd(), room.as_mut_ptr().cast(), room.len(), 0) };
            match (received, last_errno()) {
                (0, _) => return Err(Trouble::Closed),
                (1.., _) => return usize::try_from(received).map_err(|_| Trouble::Closed),
                (_, libc::EINTR) => {}
                (_, libc::EAGAIN) => self.wait(libc::POLLIN, until)?,
                (_, errno) => return Err(Trouble::System(errno)),
            }
        }
    }

    fn wait(&self, events: i16, until: Moment) -> Result<(), Trouble> {
        loop {
            let left = until.left();
            if left == 0 {
                return Err(Trouble::TooLate);
            }
            let mut entry = libc::pollfd { fd: self.0.as_raw_fd(), events, revents: 0 };
            // SAFETY: one entry, ours.
            let ready = unsafe { libc::poll(&raw mut entry, 1, left) };
            match (ready, last_errno()) {
                (1.., _) => return Ok(()),
                (0, _) | (_, libc::EINTR) => {}
                (_, errno) => return Err(Trouble::System(errno)),
            }
        }
    }
}

fn pause(ms: c_int) {
    // SAFETY: no entries.
    unsafe { libc::poll(ptr::null_mut(), 0, ms) };
}

fn last_errno() -> c_int {
    // SAFETY: the calling thread's own.
    unsafe { *libc::__errno_location() }
}

fn errno() -> Trouble {
    Trouble::System(last_errno())
}
