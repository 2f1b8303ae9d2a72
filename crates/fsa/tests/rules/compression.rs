//! Facts 1.5: GET_COMPRESSION, SET_COMPRESSION, encryption; and the units of section 2.

use fsa::{Access, Attributes, CreateOptions, Disposition, Options, Status, codes, notify, usn_reason};

use crate::world::{KIB, MIB, World};

fn encrypted(w: &mut World, path: &str) -> fsa::OpenId {
    let mut options = CreateOptions::new(Access::ALL, Disposition::Create);
    options.attributes = Attributes::ENCRYPTED;
    w.create(path, &options).unwrap().0
}

#[test]
fn fsa_1_5_set_compression_refuses_in_its_order() {
    let options = Options { cluster_bytes: 8192, compression_disabled: true, ..Options::default() };
    let mut w = World::of(options.clone());
    let id = w.file("\\f");
    for input in [&[][..], &[2], &[0x42, 0], &[3, 0], &[0, 2], &[0xFF, 0xFF]] {
        assert_eq!(w.control(id, codes::SET_COMPRESSION, input, &mut []), (Status::INVALID_PARAMETER, 0));
    }
    w.set_read_only(true);
    assert_eq!(w.compress(id, 2), Status::COMPRESSION_DISABLED);
    let mut w = World::of(Options { compression_disabled: false, ..options });
    let id = w.file("\\f");
    w.set_read_only(true);
    assert_eq!(w.compress(id, 1), Status::INVALID_DEVICE_REQUEST, "clusters beyond 4096");
    assert_eq!(w.compress(id, 0), Status::MEDIA_WRITE_PROTECTED);
    let mut w = World::new();
    let id = encrypted(&mut w, "\\e");
    w.set_read_only(true);
    assert_eq!(w.compress(id, 2), Status::MEDIA_WRITE_PROTECTED);
    w.set_read_only(false);
    assert_eq!(
        (w.compress(id, 2), w.compress(id, 0)),
        (Status::INVALID_DEVICE_REQUEST, Status::INVALID_DEVICE_REQUEST)
    );
}

#[test]
fn fsa_1_5_same_state_is_success_without_a_record() {
    let mut w = World::new();
    let id = w.file("\\f");
    w.take_usn_records();
    assert_eq!((w.compress(id, 0), w.reasons()), (Status::SUCCESS, vec![]));
    assert_eq!((w.compress(id, 1), w.reasons()), (Status::SUCCESS, vec![usn_reason::COMPRESSION_CHANGE]));
    assert_eq!((w.compress(id, 2), w.reasons()), (Status::SUCCESS, vec![]));
    assert_eq!(w.compression(id), 2, "the default reads back as LZNT1");
    assert!(w.attributes(id).contains(Attributes::COMPRESSED));
}

#[test]
fn fsa_1_5_get_compression_needs_two_bytes() {
    let mut w = World::new();
    let id = w.file("\\f");
    assert_eq!(w.control(id, codes::GET_COMPRESSION, &[], &mut [0]), (Status::INVALID_PARAMETER, 0));
    let any = w.with_access("\\f", Access::READ_EA);
    assert_eq!(w.compression(any), 0);
}

#[test]
fn fsa_1_5_allocation_is_rounded_to_the_unit_and_back() {
    let mut w = World::new();
    let id = w.file("\\f");
    w.put(id, 0, 5000);
    w.close(id).unwrap();
    w.take_notifications();
    let id = w.file("\\f");
    assert_eq!(w.allocated(id), 8 * KIB);
    assert_eq!(w.compress(id, 2), Status::SUCCESS);
    assert_eq!(w.allocated(id), 64 * KIB);
    assert_eq!(w.compress(id, 0), Status::SUCCESS);
    assert_eq!(w.allocated(id), 8 * KIB);
    assert!(w.reads_data(id, 0, 5000));
    w.close(id).unwrap();
    let modified = fsa::Action::Modified;
    assert_eq!(
        w.notified(),
        [(modified, notify::ATTRIBUTES), (modified, notify::ATTRIBUTES), (modified, notify::SIZE)]
    );
}

#[test]
fn fsa_1_5_no_room_for_the_unit_is_disk_full_and_changes_nothing() {
    let mut w = World::clusters(4096, 4);
    let id = w.file("\\f");
    w.put(id, 0, 5000);
    assert_eq!(w.compress(id, 2), Status::DISK_FULL);
    assert_eq!((w.compression(id), w.allocated(id)), (0, 8 * KIB));
}

#[test]
fn fsa_1_5_a_sparse_stream_frees_units_behind_its_valid_data() {
    let mut w = World::new();
    let id = w.file("\\f");
    w.end(id, MIB);
    w.put(id, 0, 10);
    w.set_sparse(id, true);
    assert_eq!(w.allocated(id), MIB);
    assert_eq!(w.compress(id, 2), Status::SUCCESS);
    assert_eq!(w.allocated(id), 64 * KIB);
}

#[test]
fn fsa_1_5_so_it_does_when_compression_ends() {
    let mut w = World::new();
    let id = w.file("\\f");
    w.end(id, MIB);
    w.put(id, 0, 10);
    assert_eq!(w.compress(id, 2), Status::SUCCESS);
    w.set_sparse(id, true);
    assert_eq!(w.allocated(id), MIB);
    assert_eq!(w.compress(id, 0), Status::SUCCESS);
    assert_eq!((w.allocated(id), w.size(id)), (64 * KIB, MIB));
    assert!(w.reads_zero(id, 10, MIB - 10));
}

#[test]
fn fsa_1_5_compressed_streams_have_holes_without_being_sparse() {
    let mut w = World::new();
    let id = w.file("\\f");
    w.compress(id, 2);
    w.put(id, 0, MIB);
    assert_eq!(w.zero(id, 0, MIB), Status::SUCCESS);
    assert_eq!(w.allocated(id), 0);
    w.end(id, 8 * MIB);
    assert_eq!(w.allocated(id), 0);
    w.fill_at(Some(0));
    assert_eq!(w.compress(id, 0), Status::DISK_FULL, "what is neither sparse nor compressed has no holes");
    assert_eq!(w.compression(id), 2);
    w.fill_at(None);
    assert_eq!(w.compress(id, 0), Status::SUCCESS);
    assert_eq!(w.allocated(id), 8 * MIB);
    assert!(w.reads_zero(id, 0, 8 * MIB));
}

#[test]
fn fsa_1_5_directories_hand_it_down() {
    let mut w = World::new();
    let directory = w.directory("\\d");
    assert_eq!(w.compress(directory, 1), Status::SUCCESS);
    assert_eq!(w.compression(directory), 2);
    let id = w.file("\\d\\f");
    assert_eq!(w.compression(id), 2);
    let options = CreateOptions { no_compression: true, ..CreateOptions::new(Access::ALL, Disposition::Create) };
    let id = w.create("\\d\\g", &options).unwrap().0;
    assert_eq!(w.compression(id), 0);
    let id = encrypted(&mut w, "\\d\\h");
    assert_eq!((w.compression(id), w.details(id).is_encrypted), (0, true));
    assert_eq!(w.compress(directory, 0), Status::SUCCESS);
    let id = w.file("\\d\\i");
    assert_eq!(w.compression(id), 0);
}

#[test]
fn fsa_1_5_needs_both_bits_of_the_code() {
    let mut w = World::new();
    w.file("\\f");
    for (access, status) in [
        (Access::READ_DATA, Status::ACCESS_DENIED),
        (Access::WRITE_DATA, Status::ACCESS_DENIED),
        (Access::READ_DATA | Access::WRITE_DATA, Status::SUCCESS),
    ] {
        let id = w.with_access("\\f", access);
        assert_eq!(w.compress(id, 2), status);
    }
}

#[test]
fn fsa_1_5_duplicate_extents_is_not_ntfs() {
    let mut w = World::new();
    let id = w.file("\\f");
    assert_eq!(w.control(id, codes::DUPLICATE_EXTENTS_TO_FILE, &[0; 32], &mut []), (Status::INVALID_DEVICE_REQUEST, 0));
}

#[test]
fn fsa_2_units_by_cluster_size() {
    for (cluster, sparse, compressed) in [
        (512, 64 * KIB, Some(8 * KIB)),
        (1024, 64 * KIB, Some(16 * KIB)),
        (2048, 64 * KIB, Some(32 * KIB)),
        (4096, 64 * KIB, Some(64 * KIB)),
        (8192, 64 * KIB, None),
        (64 * KIB, 64 * KIB, None),
        (128 * KIB, 128 * KIB, None),
        (2 * MIB, 2 * MIB, None),
    ] {
        let mut w = World::clusters(cluster, 64 * MIB / cluster);
        let id = w.sparse("\\s");
        w.put(id, 0, 8 * MIB);
        assert_eq!(w.zero(id, 0, sparse - 1), Status::SUCCESS);
        assert_eq!(w.allocated(id), 8 * MIB);
        assert_eq!(w.zero(id, 0, sparse), Status::SUCCESS);
        assert_eq!((w.allocated(id), w.details(id).unit_bytes), (8 * MIB - sparse, sparse), "{cluster}");
        let id = w.file("\\c");
        let answer = w.compress(id, 2);
        let Some(unit) = compressed else {
            assert_eq!(answer, Status::INVALID_DEVICE_REQUEST);
            continue;
        };
        assert_eq!(answer, Status::SUCCESS);
        w.put(id, 0, 8 * MIB);
        assert_eq!(w.zero(id, 0, unit - 1), Status::SUCCESS);
        assert_eq!(w.allocated(id), 8 * MIB);
        assert_eq!(w.zero(id, 0, unit), Status::SUCCESS);
        assert_eq!(w.allocated(id), 8 * MIB - unit, "{cluster}");
    }
}

#[test]
fn fsa_2_compression_flag_of_the_volume_follows_the_cluster() {
    use fsa::volume_flags::FILE_COMPRESSION;
    assert_ne!(World::clusters(4096, 1).information().flags & FILE_COMPRESSION, 0);
    assert_eq!(World::clusters(8192, 1).information().flags & FILE_COMPRESSION, 0);
}

#[test]
fn fsa_2_encrypted_and_sparse_has_the_sparse_unit() {
    let mut w = World::new();
    let id = encrypted(&mut w, "\\e");
    w.set_sparse(id, true);
    w.put(id, 0, MIB);
    assert_eq!(w.zero(id, 0, MIB), Status::SUCCESS);
    assert_eq!(w.allocated(id), 0);
    assert!(w.attributes(id).contains(Attributes::ENCRYPTED | Attributes::SPARSE_FILE));
}
