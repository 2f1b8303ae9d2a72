//! The blocks of a volume, as they are after the journal has been replayed.

use std::collections::HashMap;
use std::sync::Arc;

use block_device::{Disk, Result};

use super::corrupt;
use super::geometry::Geometry;
use crate::disk_cursor::read_at;

/// What a replay would write: for each block, which block of the journal has its content.
#[derive(Debug, Default)]
pub(super) struct Overlay {
    pub(super) blocks: HashMap<u64, Logged>,
}

/// A copy of a block in the journal.
#[derive(Clone, Copy, Debug)]
pub(super) struct Logged {
    /// The block of the volume in which the copy lies.
    pub(super) at: u64,
    /// Whether its first four bytes, which were the journal's magic number, are zeroes in the copy.
    pub(super) escaped: bool,
}

/// Reads the blocks of a volume.
#[derive(Clone, Debug)]
pub(super) struct Blocks {
    disk: Disk,
    block_shift: u32,
    end: u64,
    overlay: Arc<Overlay>,
}

impl Blocks {
    /// As they are on the disk. The volume must lie in it.
    pub(super) fn on_disk(disk: &Disk, geometry: &Geometry) -> Self {
        Self { disk: disk.clone(), block_shift: geometry.block_shift, end: geometry.blocks, overlay: Arc::default() }
    }

    /// As they are after the replay.
    pub(super) fn replayed(&self, overlay: Overlay) -> Self {
        Self { overlay: Arc::new(overlay), ..self.clone() }
    }

    pub(super) fn len_bytes(&self) -> usize {
        1 << self.block_shift
    }

    /// Fills `buffer`, which is a block long.
    ///
    /// # Errors
    /// `Corrupt` for a block that the file system does not have; those of reading.
    pub(super) fn read(&self, block: u64, buffer: &mut [u8]) -> Result<()> {
        let Some(logged) = self.overlay.blocks.get(&block) else {
            return self.read_disk(block, buffer);
        };
        self.read_disk(logged.at, buffer)?;
        if logged.escaped {
            buffer[..4].copy_from_slice(&super::journal::MAGIC.to_be_bytes());
        }
        Ok(())
    }

    fn read_disk(&self, block: u64, buffer: &mut [u8]) -> Result<()> {
        if block >= self.end {
            return Err(corrupt(format!("block {block} is wanted, and it has {}", self.end)));
        }
        debug_assert_eq!(buffer.len(), self.len_bytes());
        read_at(&self.disk, block << self.block_shift, buffer)
    }
}
