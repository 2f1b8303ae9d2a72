//! A disk as the standard library's traits see it.

use std::io::{self, Read, Seek, SeekFrom, Write};

use block_device::{Disk, Durability, Error, ErrorKind, Result};

/// Reads and writes a [`Disk`] at any offset and length, for libraries that want [`Read`], [`Write`] and [`Seek`].
///
/// What does not lie on block boundaries costs a read of the blocks it touches, and a write costs a read and a write of
/// them. Nothing is kept in memory: a write has reached the disk when it returns, and [`flush`](Write::flush) makes it
/// durable. At the end of the disk a read returns 0 and a write fails with [`io::ErrorKind::WriteZero`].
#[derive(Debug, Clone)]
pub struct DiskCursor {
    disk: Disk,
    position: u64,
    /// The blocks of one step, kept to be used again.
    bounce: Vec<u8>,
}

/// The longest step through the bounce buffer.
const STEP_BYTES: u64 = 1 << 20;

impl DiskCursor {
    /// A cursor at the first byte.
    #[must_use]
    pub fn new(disk: Disk) -> Self {
        Self { disk, position: 0, bounce: Vec::new() }
    }

    /// Loads the blocks around the next `wanted` bytes, or as many of them as one step takes, into the bounce buffer.
    /// Gives the offset of the first block, and which part of the buffer is wanted.
    fn load(&mut self, wanted: usize) -> io::Result<(u64, std::ops::Range<usize>)> {
        let block = self.disk.geometry().logical_block.bytes();
        let start = self.position - self.position % block;
        let end = self.position.saturating_add(wanted as u64).min(start + STEP_BYTES).min(self.disk.len_bytes());
        let blocks_end = end.next_multiple_of(block);
        self.bounce.resize(in_memory(blocks_end - start), 0);
        self.disk.read(start, &mut self.bounce).map_err(to_io)?;
        Ok((start, in_memory(self.position - start)..in_memory(end - start)))
    }

    fn at_end(&self) -> bool {
        self.position >= self.disk.len_bytes()
    }
}

fn in_memory(bytes: u64) -> usize {
    usize::try_from(bytes).expect("what fits in memory")
}

fn to_io(error: Error) -> io::Error {
    let kind = match error.kind() {
        ErrorKind::NoSpace => io::ErrorKind::StorageFull,
        ErrorKind::ReadOnly => io::ErrorKind::ReadOnlyFilesystem,
        ErrorKind::Changed => io::ErrorKind::UnexpectedEof,
        // Not io::ErrorKind::Interrupted: the standard library would try again.
        _ => io::ErrorKind::Other,
    };
    io::Error::new(kind, error)
}

/// Reads bytes that need not lie on block boundaries.
pub(crate) fn read_at(disk: &Disk, offset: u64, buffer: &mut [u8]) -> Result<()> {
    let block = disk.geometry().logical_block.bytes();
    let end = offset.saturating_add(buffer.len() as u64);
    if end > disk.len_bytes() {
        return Err(Error::new(ErrorKind::OutOfBounds, "read").at_offset(offset));
    }
    let start = offset - offset % block;
    if start == offset && end.is_multiple_of(block) {
        return disk.read(offset, buffer);
    }
    let mut blocks = vec![0; in_memory(end.next_multiple_of(block) - start)];
    disk.read(start, &mut blocks)?;
    buffer.copy_from_slice(&blocks[in_memory(offset - start)..][..buffer.len()]);
    Ok(())
}

impl Read for DiskCursor {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() || self.at_end() {
            return Ok(0);
        }
        let (_, part) = self.load(buffer.len())?;
        let len = part.len();
        buffer[..len].copy_from_slice(&self.bounce[part]);
        self.position += len as u64;
        Ok(len)
    }
}

impl Write for DiskCursor {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        if data.is_empty() || self.at_end() {
            return Ok(0);
        }
        let (start, part) = self.load(data.len())?;
        let len = part.len();
        self.bounce[part].copy_from_slice(&data[..len]);
        self.disk.write(start, &self.bounce, Durability::Cached).map_err(to_io)?;
        self.position += len as u64;
        Ok(len)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.disk.flush().map_err(to_io)
    }
}

impl Seek for DiskCursor {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let target = match to {
            SeekFrom::Start(offset) => Some(offset),
            SeekFrom::End(offset) => self.disk.len_bytes().checked_add_signed(offset),
            SeekFrom::Current(offset) => self.position.checked_add_signed(offset),
        };
        self.position = target.ok_or_else(|| io::Error::from(io::ErrorKind::InvalidInput))?;
        Ok(self.position)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use block_device::MemoryDisk;

    #[test]
    fn law5_bytes_off_the_block_grid_are_written_alone() {
        let disk = Disk::new(MemoryDisk::new(4096)).unwrap();
        disk.write(0, &[0xAA; 4096], Durability::Cached).unwrap();
        let mut cursor = DiskCursor::new(disk.clone());
        cursor.seek(SeekFrom::Start(510)).unwrap();
        cursor.write_all(&[1, 2, 3, 4, 5]).unwrap();
        let mut all = [0; 4096];
        disk.read(0, &mut all).unwrap();
        assert_eq!(all[509..516], [0xAA, 1, 2, 3, 4, 5, 0xAA]);
        assert!(all[..509].iter().chain(&all[516..]).all(|&byte| byte == 0xAA));
        cursor.seek(SeekFrom::End(-3)).unwrap();
        let mut tail = Vec::new();
        assert_eq!(cursor.read_to_end(&mut tail).unwrap(), 3);
        assert_eq!(cursor.write(&[1]).unwrap(), 0);
        assert!(cursor.seek(SeekFrom::Current(i64::MIN)).is_err());
    }
}
