//! The raw format: the disk's bytes are the file's bytes.

use std::ops::ControlFlow;
use std::sync::Arc;

use block_device::{
    BlockDevice, ByteRange, Discard, DiscardEffect, Extent, Geometry, LogicalBlock, Result, ZeroEffect, ZeroMode,
};
use sparse_file::{Ability, Access, SparseFile};

pub(crate) const LOGICAL_BLOCK: LogicalBlock = LogicalBlock::B512;

/// A raw image. Offsets on the disk are offsets in the file.
#[derive(Clone, Debug)]
pub struct RawImage {
    file: Arc<SparseFile>,
    geometry: Geometry,
    /// From which length on what a read brings into the system's cache is not kept there.
    once_from: usize,
}

/// Shorter reads are of structures, which are looked at again.
const ONCE_FROM: usize = 64 << 10;

impl RawImage {
    /// The file as a disk.
    ///
    /// # Errors
    /// Those of asking the file system what it can do.
    pub fn new(file: Arc<SparseFile>) -> Result<Self> {
        let read_only = file.access() != Access::ReadWrite;
        let ignored = Discard { granularity_bytes: LOGICAL_BLOCK.bytes(), effect: DiscardEffect::Ignored };
        // Probing takes a scratch file on the host: only where something can come of it. Nothing is discarded through a
        // file opened for reading, but a plan made of it says what could be; where it cannot be tried, it is supposed.
        let support = if file.access() == Access::Inspect { None } else { Some(file.support()?) };
        let discard = match support {
            Some(support)
                if (support.punch == Ability::Yes || read_only && support.punch == Ability::Unknown)
                    && file.may_have_holes()? =>
            {
                Discard {
                    granularity_bytes: support.granularity_bytes.next_multiple_of(LOGICAL_BLOCK.bytes()),
                    effect: DiscardEffect::Zeroes,
                }
            }
            _ => ignored,
        };
        let geometry = Geometry {
            len_bytes: file.len_bytes(),
            logical_block: LOGICAL_BLOCK,
            physical_block: LogicalBlock::B4096,
            discard,
            read_only,
        };
        Ok(Self { file, geometry, once_from: usize::MAX })
    }

    /// The same, for whoever goes through all of it once: see [`SparseFile::read_once_at`].
    #[must_use]
    pub(crate) fn read_once(self) -> Self {
        Self { once_from: ONCE_FROM, ..self }
    }
}

impl BlockDevice for RawImage {
    fn geometry(&self) -> Geometry {
        self.geometry
    }

    fn read(&self, offset: u64, buffer: &mut [u8]) -> Result<()> {
        if buffer.len() < self.once_from {
            self.file.read_at(offset, buffer)
        } else {
            self.file.read_once_at(offset, buffer)
        }
    }

    fn write(&self, offset: u64, data: &[u8]) -> Result<()> {
        self.file.write_at(offset, data)
    }

    fn flush(&self) -> Result<()> {
        self.file.sync()
    }

    fn discard(&self, range: ByteRange) -> Result<()> {
        self.file.punch(range)
    }

    fn write_zeroes(&self, range: ByteRange, mode: ZeroMode) -> Result<ZeroEffect> {
        self.file.zero(range, mode)
    }

    fn extents(&self, range: ByteRange, visit: &mut dyn FnMut(Extent) -> ControlFlow<()>) -> Result<()> {
        for extent in self.file.extents(range) {
            if visit(extent?).is_break() {
                break;
            }
        }
        Ok(())
    }

    fn allocated_bytes(&self) -> Result<u64> {
        self.file.allocated_bytes()
    }

    fn will_read(&self, range: ByteRange) {
        self.file.will_read(range);
    }

    fn file_range(&self, range: ByteRange) -> Option<(&std::fs::File, u64)> {
        self.file.as_file().map(|file| (file, range.start()))
    }
}
