//! The same random operations on a simulated volume, on a real file and on a byte array.

use proptest::prelude::*;
use sparse_file::{Allocation, ByteRange, ErrorKind, SparseFile, ZeroMode};

use crate::layout::DENSE;
use crate::{REAL, content, directory, map, volume};

const LEN: usize = 1 << 20;

#[derive(Clone, Debug)]
enum Step {
    Write(usize, usize, u8),
    Punch(usize, usize),
    Zero(usize, usize, ZeroMode),
    Allocate,
    Unmark,
    Sync,
}

/// A part of the file, often on the grid of blocks or of units.
fn part() -> impl Strategy<Value = (usize, usize)> {
    let on = |grid: usize| (0..LEN / grid).prop_map(move |index| index * grid);
    let point = prop_oneof![0..LEN, on(4096), on(32 << 10), on(64 << 10)];
    let len = prop_oneof![1..200_000usize, (1..16usize).prop_map(|n| n * 4096), (1..10usize).prop_map(|n| n << 15)];
    (point, len).prop_map(|(at, len)| (at, len.min(LEN - at)))
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => (part(), 1u8..).prop_map(|((at, len), byte)| Step::Write(at, len, byte)),
        8 => part().prop_map(|(at, len)| Step::Punch(at, len)),
        4 => (part(), any::<[bool; 2]>()).prop_map(|((at, len), [may_unmap, fast_only])| {
            Step::Zero(at, len, ZeroMode { may_unmap, fast_only })
        }),
        1 => Just(Step::Allocate),
        1 => Just(Step::Unmark),
        1 => Just(Step::Sync),
    ]
}

fn span(at: usize, len: usize) -> ByteRange {
    ByteRange::at(at as u64, len as u64).unwrap()
}

/// Does it, and says whether the file could.
fn act(file: &SparseFile, step: &Step) -> bool {
    let done = match *step {
        Step::Write(at, len, byte) => file.write_at(at as u64, &vec![byte; len]),
        Step::Punch(at, len) => file.punch(span(at, len)),
        Step::Zero(at, len, mode) => file.zero(span(at, len), mode).map(drop),
        Step::Allocate => file.allocate(span(0, LEN)),
        Step::Unmark => file.set_sparse(false).and_then(|()| file.set_sparse(true)),
        Step::Sync => file.sync(),
    };
    match done {
        Ok(()) => true,
        // NTFS has no fast zeroes but holes; a file that is not asked to unmap has none at all.
        Err(error) => {
            assert_eq!(error.kind(), ErrorKind::Unsupported, "{step:?}: {error}");
            assert!(matches!(step, Step::Zero(_, _, ZeroMode { fast_only: true, .. })), "{step:?}: {error}");
            false
        }
    }
}

fn remember(twin: &mut [u8], step: &Step) {
    match *step {
        Step::Write(at, len, byte) => twin[at..at + len].fill(byte),
        Step::Punch(at, len) | Step::Zero(at, len, _) => twin[at..at + len].fill(0),
        Step::Allocate | Step::Unmark | Step::Sync => {}
    }
}

/// Laws 1 and 6: content, the map's promise of zeroes, its coverage, the ledger's sum, and the unit of allocation.
fn check(file: &SparseFile, twin: &[u8], unit_bytes: u64) {
    assert!(content(file) == twin, "the content differs");
    let (mut end, mut allocated) = (0, 0);
    for extent in map(file) {
        assert_eq!(extent.range.start(), end, "a gap or an overlap");
        assert!(extent.range.start().is_multiple_of(unit_bytes), "{extent:?} begins inside a unit");
        end = extent.range.end();
        if extent.kind.is_allocated() {
            allocated += extent.range.len().next_multiple_of(unit_bytes);
        } else {
            assert!(sparse_file::is_zero(&twin[extent.range.start() as usize..end as usize]), "{extent:?} holds data");
        }
    }
    assert_eq!(end, LEN as u64);
    let ledger = file.ledger().unwrap();
    assert_eq!(ledger.apparent_bytes, ledger.data_bytes + ledger.hole_bytes);
    assert_eq!((ledger.allocated_bytes, ledger.granularity_bytes), (allocated, unit_bytes));
}

/// What a real file has allocated, the model has: it frees no more than a real file does.
fn compare_allocation(real: &SparseFile, model: &SparseFile) {
    let model = map(model);
    for extent in map(real).into_iter().filter(|extent| extent.kind.is_allocated()) {
        let meets = |hole: &&sparse_file::Extent| hole.range.intersect(extent.range).is_some();
        let hole = model.iter().filter(|part| !part.kind.is_allocated()).find(meets);
        assert_eq!(hole, None, "{extent:?} of the real file");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 32, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn law1_a_simulated_file_a_real_one_and_a_byte_array_agree(
        steps in prop::collection::vec(step(), 1..40),
        cluster_bytes in prop::sample::select(vec![512u64, 4 << 10, 64 << 10, 256 << 10]),
    ) {
        let dir = directory();
        let unit_bytes = cluster_bytes.max(64 << 10);
        let model = volume(&dir.path().join("model"), cluster_bytes, 8 << 20);
        let file = model.create_file("dir/disk.img".as_ref(), LEN as u64, Allocation::Sparse).unwrap();
        let real = SparseFile::create(&dir.path().join("disk.img"), LEN as u64, REAL).unwrap();
        let mut twin = vec![0; LEN];
        for step in &steps {
            if act(&file, step) {
                remember(&mut twin, step);
                // A real file may be faster than it must be; what both did is compared.
                act(&real, &match step {
                    Step::Zero(at, len, mode) => Step::Zero(*at, *len, ZeroMode { fast_only: false, ..*mode }),
                    // Without holes there is nothing to give back, and no mark.
                    Step::Punch(at, len) if DENSE => {
                        Step::Zero(*at, *len, ZeroMode { may_unmap: true, fast_only: false })
                    }
                    Step::Unmark if DENSE => Step::Sync,
                    step => step.clone(),
                });
            }
            check(&file, &twin, unit_bytes);
            assert!(content(&real) == twin, "the real file differs");
            if !DENSE {
                compare_allocation(&real, &file);
            }
        }
        // Nothing is lost between one use and the next.
        drop((file, model));
        let model = volume(&dir.path().join("model"), cluster_bytes, 8 << 20);
        check(&model.open_file("DIR\\Disk.img".as_ref(), sparse_file::Access::ReadOnly).unwrap(), &twin, unit_bytes);
    }
}
