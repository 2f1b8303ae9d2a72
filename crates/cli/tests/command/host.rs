//! What needs root: a full host, loop devices.
#![cfg(unix)]

use std::path::PathBuf;
use std::process::Command;

use crate::client::Client;
use crate::room::{MIB, Room, Serving, allocated, skip, text, write_data};

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

/// Must show 4 of reclaim, in a size that a test can have.
#[test]
fn law9_a_server_keeps_some_of_its_host_free_and_goes_on_when_there_is_space() {
    let room = Room::new();
    let Some(_mount) = Mount::of(&room, "32M") else { return };
    let image = room.create("small/disk.img", "64MiB");
    let server = Serving::start(&room, &["small/disk.img", "--keep-free", "8MiB", "--listen", "unix:disk.sock"]);
    assert_eq!(server.start["keep_free_bytes"], 8 * MIB);
    let block = |index: u64, round: u8| [(index % 100) as u8 + 100 * round + 1; MIB as usize];
    let free_bytes = || {
        let figures = rustix::fs::statvfs(room.path("small")).unwrap();
        figures.f_bavail * figures.f_frsize
    };
    let mut client = Client::connect(&room.path("disk.sock"));
    let taken = (0..64).find(|&index| client.write(index * MIB, &block(index, 0)).is_err()).unwrap();
    assert!((20..=24).contains(&taken), "{taken} MiB of 32, of which 8 are kept free");
    assert!(free_bytes() >= 8 * MIB);
    let error = client.write(taken * MIB, &block(taken, 0)).unwrap_err();
    assert!(error.to_string().contains("error 28"), "ENOSPC: {error}");
    // What is there is overwritten, and made durable.
    (0..taken).for_each(|index| client.write(index * MIB, &block(index, 1)).unwrap());
    client.flush().unwrap();
    let served = room.json(&["info", "small/disk.img"])["served"].clone();
    assert_eq!((&served["keep_free_bytes"], &served["refused_for_space"]), (&(8 * MIB).into(), &2.into()), "{served}");

    // Others take what was kept, and even then what is there is overwritten.
    std::fs::write(room.path("small/others"), vec![1; (free_bytes() - MIB) as usize]).unwrap();
    client.write(0, &block(0, 0)).unwrap();
    client.write(0, &block(0, 1)).unwrap();
    assert!(client.write(taken * MIB, &block(taken, 1)).is_err());
    // They delete more than they took: writes go on, with no restart and no word to the server.
    std::fs::remove_file(room.path("small/others")).unwrap();
    assert!(client.write(taken * MIB, &block(taken, 1)).is_err(), "what is kept free is all there is");
    client.write(0, &vec![0; 4 * MIB as usize]).unwrap();
    client.write(taken * MIB, &block(taken, 1)).unwrap();
    client.flush().unwrap();
    drop(server);
    let content = std::fs::read(&image).unwrap();
    for index in 4..=taken {
        let at = (index * MIB) as usize;
        assert!(content[at..at + MIB as usize] == block(index, 1), "block {index}: nothing acknowledged is lost");
    }
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
