//! The files that the contenders work on, made here, the same at every run.

use std::fs::File;
use std::io::{self, Read, Write};
use std::path::Path;

use super::fat;
use crate::sys;

pub(crate) const KIB: u64 = 1 << 10;
pub(crate) const MIB: u64 = 1 << 20;
pub(crate) const GIB: u64 = 1 << 30;
const BLOCK: u64 = 4 * KIB;

/// A file to work on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fixture {
    /// Full of data that is nowhere zero for long.
    Random { len_bytes: u64 },
    /// A large hole with `extents` pieces of data of 64 KiB to 1 MiB, about as far from each other.
    Islands { len_bytes: u64, extents: u64 },
    /// Written in full, 70 % of it zeroes in runs of 4 to 64 KiB.
    ZeroRuns { len_bytes: u64 },
    /// 4 KiB of data and 4 KiB of hole in turn.
    Comb { extents: u64 },
    /// A disk of 1 TiB with FAT32 and 100,000 files all over it, and deleted data between them.
    Fat { cluster_bytes: u64 },
}

impl Fixture {
    /// Makes it at `path`, anew, and flushes it. What was written is in the file cache afterwards.
    pub(crate) fn make(self, path: &Path) -> io::Result<()> {
        let file = File::create(path)?;
        match self {
            Self::Random { len_bytes } => random(&file, len_bytes)?,
            Self::Islands { len_bytes, extents } => islands(&file, len_bytes, extents)?,
            Self::ZeroRuns { len_bytes } => zero_runs(&file, len_bytes)?,
            Self::Comb { extents } => comb(&file, extents)?,
            Self::Fat { cluster_bytes } => fat::make(&file, 1 << 40, cluster_bytes, 100_000)?,
        }
        file.sync_all()
    }
}

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

fn random(mut file: &File, len_bytes: u64) -> io::Result<()> {
    let mut numbers = Numbers::from_seed(1);
    let mut buffer = vec![0; MIB as usize];
    for _ in 0..len_bytes / MIB {
        numbers.fill(&mut buffer);
        file.write_all(&buffer)?;
    }
    Ok(())
}

fn islands(file: &File, len_bytes: u64, extents: u64) -> io::Result<()> {
    file.set_len(len_bytes)?;
    let mut numbers = Numbers::from_seed(2);
    let mut buffer = vec![0; MIB as usize];
    let slot = len_bytes / extents / BLOCK * BLOCK;
    for extent in 0..extents {
        let len = numbers.between(64 * KIB / BLOCK, MIB / BLOCK) * BLOCK;
        // A hole of one block at least keeps neighbours apart.
        let at = numbers.between(0, (slot - len) / BLOCK - 1) * BLOCK;
        let data = &mut buffer[..len as usize];
        numbers.fill(data);
        sys::write_at(file, extent * slot + at, data)?;
    }
    Ok(())
}

fn zero_runs(mut file: &File, len_bytes: u64) -> io::Result<()> {
    let mut numbers = Numbers::from_seed(3);
    let mut buffer = vec![0; MIB as usize];
    let (mut left, mut zero) = (0, false);
    for _ in 0..len_bytes / MIB {
        for block in buffer.chunks_exact_mut(BLOCK as usize) {
            if left == 0 {
                // Runs of zeroes are 1 to 16 blocks long, runs of data 3/7 of that on the whole.
                zero = !zero;
                let blocks = numbers.between(1, 16);
                left = if zero { blocks } else { (blocks * 3 + numbers.between(0, 6)) / 7 };
            }
            if zero {
                block.fill(0);
            } else {
                numbers.fill(block);
            }
            left = left.saturating_sub(1);
        }
        file.write_all(&buffer)?;
    }
    Ok(())
}

fn comb(file: &File, extents: u64) -> io::Result<()> {
    file.set_len(extents * 2 * BLOCK)?;
    let mut numbers = Numbers::from_seed(4);
    let mut data = vec![0; BLOCK as usize];
    for extent in 0..extents {
        numbers.fill(&mut data);
        sys::write_at(file, extent * 2 * BLOCK, &data)?;
    }
    Ok(())
}

/// Reads a file, so that it is in the file cache.
pub(crate) fn warm(path: &Path) -> io::Result<()> {
    let mut file = File::open(path)?;
    let mut buffer = vec![0; MIB as usize];
    while file.read(&mut buffer)? > 0 {}
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Of 4 KiB blocks, those that are zero.
    fn zero_blocks(path: &Path) -> (usize, usize) {
        let bytes = std::fs::read(path).expect("it was just made");
        let blocks = bytes.chunks(BLOCK as usize);
        (blocks.clone().filter(|block| block.iter().all(|&byte| byte == 0)).count(), blocks.len())
    }

    #[test]
    fn seven_tenths_of_the_zero_runs_are_zero_and_half_of_the_comb_is() {
        if !sys::MEASURES {
            return println!("skipped: files to measure with are made on Linux only");
        }
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("file");
        Fixture::ZeroRuns { len_bytes: 32 * MIB }.make(&path).expect("space for it");
        let (zero, all) = zero_blocks(&path);
        assert!((65..75).contains(&(zero * 100 / all)), "{zero} of {all}");
        Fixture::Comb { extents: 100 }.make(&path).expect("space for it");
        assert_eq!(zero_blocks(&path), (100, 200));
    }

    #[test]
    fn islands_lie_apart() {
        if !sys::MEASURES {
            return println!("skipped: files to measure with are made on Linux only");
        }
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("file");
        Fixture::Islands { len_bytes: 64 * MIB, extents: 16 }.make(&path).expect("space for it");
        let bytes = std::fs::read(&path).expect("it was just made");
        let blocks: Vec<bool> = bytes.chunks(BLOCK as usize).map(|block| block.iter().any(|&byte| byte != 0)).collect();
        let begun = blocks.windows(2).filter(|pair| !pair[0] && pair[1]).count() + usize::from(blocks[0]);
        assert_eq!(begun, 16);
    }
}
