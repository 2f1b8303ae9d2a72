//! Bad input gets a clear error and the right exit code, and nothing is lost.

use std::os::unix::fs::symlink;

use crate::room::{MIB, Room, allocated, text, write_data};

#[test]
fn sizes_that_do_not_parse_are_wrong_usage() {
    let room = Room::new();
    for (size, word) in [
        ("", "missing"),
        ("ten", "number"),
        ("-1", "negative"),
        ("-10GiB", "negative"),
        ("1.5", "fraction"),
        ("1,5G", "point"),
        ("10XB", "unit"),
        ("9223372036854775808", "8EiB"),
        ("8EiB", "8EiB"),
        ("99999999999999999999T", "8EiB"),
    ] {
        let ran = room.run(&["create", "disk.img", "--size", size]);
        assert_eq!(ran.code(), 2, "{size:?}: {ran:?}");
        assert!(ran.err().contains(word), "{size:?}: {ran:?}");
        assert_eq!(ran.out(), "");
    }
    assert!(room.names().is_empty());
}

#[test]
fn sizes_that_cannot_be_are_refused() {
    let room = Room::new();
    for (code, kind, size) in [
        (2, "invalid_input", "0"),
        (2, "invalid_input", "511"),
        (2, "invalid_input", "1000000"),
        (2, "too_large", "9223372036854775296"),
    ] {
        let error = room.json_error(code, &["create", "disk.img", "--size", size]);
        assert_eq!(error["kind"], kind, "{size}: {error}");
    }
    assert!(room.names().is_empty());
}

#[test]
fn create_never_overwrites() {
    let room = Room::new();
    std::fs::write(room.path("file"), "kept").unwrap();
    symlink("nowhere", room.path("dangling")).unwrap();
    symlink("file", room.path("link")).unwrap();
    std::fs::create_dir(room.path("directory")).unwrap();
    for name in ["file", "dangling", "link", "directory"] {
        let error = room.json_error(1, &["create", name, "--size", "8MiB"]);
        assert_eq!(error["kind"], "already_exists", "{name}: {error}");
        assert!(error["advice"].is_string(), "{error}");
    }
    assert_eq!(std::fs::read_to_string(room.path("file")).unwrap(), "kept");
    assert!(!room.path("nowhere").exists());
}

#[test]
fn a_missing_parent_is_named() {
    let room = Room::new();
    let error = room.json_error(1, &["create", "missing/disk.img", "--size", "8MiB"]);
    assert_eq!(error["kind"], "not_found");
    assert!(error["message"].as_str().unwrap().contains("missing/disk.img"), "{error}");
}

#[test]
fn law10_what_is_no_regular_file_is_refused_by_every_verb() {
    let room = Room::new();
    std::fs::create_dir(room.path("directory")).unwrap();
    let made = room.command("mkfifo", &["fifo"]).status().is_ok_and(|status| status.success());
    assert!(made, "mkfifo is part of every system");
    for name in ["directory", "fifo", "/dev/null"] {
        for arguments in [
            &["info", name][..],
            &["map", name],
            &["trim", name],
            &["punch", name, "--offset", "0", "--length", "512"],
            &["sparse", "query", name],
            &["sparse", "clear", name],
            &["copy", name, "copy.img"],
            &["format", name, "--fs", "fat32"],
            &["serve", name],
            &["attach", name],
        ] {
            let error = room.json_error(3, arguments);
            assert_eq!(error["kind"], "refused", "{arguments:?}: {error}");
        }
    }
}

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
fn a_file_that_cannot_be_a_disk_is_wrong_usage_for_verbs_that_need_one() {
    let room = Room::new();
    std::fs::write(room.path("odd"), vec![7; 1000]).unwrap();
    for arguments in [&["trim", "odd"][..], &["format", "odd", "--fs", "fat32"], &["serve", "odd"], &["attach", "odd"]]
    {
        assert_eq!(room.json_error(2, arguments)["kind"], "invalid_input", "{arguments:?}");
    }
    assert_eq!(std::fs::read(room.path("odd")).unwrap(), vec![7; 1000]);
}

#[test]
fn law5_a_punch_outside_the_image_changes_nothing() {
    let room = Room::new();
    let image = room.create("disk.img", "8MiB");
    write_data(&image, 0, 8 * MIB);
    for (offset, length) in
        [("8MiB", "1"), ("0", "16MiB"), ("9223372036854775807", "9223372036854775807"), ("4MiB", "0")]
    {
        let error = room.json_error(2, &["punch", "disk.img", "--offset", offset, "--length", length]);
        assert!(["out_of_bounds", "invalid_input"].contains(&error["kind"].as_str().unwrap()), "{error}");
        assert_eq!(error["path"], "disk.img");
    }
    assert!(std::fs::read(&image).unwrap().iter().all(|&byte| byte != 0));
}

#[test]
fn what_is_corrupt_inside_is_a_warning_of_info_and_a_refusal_of_trim() {
    let room = Room::new();
    let image = room.create_fat("disk.img", "64MiB");
    // The first FAT says that cluster 5 belongs to a file whose chain leads out of the disk; the second does not.
    let offset = fat_start(&image) + 5 * 4;
    let file = std::fs::File::options().write(true).open(&image).unwrap();
    std::os::unix::fs::FileExt::write_all_at(&file, &0x0FFF_0000u32.to_le_bytes(), offset).unwrap();
    drop(file);
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
fn a_boot_sector_of_noise_and_overlapping_partitions_do_not_fail_info() {
    let room = Room::new();
    let noise = room.create("noise.img", "8MiB");
    write_data(&noise, 0, 510);
    let file = std::fs::File::options().write(true).open(&noise).unwrap();
    std::os::unix::fs::FileExt::write_all_at(&file, &[0x55, 0xAA], 510).unwrap();
    assert_eq!(room.run(&["info", "noise.img"]).code(), 0);

    let overlap = room.create("overlap.img", "8MiB");
    let mut table = [0u8; 512];
    table[510..].copy_from_slice(&[0x55, 0xAA]);
    for (slot, (start, sectors)) in [(2048u32, 8192u32), (4096, 1 << 20)].into_iter().enumerate() {
        let entry = &mut table[446 + slot * 16..][..16];
        entry[4] = 0x0C;
        entry[8..12].copy_from_slice(&start.to_le_bytes());
        entry[12..].copy_from_slice(&sectors.to_le_bytes());
    }
    let file = std::fs::File::options().write(true).open(&overlap).unwrap();
    std::os::unix::fs::FileExt::write_all_at(&file, &table, 0).unwrap();
    let info = room.json(&["info", "overlap.img"]);
    assert!(!info["contents"]["warnings"].as_array().unwrap().is_empty(), "{info}");
    assert!(room.run(&["info", "overlap.img"]).out().contains("warning: "));
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
fn serve_with_a_size_never_changes_an_image_of_another_size() {
    let room = Room::new();
    let image = room.create("disk.img", "8MiB");
    write_data(&image, 0, MIB);
    let before = (std::fs::read(&image).unwrap(), allocated(&image));
    let error = room.json_error(2, &["serve", "disk.img", "--size", "16MiB", "--fs", "fat32"]);
    assert!(error["message"].as_str().unwrap().contains("8,388,608"), "{error}");
    assert_eq!((std::fs::read(&image).unwrap(), allocated(&image)), before);
    assert_eq!(room.json_error(2, &["serve", "missing.img", "--fs", "fat32"])["kind"], "invalid_input");
    assert_eq!(room.json_error(1, &["serve", "missing.img"])["kind"], "not_found");
    assert_eq!(room.names(), ["disk.img"]);
}

#[test]
fn copy_never_overwrites_and_not_onto_itself() {
    let room = Room::new();
    room.create("disk.img", "8MiB");
    std::fs::write(room.path("there"), "kept").unwrap();
    assert_eq!(room.json_error(1, &["copy", "disk.img", "there"])["kind"], "already_exists");
    assert_ne!(room.run(&["copy", "disk.img", "disk.img"]).code(), 0);
    assert_eq!(std::fs::read_to_string(room.path("there")).unwrap(), "kept");
    assert_eq!(room.names(), ["disk.img", "there"]);
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
fn format_refuses_whatever_is_not_zero_wherever_it_lies() {
    let room = Room::new();
    let image = room.create("disk.img", "64MiB");
    crate::room::write_zeroes(&image, 8 * MIB, MIB);
    write_data(&image, 63 * MIB + 5, 1);
    let error = room.json_error(3, &["format", "disk.img", "--fs", "fat32"]);
    assert_eq!(error["kind"], "refused", "{error}");
    assert!(error["message"].as_str().unwrap().contains(&(63 * MIB + 5).to_string()), "{error}");
    crate::room::write_zeroes(&image, 63 * MIB, MIB);
    room.json(&["format", "disk.img", "--fs", "fat32"]);
}

#[test]
fn messages_read_as_sentences() {
    let room = Room::new();
    room.create("disk.img", "8MiB");
    std::fs::create_dir(room.path("directory")).unwrap();
    for (arguments, line) in [
        (&["punch", "missing", "--offset", "0", "--length", "0"][..], "cannot punch missing: --length is 0"),
        (&["copy", "disk.img", "directory"], "cannot write directory: it is a directory; name a file in it"),
        (
            &["create", "new.img", "--size", "1000000"],
            "cannot create new.img: the size of 1000000 bytes is not a multiple of 512; the nearest are 999936 and 1000448",
        ),
        (
            &["map", "disk.img", "--svg", "disk.img"],
            "cannot write disk.img as a picture: it is the image itself; choose another name",
        ),
        (
            &["serve", "disk.img", "--listen", "nowhere"],
            "cannot use nowhere to listen: it is neither unix:PATH nor tcp:HOST:PORT; ",
        ),
    ] {
        let said = room.run(arguments).err();
        assert!(said.starts_with(&format!("sparsedisk: {line}")), "{said}");
    }
    let usage = room.json_error(2, &["create"]);
    assert!(!usage["message"].as_str().unwrap().starts_with("cannot"), "{usage}");
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
fn serve_with_a_file_system_does_not_pass_off_another_inside() {
    let room = Room::new();
    let image = room.create("disk.img", "64MiB");
    let before = std::fs::read(&image).unwrap();
    let error = room.json_error(2, &["serve", "disk.img", "--size", "64MiB", "--fs", "fat32"]);
    assert!(error["message"].as_str().unwrap().contains("it exists and holds nothing"), "{error}");
    assert_eq!(std::fs::read(&image).unwrap(), before);
    room.json(&["format", "disk.img", "--fs", "fat16"]);
    let error = room.json_error(2, &["serve", "disk.img", "--size", "64MiB", "--fs", "fat32"]);
    assert!(error["message"].as_str().unwrap().contains("FAT16"), "{error}");
}

#[test]
fn a_spoiled_boot_sector_is_told() {
    let room = Room::new();
    let image = room.create_fat("disk.img", "64MiB");
    // No sector has 7 bytes.
    let file = std::fs::File::options().write(true).open(&image).unwrap();
    std::os::unix::fs::FileExt::write_all_at(&file, &[7, 0], 11).unwrap();
    drop(file);
    let info = room.run(&["info", "disk.img"]).out();
    assert!(info.contains("warning: the disk begins like a FAT volume"), "{info}");
    let trimmed = room.run(&["trim", "disk.img"]).out();
    assert!(trimmed.contains("left alone: the whole disk: the disk begins like a FAT volume"), "{trimmed}");
}
