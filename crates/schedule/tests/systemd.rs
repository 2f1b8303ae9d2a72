//! The units, judged by systemd's own tools.
#![cfg(target_os = "linux")]

use std::ffi::OsString;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use proptest::prelude::*;
use schedule::systemd::{Units, read_timer, units};
use schedule::{Every, Job, Scope, escape_path, unescape_path};

fn skipped(why: &str) {
    assert!(std::env::var_os("SPARSEDISK_REQUIRE_ALL").is_none_or(|all| all != "1"), "required, but {why}");
    eprintln!("skipped: {why}");
}

fn judge(program: &str, arguments: &[&std::ffi::OsStr]) -> Option<Output> {
    let done = Command::new(program).args(arguments).env("LC_ALL", "C.UTF-8").output();
    done.map_err(|error| skipped(&format!("{program}: {error}"))).ok()
}

/// Paths that have gone wrong somewhere before.
fn nasty() -> Vec<PathBuf> {
    let paths: [&[u8]; 15] = [
        "/srv/c1\u{85}\u{2028}.img".as_bytes(),
        b"/srv/disk.img",
        b"/srv/my disk.img",
        b"/srv/100%/%h%n.img",
        b"/srv/$HOME/${PATH}.img",
        b"/srv/new\nline\rtab\t.img",
        "/srv/\u{e4}\u{1f4be}.img".as_bytes(),
        b"/srv/back\\slash\\x20.img",
        b"/srv/\"quoted\" 'single'.img",
        b"/.hidden/-dash-.img",
        b"/srv/trailing\\",
        b"/srv/; rm -rf x.img",
        b"/srv/#comment.img",
        b"/srv/@+!:-|.img",
        b"/x",
    ];
    paths.iter().map(|path| OsString::from_vec(path.to_vec()).into()).collect()
}

fn job(image: PathBuf) -> Job {
    Job { image, program: "/bin/echo".into(), every: "1d".parse().unwrap(), scope: Scope::System }
}

#[test]
fn a_path_is_escaped_as_systemd_escape_does_and_comes_back() {
    for path in nasty() {
        let escaped = escape_path(&path).unwrap();
        assert_eq!(unescape_path(&escaped).unwrap(), path);
        let Some(said) = judge("systemd-escape", &["--path".as_ref(), path.as_os_str()]) else { continue };
        // It refuses what is no path as it would write it.
        if said.status.success() {
            assert_eq!(String::from_utf8_lossy(&said.stdout).trim_end(), escaped, "{path:?}");
        }
    }
    for name in ["a\\x2", "a\\y20", "a\\x41", "\\x2f", "\u{e4}", "a b"] {
        assert_eq!(unescape_path(name), None, "{name}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_path_is_a_name_of_plain_characters_and_comes_back(bytes in proptest::collection::vec(1u8..=255, 1..200)) {
        // One slash between two names, as absolute paths have it.
        let path = PathBuf::from(OsString::from_vec([b"/".as_slice(), &bytes].concat()));
        prop_assume!(!path.as_os_str().as_bytes().windows(2).any(|pair| pair == b"//"));
        let escaped = escape_path(&path).unwrap();
        prop_assert_eq!(unescape_path(&escaped), Some(path.clone()));
        prop_assert!(escaped.bytes().all(|byte| byte.is_ascii_alphanumeric() || b":_.\\-".contains(&byte)));
        prop_assert_eq!(units(&job(path.clone())).is_ok(), path.to_str().is_some());
    }

    #[test]
    fn units_have_a_line_for_each_setting_and_are_read_as_they_were_written(text in any::<String>()) {
        let path = PathBuf::from(format!("/{}", text.replace(['\0', '/'], "")));
        let Units { stem, service, timer } = units(&job(path.clone())).unwrap();
        prop_assert!(stem.len() + ".service".len() <= 255);
        prop_assert!(service.lines().count() == 11 && service.lines().chain(timer.lines()).all(|line| !line.ends_with('\\')));
        let entry = read_timer("x", &timer, Scope::User).unwrap();
        prop_assert_eq!((entry.image, entry.every), (path, "1d".parse::<Every>().unwrap()));
    }
}

#[test]
fn systemd_verifies_the_units_of_every_path() {
    for path in nasty() {
        let directory = tempfile::tempdir().unwrap();
        let mut files: Vec<OsString> = vec!["verify".into(), "--man=no".into()];
        let Units { stem, service, timer } = units(&job(path.clone())).unwrap();
        // The tool takes what follows a colon for another name of the unit.
        let stem = stem.replace(':', "_");
        for (suffix, text) in [("service", service), ("timer", timer)] {
            let file = directory.path().join(format!("{stem}.{suffix}"));
            std::fs::write(&file, text).unwrap();
            files.push(file.into());
        }
        let files: Vec<_> = files.iter().map(OsString::as_os_str).collect();
        let Some(said) = judge("systemd-analyze", &files) else { return };
        let words = String::from_utf8_lossy(&said.stderr);
        assert!(said.status.success() && !words.contains("sparsedisk"), "{path:?}: {words}");
    }
}

#[test]
fn systemd_knows_every_calendar() {
    for every in ["1min", "15min", "1h", "6h", "12h", "1d", "2d", "1w", "14d", "30d"] {
        let Units { timer, .. } = units(&Job { every: every.parse().unwrap(), ..job("/x".into()) }).unwrap();
        let calendar = timer.lines().find_map(|line| line.strip_prefix("OnCalendar=")).unwrap();
        let Some(said) = judge("systemd-analyze", &["calendar".as_ref(), calendar.as_ref()]) else { return };
        assert!(said.status.success(), "{calendar}: {said:?}");
    }
}

#[test]
fn a_program_that_systemd_would_not_run_is_refused() {
    for program in ["/opt/new\nline", "/opt/\"x\"", "/opt/it's", "/opt/back\\slash"] {
        let error = units(&Job { program: program.into(), ..job("/x".into()) }).unwrap_err();
        assert_eq!(error.kind(), disk_types::ErrorKind::Refused, "{program}");
    }
    let Units { service, .. } = units(&Job { program: "/opt/$x %y/sparsedisk".into(), ..job("/x".into()) }).unwrap();
    assert!(service.contains(r#"ExecStart="/opt/$x %%y/sparsedisk" trim --skip-in-use -- "/x""#), "{service}");
}

#[test]
fn long_paths_have_names_that_differ() {
    let long = |end: &str| Path::new("/").join("n".repeat(200)).join("m".repeat(200)).join(end);
    let stems = ["a", "b"].map(|end| units(&job(long(end))).unwrap().stem);
    assert_ne!(stems[0], stems[1]);
    for stem in stems {
        assert_eq!(stem.len() + ".service".len(), 255);
    }
}
