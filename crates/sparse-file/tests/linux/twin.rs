//! Random operations against a byte-array twin.

use proptest::prelude::*;
use sparse_file::{ByteRange, SparseFile, ZeroMode};

use crate::files::Files;
use test_places as places;

const LEN: usize = 512 << 10;

#[derive(Clone, Debug)]
enum Step {
    Write(usize, usize, u8),
    Punch(usize, usize),
    Zero(usize, usize, ZeroMode),
    Allocate(usize, usize),
    Sync,
}

/// A place and a length inside the file, often on the block grid.
fn part() -> impl Strategy<Value = (usize, usize)> {
    let point = prop_oneof![0..LEN, (0..LEN / 4096).prop_map(|block| block * 4096)];
    (point, prop_oneof![1..100_000usize, (1..16usize).prop_map(|blocks| blocks * 4096)])
        .prop_map(|(at, len)| (at, len.min(LEN - at)))
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (part(), 1u8..).prop_map(|((at, len), byte)| Step::Write(at, len, byte)),
        4 => part().prop_map(|(at, len)| Step::Punch(at, len)),
        4 => (part(), any::<[bool; 2]>()).prop_map(|((at, len), [may_unmap, fast_only])| {
            Step::Zero(at, len, ZeroMode { may_unmap, fast_only })
        }),
        2 => part().prop_map(|(at, len)| Step::Allocate(at, len)),
        1 => Just(Step::Sync),
    ]
}

fn span(at: usize, len: usize) -> ByteRange {
    ByteRange::at(at as u64, len as u64).unwrap()
}

fn act(file: &SparseFile, twin: &mut [u8], step: &Step) {
    match *step {
        Step::Write(at, len, byte) => {
            file.write_at(at as u64, &vec![byte; len]).unwrap();
            twin[at..at + len].fill(byte);
        }
        Step::Punch(at, len) => {
            file.punch(span(at, len)).unwrap();
            twin[at..at + len].fill(0);
        }
        Step::Zero(at, len, mode) => match file.zero(span(at, len), mode) {
            Ok(_) => twin[at..at + len].fill(0),
            Err(error) => assert!(mode.fast_only, "{error}"),
        },
        Step::Allocate(at, len) => file.allocate(span(at, len)).unwrap(),
        Step::Sync => file.sync().unwrap(),
    }
}

/// Laws 1 and 6: content, the map's promise of zeroes, its coverage, and the ledger's sum.
fn check(file: &SparseFile, twin: &[u8]) {
    let mut end = 0;
    let mut last = None;
    for extent in file.extents(span(0, LEN)) {
        let extent = extent.unwrap();
        assert_eq!(extent.range.start(), end, "a gap or an overlap");
        assert_ne!(last, Some(extent.kind), "neighbours of one kind at {end}");
        (end, last) = (extent.range.end(), Some(extent.kind));
        let bytes = &twin[extent.range.start() as usize..end as usize];
        assert!(!extent.kind.reads_as_zero() || sparse_file::is_zero(bytes), "{extent:?} holds data");
    }
    assert_eq!(end, LEN as u64);
    let mut bytes = vec![0; LEN];
    file.read_at(0, &mut bytes).unwrap();
    assert!(bytes == twin, "content differs at byte {:?}", bytes.iter().zip(twin).position(|(a, b)| a != b));
    let ledger = file.ledger().unwrap();
    assert_eq!(ledger.apparent_bytes, ledger.data_bytes + ledger.hole_bytes);
    assert_eq!(ledger.apparent_bytes, LEN as u64);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn law1_a_file_and_its_twin_agree_after_every_step(steps in prop::collection::vec(step(), 1..40)) {
        for place in places::all() {
            let file = place.file("image", LEN as u64);
            let mut twin = vec![0; LEN];
            for step in &steps {
                act(&file, &mut twin, step);
                check(&file, &twin);
            }
        }
    }
}
