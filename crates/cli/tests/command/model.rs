//! `--model ntfs`: the verbs on a simulated NTFS volume; and `advise`.

use serde_json::Value;

use crate::client::Client;
use crate::room::{HERE, KIB, MIB, Room, Serving};

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
        let server = Serving::start(&room, &["--model", "ntfs", "disk.img", "--listen", "tcp:127.0.0.1:0"]);
        let mut client = Client::connect_to(&server.start);
        client.write(0, &[0xAB; 128 << 10]).unwrap();
        client.flush().unwrap();
        // One process uses a volume at a time.
        assert_eq!(room.json_error(3, &["--model", "ntfs", "info", "disk.img"])["kind"], "in_use");
        drop(client);
        // Without signals it is killed: what was flushed is there (law 2).
        #[cfg(windows)]
        drop(server);
        #[cfg(unix)]
        {
            server.signal("INT");
            assert!(server.end().0.success());
        }
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
    room.json(&[&["--model", model, "copy", "images/two.img", "host:back.img"][..], HERE].concat());
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
fn a_file_of_this_machine_is_no_name_on_the_simulated_volume() {
    let room = Room::new();
    for verb in [&["create", "host:disk.img", "--size", "1MiB"][..], &["info", "host:disk.img"]] {
        let error = room.json_error(2, &[&["--model", "ntfs"], verb].concat());
        assert!(error["message"].as_str().unwrap().contains("only copy"), "{error}");
    }
}

#[test]
fn a_copy_takes_the_named_streams_along_and_info_lists_them() {
    let room = Room::new();
    let run = |arguments: &[&str]| room.json(&[&["--model", "ntfs"], arguments].concat());
    run(&["create", "disk.img", "--size", "64MiB", "--fs", "fat32"]);
    run(&["create", "disk.img:second", "--size", "1MiB"]);
    run(&["create", "disk.img:third", "--size", "2MiB"]);
    run(&["sparse", "clear", "disk.img:third"]);
    let copied = run(&["copy", "--verify", "disk.img", "copy.img"]);
    assert_eq!((&copied["streams_copied"], &copied["stream_bytes"]), (&2.into(), &json(3 * 1024)));
    let info = run(&["info", "copy.img"]);
    let ntfs = &info["ntfs"];
    assert_eq!(ntfs["valid_bytes"], 64 * MIB);
    for (key, word) in [("attributes", "sparse"), ("volume_flags", "named streams"), ("volume_flags", "sparse files")] {
        assert!(ntfs[key].as_array().unwrap().contains(&word.into()), "{ntfs}");
    }
    assert_eq!(ntfs["streams"], run(&["info", "disk.img"])["ntfs"]["streams"]);
    let streams: Vec<_> =
        ntfs["streams"].as_array().unwrap().iter().map(|stream| (&stream["name"], &stream["sparse"])).collect();
    assert_eq!(streams, [(&"second".into(), &true.into()), (&"third".into(), &false.into())]);
    let page = room.run(&["--model", "ntfs", "info", "copy.img"]).out();
    assert!(page.contains("second: 1 MiB, 64 KiB allocated, sparse"), "{page}");
    assert!(page.contains("third: 2 MiB, 2 MiB allocated, not sparse"), "{page}");
    let said = room.run(&["--model", "ntfs", "copy", "disk.img", "again.img"]).out();
    assert!(said.contains("2 named streams of 3 MiB"), "{said}");
    // One stream alone, and onto a file of this machine, which has no place for the others.
    assert_eq!(run(&["copy", "disk.img:second", "copy.img:fourth"])["streams_copied"], 0);
    let out = [&["copy", "disk.img", "host:out.img"][..], HERE].concat();
    let ran = room.run(&[&["--model", "ntfs", "--json"], &out[..]].concat());
    assert_eq!((ran.code(), &ran.object()["streams_left_out"]), (0, &2.into()), "{ran:?}");
    assert!(ran.err().contains("2 named streams of disk.img left out"), "{ran:?}");
}

#[test]
fn decompress_is_heard_and_does_nothing_to_an_image_that_is_not_compressed() {
    let room = Room::new();
    let run = |arguments: &[&str]| room.json(&[&["--model", "ntfs"], arguments].concat());
    run(&["create", "disk.img", "--size", "64MiB"]);
    for arguments in [
        &["punch", "disk.img", "--offset", "0", "--length", "1MiB"][..],
        &["sparse", "set", "disk.img"],
        &["sparse", "clear", "disk.img"],
        &["trim", "disk.img"],
        &["format", "disk.img", "--fs", "fat32"],
    ] {
        let arguments = [&["--model", "ntfs"], arguments, &["--decompress"]].concat();
        let ran = room.run(&arguments);
        // `sparse clear` takes the mark, after which nothing is given back.
        assert!([0, 4].contains(&ran.code()) && !ran.err().contains("compressed file"), "{ran:?}");
    }
    let missing = room.json_error(1, &["--model", "ntfs", "trim", "missing.img", "--decompress"]);
    assert_eq!(missing["kind"], "not_found");
}
