//! Names, streams, locks, limits, and what is kept.

use std::path::Path;

use sparse_file::model::{Volume, VolumeOptions};
use sparse_file::{Access, Allocation, ErrorKind, SparseFile, ZeroEffect, ZeroMode};

use crate::{KIB, MIB, again, content, directory, map, range, refused, volume};

fn create(volume: &Volume, path: &str, len_bytes: u64) -> SparseFile {
    volume.create_file(path.as_ref(), len_bytes, Allocation::Sparse).unwrap()
}

fn open(volume: &Volume, path: &str, access: Access) -> SparseFile {
    volume.open_file(path.as_ref(), access).unwrap()
}

#[test]
fn what_was_written_is_there_at_the_next_use_and_the_options_must_agree() {
    let dir = directory();
    let at = dir.path().join("new/ntfs");
    let options = VolumeOptions { capacity_bytes: Some(4 * MIB + 100), extent_budget: Some(9), ..Default::default() };
    let file = create(&Volume::open(&at, &options).unwrap(), "disk.img", MIB);
    file.write_at(100 * KIB, &[7; 1000]).unwrap();
    // Dropped without a flush: the last user saves.
    drop(file);
    let reopened = again(&at);
    let figures = reopened.figures();
    assert_eq!((figures.cluster_bytes, figures.capacity_bytes, figures.extent_budget), (4096, 4 * MIB, Some(9)));
    assert_eq!(figures.free_bytes, 4 * MIB - 2 * 64 * KIB);
    let file = open(&reopened, "disk.img", Access::ReadOnly);
    assert_eq!(content(&file)[100 * 1024..][..1000], [7; 1000]);
    assert_eq!(file.model_figures().unwrap().runs, 2);
    drop((file, reopened));
    drop(again(&at));
    for wrong in [
        VolumeOptions { cluster_bytes: Some(65536), ..options },
        VolumeOptions { capacity_bytes: Some(5 * MIB), ..options },
        VolumeOptions { extent_budget: Some(10), ..options },
    ] {
        let error = refused(&at, &wrong);
        assert_eq!(error.kind(), ErrorKind::InvalidInput, "{error}");
    }
    let impossible = VolumeOptions { cluster_bytes: Some(1000), ..Default::default() };
    let error = Volume::open(&dir.path().join("no"), &impossible).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
    assert!(!dir.path().join("no").exists());
}

#[test]
fn law7_a_volume_has_one_user_and_a_file_one_writer() {
    let dir = directory();
    let volume = volume(dir.path(), 4096, 4 * MIB);
    let error = Volume::open(dir.path(), &VolumeOptions::default()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InUse, "{error}");
    let file = create(&volume, "disk.img", MIB);
    for access in [Access::ReadWrite, Access::ReadOnly] {
        let error = volume.open_file("disk.img".as_ref(), access).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InUse, "{access:?}: {error}");
    }
    assert_eq!(volume.remove_file("disk.img".as_ref()).unwrap_err().kind(), ErrorKind::InUse);
    assert_eq!(open(&volume, "disk.img", Access::Inspect).len_bytes(), MIB);
    assert!(file.sole_opener().unwrap().is_alone().unwrap());
    drop(file);
    let reader = open(&volume, "disk.img", Access::ReadOnly);
    assert_eq!(reader.write_at(0, &[1]).unwrap_err().kind(), ErrorKind::ReadOnly);
    assert!(volume.open_file("disk.img".as_ref(), Access::ReadOnly).is_ok());
    assert_eq!(volume.open_file("disk.img".as_ref(), Access::ReadWrite).unwrap_err().kind(), ErrorKind::InUse);
}

#[test]
fn names_are_checked_and_directories_made() {
    let dir = directory();
    let volume = volume(dir.path(), 4096, 4 * MIB);
    drop(create(&volume, "a/b\\c.img", MIB));
    drop(open(&volume, "./A/B/C.IMG", Access::Inspect));
    let kind = |path: &str| volume.open_file(Path::new(path), Access::Inspect).unwrap_err().kind();
    assert_eq!(kind("a/b/d.img"), ErrorKind::NotFound);
    assert_eq!(kind("x/b"), ErrorKind::NotFound);
    assert_eq!(kind("a/b"), ErrorKind::Refused);
    for wrong in ["", "/", "..", "a/../b", "a*b", "a/", "x:y:z:q"] {
        assert_eq!(kind(wrong), ErrorKind::InvalidInput, "{wrong}");
    }
    let create_kind = |path: &str| volume.create_file(path.as_ref(), MIB, Allocation::Sparse).unwrap_err().kind();
    assert_eq!(create_kind("a/b/c.img"), ErrorKind::AlreadyExists);
    assert_eq!(create_kind("a/b/c.img/d"), ErrorKind::NotFound);
    let too_large = volume.create_file("large".as_ref(), 1 << 50, Allocation::Sparse).unwrap_err();
    assert_eq!(too_large.kind(), ErrorKind::TooLarge, "{too_large}");
    assert_eq!(kind("large"), ErrorKind::NotFound);
    volume.remove_file("a/b/c.img".as_ref()).unwrap();
    assert_eq!(kind("a/b/c.img"), ErrorKind::NotFound);
    assert_eq!(volume.figures().free_bytes, 4 * MIB);
}

#[test]
fn streams_have_their_own_content_holes_and_mark() {
    let dir = directory();
    let volume = volume(dir.path(), 4096, 8 * MIB);
    let main = create(&volume, "disk.img", MIB);
    main.write_at(0, &[1; 4096]).unwrap();
    drop(main);
    let stream = create(&volume, "disk.img:backup", MIB);
    let main = open(&volume, "disk.img", Access::Inspect);
    stream.write_at(512 * KIB, &[2; 4096]).unwrap();
    stream.set_sparse(false).unwrap();
    assert_eq!((main.is_marked_sparse().unwrap(), stream.is_marked_sparse().unwrap()), (true, false));
    assert_eq!((main.allocated_bytes().unwrap(), stream.allocated_bytes().unwrap()), (128 * KIB, MIB));
    drop((main, stream, volume));
    let volume = again(dir.path());
    assert_eq!(content(&open(&volume, "disk.img", Access::Inspect))[..4097], [&[1; 4096][..], &[0]].concat());
    let stream = open(&volume, "disk.img:backup", Access::ReadWrite);
    assert_eq!(content(&stream)[512 * 1024..][..4096], [2; 4096]);
    // Without the mark nothing is given back, and the error says so.
    let error = stream.punch(range(0, MIB)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    assert!(error.to_string().contains("sparse set"), "{error}");
    assert!(!stream.may_have_holes().unwrap());
    stream.set_sparse(true).unwrap();
    assert_eq!(stream.allocated_bytes().unwrap(), MIB, "the mark frees nothing");
    stream.punch(range(0, MIB)).unwrap();
    assert_eq!(stream.allocated_bytes().unwrap(), 0);
    drop(stream);
    volume.remove_file("disk.img:backup".as_ref()).unwrap();
    assert_eq!(open(&volume, "disk.img", Access::Inspect).allocated_bytes().unwrap(), 128 * KIB);
}

#[test]
fn two_punches_of_half_a_unit_free_nothing_and_one_of_a_whole_unit_does() {
    let dir = directory();
    for (name, cluster_bytes) in [("4k", 4 * KIB), ("64k", 64 * KIB)] {
        let volume = volume(&dir.path().join(name), cluster_bytes, 8 * MIB);
        let file = create(&volume, "disk.img", MIB);
        file.write_at(0, &vec![7; 128 << 10]).unwrap();
        let before = file.allocated_bytes().unwrap();
        file.punch(range(0, 32 * KIB)).unwrap();
        file.punch(range(32 * KIB, 64 * KIB)).unwrap();
        assert_eq!(file.allocated_bytes().unwrap(), before);
        file.punch(range(0, 64 * KIB)).unwrap();
        assert_eq!(file.allocated_bytes().unwrap(), before - 64 * KIB);
        assert_eq!(map(&file)[0].range, range(0, 64 * KIB));
    }
}

#[test]
fn clusters_larger_than_the_unit_are_the_unit() {
    let dir = directory();
    let volume = volume(dir.path(), 2 * MIB, 64 * MIB);
    let file = create(&volume, "disk.img", 16 * MIB);
    file.punch(range(0, 16 * MIB)).unwrap();
    assert_eq!((file.allocated_bytes().unwrap(), file.granularity_bytes()), (0, 2 * MIB));
    // A punch inside a hole allocates nothing.
    file.punch(range(64 * KIB, 3 * MIB)).unwrap();
    assert_eq!(file.allocated_bytes().unwrap(), 0);
    file.write_at(0, &[1]).unwrap();
    assert_eq!(file.allocated_bytes().unwrap(), 2 * MIB);
}

#[test]
fn law9_a_full_volume_fails_a_write_and_loses_nothing() {
    let dir = directory();
    let volume = volume(dir.path(), 4096, MIB);
    let file = create(&volume, "disk.img", 4 * MIB);
    let mut written = 0;
    let error = loop {
        match file.write_at(written, &[3; 64 << 10]) {
            Ok(()) => written += 64 * KIB,
            Err(error) => break error,
        }
    };
    assert_eq!(error.kind(), ErrorKind::NoSpace, "{error}");
    assert_eq!((error.offset(), volume.figures().free_bytes), (Some(written), 0));
    assert_eq!(written, 15 * 64 * KIB, "one unit is at the end");
    file.write_at(0, &[4; 4096]).unwrap();
    file.sync().unwrap();
    assert_eq!(content(&file)[..written as usize], [&[4; 4096][..], &vec![3; written as usize - 4096]].concat());
    file.punch(range(64 * KIB, 128 * KIB)).unwrap();
    file.write_at(2 * MIB, &[5; 4096]).unwrap();
    let dense = volume.create_file("dense".as_ref(), MIB, Allocation::Dense).unwrap_err();
    assert_eq!(dense.kind(), ErrorKind::NoSpace, "{dense}");
    assert_eq!(volume.open_file("dense".as_ref(), Access::Inspect).unwrap_err().kind(), ErrorKind::NotFound);
    // Partial work of a mark taken away stays (MS-FSCC note 81).
    assert_eq!(file.set_sparse(false).unwrap_err().kind(), ErrorKind::NoSpace);
    assert!(file.is_marked_sparse().unwrap());
}

#[test]
fn more_runs_than_the_budget_are_error_665_with_what_to_do() {
    let dir = directory();
    let options = VolumeOptions { extent_budget: Some(4), ..Default::default() };
    let volume = Volume::open(dir.path(), &options).unwrap();
    let file = create(&volume, "disk.img", 4 * MIB);
    for island in 0..3 {
        file.write_at(island * 128 * KIB, &[1; 4096]).unwrap();
    }
    assert_eq!(file.model_figures().unwrap().runs, 4);
    let error = file.write_at(2 * MIB, &[1; 4096]).unwrap_err();
    assert_eq!((error.kind(), error.offset()), (ErrorKind::NoSpace, Some(2 * MIB)));
    let text = error.to_string();
    assert!(text.contains("Windows error 665") && text.contains("format /L"), "{text}");
    assert!(content(&file)[2 << 20..][..4096].iter().all(|&byte| byte == 0));
    // What needs no run more goes on working.
    file.write_at(0, &vec![2; 64 << 10]).unwrap();
    file.punch(range(0, 64 * KIB)).unwrap();
    file.write_at(2 * MIB, &[1; 4096]).unwrap();
}

#[test]
fn law3_zeroing_says_what_it_did() {
    let dir = directory();
    let volume = volume(dir.path(), 4096, 4 * MIB);
    let file = volume.create_file("disk.img".as_ref(), MIB, Allocation::Dense).unwrap();
    assert_eq!(file.allocated_bytes().unwrap(), MIB);
    assert!(file.is_marked_sparse().unwrap());
    let zero = |may_unmap, fast_only| file.zero(range(0, 128 * KIB), ZeroMode { may_unmap, fast_only });
    assert_eq!(zero(false, false).unwrap(), ZeroEffect::Written);
    assert_eq!(zero(false, true).unwrap_err().kind(), ErrorKind::Unsupported);
    assert_eq!(file.allocated_bytes().unwrap(), MIB);
    assert_eq!(zero(true, true).unwrap(), ZeroEffect::Deallocated);
    assert_eq!(file.allocated_bytes().unwrap(), MIB - 128 * KIB);
    let support = file.support().unwrap();
    assert_eq!((support.file_system.as_str(), support.granularity_bytes), ("NTFS (simulated)", 64 * KIB));
    file.device_trim(range(256 * KIB, MIB)).unwrap();
    assert_eq!(file.allocated_bytes().unwrap(), MIB - 128 * KIB, "a hint frees nothing");
}

#[test]
fn a_directory_that_is_no_volume_is_refused_with_the_reason() {
    let dir = directory();
    drop(volume(dir.path(), 4096, MIB));
    let state = dir.path().join("volume.state");
    let good = std::fs::read(&state).unwrap();
    for wrong in [&b"something else"[..], &good[..good.len() - 1], &[]] {
        std::fs::write(&state, wrong).unwrap();
        let error = refused(dir.path(), &VolumeOptions::default());
        assert_eq!(error.kind(), ErrorKind::Corrupt, "{error}");
    }
    std::fs::remove_file(&state).unwrap();
    let error = refused(dir.path(), &VolumeOptions::default());
    assert_eq!(error.kind(), ErrorKind::Corrupt, "another capacity: {error}");
    // Interrupted before its first save: it is made now.
    assert_eq!(volume(dir.path(), 4096, MIB).figures().free_bytes, MIB);
}

#[cfg(target_os = "linux")]
#[test]
fn law9_a_full_host_fails_a_write_and_the_last_saved_state_stays() {
    let Some(place) = test_places::small("tmpfs", 2 * MIB) else { return };
    let volume = volume(place.dir(), 4096, 64 * MIB);
    let file = create(&volume, "disk.img", 32 * MIB);
    std::fs::write(place.path("ballast"), vec![0; 64 << 10]).unwrap();
    file.write_at(0, &vec![1; 256 << 10]).unwrap();
    file.sync().unwrap();
    let error = (1..64).find_map(|at| file.write_at(at * 256 * KIB, &vec![2; 256 << 10]).err()).expect("a full host");
    assert_eq!(error.kind(), ErrorKind::NoSpace, "{error}");
    assert!(error.to_string().contains("clusters"), "{error}");
    // What was written is durable, or the flush fails, and goes on failing (law 2).
    let flushed = file.sync();
    if flushed.is_err() {
        assert!(file.sync().is_err() && volume.sync().is_err());
    }
    drop((file, volume));
    let volume = again(place.dir());
    let file = open(&volume, "disk.img", Access::ReadWrite);
    assert_eq!(content(&file)[..256 << 10], vec![1; 256 << 10]);
    // Space returns, and with it everything else.
    std::fs::remove_file(place.path("ballast")).unwrap();
    file.punch(range(256 * KIB, 32 * MIB)).unwrap();
    file.sync().unwrap();
    file.write_at(MIB, &[3; 4096]).unwrap();
    file.sync().unwrap();
}

#[test]
fn a_volume_that_lost_its_clusters_or_its_state_is_no_new_volume() {
    let dir = directory();
    let made = volume(dir.path(), 4096, 4 * MIB);
    let file = create(&made, "disk.img", MIB);
    file.write_at(0, &[7; 4096]).unwrap();
    file.sync().unwrap();
    drop((file, made));
    for (part, why) in [("clusters", "its clusters are missing"), ("volume.state", "its state is missing")] {
        let (there, aside) = (dir.path().join(part), dir.path().join("aside"));
        std::fs::rename(&there, &aside).unwrap();
        let error = Volume::open(dir.path(), &VolumeOptions::default()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Corrupt, "{error}");
        assert!(error.to_string().contains(why), "{error}");
        assert!(!there.exists());
        std::fs::rename(&aside, &there).unwrap();
    }
    assert_eq!(content(&open(&again(dir.path()), "disk.img", Access::Inspect))[..4096], [7; 4096]);
}
