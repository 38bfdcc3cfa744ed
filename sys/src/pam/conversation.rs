//! The conversation function: what modules say and ask, handed to a listener (pam_conv(3)).

use std::ffi::{CStr, c_char, c_int, c_void};
use std::panic::AssertUnwindSafe;
use std::ptr;
use std::rc::Rc;

use super::bounds::Bounds;
use super::{BUF_ERR, SUCCESS};
use crate::secret::Secret;

const CONV_ERR: c_int = 19;
const PROMPT_ECHO_OFF: c_int = 1;
const PROMPT_ECHO_ON: c_int = 2;
const ERROR_MSG: c_int = 3;
const TEXT_INFO: c_int = 4;
/// Most messages of one call (PAM_MAX_NUM_MSG).
const MAX_MESSAGES: usize = 32;

#[repr(C)]
pub(super) struct PamMessage {
    style: c_int,
    text: *const c_char,
}

#[repr(C)]
pub(super) struct PamResponse {
    text: *mut c_char,
    code: c_int,
}

#[repr(C)]
pub(super) struct PamConversation {
    pub(super) converse: extern "C" fn(c_int, *const *const PamMessage, *mut *mut PamResponse, *mut c_void) -> c_int,
    pub(super) data: *mut c_void,
}

/// What a PAM module says in its conversation.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Said {
    /// A line to read.
    Info(String),
    /// An error line to read.
    Error(String),
    /// A question.
    Question {
        /// Its words.
        prompt: Vec<u8>,
        /// What is typed may be shown.
        echo: bool,
    },
}

/// Hears what modules say. To a question it gives the answer, or `None` when there is none, which fails the module; to lines `None`.
pub type Listener = Box<dyn FnMut(Said) -> Option<Secret>>;

/// What libpam holds by address while a transaction lasts.
pub(super) struct Conversation {
    pub(super) listener: Listener,
    pub(super) bounds: Rc<Bounds>,
}

/// libpam calls this with `count` messages (pam_conv(3)); Linux-PAM passes an array of pointers.
pub(super) extern "C" fn converse(
    count: c_int,
    messages: *const *const PamMessage,
    responses: *mut *mut PamResponse,
    data: *mut c_void,
) -> c_int {
    let outcome = std::panic::catch_unwind(AssertUnwindSafe(|| answer(count, messages, responses, data)));
    outcome.unwrap_or_else(|payload| {
        // Dropping a panic's payload can panic again, inside libpam.
        std::mem::forget(payload);
        CONV_ERR
    })
}

fn answer(
    count: c_int,
    messages: *const *const PamMessage,
    responses: *mut *mut PamResponse,
    data: *mut c_void,
) -> c_int {
    let Ok(count) = usize::try_from(count) else { return CONV_ERR };
    if count == 0 || count > MAX_MESSAGES || messages.is_null() || responses.is_null() || data.is_null() {
        return CONV_ERR;
    }
    // SAFETY: `data` is the conversation that `Transaction::start` leaked and frees only after pam_end; one thread uses it.
    let conversation = unsafe { &mut *data.cast::<Conversation>() };
    let bounds = Rc::clone(&conversation.bounds);
    let _paused = bounds.pause();
    let Some(mut answers) = Answers::new(count) else { return BUF_ERR };
    for place in 0..count {
        // SAFETY: libpam passes `count` pointers.
        let message = unsafe { messages.add(place) };
        // SAFETY: as above.
        let message = unsafe { *message };
        // SAFETY: libpam passes valid messages for the time of the call; null is answered below.
        let Some(message) = (unsafe { message.as_ref() }) else { return CONV_ERR };
        let words = if message.text.is_null() {
            &[][..]
        } else {
            // SAFETY: the text of a message is a NUL-terminated string that lives for the time of the call.
            unsafe { CStr::from_ptr(message.text) }.to_bytes()
        };
        let text = || String::from_utf8_lossy(words).into_owned();
        let question = |echo| Said::Question { prompt: words.to_vec(), echo };
        let said = match message.style {
            TEXT_INFO => Said::Info(text()),
            ERROR_MSG => Said::Error(text()),
            PROMPT_ECHO_OFF => question(false),
            PROMPT_ECHO_ON => question(true),
            _ => return CONV_ERR,
        };
        let asked = matches!(said, Said::Question { .. });
        let answer = (conversation.listener)(said);
        if asked && !answer.is_some_and(|secret| answers.put(place, &secret)) {
            return CONV_ERR;
        }
    }
    // SAFETY: `responses` is a valid place for one pointer (pam_conv(3)).
    unsafe { *responses = answers.give() };
    SUCCESS
}

/// The responses on libpam's heap, which frees them with free(3); wiped and freed here when libpam does not get them.
struct Answers {
    array: *mut PamResponse,
    /// Where each answer lies and how long it is.
    written: Vec<(*mut u8, usize)>,
}

impl Answers {
    fn new(count: usize) -> Option<Self> {
        // SAFETY: calloc takes two sizes; a null result is answered. Zeroes are responses without text.
        let array = unsafe { libc::calloc(count, size_of::<PamResponse>()) };
        (!array.is_null()).then(|| Self { array: array.cast(), written: Vec::new() })
    }

    /// Copies an answer to a place below the count; false for what no C string can hold.
    fn put(&mut self, place: usize, secret: &Secret) -> bool {
        let bytes = secret.as_bytes();
        if bytes.contains(&0) {
            return false;
        }
        // SAFETY: calloc takes two sizes; a null result is answered. The last byte stays the terminating NUL.
        let copy = unsafe { libc::calloc(bytes.len() + 1, 1) }.cast::<u8>();
        if copy.is_null() {
            return false;
        }
        // SAFETY: the copy has room for one byte more, and is new memory.
        unsafe { ptr::copy_nonoverlapping(bytes.as_ptr(), copy, bytes.len()) };
        self.written.push((copy, bytes.len()));
        // SAFETY: the array has `count` entries, and callers stay below that.
        let response = unsafe { self.array.add(place) };
        // SAFETY: an entry of the array, which only this function writes.
        unsafe { (*response).text = copy.cast() };
        true
    }

    /// Gives everything to libpam.
    fn give(mut self) -> *mut PamResponse {
        self.written.clear();
        std::mem::replace(&mut self.array, ptr::null_mut())
    }
}

impl Drop for Answers {
    fn drop(&mut self) {
        for (copy, length) in &self.written {
            // SAFETY: allocated in `put` with this length, and not given away.
            unsafe { libc::explicit_bzero(copy.cast(), *length) };
            // SAFETY: as above.
            unsafe { libc::free(copy.cast()) };
        }
        // SAFETY: null, or the array of `new` that was not given away.
        unsafe { libc::free(self.array.cast()) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::RefCell;

    fn secret(text: &[u8]) -> Secret {
        let mut secret = Secret::new();
        secret.room()[..text.len()].copy_from_slice(text);
        secret.set_length(text.len());
        secret
    }

    /// What libpam gets, and what the listener heard.
    fn say(styles: &[(c_int, &CStr)], answers: &[Option<&[u8]>]) -> (c_int, Vec<Option<Vec<u8>>>, Vec<Said>) {
        let heard: Rc<RefCell<Vec<Said>>> = Rc::default();
        let mut answers: Vec<Option<Secret>> = answers.iter().rev().map(|one| one.map(secret)).collect();
        let listener: Listener = {
            let heard = Rc::clone(&heard);
            Box::new(move |said| {
                let asked = matches!(said, Said::Question { .. });
                heard.borrow_mut().push(said);
                if asked { answers.pop().flatten() } else { None }
            })
        };
        let mut conversation = Conversation { listener, bounds: Rc::new(Bounds::new().unwrap()) };
        let messages: Vec<PamMessage> =
            styles.iter().map(|(style, text)| PamMessage { style: *style, text: text.as_ptr() }).collect();
        let pointers: Vec<*const PamMessage> = messages.iter().map(ptr::from_ref).collect();
        let mut responses = ptr::null_mut();
        let count = c_int::try_from(pointers.len()).unwrap();
        let status = converse(count, pointers.as_ptr(), &raw mut responses, (&raw mut conversation).cast());
        let mut given = Vec::new();
        if !responses.is_null() {
            for place in 0..pointers.len() {
                // SAFETY: `count` responses, as pam_conv(3) has it.
                let response = unsafe { responses.add(place) };
                // SAFETY: as above.
                let text = unsafe { (*response).text };
                // SAFETY: null or a NUL-terminated string of ours.
                given.push((!text.is_null()).then(|| unsafe { CStr::from_ptr(text) }.to_bytes().to_vec()));
                // SAFETY: libpam frees each text, null too.
                unsafe { libc::free(text.cast()) };
            }
        }
        // SAFETY: null or calloc'ed by `answer`.
        unsafe { libc::free(responses.cast()) };
        let heard = heard.borrow().clone();
        (status, given, heard)
    }

    #[test]
    fn texts_are_passed_on_and_questions_get_their_own_answers() {
        let styles =
            [(TEXT_INFO, c"a"), (PROMPT_ECHO_OFF, c"Password: "), (ERROR_MSG, c"b"), (PROMPT_ECHO_ON, c"n\xff")];
        let (status, given, heard) = say(&styles, &[Some(b"secret"), Some(b"")]);
        assert_eq!((status, given), (SUCCESS, vec![None, Some(b"secret".to_vec()), None, Some(Vec::new())]));
        let question = |prompt: &[u8], echo| Said::Question { prompt: prompt.to_vec(), echo };
        let want =
            [Said::Info("a".into()), question(b"Password: ", false), Said::Error("b".into()), question(b"n\xff", true)];
        assert_eq!(heard, want);
    }

    #[test]
    fn question_without_an_answer_fails_and_gives_nothing() {
        let two = [(PROMPT_ECHO_OFF, c"one"), (PROMPT_ECHO_OFF, c"two"), (PROMPT_ECHO_OFF, c"three")];
        let (status, given, heard) = say(&two, &[Some(b"secret"), None, Some(b"late")]);
        assert_eq!((status, given, heard.len()), (CONV_ERR, vec![], 2));
        assert_eq!(say(&two[..1], &[Some(b"a\0b")]).0, CONV_ERR, "no C string");
        assert_eq!(say(&[(7, c"binary")], &[Some(b"x")]).0, CONV_ERR);
    }

    #[test]
    fn panic_in_the_listener_stays_here() {
        let listener: Listener = Box::new(|_| panic!("x"));
        let mut conversation = Conversation { listener, bounds: Rc::new(Bounds::new().unwrap()) };
        let message = PamMessage { style: TEXT_INFO, text: c"a".as_ptr() };
        let pointers = [ptr::from_ref(&message)];
        let mut responses = ptr::null_mut();
        let data = (&raw mut conversation).cast();
        assert_eq!(converse(1, pointers.as_ptr(), &raw mut responses, data), CONV_ERR);
        assert!(responses.is_null());
    }
}
