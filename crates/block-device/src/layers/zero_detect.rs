use core::ops::ControlFlow;

use disk_types::{ByteRange, Extent, Result, ZeroEffect, ZeroMode, is_zero};

use crate::{BlockDevice, Disk, Durability, Geometry};

/// Turns writes of zeroes into write-zeroes, so that a guest that writes zeroes allocates nothing.
///
/// A write is cut at the disk's discard granules. Runs of whole granules that are all zero are unmapped; the rest is
/// written as it came. A granule that the write only touches is never unmapped: this layer does not read.
#[derive(Debug)]
pub struct ZeroDetect {
    disk: Disk,
}

impl ZeroDetect {
    /// The same disk, with zeroes detected.
    #[must_use]
    pub fn new(disk: Disk) -> Self {
        Self { disk }
    }
}

impl BlockDevice for ZeroDetect {
    fn geometry(&self) -> Geometry {
        self.disk.geometry()
    }

    fn read(&self, offset: u64, buffer: &mut [u8]) -> Result<()> {
        self.disk.read(offset, buffer)
    }

    fn write(&self, offset: u64, data: &[u8], durability: Durability) -> Result<()> {
        let granularity = self.disk.geometry().discard.granularity_bytes;
        let whole = ByteRange::at(offset, data.len() as u64)?;
        let bytes_of = |range: ByteRange| {
            let index = |at: u64| usize::try_from(at - offset).expect("inside a slice");
            &data[index(range.start())..index(range.end())]
        };
        let emit = |run: ByteRange, zero: bool| {
            if zero {
                let mode = ZeroMode { may_unmap: true, fast_only: false };
                self.disk.write_zeroes(run.start(), run.len(), mode, durability).map(|_| ())
            } else {
                self.disk.write(run.start(), bytes_of(run), durability)
            }
        };
        let mut run: Option<(ByteRange, bool)> = None;
        for chunk in whole.chunks(granularity) {
            let zero = chunk.len() == granularity && is_zero(bytes_of(chunk));
            run = Some(match run {
                Some((before, kind)) if kind == zero => (ByteRange::new(before.start(), chunk.end())?, kind),
                Some((before, kind)) => {
                    emit(before, kind)?;
                    (chunk, zero)
                }
                None => (chunk, zero),
            });
        }
        run.map_or(Ok(()), |(last, zero)| emit(last, zero))
    }

    fn flush(&self) -> Result<()> {
        self.disk.flush()
    }

    fn discard(&self, range: ByteRange) -> Result<()> {
        self.disk.discard(range.start(), range.len())
    }

    fn write_zeroes(&self, range: ByteRange, mode: ZeroMode, durability: Durability) -> Result<ZeroEffect> {
        self.disk.write_zeroes(range.start(), range.len(), mode, durability)
    }

    fn extents(&self, range: ByteRange, visit: &mut dyn FnMut(Extent) -> ControlFlow<()>) -> Result<()> {
        self.disk.extents(range.start(), range.len(), visit)
    }

    fn allocated_bytes(&self) -> Result<u64> {
        self.disk.allocated_bytes()
    }
}
