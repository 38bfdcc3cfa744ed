//! `pam_jitsudo.so`: lets nobody into a gated account without an active grant, and is not there for anybody else.
//!
//! It runs inside sshd, login, su and sudo, as root, in processes that may be in a chroot, under a seccomp filter or short of memory.
//!
//! MUSTs
//! 1. No panic leaves it, and no panic, error or nonsense is anything but a denial (`ffi::guarded`, `pam_*` host tests).
//! 2. Accounts and services that are not listed are ignored without a question (`judge::tests`).
//! 3. Nobody waits longer than five seconds (`ask`).
//! 4. It leaves nothing behind: no thread, signal handler, descriptor, allocation or changed signal mask; its descriptors do not survive
//!    an exec.
//! 5. As an authenticator it never says yes: outside su and sudo that would be a login without credentials.

mod account;
mod arguments;
mod ask;
mod code;
mod ffi;
mod judge;
mod list;
mod log;
mod login_uid;
mod text;
