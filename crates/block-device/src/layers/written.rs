use alloc::boxed::Box;
use alloc::sync::Arc;
use core::sync::atomic::Ordering::{AcqRel, Acquire};

use disk_types::{ByteRange, Result, ZeroEffect, ZeroMode};

use crate::sync::AtomicU64;
use crate::{Disk, Durability, Layer};

/// Remembers where the disk was written, discarded or zeroed since somebody last looked.
///
/// Above it are the clients; whoever looks uses the disk beneath, and takes the flags of the [`WrittenMap`].
#[derive(Debug)]
pub struct Written {
    disk: Disk,
    map: Arc<WrittenMap>,
}

impl Written {
    /// The same disk, with its changes remembered. At first all of it counts as changed.
    #[must_use]
    pub fn new(disk: Disk) -> Self {
        let map = WrittenMap::new(disk.len_bytes(), disk.geometry().discard.granularity_bytes);
        Self::with_map(disk, map)
    }

    /// The same disk, with its changes remembered in `map`.
    #[must_use]
    pub fn with_map(disk: Disk, map: WrittenMap) -> Self {
        Self { disk, map: Arc::new(map) }
    }

    /// Where the disk was changed.
    #[must_use]
    pub fn map(&self) -> Arc<WrittenMap> {
        Arc::clone(&self.map)
    }
}

/// One flag for each chunk of a disk: whether it was changed since its flag was last taken.
///
/// A flag is set when a change has been made, before whoever asked for it is told. So who takes a flag first and looks
/// at the chunk afterwards misses nothing: a change that the look did not see sets the flag again. A change that failed
/// sets it too. The flags live in memory only, and all of them begin as set.
#[derive(Debug)]
pub struct WrittenMap {
    len_bytes: u64,
    chunk_bytes: u64,
    words: Box<[AtomicU64]>,
}

impl WrittenMap {
    /// The size of a chunk, unless the disk is huge.
    pub const CHUNK_BYTES: u64 = 1 << 20;
    /// The most memory that a map takes, in bytes. Disks of more than 16 TiB have larger chunks.
    pub const MAX_BYTES: u64 = 2 << 20;

    /// A map of a disk of `len_bytes`, all set. Chunks are whole multiples of `granularity_bytes`, which is not zero.
    #[must_use]
    pub fn new(len_bytes: u64, granularity_bytes: u64) -> Self {
        let mut chunk_bytes = Self::CHUNK_BYTES;
        while len_bytes.div_ceil(chunk_bytes) > Self::MAX_BYTES * 8 {
            chunk_bytes *= 2;
        }
        Self::with_chunks_of(chunk_bytes.next_multiple_of(granularity_bytes), len_bytes)
    }

    /// A map in chunks of `chunk_bytes`.
    ///
    /// # Panics
    /// If `chunk_bytes` is zero, or there would be more chunks than memory.
    #[must_use]
    pub fn with_chunks_of(chunk_bytes: u64, len_bytes: u64) -> Self {
        let chunks = len_bytes.div_ceil(chunk_bytes);
        let words = (0..chunks.div_ceil(64)).map(|word| {
            let in_it = (chunks - word * 64).min(64);
            AtomicU64::new(u64::MAX >> (64 - in_it))
        });
        Self { len_bytes, chunk_bytes, words: words.collect() }
    }

    /// The length of the disk.
    #[must_use]
    pub fn len_bytes(&self) -> u64 {
        self.len_bytes
    }

    /// The length of each chunk but the last, which may be shorter.
    #[must_use]
    pub fn chunk_bytes(&self) -> u64 {
        self.chunk_bytes
    }

    /// How many chunks there are.
    #[must_use]
    pub fn chunks(&self) -> u64 {
        self.len_bytes.div_ceil(self.chunk_bytes)
    }

    /// The bytes of a chunk; `None` beyond the last.
    #[must_use]
    pub fn range_of(&self, chunk: u64) -> Option<ByteRange> {
        let start = chunk.checked_mul(self.chunk_bytes)?;
        ByteRange::new(start, self.len_bytes.min(start.checked_add(self.chunk_bytes)?)).ok()
    }

    /// Whether the chunk was changed since its flag was taken.
    #[must_use]
    pub fn is_set(&self, chunk: u64) -> bool {
        self.word(chunk).is_some_and(|(word, bit)| word.load(Acquire) & bit != 0)
    }

    /// Clears the flag of the chunk, and says whether it was set. Look at the chunk after that, not before.
    #[must_use]
    pub fn take(&self, chunk: u64) -> bool {
        self.word(chunk).is_some_and(|(word, bit)| word.fetch_and(!bit, AcqRel) & bit != 0)
    }

    /// The first chunk from `chunk` on that is set.
    #[must_use]
    pub fn next_set(&self, chunk: u64) -> Option<u64> {
        self.next(chunk, |word| word)
    }

    /// The first chunk from `chunk` on that is not set.
    #[must_use]
    pub fn next_clear(&self, chunk: u64) -> Option<u64> {
        self.next(chunk, |word| !word)
    }

    /// How many chunks are set.
    #[must_use]
    pub fn count_set(&self) -> u64 {
        self.words.iter().map(|word| u64::from(word.load(Acquire).count_ones())).sum()
    }

    /// Sets the flags of the chunks that `range` touches.
    pub fn mark(&self, range: ByteRange) {
        let Some(last) = self.chunks().checked_sub(1).map(|last| last.min((range.end() - 1) / self.chunk_bytes)) else {
            return;
        };
        let mut chunk = range.start() / self.chunk_bytes;
        while chunk <= last {
            // As many at once as one word holds.
            let in_word = (last - chunk).min(63 - chunk % 64) + 1;
            let bits = (u64::MAX >> (64 - in_word)) << (chunk % 64);
            if let Some((word, _)) = self.word(chunk) {
                // Always a store, set or not: it is what makes the change visible to whoever takes the flag.
                word.fetch_or(bits, AcqRel);
            }
            chunk += in_word;
        }
    }

    fn word(&self, chunk: u64) -> Option<(&AtomicU64, u64)> {
        if chunk >= self.chunks() {
            return None;
        }
        let word = self.words.get(usize::try_from(chunk / 64).ok()?)?;
        Some((word, 1 << (chunk % 64)))
    }

    fn next(&self, from: u64, look_for: impl Fn(u64) -> u64) -> Option<u64> {
        let mut chunk = from;
        while let Some((word, bit)) = self.word(chunk) {
            // Only this bit and those above it.
            let ahead = look_for(word.load(Acquire)) & !(bit - 1);
            if ahead != 0 {
                let found = chunk - chunk % 64 + u64::from(ahead.trailing_zeros());
                return (found < self.chunks()).then_some(found);
            }
            chunk = (chunk - chunk % 64).checked_add(64)?;
        }
        None
    }
}

impl Layer for Written {
    fn below(&self) -> &Disk {
        &self.disk
    }

    fn write(&self, offset: u64, data: &[u8]) -> Result<()> {
        let result = self.disk.write(offset, data, Durability::Cached);
        self.map.mark(ByteRange::at(offset, data.len() as u64)?);
        result
    }

    fn discard(&self, range: ByteRange) -> Result<()> {
        let result = self.disk.discard(range.start(), range.len());
        self.map.mark(range);
        result
    }

    fn write_zeroes(&self, range: ByteRange, mode: ZeroMode) -> Result<ZeroEffect> {
        let result = self.disk.write_zeroes(range.start(), range.len(), mode, Durability::Cached);
        self.map.mark(range);
        result
    }

    fn file_range(&self, range: ByteRange) -> Option<(&std::fs::File, u64)> {
        self.disk.file_range(range.start(), range.len())
    }
}
