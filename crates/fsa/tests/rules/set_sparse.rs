//! Facts 1.1: FSCTL_SET_SPARSE, every branch of 2.1.5.10.38 in its order.

use fsa::{Access, Action, Kind, Options, Status, codes, notify, usn_reason};

use crate::world::{KIB, MIB, World};

#[test]
fn fsa_1_1_2_1_5_10_38_a_directory_is_refused_before_anything_else() {
    let mut w = World::new();
    let id = w.directory("\\d");
    w.set_read_only(true);
    assert_eq!(w.set_sparse(id, true), Status::INVALID_PARAMETER);
    let plain = {
        w.set_read_only(false);
        let mut options = fsa::CreateOptions::new(Access::READ_ATTRIBUTES, fsa::Disposition::Open);
        options.directory = true;
        w.create("\\d", &options).unwrap().0
    };
    assert_eq!(w.set_sparse(plain, true), Status::INVALID_PARAMETER);
}

#[test]
fn fsa_1_1_2_1_5_10_38_read_only_comes_before_access() {
    let mut w = World::new();
    let id = w.file("\\f");
    let weak = w.with_access("\\f", Access::READ_DATA);
    w.set_read_only(true);
    assert_eq!(w.set_sparse(id, true), Status::MEDIA_WRITE_PROTECTED);
    assert_eq!(w.set_sparse(weak, true), Status::MEDIA_WRITE_PROTECTED);
    w.set_read_only(false);
    assert_eq!(w.set_sparse(weak, true), Status::ACCESS_DENIED);
    assert!(!w.is_marked(id));
}

#[test]
fn fsa_1_1_2_1_5_10_38_refusals_post_nothing() {
    let mut w = World::new();
    let id = w.file("\\f");
    let weak = w.with_access("\\f", Access::WRITE_EA | Access::READ_DATA);
    w.take_usn_records();
    w.take_notifications();
    assert_eq!(w.set_sparse(weak, true), Status::ACCESS_DENIED);
    w.set_read_only(true);
    assert_eq!(w.set_sparse(id, true), Status::MEDIA_WRITE_PROTECTED);
    w.set_read_only(false);
    w.close(weak).unwrap();
    w.close(id).unwrap();
    assert_eq!((w.reasons(), w.notified()), (vec![], vec![]));
}

#[test]
fn fsa_1_1_2_1_5_10_38_true_marks_posts_usn_and_notifies_at_close() {
    let mut w = World::new();
    let id = w.file("\\f");
    w.take_usn_records();
    w.take_notifications();
    assert_eq!(w.set_sparse(id, true), Status::SUCCESS);
    assert!(w.details(id).is_sparse && w.is_marked(id));
    assert_eq!(w.reasons(), [usn_reason::BASIC_INFO_CHANGE]);
    assert_eq!(w.notified(), []);
    w.close(id).unwrap();
    assert_eq!(w.notified(), [(Action::Modified, notify::ATTRIBUTES)]);
}

#[test]
fn fsa_1_1_2_1_5_10_38_true_again_is_success_and_posts_again() {
    let mut w = World::new();
    let id = w.sparse("\\f");
    w.take_usn_records();
    assert_eq!(w.set_sparse(id, true), Status::SUCCESS);
    assert_eq!(w.reasons(), [usn_reason::BASIC_INFO_CHANGE]);
}

#[test]
fn fsa_1_1_no_buffer_is_true_any_nonzero_byte_is_true_and_the_rest_is_ignored() {
    let mut w = World::new();
    let id = w.file("\\f");
    for (input, sparse) in
        [(&[][..], true), (&[0], false), (&[0xFF], true), (&[0, 1, 1, 1], false), (&[2, 0, 0, 0, 0, 0, 0, 0, 0], true)]
    {
        assert_eq!(w.control(id, codes::SET_SPARSE, input, &mut []), (Status::SUCCESS, 0));
        assert_eq!(w.details(id).is_sparse, sparse, "{input:?}");
    }
}

#[test]
fn fsa_1_1_access_of_write_data_attributes_or_append_suffices() {
    let mut w = World::new();
    w.file("\\f");
    for access in [Access::WRITE_DATA, Access::WRITE_ATTRIBUTES, Access::APPEND_DATA] {
        let id = w.with_access("\\f", access);
        assert_eq!(w.set_sparse(id, true), Status::SUCCESS);
        assert_eq!(w.set_sparse(id, false), Status::SUCCESS);
    }
    let id = w.with_access("\\f", Access::WRITE_EA);
    assert_eq!(w.set_sparse(id, true), Status::ACCESS_DENIED);
}

#[test]
fn fsa_1_1_true_never_deallocates() {
    let mut w = World::new();
    let id = w.file("\\f");
    w.end(id, MIB);
    let before = w.extents(id).unwrap();
    assert_eq!(w.set_sparse(id, true), Status::SUCCESS);
    assert_eq!((w.extents(id).unwrap(), w.allocated(id)), (before, MIB));
    assert_eq!(w.zero(id, 0, MIB), Status::SUCCESS);
    assert_eq!(w.allocated(id), 0, "marking and then zeroing shrinks it");
}

#[test]
fn fsa_1_1_false_allocates_every_hole_and_keeps_the_content() {
    let mut w = World::new();
    let id = w.sparse("\\f");
    w.put(id, 0, 1000);
    w.put(id, 512 * KIB, 1000);
    w.end(id, MIB);
    assert!(w.allocated(id) < MIB);
    w.take_usn_records();
    assert_eq!(w.set_sparse(id, false), Status::SUCCESS);
    assert_eq!(w.reasons(), [usn_reason::BASIC_INFO_CHANGE]);
    assert_eq!(w.allocated(id), MIB);
    assert!(!w.is_marked(id));
    assert!(w.reads_data(id, 0, 1000) && w.reads_data(id, 512 * KIB, 1000));
    assert!(w.reads_zero(id, 1000, 512 * KIB - 1000) && w.reads_zero(id, 512 * KIB + 1000, MIB - 512 * KIB - 1000));
}

#[test]
fn fsa_1_1_2_1_5_10_38_false_allocates_the_holes_behind_the_size_too() {
    let mut w = World::clusters(512, 1 << 16);
    let id = w.sparse("\\f");
    assert_eq!(w.compress(id, 2), Status::SUCCESS);
    w.put(id, 0, 16 * KIB);
    // Units of 8 KiB while it is compressed, then of 64 KiB: the first half of one is a hole.
    assert_eq!(w.zero(id, 0, 8 * KIB), Status::SUCCESS);
    assert_eq!(w.compress(id, 0), Status::SUCCESS);
    w.end(id, 4 * KIB);
    assert_eq!(w.allocated(id), 8 * KIB);
    assert_eq!(w.set_sparse(id, false), Status::SUCCESS);
    assert_eq!(w.allocated(id), 16 * KIB);
    w.end(id, 16 * KIB);
    assert_eq!(w.allocated(id), 16 * KIB, "an ordinary stream has no holes");
    assert!(fsa::Volume::restore(&w.save(), w.store().clone()).is_ok());
}

/// Two holes of 1 MiB and 2 MiB between three written units.
fn two_holes(w: &mut World) -> fsa::OpenId {
    let id = w.sparse("\\f");
    for offset in [0, MIB + 64 * KIB, 3 * MIB + 128 * KIB] {
        w.put(id, offset, 64 * KIB);
    }
    id
}

#[test]
fn fsa_1_1_2_1_5_10_38_false_on_a_full_volume_keeps_what_it_allocated() {
    let mut w = World::new();
    let id = two_holes(&mut w);
    assert_eq!(w.allocated(id), 192 * KIB);
    // Room for the first hole, not for the second.
    w.fill_at(Some((192 * KIB + 2 * MIB) / (4 * KIB)));
    w.take_usn_records();
    w.take_notifications();
    assert_eq!(w.set_sparse(id, false), Status::DISK_FULL);
    assert_eq!(w.allocated(id), 192 * KIB + MIB, "the partial allocation is kept");
    assert!(w.details(id).is_sparse && w.is_marked(id), "but the stream is as sparse as before");
    assert_eq!(w.reasons(), [usn_reason::BASIC_INFO_CHANGE], "posted before the space is looked for");
    assert!(w.reads_zero(id, 64 * KIB, MIB) && w.reads_zero(id, MIB + 128 * KIB, 2 * MIB));
    w.close(id).unwrap();
    assert_eq!(w.notified(), [(Action::Modified, notify::LAST_WRITE | notify::SIZE | notify::ATTRIBUTES)]);
}

#[test]
fn fsa_1_1_2_1_5_10_38_false_on_a_full_volume_notifies_no_change_of_attributes() {
    let mut w = World::new();
    let id = two_holes(&mut w);
    w.close(id).unwrap();
    w.fill_at(Some(0));
    w.take_notifications();
    let id = w.with_access("\\f", Access::WRITE_ATTRIBUTES);
    assert_eq!(w.set_sparse(id, false), Status::DISK_FULL);
    w.close(id).unwrap();
    assert_eq!(w.notified(), []);
}

#[test]
fn fsa_1_1_2_1_5_10_38_false_leaves_the_attribute_while_another_stream_is_sparse() {
    let mut w = World::new();
    let id = w.sparse("\\f");
    let other = w.sparse("\\f:s");
    assert_eq!(w.set_sparse(id, false), Status::SUCCESS);
    assert!(!w.details(id).is_sparse && w.details(other).is_sparse);
    assert!(w.is_marked(id), "the attribute is the union over the streams");
    assert_eq!(
        w.network_open_information(id).unwrap().attributes & fsa::Attributes::SPARSE_FILE,
        fsa::Attributes::NONE
    );
    assert_eq!(w.set_sparse(other, false), Status::SUCCESS);
    assert!(!w.is_marked(id));
}

#[test]
fn fsa_1_1_a_file_created_with_the_attribute_is_not_sparse() {
    let mut w = World::new();
    let mut options = fsa::CreateOptions::new(Access::ALL, fsa::Disposition::Create);
    options.attributes = fsa::Attributes::SPARSE_FILE;
    let id = w.create("\\f", &options).unwrap().0;
    assert!(!w.details(id).is_sparse && !w.is_marked(id));
}

#[test]
fn fsa_1_1_a_lock_of_another_handle_does_not_matter() {
    let mut w = World::new();
    let id = w.file("\\f");
    w.put(id, 0, 4096);
    let other = w.file("\\f");
    w.lock(other, 0, 4096, 0, true).unwrap();
    assert_eq!(w.set_sparse(id, true), Status::SUCCESS);
}

#[test]
fn fsa_1_1_fat_and_exfat_refuse() {
    for kind in [Kind::Fat32, Kind::ExFat] {
        let mut w = World::of(Options { kind, ..Options::default() });
        let id = w.file("\\f");
        w.put(id, 0, 4096);
        assert_eq!(w.set_sparse(id, true), Status::INVALID_DEVICE_REQUEST);
        assert_eq!(w.zero(id, 0, 4096), Status::INVALID_DEVICE_REQUEST);
        assert!(w.reads_data(id, 0, 4096));
        assert_eq!(w.information().flags & fsa::volume_flags::SUPPORTS_SPARSE_FILES, 0);
    }
    assert_ne!(World::new().information().flags & fsa::volume_flags::SUPPORTS_SPARSE_FILES, 0);
}

#[test]
fn fsa_1_1_without_a_journal_nothing_is_posted() {
    let mut w = World::of(Options { usn_journal: false, ..Options::default() });
    w.sparse("\\f");
    assert_eq!(w.usn_records().count(), 0);
}
