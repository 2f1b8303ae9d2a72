//! Bad input gets a clear error and the right exit code, and nothing is lost.
use crate::room::{MIB, Room, allocated, write, write_data};

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
        if kind == "too_large" && cfg!(windows) {
            continue;
        }
        let error = room.json_error(code, &["create", "disk.img", "--size", size]);
        assert_eq!(error["kind"], kind, "{size}: {error}");
    }
    assert!(room.names().is_empty());
}

#[test]
fn create_never_overwrites() {
    let room = Room::new();
    std::fs::write(room.path("file"), "kept").unwrap();
    std::fs::create_dir(room.path("directory")).unwrap();
    for name in ["file", "directory"] {
        let error = room.json_error(1, &["create", name, "--size", "8MiB"]);
        assert_eq!(error["kind"], "already_exists", "{name}: {error}");
        assert!(error["advice"].is_string(), "{error}");
    }
    assert_eq!(std::fs::read_to_string(room.path("file")).unwrap(), "kept");
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
    let names: &[&str] = if cfg!(windows) { &["directory", "NUL"] } else { &["directory", "fifo", "/dev/null"] };
    if names.contains(&"fifo") {
        let made = room.command("mkfifo", &["fifo"]).status().is_ok_and(|status| status.success());
        assert!(made, "mkfifo is part of every system");
    }
    for &name in names {
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
fn a_boot_sector_of_noise_and_overlapping_partitions_do_not_fail_info() {
    let room = Room::new();
    let noise = room.create("noise.img", "8MiB");
    write_data(&noise, 0, 510);
    write(&noise, 510, &[0x55, 0xAA]);
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
    write(&overlap, 0, &table);
    let info = room.json(&["info", "overlap.img"]);
    assert!(!info["contents"]["warnings"].as_array().unwrap().is_empty(), "{info}");
    assert!(room.run(&["info", "overlap.img"]).out().contains("warning: "));
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
    write(&image, 11, &[7, 0]);
    let info = room.run(&["info", "disk.img"]).out();
    assert!(info.contains("warning: the disk begins like a FAT volume"), "{info}");
    if cfg!(windows) {
        return;
    }
    let trimmed = room.run(&["trim", "disk.img"]).out();
    assert!(trimmed.contains("left alone: the whole disk: the disk begins like a FAT volume"), "{trimmed}");
}
