//! The "must show" 1 to 4, in sizes that a test can have.
#![cfg(unix)]

use std::fs::File;
use std::os::unix::fs::FileExt;

use rustix::fs::SeekFrom;

use crate::room::{KIB, MIB, Room, allocated, skip, text, write_data, write_zeroes};

#[test]
fn shows_1_fat32_of_any_size_is_small_and_clean() {
    let room = Room::new();
    for size in ["64MiB", "512MiB", "4GiB", "33GiB", "1TiB", "2TiB"] {
        let name = format!("{size}.img");
        let made = room.json(&["create", &name, "--size", size, "--fs", "fat32"]);
        assert_eq!(made["file_system"], "fat32", "{size}");
        assert!(allocated(&room.path(&name)) < 2 * MIB, "{size}");
        let Some(judge) = room.judge("fsck.vfat", &["-n", &name]) else { return };
        assert!(judge.status.success(), "{size}: {judge:?}");
    }
}

#[test]
fn shows_2_trim_gives_back_what_deleted_files_occupied() {
    let room = Room::new();
    let image = room.create_fat("disk.img", "256MiB");
    let empty = allocated(&image);
    for name in ["kept", "deleted"] {
        std::fs::write(room.path(name), (0..30 * MIB).map(|index| (index * 7 % 255) as u8 + 1).collect::<Vec<_>>())
            .unwrap();
    }
    for arguments in [&["kept"][..], &["deleted"]] {
        let put = room.judge("mcopy", &[&["-i", "disk.img"], arguments, &["::"]].concat());
        let Some(put) = put else { return };
        assert!(put.status.success(), "{put:?}");
    }
    assert!(room.judge("mdel", &["-i", "disk.img", "::deleted"]).unwrap().status.success());
    let full = allocated(&image);
    assert!(full > empty + 60 * MIB);
    // Neither looking for zeroes nor `fallocate -d` finds what was deleted.
    std::fs::copy(&image, room.path("zeros.img")).unwrap();
    let zeros = room.json(&["trim", "--zeros-only", "zeros.img"]);
    assert_eq!(zeros["free_space_bytes"], 0);
    assert!(allocated(&room.path("zeros.img")) > empty + 55 * MIB, "{zeros}");
    let trimmed = room.json(&["trim", "--verify", "disk.img"]);
    assert_eq!(trimmed["verified"], true);
    assert_eq!(trimmed["allocated_after_bytes"], allocated(&image), "law 6");
    assert!(allocated(&image) <= empty + 30 * MIB + MIB, "{trimmed}");
    assert!(room.judge("mcopy", &["-i", "disk.img", "::kept", "again"]).unwrap().status.success());
    assert_eq!(std::fs::read(room.path("kept")).unwrap(), std::fs::read(room.path("again")).unwrap(), "law 1");
    if let Some(judge) = room.judge("fsck.vfat", &["-n", "disk.img"]) {
        assert!(judge.status.success(), "{judge:?}");
    }
}

#[test]
fn shows_3_trim_frees_at_least_what_fallocate_frees() {
    let room = Room::new();
    let image = room.create("disk.img", "64MiB");
    for index in 0..64 {
        if index % 10 < 7 { write_zeroes(&image, index * MIB, MIB) } else { write_data(&image, index * MIB, MIB) }
    }
    let before = std::fs::read(&image).unwrap();
    let full = allocated(&image);
    room.json(&["trim", "--verify", "disk.img"]);
    assert_eq!(std::fs::read(&image).unwrap(), before, "law 1");
    let freed = full - allocated(&image);
    assert!(freed >= 44 * MIB, "{freed}");
    std::fs::write(room.path("copy.img"), &before).unwrap();
    let Some(peer) = room.judge("fallocate", &["-d", "copy.img"]) else { return };
    assert!(peer.status.success());
    assert!(allocated(&image) <= allocated(&room.path("copy.img")));
}

/// 20,000 extents; in memory, where they cost little, with SPARSEDISK_REQUIRE_ALL=1 the 200,000 that the map is built for.
#[test]
fn shows_4_the_map_agrees_with_seek_data_extent_for_extent() {
    let all = std::env::var_os("SPARSEDISK_REQUIRE_ALL").is_some_and(|all| all == "1");
    let mut rooms = vec![(tempfile::tempdir().unwrap(), 20_000)];
    match tempfile::tempdir_in("/dev/shm") {
        Ok(shared) => rooms.push((shared, if all { 200_000 } else { 20_000 })),
        Err(error) => skip(&format!("/dev/shm: {error}")),
    }
    for &(ref directory, count) in &rooms {
        let path = directory.path().join("many.img");
        let file = File::create_new(&path).unwrap();
        file.set_len(count * 8 * KIB).unwrap();
        for index in 0..count {
            file.write_all_at(&[1; 4096], index * 8 * KIB).unwrap();
        }
        // Not flushed: what still waits in memory for its place is in the map too.
        let room = Room::new();
        let map = room.json(&["map", text(&path)]);
        let mut mapped: Vec<(u64, u64)> = Vec::new();
        for extent in map["extents"].as_array().unwrap() {
            let (offset, length) = (extent["offset"].as_u64().unwrap(), extent["length"].as_u64().unwrap());
            if extent["kind"] == "data" {
                mapped.push((offset, offset + length));
            }
        }
        assert_eq!(mapped, sought(&file, count * 8 * KIB), "{}", path.display());
        assert_eq!(mapped.len() as u64, count, "{}", path.display());
    }
}

fn sought(file: &File, len_bytes: u64) -> Vec<(u64, u64)> {
    let mut found = Vec::new();
    let mut at = 0;
    while at < len_bytes {
        let Ok(start) = rustix::fs::seek(file, SeekFrom::Data(at)) else { break };
        let end = rustix::fs::seek(file, SeekFrom::Hole(start)).unwrap();
        found.push((start, end));
        at = end;
    }
    found
}
