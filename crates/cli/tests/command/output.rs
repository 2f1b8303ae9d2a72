//! Colours, broken pipes, pictures, completions, manual pages.

use std::io::{BufRead, BufReader};
use std::process::Stdio;

use crate::room::{KIB, MIB, Room, skip, text, write_data};

/// Runs the program on a terminal of its own, and gives what it showed.
fn on_a_terminal(room: &Room, environment: &[(&str, &str)], arguments: &[&str]) -> Option<String> {
    let line = [&[env!("CARGO_BIN_EXE_sparsedisk")], arguments].concat().join(" ");
    let mut command = room.command("script", &["-qec", &line, "/dev/null"]);
    command.env("TERM", "xterm-256color").envs(environment.iter().copied());
    match command.output() {
        Ok(output) => Some(String::from_utf8_lossy(&output.stdout).into_owned()),
        Err(error) => {
            skip(&format!("script: {error}"));
            None
        }
    }
}

#[test]
fn colours_are_for_terminals_that_want_them() {
    let room = Room::new();
    write_data(&room.create("disk.img", "8MiB"), 0, MIB);
    assert!(!room.run(&["map", "disk.img"]).out().contains('\x1b'), "not into a pipe");
    let Some(shown) = on_a_terminal(&room, &[], &["map", "disk.img"]) else { return };
    assert!(shown.contains('\x1b'), "{shown:?}");
    let shown = on_a_terminal(&room, &[("NO_COLOR", "1")], &["map", "disk.img"]).unwrap();
    assert!(shown.contains("8 MiB") && !shown.contains('\x1b'), "{shown:?}");
    let shown = on_a_terminal(&room, &[("NO_COLOR", "1")], &["map", "missing.img"]).unwrap();
    assert!(shown.contains("missing.img") && !shown.contains('\x1b'), "{shown:?}");
    let shown = on_a_terminal(&room, &[], &["info", "--json", "disk.img"]).unwrap();
    assert!(!shown.contains('\x1b'), "{shown:?}");
}

#[test]
fn a_broken_pipe_is_quiet() {
    let room = Room::new();
    let image = room.create("disk.img", "64MiB");
    for index in 0..8000 {
        let file = std::fs::File::options().write(true).open(&image).unwrap();
        std::os::unix::fs::FileExt::write_all_at(&file, &[1], index * 8 * KIB).unwrap();
    }
    for arguments in [&["map", "-v", "disk.img"][..], &["map", "--json", "disk.img"]] {
        let mut child = room.program(arguments).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut out = BufReader::with_capacity(64, child.stdout.take().unwrap());
        out.fill_buf().unwrap();
        drop(out);
        let output = child.wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{arguments:?}");
        assert_eq!(String::from_utf8_lossy(&output.stderr), "", "{arguments:?}");
    }
}

#[test]
fn an_answer_that_cannot_be_written_is_a_failure() {
    let room = Room::new();
    room.create("disk.img", "8MiB");
    let Ok(full) = std::fs::File::options().write(true).open("/dev/full") else { return skip("no /dev/full") };
    let output = room.program(&["info", "disk.img"]).stdout(full).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("standard output"), "{output:?}");
}

#[test]
fn the_picture_is_xml_with_a_legend_and_sizes() {
    let room = Room::new();
    let image = room.create("disk.img", "1TiB");
    write_data(&image, 512 << 30, 64 * KIB);
    assert_eq!(room.run(&["map", "--scan", "--svg", "disk.svg", "disk.img"]).code(), 0);
    let svg = std::fs::read_to_string(room.path("disk.svg")).unwrap();
    for word in ["<svg", "</svg>", "1 TiB", "512 GiB", "64 KiB in 1 extent", "allocated, all zero", "hole", "data"] {
        assert!(svg.contains(word), "{word}: {svg}");
    }
    assert!(svg.len() < 20_000, "{} bytes", svg.len());
    if let Some(judge) = room.judge("rsvg-convert", &["disk.svg", "-o", "disk.png"]) {
        assert!(judge.status.success(), "{judge:?}");
    }
    let missing = text(&room.path("missing/disk.svg")).to_owned();
    let ran = room.run(&["map", "--svg", &missing, "disk.img"]);
    assert_eq!(ran.code(), 1);
    assert!(ran.err().contains(&missing), "{ran:?}");
}

#[test]
fn completions_and_manual_pages_know_every_verb() {
    let room = Room::new();
    let verbs = [
        "create", "info", "map", "punch", "sparse", "trim", "copy", "format", "serve", "attach", "detach", "list",
        "driver", "schedule", "compact",
    ];
    for shell in ["bash", "elvish", "fish", "powershell", "zsh"] {
        let script = room.run(&["completions", shell]).out();
        for verb in verbs {
            assert!(script.contains(verb), "{shell}: {verb}");
        }
    }
    std::fs::create_dir(room.path("man")).unwrap();
    assert_eq!(room.run(&["man", "man"]).code(), 0);
    for verb in verbs {
        let page = std::fs::read_to_string(room.path(&format!("man/sparsedisk-{verb}.1"))).unwrap();
        assert!(page.contains("sparsedisk"), "{page}");
        assert!(page.contains("EXIT STATUS"), "{page}");
        assert!(verb == "list" || page.contains(".SH \"EXAMPLES\""), "{page}");
    }
    for page in ["sparse-query", "schedule-add", "schedule-remove", "schedule-list"] {
        assert!(room.path(&format!("man/sparsedisk-{page}.1")).exists(), "{page}");
    }
    for page in ["man/sparsedisk-serve.1", "man/sparsedisk-schedule-add.1", "man/sparsedisk-compact.1"] {
        let Some(judge) = room.judge("man", &["--warnings", "-E", "UTF-8", "-l", page]) else { break };
        assert!(judge.status.success() && judge.stderr.is_empty(), "{judge:?}");
    }
    assert!(room.path("man/sparsedisk.1").exists());
    assert_eq!(room.run(&["man", "missing"]).code(), 1);
}

#[test]
fn every_verb_has_help() {
    let room = Room::new();
    let help = room.run(&["--help"]);
    assert_eq!(help.code(), 0);
    for verb in [
        "create", "info", "map", "punch", "sparse", "trim", "copy", "format", "serve", "attach", "detach", "list",
        "driver", "schedule", "compact",
    ] {
        assert!(help.out().contains(verb), "{verb}");
        let ran = room.run(&[verb, "--help"]);
        assert_eq!((ran.code(), ran.err().as_str()), (0, ""), "{verb}");
        assert!(verb == "list" || ran.out().contains("Examples:"), "{verb}: {}", ran.out());
    }
    assert_eq!(room.run(&["--version"]).out(), format!("sparsedisk {}\n", env!("CARGO_PKG_VERSION")));
    assert_eq!(room.run(&[]).code(), 2);
}
