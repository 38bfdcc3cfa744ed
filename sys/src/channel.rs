//! A SOCK_SEQPACKET socket: one message a datagram, descriptors and the kernel's word on the sender with it (unix(7)).
//!
//! MUSTs
//! 1. Descriptors that came with a message are owned before anything can fail, so none leaks (`descriptors_of_a_refused_message_are_closed`).
//! 2. A truncated message or truncated control data is an error, never a shorter message (`message_longer_than_the_buffer_is_an_error`).
//! 3. Received descriptors are close-on-exec (`received_descriptors_are_close_on_exec`).

use std::fmt;
use std::io::{self, IoSlice};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::path::Path;

use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, Backlog, ControlMessage, MsgFlags, SockFlag, SockType, UnixAddr, UnixCredentials, accept4, bind,
    connect, getsockname, getsockopt, listen, sendmsg, setsockopt, socket, socketpair, sockopt,
};

use crate::secret::Secret;

/// Most descriptors in one message.
pub const MAX_DESCRIPTORS: usize = 8;
/// Largest message taken, bytes.
pub const MAX_MESSAGE_BYTES: usize = 64 * 1024;

/// Who a process is, by the kernel.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Credentials {
    /// Process id in the reader's pid namespace; 0 when it has none there.
    pub pid: u32,
    /// SO_PEERCRED: effective uid at connect. SCM_CREDENTIALS: real uid of the sender (or what a root sender chose).
    pub uid: u32,
    /// The gid likewise.
    pub gid: u32,
}

/// A message as it came.
#[derive(Debug)]
pub struct Message {
    /// Its bytes.
    pub bytes: Vec<u8>,
    /// Its descriptors, close-on-exec.
    pub descriptors: Vec<OwnedFd>,
    /// Its sender, when [`Channel::ask_for_credentials`] was called before it was sent.
    pub sender: Option<Credentials>,
}

/// Why a message could not be sent or taken.
#[derive(Debug)]
pub enum ChannelError {
    /// The system call failed; `WouldBlock` on a non-blocking channel with nothing to do.
    Io(io::Error),
    /// A message or its control data was longer than allowed. The connection is of no further use.
    Truncated,
}

impl fmt::Display for ChannelError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io(error) => error.fmt(f),
            Self::Truncated => f.write_str("the message is longer than allowed"),
        }
    }
}
impl std::error::Error for ChannelError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Io(error) => Some(error),
            Self::Truncated => None,
        }
    }
}
impl ChannelError {
    /// True when a non-blocking channel has nothing to read or no room to write.
    #[must_use]
    pub fn would_block(&self) -> bool {
        matches!(self, Self::Io(error) if error.kind() == io::ErrorKind::WouldBlock)
    }
}
impl From<Errno> for ChannelError {
    fn from(errno: Errno) -> Self {
        Self::Io(errno.into())
    }
}

/// One end of a connection, or a listening socket.
#[derive(Debug)]
pub struct Channel(OwnedFd);

impl Channel {
    /// Takes a descriptor that is a SOCK_SEQPACKET socket.
    #[must_use]
    pub fn from_descriptor(descriptor: OwnedFd) -> Self {
        Self(descriptor)
    }

    /// Takes a descriptor number that this process inherited (socket activation, a parent's socket).
    ///
    /// # Errors
    /// The number is not an open SOCK_SEQPACKET socket.
    pub fn from_inherited(number: RawFd) -> io::Result<Self> {
        if nix::fcntl::fcntl(borrow_number(number)?, nix::fcntl::FcntlArg::F_GETFD).is_err() {
            return Err(io::Error::from(io::ErrorKind::NotFound));
        }
        // SAFETY: the number is open (checked above) and nothing else in this process owns it: it was inherited across exec
        // for this purpose, and every program takes each inherited number once, at its start.
        let descriptor = unsafe { OwnedFd::from_raw_fd(number) };
        if getsockopt(&descriptor, sockopt::SockType)? != SockType::SeqPacket {
            return Err(io::Error::from(io::ErrorKind::InvalidInput));
        }
        nix::fcntl::fcntl(&descriptor, nix::fcntl::FcntlArg::F_SETFD(nix::fcntl::FdFlag::FD_CLOEXEC))?;
        Ok(Self(descriptor))
    }

    /// Makes two connected ends, close-on-exec.
    ///
    /// # Errors
    /// socketpair(2)'s.
    pub fn pair() -> io::Result<(Self, Self)> {
        let (one, other) = socketpair(AddressFamily::Unix, SockType::SeqPacket, None, SockFlag::SOCK_CLOEXEC)?;
        Ok((Self(one), Self(other)))
    }

    /// Connects to a listening socket.
    ///
    /// # Errors
    /// connect(2)'s.
    pub fn connect(path: &Path) -> io::Result<Self> {
        let descriptor = socket(AddressFamily::Unix, SockType::SeqPacket, SockFlag::SOCK_CLOEXEC, None)?;
        connect(descriptor.as_raw_fd(), &UnixAddr::new(path)?)?;
        Ok(Self(descriptor))
    }

    /// Binds and listens; the mode of the socket file is the umask's business.
    ///
    /// # Errors
    /// bind(2)'s and listen(2)'s.
    pub fn listen(path: &Path) -> io::Result<Self> {
        let descriptor = socket(AddressFamily::Unix, SockType::SeqPacket, SockFlag::SOCK_CLOEXEC, None)?;
        bind(descriptor.as_raw_fd(), &UnixAddr::new(path)?)?;
        listen(&descriptor, Backlog::new(512)?)?;
        Ok(Self(descriptor))
    }

    /// Accepts one connection, close-on-exec and non-blocking.
    ///
    /// # Errors
    /// accept4(2)'s; `WouldBlock` when none waits and the listener is non-blocking.
    pub fn accept(&self) -> io::Result<Self> {
        let number = accept4(self.0.as_raw_fd(), SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK)?;
        // SAFETY: accept4 returned this new descriptor and nobody else has it.
        Ok(Self(unsafe { OwnedFd::from_raw_fd(number) }))
    }

    /// The path that the socket (or, for an accepted one, its listener) is bound to, if it has one.
    #[must_use]
    pub fn bound_path(&self) -> Option<std::path::PathBuf> {
        getsockname::<UnixAddr>(self.0.as_raw_fd()).ok()?.path().map(Path::to_path_buf)
    }

    /// Makes reads and writes return `WouldBlock` instead of waiting, or wait again.
    ///
    /// # Errors
    /// fcntl(2)'s.
    pub fn set_nonblocking(&self, on: bool) -> io::Result<()> {
        let mut flags =
            nix::fcntl::OFlag::from_bits_truncate(nix::fcntl::fcntl(&self.0, nix::fcntl::FcntlArg::F_GETFL)?);
        flags.set(nix::fcntl::OFlag::O_NONBLOCK, on);
        nix::fcntl::fcntl(&self.0, nix::fcntl::FcntlArg::F_SETFL(flags))?;
        Ok(())
    }

    /// Has the kernel put the sender's credentials on every message that arrives (SO_PASSCRED).
    ///
    /// # Errors
    /// setsockopt(2)'s.
    pub fn ask_for_credentials(&self) -> io::Result<()> {
        Ok(setsockopt(&self.0, sockopt::PassCred, &true)?)
    }

    /// Who connected (or made the pair, or listens): SO_PEERCRED, effective ids at that moment.
    ///
    /// # Errors
    /// getsockopt(2)'s.
    pub fn peer(&self) -> io::Result<Credentials> {
        Ok(to_credentials(getsockopt(&self.0, sockopt::PeerCredentials)?))
    }

    /// A descriptor that names the connecting process for good (SO_PEERPIDFD, Linux 6.5; before that pidfd_open of the peer's pid,
    /// which is a weaker word: the pid may have been used again).
    ///
    /// # Errors
    /// The process is gone.
    pub fn peer_pidfd(&self) -> io::Result<OwnedFd> {
        match getsockopt(&self.0, sockopt::PeerPidfd) {
            Ok(pidfd) => Ok(pidfd),
            Err(Errno::ENOPROTOOPT) => crate::pidfd::open(self.peer()?.pid),
            Err(errno) => Err(errno.into()),
        }
    }

    /// Sends one message with descriptors.
    ///
    /// # Errors
    /// sendmsg(2)'s; `Truncated` when it is longer than [`MAX_MESSAGE_BYTES`] or has too many descriptors.
    pub fn send(&self, bytes: &[u8], descriptors: &[BorrowedFd<'_>]) -> Result<(), ChannelError> {
        self.send_with(bytes, descriptors, MsgFlags::MSG_NOSIGNAL)
    }

    /// Sends as [`Self::send`], but never waits: O_NONBLOCK belongs to the description, which others who hold the socket can change.
    ///
    /// # Errors
    /// As [`Self::send`], `WouldBlock` when there is no room.
    pub fn send_now(&self, bytes: &[u8], descriptors: &[BorrowedFd<'_>]) -> Result<(), ChannelError> {
        self.send_with(bytes, descriptors, MsgFlags::MSG_NOSIGNAL | MsgFlags::MSG_DONTWAIT)
    }

    fn send_with(&self, bytes: &[u8], descriptors: &[BorrowedFd<'_>], flags: MsgFlags) -> Result<(), ChannelError> {
        if bytes.len() > MAX_MESSAGE_BYTES || descriptors.len() > MAX_DESCRIPTORS {
            return Err(ChannelError::Truncated);
        }
        let numbers: Vec<RawFd> = descriptors.iter().map(AsRawFd::as_raw_fd).collect();
        let rights = [ControlMessage::ScmRights(&numbers)];
        let control = if numbers.is_empty() { &[][..] } else { &rights[..] };
        loop {
            match sendmsg::<()>(self.0.as_raw_fd(), &[IoSlice::new(bytes)], control, flags, None) {
                Ok(_) => return Ok(()),
                Err(Errno::EINTR) => {}
                Err(errno) => return Err(errno.into()),
            }
        }
    }

    /// Takes one message; `None` when the other side has closed.
    ///
    /// # Errors
    /// recvmsg(2)'s; `Truncated` when bytes or control data did not fit.
    pub fn receive(&self) -> Result<Option<Message>, ChannelError> {
        let mut bytes = vec![0; MAX_MESSAGE_BYTES + 1];
        let mut room = [0u64; (KERNEL_MAX_DESCRIPTORS * size_of::<RawFd>() + 256) / 8];
        let (length, flags, control) = loop {
            match receive_raw(self.0.as_fd(), &mut bytes, &mut room, 0) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                other => break other.map_err(ChannelError::Io)?,
            }
        };
        let cut = flags & (libc::MSG_TRUNC | libc::MSG_CTRUNC) != 0;
        if cut || length > MAX_MESSAGE_BYTES || control.descriptors.len() > MAX_DESCRIPTORS {
            return Err(ChannelError::Truncated);
        }
        // A message without bytes is never sent here, so nothing read is the end.
        if length == 0 {
            return Ok(None);
        }
        bytes.truncate(length);
        Ok(Some(Message { bytes, descriptors: control.descriptors, sender: control.sender }))
    }
}

impl Channel {
    /// As [`Channel::receive`], but a message with descriptors is left in the queue, for good: closing what a stranger has opened can wait
    /// for ever (FUSE answers when it likes, SO_LINGER), and a message that was taken has to be closed. Asks for credentials first.
    ///
    /// # Errors
    /// As of `receive`; `Truncated` when descriptors came with it.
    pub fn receive_bytes(&self) -> Result<Option<Message>, ChannelError> {
        self.refuse_descriptors()?;
        self.receive()
    }

    /// As [`Channel::receive_bytes`], into the one place of a secret, whatever the message is; with its sender.
    ///
    /// # Errors
    /// As of `receive_bytes`; `Truncated` when it is longer than a secret may be.
    pub fn receive_secret(&self) -> Result<Option<(Secret, Option<Credentials>)>, ChannelError> {
        self.refuse_descriptors()?;
        let mut secret = Secret::new();
        let mut room = [0u64; CREDENTIALS_ROOM / 8];
        let (length, flags, control) = loop {
            match receive_raw(self.0.as_fd(), secret.room(), &mut room, 0) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                other => break other.map_err(ChannelError::Io)?,
            }
        };
        if flags & (libc::MSG_TRUNC | libc::MSG_CTRUNC) != 0 {
            return Err(ChannelError::Truncated);
        }
        secret.set_length(length);
        Ok((length > 0).then_some((secret, control.sender)))
    }

    fn refuse_descriptors(&self) -> Result<(), ChannelError> {
        let mut byte = [0u8];
        // Room for the sender alone, which the kernel puts first: descriptors do not fit, are not taken, and are told by the flag.
        let mut room = [0u64; CREDENTIALS_ROOM / 8];
        let flags = loop {
            match receive_raw(self.0.as_fd(), &mut byte, &mut room, libc::MSG_PEEK) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                other => break other.map_err(ChannelError::Io)?.1,
            }
        };
        if flags & libc::MSG_CTRUNC != 0 { Err(ChannelError::Truncated) } else { Ok(()) }
    }
}

/// CMSG_SPACE of one ucred.
const CREDENTIALS_ROOM: usize = size_of::<libc::cmsghdr>() + size_of::<libc::ucred>().next_multiple_of(8);

/// What came beside the bytes.
#[derive(Default)]
struct Control {
    descriptors: Vec<OwnedFd>,
    sender: Option<Credentials>,
}

/// Most descriptors that the kernel lets one message carry (SCM_MAX_FD), so that a flood of them is taken and closed, not leaked.
const KERNEL_MAX_DESCRIPTORS: usize = 253;

/// recvmsg(2) with its control data parsed here: nix gives none of it back once MSG_CTRUNC is set, although the descriptors that did
/// fit (all but those over RLIMIT_NOFILE) have been put into this process by then.
/// `room` is of u64s, so that it is aligned as cmsghdr wants it.
fn receive_raw(
    socket: BorrowedFd<'_>,
    bytes: &mut [u8],
    room: &mut [u64],
    flags: i32,
) -> io::Result<(usize, i32, Control)> {
    let mut buffer = libc::iovec { iov_base: bytes.as_mut_ptr().cast(), iov_len: bytes.len() };
    // SAFETY: msghdr is plain data for which all zeroes is valid (no name, no buffers, no flags).
    let mut header: libc::msghdr = unsafe { std::mem::zeroed() };
    header.msg_iov = &raw mut buffer;
    header.msg_iovlen = 1;
    header.msg_control = room.as_mut_ptr().cast();
    header.msg_controllen = size_of_val(room);
    // SAFETY: the header points to one iovec over `bytes` and to `room`, both live and writable for this call.
    let length = unsafe { libc::recvmsg(socket.as_raw_fd(), &raw mut header, libc::MSG_CMSG_CLOEXEC | flags) };
    let length = usize::try_from(length).map_err(|_| io::Error::last_os_error())?;
    let mut control = Control::default();
    // SAFETY: the kernel filled the header; its control pointer and length describe `room`, which is live.
    let mut entry = unsafe { libc::CMSG_FIRSTHDR(&raw const header) };
    while !entry.is_null() {
        // SAFETY: CMSG_FIRSTHDR and CMSG_NXTHDR give only pointers to a whole, aligned cmsghdr inside the control data.
        let head = unsafe { entry.read() };
        // SAFETY: the entry is valid; its data begins right behind the header.
        let data = unsafe { libc::CMSG_DATA(entry) };
        let size = head.cmsg_len.saturating_sub(data.addr() - entry.addr());
        match (head.cmsg_level, head.cmsg_type) {
            (libc::SOL_SOCKET, libc::SCM_RIGHTS) => {
                for place in 0..size / size_of::<RawFd>() {
                    // SAFETY: `place` numbers lie within the entry's length, all within the control data.
                    let at = unsafe { data.cast::<RawFd>().add(place) };
                    // SAFETY: the kernel wrote a descriptor number there; reading needs no alignment.
                    let number = unsafe { at.read_unaligned() };
                    // SAFETY: the kernel has just put this new descriptor into this process; nobody else has it.
                    control.descriptors.push(unsafe { OwnedFd::from_raw_fd(number) });
                }
            }
            (libc::SOL_SOCKET, libc::SCM_CREDENTIALS) if size >= size_of::<libc::ucred>() => {
                // SAFETY: the entry holds a whole ucred; reading needs no alignment.
                let raw = unsafe { data.cast::<libc::ucred>().read_unaligned() };
                let pid = u32::try_from(raw.pid).unwrap_or(0);
                control.sender = Some(Credentials { pid, uid: raw.uid, gid: raw.gid });
            }
            _ => {}
        }
        // SAFETY: header and entry are the ones of this call, unchanged since the kernel wrote them.
        entry = unsafe { libc::CMSG_NXTHDR(&raw const header, entry) };
    }
    Ok((length, header.msg_flags, control))
}

impl AsFd for Channel {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}
impl AsRawFd for Channel {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_raw_fd()
    }
}
impl From<Channel> for OwnedFd {
    fn from(channel: Channel) -> Self {
        channel.0
    }
}

fn to_credentials(raw: UnixCredentials) -> Credentials {
    Credentials { pid: u32::try_from(raw.pid()).unwrap_or(0), uid: raw.uid(), gid: raw.gid() }
}

/// Borrows a number for a question to the kernel that answers EBADF when it is not open.
fn borrow_number(number: RawFd) -> io::Result<BorrowedFd<'static>> {
    if number < 0 {
        return Err(io::Error::from(io::ErrorKind::InvalidInput));
    }
    // SAFETY: the number is not -1, and the borrow is used only for fcntl(F_GETFD), which is sound on any number.
    Ok(unsafe { BorrowedFd::borrow_raw(number) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::File;
    use std::io::Read as _;

    #[test]
    fn bytes_descriptors_and_sender_arrive_together() {
        let (one, other) = Channel::pair().unwrap();
        other.ask_for_credentials().unwrap();
        let file = File::open("/proc/self/comm").unwrap();
        one.send(b"hello", &[file.as_fd()]).unwrap();
        let message = other.receive().unwrap().unwrap();
        assert_eq!(message.bytes, b"hello");
        let sender = message.sender.unwrap();
        assert_eq!(sender.pid, std::process::id());
        let mut text = String::new();
        File::from(message.descriptors.into_iter().next().unwrap()).read_to_string(&mut text).unwrap();
        assert!(!text.is_empty());
    }

    #[test]
    fn received_descriptors_are_close_on_exec() {
        let (one, other) = Channel::pair().unwrap();
        one.send(b"x", &[one.as_fd(), other.as_fd()]).unwrap();
        for descriptor in other.receive().unwrap().unwrap().descriptors {
            let flags = nix::fcntl::fcntl(&descriptor, nix::fcntl::FcntlArg::F_GETFD).unwrap();
            assert_eq!(flags & nix::libc::FD_CLOEXEC, nix::libc::FD_CLOEXEC);
        }
    }

    #[test]
    fn message_longer_than_the_buffer_is_an_error() {
        let (one, other) = Channel::pair().unwrap();
        let long = vec![0u8; MAX_MESSAGE_BYTES + 100];
        assert!(matches!(one.send(&long, &[]), Err(ChannelError::Truncated)));
        sendmsg::<()>(one.as_raw_fd(), &[IoSlice::new(&long)], &[], MsgFlags::empty(), None).unwrap();
        assert!(matches!(other.receive(), Err(ChannelError::Truncated)));
        one.send(b"next", &[]).unwrap();
        assert_eq!(other.receive().unwrap().unwrap().bytes, b"next");
    }

    #[test]
    fn secret_comes_with_its_sender_and_nothing_longer_or_with_descriptors() {
        let (one, other) = Channel::pair().unwrap();
        other.ask_for_credentials().unwrap();
        one.send(b"\0secret", &[]).unwrap();
        let (secret, sender) = other.receive_secret().unwrap().unwrap();
        assert_eq!(secret.without_first(1).as_bytes(), b"secret");
        assert_eq!(sender.unwrap().pid, std::process::id());
        one.send(&[b'x'; 1025], &[]).unwrap();
        assert!(matches!(other.receive_secret(), Err(ChannelError::Truncated)));
        one.send(&[b'x'; 1024], &[]).unwrap();
        assert_eq!(other.receive_secret().unwrap().unwrap().0.as_bytes().len(), 1024);
        one.send(b"x", &[one.as_fd()]).unwrap();
        assert!(matches!(other.receive_secret(), Err(ChannelError::Truncated)));
        other.receive().unwrap().unwrap();
        drop(one);
        assert!(other.receive_secret().unwrap().is_none());
    }

    #[test]
    fn descriptors_of_a_refused_message_are_closed() {
        let (one, other) = Channel::pair().unwrap();
        let count = || std::fs::read_dir("/proc/self/fd").unwrap().count();
        let many: Vec<RawFd> = (0..MAX_DESCRIPTORS + 60).map(|_| one.as_raw_fd()).collect();
        let before = count();
        sendmsg::<()>(
            one.as_raw_fd(),
            &[IoSlice::new(b"x")],
            &[ControlMessage::ScmRights(&many)],
            MsgFlags::empty(),
            None,
        )
        .unwrap();
        assert!(matches!(other.receive(), Err(ChannelError::Truncated)));
        assert_eq!(count(), before);
    }

    #[test]
    fn dos_message_with_descriptors_is_left_where_only_bytes_are_taken() {
        let (one, other) = Channel::pair().unwrap();
        other.ask_for_credentials().unwrap();
        one.send(b"plain", &[]).unwrap();
        let plain = other.receive_bytes().unwrap().unwrap();
        assert_eq!((plain.bytes.as_slice(), plain.sender.unwrap().pid), (&b"plain"[..], std::process::id()));
        let count = || std::fs::read_dir("/proc/self/fd").unwrap().count();
        one.send(b"x", &[one.as_fd()]).unwrap();
        let before = count();
        for _ in 0..2 {
            assert!(matches!(other.receive_bytes(), Err(ChannelError::Truncated)));
        }
        assert_eq!(count(), before);
        assert_eq!(other.receive().unwrap().unwrap().descriptors.len(), 1, "it is there still");
        drop(one);
        assert!(other.receive_bytes().unwrap().is_none());
    }

    #[test]
    fn full_socket_delays_nobody_who_sends_now() {
        let (one, _other) = Channel::pair().unwrap();
        let error = (0..10_000).find_map(|_| one.send_now(&[0; 1024], &[]).err()).unwrap();
        assert!(error.would_block());
    }

    #[test]
    fn closed_other_side_is_the_end() {
        let (one, other) = Channel::pair().unwrap();
        drop(one);
        assert!(other.receive().unwrap().is_none());
    }
}
