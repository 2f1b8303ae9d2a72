//! The laws as tests that every disk runs.
//!
//! [`conformance_suite!`](crate::conformance_suite) makes one `#[test]` of each function here, in a module of its own:
//!
//! ```ignore
//! block_device::conformance_suite!(raw_on_tmpfs, |len_bytes| raw_image_in("/dev/shm", len_bytes));
//! ```
//!
//! The expression is called with a length in bytes and gives a fresh, empty, writable disk of that length as a
//! [`Fixture`], or `None` where the test cannot run (it should have said why).

use alloc::boxed::Box;
use alloc::vec;
use alloc::vec::Vec;
use core::any::Any;
use core::ops::ControlFlow;
use std::io::{Read, Seek, SeekFrom};

use crate::{ByteRange, DiscardEffect, Disk, Durability, ErrorKind, Extent, MAX_OFFSET, ZeroEffect, ZeroMode};

/// A disk under test, and whatever must live as long as it: a temporary directory, a mount.
pub struct Fixture {
    /// Dropped after the disk.
    pub keep: Box<dyn Any>,
    /// The disk.
    pub disk: Disk,
}

impl core::fmt::Debug for Fixture {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Fixture").field("disk", &self.disk).finish_non_exhaustive()
    }
}

/// Makes a test module that runs every law against the disks that `$make` gives.
#[macro_export]
macro_rules! conformance_suite {
    ($name:ident, $make:expr) => {
        mod $name {
            #[allow(unused_imports, reason = "the expression may need what stands around the macro")]
            use super::*;

            $crate::conformance_suite!(@each $make;
                law1_a_fresh_disk_reads_zero
                law1_random_requests_agree_with_a_byte_array
                law2_flush_and_forced_writes_succeed
                law3_discard_keeps_its_promise_and_touches_nothing_else
                law3_write_zeroes_is_exact_to_the_block
                law3_write_zeroes_without_unmap_stays_allocated
                law3_fast_zeroes_are_done_or_refused_unchanged
                law5_requests_outside_change_nothing
                law5_requests_off_the_grid_are_refused
                law5_requests_of_nothing_succeed
                law6_extents_cover_exactly_and_tell_the_truth
                law6_extents_stop_when_told
                law6_a_discard_gives_space_back
                threads_on_separate_ranges_do_not_disturb_each_other
            );
        }
    };
    (@each $make:expr; $($law:ident)+) => {
        $(
            #[test]
            fn $law() {
                #[allow(clippy::redundant_closure_call, reason = "the expression may be a closure")]
                $crate::conformance::$law(&|len_bytes| ($make)(len_bytes));
            }
        )+
    };
}

/// What `conformance_suite!` passes on: makes a fixture of a length.
pub type Make<'a> = &'a dyn Fn(u64) -> Option<Fixture>;

const MIB: u64 = 1 << 20;

/// The unit of these tests: whole blocks, and no less than a page.
fn unit(disk: &Disk) -> u64 {
    disk.geometry().logical_block.bytes().max(4096)
}

/// So many bytes of one value.
fn bytes(byte: u8, len_bytes: u64) -> Vec<u8> {
    vec![byte; usize::try_from(len_bytes).expect("a test's size")]
}

/// A small generator with a seed that failures can name; quality does not matter here.
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        // A generator of this kind stays at zero.
        Self(seed.max(1))
    }

    pub(crate) fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        // The low bits of the state alone are no good for small limits.
        (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 16) % limit
    }

    pub(crate) fn index(&mut self, limit: usize) -> usize {
        usize::try_from(self.below(limit as u64)).expect("below a limit of that type")
    }
}

fn read(disk: &Disk, offset: u64, len_bytes: u64) -> Vec<u8> {
    let mut bytes = vec![0xEE; usize::try_from(len_bytes).expect("a test's size")];
    disk.read(offset, &mut bytes).expect("a read inside the disk succeeds");
    if let Some((mut file, at)) = disk.file_range(offset, len_bytes) {
        // Whoever looks for holes meanwhile moves the position, which all of a file's users share.
        let same = (0..100).any(|_| {
            let mut in_file = vec![0xEE; bytes.len()];
            file.seek(SeekFrom::Start(at)).expect("a file has positions");
            file.read_exact(&mut in_file).is_ok_and(|()| bytes == in_file)
        });
        assert!(same, "{len_bytes} bytes from {offset} are not those of the file at {at}");
    }
    bytes
}

fn fill(disk: &Disk, byte: u8) {
    for chunk in disk.range().chunks(MIB) {
        let data = vec![byte; usize::try_from(chunk.len()).expect("at most 1 MiB")];
        disk.write(chunk.start(), &data, Durability::Cached).expect("a write inside the disk succeeds");
    }
}

fn extents(disk: &Disk, offset: u64, len_bytes: u64) -> Vec<Extent> {
    let mut all = Vec::new();
    disk.extents(offset, len_bytes, &mut |extent| {
        all.push(extent);
        ControlFlow::Continue(())
    })
    .expect("the map of a range inside the disk succeeds");
    all
}

/// Every byte of a new disk is zero.
pub fn law1_a_fresh_disk_reads_zero(make: Make<'_>) {
    let Some(Fixture { keep: _keep, disk }) = make(3 * MIB) else { return };
    assert!(crate::is_zero(&read(&disk, 0, disk.len_bytes())));
}

/// A few hundred random reads, writes, zeroings, discards and flushes.
pub fn law1_random_requests_agree_with_a_byte_array(make: Make<'_>) {
    for seed in [1, 0x9E37_79B9, 0xDEAD_BEEF_CAFE] {
        let Some(Fixture { keep: _keep, disk }) = make(2 * MIB) else { return };
        let mut random = Random(seed);
        let block = disk.geometry().logical_block.bytes();
        let blocks = disk.len_bytes() / block;
        let mut twin = vec![0u8; usize::try_from(disk.len_bytes()).expect("small")];
        for step in 0..300 {
            let start = random.below(blocks);
            let count = 1 + random.below((blocks - start).min(64));
            let (offset, len_bytes) = (start * block, count * block);
            let span = usize::try_from(offset).expect("small")..usize::try_from(offset + len_bytes).expect("small");
            match random.below(6) {
                0 | 1 => {
                    // Every third write holds zeroes, which layers may treat apart.
                    let byte = if random.below(3) == 0 { 0 } else { u8::try_from(1 + step % 255).expect("a byte") };
                    let durability =
                        if random.below(8) == 0 { Durability::ForceUnitAccess } else { Durability::Cached };
                    twin[span.clone()].fill(byte);
                    disk.write(offset, &twin[span], durability).expect("write");
                }
                2 => {
                    let mode = ZeroMode { may_unmap: random.below(2) == 0, fast_only: false };
                    disk.write_zeroes(offset, len_bytes, mode, Durability::Cached).expect("zero");
                    twin[span].fill(0);
                }
                3 => {
                    disk.discard(offset, len_bytes).expect("discard");
                    let granules = ByteRange::at(offset, len_bytes)
                        .expect("inside")
                        .align_inward(disk.geometry().discard.granularity_bytes);
                    if let (Some(range), true) = (granules, disk.geometry().discard.effect != DiscardEffect::Ignored) {
                        let now = read(&disk, range.start(), range.len());
                        if disk.geometry().discard.effect == DiscardEffect::Zeroes {
                            assert!(crate::is_zero(&now), "seed {seed} step {step}: a discard promised zeroes");
                        }
                        let at = usize::try_from(range.start()).expect("small");
                        twin[at..at + now.len()].copy_from_slice(&now);
                    }
                }
                4 => disk.flush().expect("flush"),
                _ => assert!(read(&disk, offset, len_bytes) == twin[span], "seed {seed} step {step} at {offset}"),
            }
        }
        assert!(read(&disk, 0, disk.len_bytes()) == twin, "seed {seed}: the whole disk");
    }
}

/// What durability there is to ask for can be asked for.
pub fn law2_flush_and_forced_writes_succeed(make: Make<'_>) {
    let Some(Fixture { keep: _keep, disk }) = make(MIB) else { return };
    disk.flush().expect("a flush of a fresh disk");
    let unit = unit(&disk);
    disk.write(unit, &bytes(7, unit), Durability::ForceUnitAccess).expect("a forced write");
    let mode = ZeroMode { may_unmap: true, fast_only: false };
    disk.write_zeroes(0, unit, mode, Durability::ForceUnitAccess).expect("forced zeroes");
    disk.flush().expect("a flush");
    assert!(read(&disk, unit, unit) == bytes(7, unit));
}

/// Whole granules read as promised; everything else is as it was.
pub fn law3_discard_keeps_its_promise_and_touches_nothing_else(make: Make<'_>) {
    let Some(Fixture { keep: _keep, disk }) = make(4 * MIB) else { return };
    let discard = disk.geometry().discard;
    let block = disk.geometry().logical_block.bytes();
    fill(&disk, 0x5A);
    let asked = ByteRange::new(MIB - block, 3 * MIB + block).expect("a range");
    disk.discard(asked.start(), asked.len()).expect("a discard");
    let freed = asked.align_inward(discard.granularity_bytes);
    for chunk in disk.range().chunks(block) {
        let now = read(&disk, chunk.start(), block);
        match (freed.is_some_and(|range| range.contains(chunk)), discard.effect) {
            (true, DiscardEffect::Zeroes) => assert!(crate::is_zero(&now), "{chunk:?} was promised to be zero"),
            (true, DiscardEffect::Unspecified) => {}
            _ => assert!(now.iter().all(|&byte| byte == 0x5A), "{chunk:?} lies outside the discard"),
        }
    }
}

/// Zeroes begin and end at the very block asked for.
pub fn law3_write_zeroes_is_exact_to_the_block(make: Make<'_>) {
    for may_unmap in [true, false] {
        let Some(Fixture { keep: _keep, disk }) = make(2 * MIB) else { return };
        let block = disk.geometry().logical_block.bytes();
        let all_blocks = 2 * MIB / block;
        for (start, blocks) in [(0, 1), (3, 1), (7, all_blocks / 4), (1, all_blocks - 2)] {
            fill(&disk, 0xA5);
            let (offset, len_bytes) = (start * block, blocks * block);
            let mode = ZeroMode { may_unmap, fast_only: false };
            disk.write_zeroes(offset, len_bytes, mode, Durability::Cached).expect("zeroes");
            let all = read(&disk, 0, disk.len_bytes());
            for (at, &byte) in (0..).zip(&all) {
                let inside = (offset..offset + len_bytes).contains(&at);
                assert_eq!(byte == 0, inside, "byte {at}, zeroed {offset}+{len_bytes}, may_unmap {may_unmap}");
            }
        }
    }
}

/// "Do not unmap" is honoured, on disks that can tell.
pub fn law3_write_zeroes_without_unmap_stays_allocated(make: Make<'_>) {
    let Some(Fixture { keep: _keep, disk }) = make(2 * MIB) else { return };
    let tells_holes = extents(&disk, 0, MIB).iter().any(|extent| !extent.kind.is_allocated());
    let mode = ZeroMode { may_unmap: false, fast_only: false };
    let effect = disk.write_zeroes(0, MIB, mode, Durability::Cached).expect("zeroes");
    assert_ne!(effect, ZeroEffect::Deallocated);
    disk.flush().expect("a flush");
    if tells_holes {
        let hole = extents(&disk, 0, MIB).into_iter().find(|extent| !extent.kind.is_allocated());
        assert_eq!(hole, None, "zeroes that must stay allocated left a hole");
    }
}

/// "Fast or not at all" does one of the two.
pub fn law3_fast_zeroes_are_done_or_refused_unchanged(make: Make<'_>) {
    for may_unmap in [true, false] {
        let Some(Fixture { keep: _keep, disk }) = make(2 * MIB) else { return };
        fill(&disk, 0x77);
        let unit = unit(&disk);
        let mode = ZeroMode { may_unmap, fast_only: true };
        let wanted = match disk.write_zeroes(unit, MIB, mode, Durability::Cached) {
            Ok(effect) => {
                assert_ne!(effect, ZeroEffect::Written, "written zeroes are not fast");
                0
            }
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::Unsupported);
                0x77
            }
        };
        assert!(read(&disk, unit, MIB).iter().all(|&byte| byte == wanted));
        assert!(read(&disk, 0, unit).iter().all(|&byte| byte == 0x77));
    }
}

/// No request reaches beyond the end, wraps, or does a part of its work first.
pub fn law5_requests_outside_change_nothing(make: Make<'_>) {
    let Some(Fixture { keep: _keep, disk }) = make(MIB) else { return };
    fill(&disk, 0x11);
    let block = disk.geometry().logical_block.bytes();
    let end = disk.len_bytes();
    let grid = u64::MAX - u64::MAX % block;
    let outside = [
        (end, block),
        (end - block, 2 * block),
        (0, end + block),
        (0, grid),
        (grid, block),
        (grid, grid),
        (MAX_OFFSET + 1, block),
        (block, grid),
    ];
    for (offset, len_bytes) in outside {
        let is_outside = |kind: ErrorKind| assert_eq!(kind, ErrorKind::OutOfBounds, "{offset}+{len_bytes}");
        if let Ok(len @ ..=0x20_0000) = usize::try_from(len_bytes) {
            is_outside(disk.read(offset, &mut vec![0; len]).unwrap_err().kind());
            is_outside(disk.write(offset, &vec![0; len], Durability::Cached).unwrap_err().kind());
        }
        is_outside(disk.discard(offset, len_bytes).unwrap_err().kind());
        let mode = ZeroMode { may_unmap: true, fast_only: false };
        is_outside(disk.write_zeroes(offset, len_bytes, mode, Durability::Cached).unwrap_err().kind());
        let visited = &mut |extent| panic!("{extent:?} of a range outside");
        is_outside(disk.extents(offset, len_bytes, visited).unwrap_err().kind());
    }
    assert!(read(&disk, 0, end).iter().all(|&byte| byte == 0x11), "a request outside changed the disk");
}

/// Half blocks are refused whole.
pub fn law5_requests_off_the_grid_are_refused(make: Make<'_>) {
    let Some(Fixture { keep: _keep, disk }) = make(MIB) else { return };
    let block = disk.geometry().logical_block.bytes();
    for (offset, len_bytes) in [(1, block), (0, block - 1), (block - 1, 1), (8 * block - 1, 8 * block + 1)] {
        let refused = |kind: ErrorKind| assert_eq!(kind, ErrorKind::InvalidInput, "{offset}+{len_bytes}");
        refused(disk.read(offset, &mut bytes(0, len_bytes)).unwrap_err().kind());
        refused(disk.write(offset, &bytes(1, len_bytes), Durability::Cached).unwrap_err().kind());
        refused(disk.discard(offset, len_bytes).unwrap_err().kind());
    }
    assert!(crate::is_zero(&read(&disk, 0, disk.len_bytes())));
}

/// Nothing can be done anywhere on the disk, its end included.
pub fn law5_requests_of_nothing_succeed(make: Make<'_>) {
    let Some(Fixture { keep: _keep, disk }) = make(MIB) else { return };
    for offset in [0, unit(&disk), disk.len_bytes()] {
        disk.read(offset, &mut []).expect("reading nothing");
        disk.write(offset, &[], Durability::Cached).expect("writing nothing");
        disk.discard(offset, 0).expect("discarding nothing");
        disk.write_zeroes(offset, 0, ZeroMode::default(), Durability::Cached).expect("zeroing nothing");
        disk.extents(offset, 0, &mut |extent| panic!("{extent:?} of nothing")).expect("mapping nothing");
    }
}

/// The map leaves no gap, overlaps nowhere, and calls nothing zero that is not.
pub fn law6_extents_cover_exactly_and_tell_the_truth(make: Make<'_>) {
    let Some(Fixture { keep: _keep, disk }) = make(8 * MIB) else { return };
    let block = disk.geometry().logical_block.bytes();
    for (offset, blocks) in [(0, 8), (MIB, 1), (3 * MIB + block, 5), (8 * MIB - block, 1)] {
        disk.write(offset, &bytes(0xC3, blocks * block), Durability::Cached).expect("write");
    }
    let mode = ZeroMode { may_unmap: false, fast_only: false };
    disk.write_zeroes(5 * MIB, MIB, mode, Durability::Cached).expect("zero");
    disk.write(5 * MIB + block, &bytes(9, block), Durability::Cached).expect("write into zeroes");
    for asked in [(0, 8 * MIB), (block, 4 * MIB), (3 * MIB, 3 * MIB + block)] {
        let mut at = asked.0;
        for Extent { range, kind } in extents(&disk, asked.0, asked.1) {
            assert_eq!(range.start(), at, "a gap or an overlap in the map of {asked:?}");
            at = range.end();
            if kind.reads_as_zero() {
                assert!(
                    crate::is_zero(&read(&disk, range.start(), range.len())),
                    "{range:?} is {kind:?}, yet holds data"
                );
            }
        }
        assert_eq!(at, asked.0 + asked.1, "the map of {asked:?} ends early or late");
    }
}

/// A visitor that has seen enough is not called again.
pub fn law6_extents_stop_when_told(make: Make<'_>) {
    let Some(Fixture { keep: _keep, disk }) = make(4 * MIB) else { return };
    disk.write(MIB, &bytes(1, MIB), Durability::Cached).expect("write");
    let mut calls = 0;
    disk.extents(0, disk.len_bytes(), &mut |_| {
        calls += 1;
        ControlFlow::Break(())
    })
    .expect("stopping is no error");
    assert_eq!(calls, 1);
}

/// The host's own figure falls, unless discards are ignored.
pub fn law6_a_discard_gives_space_back(make: Make<'_>) {
    let Some(Fixture { keep: _keep, disk }) = make(8 * MIB) else { return };
    fill(&disk, 0x42);
    disk.flush().expect("flush");
    let full = disk.allocated_bytes().expect("the host's figure");
    disk.discard(0, disk.len_bytes()).expect("discard");
    disk.flush().expect("flush");
    let after = disk.allocated_bytes().expect("the host's figure");
    if disk.geometry().discard.effect != DiscardEffect::Ignored {
        assert!(after + 7 * MIB <= full, "{full} bytes allocated before, {after} after discarding 8 MiB");
    }
}

/// Neighbours written at the same time all arrive.
pub fn threads_on_separate_ranges_do_not_disturb_each_other(make: Make<'_>) {
    const ROUNDS: u64 = 64;
    let Some(Fixture { keep: _keep, disk }) = make(16 * MIB) else { return };
    let unit = unit(&disk);
    std::thread::scope(|scope| {
        for lane in 0..4u8 {
            let disk = disk.clone();
            scope.spawn(move || {
                for round in 0..ROUNDS {
                    let offset = (round * 4 + u64::from(lane)) * unit;
                    disk.write(offset, &bytes(lane + 1, unit), Durability::Cached).expect("write");
                    if round % 3 == 0 {
                        let mode = ZeroMode { may_unmap: true, fast_only: false };
                        disk.write_zeroes(offset, unit, mode, Durability::Cached).expect("zero");
                    }
                }
            });
        }
    });
    for at in 0..4 * ROUNDS {
        let wanted = if (at / 4) % 3 == 0 { 0 } else { u8::try_from(at % 4).expect("a lane") + 1 };
        assert!(read(&disk, at * unit, unit).iter().all(|&byte| byte == wanted), "unit {at}");
    }
}
