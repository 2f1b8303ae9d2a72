//! Lines of a bounded length, out of a stream.

use std::io::{self, Read};

/// Reads lines, of at most so many bytes without their end.
pub(crate) struct Lines<R> {
    stream: R,
    max_bytes: usize,
    /// What has arrived and was not given out yet.
    pending: Vec<u8>,
}

impl<R: Read> Lines<R> {
    pub(crate) fn new(stream: R, max_bytes: usize) -> Self {
        Self { stream, max_bytes, pending: Vec::new() }
    }

    /// The next line, without its end; `None` at the end of the stream. What comes after the last end of a line is a line,
    /// too.
    ///
    /// # Errors
    /// [`io::ErrorKind::InvalidData`] for a line that is too long; those of the stream.
    pub(crate) fn next(&mut self) -> io::Result<Option<Vec<u8>>> {
        let mut looked_at = 0;
        loop {
            if let Some(end) = self.pending[looked_at..].iter().position(|&byte| byte == b'\n') {
                let mut line: Vec<u8> = self.pending.drain(..=looked_at + end).collect();
                line.pop();
                return if line.len() > self.max_bytes { Err(too_long()) } else { Ok(Some(line)) };
            }
            looked_at = self.pending.len();
            if looked_at > self.max_bytes {
                return Err(too_long());
            }
            let mut arrived = [0; 4096];
            match self.stream.read(&mut arrived) {
                Ok(0) if self.pending.is_empty() => return Ok(None),
                Ok(0) => return Ok(Some(std::mem::take(&mut self.pending))),
                Ok(len) => self.pending.extend_from_slice(&arrived[..len]),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }
}

fn too_long() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "a line is too long")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Gives its bytes out in pieces of a given size.
    struct Drip<'a>(&'a [u8], usize);

    impl Read for Drip<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let len = self.1.min(self.0.len()).min(buffer.len());
            let (now, later) = self.0.split_at(len);
            buffer[..len].copy_from_slice(now);
            self.0 = later;
            Ok(len)
        }
    }

    #[test]
    fn lines_come_out_whole_however_they_arrive() {
        for piece in [1, 2, 3, 100] {
            let mut lines = Lines::new(Drip(b"one\n\ntwo\nrest", piece), 5);
            for expected in [&b"one"[..], b"", b"two", b"rest"] {
                assert_eq!(lines.next().unwrap().as_deref(), Some(expected), "in pieces of {piece}");
            }
            assert_eq!(lines.next().unwrap(), None);
        }
    }

    #[test]
    fn a_line_that_is_too_long_is_refused_as_soon_as_it_is() {
        for piece in [1, 3, 100] {
            assert_eq!(Lines::new(Drip(b"12345\n", piece), 5).next().unwrap().unwrap().len(), 5);
            let error = Lines::new(Drip(b"123456\n", piece), 5).next().unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::InvalidData);
        }
        // One that never ends is not waited for.
        let error = Lines::new(io::repeat(b'x'), 4096).next().unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidData);
    }
}
