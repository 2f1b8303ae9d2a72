//! Images of ext file systems: made by mke2fs, changed by debugfs, judged by dumpe2fs and e2fsck.
#![allow(dead_code, reason = "each test uses a part")]

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use block_device::{
    BlockDevice, ByteRange, Discard, DiscardEffect, Disk, Error, ErrorKind, Extent, ExtentKind, Geometry, LogicalBlock,
    Result, ZeroEffect, ZeroMode,
};

use crate::judge::{content, content_with, judge, judge_with};

/// An image file, and a directory for what goes into it.
pub(crate) struct Image {
    pub(crate) directory: tempfile::TempDir,
    pub(crate) path: PathBuf,
}

impl Image {
    /// `None`, with a word, if mke2fs is not installed and need not be.
    pub(crate) fn made(mib: u64, arguments: &[&str]) -> Option<Self> {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("ext.img");
        File::create(&path).unwrap().set_len(mib << 20).unwrap();
        content("mke2fs", &[&["-q", "-F"], arguments, &[path.to_str().unwrap()]].concat())?;
        Some(Self { directory, path })
    }

    pub(crate) fn name(&self) -> &str {
        self.path.to_str().unwrap()
    }

    pub(crate) fn disk(&self) -> Disk {
        open(&self.path)
    }

    /// A copy of the image as it is now.
    pub(crate) fn copy(&self, name: &str) -> PathBuf {
        let copy = self.directory.path().join(name);
        // It keeps holes.
        content("cp", &["--sparse=always", self.name(), copy.to_str().unwrap()]).unwrap();
        copy
    }

    /// Runs commands of debugfs, which says nothing if all is well.
    pub(crate) fn debugfs(&self, commands: &str) {
        let output = judge_with("debugfs", &["-w", "-f", "-", self.name()], commands).unwrap();
        assert!(output.status.success(), "{output:?}");
    }

    pub(crate) fn fsck(&self) {
        content("e2fsck", &["-f", "-n", self.name()]).unwrap();
    }

    /// Changes bytes.
    pub(crate) fn put(&self, offset: u64, bytes: &[u8]) {
        use std::io::Write;
        let mut file = File::options().write(true).open(&self.path).unwrap();
        file.seek(SeekFrom::Start(offset)).unwrap();
        file.write_all(bytes).unwrap();
    }

    pub(crate) fn get(&self, offset: u64, len: usize) -> Vec<u8> {
        let mut file = File::open(&self.path).unwrap();
        file.seek(SeekFrom::Start(offset)).unwrap();
        let mut bytes = vec![0; len];
        file.read_exact(&mut bytes).unwrap();
        bytes
    }
}

/// The free space of the ext volume that has this whole disk.
pub(crate) fn free(disk: &Disk) -> Result<Vec<ByteRange>> {
    let found = volume::inspect(disk)?;
    match &found.volumes[..] {
        [volume] => volume::free_space(disk, volume)?.collect(),
        others => Err(Error::new(ErrorKind::NotFound, "find").because(format!("{others:?}"))),
    }
}

/// Why the free space is not told.
pub(crate) fn refusal(disk: &Disk) -> Error {
    let error = free(disk).expect_err("it should refuse");
    assert!(matches!(error.kind(), ErrorKind::Refused | ErrorKind::Unsupported), "{error}");
    error
}

/// The free blocks as dumpe2fs lists them: runs of bytes, joined.
pub(crate) fn dumpe2fs(path: &Path) -> Vec<ByteRange> {
    let said = content("dumpe2fs", &[path.to_str().unwrap()]).unwrap();
    let field = |name: &str| -> Option<u64> {
        let line = said.lines().find(|line| line.starts_with(name))?;
        Some(line[name.len()..].trim().parse().unwrap())
    };
    let block = field("Block size:").unwrap();
    // With clusters it names the first block of the last one.
    let cluster_blocks = field("Cluster size:").map_or(1, |cluster| cluster / block);
    let mut runs: Vec<(u64, u64)> = Vec::new();
    for line in said.lines().filter_map(|line| line.strip_prefix("  Free blocks: ")) {
        for run in line.split(',').map(str::trim).filter(|run| !run.is_empty()) {
            let (first, last) = run.split_once('-').unwrap_or((run, run));
            let (first, end) = (first.parse::<u64>().unwrap(), last.parse::<u64>().unwrap() + cluster_blocks);
            match runs.last_mut() {
                Some(open) if open.1 == first => open.1 = end,
                _ => runs.push((first, end)),
            }
        }
    }
    runs.into_iter().map(|(first, end)| ByteRange::new(first * block, end * block).unwrap()).collect()
}

/// What dumpe2fs calls the free blocks of the superblock, in bytes.
pub(crate) fn superblock_free(path: &Path) -> u64 {
    let said = content("dumpe2fs", &["-h", path.to_str().unwrap()]).unwrap();
    let field = |name: &str| -> u64 {
        let line = said.lines().find(|line| line.starts_with(name)).unwrap();
        line[name.len()..].trim().parse().unwrap()
    };
    field("Free blocks:") * field("Block size:")
}

pub(crate) fn total(ranges: &[ByteRange]) -> u64 {
    ranges.iter().map(|range| range.len()).sum()
}

/// The bytes in both lists.
pub(crate) fn both(one: &[ByteRange], other: &[ByteRange]) -> Vec<ByteRange> {
    let (mut at, mut shared) = (0, Vec::new());
    for range in one {
        while at < other.len() && other[at].end() <= range.start() {
            at += 1;
        }
        shared.extend(
            other[at..]
                .iter()
                .take_while(|other| other.start() < range.end())
                .filter_map(|other| other.intersect(*range)),
        );
    }
    shared
}

/// Whether a tool is here, and runs.
pub(crate) fn has(tool: &str, arguments: &[&str]) -> bool {
    judge(tool, arguments).is_some()
}

/// Commands for debugfs that write a file of so many bytes.
pub(crate) fn write_file(source: &Path, name: &str, len: usize, seed: u8) -> String {
    std::fs::write(source, noise(len, seed)).unwrap();
    format!("write {} {name}\n", source.display())
}

pub(crate) fn noise(len: usize, seed: u8) -> Vec<u8> {
    (0..len as u64).map(|at| (at.wrapping_mul(2_654_435_761) >> 13) as u8 ^ seed | 1).collect()
}

/// Runs a command that must succeed; used for mounts.
pub(crate) fn run(tool: &str, arguments: &[&str]) -> String {
    content_with(tool, arguments, "").unwrap_or_else(|| panic!("{tool} is wanted"))
}

/// A read-only disk over an image file of any length.
pub(crate) fn open(path: &Path) -> Disk {
    let file = File::open(path).unwrap();
    let len_bytes = file.metadata().unwrap().len();
    Disk::new(ImageFile { file: Mutex::new(file), len_bytes }).unwrap()
}

struct ImageFile {
    file: Mutex<File>,
    len_bytes: u64,
}

impl BlockDevice for ImageFile {
    fn geometry(&self) -> Geometry {
        Geometry {
            len_bytes: self.len_bytes,
            logical_block: LogicalBlock::B512,
            physical_block: LogicalBlock::B512,
            discard: Discard { granularity_bytes: 512, effect: DiscardEffect::Ignored },
            read_only: true,
        }
    }

    fn read(&self, offset: u64, buffer: &mut [u8]) -> Result<()> {
        let mut file = self.file.lock().unwrap();
        let read = file.seek(SeekFrom::Start(offset)).and_then(|_| file.read_exact(buffer));
        read.map_err(|error| Error::from_io("read", error))
    }

    fn write(&self, _: u64, _: &[u8]) -> Result<()> {
        unreachable!("it is read-only")
    }

    fn flush(&self) -> Result<()> {
        Ok(())
    }

    fn discard(&self, _: ByteRange) -> Result<()> {
        unreachable!("it is read-only")
    }

    fn write_zeroes(&self, _: ByteRange, _: ZeroMode) -> Result<ZeroEffect> {
        unreachable!("it is read-only")
    }

    fn extents(&self, range: ByteRange, visit: &mut dyn FnMut(Extent) -> ControlFlow<()>) -> Result<()> {
        let _ = visit(Extent { range, kind: ExtentKind::Data });
        Ok(())
    }

    fn allocated_bytes(&self) -> Result<u64> {
        Ok(self.len_bytes)
    }
}
