//! A thousand disks come and go, and nothing is left of them.
//!
//! Measured where the driver lives, by `NtQuerySystemInformation`: Wine runs it in a process of its own, one of the
//! `winedevice.exe`, of which handles and memory tell. On Windows that is the process `System`, whose handles tell, and
//! whose memory is everybody's: it is not judged there. A program of its own, so that nobody else uses the driver meanwhile.
#![cfg(windows)]

#[path = "../windows_driver/machine.rs"]
#[allow(dead_code, reason = "made for the other program")]
mod machine;
mod sys;

use machine::{Drive, Image, MIB, dense, driver_is_loaded};
use sys::{Process, processes};

/// The process that runs the driver, and whether it is a driver's own.
fn driver_process() -> (Process, bool) {
    let drivers = || processes().into_iter().filter(|process| process.name.eq_ignore_ascii_case("winedevice.exe"));
    let before: Vec<_> = drivers().collect();
    if before.is_empty() {
        return (processes().into_iter().find(|process| process.pid == 4).expect("the process System"), false);
    }
    // Each disk holds a handle of its file and one of its thread: the process that has more of them now is the driver's.
    let disks: Vec<Drive> = (0..4).map(|_| Image::new(MIB).drive()).collect();
    let more = |process: &Process| {
        let before = before.iter().find(|before| before.pid == process.pid);
        process.handles.saturating_sub(before.map_or(0, |before| before.handles))
    };
    let pid = drivers().max_by_key(more).expect("the driver's process").pid;
    disks.into_iter().for_each(|disk| drop(disk.detach()));
    (of(pid), true)
}

fn of(pid: usize) -> Process {
    processes().into_iter().find(|process| process.pid == pid).expect("the same process")
}

fn attach_and_detach(image: &Image, times: u32) {
    for _ in 0..times {
        let attached = image.attach(&dense()).expect("attach");
        attach::detach(&attached.device).expect("detach");
    }
}

#[test]
fn a_thousand_disks_leave_no_handles_and_no_memory_behind() {
    const WARM_UP: u32 = 100;
    const TIMES: u32 = 1000;
    /// What else the process may do; one leak a disk would be a thousand.
    const SLACK_HANDLES: u32 = 10;
    /// What the process may wander, whatever the driver does: 256 bytes for each disk.
    const SLACK_BYTES: usize = 256 << 10;
    if !driver_is_loaded() {
        return;
    }
    let image = Image::new(MIB);
    attach_and_detach(&image, WARM_UP);
    let (before, drivers_own) = driver_process();
    attach_and_detach(&image, TIMES);
    let after = of(before.pid);
    println!("before: {before:?}\nafter:  {after:?}");
    assert!(after.handles <= before.handles + SLACK_HANDLES, "handles: {} and {}", before.handles, after.handles);
    if drivers_own {
        let grown = after.resident_bytes.saturating_sub(before.resident_bytes);
        assert!(grown <= SLACK_BYTES, "memory: {grown} bytes more");
    }
}
