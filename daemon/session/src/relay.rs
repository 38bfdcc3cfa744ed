//! The terminal's bytes between the pty and the client's stream: bounded both ways, never dropped, drained at the end.

use std::io;
use std::mem::ManuallyDrop;
use std::os::fd::{AsFd, AsRawFd as _, BorrowedFd, OwnedFd};

use jitsudo_sys::nix::errno::Errno;
use jitsudo_sys::nix::poll::PollFlags;
use jitsudo_sys::nix::sys::socket::{
    AddressFamily, MsgFlags, Shutdown, SockFlag, SockType, recv, recvmsg, send, shutdown, socketpair,
};
use jitsudo_sys::nix::unistd::{read, write};
use jitsudo_sys::pty::Pty;
use jitsudo_sys::terminal::{self, Size};

use crate::screen::Screen;

/// Most bytes that wait in one direction.
const ROOM_BYTES: usize = 64 * 1024;
/// Most bytes taken from the pty after the command has ended: programs that run on could write for ever.
const LAST_BYTES: usize = 1024 * 1024;

/// The pty, the stream and what is between them.
#[derive(Debug)]
pub(crate) struct Relay {
    pty: Pty,
    stream: Stream,
    to_client: Waiting,
    to_command: Waiting,
    screen: Screen,
    draining: Option<usize>,
}

#[derive(Debug)]
struct Stream {
    /// Shut down, and left to the end of this process: closing it would close what the client sent over it and nobody took.
    socket: ManuallyDrop<OwnedFd>,
    input_open: bool,
    output_open: bool,
}

impl Drop for Stream {
    fn drop(&mut self) {
        // The client reads the end of the output.
        let _ = shutdown(self.socket.as_raw_fd(), Shutdown::Both);
    }
}

#[derive(Debug, Default)]
struct Waiting {
    bytes: Vec<u8>,
}

impl Waiting {
    fn has_room(&self) -> bool {
        self.bytes.len() < ROOM_BYTES
    }
    fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }
    fn taken(&mut self, count: usize) {
        self.bytes.drain(..count.min(self.bytes.len()));
    }
}

impl Relay {
    /// Makes the stream; gives the client's end.
    pub(crate) fn new(pty: Pty) -> io::Result<(Self, OwnedFd)> {
        let (ours, clients) =
            socketpair(AddressFamily::Unix, SockType::Stream, None, SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK)?;
        let stream = Stream { socket: ManuallyDrop::new(ours), input_open: true, output_open: true };
        let relay = Self {
            pty,
            stream,
            to_client: Waiting::default(),
            to_command: Waiting::default(),
            screen: Screen::default(),
            draining: None,
        };
        Ok((relay, clients))
    }

    /// The pty's slave.
    pub(crate) fn slave(&self) -> BorrowedFd<'_> {
        self.pty.slave.as_fd()
    }

    /// Sets the size of the command's terminal.
    pub(crate) fn resize(&self, size: Size) {
        // The pty is ours; it cannot be hung up.
        let _ = terminal::set_size(self.pty.master.as_fd(), size);
    }

    pub(crate) fn screen(&self) -> &Screen {
        &self.screen
    }

    /// Puts bytes of our own behind the command's output, and as far as the client takes them before any message that follows.
    pub(crate) fn add(&mut self, bytes: &[u8]) {
        if self.stream.output_open {
            self.to_client.bytes.extend_from_slice(bytes);
            self.write_stream();
        }
    }

    /// The command has ended: what it wrote still goes out, nothing more goes in.
    pub(crate) fn drain(&mut self) {
        if self.draining.is_none() {
            self.draining = Some(LAST_BYTES);
            self.read_pty();
        }
    }

    /// The client is gone: its output goes nowhere.
    pub(crate) fn forget_client(&mut self) {
        self.stream.input_open = false;
        self.stream.output_open = false;
        self.to_client.bytes.clear();
        self.to_command.bytes.clear();
    }

    /// All that the command wrote has gone out.
    pub(crate) fn is_drained(&self) -> bool {
        self.draining == Some(0) && (self.to_client.is_empty() || !self.stream.output_open)
    }

    /// What to poll for: the pty's master and the stream (the master once more when that is closed: its hang-up would be told for ever).
    pub(crate) fn wants(&self) -> [(BorrowedFd<'_>, PollFlags); 2] {
        let mut pty = PollFlags::empty();
        pty.set(PollFlags::POLLIN, self.draining != Some(0) && (self.to_client.has_room() || !self.stream.output_open));
        pty.set(PollFlags::POLLOUT, !self.to_command.is_empty() && self.draining.is_none());
        let mut stream = PollFlags::empty();
        stream.set(PollFlags::POLLIN, self.stream.input_open && self.to_command.has_room() && self.draining.is_none());
        stream.set(PollFlags::POLLOUT, self.stream.output_open && !self.to_client.is_empty());
        let closed = !self.stream.input_open && !self.stream.output_open;
        let socket = if closed { self.pty.master.as_fd() } else { self.stream.socket.as_fd() };
        [(self.pty.master.as_fd(), pty), (socket, stream)]
    }

    /// Moves what can be moved.
    pub(crate) fn relay(&mut self, pty: PollFlags, stream: PollFlags) {
        if pty.contains(PollFlags::POLLIN) {
            self.read_pty();
        }
        if stream.intersects(PollFlags::POLLIN | PollFlags::POLLHUP | PollFlags::POLLERR) && self.stream.input_open {
            self.read_stream();
        }
        if stream.intersects(PollFlags::POLLHUP | PollFlags::POLLERR) && !self.stream.input_open {
            self.forget_client();
        }
        if !self.to_command.is_empty()
            && self.draining.is_none()
            && let Ok(count) = write(&self.pty.master, &self.to_command.bytes)
        {
            self.to_command.taken(count);
        }
        self.write_stream();
        if self.draining.is_some_and(|left| left > 0) {
            self.read_pty();
        }
    }

    fn read_pty(&mut self) {
        let mut buffer = [0u8; 16 * 1024];
        while self.to_client.has_room() || !self.stream.output_open {
            let count = match read(&self.pty.master, &mut buffer) {
                Err(Errno::EINTR) => continue,
                Ok(count) if count > 0 => count,
                // The kernel flushes what programs wrote before it says that there is nothing (n_tty_read): this is the end.
                Ok(_) | Err(_) => {
                    self.draining = self.draining.map(|_| 0);
                    return;
                }
            };
            let bytes = buffer.get(..count).unwrap_or_default();
            if self.stream.output_open {
                self.screen.follow(bytes);
                self.to_client.bytes.extend_from_slice(bytes);
            }
            if let Some(left) = &mut self.draining {
                *left = left.saturating_sub(count);
                if *left == 0 {
                    return;
                }
            }
            if self.draining.is_none() && !self.stream.output_open {
                return;
            }
        }
    }

    fn read_stream(&mut self) {
        let mut buffer = [0u8; 16 * 1024];
        let socket = self.stream.socket.as_raw_fd();
        // A look first: with descriptors among the bytes nothing is taken, for the kernel would close them here, and that can wait for
        // ever. What was looked at can be taken.
        let mut room = [io::IoSliceMut::new(&mut buffer)];
        let count = match recvmsg::<()>(socket, &mut room, None, MsgFlags::MSG_PEEK | MsgFlags::MSG_DONTWAIT) {
            Ok(seen) if seen.flags.contains(MsgFlags::MSG_CTRUNC) => 0,
            Ok(seen) => seen.bytes,
            Err(Errno::EAGAIN | Errno::EINTR) => return,
            Err(_) => 0,
        };
        if count == 0 {
            self.stream.input_open = false;
            return;
        }
        match recv(socket, buffer.get_mut(..count).unwrap_or_default(), MsgFlags::MSG_DONTWAIT) {
            Err(Errno::EAGAIN | Errno::EINTR) => {}
            Ok(count) if count > 0 => self.to_command.bytes.extend_from_slice(buffer.get(..count).unwrap_or_default()),
            Ok(_) | Err(_) => self.stream.input_open = false,
        }
    }

    fn write_stream(&mut self) {
        while self.stream.output_open && !self.to_client.is_empty() {
            let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL;
            match send(self.stream.socket.as_raw_fd(), &self.to_client.bytes, flags) {
                Ok(count) => self.to_client.taken(count),
                Err(Errno::EINTR) => {}
                Err(Errno::EAGAIN) => return,
                Err(_) => {
                    self.stream.output_open = false;
                    self.to_client.bytes.clear();
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use jitsudo_sys::nix::poll::{PollFd, PollTimeout, poll};
    use jitsudo_sys::nix::unistd::getuid;
    use jitsudo_sys::terminal::{Modes, OutputProcessing};
    use std::io::{Read as _, Write as _};
    use std::os::unix::net::UnixStream;

    fn relay() -> (Relay, UnixStream) {
        let pty = Pty::open(getuid().as_raw()).unwrap();
        Modes::of(pty.slave.as_fd()).unwrap().raw(OutputProcessing::Off).set(pty.slave.as_fd()).unwrap();
        let (relay, client) = Relay::new(pty).unwrap();
        let client = UnixStream::from(client);
        client.set_nonblocking(false).unwrap();
        (relay, client)
    }

    fn turn(relay: &mut Relay) {
        let [(pty, pty_flags), (stream, stream_flags)] = relay.wants();
        let mut entries = [PollFd::new(pty, pty_flags), PollFd::new(stream, stream_flags)];
        poll(&mut entries, PollTimeout::from(100u16)).unwrap();
        let [pty, stream] = entries.map(|entry| entry.revents().unwrap());
        relay.relay(pty, stream);
    }

    #[test]
    fn nothing_written_before_the_end_is_lost() {
        let (mut relay, mut client) = relay();
        let slave = relay.pty.slave.try_clone().unwrap();
        let wanted: Vec<u8> = (0..700_000u32).map(|n| (n % 251) as u8).collect();
        let sent = wanted.clone();
        let writer = std::thread::spawn(move || std::fs::File::from(slave).write_all(&sent).unwrap());
        let reader = std::thread::spawn(move || {
            let mut all = Vec::new();
            // A slow reader: back-pressure reaches the program.
            let mut buffer = [0u8; 4096];
            loop {
                match client.read(&mut buffer) {
                    Ok(0) | Err(_) => return all,
                    Ok(count) => all.extend_from_slice(&buffer[..count]),
                }
            }
        });
        while !writer.is_finished() {
            turn(&mut relay);
        }
        writer.join().unwrap();
        relay.drain();
        while !relay.is_drained() {
            turn(&mut relay);
        }
        drop(relay);
        assert_eq!(reader.join().unwrap(), wanted);
    }

    #[test]
    fn fd_tty_09_client_that_does_not_read_bounds_what_waits() {
        let (mut relay, _client) = relay();
        let slave = relay.pty.slave.try_clone().unwrap();
        jitsudo_sys::nix::fcntl::fcntl(
            &slave,
            jitsudo_sys::nix::fcntl::FcntlArg::F_SETFL(jitsudo_sys::nix::fcntl::OFlag::O_NONBLOCK),
        )
        .unwrap();
        for _ in 0..500 {
            let _ = write(&slave, &[b'x'; 4096]);
            let [(pty, pty_flags), (stream, stream_flags)] = relay.wants();
            let mut entries = [PollFd::new(pty, pty_flags), PollFd::new(stream, stream_flags)];
            poll(&mut entries, PollTimeout::ZERO).unwrap();
            let [pty, stream] = entries.map(|entry| entry.revents().unwrap());
            relay.relay(pty, stream);
        }
        assert!(relay.to_client.bytes.len() <= ROOM_BYTES + 16 * 1024);
        relay.forget_client();
        relay.drain();
        assert!(relay.is_drained());
    }

    #[test]
    fn dos_descriptors_on_the_stream_are_not_taken() {
        use jitsudo_sys::nix::sys::socket::{ControlMessage, sendmsg};
        let (mut relay, mut client) = relay();
        let (mut pipe, held) = io::pipe().unwrap();
        client.write_all(b"a").unwrap();
        let numbers = [held.as_raw_fd()];
        let rights = [ControlMessage::ScmRights(&numbers)];
        sendmsg::<()>(client.as_raw_fd(), &[io::IoSlice::new(b"b")], &rights, MsgFlags::empty(), None).unwrap();
        drop(held);
        turn(&mut relay);
        turn(&mut relay);
        assert!(!relay.stream.input_open);
        // The client reads the end, and its descriptor lives on in the queue.
        drop(relay);
        assert_eq!(client.read(&mut [0u8; 4]).unwrap(), 0);
        jitsudo_sys::nix::fcntl::fcntl(
            &pipe,
            jitsudo_sys::nix::fcntl::FcntlArg::F_SETFL(jitsudo_sys::nix::fcntl::OFlag::O_NONBLOCK),
        )
        .unwrap();
        assert_eq!(pipe.read(&mut [0u8; 4]).unwrap_err().kind(), io::ErrorKind::WouldBlock);
    }

    #[test]
    fn typed_bytes_reach_the_program() {
        let (mut relay, mut client) = relay();
        client.write_all(b"abc").unwrap();
        turn(&mut relay);
        turn(&mut relay);
        let mut buffer = [0u8; 10];
        let slave = relay.pty.slave.try_clone().unwrap();
        assert_eq!(read(&slave, &mut buffer).unwrap(), 3);
        assert_eq!(&buffer[..3], b"abc");
    }
}
