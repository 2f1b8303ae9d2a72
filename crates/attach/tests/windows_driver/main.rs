//! The driver, loaded and given orders by this program.
//!
//! Run under Wine or on a Windows for tests, with the driver's file in SPARSEDISK_DRIVER; without it every test says
//! `skipped`. One driver serves all tests of this program; their disks are independent. Wine's file systems know no
//! holes, so that disks are `dense` here: what a trim or a write of zeroes does to a sparse file is proven by the tests of
//! `driver-core`. `windows_driver_unload` ends what this program starts.
#![cfg(windows)]

mod contents;
mod control;
mod detaching;
mod disk_controls;
mod killed;
mod machine;
mod refusals;
mod sys;
mod transfers;
