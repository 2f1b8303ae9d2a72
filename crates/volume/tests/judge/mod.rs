//! Other people's tools as judges, and the images they make as disks.
#![allow(dead_code, unreachable_pub, missing_docs, reason = "every test takes what it needs")]

use std::fs::File;
use std::io::{Read, Write};
use std::ops::ControlFlow;
use std::path::Path;
use std::process::{Command, Stdio};

use block_device::{
    BlockDevice, ByteRange, Disk, Durability, Extent, Geometry, LogicalBlock, MemoryDisk, Result, ZeroEffect, ZeroMode,
    is_zero,
};

/// Runs a tool and gives its output; `None`, saying so, if it is not installed. Anything but success is a failure of
/// the test.
pub fn run(tool: &str, arguments: &[&str], input: &str) -> Option<String> {
    let (text, success) = run_unjudged(tool, arguments, input)?;
    assert!(success, "{tool} {arguments:?}: {text}");
    Some(text)
}

pub fn run_unjudged(tool: &str, arguments: &[&str], input: &str) -> Option<(String, bool)> {
    // Debian keeps the formatters out of the path of ordinary users.
    let path = format!("{}:/usr/sbin:/sbin", std::env::var("PATH").unwrap_or_default());
    let child = Command::new(tool)
        .args(arguments)
        .env("PATH", path)
        .env("LC_ALL", "C")
        .env("MTOOLS_SKIP_CHECK", "1")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let mut child = match child {
        Ok(child) => child,
        Err(error) => {
            assert!(std::env::var_os("SPARSEDISK_REQUIRE_ALL").is_none(), "{tool}: {error}");
            eprintln!("skipped: {tool} does not run: {error}");
            return None;
        }
    };
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    let output = child.wait_with_output().unwrap();
    let text = [output.stdout, output.stderr].concat();
    Some((String::from_utf8_lossy(&text).into_owned(), output.status.success()))
}

/// The content of an image file as a disk in memory.
pub fn load(path: &Path) -> Disk {
    let mut file = File::open(path).unwrap();
    let disk = Disk::new(MemoryDisk::new(file.metadata().unwrap().len())).unwrap();
    let mut chunk = vec![0; 1 << 20];
    let mut at = 0;
    while at < disk.len_bytes() {
        let length = chunk.len().min((disk.len_bytes() - at) as usize);
        file.read_exact(&mut chunk[..length]).unwrap();
        for (index, page) in chunk[..length].chunks(4096).enumerate() {
            if !is_zero(page) {
                disk.write(at + index as u64 * 4096, page, Durability::Cached).unwrap();
            }
        }
        at += length as u64;
    }
    disk
}

/// The same disk with blocks of 4096 bytes.
pub struct Blocks4096(pub Disk);

impl BlockDevice for Blocks4096 {
    fn geometry(&self) -> Geometry {
        Geometry { logical_block: LogicalBlock::B4096, ..self.0.geometry() }
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
