//! Links, FIFOs, sockets and rights: what a name can lead to on UNIX.
#![cfg(unix)]

use std::os::unix::fs::symlink;

use crate::room::{MIB, Room, text, write, write_data};

#[test]
fn a_link_that_leads_nowhere_does_not_exist() {
    let room = Room::new();
    symlink("nowhere", room.path("dangling")).unwrap();
    for arguments in [&["info", "dangling"][..], &["trim", "dangling"], &["serve", "dangling"], &["attach", "dangling"]]
    {
        assert_eq!(room.json_error(1, arguments)["kind"], "not_found", "{arguments:?}");
    }
}

#[test]
fn what_is_corrupt_inside_is_a_warning_of_info_and_a_refusal_of_trim() {
    let room = Room::new();
    let image = room.create_fat("disk.img", "64MiB");
    // The first FAT says that cluster 5 belongs to a file whose chain leads out of the disk; the second does not.
    let offset = fat_start(&image) + 5 * 4;
    write(&image, offset, &0x0FFF_0000u32.to_le_bytes());
    write_data(&image, 32 * MIB, MIB);
    let before = std::fs::read(&image).unwrap();
    assert_eq!(room.run(&["info", "disk.img"]).code(), 0);
    let trimmed = room.json(&["trim", "disk.img"]);
    assert_eq!(trimmed["free_space_bytes"], 0);
    assert!(!trimmed["refused"][0]["why"].as_str().unwrap().is_empty(), "{trimmed}");
    assert!(room.run(&["trim", "disk.img"]).out().contains("left alone: "));
    assert_eq!(std::fs::read(&image).unwrap(), before, "law 1");
}

/// The reserved sectors, as the boot sector gives them.
fn fat_start(image: &std::path::Path) -> u64 {
    let mut sector = [0; 512];
    let file = std::fs::File::open(image).unwrap();
    std::os::unix::fs::FileExt::read_exact_at(&file, &mut sector, 0).unwrap();
    u64::from(u16::from_le_bytes([sector[14], sector[15]])) * u64::from(u16::from_le_bytes([sector[11], sector[12]]))
}

#[test]
fn serve_refuses_what_it_cannot_listen_on() {
    let room = Room::new();
    room.create("disk.img", "8MiB");
    std::fs::write(room.path("there"), "kept").unwrap();
    let long = format!("unix:{}", "x".repeat(200));
    for (code, kind, listen) in [
        (1, "already_exists", "unix:there"),
        (2, "too_large", &long),
        (1, "not_found", "unix:missing/socket"),
        (2, "invalid_input", "unix:"),
        (2, "invalid_input", "tcp:127.0.0.1"),
        (2, "invalid_input", "tcp:127.0.0.1:99999"),
        (2, "invalid_input", "http://example.org"),
        (3, "refused", "tcp:0.0.0.0:0"),
        (3, "refused", "tcp:[::]:0"),
    ] {
        let error = room.json_error(code, &["serve", "disk.img", "--listen", listen]);
        assert_eq!(error["kind"], kind, "{listen}: {error}");
        assert!(error["advice"].is_string(), "{listen}: {error}");
    }
    assert_eq!(std::fs::read_to_string(room.path("there")).unwrap(), "kept");
}

#[test]
fn detach_takes_only_what_is_ours() {
    let room = Room::new();
    room.create("disk.img", "8MiB");
    let error = room.json_error(3, &["detach", "disk.img"]);
    assert_eq!(error["kind"], "refused", "{error}");
    assert_ne!(room.run(&["detach", "/"]).code(), 0);
    assert_ne!(room.run(&["detach", text(&room.path("missing"))]).code(), 0);
}

#[test]
fn a_file_that_may_only_be_read_is_not_written() {
    let room = Room::new();
    let image = room.create("disk.img", "8MiB");
    let mut permissions = std::fs::metadata(&image).unwrap().permissions();
    permissions.set_readonly(true);
    std::fs::set_permissions(&image, permissions).unwrap();
    assert_eq!(room.run_as_nobody(&["info", "disk.img"]).code(), 0);
    let ran = room.run_as_nobody(&["trim", "disk.img", "--json"]);
    assert_eq!((ran.code(), &ran.object()["error"]["kind"]), (1, &"permission_denied".into()), "{ran:?}");
}

#[test]
fn a_picture_replaces_a_picture_and_nothing_else() {
    let room = Room::new();
    let image = room.create("disk.img", "8MiB");
    let other = room.create("other.img", "8MiB");
    write_data(&image, 0, MIB);
    write_data(&other, 0, MIB);
    let before = (std::fs::read(&image).unwrap(), std::fs::read(&other).unwrap());
    std::fs::create_dir(room.path("directory")).unwrap();
    symlink("other.img", room.path("link")).unwrap();
    assert!(room.command("mkfifo", &["fifo"]).status().is_ok_and(|status| status.success()));
    for (code, kind, name) in [
        (3, "refused", "disk.img"),
        (1, "already_exists", "other.img"),
        (3, "refused", "directory"),
        (3, "refused", "link"),
        (3, "refused", "fifo"),
        (3, "refused", "/dev/full"),
    ] {
        let error = room.json_error(code, &["map", "disk.img", "--svg", name]);
        assert_eq!(error["kind"], kind, "{name}: {error}");
        assert!(error["advice"].is_string(), "{error}");
    }
    assert_eq!((std::fs::read(&image).unwrap(), std::fs::read(&other).unwrap()), before);
    for _ in 0..2 {
        assert_eq!(room.run(&["map", "disk.img", "--svg", "new.svg"]).code(), 0);
    }
    // A picture that cannot be written is told in the one object, or instead of the page.
    let ran = room.run(&["map", "--json", "disk.img", "--svg", "missing/new.svg"]);
    assert_eq!((ran.code(), &ran.object()["error"]["kind"]), (1, &"not_found".into()));
    assert_eq!(room.run(&["map", "disk.img", "--svg", "missing/new.svg"]).out(), "");
    assert_eq!(room.names(), ["directory", "disk.img", "fifo", "link", "new.svg", "other.img"], "nothing unfinished");
}

#[test]
fn names_cannot_command_the_terminal() {
    let room = Room::new();
    let name = "a\x1b[31m\nb.img";
    room.create(name, "8MiB");
    for arguments in
        [&["info", name][..], &["map", name], &["trim", name], &["sparse", "query", name], &["copy", name, "b"]]
    {
        let ran = room.run(arguments);
        assert_eq!(ran.code(), 0, "{ran:?}");
        assert!(!ran.out().contains('\x1b'), "{ran:?}");
    }
    let ran = room.run(&["create", name, "--size", "8MiB"]);
    assert!(ran.err().contains(r"a\u{1b}[31m\nb.img") && ran.err().lines().count() == 1, "{ran:?}");
}

#[test]
fn create_never_writes_through_a_link() {
    let room = Room::new();
    std::fs::write(room.path("file"), "kept").unwrap();
    for (target, link) in [("nowhere", "dangling"), ("file", "link")] {
        symlink(target, room.path(link)).unwrap();
        let error = room.json_error(1, &["create", link, "--size", "8MiB"]);
        assert_eq!(error["kind"], "already_exists", "{link}: {error}");
        assert!(error["advice"].is_string(), "{error}");
    }
    assert_eq!(std::fs::read_to_string(room.path("file")).unwrap(), "kept");
    assert!(!room.path("nowhere").exists());
}
