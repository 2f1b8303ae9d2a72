//! With a systemctl of our own, which writes down what it is told.

use std::os::unix::fs::PermissionsExt;

use tempfile::TempDir;

use super::*;

struct Desk {
    directory: TempDir,
    systemd: Systemd,
}

impl Desk {
    /// `script` is what the systemctl does with its arguments.
    fn with(script: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let systemctl = directory.path().join("systemctl");
        let log = directory.path().join("log").display().to_string();
        let text = format!("#!/bin/sh\necho \"$@\" >> '{log}'\n{script}\n");
        // Written by another process: one that this process writes would be busy for a child that another test starts.
        let mut writer = Command::new("sh");
        writer.args(["-c", "printf %s \"$1\" > \"$2\"", "sh", &text]).arg(&systemctl);
        assert!(writer.status().unwrap().success());
        fs::set_permissions(&systemctl, fs::Permissions::from_mode(0o755)).unwrap();
        let units = directory.path().join("units");
        let systemd = Systemd { scope: Scope::System, directory: units, systemctl: Some(systemctl) };
        Self { directory, systemd }
    }

    fn log(&self) -> Vec<String> {
        let log = fs::read_to_string(self.directory.path().join("log")).unwrap_or_default();
        log.lines().map(|line| line.replace("--no-pager --no-ask-password ", "")).collect()
    }

    fn units(&self) -> Vec<String> {
        let entries = fs::read_dir(&self.systemd.directory).into_iter().flatten();
        let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }
}

fn job(image: &str, every: &str) -> Job {
    Job {
        image: image.into(),
        program: "/usr/bin/sparsedisk".into(),
        every: every.parse().unwrap(),
        scope: Scope::System,
    }
}

#[test]
fn an_entry_is_written_enabled_listed_and_removed() {
    let desk = Desk::with(
        "case $* in *show*timer) echo ActiveState=active; echo NextElapseUSecRealtime=tomorrow;; *show*) echo Result=success; echo ExecMainExitTimestamp=;; esac",
    );
    let added = desk.systemd.add(&job("/srv/a b.img", "6h")).unwrap();
    assert!(added.enabled && !added.replaced && added.notes.is_empty(), "{added:?}");
    let stem = r"sparsedisk-trim-srv-a\x20b.img";
    assert_eq!(desk.units(), [format!("{stem}.service"), format!("{stem}.timer")]);
    assert_eq!(
        desk.log(),
        ["daemon-reload".to_owned(), format!("enable -- {stem}.timer"), format!("restart -- {stem}.timer")]
    );
    let found: Vec<_> = desk.systemd.entries().unwrap().into_iter().map(|entry| desk.systemd.told(entry)).collect();
    assert_eq!(found.len(), 1);
    assert_eq!((found[0].image.as_path(), found[0].every.to_string()), (Path::new("/srv/a b.img"), "6h".to_owned()));
    assert_eq!((found[0].active, found[0].next.as_deref(), &found[0].last), (Some(true), Some("tomorrow"), &None));

    assert!(desk.systemd.add(&job("/srv/a b.img", "1d")).unwrap().replaced);
    assert_eq!(desk.systemd.entries().unwrap()[0].every.to_string(), "1d");

    let removed = desk.systemd.remove(Path::new("/srv/a b.img")).unwrap();
    assert_eq!(removed.image, Path::new("/srv/a b.img"));
    assert!(desk.units().is_empty());
    assert!(desk.log().contains(&format!("disable --now -- {stem}.timer")), "{:?}", desk.log());
    assert_eq!(desk.systemd.remove(Path::new("/srv/a b.img")).unwrap_err().kind(), ErrorKind::NotFound);
}

#[test]
fn what_cannot_be_enabled_leaves_what_was_there_before() {
    let desk = Desk::with("case $* in *enable*) echo 'no such thing' >&2; exit 1;; esac");
    let error = desk.systemd.add(&job("/srv/disk.img", "1d")).unwrap_err();
    assert!(error.to_string().contains("no such thing"), "{error}");
    assert!(desk.units().is_empty(), "{:?}", desk.units());
    assert_eq!(desk.log().last().unwrap(), "daemon-reload");

    // One that was there stays as it was.
    let works = Systemd { systemctl: Some("true".into()), directory: desk.systemd.directory.clone(), ..desk.systemd };
    works.add(&job("/srv/disk.img", "1d")).unwrap();
    let fails = Systemd { systemctl: Some("false".into()), ..works };
    assert_eq!(fails.add(&job("/srv/disk.img", "6h")).unwrap_err().kind(), ErrorKind::Io);
    assert_eq!(fails.entries().unwrap()[0].every.to_string(), "1d");
    // And in force: a timer that could not be started anew with the new calendar runs with the old one.
    let desk = Desk::with("case $* in *restart*) exit $(cat \"${0%/*}/broken\" 2>/dev/null || echo 0);; esac");
    desk.systemd.add(&job("/srv/disk.img", "1d")).unwrap();
    fs::write(desk.directory.path().join("broken"), "1").unwrap();
    desk.systemd.add(&job("/srv/disk.img", "6h")).unwrap_err();
    assert_eq!(desk.log()[desk.log().len() - 2..], ["daemon-reload", "restart -- sparsedisk-trim-srv-disk.img.timer"]);
}

#[test]
fn what_others_made_is_neither_listed_nor_replaced_nor_removed() {
    let desk = Desk::with("");
    fs::create_dir(&desk.systemd.directory).unwrap();
    let theirs = desk.systemd.directory.join("sparsedisk-trim-srv-disk.img.timer");
    fs::write(&theirs, "[Timer]\nOnCalendar=daily\n").unwrap();
    assert!(desk.systemd.entries().unwrap().is_empty());
    assert_eq!(desk.systemd.remove(Path::new("/srv/disk.img")).unwrap_err().kind(), ErrorKind::NotFound);
    assert_eq!(desk.systemd.add(&job("/srv/disk.img", "1d")).unwrap_err().kind(), ErrorKind::AlreadyExists);
    assert_eq!(fs::read_to_string(&theirs).unwrap(), "[Timer]\nOnCalendar=daily\n");
    // A service alone is theirs as well, and one that they have put in the place of ours.
    fs::remove_file(theirs).unwrap();
    let theirs = desk.systemd.directory.join("sparsedisk-trim-srv-disk.img.service");
    fs::write(&theirs, "[Service]\n").unwrap();
    let error = desk.systemd.add(&job("/srv/disk.img", "1d")).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::AlreadyExists);
    assert!(error.to_string().contains(".service is there"), "{error}");
    fs::remove_file(&theirs).unwrap();
    desk.systemd.add(&job("/srv/disk.img", "1d")).unwrap();
    fs::write(&theirs, "[Service]\n").unwrap();
    desk.systemd.remove(Path::new("/srv/disk.img")).unwrap();
    assert_eq!(desk.units(), ["sparsedisk-trim-srv-disk.img.service"]);
}

#[test]
fn where_systemd_does_not_run_nothing_is_written() {
    let directory = tempfile::tempdir().unwrap();
    let systemd = Systemd { scope: Scope::User, directory: directory.path().join("units"), systemctl: None };
    let added = systemd.add(&job("/srv/disk.img", "1d")).unwrap();
    assert!(!added.enabled && added.notes[0].contains("does not run here"), "{added:?}");
    assert!(!directory.path().join("units").exists());
    assert_eq!(added.plan.commands[0], "systemctl --user daemon-reload");
    assert!(systemd.entries().unwrap().is_empty());
}
