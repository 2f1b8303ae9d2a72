//! Facts 1.2: FSCTL_SET_ZERO_DATA.

use fsa::{Access, CreateOptions, Disposition, OperationKind, Status, codes, usn_reason};

use crate::world::{GIB, KIB, MIB, World, pair};

const CU: u64 = 64 * KIB;

/// A sparse file of `units` written compression units.
fn written(w: &mut World, units: u64) -> fsa::OpenId {
    let id = w.sparse("\\f");
    w.put(id, 0, units * CU);
    w.take_usn_records();
    id
}

#[test]
fn fsa_1_2_invalid_parameters() {
    let mut w = World::new();
    let id = written(&mut w, 1);
    let negative = -1_i64 as u64;
    for input in [pair(0, 8)[..15].to_vec(), vec![], pair(negative, 8), pair(0, negative), pair(9, 8)] {
        assert_eq!(w.control(id, codes::SET_ZERO_DATA, &input, &mut []), (Status::INVALID_PARAMETER, 0));
    }
    let directory = w.directory("\\d");
    assert_eq!(w.zero(directory, 0, 1), Status::INVALID_PARAMETER);
    assert!(w.reads_data(id, 0, CU));
    assert_eq!(w.reasons(), [usn_reason::FILE_CREATE]);
    let long = [pair(0, CU), vec![1; 9]].concat();
    assert_eq!(w.control(id, codes::SET_ZERO_DATA, &long, &mut []), (Status::SUCCESS, 0), "FSA: at least 16");
    assert_eq!(w.allocated(id), 0);
}

#[test]
fn fsa_1_2_a_read_only_volume_comes_after_the_parameters() {
    let mut w = World::new();
    let id = written(&mut w, 1);
    w.set_read_only(true);
    assert_eq!(w.zero(id, 9, 8), Status::INVALID_PARAMETER);
    assert_eq!(w.zero(id, 0, 8), Status::MEDIA_WRITE_PROTECTED);
}

#[test]
fn fsa_1_2_nothing_to_do_is_success_without_a_record() {
    let mut w = World::new();
    let id = written(&mut w, 1);
    for (from, to) in [(CU, CU + 1), (CU, u64::MAX >> 1), (5, 5), (0, 0), (10 * CU, 10 * CU)] {
        assert_eq!(w.zero(id, from, to), Status::SUCCESS);
    }
    assert_eq!((w.reasons(), w.size(id)), (vec![], CU));
    assert!(w.reads_data(id, 0, CU));
}

#[test]
fn fsa_1_2_the_size_never_changes_and_a_record_is_posted() {
    let mut w = World::new();
    let id = written(&mut w, 4);
    assert_eq!(w.zero(id, CU, u64::MAX >> 1), Status::SUCCESS);
    assert_eq!((w.size(id), w.allocated(id)), (4 * CU, CU));
    assert_eq!(w.reasons(), vec![usn_reason::DATA_OVERWRITE]);
    assert_eq!(w.valid(id), 4 * CU);
}

#[test]
fn fsa_1_2_only_a_call_over_the_whole_unit_frees_it() {
    let mut w = World::new();
    let id = written(&mut w, 2);
    assert_eq!(w.zero(id, 0, CU / 2), Status::SUCCESS);
    assert_eq!(w.zero(id, CU / 2, CU), Status::SUCCESS);
    assert_eq!(w.qar(id, 0, 2 * CU), [(0, 2 * CU)], "two half punches do not merge");
    assert!(w.reads_zero(id, 0, CU));
    assert_eq!(w.zero(id, 0, CU), Status::SUCCESS);
    assert_eq!(w.qar(id, 0, 2 * CU), [(CU, CU)]);
}

#[test]
fn fsa_1_2_head_and_tail_are_zeroed_and_whole_units_between_freed() {
    let mut w = World::new();
    let id = written(&mut w, 4);
    assert_eq!(w.zero(id, 100, 3 * CU + 100), Status::SUCCESS);
    assert_eq!(w.qar(id, 0, 4 * CU), [(0, CU), (3 * CU, CU)]);
    let bytes = w.bytes(id, 0, 4 * CU);
    assert!(bytes[..100].iter().all(|&b| b != 0) && bytes[3 * CU as usize + 100..].iter().all(|&b| b != 0));
    assert!(bytes[100..3 * CU as usize + 100].iter().all(|&b| b == 0));
}

#[test]
fn fsa_1_2_zeroing_to_the_end_frees_the_last_unit() {
    let mut w = World::new();
    let id = w.sparse("\\f");
    w.put(id, 0, CU + 1);
    assert_eq!(w.allocated(id), 2 * CU);
    assert_eq!(w.zero(id, 0, CU + 1), Status::SUCCESS);
    assert_eq!((w.allocated(id), w.size(id)), (0, CU + 1));
    assert_eq!(w.valid(id), CU + 1, "clamped to the size, though the last unit ends behind it");
}

#[test]
fn fsa_1_2_an_ordinary_stream_is_written_and_never_freed() {
    let mut w = World::new();
    let id = w.file("\\f");
    w.put(id, 0, MIB);
    assert_eq!(w.zero(id, 10, MIB - 10), Status::SUCCESS);
    assert_eq!(w.allocated(id), MIB);
    assert!(w.reads_zero(id, 10, MIB - 20));
    assert!(w.bytes(id, 0, 10).iter().all(|&b| b != 0));
}

#[test]
fn fsa_1_2_an_ordinary_stream_is_written_only_before_its_valid_data_length() {
    let mut w = World::new();
    let id = w.file("\\f");
    w.end(id, 8 * MIB);
    w.put(id, 0, CU);
    let resident = w.store().resident_bytes();
    assert_eq!(w.zero(id, 0, 8 * MIB), Status::SUCCESS);
    assert!(w.store().resident_bytes() <= resident);
    assert_eq!(w.valid(id), 256 * KIB, "the step of 256 KiB in which it ended");
    assert!(w.reads_zero(id, 0, 8 * MIB));
}

#[test]
fn fsa_1_2_locks_of_others_stand_against_it() {
    let mut w = World::new();
    let id = written(&mut w, 4);
    let other = w.file("\\f");
    w.lock(other, 2 * CU, 1, 0, true).unwrap();
    assert_eq!(w.zero(id, 0, 4 * CU), Status::FILE_LOCK_CONFLICT);
    assert!(w.reads_data(id, 0, CU), "nothing was changed");
    assert_eq!(w.reasons(), [], "the check comes before the record");
    assert_eq!(w.zero(id, 0, 2 * CU), Status::SUCCESS);
    assert_eq!(w.zero(other, 2 * CU, 4 * CU), Status::SUCCESS, "one's own exclusive lock does not matter");
    w.unlock(other, 2 * CU, 1, 0).unwrap();
    w.put(id, 0, 4 * CU);
    w.lock(id, 0, 1, 0, false).unwrap();
    assert_eq!(w.zero(id, 0, CU), Status::FILE_LOCK_CONFLICT, "a shared lock stands against its own owner");
}

#[test]
fn fsa_1_2_passes_of_one_gib_each_check_locks_and_post() {
    let mut w = World::clusters(4096, 1 << 20);
    let id = w.file("\\f");
    w.end(id, 3 * GIB);
    w.set_sparse(id, true);
    let other = w.file("\\f");
    w.lock(other, 3 * GIB - 10, 1, 0, true).unwrap();
    w.put(id, 3 * GIB - 1, 1);
    w.take_usn_records();
    assert_eq!(w.zero(id, 0, 3 * GIB), Status::FILE_LOCK_CONFLICT);
    // The write freed the large gap before the last byte: nothing but the last unit is there.
    assert_eq!(w.reasons().len(), 1, "the first pass, which finds the lock behind the hole");
    w.unlock(other, 3 * GIB - 10, 1, 0).unwrap();
    assert_eq!(w.zero(id, 0, 3 * GIB), Status::SUCCESS);
    assert_eq!(w.allocated(id), 0);
}

#[test]
fn fsa_1_2_a_pass_frees_at_most_one_gib() {
    let mut w = World::clusters(4096, 1 << 20);
    let id = w.file("\\f");
    w.end(id, 3 * GIB);
    w.put(id, 3 * GIB - 1, 1);
    w.set_sparse(id, true);
    w.take_usn_records();
    assert_eq!(w.zero(id, 0, 3 * GIB), Status::SUCCESS);
    assert_eq!((w.reasons().len(), w.allocated(id)), (3, 0));
}

#[test]
fn fsa_1_2_a_deleted_stream_is_file_deleted() {
    let mut w = World::new();
    let id = w.sparse("\\f:s");
    w.put(id, 0, CU);
    w.set_disposition(id, true).unwrap();
    assert_eq!(w.zero(id, 0, CU), Status::FILE_DELETED);
}

#[test]
fn fsa_1_2_disk_full_needs_a_unit_for_a_partial_one_and_keeps_what_was_done() {
    let mut w = World::new();
    let id = written(&mut w, 4);
    w.fill_at(Some(4 * 16));
    assert_eq!(w.zero(id, 10, CU), Status::DISK_FULL, "a head that is allocated needs a free unit all the same");
    assert!(w.reads_data(id, 0, CU));
    // Freeing two units first makes the room that the tail asks for.
    assert_eq!(w.zero(id, 0, 2 * CU + 10), Status::SUCCESS);
    assert!(w.reads_zero(id, 0, 2 * CU + 10));
    // A volume that stays full: the units are freed, the tail fails, nothing is undone.
    w.put(id, 0, 2 * CU);
    w.fill_at(Some(16));
    assert_eq!(w.zero(id, 0, CU + 10), Status::DISK_FULL);
    assert_eq!(w.qar(id, 0, 4 * CU), [(CU, 3 * CU)]);
    assert!(w.bytes(id, CU, 10).iter().all(|&b| b != 0));
}

#[test]
fn fsa_1_2_holes_are_skipped_by_whole_units() {
    let mut w = World::new();
    let id = w.sparse("\\f");
    w.put(id, 8 * CU, CU);
    assert_eq!(w.zero(id, 10, 9 * CU), Status::SUCCESS);
    assert_eq!(w.allocated(id), 0, "the head lies in a hole that goes on: it stays one");
}

#[test]
fn fsa_1_2_decision_a_request_inside_one_unit_of_a_hole_allocates_it() {
    let mut w = World::new();
    let id = w.sparse("\\f");
    w.put(id, 8 * CU, CU);
    assert_eq!(w.zero(id, 10, 20), Status::SUCCESS);
    assert_eq!(w.qar(id, 0, 8 * CU), [(0, CU)]);
    assert_eq!(w.zero(id, CU, 2 * CU + 10), Status::SUCCESS);
    assert_eq!(w.qar(id, 0, 8 * CU), [(0, CU), (2 * CU, CU)], "and so does a tail");
    assert!(w.reads_zero(id, 0, 8 * CU));
}

#[test]
fn fsa_1_2_an_unallocated_tail_does_not_move_the_valid_data_length() {
    let mut w = World::new();
    let id = w.sparse("\\f");
    w.end(id, MIB);
    assert_eq!(w.zero(id, 0, MIB), Status::SUCCESS);
    assert_eq!((w.valid(id), w.allocated(id)), (0, 0));
}

#[test]
fn fsa_1_2_1_a_small_gap_is_allocated_and_a_larger_one_leaves_holes() {
    for (start, allocated) in [(2 * CU, vec![(0, 2 * CU)]), (2 * CU + 1, vec![(2 * CU, CU)]), (3 * CU, vec![])] {
        let mut w = World::new();
        let id = w.sparse("\\f");
        w.end(id, MIB);
        assert_eq!(w.zero(id, start, MIB), Status::SUCCESS);
        assert_eq!(w.qar(id, 0, MIB), allocated, "{start}");
        assert_eq!(w.valid(id), start);
    }
}

#[test]
fn fsa_1_2_1_the_last_part_of_a_unit_of_a_large_gap_is_written() {
    let mut w = World::new();
    let id = w.sparse("\\f");
    w.put(id, 0, 10);
    w.end(id, MIB);
    // Beyond 128 KiB: the rest of the first unit is zeroed, the units between are holes.
    assert_eq!(w.zero(id, 4 * CU + 5, 4 * CU + 6), Status::SUCCESS);
    assert_eq!(w.qar(id, 0, MIB), [(0, CU), (4 * CU, CU)]);
    assert_eq!(w.valid(id), 4 * CU + 5);
    assert!(w.reads_zero(id, 10, MIB - 10));
}

#[test]
fn fsa_1_2_1_preallocated_units_of_a_large_gap_are_freed() {
    let mut w = World::new();
    let id = w.file("\\f");
    w.end(id, MIB);
    w.set_sparse(id, true);
    w.put(id, 8 * CU, CU);
    assert_eq!(w.qar(id, 0, MIB), [(8 * CU, MIB - 8 * CU)]);
}

#[test]
fn fsa_1_2_vdl_gap_of_ordinary_writes() {
    // MS Q&A 1459700: 64K at 0, zero [64K,128K), 64K at 128K: 196608 bytes, one range.
    let mut w = World::new();
    let id = w.sparse("\\a");
    w.put(id, 0, CU);
    assert_eq!(w.zero(id, CU, 2 * CU), Status::SUCCESS);
    w.put(id, 2 * CU, CU);
    assert_eq!(w.qar(id, 0, MIB), [(0, 196_608)]);
    // A gap of exactly 128 KiB is allocated, one more is a hole.
    let id = w.sparse("\\b");
    w.put(id, 2 * CU, 1);
    assert_eq!(w.qar(id, 0, MIB), [(0, 2 * CU + 1)]);
    let id = w.sparse("\\c");
    w.put(id, 2 * CU + 1, 1);
    assert_eq!(w.qar(id, 0, MIB), [(2 * CU, 2)]);
    // 1 MiB stays a hole (crosvm, sparse_qar_truncated).
    let id = w.sparse("\\d");
    w.put(id, 0, KIB);
    w.put(id, MIB, KIB);
    assert_eq!(w.qar(id, 0, 2 * MIB), [(0, CU), (MIB, KIB)]);
}

#[test]
fn fsa_1_2_writing_the_last_sector_once_makes_later_writes_cost_their_own_unit() {
    let mut w = World::new();
    let id = w.sparse("\\f");
    w.end(id, 64 * MIB);
    w.put(id, 64 * MIB - 512, 512);
    assert_eq!((w.allocated(id), w.valid(id)), (CU, 64 * MIB));
    w.put(id, CU, 1);
    w.put(id, 3 * CU, 1);
    assert_eq!(w.allocated(id), 3 * CU);
    assert_eq!(w.qar(id, 0, 8 * CU), [(CU, CU), (3 * CU, CU)]);
}

#[test]
fn fsa_1_2_write_through_and_unbuffered_opens_flush_and_report_it() {
    for (unbuffered, through, flushes) in [(false, false, false), (true, false, true), (false, true, true)] {
        let mut w = World::new();
        let id = written(&mut w, 1);
        w.close(id).unwrap();
        let options = CreateOptions {
            no_intermediate_buffering: unbuffered,
            write_through: through,
            ..CreateOptions::new(Access::GENERIC_READ | Access::WRITE_DATA, Disposition::Open)
        };
        let id = w.create("\\f", &options).unwrap().0;
        w.fail_nth(OperationKind::Flush, 1, Status::IO_DEVICE_ERROR);
        let answer = w.zero(id, 0, CU);
        assert_eq!(answer, if flushes { Status::IO_DEVICE_ERROR } else { Status::SUCCESS });
        assert!(w.reads_zero(id, 0, CU));
    }
}

#[test]
fn fsa_1_2_needs_write_data() {
    let mut w = World::new();
    written(&mut w, 1);
    for access in [Access::APPEND_DATA, Access::WRITE_ATTRIBUTES, Access::WRITE_EA, Access::READ_DATA] {
        let id = w.with_access("\\f", access);
        assert_eq!(w.zero(id, 0, 1), Status::ACCESS_DENIED);
    }
    let id = w.with_access("\\f", Access::WRITE_DATA);
    assert_eq!(w.zero(id, 0, 1), Status::SUCCESS);
}

#[test]
fn fsa_1_2_the_whole_range_of_offsets_ends_soon() {
    let mut w = World::clusters(4096, 1 << 16);
    let id = w.sparse("\\f");
    let max = w.information().max_file_bytes;
    w.end(id, max);
    w.put(id, max - 1, 1);
    assert_eq!(w.zero(id, 0, i64::MAX as u64), Status::SUCCESS);
    assert_eq!((w.allocated(id), w.size(id)), (0, max));
}
