//! Facts 1.6: size, read, write, locks, close.

use fsa::{Access, Action, CreateOptions, Disposition, Kind, Options, Status, notify, usn_reason};

use crate::world::{GIB, KIB, MIB, World, data};

const CU: u64 = 64 * KIB;

#[test]
fn fsa_1_6_end_of_file_refuses_in_its_order() {
    let mut w = World::new();
    let id = w.file("\\f");
    let max = w.information().max_file_bytes as i64;
    let weak = w.with_access("\\f", Access::READ_DATA | Access::APPEND_DATA);
    let directory = w.directory("\\d");
    assert_eq!(w.set_end_of_file(directory, 0), Err(Status::INVALID_PARAMETER));
    for size in [-1, i64::MIN, max + 1, i64::MAX] {
        assert_eq!(w.set_end_of_file(id, size), Err(Status::INVALID_PARAMETER));
        assert_eq!(w.set_end_of_file(weak, size), Err(Status::INVALID_PARAMETER));
        assert_eq!(w.set_allocation(id, size), Err(Status::INVALID_PARAMETER));
    }
    assert_eq!(w.set_end_of_file(weak, 1), Err(Status::ACCESS_DENIED));
    w.set_read_only(true);
    assert_eq!(w.set_end_of_file(id, 1), Err(Status::MEDIA_WRITE_PROTECTED));
    assert_eq!(w.size(id), 0);
}

#[test]
fn fsa_1_6_end_of_file_records() {
    let mut w = World::new();
    let id = w.file("\\f");
    w.take_usn_records();
    w.end(id, 0);
    assert_eq!(w.reasons(), [], "the same size changes the time only");
    w.end(id, 100);
    w.end(id, 10);
    assert_eq!(w.reasons(), [usn_reason::DATA_EXTEND, usn_reason::DATA_TRUNCATION]);
}

#[test]
fn fsa_1_6_end_of_file_of_the_same_size_moves_the_time_and_of_a_deleted_stream_nothing() {
    let mut w = World::new();
    let id = w.file("\\f:s");
    w.put(id, 0, 100);
    let before = w.basic_information(id).unwrap();
    w.end(id, 100);
    let same = w.basic_information(id).unwrap();
    assert!(same.modified > before.modified && same.changed > before.changed);
    w.set_disposition(id, true).unwrap();
    w.take_usn_records();
    assert_eq!((w.set_end_of_file(id, 5), w.set_end_of_file(id, 5000)), (Ok(()), Ok(())));
    assert_eq!((w.set_allocation(id, 0), w.size(id), w.reasons()), (Ok(()), 100, vec![]));
    assert_eq!(w.basic_information(id).unwrap(), same);
}

#[test]
fn fsa_1_6_growth_allocates_an_ordinary_stream_and_leaves_a_hole_in_a_sparse_one() {
    let mut w = World::new();
    let id = w.file("\\f");
    w.end(id, MIB + 1);
    assert_eq!((w.allocated(id), w.valid(id)), (MIB + 4096, 0));
    assert_eq!(w.set_end_of_file(id, 2 * GIB as i64), Err(Status::DISK_FULL));
    assert_eq!((w.size(id), w.allocated(id)), (MIB + 1, MIB + 4096));
    let id = w.sparse("\\s");
    w.end(id, 1 << 40);
    assert_eq!((w.allocated(id), w.valid(id), w.size(id)), (0, 0, 1 << 40));
}

#[test]
fn fsa_1_6_shrinking_frees_below_the_last_cluster_and_takes_the_valid_data_with_it() {
    let mut w = World::new();
    let id = w.file("\\f");
    w.put(id, 0, 10 * 4096);
    w.end(id, 9 * 4096);
    assert_eq!(w.allocated(id), 10 * 4096, "one cluster too much is kept");
    w.end(id, 4096 + 1);
    assert_eq!((w.allocated(id), w.valid(id)), (8192, 4097));
    w.end(id, 10 * 4096);
    assert!(w.reads_data(id, 0, 4097) && w.reads_zero(id, 4097, 9 * 4096 - 1));
    let id = w.sparse("\\s");
    w.put(id, 0, 4 * CU);
    w.end(id, CU + 1);
    assert_eq!(w.allocated(id), 2 * CU);
}

#[test]
fn fsa_1_6_allocation() {
    let mut w = World::new();
    let id = w.file("\\f");
    w.set_allocation(id, MIB as i64).unwrap();
    assert_eq!((w.allocated(id), w.size(id)), (MIB, 0));
    assert_eq!(w.standard_information(id).unwrap().allocation_bytes, MIB);
    w.put(id, 0, 5000);
    w.take_usn_records();
    w.set_allocation(id, 4097).unwrap();
    assert_eq!((w.allocated(id), w.size(id), w.reasons()), (8192, 5000, vec![]));
    w.set_allocation(id, 8192).unwrap();
    w.set_allocation(id, 4096).unwrap();
    assert_eq!((w.allocated(id), w.size(id), w.valid(id)), (4096, 4096, 4096));
    assert_eq!(w.reasons(), [usn_reason::DATA_TRUNCATION]);
    let before = w.basic_information(id).unwrap();
    w.set_allocation(id, 4096).unwrap();
    let same = w.basic_information(id).unwrap();
    assert!(same.changed > before.changed && same.modified == before.modified, "the same: the change time moves");
    assert_eq!(w.set_allocation(id, 2 * GIB as i64), Err(Status::DISK_FULL));
    let id = w.sparse("\\s");
    w.set_allocation(id, MIB as i64).unwrap();
    assert_eq!((w.allocated(id), w.size(id)), (0, 0));
}

#[test]
fn fsa_1_6_allocation_below_the_size_truncates_at_a_cluster_and_elsewhere_at_the_byte() {
    let mut w = World::new();
    let id = w.sparse("\\s");
    w.put(id, 0, 100_000);
    w.set_allocation(id, 70_000).unwrap();
    assert_eq!((w.size(id), w.valid(id), w.allocated(id)), (73_728, 73_728, 2 * CU));
    for kind in [Kind::Fat32, Kind::ExFat] {
        let mut w = World::of(Options { kind, ..Options::default() });
        let id = w.file("\\f");
        w.put(id, 0, 100_000);
        w.set_allocation(id, 70_000).unwrap();
        assert_eq!((w.size(id), w.valid(id), w.allocated(id)), (70_000, 70_000, 73_728), "note 178");
    }
}

#[test]
fn fsa_1_6_fat32_has_no_room_for_4_gib() {
    let mut w = World::of(Options { kind: Kind::Fat32, ..Options::default() });
    let id = w.file("\\f");
    assert_eq!(w.set_end_of_file(id, 4 * GIB as i64), Err(Status::DISK_FULL), "note 180");
    assert_eq!(w.set_allocation(id, 4 * GIB as i64), Err(Status::INVALID_PARAMETER));
    assert_eq!(w.size(id), 0);
}

#[test]
fn fsa_1_6_close_frees_the_excess() {
    let mut w = World::new();
    let free = w.free_clusters();
    let id = w.file("\\f");
    w.set_allocation(id, MIB as i64).unwrap();
    w.put(id, 0, 1);
    w.close(id).unwrap();
    assert_eq!(w.free_clusters(), free - 1);
}

#[test]
fn fsa_1_6_valid_data_length() {
    let mut w = World::new();
    let options = CreateOptions { manage_volume: true, ..CreateOptions::new(Access::ALL, Disposition::OpenIf) };
    let id = w.create("\\f", &options).unwrap().0;
    let plain = w.file("\\f");
    let directory = w.create("\\d", &CreateOptions { directory: true, ..options }).unwrap().0;
    w.end(id, MIB);
    assert_eq!(w.set_valid_data_length(plain, 10), Err(Status::PRIVILEGE_NOT_HELD));
    assert_eq!(w.set_valid_data_length(directory, 10), Err(Status::INVALID_PARAMETER));
    assert_eq!(w.set_valid_data_length(id, 4096), Ok(()));
    for valid in [4095, -1, MIB as i64 + 1, i64::MAX, i64::MIN] {
        assert_eq!(w.set_valid_data_length(id, valid), Err(Status::INVALID_PARAMETER));
    }
    w.set_sparse(id, true);
    assert_eq!(w.set_valid_data_length(id, 8192), Err(Status::INVALID_PARAMETER));
    w.set_sparse(id, false);
    w.compress(id, 2);
    assert_eq!(w.set_valid_data_length(id, 8192), Err(Status::INVALID_PARAMETER));
    w.set_read_only(true);
    assert_eq!(w.set_valid_data_length(plain, 8192), Err(Status::MEDIA_WRITE_PROTECTED));
    assert_eq!(w.valid(id), 4096);
}

#[test]
fn fsa_1_6_write_of_nothing_and_its_refusals() {
    let mut w = World::new();
    let id = w.file("\\f");
    let max = w.information().max_file_bytes as i64;
    w.take_usn_records();
    assert_eq!((w.write(id, 5, &[]), w.size(id), w.reasons()), (Ok(0), 0, vec![]));
    assert_eq!(w.write(id, i64::MAX, &[1]), Err(Status::INVALID_PARAMETER));
    assert_eq!(w.write(id, i64::MAX - 1, &[1, 2]), Err(Status::INVALID_PARAMETER));
    assert_eq!(w.write(id, max, &[1]), Err(Status::INVALID_PARAMETER));
    assert_eq!(w.write(id, max - 1, &[1]), Err(Status::DISK_FULL), "an ordinary stream would need it all");
    let reader = w.with_access("\\f", Access::READ_DATA);
    assert_eq!(w.write(reader, 0, &[1]), Err(Status::ACCESS_DENIED));
    let directory = w.directory("\\d");
    assert_eq!(w.write(directory, 0, &[1]), Err(Status::INVALID_PARAMETER));
    w.set_read_only(true);
    assert_eq!(w.write(id, 0, &[]), Err(Status::MEDIA_WRITE_PROTECTED));
    assert_eq!((w.size(id), w.allocated(id)), (0, 0));
}

#[test]
fn fsa_1_6_write_records_extend_overwrite_or_both() {
    let mut w = World::new();
    let id = w.file("\\f");
    w.take_usn_records();
    w.put(id, 0, 10);
    w.put(id, 0, 10);
    w.put(id, 5, 10);
    w.put(id, 15, 1);
    let (extend, overwrite) = (usn_reason::DATA_EXTEND, usn_reason::DATA_OVERWRITE);
    assert_eq!(w.reasons(), [extend, overwrite, extend | overwrite, extend]);
}

#[test]
fn fsa_1_6_a_negative_offset_and_an_open_that_may_only_append_write_at_the_end() {
    let mut w = World::new();
    let id = w.file("\\f");
    w.put(id, 0, 10);
    assert_eq!(w.write(id, -1, b"ab"), Ok(2));
    assert_eq!(w.write(id, i64::MIN, b"cd"), Ok(2));
    let append = w.with_access("\\f", Access::APPEND_DATA);
    assert_eq!(w.write(append, 0, b"ef"), Ok(2));
    assert_eq!(w.bytes(id, 10, 100), b"abcdef");
}

#[test]
fn fsa_1_6_unbuffered_opens_want_sectors() {
    let mut w = World::of(Options { sector_bytes: 4096, ..Options::default() });
    let options = CreateOptions {
        no_intermediate_buffering: true,
        ..CreateOptions::new(Access::READ_DATA | Access::WRITE_DATA, Disposition::Create)
    };
    let id = w.create("\\f", &options).unwrap().0;
    let sector = data(4096);
    assert_eq!(w.write(id, 512, &sector), Err(Status::INVALID_PARAMETER));
    assert_eq!(w.write(id, 0, &sector[..512]), Err(Status::INVALID_PARAMETER));
    assert_eq!(w.write(id, 4096, &sector), Ok(4096));
    assert_eq!(w.read(id, 1, &mut [0; 4096]), Err(Status::INVALID_PARAMETER));
    assert_eq!(w.read(id, 0, &mut [0; 1]), Err(Status::INVALID_PARAMETER));
    assert_eq!(w.read(id, 4096, &mut [0; 8192]), Ok(4096));
    let appending = CreateOptions { access: Access::ALL, ..options };
    assert_eq!(w.create("\\g", &appending), Err(Status::INVALID_PARAMETER));
}

#[test]
fn fsa_1_6_locks_and_the_order_of_lock_record_allocation() {
    let mut w = World::new();
    let id = w.file("\\f");
    let other = w.file("\\f");
    w.put(id, 0, 100);
    w.take_usn_records();
    w.lock(other, 50, 10, 0, true).unwrap();
    assert_eq!(w.write(id, 0, &[9; 51]), Err(Status::FILE_LOCK_CONFLICT));
    assert_eq!(w.read(id, 59, &mut [0; 2]), Err(Status::FILE_LOCK_CONFLICT));
    assert_eq!(w.read(id, 60, &mut [0; 2]), Ok(2));
    assert_eq!(w.reasons(), []);
    w.fill_at(Some(0));
    assert_eq!(w.write(id, 4096, &[9]), Err(Status::DISK_FULL));
    assert_eq!(w.reasons(), [usn_reason::DATA_EXTEND]);
    assert_eq!((w.size(id), w.valid(id)), (100, 100));
    assert_eq!(w.write(id, 0, &[9; 50]), Ok(50), "overwriting needs no space");
}

#[test]
fn fsa_1_6_lock_rules() {
    let mut w = World::new();
    let a = w.file("\\f");
    let b = w.file("\\f");
    assert_eq!(w.lock(a, u64::MAX, 2, 0, true), Err(Status::INVALID_LOCK_RANGE));
    assert_eq!(w.lock(a, 1, u64::MAX, 0, true), Ok(()), "up to the last offset there is");
    assert_eq!(w.unlock(a, 1, u64::MAX, 0), Ok(()));
    w.lock(a, 0, 10, 1, false).unwrap();
    w.lock(b, 5, 10, 2, false).unwrap();
    assert_eq!(w.lock(a, 0, 1, 1, true), Err(Status::LOCK_NOT_GRANTED), "not over one's own shared one");
    w.lock(b, 20, 10, 0, true).unwrap();
    assert_eq!(w.lock(b, 29, 1, 0, true), Err(Status::LOCK_NOT_GRANTED), "not twice by the same owner");
    assert_eq!(w.lock(b, 29, 1, 0, false), Ok(()), "but shared under one's own");
    assert_eq!(w.lock(a, 29, 1, 0, false), Err(Status::LOCK_NOT_GRANTED));
    assert_eq!(w.unlock(b, 20, 10, 1), Err(Status::RANGE_NOT_LOCKED), "the key counts");
    assert_eq!(w.unlock(a, 20, 10, 0), Err(Status::RANGE_NOT_LOCKED), "and the owner");
    assert_eq!(w.unlock(b, u64::MAX, 3, 0), Err(Status::INVALID_LOCK_RANGE));
    w.close(b).unwrap();
    assert_eq!(w.lock(a, 20, 10, 0, true), Ok(()), "closing ends them");
    assert_eq!(w.lock(a, 0, 0, 0, true), Ok(()), "{{0, 0}} overlaps nothing");
    assert_eq!((w.lock(a, 100, 9, 0, true), w.lock(a, 100, 9, 0, false)), (Ok(()), Ok(())));
    w.unlock(a, 100, 9, 0).unwrap();
    let c = w.file("\\f");
    assert_eq!(w.lock(c, 100, 9, 0, false), Ok(()), "of two alike, the exclusive one is unlocked first");
    assert_eq!(w.lock(c, 100, 9, 0, true), Err(Status::LOCK_NOT_GRANTED));
    let directory = w.directory("\\d");
    assert_eq!(w.lock(directory, 0, 1, 0, true), Err(Status::INVALID_PARAMETER));
    assert_eq!(w.unlock(directory, 0, 1, 0), Err(Status::INVALID_PARAMETER));
    let weak = w.with_access("\\f", Access::READ_ATTRIBUTES);
    assert_eq!(w.lock(weak, 100, 1, 0, true), Err(Status::ACCESS_DENIED));
}

#[test]
fn fsa_1_6_read_refuses_and_ends() {
    let mut w = World::new();
    let id = w.file("\\f");
    w.put(id, 0, 10);
    assert_eq!(w.read(id, 10, &mut [0]), Err(Status::END_OF_FILE));
    assert_eq!(w.read(id, i64::MAX - 1, &mut [0]), Err(Status::END_OF_FILE));
    assert_eq!(w.read(id, i64::MAX, &mut [0]), Err(Status::INVALID_PARAMETER));
    assert_eq!(w.read(id, -1, &mut [0]), Err(Status::INVALID_PARAMETER));
    assert_eq!(w.read(id, 99, &mut []), Ok(0));
    assert_eq!(w.bytes(id, 5, 100).len(), 5);
    let runner = w.with_access("\\f", Access::EXECUTE);
    assert_eq!(w.read(runner, 0, &mut [0]), Ok(1));
    let writer = w.with_access("\\f", Access::WRITE_DATA);
    assert_eq!(w.read(writer, 0, &mut [0]), Err(Status::ACCESS_DENIED));
    let directory = w.directory("\\d");
    assert_eq!(w.read(directory, 0, &mut [0]), Err(Status::INVALID_PARAMETER));
    assert_eq!(w.flush(writer), Ok(()));
    let reader = w.with_access("\\f", Access::READ_DATA);
    assert_eq!(w.flush(reader), Err(Status::ACCESS_DENIED));
    w.set_read_only(true);
    assert_eq!((w.flush(writer), w.flush(reader)), (Err(Status::MEDIA_WRITE_PROTECTED), Err(Status::ACCESS_DENIED)));
}

#[test]
fn fsa_1_6_beyond_the_valid_data_zeroes_are_read() {
    let mut w = World::new();
    let id = w.file("\\f");
    w.put(id, 0, 8192);
    w.end(id, 100);
    w.end(id, 8192);
    assert!(w.reads_zero(id, 100, 8092), "what was there before the end was moved does not come back");
    assert_eq!(w.valid(id), 100);
}

#[test]
fn fsa_1_6_writing_zero_bytes_allocates() {
    let mut w = World::new();
    let id = w.sparse("\\f");
    w.write(id, 0, &vec![0; MIB as usize]).unwrap();
    assert_eq!(w.allocated(id), MIB);
}

#[test]
fn fsa_1_6_deleting_the_last_sparse_stream_clears_the_attribute() {
    let mut w = World::new();
    let id = w.file("\\f");
    let first = w.sparse("\\f:a");
    let second = w.sparse("\\f:b");
    w.put(first, 0, MIB);
    let free = w.free_clusters();
    w.take_usn_records();
    w.take_notifications();
    w.set_disposition(first, true).unwrap();
    w.close(first).unwrap();
    assert_eq!(w.reasons(), [usn_reason::STREAM_CHANGE, usn_reason::CLOSE]);
    assert_eq!(w.notified()[0], (Action::RemovedStream, notify::STREAM_NAME));
    assert!(w.is_marked(id));
    assert_eq!(w.free_clusters(), free + MIB / 4096);
    w.set_disposition(second, true).unwrap();
    w.close(second).unwrap();
    assert_eq!(w.reasons(), [usn_reason::STREAM_CHANGE | usn_reason::BASIC_INFO_CHANGE, usn_reason::CLOSE]);
    assert!(!w.is_marked(id));
    let plain = w.file("\\f:c");
    w.take_usn_records();
    w.set_disposition(plain, true).unwrap();
    w.close(plain).unwrap();
    assert_eq!(w.reasons(), [usn_reason::STREAM_CHANGE, usn_reason::CLOSE], "it was not sparse");
}

#[test]
fn fsa_1_6_length_of_a_usn_record() {
    let mut w = World::new();
    for (name, len) in [("a", 64), ("ab", 64), ("abc", 72), ("abcdef", 72), ("abcdefg", 80), ("\u{1F600}", 64)] {
        w.take_usn_records();
        let last = w.usn_records().last().map_or(0, |record| record.usn);
        w.file(&format!("\\{name}"));
        let record = w.take_usn_records().pop().unwrap();
        assert_eq!((record.record_len_bytes, record.name.as_str()), (len, name));
        assert!(record.usn >= last + len);
    }
}

#[test]
fn fsa_1_6_usn_is_the_sum_of_the_lengths() {
    let mut w = World::new();
    for name in ["a", "abc", "abcdefg"] {
        w.file(&format!("\\{name}"));
    }
    let usns: Vec<_> = w.usn_records().map(|record| record.usn).collect();
    assert_eq!(usns, [64, 136, 216]);
}

#[test]
fn fsa_1_6_largest_file() {
    for (kind, cluster_bytes, max) in [
        (Kind::Ntfs, 4096, (1 << 44) - 64 * KIB),
        (Kind::Ntfs, 512, (1 << 41) - 64 * KIB),
        (Kind::Ntfs, 2 * MIB, (1 << 53) - 64 * KIB),
        (Kind::Fat32, 4096, u64::from(u32::MAX)),
        (Kind::ExFat, 4096, i64::MAX as u64),
    ] {
        let w = World::of(Options { kind, cluster_bytes, ..Options::default() });
        assert_eq!(w.information().max_file_bytes, max);
    }
    let mut w = World::of(Options { max_file_bytes: Some(MIB), ..Options::default() });
    let id = w.sparse("\\f");
    assert_eq!(w.set_end_of_file(id, MIB as i64), Ok(()));
    assert_eq!(w.set_end_of_file(id, MIB as i64 + 1), Err(Status::INVALID_PARAMETER));
    assert_eq!(w.write(id, MIB as i64, &[1]), Err(Status::INVALID_PARAMETER));
}

#[test]
fn fsa_1_6_changes_are_notified_at_close() {
    let mut w = World::new();
    let id = w.file("\\f");
    w.put(id, 0, 10);
    let stream = w.file("\\f:s");
    w.put(stream, 0, 10);
    w.take_notifications();
    w.close(stream).unwrap();
    let sent = w.take_notifications();
    assert_eq!((sent[0].path.as_str(), sent[0].filter), ("\\f", notify::LAST_WRITE | notify::SIZE));
    assert_eq!((sent[1].path.as_str(), sent[1].filter), ("\\f:s", notify::STREAM_WRITE | notify::STREAM_SIZE));
    assert_eq!((sent[0].action, sent[1].action), (Action::Modified, Action::ModifiedStream));
    w.close(id).unwrap();
    assert_eq!(w.notified(), []);
}

#[test]
fn fsa_1_6_a_fat_volume_writes_zeroes_over_the_gap() {
    let mut w = World::of(Options { kind: Kind::Fat32, ..Options::default() });
    let id = w.file("\\f");
    w.put(id, MIB, 1);
    assert_eq!(w.allocated(id), MIB + 4096);
    assert!(w.reads_zero(id, 0, MIB));
}
