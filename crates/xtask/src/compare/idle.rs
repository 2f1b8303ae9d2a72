//! Clients that read, write, and then stay without a word.

use std::fs;
use std::io::{self, Read, Write};
use std::path::Path;

use super::contender::Contender;
use super::fixture::MIB;
use super::sample::Sample;
use super::serve::Server;
use crate::sys;

/// Requests of 1 MiB that each client has on the way at once.
const REQUESTS: u64 = 16;

/// Serves `image` to so many clients, and tells what the server has in memory once they are idle.
pub(crate) fn measure(contender: Contender, program: &Path, image: &Path, clients: usize) -> io::Result<Sample> {
    let directory = tempfile::tempdir()?;
    let server = Server::start(contender, program, image, directory.path())?;
    let mut connected = Vec::new();
    for number in 0..clients as u64 {
        let mut client = Client { stream: sys::connect(server.socket())? };
        client.handshake(server.export())?;
        client.read_and_write(number * REQUESTS * MIB)?;
        connected.push(client);
    }
    let idle_rss_bytes = rss_bytes(server.pid())?;
    drop(connected);
    let (processor, peak_rss_bytes) = server.end()?;
    Ok(Sample {
        processor_seconds: processor.as_secs_f64(),
        operations: 2 * REQUESTS * clients as u64,
        peak_rss_bytes,
        idle_rss_bytes: Some(idle_rss_bytes),
        ..Sample::default()
    })
}

/// What a process and its children have in memory, see proc_pid_status(5).
fn rss_bytes(pid: u32) -> io::Result<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib: Option<u64> = line.and_then(|rest| rest.split_whitespace().next()?.parse().ok());
    let own = kib.ok_or_else(|| io::Error::other("no VmRSS"))? * 1024;
    let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
    children
        .split_whitespace()
        .filter_map(|child| child.parse().ok())
        .try_fold(own, |sum, child| Ok(sum + rss_bytes(child)?))
}

/// As much of a client as this takes: the NBD protocol's newstyle handshake and simple replies.
struct Client<S> {
    stream: S,
}

impl<S: Read + Write> Client<S> {
    fn handshake(&mut self, export: &str) -> io::Result<()> {
        const FIXED_NEWSTYLE: u32 = 1;
        const EXPORT_NAME: u32 = 1;
        let mut greeting = [0; 18];
        self.stream.read_exact(&mut greeting)?;
        let mut answer = FIXED_NEWSTYLE.to_be_bytes().to_vec();
        answer.extend(b"IHAVEOPT");
        answer.extend(EXPORT_NAME.to_be_bytes());
        answer.extend((export.len() as u32).to_be_bytes());
        answer.extend(export.as_bytes());
        self.stream.write_all(&answer)?;
        // Size and flags, and as many zeroes as we did not refuse.
        let mut size_and_flags = [0; 8 + 2 + 124];
        self.stream.read_exact(&mut size_and_flags)
    }

    /// Reads many MiB at once, and writes them back.
    fn read_and_write(&mut self, offset: u64) -> io::Result<()> {
        const READ: u16 = 0;
        const WRITE: u16 = 1;
        let mut data = vec![Vec::new(); REQUESTS as usize];
        for number in 0..REQUESTS {
            self.stream.write_all(&request(READ, number, offset + number * MIB))?;
        }
        for _ in 0..REQUESTS {
            let number = self.reply()?;
            let mut mebibyte = vec![0; MIB as usize];
            self.stream.read_exact(&mut mebibyte)?;
            data[usize::try_from(number).unwrap_or(0)] = mebibyte;
        }
        for (number, mebibyte) in (0..).zip(&data) {
            self.stream.write_all(&request(WRITE, number, offset + number * MIB))?;
            self.stream.write_all(mebibyte)?;
        }
        (0..REQUESTS).try_for_each(|_| self.reply().map(drop))
    }

    /// The cookie of the next reply, which may be of any request.
    fn reply(&mut self) -> io::Result<u64> {
        let mut reply = [0; 16];
        self.stream.read_exact(&mut reply)?;
        match reply.split_at(8) {
            ([0x67, 0x44, 0x66, 0x98, 0, 0, 0, 0], cookie) => {
                Ok(cookie.iter().fold(0, |number, &byte| number << 8 | u64::from(byte)))
            }
            (head, _) => Err(io::Error::other(format!("the server answers {head:?}"))),
        }
    }
}

fn request(kind: u16, cookie: u64, offset: u64) -> Vec<u8> {
    let mut request = 0x2560_9513_u32.to_be_bytes().to_vec();
    request.extend(0_u16.to_be_bytes());
    request.extend(kind.to_be_bytes());
    request.extend(cookie.to_be_bytes());
    request.extend(offset.to_be_bytes());
    request.extend((MIB as u32).to_be_bytes());
    request
}
