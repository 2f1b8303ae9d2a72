//! Disks in memory, and what it takes to show them to the tools that judge them.

#![allow(dead_code, reason = "each test uses a part")]

use std::ops::ControlFlow;
use std::path::Path;
use std::process::{Command, Output};

use block_device::{
    BlockDevice, ByteRange, Discard, DiscardEffect, Disk, Durability, Extent, Geometry, LogicalBlock, MemoryDisk,
    Result, ZeroEffect, ZeroMode,
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
    Disk::new(Blocks4096(memory(len_bytes))).unwrap()
}

/// Writes what the disk holds into a sparse file of the same length.
pub(crate) fn pour(disk: &Disk, path: &Path) {
    use std::io::{Seek, SeekFrom, Write};
    let mut file = std::fs::File::create(path).unwrap();
    file.set_len(disk.len_bytes()).unwrap();
    for range in data(disk) {
        file.seek(SeekFrom::Start(range.start())).unwrap();
        file.write_all(&read(disk, range.start(), range.len())).unwrap();
    }
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

pub(crate) fn read(disk: &Disk, offset: u64, len_bytes: u64) -> Vec<u8> {
    let mut bytes = vec![0; usize::try_from(len_bytes).unwrap()];
    disk.read(offset, &mut bytes).unwrap();
    bytes
}

/// Runs a judge; `None`, with a word on standard error, if it is not installed and need not be.
pub(crate) fn judge(tool: &str, arguments: &[&str]) -> Option<Output> {
    // The tools of file systems often lie where only root looks.
    let path = format!("{}:/usr/sbin:/sbin", std::env::var("PATH").unwrap_or_default());
    let run = Command::new(tool).args(arguments).env("PATH", path).env("LC_ALL", "C").output();
    match run {
        Ok(output) => Some(output),
        Err(error) if std::env::var_os("SPARSEDISK_REQUIRE_ALL").is_some() => panic!("{tool}: {error}"),
        Err(error) => {
            eprintln!("skipped: {tool} does not run: {error}");
            None
        }
    }
}

/// Standard output of a judge that must be content.
pub(crate) fn content(tool: &str, arguments: &[&str]) -> Option<String> {
    let output = judge(tool, arguments)?;
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{tool} {arguments:?}: {}\n{out}{err}", output.status);
    Some(out.into_owned())
}

/// A disk whose blocks are larger than those it is made of.
struct Blocks4096(Disk);

impl BlockDevice for Blocks4096 {
    fn geometry(&self) -> Geometry {
        let discard = Discard { granularity_bytes: 4096, effect: DiscardEffect::Zeroes };
        Geometry { logical_block: LogicalBlock::B4096, discard, ..self.0.geometry() }
    }

    fn read(&self, offset: u64, buffer: &mut [u8]) -> Result<()> {
        self.0.read(offset, buffer)
    }

    fn write(&self, offset: u64, data: &[u8], durability: Durability) -> Result<()> {
        self.0.write(offset, data, durability)
    }

    fn flush(&self) -> Result<()> {
        self.0.flush()
    }

    fn discard(&self, range: ByteRange) -> Result<()> {
        self.0.discard(range.start(), range.len())
    }

    fn write_zeroes(&self, range: ByteRange, mode: ZeroMode, durability: Durability) -> Result<ZeroEffect> {
        self.0.write_zeroes(range.start(), range.len(), mode, durability)
    }

    fn extents(&self, range: ByteRange, visit: &mut dyn FnMut(Extent) -> ControlFlow<()>) -> Result<()> {
        self.0.extents(range.start(), range.len(), visit)
    }

    fn allocated_bytes(&self) -> Result<u64> {
        self.0.allocated_bytes()
    }
}
