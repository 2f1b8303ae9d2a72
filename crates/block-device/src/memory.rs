//! A disk in memory: the twin of tests, and a scratch disk.

use alloc::collections::BTreeMap;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::ops::ControlFlow;
use std::sync::PoisonError;

use disk_types::{ByteRange, Error, ErrorKind, Extent, ExtentKind, LogicalBlock, Result, ZeroEffect, ZeroMode};

use crate::sync::{RwLock, RwLockReadGuard, RwLockWriteGuard};
use crate::{BlockDevice, Discard, DiscardEffect, Disk, Geometry};

const PAGE_BYTES: u64 = 4096;

/// Copies of a disk share the pages that neither has changed.
type Pages = BTreeMap<u64, Arc<Vec<u8>>>;

/// A disk that lives in memory and occupies only the pages written to.
///
/// A flush does nothing: nothing here survives the process. A clone is another disk with the same content, and costs little
/// until one of the two is changed.
#[derive(Debug)]
pub struct MemoryDisk {
    len_bytes: u64,
    capacity_bytes: u64,
    pages: RwLock<Pages>,
}

impl MemoryDisk {
    /// An empty disk of `len_bytes`, a multiple of 512.
    #[must_use]
    pub fn new(len_bytes: u64) -> Self {
        Self::with_capacity(len_bytes, u64::MAX)
    }

    /// The same, on a host that is full once `capacity_bytes` are allocated (law 9).
    #[must_use]
    pub fn with_capacity(len_bytes: u64, capacity_bytes: u64) -> Self {
        Self { len_bytes, capacity_bytes, pages: RwLock::default() }
    }

    /// A copy of what `disk` holds now, allocated where it is, in pages.
    ///
    /// # Errors
    /// Those of mapping and reading it.
    pub fn copy_of(disk: &Disk) -> Result<Self> {
        let copy = Self::new(disk.len_bytes());
        let block = disk.geometry().logical_block.bytes();
        let mut result = Ok(());
        disk.extents(0, disk.len_bytes(), &mut |extent| {
            let blocks = extent.range.align_outward(block, disk.len_bytes());
            result = blocks.chunks(1 << 20).take_while(|_| extent.kind.is_allocated()).try_for_each(|part| {
                let mut bytes = alloc::vec![0; usize::try_from(part.len()).expect("at most 1 MiB")];
                disk.read(part.start(), &mut bytes)?;
                copy.write(part.start(), &bytes)
            });
            if result.is_ok() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        })?;
        result.map(|()| copy)
    }

    fn pages(&self) -> RwLockReadGuard<'_, Pages> {
        self.pages.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn pages_mut(&self) -> RwLockWriteGuard<'_, Pages> {
        self.pages.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Clone for MemoryDisk {
    fn clone(&self) -> Self {
        let pages = RwLock::new(self.pages().clone());
        Self { len_bytes: self.len_bytes, capacity_bytes: self.capacity_bytes, pages }
    }
}

impl MemoryDisk {
    /// The bytes of a page; the last one ends with the disk.
    fn page(&self, number: u64) -> Result<ByteRange> {
        let start = number * PAGE_BYTES;
        ByteRange::new(start, self.len_bytes.min(start + PAGE_BYTES))
    }
}

/// A chunk inside one page: the page's number, and where in it.
fn within(chunk: ByteRange) -> (u64, core::ops::Range<usize>) {
    let page = chunk.start() / PAGE_BYTES;
    let start = usize::try_from(chunk.start() % PAGE_BYTES).expect("less than a page");
    (page, start..start + len(chunk))
}

fn len(chunk: ByteRange) -> usize {
    usize::try_from(chunk.len()).expect("at most a page")
}

impl BlockDevice for MemoryDisk {
    fn geometry(&self) -> Geometry {
        Geometry {
            len_bytes: self.len_bytes,
            logical_block: LogicalBlock::B512,
            physical_block: LogicalBlock::B4096,
            discard: Discard { granularity_bytes: PAGE_BYTES, effect: DiscardEffect::Zeroes },
            read_only: false,
        }
    }

    fn read(&self, offset: u64, buffer: &mut [u8]) -> Result<()> {
        let pages = self.pages();
        let mut rest = buffer;
        for chunk in ByteRange::at(offset, rest.len() as u64)?.chunks(PAGE_BYTES) {
            let (part, after) = rest.split_at_mut(len(chunk));
            let (number, span) = within(chunk);
            match pages.get(&number) {
                Some(page) => part.copy_from_slice(&page[span]),
                None => part.fill(0),
            }
            rest = after;
        }
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> Result<()> {
        let mut pages = self.pages_mut();
        let mut rest = data;
        for chunk in ByteRange::at(offset, data.len() as u64)?.chunks(PAGE_BYTES) {
            let (part, after) = rest.split_at(len(chunk));
            let (number, span) = within(chunk);
            if !pages.contains_key(&number) && (pages.len() as u64 + 1) * PAGE_BYTES > self.capacity_bytes {
                return Err(Error::new(ErrorKind::NoSpace, "write").at_offset(chunk.start()));
            }
            let page = pages.entry(number).or_insert_with(|| Arc::new(alloc::vec![0; PAGE_BYTES as usize]));
            Arc::make_mut(page)[span].copy_from_slice(part);
            rest = after;
        }
        Ok(())
    }

    fn flush(&self) -> Result<()> {
        Ok(())
    }

    fn discard(&self, range: ByteRange) -> Result<()> {
        let mut pages = self.pages_mut();
        let (first, end) = (range.start() / PAGE_BYTES, range.end().div_ceil(PAGE_BYTES));
        let freed: Vec<u64> = pages.range(first..end).map(|(&number, _)| number).collect();
        for number in freed {
            pages.remove(&number);
        }
        Ok(())
    }

    fn write_zeroes(&self, range: ByteRange, mode: ZeroMode) -> Result<ZeroEffect> {
        if !mode.may_unmap {
            if mode.fast_only {
                return Err(Error::new(ErrorKind::Unsupported, "zero quickly").at_offset(range.start()));
            }
            let zeroes = [0; PAGE_BYTES as usize];
            for chunk in range.chunks(PAGE_BYTES) {
                self.write(chunk.start(), &zeroes[..len(chunk)])?;
            }
            return Ok(ZeroEffect::Written);
        }
        if let Some(whole) = range.align_inward(PAGE_BYTES) {
            self.discard(whole)?;
        }
        let mut pages = self.pages_mut();
        for edge in [range.start() / PAGE_BYTES, (range.end() - 1) / PAGE_BYTES] {
            let page_range = self.page(edge)?;
            if let (Some(page), Some(part)) = (pages.get_mut(&edge), page_range.intersect(range)) {
                Arc::make_mut(page)[within(part).1].fill(0);
            }
        }
        Ok(ZeroEffect::Deallocated)
    }

    fn extents(&self, range: ByteRange, visit: &mut dyn FnMut(Extent) -> ControlFlow<()>) -> Result<()> {
        // Collected first, so that `visit` may call the disk again.
        let (first, end) = (range.start() / PAGE_BYTES, range.end().div_ceil(PAGE_BYTES));
        let allocated: Vec<u64> = self.pages().range(first..end).map(|(&number, _)| number).collect();
        let mut at = range.start();
        let mut runs = Vec::new();
        for number in allocated {
            let page = self.page(number)?;
            let Some(part) = page.intersect(range) else { continue };
            if at < part.start() {
                runs.push(Extent { range: ByteRange::new(at, part.start())?, kind: ExtentKind::Hole });
            }
            runs.push(Extent { range: part, kind: ExtentKind::Data });
            at = part.end();
        }
        if at < range.end() {
            runs.push(Extent { range: ByteRange::new(at, range.end())?, kind: ExtentKind::Hole });
        }
        for extent in runs {
            if visit(extent).is_break() {
                break;
            }
        }
        Ok(())
    }

    fn allocated_bytes(&self) -> Result<u64> {
        Ok(self.pages().len() as u64 * PAGE_BYTES)
    }
}
