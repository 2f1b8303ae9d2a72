//! The program that gives the orders is killed in the middle of one.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::machine::{Image, MIB, attach, dense, driver_is_loaded};

/// Where the child finds its image; without it this is no child.
const INSIDE: &str = "SPARSEDISK_TEST_KILLED_IMAGE";

/// Attaches and detaches until it is killed, with a write in between.
fn go_on_until_killed(image: &Path) -> ! {
    loop {
        let attached = attach(image, &dense()).expect("attach");
        println!("attached");
        let device = std::fs::OpenOptions::new().write(true).open(format!(r"\\.\{}", attached.device.display()));
        if let Ok(device) = device {
            let _ = std::os::windows::fs::FileExt::seek_write(&device, &[1; 64 << 10], 0);
        }
        attach::detach(&attached.device).expect("detach");
        println!("detached");
    }
}

#[test]
fn whenever_the_program_is_killed_the_driver_goes_on_and_list_and_detach_work() {
    if let Some(image) = std::env::var_os(INSIDE) {
        go_on_until_killed(&PathBuf::from(image));
    }
    if !driver_is_loaded() {
        return;
    }
    for round in 0..20 {
        let image = Image::new(MIB);
        let mut child = Command::new(std::env::current_exe().expect("this program"))
            .args(["--exact", "killed::whenever_the_program_is_killed_the_driver_goes_on_and_list_and_detach_work"])
            .args(["--nocapture"])
            .env(INSIDE, &image.path)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("a child");
        // Killed at once after some line: by then it is in the middle of the next order, or before it, or behind it.
        let lines = BufReader::new(child.stdout.take().expect("its output")).lines();
        let heard = lines.map_while(Result::ok).filter(|line| line.contains("tached")).take(round + 1).count();
        child.kill().expect("kill");
        child.wait().expect("wait");
        assert_eq!(heard, round + 1, "the child gave up by itself");

        attach::list().expect("the driver lists");
        if let Some(left) = attach::find(&image.path).expect("find") {
            attach::detach(&left.device).expect("what was left is detached");
        }
        // Nobody holds the image any more.
        let attached = image.attach(&dense()).expect("attach");
        attach::detach(&attached.device).expect("detach");
    }
}
