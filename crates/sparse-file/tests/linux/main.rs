//! The Linux half against real file systems: tmpfs and the one the tests run on always; ext4, xfs, btrfs and ext2 on
//! loop devices when run as root.
#![cfg(target_os = "linux")]

mod alone;
mod cache;
mod files;
mod fuse;
mod map;
mod no_space;
mod opening;
mod space;
mod twin;
