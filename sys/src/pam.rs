//! libpam from the application's side: only what a session needs (pam(3) and the manual page of each function).
//!
//! MUSTs
//! 1. A session that was opened is closed and its credentials are deleted, on every path (`Drop`).
//! 2. No panic crosses into libpam: the conversation catches it and answers PAM_CONV_ERR (`conversation`).
//! 3. An answer is in one place until it is libpam's, and wiped where libpam does not take it (`conversation`).
//! 4. Modules have a bounded time of their own, and a fork of theirs that comes back here goes no further (`bounds`).

mod bounds;
mod conversation;

use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::fmt;
use std::io;
use std::ptr::{self, NonNull};
use std::rc::Rc;

use bounds::Bounds;
use conversation::{Conversation, PamConversation, converse};
pub use conversation::{Listener, Said};

#[repr(C)]
struct Handle {
    _private: [u8; 0],
}

#[link(name = "pam")]
unsafe extern "C" {
    fn pam_start(
        service: *const c_char,
        user: *const c_char,
        conversation: *const PamConversation,
        handle: *mut *mut Handle,
    ) -> c_int;
    fn pam_end(handle: *mut Handle, status: c_int) -> c_int;
    fn pam_set_item(handle: *mut Handle, item: c_int, value: *const c_void) -> c_int;
    fn pam_get_item(handle: *const Handle, item: c_int, value: *mut *const c_void) -> c_int;
    fn pam_strerror(handle: *mut Handle, code: c_int) -> *const c_char;
    fn pam_getenvlist(handle: *mut Handle) -> *mut *mut c_char;
    fn pam_authenticate(handle: *mut Handle, flags: c_int) -> c_int;
    fn pam_acct_mgmt(handle: *mut Handle, flags: c_int) -> c_int;
    fn pam_setcred(handle: *mut Handle, flags: c_int) -> c_int;
    fn pam_open_session(handle: *mut Handle, flags: c_int) -> c_int;
    fn pam_close_session(handle: *mut Handle, flags: c_int) -> c_int;
}

const SUCCESS: c_int = 0;
const BUF_ERR: c_int = 5;
const PERM_DENIED: c_int = 6;
const AUTH_ERR: c_int = 7;
const AUTHINFO_UNAVAIL: c_int = 9;
const USER_UNKNOWN: c_int = 10;
const MAXTRIES: c_int = 11;
const NEW_AUTHTOK_REQD: c_int = 12;
const SILENT: c_int = 0x8000;
const DELETE_CRED: c_int = 4;
const REINITIALIZE_CRED: c_int = 8;
/// Most variables taken from a PAM stack.
const MAX_VARIABLES: usize = 1024;

/// An item of a transaction (pam_set_item(3)).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(i32)]
pub enum Item {
    /// Whose session it is.
    User = 2,
    /// The terminal.
    Tty = 3,
    /// The host that the requester comes from.
    RemoteHost = 4,
    /// Who asks.
    RemoteUser = 8,
}

/// A PAM function that did not succeed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PamError {
    /// The function: `acct_mgmt`, `open_session`, …
    pub step: &'static str,
    /// PAM's number.
    pub code: i32,
    /// PAM's words.
    pub text: String,
}

impl PamError {
    /// The account's password must be changed first (PAM_NEW_AUTHTOK_REQD).
    #[must_use]
    pub fn is_password_expired(&self) -> bool {
        self.code == NEW_AUTHTOK_REQD
    }

    /// The proof was not good enough, or nobody could say: it may be tried again.
    #[must_use]
    pub fn is_not_proven(&self) -> bool {
        [PERM_DENIED, AUTH_ERR, AUTHINFO_UNAVAIL, USER_UNKNOWN, MAXTRIES].contains(&self.code)
    }

    /// A module wants no further try (PAM_MAXTRIES).
    #[must_use]
    pub fn is_last_try(&self) -> bool {
        self.code == MAXTRIES
    }
}
impl fmt::Display for PamError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PAM {}: {}", self.step, self.text)
    }
}
impl std::error::Error for PamError {}

/// One PAM transaction, from pam_start to pam_end, on one thread.
pub struct Transaction {
    handle: NonNull<Handle>,
    /// Given to libpam by address: freed after pam_end.
    conversation: NonNull<Conversation>,
    bounds: Rc<Bounds>,
    status: c_int,
    credentials: bool,
    session: bool,
    silent: c_int,
}

impl Transaction {
    /// Begins with a service (a file of /etc/pam.d) and the account that is checked first.
    ///
    /// # Errors
    /// pam_start(3)'s; a NUL in a name.
    pub fn start(service: &str, user: &str, listener: Listener) -> Result<Self, PamError> {
        let (service, user) = (text("start", service)?, text("start", user)?);
        let failed = |error: io::Error| PamError { step: "start", code: BUF_ERR, text: error.to_string() };
        let bounds = Rc::new(Bounds::new().map_err(failed)?);
        let conversation = Conversation { listener, bounds: Rc::clone(&bounds) };
        let conversation = NonNull::from(Box::leak(Box::new(conversation)));
        let structure = PamConversation { converse, data: conversation.as_ptr().cast() };
        let mut handle = ptr::null_mut();
        let within = bounds.enter();
        // SAFETY: all four pointers are valid for the call; libpam copies the strings and the conversation structure.
        let status = unsafe { pam_start(service.as_ptr(), user.as_ptr(), &raw const structure, &raw mut handle) };
        drop(within);
        match NonNull::new(handle) {
            Some(handle) if status == SUCCESS => {
                Ok(Self { handle, conversation, bounds, status, credentials: false, session: false, silent: 0 })
            }
            _ => {
                // SAFETY: leaked above, and libpam has no transaction that could use it.
                drop(unsafe { Box::from_raw(conversation.as_ptr()) });
                Err(PamError { step: "start", code: status, text: "cannot begin a transaction".to_owned() })
            }
        }
    }

    /// Asks modules for no messages in the session functions (PAM_SILENT).
    pub fn be_silent(&mut self) {
        self.silent = SILENT;
    }

    /// Sets an item.
    ///
    /// # Errors
    /// pam_set_item(3)'s; a NUL in the value.
    pub fn set(&mut self, item: Item, value: &str) -> Result<(), PamError> {
        let value = text("set_item", value)?;
        // SAFETY: the handle lives as long as self, and the string items are copied by libpam.
        let status = unsafe { pam_set_item(self.handle.as_ptr(), item as c_int, value.as_ptr().cast()) };
        self.check("set_item", status)
    }

    /// Reads an item back; `None` when it is not set or not UTF-8.
    #[must_use]
    pub fn item(&self, item: Item) -> Option<String> {
        let mut value: *const c_void = ptr::null();
        // SAFETY: the handle lives as long as self and `value` is a valid place for one pointer.
        let status = unsafe { pam_get_item(self.handle.as_ptr(), item as c_int, &raw mut value) };
        if status != SUCCESS || value.is_null() {
            return None;
        }
        // SAFETY: the items of `Item` are NUL-terminated strings that stay valid until the next pam_set_item of them.
        let value = unsafe { CStr::from_ptr(value.cast()) };
        value.to_str().ok().map(ToOwned::to_owned)
    }

    /// Proves that the user is who they are (pam_authenticate(3)); the listener is asked for what they type.
    ///
    /// # Errors
    /// [`PamError::is_not_proven`], or any trouble of a module.
    pub fn authenticate(&mut self) -> Result<(), PamError> {
        let within = self.bounds.enter();
        // SAFETY: the handle lives as long as self.
        let status = unsafe { pam_authenticate(self.handle.as_ptr(), 0) };
        drop(within);
        self.check("authenticate", status)
    }

    /// May the account be used now (pam_acct_mgmt(3))?
    ///
    /// # Errors
    /// Expired, locked, at a wrong hour or place.
    pub fn check_account(&mut self) -> Result<(), PamError> {
        let within = self.bounds.enter();
        // SAFETY: the handle lives as long as self.
        let status = unsafe { pam_acct_mgmt(self.handle.as_ptr(), 0) };
        drop(within);
        self.check("acct_mgmt", status)
    }

    /// Sets the credentials of PAM_USER anew (pam_setcred(3)).
    ///
    /// # Errors
    /// pam_setcred(3)'s. Many stacks have no module that knows the account's credentials; sudo goes on.
    pub fn set_credentials(&mut self) -> Result<(), PamError> {
        self.credentials = true;
        let within = self.bounds.enter();
        // SAFETY: the handle lives as long as self.
        let status = unsafe { pam_setcred(self.handle.as_ptr(), REINITIALIZE_CRED | self.silent) };
        drop(within);
        self.check("setcred", status)
    }

    /// Opens the session of PAM_USER (pam_open_session(3)).
    ///
    /// # Errors
    /// A module that must succeed did not; nothing is open then.
    pub fn open_session(&mut self) -> Result<(), PamError> {
        let within = self.bounds.enter();
        // SAFETY: the handle lives as long as self.
        let status = unsafe { pam_open_session(self.handle.as_ptr(), self.silent) };
        drop(within);
        // Modules before the failing one have opened theirs: they are closed as well.
        self.session = true;
        self.check("open_session", status)
    }

    /// The variables that modules set, `NAME=value`.
    #[must_use]
    pub fn environment(&self) -> Vec<Vec<u8>> {
        // SAFETY: the handle lives as long as self.
        let list = unsafe { pam_getenvlist(self.handle.as_ptr()) };
        let mut variables = Vec::new();
        if list.is_null() {
            return variables;
        }
        for place in 0..MAX_VARIABLES {
            // SAFETY: the list ends with a null pointer, at which this loop ends: `place` is within it.
            let place = unsafe { list.add(place) };
            // SAFETY: as above, it points at one pointer of the list.
            let variable = unsafe { *place };
            if variable.is_null() {
                break;
            }
            // SAFETY: every entry is a NUL-terminated string of its own (pam_getenvlist(3)).
            variables.push(unsafe { CStr::from_ptr(variable) }.to_bytes().to_vec());
            // SAFETY: "it is the caller's responsibility to free" each entry (pam_getenvlist(3)); it was copied.
            unsafe { libc::free(variable.cast()) };
        }
        // SAFETY: the list itself is the caller's to free as well.
        unsafe { libc::free(list.cast()) };
        variables
    }

    fn check(&mut self, step: &'static str, status: c_int) -> Result<(), PamError> {
        self.status = status;
        if status == SUCCESS {
            return Ok(());
        }
        // SAFETY: the handle lives as long as self.
        let words = unsafe { pam_strerror(self.handle.as_ptr(), status) };
        let text = if words.is_null() {
            format!("error {status}")
        } else {
            // SAFETY: pam_strerror returns a static NUL-terminated string.
            unsafe { CStr::from_ptr(words) }.to_string_lossy().into_owned()
        };
        Err(PamError { step, code: status, text })
    }
}

impl Drop for Transaction {
    fn drop(&mut self) {
        let within = self.bounds.enter();
        if self.session {
            // SAFETY: the handle is still open. Nothing can be done about an error here.
            self.status = unsafe { pam_close_session(self.handle.as_ptr(), self.silent) };
        }
        if self.credentials {
            // SAFETY: the handle is still open.
            unsafe { pam_setcred(self.handle.as_ptr(), DELETE_CRED | self.silent) };
        }
        // SAFETY: the handle is not used after this.
        unsafe { pam_end(self.handle.as_ptr(), self.status) };
        drop(within);
        // SAFETY: leaked in `start`; libpam, which alone could use it, has ended the transaction.
        drop(unsafe { Box::from_raw(self.conversation.as_ptr()) });
    }
}

impl fmt::Debug for Transaction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Transaction").field("session", &self.session).finish_non_exhaustive()
    }
}

fn text(step: &'static str, value: &str) -> Result<CString, PamError> {
    CString::new(value).map_err(|_| PamError { step, code: BUF_ERR, text: "a NUL byte in a name".to_owned() })
}

/// Turns a PAM trouble into an I/O error where one is wanted.
impl From<PamError> for io::Error {
    fn from(error: PamError) -> Self {
        io::Error::other(error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn items_are_read_back_and_the_transaction_ends() {
        let mut transaction = Transaction::start("other", "alice", Box::new(|_| None)).unwrap();
        transaction.set(Item::RemoteUser, "alice").unwrap();
        assert_eq!(transaction.item(Item::RemoteUser).unwrap(), "alice");
        assert_eq!(transaction.item(Item::Tty), None);
        assert_eq!(transaction.environment(), Vec::<Vec<u8>>::new());
    }

    #[test]
    fn errors_tell_a_wrong_proof_from_trouble() {
        let error = |code| PamError { step: "authenticate", code, text: String::new() };
        assert!(error(AUTH_ERR).is_not_proven() && !error(AUTH_ERR).is_last_try());
        assert!(error(MAXTRIES).is_not_proven() && error(MAXTRIES).is_last_try());
        // PAM_ABORT, PAM_CONV_ERR, PAM_MODULE_UNKNOWN, PAM_SUCCESS
        assert!([26, 19, 28, 0].iter().all(|code| !error(*code).is_not_proven()));
    }
}
