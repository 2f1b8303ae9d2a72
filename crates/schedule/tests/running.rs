//! A systemd that runs: a user's, in name spaces of its own, which starts what was scheduled.
#![cfg(target_os = "linux")]

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use schedule::{Every, Job, Scope};

const NAME: &str = "what_is_scheduled_runs_with_the_image_that_was_named_and_at_the_lowest_priority";
/// Where the second run of this program, inside, finds its directory.
const INSIDE: &str = "SPARSEDISK_TEST_SCHEDULED_IN";

/// Starts a systemd as if it had started the machine, and this test beside it.
const BOOT: &str = r#"
set -e
mount -t tmpfs tmpfs /run
mkdir -p /run/systemd/system /run/user/0 "$HOME"
export XDG_RUNTIME_DIR=/run/user/0
/lib/systemd/systemd --user --log-target=console 2> "$HOME/log" &
until [ -S /run/user/0/systemd/private ] && systemctl --user is-active basic.target > "$HOME/active" 2>&1; do
    kill -0 $! || { echo no systemd; exit 75; }
done
exec "$0" --exact "$1" --nocapture
"#;

/// In place of sparsedisk: writes down what it was given, and how urgent it is.
const PROGRAM: &str = r#"#!/bin/sh
for word; do printf '%s\0' "$word"; done > "${0%/*}/words"
{ cut -d ' ' -f 19 /proc/self/stat; ionice; chrt -p $$ | head -n 1; } > "${0%/*}/priority"
"#;

fn skipped(why: &str) {
    assert!(std::env::var_os("SPARSEDISK_REQUIRE_ALL").is_none_or(|all| all != "1"), "required, but {why}");
    eprintln!("skipped: {why}");
}

fn systemctl(arguments: &[&str]) -> Output {
    Command::new("systemctl").args(["--user", "--no-pager"]).args(arguments).output().unwrap()
}

#[test]
fn what_is_scheduled_runs_with_the_image_that_was_named_and_at_the_lowest_priority() {
    if let Some(directory) = std::env::var_os(INSIDE) {
        return inside(Path::new(&directory));
    }
    if !rustix::process::geteuid().is_root() || !Path::new("/lib/systemd/systemd").exists() {
        return skipped("no root, or no systemd");
    }
    let directory = tempfile::tempdir().unwrap();
    let mut command = Command::new("unshare");
    command.args(["--pid", "--mount", "--cgroup", "--fork", "--kill-child", "--mount-proc", "sh", "-c", BOOT]);
    command.arg(std::env::current_exe().unwrap()).arg(NAME);
    command.env(INSIDE, directory.path()).env("HOME", directory.path().join("home")).env_remove("XDG_CONFIG_HOME");
    match command.output() {
        Ok(output) if output.status.success() => {}
        // Nothing that could be installed would change it.
        Ok(output) if output.status.code() == Some(75) => {
            eprintln!("skipped: systemd does not run in name spaces here")
        }
        other => panic!("{other:?}"),
    }
}

fn inside(directory: &Path) {
    // Blanks, specifiers and variables in the path of the program, too.
    let programs = directory.join("a %h $HOME ${PATH} \u{e4}");
    let program = programs.join("sparse disk");
    fs::create_dir(&programs).unwrap();
    fs::write(&program, PROGRAM).unwrap();
    fs::set_permissions(&program, Permissions::from_mode(0o755)).unwrap();
    let job = |image: PathBuf, every: &str| Job {
        image,
        program: program.clone(),
        every: every.parse().unwrap(),
        scope: Scope::User,
    };
    let paths = [
        "/srv/disk.img",
        "/srv/a  b %h%n%% $HOME ${PATH} $$ \"q\" 's' \\x20 end\\",
        "/srv/new\nline\r\ttab.img",
        "/srv/\u{e4} \u{1f4be} \u{85} \u{2028}.img",
        "/srv/;x #y @+!:-| {} *.img",
        "/-dash",
    ];
    for path in paths {
        let job = job(path.into(), "6h");
        let added = schedule::add(&job).unwrap();
        assert!(added.enabled && !added.replaced, "{added:?}");
        let service = added.plan.name.replace(".timer", ".service");
        let listed = schedule::list().unwrap();
        let [entry] = listed.as_slice() else { panic!("{listed:?}") };
        assert_eq!((entry.image.as_path(), entry.active), (Path::new(path), Some(true)));
        assert!(entry.next.is_some() && entry.last.is_none() && entry.last_result.is_none(), "{entry:?}");

        let started = systemctl(&["start", "--", &service]);
        assert!(started.status.success(), "{path}: {started:?}");
        let words = fs::read_to_string(programs.join("words")).unwrap();
        assert_eq!(words.split_terminator('\0').collect::<Vec<_>>(), ["trim", "--skip-in-use", "--", path]);
        let priority = fs::read_to_string(programs.join("priority")).unwrap();
        assert!(priority.starts_with("19\nidle\n") && priority.contains("SCHED_BATCH"), "{priority}");
        let ran = &schedule::list().unwrap()[0];
        assert!(ran.last.is_some() && ran.last_result.as_deref() == Some("success"), "{ran:?}");

        let again = schedule::add(&Job { every: "1d".parse().unwrap(), ..job }).unwrap();
        assert!(again.replaced);
        let timers = systemctl(&["show", "--property", "TimersCalendar", "--", &added.plan.name]);
        assert!(String::from_utf8_lossy(&timers.stdout).contains("*-*-* 00:00:00"), "{timers:?}");
        assert_eq!(schedule::remove(Path::new(path), Scope::User).unwrap().every, "1d".parse::<Every>().unwrap());
        assert_eq!(schedule::list().unwrap(), []);
        let units = systemctl(&["list-units", "--all", "--plain", "--no-legend", "sparsedisk-*"]);
        assert!(units.stdout.is_empty(), "{units:?}");
    }
    // A program that is gone is told by the result of the run, and the entry can be removed all the same.
    let added = schedule::add(&job("/srv/disk.img".into(), "1d")).unwrap();
    fs::remove_file(&program).unwrap();
    assert!(!systemctl(&["start", "--", &added.plan.name.replace(".timer", ".service")]).status.success());
    assert_eq!(schedule::list().unwrap()[0].last_result.as_deref(), Some("exit-code"));
    schedule::remove(Path::new("/srv/disk.img"), Scope::User).unwrap();
    assert_eq!(schedule::list().unwrap(), []);
}
