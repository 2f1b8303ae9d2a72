//! The files that the contenders work on, made here, the same at every run.

use std::fs::File;
use std::io::{self, Read, Write};
use std::path::Path;

const MIB: u64 = 1 << 20;

/// Numbers without a pattern: xorshift64 (Marsaglia 2003), fast, and the same at every run.
pub(crate) struct Numbers(u64);

impl Numbers {
    pub(crate) fn from_seed(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    /// From `from` to `to`, both included.
    pub(crate) fn between(&mut self, from: u64, to: u64) -> u64 {
        from + self.next() % (to - from + 1)
    }

    pub(crate) fn fill(&mut self, bytes: &mut [u8]) {
        for word in bytes.chunks_mut(8) {
            word.copy_from_slice(&self.next().to_le_bytes()[..word.len()]);
        }
    }
}

/// A file full of data that is nowhere zero for long.
pub(crate) fn random(path: &Path, len_bytes: u64) -> io::Result<()> {
    let mut numbers = Numbers::from_seed(1);
    let mut file = File::create(path)?;
    let mut buffer = vec![0; MIB as usize];
    for _ in 0..len_bytes / MIB {
        numbers.fill(&mut buffer);
        file.write_all(&buffer)?;
    }
    file.sync_all()
}

/// Reads a file, so that it is in the file cache.
pub(crate) fn warm(path: &Path) -> io::Result<()> {
    let mut file = File::open(path)?;
    let mut buffer = vec![0; MIB as usize];
    while file.read(&mut buffer)? > 0 {}
    Ok(())
}
