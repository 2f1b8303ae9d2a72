//! Names, opens, sharing, deletion.

use fsa::{
    Access, Action, Attributes, CreateAction, CreateOptions, Disposition, Kind, Options, Share, Status, notify,
    usn_reason,
};

use crate::world::{MIB, World};

fn how(disposition: Disposition) -> CreateOptions {
    CreateOptions::new(Access::ALL, disposition)
}

#[test]
fn open_dispositions() {
    use Disposition::*;
    let mut w = World::new();
    for (disposition, missing, existing) in [
        (Open, Err(Status::OBJECT_NAME_NOT_FOUND), Ok(CreateAction::Opened)),
        (Create, Ok(CreateAction::Created), Err(Status::OBJECT_NAME_COLLISION)),
        (OpenIf, Ok(CreateAction::Created), Ok(CreateAction::Opened)),
        (Overwrite, Err(Status::OBJECT_NAME_NOT_FOUND), Ok(CreateAction::Overwritten)),
        (OverwriteIf, Ok(CreateAction::Created), Ok(CreateAction::Overwritten)),
        (Supersede, Ok(CreateAction::Created), Ok(CreateAction::Superseded)),
    ] {
        let path = format!("\\{disposition:?}");
        assert_eq!(w.create(&path, &how(disposition)).map(|(_, action)| action), missing);
        let stream = format!("\\there:{disposition:?}");
        w.file("\\there");
        assert_eq!(w.create(&stream, &how(disposition)).map(|(_, action)| action), missing, "a stream");
        assert_eq!(w.create("\\there", &how(disposition)).map(|(_, action)| action), existing);
    }
}

#[test]
fn overwriting_frees_everything_and_forgets_the_states() {
    let mut w = World::new();
    let free = w.free_clusters();
    let id = w.sparse("\\f");
    w.put(id, 0, MIB);
    let stream = w.file("\\f:s");
    w.put(stream, 0, MIB);
    w.close(stream).unwrap();
    w.take_usn_records();
    let again = w.create("\\f", &how(Disposition::Overwrite)).unwrap().0;
    assert_eq!((w.size(again), w.free_clusters(), w.is_marked(again)), (0, free, false));
    assert_eq!(w.stream_information(again).unwrap().len(), 1, "the named stream is gone too");
    assert_eq!(w.reasons(), [usn_reason::DATA_TRUNCATION]);
    let named = w.file("\\f:s");
    w.put(named, 0, 10);
    let named = w.create("\\f:s", &how(Disposition::Supersede)).unwrap().0;
    assert_eq!((w.size(named), w.stream_information(again).unwrap().len()), (0, 2));
}

#[test]
fn hidden_files_are_not_overwritten_unawares() {
    let mut w = World::new();
    let hidden = CreateOptions { attributes: Attributes::HIDDEN, ..how(Disposition::Create) };
    w.create("\\f", &hidden).unwrap();
    assert_eq!(w.create("\\f", &how(Disposition::Overwrite)), Err(Status::ACCESS_DENIED));
    let knowing = CreateOptions { disposition: Disposition::Overwrite, ..hidden };
    assert!(w.create("\\f", &knowing).is_ok());
}

#[test]
fn paths_that_do_not_exist() {
    let mut w = World::new();
    w.file("\\f");
    assert_eq!(w.open("\\x\\y", Access::ALL), Err(Status::OBJECT_PATH_NOT_FOUND));
    assert_eq!(w.open("\\f\\y", Access::ALL), Err(Status::OBJECT_PATH_NOT_FOUND));
    assert_eq!(w.open("\\f:x", Access::ALL), Err(Status::OBJECT_NAME_NOT_FOUND));
    assert_eq!(w.open("f", Access::ALL), Err(Status::OBJECT_NAME_INVALID));
    assert_eq!(w.open("\\f\\", Access::ALL), Err(Status::OBJECT_NAME_INVALID));
    assert!(w.open("\\F::$DATA", Access::ALL).is_ok(), "case does not count");
}

#[test]
fn directories_and_files_are_not_each_other() {
    let mut w = World::new();
    let directory = w.directory("\\d");
    w.file("\\f");
    let as_directory = |disposition| CreateOptions { directory: true, ..how(disposition) };
    let as_file = CreateOptions { non_directory: true, ..how(Disposition::Open) };
    assert_eq!(w.create("\\d", &as_file), Err(Status::FILE_IS_A_DIRECTORY));
    assert_eq!(w.create("\\f", &as_directory(Disposition::Open)), Err(Status::NOT_A_DIRECTORY));
    assert_eq!(w.create("\\f", &as_directory(Disposition::Create)), Err(Status::OBJECT_NAME_COLLISION));
    assert_eq!(w.create("\\d", &as_directory(Disposition::Create)), Err(Status::OBJECT_NAME_COLLISION));
    assert_eq!(w.create("\\d", &as_directory(Disposition::Overwrite)), Err(Status::INVALID_PARAMETER));
    assert_eq!(w.create("\\d:s", &as_directory(Disposition::OpenIf)), Err(Status::NOT_A_DIRECTORY));
    assert_eq!(w.create("\\d::$DATA", &how(Disposition::Open)), Err(Status::FILE_IS_A_DIRECTORY));
    assert_eq!(w.create("\\d\\", &as_file), Err(Status::OBJECT_NAME_INVALID));
    assert_eq!(w.create("\\d", &how(Disposition::Overwrite)), Err(Status::OBJECT_NAME_COLLISION));
    assert_eq!(w.create("\\", &how(Disposition::Overwrite)), Err(Status::ACCESS_DENIED));
    let both = CreateOptions { non_directory: true, ..as_directory(Disposition::Open) };
    assert_eq!(w.create("\\d", &both), Err(Status::INVALID_PARAMETER));
    assert!(w.create("\\d\\", &how(Disposition::Open)).is_ok());
    // A directory can have named streams, and they can be sparse.
    let stream = w.sparse("\\d:s");
    w.put(stream, 0, 10);
    assert!(w.is_marked(directory));
    assert_eq!(w.standard_information(directory).unwrap().allocation_bytes, 0);
    assert!(w.standard_information(directory).unwrap().is_directory);
}

#[test]
fn directory_entries_and_streams_are_listed() {
    let mut w = World::new();
    let root = w.open("\\", Access::ALL).unwrap();
    let id = w.sparse("\\b");
    w.put(id, 0, 10);
    let stream = w.file("\\b:s");
    w.put(stream, 0, 5000);
    w.directory("\\A");
    let names: Vec<_> =
        w.directory_entries(root).unwrap().into_iter().map(|e| (e.name, e.size_bytes, e.attributes.0)).collect();
    assert_eq!(names, [("A".into(), 0, 0x10), ("b".into(), 10, 0x220)]);
    let streams: Vec<_> =
        w.stream_information(id).unwrap().into_iter().map(|s| (s.name, s.size_bytes, s.allocation_bytes)).collect();
    assert_eq!(streams, [("::$DATA".into(), 10, 65_536), (":s:$DATA".into(), 5000, 8192)]);
    assert_eq!(w.directory_entries(id), Err(Status::INVALID_PARAMETER));
}

#[test]
fn sharing_excludes_both_ways() {
    for (first, share, second, status) in [
        (Access::READ_DATA, Share::READ, Access::READ_DATA, Ok(())),
        (Access::READ_DATA, Share::READ, Access::WRITE_DATA, Err(Status::SHARING_VIOLATION)),
        (Access::READ_DATA, Share::READ, Access::APPEND_DATA, Err(Status::SHARING_VIOLATION)),
        (Access::READ_DATA, Share::READ, Access::DELETE, Err(Status::SHARING_VIOLATION)),
        (Access::READ_DATA, Share::NONE, Access::EXECUTE, Err(Status::SHARING_VIOLATION)),
        (Access::READ_DATA, Share::NONE, Access::READ_ATTRIBUTES, Ok(())),
        (Access::READ_ATTRIBUTES, Share::NONE, Access::READ_DATA, Ok(())),
        (Access::READ_DATA, Share::ALL, Access::DELETE, Ok(())),
    ] {
        let mut w = World::new();
        let id = w.file("\\f");
        w.close(id).unwrap();
        let options = CreateOptions { share, ..CreateOptions::new(first, Disposition::Open) };
        let id = w.create("\\f", &options).unwrap().0;
        assert_eq!(w.open("\\f", second).map(drop), status, "{first:?} {share:?} {second:?}");
        w.close(id).unwrap();
        let id = w.open("\\f", second).unwrap();
        assert_eq!(w.create("\\f", &options).map(drop), status, "and the other way round");
        w.close(id).unwrap();
    }
}

#[test]
fn sharing_is_a_matter_of_the_stream_but_deleting_the_default_one_is_not() {
    let mut w = World::new();
    let id = w.file("\\f");
    w.file("\\f:s");
    let alone = CreateOptions { share: Share::NONE, ..CreateOptions::new(Access::WRITE_DATA, Disposition::Open) };
    w.close(id).unwrap();
    assert!(w.create("\\f", &alone).is_ok(), "the other stream is open with everything");
    assert_eq!(w.open("\\f", Access::READ_DATA), Err(Status::SHARING_VIOLATION));
    let mut w = World::new();
    let id = w.file("\\f:s");
    w.close(id).unwrap();
    w.create("\\f:s", &alone).unwrap();
    assert_eq!(w.open("\\f", Access::DELETE), Err(Status::SHARING_VIOLATION));
    assert!(w.open("\\f", Access::WRITE_DATA).is_ok());
}

#[test]
fn deletion_waits_for_the_last_open() {
    let mut w = World::new();
    let free = w.free_clusters();
    let id = w.file("\\f");
    w.put(id, 0, MIB);
    let other = w.file("\\f");
    w.set_disposition(id, true).unwrap();
    assert!(w.standard_information(id).unwrap().delete_pending);
    assert_eq!(w.open("\\f", Access::ALL), Err(Status::DELETE_PENDING));
    w.close(id).unwrap();
    assert!(w.reads_data(other, 0, MIB));
    w.take_usn_records();
    w.take_notifications();
    w.close(other).unwrap();
    assert_eq!(w.reasons(), [usn_reason::FILE_DELETE | usn_reason::CLOSE]);
    assert_eq!(w.notified(), [(Action::Removed, notify::FILE_NAME)]);
    assert_eq!(w.free_clusters(), free);
    assert_eq!(w.open("\\f", Access::ALL), Err(Status::OBJECT_NAME_NOT_FOUND));
    assert_eq!(w.read(other, 0, &mut [0]), Err(Status::INVALID_HANDLE));
    assert_eq!(w.close(other), Err(Status::INVALID_HANDLE));
}

#[test]
fn deletion_can_be_taken_back_and_is_refused() {
    let mut w = World::new();
    let id = w.file("\\f");
    w.set_disposition(id, true).unwrap();
    w.set_disposition(id, false).unwrap();
    w.close(id).unwrap();
    let id = w.file("\\f");
    let weak = w.with_access("\\f", Access::WRITE_DATA);
    assert_eq!(w.set_disposition(weak, true), Err(Status::ACCESS_DENIED));
    w.set_attributes(id, Attributes::READONLY).unwrap();
    assert_eq!(w.set_disposition(id, true), Err(Status::CANNOT_DELETE));
    assert_eq!(w.open("\\f", Access::WRITE_DATA), Err(Status::ACCESS_DENIED));
    let maximum = w.with_access("\\f", Access::MAXIMUM_ALLOWED);
    assert_eq!(w.write(maximum, 0, &[1]), Err(Status::ACCESS_DENIED));
    let directory = w.directory("\\d");
    let inside = w.file("\\d\\f");
    assert_eq!(w.set_disposition(directory, true), Err(Status::DIRECTORY_NOT_EMPTY));
    w.set_disposition(inside, true).unwrap();
    w.close(inside).unwrap();
    w.set_disposition(directory, true).unwrap();
    assert_eq!(w.create("\\d\\g", &how(Disposition::Create)), Err(Status::DELETE_PENDING));
    w.close(directory).unwrap();
    assert_eq!(w.open("\\d", Access::ALL), Err(Status::OBJECT_NAME_NOT_FOUND));
    let root = w.open("\\", Access::ALL).unwrap();
    assert_eq!(w.set_disposition(root, true), Err(Status::CANNOT_DELETE));
    w.set_read_only(true);
    assert_eq!(w.set_disposition(root, true), Err(Status::MEDIA_WRITE_PROTECTED));
}

#[test]
fn delete_on_close() {
    let mut w = World::new();
    let options = CreateOptions { delete_on_close: true, ..how(Disposition::Create) };
    let id = w.create("\\f", &options).unwrap().0;
    w.close(id).unwrap();
    assert_eq!(w.open("\\f", Access::ALL), Err(Status::OBJECT_NAME_NOT_FOUND));
    let read_only = CreateOptions { attributes: Attributes::READONLY, ..options };
    assert_eq!(w.create("\\f", &read_only), Err(Status::CANNOT_DELETE));
    let weak = CreateOptions { access: Access::READ_DATA, ..options };
    assert_eq!(w.create("\\f", &weak), Err(Status::INVALID_PARAMETER));
    let stream = CreateOptions { delete_on_close: true, ..how(Disposition::OpenIf) };
    let id = w.create("\\f:s", &stream).unwrap().0;
    w.close(id).unwrap();
    let id = w.open("\\f", Access::ALL).unwrap();
    assert_eq!(w.stream_information(id).unwrap().len(), 1);
    assert_eq!(
        w.create("\\", &CreateOptions { delete_on_close: true, ..how(Disposition::Open) }),
        Err(Status::CANNOT_DELETE)
    );
}

#[test]
fn delete_on_close_of_what_became_read_only_and_of_a_directory_that_was_filled() {
    let mut w = World::new();
    let options = CreateOptions { delete_on_close: true, ..how(Disposition::Create) };
    let id = w.create("\\f", &options).unwrap().0;
    w.set_attributes(id, Attributes::READONLY).unwrap();
    w.close(id).unwrap();
    assert_eq!(w.open("\\f", Access::READ_DATA), Err(Status::OBJECT_NAME_NOT_FOUND));
    let directory = w.create("\\d", &CreateOptions { directory: true, ..options }).unwrap().0;
    w.file("\\d\\f");
    w.close(directory).unwrap();
    assert!(w.open("\\d\\f", Access::READ_DATA).is_ok());
}

#[test]
fn access_masks_that_nobody_has() {
    let mut w = World::new();
    w.file("\\f");
    assert_eq!(w.open("\\f", Access::default()), Err(Status::ACCESS_DENIED));
    assert_eq!(w.open("\\f", Access(0x0080_0000)), Err(Status::ACCESS_DENIED));
}

#[test]
fn read_only_volumes_can_be_read() {
    let mut w = World::new();
    let id = w.file("\\f");
    w.put(id, 0, 10);
    w.set_read_only(true);
    for disposition in [Disposition::Create, Disposition::Supersede, Disposition::Overwrite, Disposition::OverwriteIf] {
        assert_eq!(w.create("\\f", &how(disposition)), Err(Status::MEDIA_WRITE_PROTECTED));
    }
    assert_eq!(w.create("\\g", &how(Disposition::OpenIf)), Err(Status::MEDIA_WRITE_PROTECTED));
    assert_eq!(w.create("\\f:s", &how(Disposition::OpenIf)), Err(Status::MEDIA_WRITE_PROTECTED));
    let id = w.open("\\f", Access::GENERIC_READ).unwrap();
    assert!(w.reads_data(id, 0, 10));
    assert_eq!(w.set_attributes(id, Attributes::HIDDEN), Err(Status::ACCESS_DENIED));
    assert_ne!(w.information().flags & fsa::volume_flags::READ_ONLY_VOLUME, 0);
}

#[test]
fn fat_has_no_streams() {
    for kind in [Kind::Fat32, Kind::ExFat] {
        let mut w = World::of(Options { kind, ..Options::default() });
        assert_eq!(w.create("\\f:s", &how(Disposition::OpenIf)), Err(Status::OBJECT_NAME_INVALID));
        let id = w.create("\\f", &CreateOptions { attributes: Attributes::ENCRYPTED, ..how(Disposition::OpenIf) });
        let id = id.unwrap().0;
        assert!(!w.details(id).is_encrypted);
        assert_eq!(w.usn_records().count(), 0);
    }
    let mut names = [Kind::Ntfs, Kind::Fat32, Kind::ExFat]
        .map(|kind| World::of(Options { kind, ..Options::default() }).information().file_system);
    names.sort_unstable();
    assert_eq!(names, ["FAT32", "NTFS", "exFAT"]);
}

#[test]
fn attributes_and_times() {
    let mut w = World::new();
    let id = w.file("\\f");
    let before = w.basic_information(id).unwrap();
    assert_eq!(before.attributes, Attributes::ARCHIVE);
    w.set_attributes(id, Attributes::NONE).unwrap();
    assert_eq!(w.attributes(id), Attributes::NORMAL);
    assert_eq!(w.network_open_information(id).unwrap().attributes, Attributes::NORMAL);
    w.take_usn_records();
    w.set_attributes(id, Attributes::NONE).unwrap();
    assert_eq!(w.reasons(), []);
    w.set_attributes(id, Attributes::HIDDEN).unwrap();
    assert_eq!(w.reasons(), [usn_reason::BASIC_INFO_CHANGE]);
    w.put(id, 0, 1);
    let after = w.network_open_information(id).unwrap();
    assert!(after.modified > before.modified && after.changed > before.changed && after.created == before.created);
    assert_eq!((after.size_bytes, after.allocation_bytes), (1, 4096));
    let weak = w.with_access("\\f", Access::READ_DATA);
    assert_eq!(w.basic_information(weak), Err(Status::ACCESS_DENIED));
    assert_eq!(w.network_open_information(weak), Err(Status::ACCESS_DENIED));
    w.set_read_only(true);
    assert_eq!(w.set_attributes(id, Attributes::NONE), Err(Status::MEDIA_WRITE_PROTECTED));
}
