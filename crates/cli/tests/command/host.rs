//! What needs root: a full host, loop devices.
#![cfg(unix)]

use std::path::PathBuf;
use std::process::Command;

use crate::room::{MIB, Room, allocated, skip, text, write_data};

/// A small file system in memory, unmounted at the end.
struct Mount(PathBuf);

impl Mount {
    fn of(room: &Room, size: &str) -> Option<Self> {
        let at = room.path("small");
        std::fs::create_dir(&at).unwrap();
        let mounted =
            Command::new("mount").args(["-t", "tmpfs", "-o", &format!("size={size}"), "tmpfs"]).arg(&at).output();
        if mounted.is_ok_and(|output| output.status.success()) {
            return Some(Self(at));
        }
        skip("this user cannot mount");
        None
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(&self.0).status();
    }
}

#[test]
fn law9_a_full_host_is_told_and_nothing_is_left_behind() {
    let room = Room::new();
    let Some(_mount) = Mount::of(&room, "4M") else { return };
    let error = room.json_error(1, &["create", "--dense", "small/disk.img", "--size", "64MiB"]);
    assert_eq!(error["kind"], "no_space", "{error}");
    assert!(!room.path("small/disk.img").exists());

    let sparse = room.create("small/sparse.img", "64MiB");
    write_data(&sparse, 0, MIB);
    let before = std::fs::read(&sparse).unwrap();
    let had = allocated(&sparse);
    let error = room.json_error(1, &["sparse", "clear", "small/sparse.img"]);
    assert_eq!(error["kind"], "no_space");
    assert!(error["message"].as_str().unwrap().contains("and the host has"), "{error}");
    assert_eq!(allocated(&sparse), had, "it was asked first");
    assert_eq!(std::fs::read(&sparse).unwrap(), before, "law 1");
    // Punching frees, and does so on a full host.
    assert_eq!(room.run(&["punch", "small/sparse.img", "--offset", "0", "--length", "64MiB"]).code(), 0);
    assert_eq!(allocated(&sparse), 0);

    let large = room.create("large.img", "64MiB");
    write_data(&large, 0, 8 * MIB);
    let error = room.json_error(1, &["copy", "large.img", "small/copy.img"]);
    assert_eq!(error["kind"], "no_space", "{error}");
    assert!(!room.path("small/copy.img").exists(), "the name appears only when the copy is whole");
}

/// Detaches at the end, whatever happened.
struct Detach<'a>(&'a Room);

impl Drop for Detach<'_> {
    fn drop(&mut self) {
        let _ = self.0.run(&["detach", "disk.img"]);
    }
}

#[test]
fn attach_list_trim_and_detach() {
    let room = Room::new();
    let image = room.create("disk.img", "64MiB");
    // A file system that every kernel with loop devices knows.
    if room.judge("mke2fs", &["-q", "-F", "-t", "ext4", "disk.img"]).is_none() {
        return;
    }
    let empty = allocated(&image);
    std::fs::create_dir(room.path("at")).unwrap();
    let ran = room.run(&["attach", "disk.img", "--at", "at", "--json"]);
    if ran.code() != 0 {
        let kind = ran.object()["error"]["kind"].clone();
        assert!(["permission_denied", "unsupported"].contains(&kind.as_str().unwrap()), "{ran:?}");
        return skip("this user or kernel cannot attach");
    }
    let _detach = Detach(&room);
    let attached = ran.object();
    let device = attached["device"].as_str().unwrap().to_owned();
    assert_eq!(attached["mounted_at"].as_array().unwrap().len(), 1, "{attached}");
    let listed = room.json(&["list"]);
    assert!(listed["disks"].as_array().unwrap().iter().any(|disk| disk["device"] == device.as_str()), "{listed}");
    assert!(room.run(&["list"]).out().contains(&device));

    let error = room.json_error(3, &["attach", "disk.img"]);
    assert_eq!(error["kind"], "in_use", "{error}");
    let error = room.json_error(3, &["trim", "--dry-run", "disk.img"]);
    assert_eq!(error["kind"], "refused", "{error}");

    std::fs::write(room.path("at/file"), vec![1; 8 * MIB as usize]).unwrap();
    rustix::fs::sync();
    std::fs::remove_file(room.path("at/file")).unwrap();
    rustix::fs::sync();
    let trimmed = room.json(&["trim", "disk.img"]);
    assert!(trimmed["allocated_after_bytes"].as_u64().unwrap() < empty + MIB, "{trimmed}");

    let detached = room.json(&["detach", text(&room.path("at"))]);
    assert_eq!(detached["device"], device.as_str());
    assert!(allocated(&image) < empty + MIB);
    assert_eq!(room.run(&["trim", "disk.img"]).code(), 0, "the lock is gone");
}
