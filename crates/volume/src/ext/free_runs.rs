//! The free runs of a volume, and everything that is checked before the first of them is given.

use block_device::{ByteRange, Disk, Error, ErrorKind, Result};

use super::bitmap;
use super::blocks::Blocks;
use super::checksum::crc32c;
use super::descriptor::{Descriptor, Descriptors};
use super::features::RO_COMPAT_METADATA_CSUM;
use super::fixed::Fixed;
use super::geometry::Geometry;
use super::superblock::{self, Superblock};
use super::{corrupt, dirty, inode, journal, mmp};
use crate::disk_cursor::read_at;

/// The free runs of an ext volume: ranges of it, ascending, joined, whole blocks. After an error it is at its end.
#[derive(Debug)]
pub(crate) struct FreeRuns {
    maps: Maps,
    /// The group whose bitmap is at hand, and the cluster of it that comes next; the first group that is not yet read
    /// if that is past its last cluster.
    group: u32,
    next: usize,
    clusters: usize,
    /// Free blocks that may go on in the next group.
    open: Option<(u64, u64)>,
    finished: bool,
}

impl FreeRuns {
    /// Opens the volume that begins at the first byte of `disk`, and checks all of it that says what is free.
    ///
    /// # Errors
    /// [`ErrorKind::Refused`] where it was not unmounted cleanly, is mounted elsewhere, or has a feature that is not
    /// known; [`ErrorKind::Unsupported`] for features and journals that are not read; [`ErrorKind::Corrupt`] with what
    /// contradicts what. Those of reading.
    pub(crate) fn open(disk: &Disk) -> Result<Self> {
        let mut bytes = [0; superblock::BYTES];
        read_at(disk, superblock::START, &mut bytes)?;
        let superblock = Superblock::from_bytes(&bytes)?;
        let geometry = &superblock.geometry;
        // Checked not to overflow.
        let len_bytes = geometry.blocks << geometry.block_shift;
        if len_bytes > disk.len_bytes() {
            return Err(corrupt(format!(
                "it is {len_bytes} bytes long, and the disk or partition it lies in {}",
                disk.len_bytes()
            )));
        }
        let blocks = Blocks::on_disk(disk, geometry);
        superblock::check_copy(&bytes, geometry, &blocks)?;
        let mut maps = Maps::open(blocks, superblock)?;
        maps.check()?;
        Ok(Self { maps, group: 0, next: 0, clusters: 0, open: None, finished: false })
    }

    fn next_run(&mut self) -> Result<Option<(u64, u64)>> {
        loop {
            if self.next >= self.clusters {
                if self.group >= self.maps.geometry().groups() {
                    return Ok(self.open.take());
                }
                self.maps.load(self.group)?;
                (self.group, self.next) = (self.group + 1, 0);
                self.clusters = self.maps.geometry().clusters_in_group(self.group - 1);
            }
            let start = bitmap::find(&self.maps.bits, self.next, self.clusters, false);
            let end = bitmap::find(&self.maps.bits, start, self.clusters, true);
            self.next = end;
            if start == end {
                continue;
            }
            let geometry = self.maps.geometry();
            let block = |cluster| geometry.group_blocks(self.group - 1).0 + (cluster << geometry.cluster_blocks_shift);
            let run = (block(start as u64), block(end as u64));
            match &mut self.open {
                Some(open) if open.1 == run.0 => open.1 = run.1,
                open => {
                    if let Some(before) = open.replace(run) {
                        return Ok(Some(before));
                    }
                }
            }
        }
    }
}

impl Iterator for FreeRuns {
    type Item = Result<ByteRange>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.finished {
            return None;
        }
        let run = self.next_run();
        self.finished = !matches!(run, Ok(Some(_)));
        let shift = self.maps.geometry().block_shift;
        run.transpose().map(|run| run.and_then(|(start, end)| ByteRange::new(start << shift, end << shift)))
    }
}

/// The block bitmaps, and what is needed to believe them.
#[derive(Debug)]
struct Maps {
    superblock: Superblock,
    blocks: Blocks,
    fixed: Fixed,
    descriptors: Descriptors,
    /// Where a journal is replayed: what is on the disk still.
    stale: Option<Stale>,
    /// The bitmap at hand, a block long: a set bit is in use, or was before the replay.
    bits: Vec<u8>,
    /// A block for a second bitmap.
    other: Vec<u8>,
}

/// The blocks and descriptors before a replay.
#[derive(Debug)]
struct Stale {
    blocks: Blocks,
    descriptors: Descriptors,
}

impl Maps {
    fn open(blocks: Blocks, superblock: Superblock) -> Result<Self> {
        let geometry = &superblock.geometry;
        let mut others = Vec::new();
        let (mut superblock_now, mut blocks_now, mut stale) = (superblock.clone(), blocks.clone(), None);
        if let Some(number) = geometry.journal_inode {
            let file = inode::map(number, &blocks, geometry)?;
            if superblock.needs_recovery {
                blocks_now = blocks.replayed(journal::replay(&file, &blocks, geometry)?);
                superblock_now = replayed_superblock(&blocks_now, geometry)?;
                stale = Some(Stale { blocks: blocks.clone(), descriptors: Descriptors::new(&blocks) });
            } else {
                journal::check_empty(&file, &blocks)?;
            }
            others.extend(file.data);
            others.extend(file.index);
        }
        if let Some(block) = geometry.mmp_block {
            if block <= geometry.superblock_block() || block >= geometry.blocks {
                return Err(corrupt(format!("its multiple mount protection would be at block {block}")));
            }
            mmp::check(block, &blocks, geometry)?;
            others.push((block, block + 1));
        }
        let fixed = Fixed::collect(&blocks_now, geometry, &others)?;
        let block = vec![0; blocks.len_bytes()];
        Ok(Self {
            descriptors: Descriptors::new(&blocks_now),
            stale,
            superblock: superblock_now,
            blocks: blocks_now,
            fixed,
            bits: block.clone(),
            other: block,
        })
    }

    fn geometry(&self) -> &Geometry {
        &self.superblock.geometry
    }

    /// Reads every bitmap once.
    fn check(&mut self) -> Result<()> {
        let mut free = 0;
        for group in 0..self.geometry().groups() {
            free += self.load(group)? << self.geometry().cluster_blocks_shift;
        }
        // While it is mounted, the superblock lags behind.
        if self.stale.is_none() && free != self.superblock.free_blocks {
            let said = self.superblock.free_blocks;
            return Err(corrupt(format!("its superblock says {said} blocks are free, and its groups {free}")));
        }
        Ok(())
    }

    /// Puts the bitmap of a group at hand. Gives how many clusters it calls free.
    fn load(&mut self, group: u32) -> Result<u64> {
        let geometry = &self.superblock.geometry;
        let descriptor = self.descriptors.get(group, &self.blocks, geometry)?;
        let clusters = geometry.clusters_in_group(group);
        if descriptor.block_uninit {
            self.bits.fill(0);
        } else {
            self.blocks.read(descriptor.block_bitmap, &mut self.bits)?;
            check_bitmap(&self.bits, group, &descriptor, geometry)?;
        }
        let (first, end) = geometry.group_blocks(group);
        for run in self.fixed.touching(first, end) {
            let cluster = |block: u64| usize::try_from(block >> geometry.cluster_blocks_shift).expect("within a group");
            let from = cluster(run.0.max(first) - first);
            let to = cluster(run.1.min(end) - first + (1 << geometry.cluster_blocks_shift) - 1);
            if !descriptor.block_uninit && bitmap::find(&self.bits, from, to, false) < to {
                return Err(corrupt(format!(
                    "the bitmap of group {group} calls blocks free in which the file system itself lies"
                )));
            }
            bitmap::set(&mut self.bits, from, to);
        }
        let free = bitmap::count_clear(&self.bits, clusters);
        if free as u64 != u64::from(descriptor.free_clusters) {
            return Err(corrupt(format!(
                "the descriptor of group {group} says {} clusters are free, and its bitmap {free}",
                descriptor.free_clusters
            )));
        }
        self.add_stale(group, descriptor)?;
        Ok(free as u64)
    }

    /// Adds what was in use before the replay, if there is one.
    fn add_stale(&mut self, group: u32, replayed: Descriptor) -> Result<()> {
        let Some(Stale { blocks, descriptors }) = &mut self.stale else { return Ok(()) };
        // The bitmap of a group that never had one is whatever lay there before. The descriptor on the disk may have been
        // on its way when the power went; then the bitmap is read, and at worst less is free.
        match descriptors.get(group, blocks, &self.superblock.geometry) {
            Ok(stale) if stale.block_uninit => return Ok(()),
            Err(error) if error.kind() != ErrorKind::Corrupt => return Err(error),
            _ => {}
        }
        blocks.read(replayed.block_bitmap, &mut self.other)?;
        for (bits, stale) in self.bits.iter_mut().zip(&self.other) {
            *bits |= stale;
        }
        Ok(())
    }
}

fn check_bitmap(bits: &[u8], group: u32, descriptor: &Descriptor, geometry: &Geometry) -> Result<()> {
    if !geometry.features.has_ro_compat(RO_COMPAT_METADATA_CSUM) {
        return Ok(());
    }
    let bytes = usize::try_from(geometry.clusters_per_group / 8).expect("at most a block");
    let mask = if geometry.desc_bytes > 32 { !0 } else { 0xFFFF };
    if crc32c(geometry.checksum_seed, &bits[..bytes]) & mask != descriptor.bitmap_checksum {
        return Err(corrupt(format!("the checksum of the block bitmap of group {group} is wrong")));
    }
    Ok(())
}

/// The superblock that the journal has, or the one on the disk. It must be of the same file system, in the same state.
fn replayed_superblock(blocks: &Blocks, before: &Geometry) -> Result<Superblock> {
    let mut block = vec![0; blocks.len_bytes()];
    blocks.read(before.superblock_block(), &mut block)?;
    let start = usize::try_from(superblock::START % before.block_bytes()).expect("within a block");
    let bytes = block[start..start + superblock::BYTES].try_into().expect("within a block");
    let superblock = Superblock::from_bytes(bytes).map_err(|error: Error| {
        dirty("its journal would write a superblock that is not to be believed").caused_by(error)
    })?;
    let mut now = superblock.geometry.clone();
    // A copy made before the mount was noted does not need recovery yet.
    now.features.incompat |= super::features::INCOMPAT_RECOVER;
    if now != *before {
        return Err(dirty("its journal would change its size or its features"));
    }
    Ok(superblock)
}
