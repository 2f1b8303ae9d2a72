//! Images in many pieces: the budget of a simulated volume, and `advise`.
#![cfg(unix)]

use std::fs::File;
use std::os::unix::fs::FileExt;

use crate::room::{KIB, MIB, Room, skip, text};

#[test]
fn more_runs_than_the_budget_are_error_665() {
    let room = Room::new();
    let file = File::create(room.path("islands.img")).unwrap();
    file.set_len(MIB).unwrap();
    for island in 0..4 {
        file.write_all_at(&[1; 4096], island * 128 * KIB).unwrap();
    }
    let error = room.json_error(1, &["--model", "ntfs,budget=3", "copy", "host:islands.img", "disk.img"]);
    assert!(error["message"].as_str().unwrap().contains("Windows error 665"), "{error}");
    assert!(error["advice"].as_str().unwrap().contains("format /L"), "{error}");
    let none = room.json_error(1, &["--model", "ntfs", "info", "disk.img"]);
    assert_eq!(none["kind"], "not_found", "nothing of it is left");
}

/// 20,000 islands in 20 GiB; with SPARSEDISK_REQUIRE_ALL=1 160,000, which come near the limit.
#[test]
fn advise_counts_units_and_warns_of_error_665() {
    let all = std::env::var_os("SPARSEDISK_REQUIRE_ALL").is_some_and(|all| all == "1");
    let count: u64 = if all { 160_000 } else { 20_000 };
    let room = Room::new();
    let file = File::create(room.path("islands.img")).unwrap();
    file.set_len(20 << 30).unwrap();
    for island in 0..count {
        file.write_all_at(&[1; 4096], island * 128 * KIB).unwrap();
    }
    if file.metadata().unwrap().len() != 20 << 30 {
        return skip("the file system has no files of 20 GiB");
    }
    let advised = room.json(&["advise", "islands.img"]);
    assert_eq!(advised["extents"], count);
    for (index, (cluster, scattered)) in [(4 * KIB, 16), (64 * KIB, 1)].into_iter().enumerate() {
        let forecast = &advised["ntfs"][index];
        assert_eq!(forecast["cluster_bytes"], cluster);
        assert_eq!((&forecast["allocated_bytes"], &forecast["runs"]), (&(count * 64 * KIB).into(), &count.into()));
        assert_eq!(forecast["runs_scattered"], count * scattered);
    }
    let told = room.run(&["advise", text(&room.path("islands.img"))]).out();
    let warns =
        told.contains("warning: 4 KiB clusters: 160,000 runs, and some 2,560,000") && told.contains("error 665");
    assert_eq!(warns, all, "{told}");
    assert_eq!(advised["ntfs"][0]["risk"], if all { "depends" } else { "fits" });
    assert_eq!(advised["ntfs"][1]["risk"], "fits");
}
