//! Which processes stand in the way of an unmount or a release, as far as /proc tells this user.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

use super::loop_device::{DeviceNumber, node_number};
use super::mounts::MountTable;

/// A process, by number and name.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Process {
    pid: u32,
    name: String,
}

/// `process 12 (bash), process 15 (vi)`; at most four, then the number of the rest.
pub(super) fn names(processes: &BTreeSet<Process>) -> String {
    const SHOWN: usize = 4;
    let shown: Vec<_> =
        processes.iter().take(SHOWN).map(|process| format!("process {} ({})", process.pid, process.name)).collect();
    let more = processes.len().saturating_sub(SHOWN);
    if more > 0 { format!("{} and {more} more", shown.join(", ")) } else { shown.join(", ") }
}

/// Processes that have one of these block devices open, or see it mounted in their mount namespace.
pub(super) fn of_devices(devices: &[DeviceNumber]) -> BTreeSet<Process> {
    processes_where(&["fd", "mountinfo"], |place| {
        if place.ends_with("mountinfo") {
            MountTable::read_of(place).is_ok_and(|table| table.has(devices))
        } else {
            // The name first: asking after a file of a server that no longer answers would never come back.
            fs::read_link(place).is_ok_and(|target| target.starts_with("/dev"))
                && fs::metadata(place)
                    .is_ok_and(|file| file.file_type().is_block_device() && devices.contains(&node_number(&file)))
        }
    })
}

/// Processes that use a file below `directory`: open, mapped, running, or as their working or root directory.
pub(super) fn of_mount(directory: &Path) -> BTreeSet<Process> {
    let device = fs::metadata(directory).map(|directory| directory.dev()).ok();
    processes_where(&["cwd", "root", "exe", "fd", "map_files"], |link| {
        // Both the name and the file system must agree: a name below `directory` may lie under the mount.
        fs::read_link(link).is_ok_and(|target| target.starts_with(directory))
            && fs::metadata(link).is_ok_and(|file| Some(file.dev()) == device)
    })
}

/// Processes one of whose files or links in /proc/PID/{`places`} satisfies `holds`.
fn processes_where(places: &[&str], holds: impl Fn(&Path) -> bool) -> BTreeSet<Process> {
    let Ok(entries) = fs::read_dir("/proc") else { return BTreeSet::new() };
    entries
        .filter_map(|entry| {
            let entry = entry.ok()?;
            let pid = entry.file_name().to_str()?.parse().ok()?;
            let held = places.iter().any(|place| links(&entry.path().join(place)).iter().any(|link| holds(link)));
            held.then(|| {
                let name = fs::read_to_string(entry.path().join("comm")).unwrap_or_default();
                Process { pid, name: name.trim_end().to_owned() }
            })
        })
        .collect()
}

/// The file or link itself, or the links in it if it is one of the directories of them.
fn links(place: &Path) -> Vec<PathBuf> {
    match fs::symlink_metadata(place) {
        Ok(place_itself) if place_itself.is_dir() => fs::read_dir(place)
            .map(|entries| entries.filter_map(|entry| Some(entry.ok()?.path())).collect())
            .unwrap_or_default(),
        Ok(_) => vec![place.to_owned()],
        Err(_) => Vec::new(),
    }
}
