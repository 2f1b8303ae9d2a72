//! One client: bytes between its socket and the state machines.

use std::io::{self, ErrorKind, Read, Write};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::handshake::{Agreement, Handshake, HandshakeNext};
use crate::sys::Socket;
use crate::{Closing, Counters, Export, Limits, Replies, Transmission, TransmissionNext};

/// How much one receive may bring. Large enough for many requests, or a piece of a long write and what was left over.
pub(crate) const RECEIVE_BYTES: usize = 1 << 20;

/// Serves one client to the end; `begun` is called when the handshake is over. The counters are right whatever the end was.
pub(crate) fn serve(
    socket: &Socket,
    export: &Export,
    limits: Limits,
    stopping: &AtomicBool,
    begun: &dyn Fn(),
) -> (Counters, io::Result<Closing>) {
    let mut received = Received::new();
    let agreement = match shake_hands(socket, export, limits, stopping, begun, &mut received) {
        Ok(Ok(agreement)) => agreement,
        Ok(Err(closing)) => {
            say_goodbye(socket, limits.grace);
            return (Counters::default(), Ok(closing));
        }
        Err(error) => return (Counters::default(), Err(error)),
    };
    let mut transmission = Transmission::new(export.disk.clone(), agreement, limits);
    let closing = transmit(socket, &mut transmission, stopping, &mut received);
    // Who asked for the end sends nothing more, and who has gone receives nothing more.
    if matches!(closing, Ok(Closing::Stopped | Closing::Violated(_))) {
        say_goodbye(socket, limits.grace);
    }
    (transmission.counters(), closing)
}

fn shake_hands(
    mut socket: &Socket,
    export: &Export,
    limits: Limits,
    stopping: &AtomicBool,
    begun: &dyn Fn(),
    received: &mut Received,
) -> io::Result<Result<Agreement, Closing>> {
    let deadline = Instant::now() + limits.handshake_timeout;
    socket.set_write_timeout(Some(limits.handshake_timeout))?;
    let mut handshake = Handshake::new(export, limits);
    let mut out = Vec::new();
    handshake.greet(&mut out);
    loop {
        if stopping.load(Ordering::Acquire) {
            handshake.stop();
        }
        let (consumed, next) = handshake.advance(received.pending(), &mut out);
        received.consume(consumed);
        if matches!(next, HandshakeNext::Begin(_)) {
            // Before the client can know.
            begun();
        }
        socket.write_all(&out)?;
        out.clear();
        match next {
            HandshakeNext::Begin(agreement) => {
                socket.set_read_timeout(None)?;
                socket.set_write_timeout(None)?;
                return Ok(Ok(agreement));
            }
            HandshakeNext::Close(closing) => return Ok(Err(closing)),
            HandshakeNext::Continue if consumed > 0 => {}
            HandshakeNext::Continue => {
                let left = deadline.saturating_duration_since(Instant::now());
                if left.is_zero() {
                    return Err(io::Error::new(ErrorKind::TimedOut, "the handshake took too long"));
                }
                socket.set_read_timeout(Some(left))?;
                match received.fill(socket) {
                    Ok(0) => return Ok(Err(ended(stopping))),
                    Ok(_) => {}
                    // Out of time; the deadline above says so.
                    Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
                    Err(error) => return Err(error),
                }
            }
        }
    }
}

fn transmit(
    socket: &Socket,
    transmission: &mut Transmission,
    stopping: &AtomicBool,
    received: &mut Received,
) -> io::Result<Closing> {
    let mut replies = Replies::new(socket);
    let mut last_round = false;
    loop {
        let (consumed, next) = transmission.advance(received.pending(), &mut replies)?;
        received.consume(consumed);
        if last_round {
            transmission.stop(&mut replies);
        }
        replies.send()?;
        match next {
            TransmissionNext::Close(closing) => return Ok(closing),
            TransmissionNext::Receive if last_round => return Ok(Closing::Stopped),
            TransmissionNext::Receive => {}
        }
        // What the client had sent when the server was told to stop is still received, once: a client that never pauses
        // must not keep it from stopping.
        last_round = stopping.load(Ordering::Acquire);
        if received.fill(socket)? == 0 {
            last_round = stopping.load(Ordering::Acquire);
            if !last_round {
                return Ok(Closing::Gone);
            }
        }
    }
}

/// What the end of a client's stream means.
fn ended(stopping: &AtomicBool) -> Closing {
    if stopping.load(Ordering::Acquire) { Closing::Stopped } else { Closing::Gone }
}

/// Closes so that the last replies arrive: a TCP socket closed with input unread may take them back.
fn say_goodbye(mut socket: &Socket, grace: Duration) {
    if !socket.must_linger() || socket.finish_sending().is_err() {
        return;
    }
    let deadline = Instant::now() + grace;
    let mut dropped = [0; 4096];
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() || socket.set_read_timeout(Some(left)).is_err() {
            return;
        }
        match socket.read(&mut dropped) {
            Ok(0) => return,
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(_) => return,
        }
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
    fn fill(&mut self, mut socket: &Socket) -> io::Result<usize> {
        // What is pending here is the beginning of something: short, or part of a piece of a long write.
        self.bytes.copy_within(self.start..self.end, 0);
        self.end -= self.start;
        self.start = 0;
        debug_assert!(self.end < self.bytes.len(), "a state machine waits for more than a buffer");
        loop {
            match socket.read(&mut self.bytes[self.end..]) {
                Ok(len) => {
                    self.end += len;
                    return Ok(len);
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }
}
