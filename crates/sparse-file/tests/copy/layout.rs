//! Files made of parts, and what can be said about them afterwards.
#![allow(dead_code, reason = "each test program uses a part of this")]

use std::fs::{self, File};
use std::path::Path;

use proptest::prelude::*;
use sparse_file::{Access, ByteRange, ExtentKind, SparseFile, is_zero};

pub(crate) const KIB: u64 = 1 << 10;
pub(crate) const MIB: u64 = 1 << 20;

/// Where the tests run on Windows, which is under Wine, no file has holes: copies are asked to be dense there.
pub(crate) const DENSE: bool = cfg!(windows);

/// A run of bytes of a file, with its length.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Part {
    Data(u64),
    Zeroes(u64),
    Hole(u64),
    Unwritten(u64),
}

impl Part {
    fn len_bytes(self) -> u64 {
        let (Self::Data(len) | Self::Zeroes(len) | Self::Hole(len) | Self::Unwritten(len)) = self;
        len
    }
}

/// A file, part by part.
#[derive(Clone, Debug)]
pub(crate) struct Layout(pub(crate) Vec<Part>);

impl Layout {
    pub(crate) fn len_bytes(&self) -> u64 {
        self.0.iter().map(|part| part.len_bytes()).sum()
    }

    /// Makes the file. What the parts hold depends on where they lie, so that a block in the wrong place is seen.
    pub(crate) fn write(&self, path: &Path) {
        let file = File::create_new(path).unwrap();
        file.set_len(self.len_bytes()).unwrap();
        drop(file);
        let file = SparseFile::open(path, Access::ReadWrite).unwrap();
        let mut at = 0;
        for part in &self.0 {
            let Ok(range) = ByteRange::at(at, part.len_bytes()) else { continue };
            match part {
                Part::Data(_) => {
                    write_runs(&file, range, |at| (at.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 56) as u8 | 1)
                }
                Part::Zeroes(_) => write_runs(&file, range, |_| 0),
                Part::Hole(_) => {}
                // Nothing allocates a part of a file there without writing it.
                Part::Unwritten(_) if cfg!(windows) => {}
                Part::Unwritten(_) => file.allocate(range).unwrap(),
            }
            at = range.end();
        }
    }
}

fn write_runs(file: &SparseFile, range: ByteRange, byte: impl Fn(u64) -> u8) {
    for piece in range.chunks(MIB) {
        let bytes: Vec<u8> = (piece.start()..piece.end()).map(&byte).collect();
        file.write_at(piece.start(), &bytes).unwrap();
    }
}

/// Layouts of up to a few MiB, on and off the block grid.
pub(crate) fn any() -> impl Strategy<Value = Layout> {
    let len = prop_oneof![1u64..16384, (1u64..40).prop_map(|blocks| blocks * 4096), (1u64..12).prop_map(|n| n << 16)];
    let part = (0u8..4, len).prop_map(|(kind, len)| match kind {
        0 => Part::Data(len),
        1 => Part::Zeroes(len),
        2 => Part::Hole(len),
        _ => Part::Unwritten(len),
    });
    proptest::collection::vec(part, 0..24).prop_map(Layout)
}

pub(crate) fn write_at(file: &File, offset: u64, data: &[u8]) {
    use std::io::{Seek, SeekFrom, Write};
    let mut file = file;
    file.seek(SeekFrom::Start(offset)).unwrap();
    file.write_all(data).unwrap();
}

pub(crate) fn assert_same_content(one: &Path, other: &Path) {
    let (one, other) = (fs::read(one).unwrap(), fs::read(other).unwrap());
    assert_eq!(one.len(), other.len());
    if let Some(at) = one.iter().zip(&other).position(|(a, b)| a != b) {
        panic!("they differ at byte {at} of {}", one.len());
    }
}

/// The holes of a file.
pub(crate) fn holes(path: &Path) -> Vec<ByteRange> {
    ranges(path, |kind| kind == ExtentKind::Hole)
}

/// What the map says reads as zeroes, neighbours joined.
pub(crate) fn zeroes_by_map(path: &Path) -> Vec<ByteRange> {
    ranges(path, ExtentKind::reads_as_zero)
}

fn ranges(path: &Path, wanted: impl Fn(ExtentKind) -> bool) -> Vec<ByteRange> {
    let file = SparseFile::open(path, Access::ReadOnly).unwrap();
    let mut joined: Vec<ByteRange> = Vec::new();
    for extent in ByteRange::whole(file.len_bytes()).into_iter().flat_map(|whole| file.extents(whole)) {
        let extent = extent.unwrap();
        if !wanted(extent.kind) {
            continue;
        }
        match joined.last_mut() {
            Some(last) if last.end() == extent.range.start() => {
                *last = ByteRange::new(last.start(), extent.range.end()).unwrap();
            }
            _ => joined.push(extent.range),
        }
    }
    joined
}

/// How many whole granules are allocated and hold only zeroes.
pub(crate) fn zero_granules_in_data(file: &SparseFile, granule_bytes: u64) -> usize {
    let extents = ByteRange::whole(file.len_bytes()).into_iter().flat_map(|whole| file.extents(whole));
    let data = extents.map(|extent| extent.unwrap()).filter(|extent| !extent.kind.reads_as_zero());
    let granules = data.filter_map(|extent| extent.range.align_inward(granule_bytes));
    granules
        .flat_map(|range| range.chunks(granule_bytes).collect::<Vec<_>>())
        .filter(|granule| {
            let mut bytes = vec![0; usize::try_from(granule.len()).unwrap()];
            file.read_at(granule.start(), &mut bytes).unwrap();
            is_zero(&bytes)
        })
        .count()
}
