//! Facts 1.4: FSCTL_FILE_LEVEL_TRIM. And SET_ZERO_ON_DEALLOCATION of 1.5.

// A list of one range is what is meant.
#![expect(clippy::single_range_in_vec_init)]

use fsa::{Access, Attributes, CreateOptions, Disposition, Kind, OperationKind, Options, Status, codes, usn_reason};

use crate::world::{KIB, MIB, World, trim_input};

fn written(w: &mut World) -> fsa::OpenId {
    let id = w.sparse("\\f");
    w.put(id, 0, MIB);
    w.take_usn_records();
    id
}

#[test]
fn fsa_1_4_it_frees_nothing() {
    let mut w = World::new();
    let id = written(&mut w);
    let before = w.extents(id).unwrap();
    assert_eq!(w.trim(id, &[(0, MIB)]), (Status::SUCCESS, 1));
    assert_eq!((w.allocated(id), w.extents(id).unwrap()), (MIB, before));
    assert_eq!(w.qar(id, 0, MIB), [(0, MIB)]);
    assert_eq!(w.reasons(), [usn_reason::DATA_OVERWRITE]);
}

#[test]
fn fsa_1_4_the_device_gets_the_blocks_of_the_clusters() {
    let mut w = World::new();
    let id = written(&mut w);
    let lcn = w.extents(id).unwrap()[0].lcn;
    assert_eq!(w.trim(id, &[(8192, 12_288), (64 * KIB, 4096)]), (Status::SUCCESS, 2));
    let sent: Vec<_> = w.take_device_trims().into_iter().map(|trim| trim.blocks).collect();
    let block = |bytes: u64| lcn * 8 + bytes / 512;
    assert_eq!(sent, [vec![block(8192)..block(20_480)], vec![block(65_536)..block(69_632)]]);
    assert_eq!(w.take_device_trims(), []);
}

#[test]
fn fsa_1_4_clusters_larger_than_a_page_are_sent_in_part() {
    let mut w = World::clusters(65_536, 64);
    let id = written(&mut w);
    let lcn = w.extents(id).unwrap()[0].lcn;
    assert_eq!(w.trim(id, &[(4096, 8192)]), (Status::SUCCESS, 1));
    assert_eq!(w.take_device_trims()[0].blocks, [lcn * 128 + 8..lcn * 128 + 24]);
}

#[test]
fn fsa_1_4_ranges_shrink_inward_to_pages_and_empty_ones_do_not_count() {
    let mut w = World::new();
    let id = written(&mut w);
    let lcn = w.extents(id).unwrap()[0].lcn;
    assert_eq!(w.trim(id, &[(1, 4096), (1, 8190), (1, 8191), (0, 4095), (0, 0)]), (Status::SUCCESS, 1));
    assert_eq!(w.take_device_trims()[0].blocks, [lcn * 8 + 8..lcn * 8 + 16]);
    assert_eq!(w.trim(id, &[(1, 4096), (2 * MIB, 4096)]), (Status::SUCCESS, 0), "MS-FSCC: NO_RANGES_PROCESSED");
}

#[test]
fn fsa_1_4_only_what_is_allocated_is_sent() {
    let mut w = World::new();
    let id = written(&mut w);
    w.zero(id, 64 * KIB, 128 * KIB);
    assert_eq!(w.trim(id, &[(0, MIB), (64 * KIB, 64 * KIB)]), (Status::SUCCESS, 2));
    let sent = w.take_device_trims();
    assert_eq!((sent[0].blocks.len(), sent[1].blocks.len()), (2, 0));
}

#[test]
fn fsa_1_4_clipped_to_the_allocation_and_nothing_behind_it() {
    let mut w = World::new();
    let id = w.file("\\f");
    w.put(id, 0, 5000);
    assert_eq!(w.trim(id, &[(4096, 1 << 40), (8192, 4096), (1 << 60, 4096)]), (Status::SUCCESS, 1));
    let blocks = &w.take_device_trims()[0].blocks;
    assert_eq!(blocks[0].end - blocks[0].start, 8, "up to the end of the cluster that the end is in");
}

#[test]
fn fsa_1_4_overflow_is_integer_overflow() {
    let mut w = World::new();
    let id = written(&mut w);
    for range in [(u64::MAX, 1), (4096, u64::MAX), (u64::MAX - 4095, 4096), (u64::MAX - 8191, 8192)] {
        assert_eq!(w.trim(id, &[(0, 4096), range]), (Status::INTEGER_OVERFLOW, 1), "{range:?}");
    }
}

#[test]
fn fsa_1_4_invalid_parameters() {
    let mut w = World::new();
    let id = written(&mut w);
    let good = trim_input(&[(0, 4096)]);
    let counted = |count: u32| [&good[..4], &count.to_le_bytes(), &good[8..]].concat();
    for input in [
        &[][..],
        &good[..23],
        &counted(0),
        &counted(2),
        &counted(0x0FFF_FFFF),
        &counted(0x1000_0000),
        &counted(u32::MAX),
    ] {
        assert_eq!(w.control(id, codes::FILE_LEVEL_TRIM, input, &mut [0; 4]), (Status::INVALID_PARAMETER, 0));
    }
    for output in 1..4 {
        assert_eq!(w.control(id, codes::FILE_LEVEL_TRIM, &good, &mut [0; 4][..output]).0, Status::INVALID_PARAMETER);
    }
    assert_eq!(w.reasons(), []);
    assert_eq!(w.control(id, codes::FILE_LEVEL_TRIM, &good, &mut []), (Status::SUCCESS, 0), "output is optional");
    assert_eq!(w.control(id, codes::FILE_LEVEL_TRIM, &good, &mut [0; 9]), (Status::SUCCESS, 4));
    let directory = w.directory("\\d");
    assert_eq!(w.control(directory, codes::FILE_LEVEL_TRIM, &good, &mut []).0, Status::INVALID_PARAMETER);
}

#[test]
fn fsa_1_4_encrypted_and_compressed_streams_are_refused() {
    let mut w = World::new();
    let id = w.file("\\c");
    w.put(id, 0, MIB);
    assert_eq!(w.compress(id, 2), Status::SUCCESS);
    assert_eq!(w.trim(id, &[(0, MIB)]).0, Status::INVALID_PARAMETER);
    let mut options = CreateOptions::new(Access::ALL, Disposition::Create);
    options.attributes = Attributes::ENCRYPTED;
    let id = w.create("\\e", &options).unwrap().0;
    w.put(id, 0, MIB);
    assert_eq!(w.trim(id, &[(0, MIB)]).0, Status::INVALID_PARAMETER);
}

#[test]
fn fsa_1_4_locks_stop_it_after_the_ranges_before() {
    let mut w = World::new();
    let id = written(&mut w);
    let other = w.file("\\f");
    w.lock(other, 512 * KIB, 1, 7, true).unwrap();
    let ranges = [(0, 4096), (4096, 4096), (512 * KIB, 4096), (600 * KIB, 4096)];
    assert_eq!(w.trim(id, &ranges), (Status::FILE_LOCK_CONFLICT, 2));
    // The key of the request decides, with the open.
    assert_eq!(w.trim(other, &ranges), (Status::FILE_LOCK_CONFLICT, 2));
    let mut input = trim_input(&ranges);
    input[0] = 7;
    assert_eq!(w.control(other, codes::FILE_LEVEL_TRIM, &input, &mut []).0, Status::SUCCESS);
}

#[test]
fn fsa_1_4_the_first_failure_of_the_device_is_the_answer_with_the_count_done() {
    let mut w = World::new();
    let id = written(&mut w);
    w.fail_nth(OperationKind::DeviceTrim, 3, Status::IO_DEVICE_ERROR);
    assert_eq!(w.trim(id, &[(0, 4096); 5]), (Status::IO_DEVICE_ERROR, 2));
    assert_eq!(w.take_device_trims().len(), 2, "not undone");
    assert_eq!(w.trim(id, &[(0, 4096); 5]), (Status::SUCCESS, 5));
}

#[test]
fn fsa_1_4_up_to_the_end_beyond_the_valid_data() {
    let mut w = World::new();
    let id = w.file("\\f");
    w.end(id, MIB);
    assert_eq!(w.trim(id, &[(0, MIB)]), (Status::SUCCESS, 1));
}

#[test]
fn fsa_1_4_read_only_and_access() {
    let mut w = World::new();
    let id = written(&mut w);
    let weak = w.with_access("\\f", Access::READ_DATA | Access::APPEND_DATA);
    assert_eq!(w.trim(weak, &[(0, 4096)]).0, Status::ACCESS_DENIED);
    w.set_read_only(true);
    assert_eq!(w.trim(id, &[(0, 4096)]).0, Status::MEDIA_WRITE_PROTECTED);
}

#[test]
fn fsa_1_5_zero_on_deallocation() {
    let mut w = World::new();
    let id = written(&mut w);
    let directory = w.directory("\\d");
    let weak = w.with_access("\\f", Access::READ_DATA | Access::WRITE_ATTRIBUTES);
    let append = w.with_access("\\f", Access::APPEND_DATA);
    let mut ask = |id| w.control(id, codes::SET_ZERO_ON_DEALLOCATION, &[], &mut []).0;
    assert_eq!((ask(directory), ask(weak)), (Status::ACCESS_DENIED, Status::ACCESS_DENIED));
    assert_eq!((ask(append), ask(id)), (Status::SUCCESS, Status::SUCCESS));
    assert_eq!(w.zero(id, 0, MIB), Status::SUCCESS);
    assert_eq!(w.allocated(id), 0);
    for (kind, status) in [(Kind::Fat32, Status::SUCCESS), (Kind::ExFat, Status::INVALID_DEVICE_REQUEST)] {
        let mut w = World::of(Options { kind, ..Options::default() });
        let id = w.file("\\f");
        assert_eq!(w.control(id, codes::SET_ZERO_ON_DEALLOCATION, &[], &mut []).0, status);
    }
}
