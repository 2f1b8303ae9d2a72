//! `--model ntfs`: the verbs on a simulated NTFS volume; and `advise`.

use std::fs::File;
use std::os::unix::fs::FileExt;

use serde_json::Value;

use crate::client::Client;
use crate::room::{KIB, MIB, Room, Serving, skip, text};

/// Extents as offset, length and kind.
fn extents(map: &Value) -> Vec<(u64, u64, String)> {
    let number = |value: &Value| value.as_u64().unwrap();
    let extent = |extent: &Value| {
        (number(&extent["offset"]), number(&extent["length"]), extent["kind"].as_str().unwrap().to_owned())
    };
    map["extents"].as_array().unwrap().iter().map(extent).collect()
}

fn data(offset: u64, length: u64) -> (u64, u64, String) {
    (offset, length, "data".to_owned())
}

fn hole(offset: u64, length: u64) -> (u64, u64, String) {
    (offset, length, "hole".to_owned())
}

#[test]
fn shows_issue_3_number_3_two_halves_of_a_unit_free_nothing_until_a_trim_joins_them() {
    let room = Room::new();
    let run = |arguments: &[&str]| room.json(&[&["--model", "ntfs"], arguments].concat());
    let made = room.json(&["--model", "ntfs,cluster=4096,capacity=64MiB", "create", "disk.img", "--size", "1MiB"]);
    assert_eq!(made["allocated_bytes"], 64 * KIB, "the last sector was written once");
    {
        let server = Serving::start(&room, &["--model", "ntfs", "disk.img"]);
        let mut client = Client::connect(&room.path("disk.img.sock"));
        client.write(0, &[0xAB; 128 << 10]).unwrap();
        client.flush().unwrap();
        // One process uses a volume at a time.
        assert_eq!(room.json_error(3, &["--model", "ntfs", "info", "disk.img"])["kind"], "in_use");
        drop(client);
        server.signal("INT");
        assert!(server.end().0.success());
    }
    let end = MIB - 64 * KIB;
    let full = [data(0, 128 * KIB), hole(128 * KIB, end - 128 * KIB), data(end, 64 * KIB)];
    assert_eq!(extents(&run(&["map", "disk.img"])), full);
    for offset in ["0", "32KiB"] {
        let punched = run(&["punch", "disk.img", "--offset", offset, "--length", "32KiB"]);
        assert_eq!(punched["freed_bytes"], 0);
    }
    assert_eq!(extents(&run(&["map", "disk.img"])), full);
    let trimmed = run(&["trim", "--verify", "disk.img"]);
    assert_eq!((&trimmed["allocated_before_bytes"], &trimmed["allocated_after_bytes"]), (&json(192), &json(64)));
    assert_eq!(
        extents(&run(&["map", "disk.img"])),
        [hole(0, 64 * KIB), data(64 * KIB, 64 * KIB), hole(128 * KIB, MIB - 128 * KIB)]
    );
    let info = run(&["info", "disk.img"]);
    assert_eq!(info["model"]["runs"], 1);
    assert_eq!((&info["model"]["unit_bytes"], &info["model"]["capacity_bytes"]), (&json(64), &json(64 * 1024)));
    assert_eq!(info["file_system"]["name"], "NTFS (simulated)");
}

fn json(kib: u64) -> Value {
    (kib * KIB).into()
}

#[test]
fn images_go_onto_the_volume_and_back() {
    let room = Room::new();
    let image = room.create_fat("disk.img", "64MiB");
    let model = "ntfs,dir=there/it/is,cluster=64KiB";
    let onto = room.json(&["--model", model, "copy", "host:disk.img", "images/disk.img", "--verify"]);
    let forecast = room.json(&["advise", "disk.img"]);
    assert_eq!(onto["allocated_bytes"], forecast["ntfs"][1]["allocated_bytes"]);
    let info = room.json(&["--model", model, "info", "images/disk.img"]);
    assert_eq!(info["contents"]["volumes"][0]["file_system"], "fat32");
    assert_eq!(info["model"]["runs"], forecast["ntfs"][1]["runs"]);
    assert_eq!(room.json(&["--model", model, "copy", "images/disk.img", "Images\\Two.img"])["method"], "extents");
    room.json(&["--model", model, "copy", "images/two.img", "host:back.img"]);
    assert_eq!(std::fs::read(image).unwrap(), std::fs::read(room.path("back.img")).unwrap());
    let error = room.json_error(1, &["--model", model, "copy", "images/two.img", "images/disk.img"]);
    assert_eq!(error["kind"], "already_exists");
    assert_eq!(room.json_error(1, &["--model", model, "info", "images/three.img"])["kind"], "not_found");
    assert_eq!(room.names(), ["back.img", "disk.img", "there"]);
}

#[test]
fn streams_are_sparse_each_for_itself() {
    let room = Room::new();
    let run = |arguments: &[&str]| room.json(&[&["--model", "ntfs"], arguments].concat());
    run(&["create", "disk.img", "--size", "64MiB", "--fs", "fat32"]);
    run(&["create", "disk.img:second", "--size", "1MiB"]);
    assert_eq!(run(&["sparse", "clear", "disk.img:second"])["allocated_after_bytes"], MIB);
    assert_eq!(run(&["sparse", "query", "disk.img:second"])["marked"], false);
    assert_eq!(run(&["sparse", "query", "disk.img"])["marked"], true);
    let refused =
        room.json_error(4, &["--model", "ntfs", "punch", "disk.img:second", "--offset", "0", "--length", "1M"]);
    assert!(refused["advice"].as_str().unwrap().contains("sparse set"), "{refused}");
    run(&["sparse", "set", "disk.img:second"]);
    assert_eq!(run(&["punch", "disk.img:second", "--offset", "0", "--length", "1M"])["allocated_after_bytes"], 0);
    run(&["format", "disk.img", "--fs", "fat32", "--force"]);
}

#[test]
fn what_the_system_must_do_and_what_contradicts_the_volume_is_refused() {
    let room = Room::new();
    for arguments in [&["list"][..], &["attach", "disk.img"], &["detach", "disk.img"]] {
        let error = room.json_error(3, &[&["--model", "ntfs"], arguments].concat());
        assert!(error["message"].as_str().unwrap().contains("--model"), "{error}");
    }
    assert!(room.names().is_empty(), "no volume was made");
    let create = ["create", "disk.img", "--size", "1MiB"];
    for wrong in ["fat32", "ntfs,cluster", "ntfs,budget=many", "ntfs,colour=red"] {
        room.json_error(2, &[&["--model", wrong], &create[..]].concat());
    }
    for wrong in ["ntfs,cluster=1000", "ntfs,cluster=4MiB", "ntfs,capacity=1"] {
        assert_eq!(
            room.json_error(2, &[&["--model", wrong], &create[..]].concat())["kind"],
            "invalid_input",
            "{wrong}"
        );
    }
    assert!(room.names().is_empty());
    room.json(&[&["--model", "ntfs,budget=2"], &create[..]].concat());
    let differs = room.json_error(2, &["--model", "ntfs,budget=3", "info", "disk.img"]);
    assert!(differs["message"].as_str().unwrap().contains("budget=2"), "{differs}");
}

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

#[test]
fn a_file_of_this_machine_is_no_name_on_the_simulated_volume() {
    let room = Room::new();
    for verb in [&["create", "host:disk.img", "--size", "1MiB"][..], &["info", "host:disk.img"]] {
        let error = room.json_error(2, &[&["--model", "ntfs"], verb].concat());
        assert!(error["message"].as_str().unwrap().contains("only copy"), "{error}");
    }
}
