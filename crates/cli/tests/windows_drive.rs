//! The verbs attach, list, detach and driver, with the driver loaded: under Wine or on a Windows for tests, with the
//! driver's file in SPARSEDISK_DRIVER.
#![cfg(windows)]

use std::collections::BTreeSet;
use std::fs::OpenOptions;
use std::os::windows::fs::OpenOptionsExt;
use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;

/// Runs the program in a directory.
struct Room(tempfile::TempDir);

impl Room {
    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_sparsedisk"));
        command.args(arguments).current_dir(self.0.path());
        command
    }

    fn run(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().expect("the program")
    }

    fn done(&self, arguments: &[&str]) -> String {
        let ran = self.run(arguments);
        assert_eq!(ran.status.code(), Some(0), "{arguments:?}: {ran:?}");
        String::from_utf8(ran.stdout).expect("text")
    }

    fn json(&self, arguments: &[&str]) -> Value {
        let arguments: Vec<&str> = arguments.iter().copied().chain(["--json"]).collect();
        serde_json::from_str(&self.done(&arguments)).expect("JSON")
    }

    fn fails(&self, code: i32, arguments: &[&str], word: &str) {
        let ran = self.run(arguments);
        let told = String::from_utf8_lossy(&ran.stderr);
        assert_eq!(ran.status.code(), Some(code), "{arguments:?}: {ran:?}");
        assert!(told.contains(word), "{word}: {told}");
    }
}

/// The keys that JSON.md lists under a heading.
fn documented(heading: &str) -> BTreeSet<String> {
    let document = include_str!("../JSON.md");
    let section = document.split("\n## ").find(|section| section.lines().next() == Some(heading));
    let lines = section.unwrap_or_else(|| panic!("no section {heading}")).lines();
    lines.filter_map(|line| line.strip_prefix("| `")?.split('`').next()).map(str::to_owned).collect()
}

/// The keys of an object, down to the leaves. An empty list is as one with an element.
fn keys(value: &Value, path: &str, found: &mut BTreeSet<String>) {
    match value {
        Value::Object(object) => {
            for (key, value) in object {
                let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
                keys(value, &path, found);
            }
        }
        Value::Array(list) if list.is_empty() => drop(found.insert(format!("{path}[]"))),
        Value::Array(list) => list.iter().for_each(|value| keys(value, &format!("{path}[]"), found)),
        _ => drop(found.insert(path.to_owned())),
    }
}

fn check(heading: &str, value: &Value) {
    let mut found = BTreeSet::new();
    keys(value, "", &mut found);
    assert_eq!(found, documented(heading), "{heading}: {value}");
}

fn under_wine() -> bool {
    let asked = Command::new("reg").args(["query", r"HKCU\Software\Wine"]).output();
    asked.is_ok_and(|found| found.status.success())
}

fn allow_unprotected() {
    let key = r"HKLM\SYSTEM\CurrentControlSet\Services\SparseDisk\Parameters";
    let value = ["/v", "AllowUnprotectedForTests", "/t", "REG_DWORD", "/d", "1", "/f"];
    let set = Command::new("reg").args(["add", key]).args(value).output().expect("reg.exe");
    assert!(set.status.success(), "{set:?}");
}

#[test]
fn an_image_becomes_a_drive_and_an_image_again() {
    if std::env::var_os("SPARSEDISK_DRIVER").is_none_or(|file| file.is_empty()) {
        let required = std::env::var_os("SPARSEDISK_REQUIRE_ALL").is_some_and(|value| value == "1");
        assert!(!required, "required, and missing: SPARSEDISK_DRIVER names no driver");
        return println!("skipped: SPARSEDISK_DRIVER names no driver");
    }
    let room = Room(tempfile::tempdir().expect("a directory"));
    room.done(&["driver", "remove"]);
    assert_eq!(room.json(&["driver", "install"])["state"].as_str(), Some("stopped"));
    if under_wine() {
        // Wine knows no security of devices: nobody may use the driver then, unless it is told that this is for tests.
        room.fails(1, &["driver", "start"], "only an administrator");
        room.fails(1, &["list"], "only an administrator");
        room.done(&["driver", "remove"]);
        room.done(&["driver", "install"]);
    }
    allow_unprotected();

    room.done(&["create", "disk.img", "--size", "8MiB", "--dense"]);
    let image = room.0.path().join("disk.img");
    // Attaching starts the driver.
    let drive = room.done(&["attach", "-q", "--dense", "disk.img"]);
    let drive = drive.trim();
    assert!(drive.len() == 2 && drive.ends_with(':'), "{drive}");
    assert!(room.done(&["list"]).contains("disk.img"));
    assert!(room.done(&["list", "-v"]).contains("0 writes"));
    let status = room.json(&["driver", "status"]);
    check("driver", &status);
    assert_eq!((status["state"].as_str(), status["disks"].as_u64()), (Some("running"), Some(1)));
    let list = room.json(&["list"]);
    check("list", &list);
    assert_eq!(list["disks"][0]["device"].as_str(), Some(drive));
    room.fails(3, &["driver", "stop"], "1 disk is attached");
    room.fails(3, &["attach", "--dense", "disk.img"], "disk.img");
    check("attach", &room.json(&["detach", drive]));

    let options = ["--via", "driver", "--removable", "--sector", "4096", "--no-zero-detection", "--keep-free", "1GiB"];
    let attach = [&["attach", "--dense", "disk.img", "--letter", drive][..], &options].concat();
    let attached = room.json(&attach);
    check("attach", &attached);
    assert_eq!(attached["device"].as_str(), Some(drive));
    assert_eq!(attached["counters"]["keep_free_bytes"].as_u64(), Some(1 << 30));
    let open = OpenOptions::new().read(true).share_mode(7).open(format!(r"\\.\{drive}")).expect("the drive");
    room.fails(3, &["detach", "disk.img"], "--force");
    room.done(&["detach", "--force", "disk.img"]);
    drop(open);
    room.fails(3, &["detach", "disk.img"], "not attached");

    let read_only = room.json(&["attach", "--dense", "--read-only", "disk.img"]);
    assert_eq!(read_only["read_only"].as_bool(), Some(true));
    room.done(&["detach", "disk.img"]);
    room.fails(4, &["attach", "--dense", "--at", "mnt", "disk.img"], "--letter");
    room.fails(4, &["attach", "--dense", "--via", "loop", "disk.img"], "--via driver");
    room.fails(2, &["attach", "--dense", "--letter", "XY:", "disk.img"], "A: to Z:");
    room.fails(2, &["attach", "--dense", "--sector", "1024", "disk.img"], "4096");
    room.fails(3, &["attach", "--dense", "--letter", "C:", "disk.img"], "C: is taken");
    assert!(Path::exists(&image));

    assert!(room.done(&["driver", "stop"]).contains("stopped"));
    assert!(room.done(&["list"]).contains("nothing is attached"));
    assert!(room.done(&["driver", "remove"]).contains("not installed"));

    // A driver file that is missing, and one that is none.
    let start = |file: &str| {
        let ran = room.command(&["driver", "start"]).env("SPARSEDISK_DRIVER", file).output().expect("the program");
        assert_eq!(ran.stdout, b"", "{ran:?}");
        (ran.status.code(), String::from_utf8_lossy(&ran.stderr).into_owned())
    };
    let (code, told) = start("missing.sys");
    assert!(code == Some(1) && told.contains("missing.sys") && told.contains("SPARSEDISK_DRIVER"), "{code:?} {told}");
    std::fs::write(room.0.path().join("text.sys"), "no driver").expect("a file");
    let (code, told) = start("text.sys");
    assert!(code != Some(0) && told.contains("text.sys"), "{code:?} {told}");
    println!("a file that is no driver: {told}");
    assert!(room.done(&["driver", "status"]).contains("stopped"));
    assert!(room.done(&["driver", "remove"]).contains("not installed"));
}
