//! What keeps an image small over time: compacting it, and trimming it regularly.
#![cfg(unix)]

use std::os::unix::fs::{MetadataExt, symlink};
use std::path::PathBuf;

use serde_json::Value;
use snapbox::str;

use crate::room::{MIB, Ran, Room, Serving, allocated, write_data, write_zeroes};
use crate::schema::check_as;

/// An image with 8 MiB of data, the same of zeroes, and holes.
fn image(room: &Room) -> PathBuf {
    let image = room.create("disk.img", "64MiB");
    write_data(&image, 0, 8 * MIB);
    write_zeroes(&image, 16 * MIB, 8 * MIB);
    image
}

#[test]
fn law1_compact_leaves_the_zeroes_out_and_nothing_else_changes() {
    let room = Room::new();
    let image = image(&room);
    let (content, metadata) = (std::fs::read(&image).unwrap(), std::fs::metadata(&image).unwrap());
    let dry = room.json(&["compact", "--dry-run", "disk.img"]);
    assert_eq!((&dry["data_bytes"], &dry["apparent_bytes"]), (&(8 * MIB).into(), &(64 * MIB).into()), "{dry}");
    assert_eq!(std::fs::metadata(&image).unwrap().ino(), metadata.ino());
    room.snap(&["compact", "disk.img"]).success().stdout_eq(str![[r#"
allocated before  [..] bytes)
allocated now     8 MiB ([..] bytes)
written           8 MiB (8,388,608 bytes)
zeroes left out   [..] bytes)
...
verified: both files were read and compared

"#]]);
    assert!(std::fs::read(&image).unwrap() == content);
    let after = std::fs::metadata(&image).unwrap();
    assert_ne!(after.ino(), metadata.ino());
    assert_eq!((after.mode(), after.mtime_nsec()), (metadata.mode(), metadata.mtime_nsec()));
    assert!(allocated(&image) < 9 * MIB);
    assert_eq!(room.names(), ["disk.img"]);
}

#[test]
fn compact_refuses_what_would_part_names_and_whoever_has_it_open() {
    let room = Room::new();
    let image = image(&room);
    std::fs::hard_link(&image, room.path("second.img")).unwrap();
    let error = room.json_error(3, &["compact", "disk.img"]);
    assert!(error["kind"] == "refused" && error["message"].as_str().unwrap().contains("2 names"), "{error}");
    std::fs::remove_file(room.path("second.img")).unwrap();

    let stranger = std::fs::File::open(&image).unwrap();
    assert_eq!(room.json_error(3, &["compact", "disk.img"])["kind"], "in_use");
    drop(stranger);
    let server = Serving::start(&room, &["disk.img"]);
    let error = room.json_error(3, &["compact", "disk.img"]);
    assert!(error["message"].as_str().unwrap().contains(&server.pid().to_string()), "{error}");
    drop(server);

    symlink("disk.img", room.path("link.img")).unwrap();
    assert_eq!(room.run(&["compact", "link.img"]).code(), 0);
    assert!(room.path("link.img").is_symlink() && allocated(&image) < 9 * MIB);
    assert_eq!(room.json_error(3, &["compact", "--model", "ntfs", "disk.img"])["kind"], "refused");
}

#[test]
fn law1_an_interrupted_compaction_leaves_the_image_and_no_other_file() {
    let room = Room::new();
    let image = image(&room);
    let content = std::fs::read(&image).unwrap();
    for _ in 0..5 {
        let mut command = room.program(&["compact", "--json", "disk.img"]);
        let child = command.stdout(std::process::Stdio::piped()).spawn().unwrap();
        let _ = std::process::Command::new("kill").args(["-s", "INT", &child.id().to_string()]).status();
        let output = child.wait_with_output().unwrap();
        // The signal may come before the program listens, in the middle, or too late.
        if let Some(code) = output.status.code() {
            let object: Value = serde_json::from_slice(&output.stdout).unwrap();
            assert!(code == 0 || object["error"]["kind"] == "interrupted", "{object}");
            assert_eq!(room.names(), ["disk.img"]);
        }
        assert!(std::fs::read(&image).unwrap() == content);
    }
}

#[test]
fn trim_by_a_timer_passes_over_what_is_in_use_with_a_word() {
    let room = Room::new();
    let image = image(&room);
    let before = allocated(&image);
    let stranger = std::fs::File::open(&image).unwrap();
    assert_eq!(room.run(&["trim", "disk.img"]).code(), 3);
    let ran = room.run(&["trim", "--skip-in-use", "disk.img"]);
    assert_eq!((ran.code(), ran.err().as_str()), (0, ""), "{ran:?}");
    assert!(ran.out().starts_with("skipped: ") && ran.out().lines().count() == 1, "{ran:?}");
    assert!(ran.out().contains(&format!("process {}", std::process::id())), "{ran:?}");
    let skipped = room.json(&["trim", "--skip-in-use", "disk.img"]);
    assert!(skipped["skipped"].as_str().unwrap().contains("in use by"), "{skipped}");
    assert_eq!(allocated(&image), before);
    drop(stranger);
    let trimmed = room.json(&["trim", "--skip-in-use", "disk.img"]);
    assert!(trimmed["allocated_after_bytes"].as_u64().unwrap() <= before - 8 * MIB, "{trimmed}");
    // Any other failure stays one.
    assert_eq!(room.run(&["trim", "--skip-in-use", "missing.img"]).code(), 1);
}

/// Runs `schedule` as a user whose units lie in the room, with a systemctl that agrees with everything.
fn schedule(room: &Room, arguments: &[&str]) -> Ran {
    let systemctl = room.path("systemctl");
    if !systemctl.exists() {
        symlink("/bin/true", &systemctl).unwrap();
    }
    let mut command = room.program(&[&["schedule"], arguments, &["--json"]].concat());
    command.env("XDG_CONFIG_HOME", room.path("config")).env("PATH", room.path(""));
    Ran(command.output().unwrap())
}

#[test]
fn a_schedule_is_printed_listed_and_removed() {
    let room = Room::new();
    let name = "a b%\u{e4}$HOME.img";
    room.create(name, "1MiB");
    let plan = schedule(&room, &["add", name, "--every", "6h", "--user", "--print"]).object();
    assert_eq!((&plan["enabled"], &plan["every"], &plan["scope"]), (&false.into(), &"6h".into(), &"user".into()));
    assert!(!room.path("config").exists(), "printed, and nothing written");
    std::fs::create_dir_all(room.path("config/systemd/user")).unwrap();
    for file in plan["files"].as_array().unwrap() {
        std::fs::write(file["path"].as_str().unwrap(), file["text"].as_str().unwrap()).unwrap();
    }
    let service = plan["files"][0]["text"].as_str().unwrap();
    assert!(service.contains("trim --skip-in-use -- \""), "{service}");
    assert!(service.contains("a b%%\u{e4}$$HOME.img\"\nNice=19\nIOSchedulingClass=idle\n"), "{service}");

    let listed = schedule(&room, &["list", name]).object();
    let entry = &listed["entries"][0];
    assert!(entry["image"].as_str().unwrap().ends_with(name), "{listed}");
    assert_eq!((&entry["every"], &entry["name"]), (&"6h".into(), &plan["name"]));
    let removed = schedule(&room, &["remove", name, "--user"]).object();
    assert_eq!(removed["name"], plan["name"]);
    check_as("schedule add", &plan);
    check_as("schedule list", &listed);
    check_as("schedule remove", &removed);
    assert_eq!(std::fs::read_dir(room.path("config/systemd/user")).unwrap().count(), 0);
    let gone = schedule(&room, &["remove", name, "--user"]);
    assert_eq!((gone.code(), &gone.object()["error"]["kind"]), (1, &"not_found".into()));
}

#[test]
fn what_cannot_be_scheduled_is_told_at_once() {
    let room = Room::new();
    room.create("disk.img", "1MiB");
    for (code, arguments) in [
        (2, &["add", "disk.img", "--every", "5h", "--print"][..]),
        (2, &["add", "disk.img"]),
        (2, &["add", "disk.img", "--every", "1d", "--user", "--system"]),
        (1, &["add", "missing.img", "--every", "1d", "--print"]),
        (3, &["add", ".", "--every", "1d", "--print"]),
    ] {
        assert_eq!(schedule(&room, arguments).code(), code, "{arguments:?}");
    }
    let ran = room.run(&["schedule", "add", "disk.img", "--every", "1d", "--print"]);
    assert!(ran.out().contains("OnCalendar=*-*-* 00:00:00\nPersistent=true\n"), "{ran:?}");
    assert!(ran.out().contains("$ systemctl"), "{ran:?}");
    assert_eq!(ran.out().matches("[Install]").count(), 1);
}
