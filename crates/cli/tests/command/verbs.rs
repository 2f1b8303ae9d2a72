//! What each verb does and says.

use snapbox::str;

use crate::room::{HERE, KIB, MIB, Room, allocated, write_data};

#[test]
fn create_can_make_one_partition_and_name_the_fat_that_fits_in_it() {
    let room = Room::new();
    for (table, size, fat) in
        [("mbr", "16MiB", "fat16"), ("gpt", "16MiB", "fat16"), ("mbr", "1GiB", "fat32"), ("gpt", "1GiB", "fat32")]
    {
        if size == "1GiB" && !HERE.is_empty() {
            continue;
        }
        let name = format!("{table}-{size}.img");
        let made =
            room.json(&[&["create", &name, "--size", size, "--fs", "fat", "--partition", table][..], HERE].concat());
        assert_eq!((&made["partition_table"], &made["file_system"]), (&table.into(), &fat.into()));
        let contents = room.json(&["info", &name])["contents"].clone();
        assert_eq!(contents["partition_table"]["kind"], table, "{contents}");
        assert_eq!(contents["volumes"][0]["file_system"], fat, "{contents}");
        assert_eq!(contents["volumes"][0]["partition"], 1, "{contents}");
        assert_eq!(contents["volumes"][0]["offset"], MIB, "{contents}");
        assert_eq!(contents["warnings"].as_array().unwrap().len(), 0, "{contents}");
    }
}

#[test]
fn create_dense_allocates_everything() {
    let room = Room::new();
    room.json(&["create", "disk.img", "--size", "8MiB", "--dense"]);
    assert!(allocated(&room.path("disk.img")) >= 8 * MIB);
    room.json(&["create", "fat.img", "--size", "64MiB", "--dense", "--fs", "fat32", "--partition", "gpt"]);
    assert_eq!(room.json(&["info", "fat.img"])["hole_bytes"], 0, "formatting leaves no holes in it");
    assert!(allocated(&room.path("fat.img")) >= 64 * MIB);
}

#[test]
fn create_that_fails_half_way_removes_only_what_it_made() {
    let room = Room::new();
    std::fs::write(room.path("other"), "kept").unwrap();
    // The label is refused when the file is there already.
    let create = |arguments: &[&str]| room.json_error(2, &[&["create", "disk.img"], arguments, HERE].concat());
    let error = create(&["--size", "64MiB", "--fs", "fat32", "--label", "far too long a label"]);
    assert_eq!(error["kind"], "invalid_input");
    let error = create(&["--size", "1MiB", "--fs", "fat32"]);
    assert_eq!(error["kind"], "invalid_input");
    assert_eq!(room.names(), ["other"]);
}

#[test]
fn info_takes_any_regular_file() {
    let room = Room::new();
    std::fs::write(room.path("odd"), vec![1; 1000]).unwrap();
    std::fs::write(room.path("empty"), "").unwrap();
    for (name, len_bytes) in [("odd", 1000), ("empty", 0)] {
        let info = room.json(&["info", name]);
        assert_eq!(info["apparent_bytes"], len_bytes);
        assert!(info["format"].is_null() && info["contents"].is_null(), "{info}");
        assert_eq!(room.run(&["info", name]).code(), 0);
        assert_eq!(room.run(&["map", name]).code(), 0);
    }
    assert_eq!(room.json(&["map", "empty"])["extents"].as_array().unwrap().len(), 0);
}

#[test]
fn map_covers_the_file_exactly_in_order() {
    let room = Room::new();
    let image = room.create("disk.img", "64MiB");
    for index in 0..40 {
        write_data(&image, index * MIB + index * 4 * KIB, 8 * KIB);
    }
    for arguments in [&["map", "disk.img"][..], &["map", "--scan", "disk.img"][..]] {
        let map = room.json(arguments);
        let mut end = 0;
        let mut last = String::new();
        for extent in map["extents"].as_array().unwrap() {
            assert_eq!(extent["offset"], end, "law 6");
            assert_ne!(extent["kind"], last, "neighbours are joined");
            end += extent["length"].as_u64().unwrap();
            last = extent["kind"].as_str().unwrap().to_owned();
        }
        assert_eq!(end, 64 * MIB, "law 6");
    }
}

#[test]
fn format_needs_an_empty_image_or_force() {
    let room = Room::new();
    let image = room.create("disk.img", "64MiB");
    room.snap(&["format", "disk.img", "--fs", "fat32", "--label", "one"]).success().stdout_eq(str![[r#"
formatted disk.img: fat32 "ONE", [..] free; [..] allocated

"#]]);
    room.snap(&["format", "disk.img", "--fs", "fat16"]).code(3).stdout_eq(str![""]).stderr_eq(str![[r#"
sparsedisk: cannot format disk.img: it holds a FAT32 file system "ONE"; --force formats it all the same, and what is inside is lost

"#]]);
    assert_eq!(room.json(&["format", "disk.img", "--fs", "fat16", "--force"])["file_system"], "fat16");
    let unknown = room.create("unknown.img", "64MiB");
    write_data(&unknown, 4096, 100);
    assert_eq!(room.json_error(3, &["format", "unknown.img", "--fs", "fat32"])["kind"], "refused");
    assert!(!HERE.is_empty() || allocated(&image) < 2 * MIB);
}
