use disk_types::{ByteRange, Result, ZeroMode, is_zero};

use crate::{Discard, DiscardEffect, Disk, Durability, Layer};

/// Turns writes of zeroes into write-zeroes, so that a guest that writes zeroes allocates nothing.
///
/// A write is cut at the disk's discard granules. Runs of whole granules that are all zero are unmapped; the rest is
/// written as it came. On a disk that ignores discards nothing could be gained, and writes pass through. A granule that the write only touches is never unmapped: this layer does not read.
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

impl Layer for ZeroDetect {
    fn below(&self) -> &Disk {
        &self.disk
    }

    fn write(&self, offset: u64, data: &[u8]) -> Result<()> {
        let Discard { granularity_bytes: granularity, effect } = self.disk.geometry().discard;
        if effect == DiscardEffect::Ignored {
            return self.disk.write(offset, data, Durability::Cached);
        }
        let whole = ByteRange::at(offset, data.len() as u64)?;
        let bytes_of = |range: ByteRange| {
            let index = |at: u64| usize::try_from(at - offset).expect("inside a slice");
            &data[index(range.start())..index(range.end())]
        };
        let emit = |run: ByteRange, zero: bool| {
            if zero {
                let mode = ZeroMode { may_unmap: true, fast_only: false };
                self.disk.write_zeroes(run.start(), run.len(), mode, Durability::Cached).map(|_| ())
            } else {
                self.disk.write(run.start(), bytes_of(run), Durability::Cached)
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

    #[cfg(feature = "std")]
    fn file_range(&self, range: ByteRange) -> Option<(&std::fs::File, u64)> {
        self.disk.file_range(range.start(), range.len())
    }
}
