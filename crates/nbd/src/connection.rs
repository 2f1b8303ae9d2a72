//! One client: bytes between its socket and the state machines.

use std::fs::File;
use std::io::{self, ErrorKind, Read, Write};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::background::{Background, Outlet};
use crate::handshake::{Agreement, Handshake, HandshakeNext};
use crate::pace::Pace;
use crate::protocol::Request;
use crate::sys::{FilePipe, Socket};
use crate::{Closing, Counters, Export, Limits, Replies, ReplySink, Transmission, TransmissionNext};

/// How much one receive may bring. Large enough for many requests, or a piece of a long write and what was left over.
pub(crate) const RECEIVE_BYTES: usize = 1 << 20;

/// How long the processor is left alone between two looks for the next request.
const SPINS: u32 = 16;

/// How far the end of the server has come.
#[derive(Debug, Default)]
pub(crate) struct Ending {
    /// What has been received is still executed.
    pub(crate) stopping: AtomicBool,
    /// Nothing more is executed.
    pub(crate) cut_off: AtomicBool,
}

impl Ending {
    fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Acquire)
    }
}

/// Serves one client to the end; `admit` says whether it may begin with requests. The counters are right whatever the end
/// was.
pub(crate) fn serve(
    socket: &Socket,
    export: &Export,
    limits: Limits,
    ending: &Ending,
    admit: &dyn Fn() -> bool,
) -> (Counters, io::Result<Closing>) {
    let mut received = Received::new();
    let agreement = match shake_hands(socket, export, limits, ending, admit, &mut received) {
        Ok(Ok(agreement)) => agreement,
        Ok(Err(closing)) => {
            say_goodbye(socket, limits.grace);
            return (Counters::default(), Ok(closing));
        }
        Err(error) => return (Counters::default(), Err(error)),
    };
    let mut transmission = Transmission::new(export.disk.clone(), agreement, limits);
    let (counters, closing) = transmit(socket, &mut transmission, limits, ending, &mut received);
    // Who asked for the end sends nothing more, and who has gone receives nothing more.
    if matches!(closing, Ok(Closing::Stopped | Closing::Violated(_))) {
        say_goodbye(socket, limits.grace);
    }
    (counters, closing)
}

fn shake_hands(
    socket: &Socket,
    export: &Export,
    limits: Limits,
    ending: &Ending,
    admit: &dyn Fn() -> bool,
    received: &mut Received,
) -> io::Result<Result<Agreement, Closing>> {
    let mut in_time = Until { socket, deadline: Instant::now() + limits.handshake_timeout };
    let mut handshake = Handshake::new(export, limits);
    let mut out = Vec::new();
    handshake.greet(&mut out);
    loop {
        if ending.is_stopping() {
            handshake.stop();
        }
        let (consumed, next) = handshake.advance(received.pending(), &mut out, admit);
        received.consume(consumed);
        in_time.write_all(&out)?;
        out.clear();
        match next {
            HandshakeNext::Begin(agreement) => {
                socket.set_read_timeout(None)?;
                socket.set_write_timeout(None)?;
                return Ok(Ok(agreement));
            }
            HandshakeNext::Close(closing) => return Ok(Err(closing)),
            HandshakeNext::Continue if consumed > 0 => {}
            HandshakeNext::Continue if received.fill(&mut in_time)? > 0 => {}
            HandshakeNext::Continue => {
                return Ok(Err(if ending.is_stopping() { Closing::Stopped } else { Closing::Gone }));
            }
        }
    }
}

/// Executes requests until the end. What is in the background then is waited for.
fn transmit(
    socket: &Socket,
    transmission: &mut Transmission,
    limits: Limits,
    ending: &Ending,
    received: &mut Received,
) -> (Counters, io::Result<Closing>) {
    let outlet = Outlet::new(socket, ending);
    thread::scope(|scope| {
        let background = Background::new(scope, &outlet, transmission);
        let mut replies = Replies::new(Outgoing { outlet: &outlet, pipe: Pipe::NotYet, background });
        let closing = take_turns(&outlet, transmission, limits, received, &mut replies);
        let mut counters = transmission.counters();
        counters.add(replies.into_inner().background.finish());
        (counters, closing)
    })
}

/// Receives requests, executes them and sends the replies, in turn.
fn take_turns(
    outlet: &Outlet<'_>,
    transmission: &mut Transmission,
    limits: Limits,
    received: &mut Received,
    replies: &mut Replies<Outgoing<'_, '_, '_>>,
) -> io::Result<Closing> {
    let Outlet { mut socket, ending, .. } = *outlet;
    let mut pace = Pace::new(&limits, socket);
    let mut last_round = false;
    loop {
        let turn = outlet.turn();
        let before = transmission.counters();
        let began = Instant::now();
        let (consumed, next) = transmission.advance(received.pending(), replies)?;
        let done = transmission.counters().since(before);
        if !transmission.has_set_aside() {
            transmission.read_ahead(pace.reads_ahead(done, began.elapsed()));
        }
        received.consume(consumed);
        if last_round {
            transmission.stop(replies);
        }
        replies.add_finished();
        replies.send()?;
        turn.end();
        outlet.deliver()?;
        match next {
            TransmissionNext::Close(closing) => return Ok(closing),
            TransmissionNext::Receive if last_round => return Ok(Closing::Stopped),
            TransmissionNext::Receive => {}
        }
        // What the client had sent when the server was told to stop is still received, once: a client that never pauses
        // must not keep it from stopping.
        last_round = ending.is_stopping();
        let mut found = None;
        // Who waits for something in the background is not busy with replies.
        if !last_round && !transmission.has_set_aside() {
            pace.look_away(done, socket);
            if let Some(limit) = pace.looks_for(done) {
                found = received.look_for(socket, limit)?;
                pace.found(found.is_some());
            }
        }
        let received_bytes = match found {
            Some(bytes) => bytes,
            None => received.fill(&mut socket)?,
        };
        if received_bytes == 0 {
            last_round = ending.is_stopping();
            if !last_round {
                return Ok(Closing::Gone);
            }
        }
    }
}

/// Closes so that the last replies arrive: a TCP socket closed with input unread may take them back.
fn say_goodbye(socket: &Socket, grace: Duration) {
    if socket.must_linger() && socket.finish_sending().is_ok() {
        // Ends with the client, or with its time.
        let _ = io::copy(&mut Until { socket, deadline: Instant::now() + grace }, &mut io::sink());
    }
}

/// A socket up to a deadline, however busy the other side keeps it.
struct Until<'a> {
    socket: &'a Socket,
    deadline: Instant,
}

impl Until<'_> {
    /// What a single wait may take.
    fn left(&self) -> io::Result<Option<Duration>> {
        match self.deadline.saturating_duration_since(Instant::now()) {
            Duration::ZERO => Err(ErrorKind::TimedOut.into()),
            left => Ok(Some(left)),
        }
    }
}

impl Read for Until<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.socket.set_read_timeout(self.left()?)?;
        self.socket.read(buffer).map_err(late)
    }
}

impl Write for Until<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.socket.set_write_timeout(self.left()?)?;
        self.socket.write(bytes).map_err(late)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Systems say of a wait that took too long that it would block.
fn late(error: io::Error) -> io::Error {
    if error.kind() == ErrorKind::WouldBlock { ErrorKind::TimedOut.into() } else { error }
}

/// A socket for replies, which tells once it is cut off.
struct Outgoing<'a, 'scope, 'env> {
    outlet: &'a Outlet<'a>,
    pipe: Pipe,
    background: Background<'scope, 'env>,
}

/// Made when it is first wanted.
enum Pipe {
    NotYet,
    Is(FilePipe),
    /// There is none to be had, or the file does not give its pages away.
    Never,
}

impl Write for Outgoing<'_, '_, '_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut socket = self.outlet.socket;
        socket.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.outlet.check()
    }
}

impl ReplySink for Outgoing<'_, '_, '_> {
    fn can_take(&mut self) -> bool {
        if matches!(self.pipe, Pipe::NotYet) {
            self.pipe = match FilePipe::new() {
                Ok(pipe) => Pipe::Is(pipe),
                Err(error) => {
                    tracing::debug!(%error, "no pipe: long reads are copied");
                    Pipe::Never
                }
            };
        }
        matches!(self.pipe, Pipe::Is(_))
    }

    fn take(&mut self, file: &File, offset: u64, len_bytes: usize) -> usize {
        let Pipe::Is(pipe) = &mut self.pipe else { return 0 };
        let taken = pipe.take(file, offset, len_bytes);
        if taken == 0 {
            // Whatever is wrong with the file, reading says it better.
            self.pipe = Pipe::Never;
        }
        taken
    }

    fn send_taken(&mut self, before: &[u8]) -> io::Result<()> {
        match &mut self.pipe {
            Pipe::Is(pipe) => pipe.send(before, self.outlet.socket),
            Pipe::NotYet | Pipe::Never => self.write_all(before),
        }
    }

    fn drop_taken(&mut self) {
        self.pipe = Pipe::NotYet;
    }

    fn finished(&mut self) -> Vec<u8> {
        self.outlet.finished()
    }

    fn set_aside(&mut self, request: Request) -> bool {
        self.background.take(request)
    }
}

/// Bytes received and not yet consumed.
struct Received {
    bytes: Vec<u8>,
    start: usize,
    end: usize,
}

impl Received {
    fn new() -> Self {
        Self { bytes: vec![0; RECEIVE_BYTES], start: 0, end: 0 }
    }

    fn pending(&self) -> &[u8] {
        &self.bytes[self.start..self.end]
    }

    fn consume(&mut self, len: usize) {
        self.start += len;
        debug_assert!(self.start <= self.end, "consumed more than there was");
    }

    /// Receives once, after what is pending. Zero is the end of the stream.
    fn fill(&mut self, socket: &mut impl Read) -> io::Result<usize> {
        let room = self.room();
        let len = loop {
            match socket.read(room) {
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                done => break done?,
            }
        };
        self.end += len;
        Ok(len)
    }

    /// As [`fill`](Self::fill), but without sleeping, and only for so long; `None` if nothing has come.
    fn look_for(&mut self, socket: &Socket, limit: Duration) -> io::Result<Option<usize>> {
        let room = self.room();
        let begun = Instant::now();
        loop {
            match socket.receive_now(room) {
                Ok(len) => {
                    self.end += len;
                    return Ok(Some(len));
                }
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {}
                Err(error) => return Err(error),
            }
            if begun.elapsed() >= limit {
                return Ok(None);
            }
            (0..SPINS).for_each(|_| std::hint::spin_loop());
        }
    }

    /// The place behind what is pending, which is moved to the front.
    fn room(&mut self) -> &mut [u8] {
        // What is pending here is the beginning of something: short, or part of a piece of a long write.
        self.bytes.copy_within(self.start..self.end, 0);
        self.end -= self.start;
        self.start = 0;
        debug_assert!(self.end < self.bytes.len(), "a state machine waits for more than a buffer");
        &mut self.bytes[self.end..]
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpStream;

    use super::*;
    use crate::listen::Address;
    use crate::sys::Listener;

    #[test]
    fn after_its_deadline_a_client_that_goes_on_sending_is_heard_no_more() {
        let (listener, _wake) = Listener::bind_tcp("127.0.0.1:0".parse().unwrap()).unwrap();
        let Address::Tcp(address) = *listener.address() else { panic!("not TCP") };
        let mut client = TcpStream::connect(address).unwrap();
        let socket = listener.accept().unwrap().unwrap();
        client.write_all(b"more").unwrap();
        let mut first = [0];
        let mut in_time = Until { socket: &socket, deadline: Instant::now() + Duration::from_secs(3600) };
        in_time.read_exact(&mut first).unwrap();
        let mut late = Until { socket: &socket, deadline: Instant::now() };
        assert_eq!(late.read(&mut first).unwrap_err().kind(), ErrorKind::TimedOut);
        assert_eq!(late.write(&first).unwrap_err().kind(), ErrorKind::TimedOut);
    }
}
