//! A thousand disks come and go, and nothing is left of them.
//!
//! Measured where the driver lives: Wine runs it in a process of its own, `winedevice.exe`, whose handles and memory
//! `NtQuerySystemInformation` tells. On Windows that is the process `System`, whose handles tell, but whose memory is
//! everybody's; there the memory is not judged.

use crate::machine::{Image, MIB, dense, driver_is_loaded};
use crate::sys::{Process, processes};

/// The process that runs the driver, and whether it is ours alone.
fn driver_process() -> (Process, bool) {
    let processes = processes();
    let wine = processes.iter().filter(|process| process.name.eq_ignore_ascii_case("winedevice.exe"));
    // Wine may run other drivers in others: ours is the busiest.
    match wine.max_by_key(|process| process.handles) {
        Some(process) => (process.clone(), true),
        None => (processes.into_iter().find(|process| process.pid == 4).expect("the process System"), false),
    }
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
    /// What the heap of the process may wander, whatever the driver does.
    const SLACK_BYTES: usize = 256 << 10;
    if !driver_is_loaded() {
        return;
    }
    let image = Image::new(MIB);
    attach_and_detach(&image, WARM_UP);
    let (before, ours_alone) = driver_process();
    attach_and_detach(&image, TIMES);
    let (after, _) = driver_process();
    println!("before: {before:?}\nafter {TIMES}: {after:?}");
    assert_eq!(before.pid, after.pid, "the same process");
    // Other tests of this program attach meanwhile: a leak of one handle a disk would be a thousand.
    assert!(after.handles <= before.handles + TIMES / 10, "handles: {} and {}", before.handles, after.handles);
    if ours_alone {
        let grown = after.private_bytes.saturating_sub(before.private_bytes);
        assert!(grown <= SLACK_BYTES, "memory: {grown} bytes more");
    }
}
