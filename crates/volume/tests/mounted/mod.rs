//! Volumes in files, mounted by the drivers of Linux: filled, emptied, and compared.
#![allow(dead_code, reason = "each test uses a part")]

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::process::Command;

use block_device::{ByteRange, Error};

use crate::disks::load;
use crate::judge::{content, judge};

/// An image file, and a directory to mount it at.
pub(crate) struct Image {
    directory: tempfile::TempDir,
}

/// A mount that ends with the value.
pub(crate) struct Mounted {
    at: PathBuf,
    loop_device: Option<String>,
}

/// What the files of a volume hold, by path; directories hold nothing.
pub(crate) type Files = BTreeMap<PathBuf, Option<Vec<u8>>>;

impl Image {
    /// An image of this length, formatted by `tool`.
    pub(crate) fn formatted(tool: &str, arguments: &[&str], len_bytes: u64) -> Option<Self> {
        let image = Self { directory: tempfile::tempdir().unwrap() };
        File::create(image.path()).unwrap().set_len(len_bytes).unwrap();
        fs::create_dir(image.directory.path().join("mounted")).unwrap();
        content(tool, &[arguments, &[image.name()]].concat())?;
        Some(image)
    }

    pub(crate) fn path(&self) -> &'static Path {
        Box::leak(self.directory.path().join("disk.img").into_boxed_path())
    }

    pub(crate) fn name(&self) -> &'static str {
        self.path().to_str().unwrap()
    }

    /// Mounts it with `driver`, a program that takes a device and a directory. `None`, with a word, where that cannot be.
    pub(crate) fn mount(&self, driver: &str, takes_files: bool) -> Option<Mounted> {
        let at = self.directory.path().join("mounted");
        let loop_device = if takes_files {
            None
        } else {
            Some(succeeds("losetup", &["--find", "--show", self.name()])?.trim().to_owned())
        };
        let device = loop_device.clone().unwrap_or_else(|| self.name().to_owned());
        let mounted = Mounted { at, loop_device };
        succeeds(driver, &[&device, mounted.at.to_str().unwrap()])?;
        Some(mounted)
    }

    /// What the volume of the image does not need, as the crate says.
    pub(crate) fn free(&self) -> Result<Vec<ByteRange>, Error> {
        let disk = load(self.path());
        let found = volume::inspect(&disk).unwrap();
        let [volume] = &found.volumes[..] else { panic!("{found:?}") };
        let free: Vec<ByteRange> = volume::free_space(&disk, volume)?.collect::<Result<_, _>>()?;
        assert_eq!(volume.free_bytes, Some(free.iter().map(|range| range.len()).sum()));
        Ok(free)
    }

    /// Writes noise into `ranges`: a file that had anything there has not any more.
    pub(crate) fn spoil(&self, ranges: &[ByteRange]) {
        let file = File::options().write(true).open(self.path()).unwrap();
        let noise: Vec<u8> = (0..64 << 10).map(|at: u32| (at.wrapping_mul(2_654_435_761) >> 11) as u8 | 1).collect();
        for chunk in ranges.iter().flat_map(|range| range.chunks(noise.len() as u64)) {
            file.write_all_at(&noise[..chunk.len() as usize], chunk.start()).unwrap();
        }
    }
}

/// Output of a tool that must run and succeed; where it cannot for want of rights, that is told and skipped.
fn succeeds(tool: &str, arguments: &[&str]) -> Option<String> {
    let output = judge(tool, arguments)?;
    if output.status.success() {
        return Some(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let why = String::from_utf8_lossy(&output.stderr).into_owned();
    let required = std::env::var_os("SPARSEDISK_REQUIRE_ALL").is_some_and(|value| value == "1");
    assert!(!required, "required, but {tool} {arguments:?} does not work here: {why}");
    eprintln!("skipped: {tool} {arguments:?} does not work here: {why}");
    None
}

impl Mounted {
    pub(crate) fn path(&self) -> &Path {
        &self.at
    }

    /// Files of many sizes in directories, every second one deleted again, some of them written to in turns.
    pub(crate) fn fill_and_thin(&self, files: u32, largest: usize, seed: u64) {
        let mut state = seed;
        let mut random = |below: usize| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) as usize % below
        };
        let place = |number: u32| self.at.join(format!("directory {}", number % 7)).join(format!("file {number}"));
        for directory in 0..7 {
            fs::create_dir_all(self.at.join(format!("directory {directory}"))).unwrap();
        }
        for number in 0..files {
            let len = random(largest);
            let bytes: Vec<u8> = (0..len).map(|at| (at as u32).wrapping_mul(number + 77).to_le_bytes()[1]).collect();
            fs::write(place(number), bytes).unwrap();
        }
        for number in (0..files).step_by(2) {
            fs::remove_file(place(number)).unwrap();
        }
        // What is written now lies in the gaps.
        for number in (0..files).step_by(6) {
            fs::write(place(number), vec![number as u8 | 1; random(2 * largest)]).unwrap();
        }
        for number in (1..files).step_by(10) {
            File::options().write(true).open(place(number)).unwrap().set_len(random(largest) as u64).unwrap();
        }
    }

    pub(crate) fn files(&self) -> Files {
        let mut files = Files::new();
        let mut pending = vec![self.at.clone()];
        while let Some(directory) = pending.pop() {
            for entry in fs::read_dir(directory).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    files.insert(path.clone(), None);
                    pending.push(path);
                } else {
                    files.insert(path.clone(), Some(fs::read(&path).unwrap()));
                }
            }
        }
        files
    }
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
        if let Some(device) = &self.loop_device {
            let _ = Command::new("losetup").args(["--detach", device]).output();
        }
    }
}
