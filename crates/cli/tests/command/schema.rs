//! Every JSON object has exactly the keys that JSON.md documents.

use std::collections::BTreeSet;

use serde_json::Value;

#[cfg(unix)]
use crate::room::{KIB, MIB, Serving, write_data, write_zeroes};
use crate::room::{Room, text};

/// The keys in the table under a heading.
fn documented(heading: &str) -> BTreeSet<String> {
    let document = include_str!("../../JSON.md");
    let section = document.split("\n## ").find(|section| section.lines().next() == Some(heading));
    let section = section.unwrap_or_else(|| panic!("no section {heading}"));
    let keys = section.lines().filter_map(|line| line.strip_prefix("| `")?.split('`').next());
    keys.map(str::to_owned).collect()
}

/// The keys of an object, down to the leaves; what is empty or null has none beneath.
fn keys(value: &Value, path: &str, found: &mut BTreeSet<String>) {
    match value {
        Value::Object(object) => {
            for (key, value) in object {
                let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
                keys(value, &path, found);
            }
        }
        Value::Array(list) if list.is_empty() => drop(found.insert(path.to_owned())),
        Value::Array(list) => list.iter().for_each(|value| keys(value, &format!("{path}[]"), found)),
        _ => drop(found.insert(path.to_owned())),
    }
}

/// Checks a value against the documented keys. What is null or empty stands for everything documented beneath it.
fn check(value: &Value, documented: &BTreeSet<String>) {
    let mut found = BTreeSet::new();
    keys(value, "", &mut found);
    let beneath = |short: &str, long: &str| {
        long.strip_prefix(short).is_some_and(|rest| rest.starts_with('.') || rest.starts_with("[]"))
    };
    for key in &found {
        let known = documented.contains(key) || documented.iter().any(|long| beneath(key, long));
        assert!(known, "not documented: {key} in {value}");
    }
    for key in documented {
        let there = found.contains(key) || found.iter().any(|short| beneath(short, key));
        assert!(there, "documented and missing: {key} in {value}");
    }
}

/// Checks an object of another test against the table under a heading.
pub(crate) fn check_as(heading: &str, value: &Value) {
    check(value, &documented(heading));
}

#[cfg(unix)]
#[test]
fn every_object_has_exactly_the_documented_keys() {
    let room = Room::new();
    let check = |heading: &str, value: Value| check(&value, &documented(heading));
    check("create", room.json(&["create", "a.img", "--size", "64MiB", "--fs", "fat32", "--label", "A"]));
    check("create", room.json(&["create", "b.img", "--size", "64MiB", "--partition", "gpt"]));
    check("info", room.json(&["info", "a.img"]));
    check("info", room.json(&["info", "b.img"]));
    let image = room.path("b.img");
    write_data(&image, 4 * MIB, 64 * KIB);
    write_zeroes(&image, 8 * MIB, 64 * KIB);
    check("map", room.json(&["map", "--scan", "b.img"]));
    let mut dry = documented("trim");
    dry.extend(documented("trim --dry-run"));
    super::schema::check(&room.json(&["trim", "--dry-run", "b.img"]), &dry);
    check("trim", room.json(&["trim", "--verify", "b.img"]));
    check("compact --dry-run", room.json(&["compact", "--dry-run", "b.img"]));
    check("compact", room.json(&["compact", "b.img"]));
    check("schedule add", room.json(&["schedule", "add", "b.img", "--every", "1d", "--print"]));
    check("schedule list", room.json(&["schedule", "list"]));
    let stranger = std::fs::File::open(&image).unwrap();
    check("trim --skip-in-use", room.json(&["trim", "--skip-in-use", "b.img"]));
    drop(stranger);
    check("punch", room.json(&["punch", "b.img", "--offset", "4MiB", "--length", "64K"]));
    check("sparse query", room.json(&["sparse", "query", "b.img"]));
    check("sparse set", room.json(&["sparse", "set", "b.img"]));
    check("copy", room.json(&["copy", "b.img", "c.img"]));
    check("sparse set", room.json(&["sparse", "clear", "c.img"]));
    check("format", room.json(&["format", "--fs", "fat32", "--force", "b.img"]));
    check("advise", room.json(&["advise", "b.img"]));
    check("create", room.json(&["--model", "ntfs", "create", "m.img", "--size", "1MiB"]));
    check("info", room.json(&["--model", "ntfs", "info", "m.img"]));
    check("list", room.json(&["list"]));
    check("completions", room.json(&["completions", "bash"]));
    check("man", room.json(&["man", "."]));
    let server = Serving::start(&room, &["a.img"]);
    check("serve", server.start.clone());
    check("info", room.json(&["info", "a.img"]));
    check("trim", room.json(&["trim", "a.img"]));
    // With a pass that has ended.
    check("info", room.json(&["info", "a.img"]));
}

#[test]
fn every_error_has_exactly_the_documented_keys() {
    let room = Room::new();
    let file = room.path("file");
    std::fs::write(&file, "text").unwrap();
    for (code, arguments) in [
        (2, &["create", "a.img", "--size", "ten", "--json"][..]),
        (2, &["--json"][..]),
        (2, &["--json", "frobnicate"][..]),
        (2, &["info", "--json"][..]),
        (1, &["info", "missing", "--json"][..]),
        (3, &["info", text(room.path("").as_path()), "--json"][..]),
        (2, &["trim", "file", "--json"][..]),
    ] {
        let ran = room.run(arguments);
        assert_eq!(ran.code(), code, "{arguments:?}: {ran:?}");
        check(&ran.object(), &documented("error"));
        assert_eq!(ran.err(), "", "{arguments:?}");
    }
}
