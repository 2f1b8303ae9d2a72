//! What schtasks takes. Under Wine, which keeps tasks and neither lists nor runs them, that is all that is proven.
#![cfg(windows)]

use std::process::Command;

use schedule::{Job, Scope};

fn skipped(why: &str) {
    assert!(std::env::var_os("SPARSEDISK_REQUIRE_ALL").is_none_or(|all| all != "1"), "required, but {why}");
    eprintln!("skipped: {why}");
}

#[test]
fn a_task_is_taken_by_schtasks_and_given_back() {
    if Command::new("schtasks").arg("/?").output().is_err() {
        return skipped("no schtasks");
    }
    let directory = tempfile::tempdir().unwrap();
    let image = directory.path().join("a b & c \u{e4}.img");
    std::fs::write(&image, "").unwrap();
    let job = Job {
        image: schedule::absolute(&image).unwrap(),
        program: std::env::current_exe().unwrap(),
        every: "6h".parse().unwrap(),
        scope: Scope::User,
    };
    let added = schedule::add(&job).unwrap();
    assert!(added.enabled && added.plan.files.iter().all(|file| !file.path.exists()), "{added:?}");
    let deleted = Command::new("schtasks").args(["/Delete", "/TN", &added.plan.name, "/F"]).output().unwrap();
    assert!(deleted.status.success(), "{deleted:?}");
}
