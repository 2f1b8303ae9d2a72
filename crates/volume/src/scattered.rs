//! A file inside a volume, as its file system keeps it: bytes in order, in pieces anywhere on the disk.

use std::ops::ControlFlow;

use block_device::{ByteRange, Disk, Error, ErrorKind, Result};

use crate::disk_cursor::read_at;

/// The pieces of a file, in order. Memory goes with the pieces, not with the bytes.
#[derive(Clone, Debug)]
pub(crate) struct Scattered {
    disk: Disk,
    /// Where each piece begins in the file, and where it lies on the disk.
    pieces: Vec<(u64, ByteRange)>,
    len_bytes: u64,
}

impl Scattered {
    /// A file whose bytes lie in `pieces`.
    ///
    /// # Errors
    /// [`ErrorKind::OutOfBounds`] for a piece outside the disk.
    pub(crate) fn new(disk: &Disk, pieces: impl IntoIterator<Item = ByteRange>) -> Result<Self> {
        let mut file = Self { disk: disk.clone(), pieces: Vec::new(), len_bytes: 0 };
        for piece in pieces {
            file.push(piece)?;
        }
        Ok(file)
    }

    /// Adds a piece at the end.
    ///
    /// # Errors
    /// [`ErrorKind::OutOfBounds`] for one outside the disk.
    pub(crate) fn push(&mut self, piece: ByteRange) -> Result<()> {
        let outside = || Error::new(ErrorKind::OutOfBounds, "read").at_offset(piece.start());
        if !self.disk.range().contains(piece) {
            return Err(outside());
        }
        // Pieces may lie on each other, as often as they are named.
        let len_bytes = self.len_bytes.checked_add(piece.len()).ok_or_else(outside)?;
        self.pieces.push((self.len_bytes, piece));
        self.len_bytes = len_bytes;
        Ok(())
    }

    /// The bytes of all pieces.
    pub(crate) fn len_bytes(&self) -> u64 {
        self.len_bytes
    }

    /// Where on the disk the byte `offset` of the file is; `None` beyond the last piece.
    pub(crate) fn place_of(&self, offset: u64) -> Option<u64> {
        let next = self.pieces.partition_point(|&(first, place)| first + place.len() <= offset);
        self.pieces.get(next).map(|&(first, place)| place.start() + (offset - first))
    }

    /// How many bytes from `offset` on, a multiple of the disk's block, read as zero without being allocated: all of them
    /// up to some that are, or to the end of the piece.
    ///
    /// # Errors
    /// Those of mapping the disk.
    pub(crate) fn hole_bytes(&self, offset: u64) -> Result<u64> {
        let next = self.pieces.partition_point(|&(first, place)| first + place.len() <= offset);
        let Some(&(first, place)) = self.pieces.get(next) else { return Ok(0) };
        let start = place.start() + (offset - first);
        let mut end = start;
        self.disk.extents(start, place.end() - start, &mut |extent| {
            if !extent.kind.reads_as_zero() {
                return ControlFlow::Break(());
            }
            end = extent.range.end();
            ControlFlow::Continue(())
        })?;
        Ok(end - start)
    }

    /// Reads from the byte `offset` of the file.
    ///
    /// # Errors
    /// [`ErrorKind::OutOfBounds`] beyond the last piece; those of reading.
    pub(crate) fn read(&self, offset: u64, buffer: &mut [u8]) -> Result<()> {
        let end = offset.saturating_add(buffer.len() as u64);
        if end > self.len_bytes {
            return Err(Error::new(ErrorKind::OutOfBounds, "read").at_offset(offset));
        }
        let mut at = offset;
        let mut rest = buffer;
        let mut next = self.pieces.partition_point(|&(first, place)| first + place.len() <= offset);
        while !rest.is_empty() {
            let (first, place) = self.pieces[next];
            let inside = at - first;
            let here = usize::try_from(place.len() - inside).unwrap_or(usize::MAX).min(rest.len());
            let (part, after) = rest.split_at_mut(here);
            read_at(&self.disk, place.start() + inside, part)?;
            at += here as u64;
            rest = after;
            next += 1;
        }
        Ok(())
    }
}

/// Bytes of a page.
const PAGE_BYTES: u64 = 4096;

/// Reads small things anywhere in a file, and remembers the pages where they were: at most 4 MiB.
#[derive(Debug)]
pub(crate) struct Pages {
    file: Scattered,
    /// A page stays in the slot of its number modulo the slots, until another comes there.
    slots: Vec<(Option<u64>, Vec<u8>)>,
}

const SLOTS: usize = 1024;

impl Pages {
    pub(crate) fn new(file: Scattered) -> Self {
        Self { file, slots: vec![(None, Vec::new()); SLOTS] }
    }

    pub(crate) fn file(&self) -> &Scattered {
        &self.file
    }

    /// The bytes from `offset` to the end of its page or of the file: at least one.
    ///
    /// # Errors
    /// [`ErrorKind::OutOfBounds`] from the end of the file on; those of reading.
    pub(crate) fn from(&mut self, offset: u64) -> Result<&[u8]> {
        let number = offset / PAGE_BYTES;
        let start = number * PAGE_BYTES;
        let end = self.file.len_bytes.min(start.saturating_add(PAGE_BYTES));
        if offset >= end {
            return Err(Error::new(ErrorKind::OutOfBounds, "read").at_offset(offset));
        }
        let (held, page) = &mut self.slots[usize::try_from(number % SLOTS as u64).expect("less than the slots")];
        if *held != Some(number) {
            // Until the read has succeeded, the slot holds nothing.
            *held = None;
            page.resize(usize::try_from(end - start).expect("a page"), 0);
            self.file.read(start, page)?;
            *held = Some(number);
        }
        Ok(&page[usize::try_from(offset - start).expect("inside a page")..])
    }

    /// `N` bytes at `offset`, a multiple of `N` that divides a page.
    ///
    /// # Errors
    /// [`ErrorKind::OutOfBounds`] beyond the end of the file; those of reading.
    pub(crate) fn array<const N: usize>(&mut self, offset: u64) -> Result<[u8; N]> {
        let bytes = self.from(offset)?.first_chunk::<N>();
        bytes.copied().ok_or_else(|| Error::new(ErrorKind::OutOfBounds, "read").at_offset(offset))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use block_device::{Durability, MemoryDisk};

    fn disk() -> Disk {
        let disk = Disk::new(MemoryDisk::new(64 << 10)).unwrap();
        let bytes: Vec<u8> = (0..64 << 10).map(|at: u32| (at / 512) as u8).collect();
        disk.write(0, &bytes, Durability::Cached).unwrap();
        disk
    }

    fn at(start: u64, len: u64) -> ByteRange {
        ByteRange::at(start, len).unwrap()
    }

    #[test]
    fn a_read_across_pieces_gives_the_bytes_in_the_order_of_the_file() {
        let file = Scattered::new(&disk(), [at(5 * 512, 1024), at(512, 512), at(8192, 4096)]).unwrap();
        let mut bytes = [0; 700];
        file.read(1000, &mut bytes).unwrap();
        assert_eq!((bytes[0], bytes[23], bytes[24], bytes[535], bytes[536], bytes[699]), (6, 6, 1, 1, 16, 16));
        assert_eq!(file.len_bytes(), 5632);
        assert_eq!(
            [0, 1023, 1024, 5631, 5632].map(|at| file.place_of(at)),
            [Some(2560), Some(3583), Some(512), Some(12287), None]
        );
    }

    #[test]
    fn law5_nothing_is_read_beyond_the_last_piece_or_outside_the_disk() {
        let file = Scattered::new(&disk(), [at(0, 1024)]).unwrap();
        assert_eq!(file.read(1000, &mut [0; 25]).unwrap_err().kind(), ErrorKind::OutOfBounds);
        assert_eq!(file.read(u64::MAX, &mut [0; 25]).unwrap_err().kind(), ErrorKind::OutOfBounds);
        assert!(Scattered::new(&disk(), [at(65 << 10, 512)]).is_err());
        assert!(Scattered::new(&disk(), []).unwrap().read(0, &mut [0]).is_err());
        let mut pages = Pages::new(file);
        assert!(pages.from(1024).is_err() && pages.array::<32>(1008).is_err() && pages.from(u64::MAX).is_err());
        assert_eq!(pages.array::<4>(512).unwrap(), [1; 4]);
    }
}
