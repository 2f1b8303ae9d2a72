//! Attach and detach against the kernel of this machine: root, the loop driver and e2fsprogs are needed, and losetup
//! as the judge and as somebody else.
#![cfg(target_os = "linux")]

mod attaching;
mod covered;
mod detaching;
mod machine;
mod partitioned;
mod space;
