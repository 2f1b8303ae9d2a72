//! The end of the driver: it is not stopped while a disk is attached, then stopped, loaded again, removed.
//!
//! A program of its own, because it takes the driver from everybody else: cargo runs it after `windows_driver`.
#![cfg(windows)]

#[path = "../windows_driver/machine.rs"]
#[allow(dead_code, reason = "made for the other program")]
mod machine;

use std::os::windows::fs::FileExt;

use attach::driver::{self, DriverState};
use disk_types::ErrorKind;
use driver_abi::ABI_VERSION;

use machine::{Image, MIB, driver_is_loaded};

#[test]
fn stop_is_refused_while_attached_and_the_driver_is_unloaded_loaded_again_and_removed() {
    if !driver_is_loaded() {
        return;
    }
    let running = driver::status().expect("status");
    assert_eq!((running.state, running.abi_version), (DriverState::Running, Some(ABI_VERSION)));
    assert!(running.file.is_some_and(|file| file.is_file()), "the file it was loaded from");

    for _ in 0..3 {
        let drive = Image::new(MIB).drive();
        drive.open().seek_write(&[7; 512], 0).expect("a write");
        for refused in [driver::stop(), driver::remove()] {
            let error = refused.expect_err("refused");
            assert_eq!(error.kind(), ErrorKind::InUse, "{error}");
            assert!(error.to_string().contains("1 disk is attached"), "{error}");
        }
        assert_eq!(driver::status().expect("status").disks, Some(1));
        drive.open().seek_read(&mut [0; 512], 0).expect("still there");
        assert_eq!(drive.detach().bytes()[..512], [7; 512]);

        let stopped = driver::stop().expect("stop");
        assert_eq!((stopped.state, stopped.abi_version, stopped.disks), (DriverState::Stopped, None, None));
        assert_eq!(driver::stop().expect("stop again").state, DriverState::Stopped);
        assert!(attach::list().expect("without the driver nothing is attached").is_empty());
        let image = Image::new(MIB);
        assert_eq!(attach::find(&image.path).expect("find"), None);
        let refused = attach::detach(&image.path).expect_err("nothing to detach");
        assert_eq!(refused.kind(), ErrorKind::Refused, "{refused}");
        // The next attach loads it again by itself.
    }
    assert_eq!(driver::start().expect("start").state, DriverState::Running);
    assert_eq!(driver::start().expect("start again").disks, Some(0));
    assert_eq!(driver::remove().expect("remove").state, DriverState::Missing);
    assert_eq!(driver::remove().expect("remove again").state, DriverState::Missing);
}
