//! What each verb does with the holes of real files.
#![cfg(unix)]

use std::os::unix::fs::FileExt;

use snapbox::str;

use crate::room::{KIB, MIB, Room, allocated, write_data, write_zeroes};

#[test]
fn create_makes_a_formatted_image_that_occupies_almost_nothing() {
    let room = Room::new();
    room.snap(&["create", "disk.img", "--size", "10GiB", "--fs", "fat32", "--label", "backup"])
        .success()
        .stdout_eq(str![[r#"
created disk.img: 10 GiB, fat32 "BACKUP"; [..]KiB allocated

"#]])
        .stderr_eq(str![""]);
    let info = room.json(&["info", "disk.img"]);
    assert_eq!(info["apparent_bytes"], 10u64 << 30);
    assert_eq!(info["contents"]["volumes"][0]["file_system"], "fat32");
    assert_eq!(info["contents"]["volumes"][0]["label"], "BACKUP");
    assert!(allocated(&room.path("disk.img")) < 2 * MIB);
}

#[test]
fn a_size_may_be_a_fraction() {
    let room = Room::new();
    room.create("disk.img", "1.5M");
    assert_eq!(std::fs::metadata(room.path("disk.img")).unwrap().len(), 3 * MIB / 2);
    // The decimal sizes in the help are ones a disk can have.
    room.create("decimal.img", "10GB");
}

#[test]
fn map_joins_what_it_shows_under_one_name() {
    let room = Room::new();
    let image = room.create("disk.img", "8MiB");
    write_data(&image, 0, 64 * KIB);
    // Not synced: where the file system delays allocation, this is data on its way beside data in place.
    let file = std::fs::File::options().write(true).open(&image).unwrap();
    std::os::unix::fs::FileExt::write_all_at(&file, &[1; 65536], 64 * KIB).unwrap();
    let map = room.json(&["map", "disk.img"]);
    let kinds: Vec<_> = map["extents"].as_array().unwrap().iter().map(|extent| extent["kind"].clone()).collect();
    assert!(kinds.windows(2).all(|pair| pair[0] != pair[1]), "{map}");
    let runs = kinds.iter().filter(|&kind| kind == "data").count();
    assert_eq!(room.json(&["info", "disk.img"])["extents"], runs, "{map}");
}

#[test]
fn info_shows_the_space_ledger_and_what_is_inside() {
    let room = Room::new();
    room.create_fat("disk.img", "64MiB");
    room.snap(&["info", "disk.img"]).success().stdout_eq(str![[r#"
image          disk.img
format         raw
apparent size  64 MiB (67,108,864 bytes)
allocated      [..] bytes), by st_blocks
data           [..] in [..]
holes          [..] bytes)
granularity    4 KiB (4,096 bytes)
sparse         [..]
file system    [..]
in use         no

part  offset    size  file system  label       free  type
   -     0 B  64 MiB  FAT32        -      61.99 MiB  the whole disk

"#]]);
    let info = room.json(&["info", "disk.img"]);
    let bytes = |key: &str| info[key].as_u64().unwrap();
    assert_eq!(bytes("apparent_bytes"), bytes("data_bytes") + bytes("hole_bytes"), "law 6");
    assert_eq!(bytes("allocated_bytes"), allocated(&room.path("disk.img")), "law 6");
}

#[test]
fn map_draws_and_lists_the_extents() {
    let room = Room::new();
    let image = room.create("disk.img", "8MiB");
    write_data(&image, 0, MIB);
    write_zeroes(&image, 4 * MIB, MIB);
    snapbox::cmd::Command::from_std(room.program(&["map", "--scan", "disk.img"]))
        .env("COLUMNS", "34")
        .assert()
        .success()
        .stdout_eq(str![[r#"
│████            ████           ▁│
each character is 256 KiB of 8 MiB

kind                 bytes                       extents
data                 1 MiB (1,048,576 bytes)           1
allocated, all zero  1 MiB (1,052,672 bytes)           2
hole                 5.99 MiB (6,287,360 bytes)        2

 offset   length            kind
      0  1048576     1 MiB  data
1048576  3145728     3 MiB  hole
4194304  1048576     1 MiB  zero
5242880  3141632  2.99 MiB  hole
8384512     4096     4 KiB  zero

"#]]);
}

#[test]
fn map_falls_back_to_ascii() {
    let room = Room::new();
    let image = room.create("disk.img", "8MiB");
    write_data(&image, 0, MIB);
    snapbox::cmd::Command::from_std(room.program(&["map", "disk.img"]))
        .env("COLUMNS", "34")
        .env("LC_ALL", "C")
        .assert()
        .success()
        .stdout_eq(str![[r#"
|####...........................-|
each character is 256 KiB of 8 MiB
...
"#]]);
}

#[test]
fn map_shortens_a_long_list_unless_verbose() {
    let room = Room::new();
    let image = room.create("disk.img", "8MiB");
    for index in 0..20 {
        write_data(&image, index * 64 * KIB, 4 * KIB);
    }
    assert!(room.run(&["map", "disk.img"]).out().contains("more; -v lists them all"));
    let all = room.run(&["map", "-v", "disk.img"]).out();
    assert!(!all.contains("more; -v"), "{all}");
}

#[test]
fn punch_makes_the_range_zero_and_frees_it() {
    let room = Room::new();
    let image = room.create("disk.img", "8MiB");
    write_data(&image, 0, 4 * MIB);
    room.snap(&["punch", "disk.img", "--offset", "1MiB", "--length", "2MiB"]).success().stdout_eq(str![[r#"
2 MiB zero from byte 1048576 on; 2 MiB freed, [..] still allocated

"#]]);
    let content = std::fs::read(&image).unwrap();
    assert!(content[MIB as usize..3 * MIB as usize].iter().all(|&byte| byte == 0));
    assert!(content[..MIB as usize].iter().chain(&content[3 * MIB as usize..4 * MIB as usize]).all(|&byte| byte != 0));
    let punched = room.json(&["punch", "disk.img", "--offset", "0", "--length", "1MiB"]);
    assert_eq!(punched["freed_bytes"], MIB);
    assert_eq!(punched["allocated_after_bytes"], allocated(&image), "law 6");
}

#[test]
fn sparse_clear_allocates_every_hole_and_set_changes_nothing() {
    let room = Room::new();
    let image = room.create("disk.img", "8MiB");
    assert_eq!(room.json(&["sparse", "query", "disk.img"])["supported"], true);
    let cleared = room.json(&["sparse", "clear", "disk.img"]);
    assert!(cleared["allocated_after_bytes"].as_u64().unwrap() >= 8 * MIB, "{cleared}");
    assert!(allocated(&image) >= 8 * MIB);
    let set = room.json(&["sparse", "set", "disk.img"]);
    assert_eq!(set["allocated_before_bytes"], set["allocated_after_bytes"]);
    room.snap(&["sparse", "query", "disk.img"]).success().stdout_eq(str![[r#"
disk.img: [..]sparse; the file system can punch holes: yes

"#]]);
}

#[test]
fn trim_frees_what_lies_between_partitions_only_when_asked_to() {
    let room = Room::new();
    let image = room.create("disk.img", "256MiB");
    // One partition, from 1 MiB to 100 MiB, and data in front of it, in it, behind it and at the very end.
    let mut record = [0; 512];
    (record[450], record[510], record[511]) = (0x83, 0x55, 0xAA);
    record[454..458].copy_from_slice(&2048u32.to_le_bytes());
    record[458..462].copy_from_slice(&(99 * 2048u32).to_le_bytes());
    std::fs::File::options().write(true).open(&image).unwrap().write_all_at(&record, 0).unwrap();
    for at in [MIB / 2, 10 * MIB, 120 * MIB, 255 * MIB + 64 * KIB] {
        write_data(&image, at, 256 * KIB);
    }
    let before = std::fs::read(&image).unwrap();
    assert_eq!(room.json(&["trim", "disk.img"])["free_space_bytes"], 0);
    assert_eq!(room.run(&["trim", "--gaps", "--zeros-only", "disk.img"]).code(), 2);
    let trimmed = room.json(&["trim", "--gaps", "--verify", "disk.img"]);
    assert_eq!((&trimmed["free_space_bytes"], &trimmed["punched_ranges"]), (&(256 * KIB).into(), &1.into()));
    let mut after = before;
    after[120 << 20..][..256 << 10].fill(0);
    assert_eq!(std::fs::read(&image).unwrap(), after, "law 1");
}

#[test]
fn trim_frees_zeroes_and_says_so() {
    let room = Room::new();
    let image = room.create("disk.img", "8MiB");
    write_data(&image, 0, MIB);
    write_zeroes(&image, MIB, 4 * MIB);
    let before = std::fs::read(&image).unwrap();
    let plan = room.json(&["trim", "--dry-run", "disk.img"]);
    assert_eq!(plan["dry_run"], true);
    assert_eq!(plan["punched_ranges"], 0);
    assert_eq!(plan["ranges"][0]["offset"], MIB);
    assert!(room.run(&["trim", "--dry-run", "disk.img"]).out().contains("would free 4 MiB in"), "the plan for people");
    assert!(allocated(&image) >= 5 * MIB, "a dry run changes nothing");
    room.snap(&["trim", "--verify", "disk.img"]).success().stdout_eq(str![[r#"
allocated before  5 MiB (5,246,976 bytes)
allocated now     1 MiB (1,048,576 bytes)
freed             4 MiB (4,198,400 bytes)
all zero          4 MiB (4,198,400 bytes)
free inside       0 B
ranges            2
verified: what is kept reads as before

"#]]);
    assert_eq!(std::fs::read(&image).unwrap(), before, "law 1");
    assert_eq!(room.json(&["trim", "disk.img"])["punched_ranges"], 0, "nothing is left to do");
}

#[test]
fn a_dry_run_of_trim_needs_no_right_to_write() {
    let room = Room::new();
    let image = room.create("disk.img", "8MiB");
    write_zeroes(&image, 0, 4 * MIB);
    let mut permissions = std::fs::metadata(&image).unwrap().permissions();
    permissions.set_readonly(true);
    std::fs::set_permissions(&image, permissions).unwrap();
    let ran = room.run_as_nobody(&["trim", "--dry-run", "--json", "disk.img"]);
    assert_eq!(ran.code(), 0, "{ran:?}");
    assert!(ran.object()["zero_bytes"].as_u64().unwrap() >= 4 * MIB, "{ran:?}");
}

#[test]
fn copy_dense_says_what_it_filled() {
    let room = Room::new();
    room.create("disk.img", "8MiB");
    let said = room.run(&["copy", "--dense", "disk.img", "copy.img"]).out();
    assert!(said.contains("of holes filled"), "{said}");
}

#[test]
fn copy_keeps_holes_and_says_how() {
    let room = Room::new();
    let image = room.create("disk.img", "8MiB");
    write_data(&image, MIB, MIB);
    write_zeroes(&image, 4 * MIB, MIB);
    let copied = room.json(&["copy", "--verify", "disk.img", "copy.img"]);
    assert!(["clone", "extents"].contains(&copied["method"].as_str().unwrap()), "{copied}");
    assert_eq!(copied["verified"], true);
    assert_eq!(std::fs::read(&image).unwrap(), std::fs::read(room.path("copy.img")).unwrap(), "law 1");
    let scanned = room.json(&["copy", "--detect-zeroes", "disk.img", "scanned.img"]);
    assert_eq!((&scanned["method"], &scanned["bytes_copied"]), (&"scan".into(), &MIB.into()));
    assert_eq!(allocated(&room.path("scanned.img")), MIB);
    room.snap(&["copy", "disk.img", "third.img"]).success().stdout_eq(str![[r#"
copied disk.img to third.img: [..] of holes kept; [..] allocated (method: [..])

"#]]);
}

#[test]
fn a_copy_that_is_not_flushed_says_so() {
    let room = Room::new();
    let image = room.create("disk.img", "8MiB");
    write_data(&image, MIB, MIB);
    assert_eq!(room.json(&["copy", "disk.img", "flushed.img"])["flushed"], true);
    let copied = room.json(&["copy", "--no-flush", "--verify", "disk.img", "copy.img"]);
    assert_eq!((&copied["flushed"], &copied["verified"]), (&false.into(), &true.into()));
    assert_eq!(std::fs::read(&image).unwrap(), std::fs::read(room.path("copy.img")).unwrap(), "law 1");
    room.snap(&["copy", "--no-flush", "--verify", "disk.img", "third.img"]).success().stdout_eq(str![[r#"
copied disk.img to third.img: [..] of holes kept, verified, not flushed; [..] allocated (method: [..])

"#]]);
    let help = room.run(&["copy", "--help"]).out();
    assert!(help.contains("--no-flush") && help.contains("power cut"), "{help}");
}

#[test]
fn quiet_says_only_what_was_asked_for() {
    let room = Room::new();
    assert_eq!(room.run(&["create", "-q", "disk.img", "--size", "8MiB"]).out(), "");
    assert_eq!(room.run(&["trim", "-q", "disk.img"]).out(), "");
    assert_eq!(room.run(&["punch", "-q", "disk.img", "--offset", "0", "--length", "4096"]).out(), "");
    assert_eq!(room.run(&["copy", "-q", "disk.img", "copy.img"]).out(), "");
    assert_ne!(room.run(&["info", "-q", "disk.img"]).out(), "");
    assert_ne!(room.run(&["map", "-q", "disk.img"]).out(), "");
}

#[test]
fn verbose_logs_to_standard_error_only() {
    let room = Room::new();
    room.create("disk.img", "8MiB");
    let ran = room.run(&["trim", "-v", "--json", "disk.img"]);
    ran.object();
    assert!(ran.err().contains("freed"), "{ran:?}");
}
