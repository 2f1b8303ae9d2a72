//! Completions, manual pages, help.

use crate::room::Room;

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
    assert_eq!(room.run(&["man", "man/sparsedisk.1"]).code(), 1);
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
