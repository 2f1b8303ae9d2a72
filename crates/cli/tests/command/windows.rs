//! The program on Windows. It runs under Wine, whose volumes have no sparse files: so it refuses what would need holes (law 10),
//! and does everything else.
#![cfg(windows)]

use std::fs::{self, File};
use std::os::windows::fs::OpenOptionsExt;

use snapbox::str;

use crate::client::Client;
use crate::room::{KIB, MIB, Room, Serving, allocated, text, write_data};

const ANY_PORT: [&str; 2] = ["--listen", "tcp:127.0.0.1:0"];

/// A room on a volume without sparse files; `None`, and a word, where there is another.
fn without_holes() -> Option<Room> {
    let room = Room::new();
    room.create("probe.img", "512");
    let query = room.json(&["sparse", "query", "probe.img"]);
    fs::remove_file(room.path("probe.img")).unwrap();
    if query["supported"] == false {
        return Some(room);
    }
    eprintln!("skipped: this volume has sparse files, so nothing is refused");
    None
}

#[test]
fn law10_an_image_that_would_occupy_its_length_is_refused_with_what_to_do() {
    let Some(room) = without_holes() else { return };
    room.snap(&["create", "disk.img", "--size", "64MiB"]).code(3).stdout_eq(str![""]).stderr_eq(str![[r#"
sparsedisk: cannot create disk.img: its file system has no holes: the image would occupy its whole length; choose a place on NTFS or ReFS, or ask for a dense one (--dense)

"#]]);
    room.create("small.img", "1MiB");
    room.snap(&["copy", "small.img", "copy.img"]).code(3).stdout_eq(str![""]).stderr_eq(str![[r#"
sparsedisk: cannot write copy.img.partial: its file system has no holes: the copy would occupy its whole length; choose a place on NTFS or ReFS, or ask for a dense one (--dense)

"#]]);
    let serve = [&["serve", "new.img", "--size", "64MiB"][..], &ANY_PORT].concat();
    assert_eq!(room.json_error(3, &serve)["kind"], "refused");
    assert_eq!(room.names(), ["small.img"], "nothing is left behind");
}

#[test]
fn a_dense_image_is_made_formatted_shown_and_mapped() {
    let room = Room::new();
    room.snap(&["create", "disk.img", "--size", "64MiB", "--fs", "fat32", "--label", "backup", "--dense"])
        .success()
        .stdout_eq(str![[r#"
created disk.img: 64 MiB, fat32 "BACKUP"; 64 MiB allocated

"#]])
        .stderr_eq(str![""]);
    assert!(allocated(&room.path("disk.img")) >= 64 * MIB);
    room.snap(&["info", "disk.img"]).success().stdout_eq(str![[r#"
image          disk.img
format         raw
apparent size  64 MiB (67,108,864 bytes)
allocated      64 MiB (67,1[..] bytes), by GetCompressedFileSize, for an ordinary file AllocationSize
data           64 MiB (67,108,864 bytes) in 1 run
holes          0 B
granularity    64 KiB (65,536 bytes)
sparse         not marked; holes can be punched: [..]
file system    [..]
in use         no
attributes     archive
volume has     [..]

part  offset    size  file system  label        free  type
   -     0 B  64 MiB  FAT32        BACKUP  61.99 MiB  the whole disk

"#]]);
    let map = room.json(&["map", "disk.img"]);
    assert_eq!(map["extents"][0]["length"], 64 * MIB, "no map is data everywhere: {map}");
    crate::schema::check_as("info", &room.json(&["info", "disk.img"]));
    crate::schema::check_as("map", &map);
    crate::schema::check_as("create", &room.json(&["create", "b.img", "--size", "1MiB", "--dense"]));
    crate::schema::check_as("copy", &room.json(&["copy", "b.img", "c.img", "--dense"]));
    crate::schema::check_as("sparse query", &room.json(&["sparse", "query", "b.img"]));
    crate::schema::check_as("sparse set", &room.json(&["sparse", "clear", "b.img"]));
    crate::schema::check_as("punch", &room.json(&["punch", "b.img", "--offset", "0", "--length", "1", "--write"]));
    crate::schema::check_as("format", &room.json(&["format", "disk.img", "--fs", "fat16", "--force"]));
    crate::schema::check_as("advise", &room.json(&["advise", "b.img"]));
}

#[test]
fn what_the_volume_cannot_is_exit_code_4_with_advice_for_this_system() {
    let Some(room) = without_holes() else { return };
    let image = room.create("disk.img", "1MiB");
    write_data(&image, 0, MIB);
    let before = fs::read(&image).unwrap();
    for (arguments, word) in [
        (&["trim", "disk.img"][..], "NTFS or ReFS"),
        (&["punch", "disk.img", "--offset", "0", "--length", "512K"], "sparse set"),
        (&["sparse", "set", "disk.img"], "NTFS or ReFS"),
        (&["serve", "disk.img", "--listen", "unix:disk.sock"], "tcp:127.0.0.1:10809"),
    ] {
        let error = room.json_error(4, arguments);
        assert_eq!(error["kind"], "unsupported", "{error}");
        assert!(error["advice"].as_str().unwrap().contains(word), "{error}");
    }
    assert_eq!(fs::read(&image).unwrap(), before, "nothing was changed");
    room.snap(&["sparse", "query", "disk.img"]).success().stdout_eq(str![[r#"
disk.img: not sparse; the file system can punch holes: no

"#]]);
    room.snap(&["sparse", "clear", "disk.img"]).success().stdout_eq(str![[r#"
disk.img: it was not marked, and has no holes; 1 MiB allocated before, 1 MiB now

"#]]);
    room.snap(&["punch", "disk.img", "--offset", "4096", "--length", "512K", "--write"]).success().stdout_eq(str![[
        r#"
512 KiB zero from byte 4096 on; 0 B freed, 1 MiB still allocated

"#
    ]]);
    let after = fs::read(&image).unwrap();
    assert!(after[4096..4096 + (512 << 10)].iter().all(|&byte| byte == 0));
    assert_eq!((&after[..4096], &after[4096 + (512 << 10)..]), (&before[..4096], &before[4096 + (512 << 10)..]));
}

#[test]
fn a_dense_copy_is_verified_and_its_name_may_be_as_long_as_the_volume_allows() {
    let room = Room::new();
    let image = room.create("disk.img", "8MiB");
    write_data(&image, MIB, MIB);
    room.snap(&["copy", "--dense", "--verify", "disk.img", "copy.img"]).success().stdout_eq(str![[r#"
copied disk.img to copy.img: 8 MiB copied, 0 B of holes kept, verified; 8 MiB allocated (method: extents)

"#]]);
    let long = "n".repeat(255);
    room.json(&["copy", "--dense", "disk.img", &long]);
    assert_eq!(room.json(&["copy", "--dense", "--no-flush", "disk.img", "unflushed.img"])["flushed"], false);
    for copy in ["copy.img", &long, "unflushed.img"] {
        assert_eq!(fs::read(room.path(copy)).unwrap(), fs::read(&image).unwrap(), "law 1");
    }
    assert_eq!(room.json_error(1, &["copy", "--dense", "disk.img", "copy.img"])["kind"], "already_exists");
}

#[test]
fn law7_a_second_program_is_kept_out_by_the_share_mode() {
    let room = Room::new();
    let image = room.create("disk.img", "1MiB");
    let server = Serving::start(&room, &[&["disk.img"][..], &ANY_PORT].concat());
    for arguments in [
        &["punch", "disk.img", "--offset", "0", "--length", "4096"][..],
        &["sparse", "clear", "disk.img"],
        &["format", "disk.img", "--fs", "fat32", "--force"],
        &["copy", "--dense", "disk.img", "copy.img"],
        &["serve", "disk.img", "--listen", "tcp:127.0.0.1:0"],
    ] {
        let error = room.json_error(3, arguments);
        assert_eq!(error["kind"], "in_use", "{arguments:?}: {error}");
        assert!(error["advice"].is_string(), "{error}");
    }
    assert_eq!(room.run(&["info", "disk.img"]).code(), 0, "it may be looked at");
    drop(server);
    // Nor while somebody has it who knows nothing of us.
    let stranger = File::options().read(true).share_mode(0).open(&image).unwrap();
    assert_eq!(room.json_error(3, &["info", "disk.img"])["kind"], "in_use");
    drop(stranger);
    assert_eq!(room.run(&["info", "disk.img"]).code(), 0);
}

#[test]
fn law2_what_was_flushed_before_the_server_was_killed_is_there() {
    let room = Room::new();
    let image = room.create_fat("disk.img", "64MiB");
    let server = Serving::start(&room, &[&["disk.img"][..], &ANY_PORT].concat());
    assert_eq!((&server.start["size_bytes"], &server.start["created"]), (&(64 * MIB).into(), &false.into()));
    crate::schema::check_as("serve", &server.start);
    let mut client = Client::connect_to(&server.start);
    for index in 0..64 {
        client.write(32 * MIB + index * 64 * KIB, &[index as u8 + 1; 64 << 10]).unwrap();
    }
    client.flush().unwrap();
    client.write(40 * MIB, &[0xEE; 512]).unwrap();
    drop(server);
    let content = fs::read(&image).unwrap();
    for index in 0..64 {
        let at = (32 * MIB + index * 64 * KIB) as usize;
        assert!(content[at..at + (64 << 10)].iter().all(|&byte| byte == index as u8 + 1), "block {index}");
    }
    let contents = room.json(&["info", "disk.img"])["contents"].clone();
    assert_eq!(contents["volumes"][0]["file_system"], "fat32", "{contents}");
}

#[test]
fn serve_makes_a_dense_image_and_tells_people_how_to_stop() {
    let room = Room::new();
    let arguments = [&["serve", "disk.img", "--size", "8MiB", "--dense"][..], &ANY_PORT].concat();
    let mut child = room.program(&arguments).stdout(std::process::Stdio::piped()).spawn().unwrap();
    let mut out = std::io::BufReader::new(child.stdout.take().unwrap());
    let mut start = String::new();
    for _ in 0..4 {
        std::io::BufRead::read_line(&mut out, &mut start).unwrap();
    }
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(start.contains("serving disk.img (8 MiB, created) until Ctrl-C; connect with"), "{start}");
    assert!(start.contains("nbd://127.0.0.1:") && start.contains("qemu"), "{start}");
    assert!(allocated(&room.path("disk.img")) >= 8 * MIB);
}

#[test]
fn every_way_of_writing_a_path_leads_to_the_image() {
    let room = Room::new();
    fs::create_dir(room.path("dir")).unwrap();
    let image = room.create("dir\\disk.img", "1MiB");
    let whole = fs::canonicalize(&image).unwrap();
    assert!(text(&whole).starts_with(r"\\?\"), "{whole:?}");
    for path in ["dir\\disk.img", "dir/disk.img", ".\\dir\\..\\DIR\\Disk.IMG", text(&image), text(&whole)] {
        let info = room.json(&["info", path]);
        assert_eq!((&info["apparent_bytes"], &info["path"]), (&MIB.into(), &path.into()));
    }
    for (path, word) in [("missing.img", "no such file"), ("missing\\disk.img", "its directory does not exist")] {
        let error = room.json_error(1, &["info", path]);
        assert_eq!(error["kind"], "not_found");
        assert!(error["message"].as_str().unwrap().contains(word), "{error}");
    }
    let error = room.json_error(2, &["create", "a*b.img", "--size", "1MiB", "--dense"]);
    assert_eq!((&error["kind"], &error["path"]), (&"invalid_input".into(), &"a*b.img".into()));
}
