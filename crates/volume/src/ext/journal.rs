//! The journal (JBD2): whether it is empty, and what a replay of it would write.
//!
//! Nothing is written: the replay becomes an [`Overlay`]. Only what is surely understood is replayed. The journal is an
//! inode of the file system, of version 2, with checksums of version 3 (crc32c), without fast commits and without an
//! error noted; every block of it that belongs to a transaction has the right checksum. Anything else refuses. Two things
//! end the log, as they do for the kernel: a block without the magic number, and one of another transaction than comes
//! next. What no commit block follows does not count; but if something later follows the end, a block was lost, and that
//! refuses, too.
//!
//! A block is replayed from the last transaction that holds it, unless the same or a later one revoked it.
//!
//! All numbers are big-endian.

use std::collections::HashMap;

use block_device::{Error, Result};

use super::blocks::{Blocks, Logged, Overlay};
use super::checksum::crc32c;
use super::geometry::Geometry;
use super::inode::FileMap;
use super::{corrupt, dirty};

/// The first four bytes of every block that belongs to the journal itself.
pub(super) const MAGIC: u32 = 0xC03B_3998;

const DESCRIPTOR: u32 = 1;
const COMMIT: u32 = 2;
const SUPERBLOCK_V1: u32 = 3;
const SUPERBLOCK_V2: u32 = 4;
const REVOKE: u32 = 5;

const INCOMPAT_REVOKE: u32 = 1;
const INCOMPAT_64BIT: u32 = 2;
const INCOMPAT_CSUM_V3: u32 = 0x10;
const INCOMPAT_FAST_COMMIT: u32 = 0x20;
const CRC32C: u8 = 4;

const TAG_ESCAPED: u32 = 1;
const TAG_SAME_UUID: u32 = 2;
const TAG_LAST: u32 = 8;

const HEADER_BYTES: usize = 12;
const TAG_BYTES: usize = 16;
const TAIL_BYTES: usize = 4;

/// The most blocks of a journal that is replayed: 2 GiB in blocks of 4 KiB. mke2fs makes half of that at most, unless it
/// is asked for more. Memory goes with it, at worst some 120 bytes a block.
const MAX_BLOCKS: u32 = 1 << 19;

fn be32(bytes: &[u8], at: usize) -> u32 {
    u32::from_be_bytes(bytes[at..at + 4].try_into().expect("4 bytes"))
}

/// What the journal's superblock says.
struct JournalSuperblock {
    /// Blocks of the journal, this one included.
    blocks: u32,
    /// The first block of the log.
    first: u32,
    /// The transaction that the log begins with.
    sequence: u32,
    /// Where the log begins; 0 if it is empty.
    start: u32,
    features: [u32; 3],
    checksum_type: u8,
    fast_commit_blocks: u32,
    /// Where the checksums of the log begin.
    seed: u32,
}

impl JournalSuperblock {
    fn read(file: &FileMap, blocks: &Blocks) -> Result<Self> {
        let mut bytes = vec![0; blocks.len_bytes()];
        blocks.read(block_of(file, 0)?, &mut bytes)?;
        let version = be32(&bytes, 4);
        if be32(&bytes, 0) != MAGIC || !matches!(version, SUPERBLOCK_V1 | SUPERBLOCK_V2) {
            return Err(corrupt("its journal has no superblock"));
        }
        if be32(&bytes, 0xC) as usize != blocks.len_bytes() {
            return Err(corrupt("the blocks of its journal are of another size than its own"));
        }
        let has_features = version == SUPERBLOCK_V2;
        let feature = |at| if has_features { be32(&bytes, at) } else { 0 };
        let this = Self {
            blocks: be32(&bytes, 0x10),
            first: be32(&bytes, 0x14),
            sequence: be32(&bytes, 0x18),
            start: be32(&bytes, 0x1C),
            features: [feature(0x24), feature(0x28), feature(0x2C)],
            checksum_type: bytes[0x50],
            fast_commit_blocks: be32(&bytes, 0x54),
            seed: crc32c(!0, &bytes[0x30..0x40]),
        };
        let said = be32(&bytes, 0xFC);
        bytes[0xFC..0x100].fill(0);
        if this.features[1] & INCOMPAT_CSUM_V3 != 0 && crc32c(!0, &bytes[..1024]) != said {
            return Err(corrupt("the checksum of its journal's superblock is wrong"));
        }
        if be32(&bytes, 0x20) != 0 {
            return Err(dirty("its journal says that an error was met"));
        }
        if u64::from(this.blocks) > file.len_blocks() || this.first == 0 || this.first >= this.blocks {
            return Err(corrupt("its journal's superblock contradicts itself"));
        }
        if this.start != 0 && !(this.first..this.blocks).contains(&this.start) {
            return Err(corrupt(format!("its journal would begin at its block {}", this.start)));
        }
        Ok(this)
    }

    /// Whether a replay is fully understood.
    fn check(&self) -> Result<()> {
        let [compat, incompat, ro_compat] = self.features;
        if incompat & INCOMPAT_FAST_COMMIT != 0 || self.fast_commit_blocks != 0 {
            return Err(not_replayed("it has fast commits"));
        }
        if incompat & INCOMPAT_CSUM_V3 == 0 || self.checksum_type != CRC32C {
            return Err(not_replayed("it has no checksums of version 3"));
        }
        let others = incompat & !(INCOMPAT_REVOKE | INCOMPAT_64BIT | INCOMPAT_CSUM_V3);
        if compat != 0 || others != 0 || ro_compat != 0 {
            let sets =
                format!("compatible {compat:#x}, incompatible {incompat:#x}, read-only compatible {ro_compat:#x}");
            return Err(not_replayed(&format!("its features are not all known: {sets}")));
        }
        if self.blocks > MAX_BLOCKS {
            return Err(not_replayed(&format!("it has {} blocks", self.blocks)));
        }
        Ok(())
    }
}

fn not_replayed(why: &str) -> Error {
    dirty(format!("it was not unmounted cleanly, and its journal is not replayed here: {why}"))
}

fn block_of(file: &FileMap, number: u32) -> Result<u64> {
    file.block(u64::from(number)).ok_or_else(|| corrupt(format!("its journal has no block {number}")))
}

/// Checks the journal of a file system that needs no recovery.
///
/// # Errors
/// `Corrupt` where it holds something, or is none; `Refused` where it notes an error.
pub(super) fn check_empty(file: &FileMap, blocks: &Blocks) -> Result<()> {
    let superblock = JournalSuperblock::read(file, blocks)?;
    if superblock.start != 0 {
        return Err(corrupt("it says that it needs no recovery, and its journal is not empty"));
    }
    Ok(())
}

/// What a replay of the journal would write. `blocks` are those on the disk.
///
/// # Errors
/// `Refused` where the journal is not one that is replayed; `Corrupt` where it contradicts itself.
pub(super) fn replay(file: &FileMap, blocks: &Blocks, geometry: &Geometry) -> Result<Overlay> {
    let superblock = JournalSuperblock::read(file, blocks)?;
    superblock.check()?;
    if superblock.start == 0 {
        return Ok(Overlay::default());
    }
    let mut log = Log {
        file,
        blocks,
        volume_blocks: geometry.blocks,
        at: superblock.start,
        left: superblock.blocks - superblock.first,
        superblock,
        written: HashMap::new(),
        revoked: HashMap::new(),
    };
    let mut transaction = 0;
    let (mut end, mut left) = (log.at, log.left);
    while log.read_transaction(transaction)? {
        transaction += 1;
        (end, left) = (log.at, log.left);
    }
    (log.at, log.left) = (end, left);
    log.check_rest(transaction)?;
    let Log { mut written, revoked, .. } = log;
    written.retain(|block, (by, _)| revoked.get(block).is_none_or(|revoked| *revoked < *by));
    let mut own = file.data.clone();
    own.sort_unstable();
    for &block in written.keys() {
        let next = own.partition_point(|run| run.1 <= block);
        if own.get(next).is_some_and(|run| run.0 <= block) {
            return Err(corrupt("its journal would write over itself"));
        }
    }
    Ok(Overlay { blocks: written.into_iter().map(|(block, (_, logged))| (block, logged)).collect() })
}

/// A block that a transaction holds a copy of.
struct Tag {
    block: u64,
    logged: Logged,
    checksum: u32,
}

/// The log, as far as it has been read.
struct Log<'a> {
    file: &'a FileMap,
    blocks: &'a Blocks,
    volume_blocks: u64,
    superblock: JournalSuperblock,
    /// The block of the journal that comes next.
    at: u32,
    /// How many blocks can come before the log would meet its own start.
    left: u32,
    /// For each block the last transaction that holds it, counted from the first in the log, and its copy there.
    written: HashMap<u64, (u32, Logged)>,
    /// For each block the last transaction that revoked it.
    revoked: HashMap<u64, u32>,
}

impl Log<'_> {
    /// Reads the `number`th transaction. False where the log ends, with or without the beginning of one.
    fn read_transaction(&mut self, number: u32) -> Result<bool> {
        let sequence = self.superblock.sequence.wrapping_add(number);
        let (mut tags, mut revoked) = (Vec::new(), Vec::new());
        let mut bytes = vec![0; self.blocks.len_bytes()];
        loop {
            if self.left == 0 {
                return Err(corrupt("its journal has no end"));
            }
            self.blocks.read(block_of(self.file, self.at)?, &mut bytes)?;
            if be32(&bytes, 0) != MAGIC || be32(&bytes, 8) != sequence {
                return Ok(false);
            }
            self.step()?;
            match be32(&bytes, 4) {
                DESCRIPTOR => {
                    self.check_tail(&mut bytes)?;
                    self.read_tags(&bytes, &mut tags)?;
                }
                REVOKE => {
                    self.check_tail(&mut bytes)?;
                    self.read_revoked(&bytes, &mut revoked)?;
                }
                COMMIT => {
                    self.check_checksum(&mut bytes, 0x10)?;
                    self.check_data(&tags, sequence)?;
                    self.written.extend(tags.iter().map(|tag| (tag.block, (number, tag.logged))));
                    self.revoked.extend(revoked.iter().map(|&block| (block, number)));
                    return Ok(true);
                }
                other => return Err(corrupt(format!("its journal has a block of type {other}"))),
            }
        }
    }

    /// Checks that nothing behind the end of the log is of a later transaction than the first that is not finished, and
    /// that this one is not finished. A block that is lost in the midst of the log ends it, and what follows would be lost
    /// as quietly; the kernel, which writes one transaction after the other, leaves no such log.
    fn check_rest(&mut self, number: u32) -> Result<()> {
        let sequence = self.superblock.sequence.wrapping_add(number);
        let mut bytes = vec![0; self.blocks.len_bytes()];
        while self.left > 0 {
            self.blocks.read(block_of(self.file, self.at)?, &mut bytes)?;
            let (kind, later) = (be32(&bytes, 4), be32(&bytes, 8).wrapping_sub(sequence));
            let is_later = later == 0 && kind == COMMIT || (1..1 << 31).contains(&later);
            let sum_at = if kind == COMMIT { 0x10 } else { bytes.len() - TAIL_BYTES };
            // Without the right checksum it may be left over from another file system.
            if be32(&bytes, 0) == MAGIC && is_later && self.check_checksum(&mut bytes, sum_at).is_ok() {
                return Err(corrupt("its journal goes on behind its end"));
            }
            self.step()?;
        }
        Ok(())
    }

    /// Goes on to the next block of the log.
    fn step(&mut self) -> Result<()> {
        self.left = self.left.checked_sub(1).ok_or_else(|| corrupt("its journal has no end"))?;
        self.at += 1;
        if self.at == self.superblock.blocks {
            self.at = self.superblock.first;
        }
        Ok(())
    }

    fn check_tail(&self, bytes: &mut [u8]) -> Result<()> {
        self.check_checksum(bytes, bytes.len() - TAIL_BYTES)
    }

    /// Checks the checksum at `at`, which is left as zeroes.
    fn check_checksum(&self, bytes: &mut [u8], at: usize) -> Result<()> {
        let said = be32(bytes, at);
        bytes[at..at + 4].fill(0);
        if crc32c(self.superblock.seed, bytes) != said {
            return Err(corrupt("the checksum of a block of its journal is wrong"));
        }
        Ok(())
    }

    /// The tags of a descriptor. The blocks that they speak of follow it in the log.
    fn read_tags(&mut self, bytes: &[u8], tags: &mut Vec<Tag>) -> Result<()> {
        let end = bytes.len() - TAIL_BYTES;
        let mut at = HEADER_BYTES;
        loop {
            if at + TAG_BYTES > end {
                return Err(corrupt("a descriptor of its journal has no end"));
            }
            let flags = be32(bytes, at + 4);
            if flags & !(TAG_ESCAPED | TAG_SAME_UUID | TAG_LAST) != 0 {
                return Err(corrupt(format!("a block in its journal has the flags {flags:#x}")));
            }
            let block = u64::from(be32(bytes, at + 8)) << 32 | u64::from(be32(bytes, at));
            self.check_target(block)?;
            let logged = Logged { at: block_of(self.file, self.at)?, escaped: flags & TAG_ESCAPED != 0 };
            tags.push(Tag { block, logged, checksum: be32(bytes, at + 12) });
            self.step()?;
            if flags & TAG_LAST != 0 {
                return Ok(());
            }
            at += TAG_BYTES + if flags & TAG_SAME_UUID != 0 { 0 } else { 16 };
        }
    }

    fn read_revoked(&self, bytes: &[u8], revoked: &mut Vec<u64>) -> Result<()> {
        // The kernel notes the feature in its superblock only after the first block was revoked, and replays without it.
        let record = if self.superblock.features[1] & INCOMPAT_64BIT != 0 { 8 } else { 4 };
        let used = be32(bytes, HEADER_BYTES) as usize;
        if used < HEADER_BYTES + 4
            || used > bytes.len() - TAIL_BYTES
            || !(used - HEADER_BYTES - 4).is_multiple_of(record)
        {
            return Err(corrupt(format!("a block of its journal revokes {used} bytes of blocks")));
        }
        for entry in bytes[HEADER_BYTES + 4..used].chunks_exact(record) {
            let block = entry.iter().fold(0, |block, &byte| block << 8 | u64::from(byte));
            self.check_target(block)?;
            revoked.push(block);
            // A block has room for that many in every block of the log.
            if self.revoked.len() + revoked.len() > MAX_BLOCKS as usize {
                return Err(not_replayed("it revokes too many blocks"));
            }
        }
        Ok(())
    }

    fn check_target(&self, block: u64) -> Result<()> {
        if block >= self.volume_blocks {
            return Err(corrupt(format!("its journal would write block {block}, and it has {}", self.volume_blocks)));
        }
        Ok(())
    }

    /// The checksums of the copies, which are over the bytes in the log, escaped or not.
    fn check_data(&self, tags: &[Tag], sequence: u32) -> Result<()> {
        let seed = crc32c(self.superblock.seed, &sequence.to_be_bytes());
        let mut bytes = vec![0; self.blocks.len_bytes()];
        for tag in tags {
            self.blocks.read(tag.logged.at, &mut bytes)?;
            if crc32c(seed, &bytes) != tag.checksum {
                return Err(corrupt(format!("the copy of block {} in its journal has a wrong checksum", tag.block)));
            }
        }
        Ok(())
    }
}
