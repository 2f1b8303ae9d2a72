//! Disks in memory, and their way into image files and back.
#![allow(dead_code, reason = "each test uses a part")]

use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};
use std::ops::ControlFlow;
use std::path::Path;

use block_device::{
    ByteRange, Discard, DiscardEffect, Disk, Durability, Geometry, Layer, LogicalBlock, MemoryDisk, is_zero,
};

pub(crate) const KIB: u64 = 1 << 10;
pub(crate) const MIB: u64 = 1 << 20;
pub(crate) const GIB: u64 = 1 << 30;
pub(crate) const TIB: u64 = 1 << 40;

/// An empty disk with blocks of 512 bytes.
pub(crate) fn memory(len_bytes: u64) -> Disk {
    Disk::new(MemoryDisk::new(len_bytes)).unwrap()
}

/// An empty disk with blocks of 4096 bytes.
pub(crate) fn memory_4096(len_bytes: u64) -> Disk {
    with_blocks_of_4096(memory(len_bytes))
}

/// The same disk with blocks of 4096 bytes.
pub(crate) fn with_blocks_of_4096(disk: Disk) -> Disk {
    Disk::new(Blocks4096(disk)).unwrap()
}

struct Blocks4096(Disk);

impl Layer for Blocks4096 {
    fn below(&self) -> &Disk {
        &self.0
    }

    fn geometry(&self) -> Geometry {
        let discard = Discard { granularity_bytes: 4096, effect: DiscardEffect::Zeroes };
        Geometry { logical_block: LogicalBlock::B4096, discard, ..self.0.geometry() }
    }
}

pub(crate) fn read(disk: &Disk, offset: u64, len_bytes: u64) -> Vec<u8> {
    let mut bytes = vec![0; usize::try_from(len_bytes).unwrap()];
    disk.read(offset, &mut bytes).unwrap();
    bytes
}

/// The ranges that the disk has allocated.
pub(crate) fn data(disk: &Disk) -> Vec<ByteRange> {
    let mut ranges = Vec::new();
    disk.extents(0, disk.len_bytes(), &mut |extent| {
        if !extent.kind.reads_as_zero() {
            ranges.push(extent.range);
        }
        ControlFlow::Continue(())
    })
    .unwrap();
    ranges
}

/// Writes what the disk holds into a sparse file of the same length.
pub(crate) fn pour(disk: &Disk, path: &Path) {
    let mut file = File::create(path).unwrap();
    file.set_len(disk.len_bytes()).unwrap();
    for range in data(disk) {
        file.seek(SeekFrom::Start(range.start())).unwrap();
        file.write_all(&read(disk, range.start(), range.len())).unwrap();
    }
}

/// The content of an image file as a disk in memory.
pub(crate) fn load(path: &Path) -> Disk {
    let mut file = File::open(path).unwrap();
    let disk = memory(file.metadata().unwrap().len());
    let mut chunk = vec![0; 1 << 20];
    for at in (0..disk.len_bytes()).step_by(chunk.len()) {
        let len = chunk.len().min((disk.len_bytes() - at) as usize);
        file.read_exact(&mut chunk[..len]).unwrap();
        for (index, page) in chunk[..len].chunks(4096).enumerate() {
            if !is_zero(page) {
                disk.write(at + index as u64 * 4096, page, Durability::Cached).unwrap();
            }
        }
    }
    disk
}
