//! The partitions of a loop device.
//!
//! The kernel reads the partition table itself while it binds the device, and its devtmpfs makes the nodes before the
//! ioctl returns. Two things can be missing: the kernel's partition support (then the partitions that the caller
//! knows are handed to it, BLKPG), and devtmpfs (then the nodes are made here, and removed with the device). Both keep
//! one device with the usual names, where a second loop device with an offset would hold the image open twice.

use std::fs::{self, File};
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};

use super::ioctl;
use super::loop_device::{DeviceNumber, LoopDevice, ensure_node, node_number, parse_device_number};
use crate::KnownPartition;

/// A partition that the kernel knows.
#[derive(Debug)]
pub(super) struct Partition {
    /// Its number in the table.
    pub(super) number: u32,
    /// Its node, whether or not there is one: `/dev/loop3p1`.
    pub(super) node: PathBuf,
    /// Its device number.
    pub(super) device_number: DeviceNumber,
}

/// The partitions of `device` that the kernel knows now, by number.
pub(super) fn of(device: &LoopDevice) -> Vec<Partition> {
    let Ok(entries) = fs::read_dir(device.sysfs()) else { return Vec::new() };
    let mut found: Vec<_> = entries
        .filter_map(|entry| {
            let entry = entry.ok()?;
            let number = fs::read_to_string(entry.path().join("partition")).ok()?.trim().parse().ok()?;
            let device_number = parse_device_number(&fs::read_to_string(entry.path().join("dev")).ok()?)?;
            Some(Partition { number, node: Path::new("/dev").join(entry.file_name()), device_number })
        })
        .collect();
    found.sort_by_key(|partition| partition.number);
    found
}

/// Sees to it that the kernel knows the partitions, and that they have nodes. What does not work goes into `notes`:
/// the device itself is good without.
pub(super) fn complete(
    device: &LoopDevice,
    handle: &File,
    known: &[KnownPartition],
    notes: &mut Vec<String>,
) -> Vec<Partition> {
    if of(device).is_empty() {
        for partition in known {
            let added = i32::try_from(partition.number).map_err(|_| rustix::io::Errno::RANGE).and_then(|number| {
                // A ByteRange lies below i64::MAX.
                ioctl::add_partition(handle, number, partition.range.start() as i64, partition.range.len() as i64)
            });
            if let Err(error) = added {
                notes.push(format!("the kernel does not take partition {}: {error}", partition.number));
            }
        }
    }
    let found = of(device);
    for partition in &found {
        if let Err(error) = ensure_node(&partition.node, partition.device_number) {
            notes.push(format!("there is no device node {}: {error}", partition.node.display()));
        }
    }
    found
}

/// Removes the nodes of partitions that are gone: devtmpfs has done so itself, any other /dev has not.
pub(super) fn remove_nodes(gone: &[Partition]) {
    for partition in gone {
        let (major, minor) = partition.device_number;
        let is_its_node = fs::symlink_metadata(&partition.node)
            .is_ok_and(|node| node.file_type().is_block_device() && node_number(&node) == partition.device_number);
        if is_its_node && !Path::new(&format!("/sys/dev/block/{major}:{minor}")).exists() {
            // A node that stays leads nowhere; it harms nobody.
            let _ = fs::remove_file(&partition.node);
        }
    }
}
