//! Any code, any bytes, any number: a documented status, no panic, no change before the check that refuses.

use fsa::{Access, Kind, OpenId, Options, Status, codes};
use proptest::prelude::*;

use crate::byte_driven::control;
use crate::world::{MIB, World, pair, trim_input};

/// Numbers near every border there is.
fn number() -> impl Strategy<Value = u64> {
    let near = |at: u64| (-3_i64..=3).prop_map(move |off| at.wrapping_add_signed(off));
    prop_oneof![
        any::<u64>(),
        0..3 * MIB,
        prop::sample::select(vec![
            0,
            4096,
            65_536,
            MIB,
            1 << 32,
            1 << 44,
            (1 << 44) - 65_536,
            1 << 62,
            1 << 63,
            u64::MAX
        ])
        .prop_flat_map(near),
    ]
}

fn code() -> impl Strategy<Value = u32> {
    prop_oneof![prop::sample::select(codes::ALL.to_vec()), any::<u32>(), Just(codes::DUPLICATE_EXTENTS_TO_FILE)]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1500, ..ProptestConfig::default() })]

    #[test]
    fn any_control_answers_a_documented_status(
        calls in proptest::collection::vec(
            (code(), proptest::collection::vec(any::<u8>(), 0..80), 0_usize..100, any::<u16>()), 1..12),
        kind in prop::sample::select(vec![Kind::Ntfs, Kind::Ntfs, Kind::Fat32, Kind::ExFat]),
    ) {
        let mut w = World::of(Options { kind, ..Options::default() });
        let id = w.file("\\f");
        w.put(id, 0, 100_000);
        let directory = w.directory("\\d");
        for (code, input, output, access) in calls {
            let weak = w.with_access("\\f", Access(u32::from(access) & 0x1FF | 0x80));
            for id in [id, directory, weak] {
                control(&mut w, id, code, &input, output);
            }
            prop_assert_eq!(w.control(OpenId(999), code, &input, &mut []), (Status::INVALID_HANDLE, 0));
        }
        prop_assert_eq!(w.size(id), 100_000);
    }

    #[test]
    fn any_numbers_in_well_formed_controls(
        pairs in proptest::collection::vec((number(), number()), 1..6),
        output in 0_usize..70,
        sparse in any::<bool>(),
    ) {
        let mut w = World::new();
        let id = w.file("\\f");
        w.set_sparse(id, sparse);
        w.put(id, 0, 100_000);
        for &(first, second) in &pairs {
            let before = w.extents(id).unwrap();
            let (status, _) = control(&mut w, id, codes::SET_ZERO_DATA, &pair(first, second), 0);
            let good = first <= second && second <= i64::MAX as u64;
            prop_assert_eq!(status, if good { Status::SUCCESS } else { Status::INVALID_PARAMETER });
            if !good {
                prop_assert_eq!(w.extents(id).unwrap(), before);
            }
            let (status, len) = control(&mut w, id, codes::QUERY_ALLOCATED_RANGES, &pair(first, second), output);
            let end = first.checked_add(second).filter(|&end| end <= i64::MAX as u64);
            let good = first <= i64::MAX as u64 && second <= i64::MAX as u64 && end.is_some();
            prop_assert_eq!(status == Status::INVALID_PARAMETER, !good);
            prop_assert_eq!(len % 16, 0);
            let regions = [pair(first, second), vec![1, 0, 0, 0, 0, 0, 0, 0]].concat();
            control(&mut w, id, codes::QUERY_FILE_REGIONS, &regions, output);
            prop_assert_eq!(w.size(id), 100_000);
        }
        control(&mut w, id, codes::FILE_LEVEL_TRIM, &trim_input(&pairs), output);
    }

    #[test]
    fn any_numbers_in_the_operations(first in number(), second in number(), len in 0_usize..5000, sparse in any::<bool>()) {
        let mut w = World::new();
        let id = w.file("\\f");
        w.set_sparse(id, sparse);
        w.put(id, 0, 5000);
        let (size, allocated) = (w.size(id), w.allocated(id));
        let _ = w.read(id, first as i64, &mut vec![0; len]);
        let _ = w.lock(id, first, second, 1, true);
        let _ = w.unlock(id, first, second, 1);
        if w.write(id, first as i64, &vec![1; len]).is_err() {
            prop_assert_eq!((w.size(id), w.allocated(id)), (size, allocated));
        }
        let (size, allocated) = (w.size(id), w.allocated(id));
        if w.set_end_of_file(id, second as i64).is_err() {
            prop_assert_eq!((w.size(id), w.allocated(id)), (size, allocated));
        }
        let (size, allocated) = (w.size(id), w.allocated(id));
        if w.set_allocation(id, first as i64).is_err() {
            prop_assert_eq!((w.size(id), w.allocated(id)), (size, allocated));
        }
        prop_assert!(w.set_valid_data_length(id, second as i64).is_err());
        prop_assert!(w.valid(id) <= w.size(id));
    }
}
