//! exFAT and NTFS volumes in image files, filled and emptied through the drivers of Linux: what is given back of what was
//! deleted, and what those drivers and their tools read afterwards.
#![cfg(target_os = "linux")]

mod tool;

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use disk_image::Image;
use reclaim::{Plan, PlanOptions, carry_out, fingerprint, plan};
use sparse_file::Access;
use tool::tool;

const MIB: u64 = 1 << 20;

/// A file system, and how it is made, mounted and checked.
struct Kind {
    format: &'static [&'static str],
    mount: &'static str,
    check: &'static [&'static str],
}

const EXFAT: Kind = Kind { format: &["mkfs.exfat"], mount: "mount.exfat-fuse", check: &["fsck.exfat", "-n"] };
const NTFS: Kind = Kind {
    format: &["mkntfs", "-F", "-q", "-Q", "-s", "512", "-p", "2048", "-H", "255", "-S", "63"],
    mount: "ntfs-3g",
    check: &["ntfsfix", "-n"],
};

/// An image with one volume, which begins at `start`.
struct Scratch {
    directory: tempfile::TempDir,
    start: u64,
}

/// The volume as a device, mounted; both end with the value.
struct Mounted {
    at: PathBuf,
    device: String,
}

impl Drop for Mounted {
    fn drop(&mut self) {
        // A process that another test is starting has a copy of every descriptor for a moment, and keeps it busy. It may
        // never have been mounted, too.
        let above = self.at.parent().unwrap();
        let is_mounted = || fs::metadata(&self.at).unwrap().dev() != fs::metadata(above).unwrap().dev();
        for _ in (0..1000).take_while(|_| is_mounted()) {
            let _ = Command::new("umount").arg(&self.at).output();
        }
        let _ = Command::new("losetup").args(["--detach", &self.device]).output();
    }
}

impl Scratch {
    fn new(len_bytes: u64, start: u64) -> Self {
        let scratch = Self { directory: tempfile::tempdir().unwrap(), start };
        fs::create_dir(scratch.directory.path().join("mounted")).unwrap();
        File::create(scratch.image()).unwrap().set_len(len_bytes).unwrap();
        if start > 0 {
            let mut record = [0; 512];
            (record[450], record[510], record[511]) = (0x07, 0x55, 0xAA);
            record[454..458].copy_from_slice(&((start / 512) as u32).to_le_bytes());
            record[458..462].copy_from_slice(&(((len_bytes - start) / 512) as u32).to_le_bytes());
            std::os::unix::fs::FileExt::write_all_at(&scratch.open(), &record, 0).unwrap();
        }
        scratch
    }

    fn image(&self) -> PathBuf {
        self.directory.path().join("disk.img")
    }

    fn open(&self) -> File {
        File::options().read(true).write(true).open(self.image()).unwrap()
    }

    fn allocated(&self) -> u64 {
        self.open().sync_all().unwrap();
        fs::metadata(self.image()).unwrap().blocks() * 512
    }

    /// A loop device over the volume.
    fn device(&self) -> Option<Mounted> {
        let offset = self.start.to_string();
        let device = tool("losetup", &["--find", "--show", "--offset", &offset, self.image().to_str().unwrap()])?;
        Some(Mounted { at: self.directory.path().join("mounted"), device: device.trim().to_owned() })
    }

    fn on_device(&self, command: &[&str]) -> Option<()> {
        let volume = self.device()?;
        tool(command[0], &[&command[1..], &[volume.device.as_str()]].concat()).map(drop)
    }

    fn mounted(&self, kind: &Kind) -> Option<Mounted> {
        let volume = self.device()?;
        tool(kind.mount, &[&volume.device, volume.at.to_str().unwrap()])?;
        Some(volume)
    }

    fn trim(&self) -> Plan {
        let image = Image::open(&self.image(), Access::ReadWrite).unwrap();
        let plan = plan(&image.disk, &PlanOptions::default(), &mut ()).unwrap();
        let before = fingerprint(&image.disk, plan.may_change(), &mut ()).unwrap();
        let outcome = carry_out(&image.disk, &plan, &mut ()).unwrap();
        assert!(outcome.stopped.is_none(), "{:?}", outcome.stopped);
        assert_eq!(before, fingerprint(&image.disk, plan.may_change(), &mut ()).unwrap(), "law 1");
        plan
    }
}

/// Bytes of no zeroes, different for each number.
fn noise(len_bytes: u64, number: u64) -> Vec<u8> {
    (0..len_bytes).map(|at| ((at + number * 7919).wrapping_mul(2_654_435_761) >> 13) as u8 | 1).collect()
}

fn files(at: &Path) -> BTreeMap<String, Vec<u8>> {
    let entries = fs::read_dir(at).unwrap().map(|entry| entry.unwrap());
    let files = entries.filter(|entry| entry.file_type().unwrap().is_file());
    files.map(|file| (file.file_name().into_string().unwrap(), fs::read(file.path()).unwrap())).collect()
}

/// Writes files of 1 MiB and deletes all but every eighth. At least 98 % of what was deleted comes back.
fn gives_back_what_was_deleted(kind: &Kind, start: u64, count: u64) -> Option<()> {
    let scratch = Scratch::new((count * 2 + 16) * MIB, start);
    scratch.on_device(kind.format)?;
    let volume = scratch.mounted(kind)?;
    for number in 0..count {
        fs::write(volume.at.join(format!("file{number}")), noise(MIB - 4096, number)).unwrap();
    }
    let deleted: Vec<u64> = (0..count).filter(|number| number % 8 != 3).collect();
    for number in &deleted {
        fs::remove_file(volume.at.join(format!("file{number}"))).unwrap();
    }
    let before = files(&volume.at);
    drop(volume);

    let full = scratch.allocated();
    let plan = scratch.trim();
    assert_eq!(plan.refused, []);
    let (freed, deleted) = (full - scratch.allocated(), deleted.len() as u64 * (MIB - 4096));
    eprintln!("{}: {deleted} bytes deleted, {freed} freed", kind.mount);
    assert!(freed * 100 >= deleted * 98, "{freed} of {deleted}");

    scratch.on_device(kind.check)?;
    let volume = scratch.mounted(kind)?;
    assert!(files(&volume.at) == before, "law 1: the files kept");
    Some(())
}

#[test]
fn shows_2_exfat_gives_back_what_was_deleted() {
    gives_back_what_was_deleted(&EXFAT, 0, 96);
}

#[test]
fn shows_2_ntfs_gives_back_what_was_deleted() {
    gives_back_what_was_deleted(&NTFS, 0, 96);
}

/// Where partitions began for decades: no cluster lies on the granules of the host.
#[test]
fn shows_2_volumes_in_partitions_at_sector_63() {
    gives_back_what_was_deleted(&EXFAT, 63 * 512, 64);
    gives_back_what_was_deleted(&NTFS, 63 * 512, 64);
}

#[test]
fn law1_a_volume_that_is_left_alone_gives_its_zeroes() {
    for (kind, flag_at, flag) in [(EXFAT, 106, 2), (NTFS, 0x1E00, 0)] {
        let scratch = Scratch::new(64 * MIB, 0);
        if scratch.on_device(kind.format).is_none() {
            return;
        }
        let Some(volume) = scratch.mounted(&kind) else { return };
        fs::write(volume.at.join("zeroes"), vec![0; 8 << 20]).unwrap();
        fs::write(volume.at.join("gone"), noise(8 * MIB, 1)).unwrap();
        fs::remove_file(volume.at.join("gone")).unwrap();
        drop(volume);
        let mark = |bytes: &[u8], at| std::os::unix::fs::FileExt::write_all_at(&scratch.open(), bytes, at).unwrap();
        if flag > 0 {
            mark(&[flag], flag_at);
        } else {
            // A catalogue of shadow copies.
            mark(&[0x6B, 0x87, 0x08, 0x38, 0x76, 0xC1, 0x48, 0x4E, 0xB7, 0xAE, 4, 4, 0x6E, 0x6C, 0xC7, 0x52], flag_at);
            mark(&[1; 8], flag_at + 48);
        }
        let content = fs::read(scratch.image()).unwrap();
        let plan = scratch.trim();
        assert_eq!((plan.refused.len(), plan.free_space_bytes), (1, 0), "{:?}", plan.refused);
        assert!(plan.zero_bytes >= 8 * MIB, "{}", plan.zero_bytes);
        assert!(fs::read(scratch.image()).unwrap() == content);
    }
}
