//! ext volumes in image files: what is given back, beside fstrim on a copy of the same image, and what the kernel reads
//! from them afterwards.
#![cfg(target_os = "linux")]

mod tool;

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

use disk_image::Image;
use reclaim::{PlanOptions, carry_out, fingerprint, plan};
use sparse_file::Access;
use tool::tool;

/// As [`tool`], once it is known that it runs.
fn run(name: &str, arguments: &[&str]) -> String {
    tool(name, arguments).unwrap_or_else(|| panic!("{name} {arguments:?}"))
}

struct Scratch {
    directory: tempfile::TempDir,
}

impl Scratch {
    fn new() -> Self {
        Self { directory: tempfile::tempdir().unwrap() }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn made(&self, mib: u64, arguments: &[&str]) -> Option<PathBuf> {
        let path = self.path("ext.img");
        File::create(&path).unwrap().set_len(mib << 20).unwrap();
        tool("mke2fs", &[&["-q", "-F"], arguments, &[path.to_str().unwrap()]].concat())?;
        Some(path)
    }

    fn copy(&self, of: &Path, name: &str) -> PathBuf {
        let path = self.path(name);
        run("cp", &["--sparse=always", of.to_str().unwrap(), path.to_str().unwrap()]);
        path
    }

    /// Mounts an image for as long as the result lives.
    fn mount(&self, image: &Path, options: &str) -> Option<Mounted> {
        let at = self.path("mounted");
        std::fs::create_dir_all(&at).unwrap();
        let options = format!("loop{options}");
        tool("mount", &["-o", &options, image.to_str().unwrap(), at.to_str().unwrap()])?;
        Some(Mounted { at })
    }
}

struct Mounted {
    at: PathBuf,
}

impl Drop for Mounted {
    fn drop(&mut self) {
        // A child of another test may keep it busy for a moment.
        let busy = (0..1000).all(|_| !Command::new("umount").arg(&self.at).status().unwrap().success());
        if busy {
            eprintln!("{} stays mounted", self.at.display());
        }
    }
}

/// The hash of every file.
fn files(at: &Path) -> BTreeMap<PathBuf, blake3::Hash> {
    let (mut found, mut directories) = (BTreeMap::new(), vec![at.to_owned()]);
    while let Some(directory) = directories.pop() {
        for entry in std::fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                directories.push(path);
            } else {
                found.insert(path.strip_prefix(at).unwrap().to_owned(), blake3::hash(&std::fs::read(&path).unwrap()));
            }
        }
    }
    found
}

/// Files of 1 KiB to 1 MiB, until so many bytes are written; of every three two are deleted.
fn fill_and_delete(at: &Path, bytes: usize) -> usize {
    let noise: Vec<u8> = (0..1_u64 << 20).map(|at| (at.wrapping_mul(2_654_435_761) >> 13) as u8 | 1).collect();
    let (mut written, mut number, mut deleted) = (0, 0_usize, 0);
    let name = |number: usize| at.join(format!("d{}", number % 7)).join(format!("file{number}"));
    while written < bytes {
        let len = 1024 << (number * 7 % 11);
        std::fs::create_dir_all(name(number).parent().unwrap()).unwrap();
        let mut file = File::create(name(number)).unwrap();
        file.write_all(&number.to_le_bytes()).unwrap();
        file.write_all(&noise[..len - 8]).unwrap();
        written += len;
        number += 1;
    }
    // What was never written back would not be there to be deleted.
    run("sync", &["-f", at.to_str().unwrap()]);
    for number in (0..number).filter(|number| number % 3 > 0) {
        deleted += 1024_usize << (number * 7 % 11);
        std::fs::remove_file(name(number)).unwrap();
    }
    deleted
}

fn allocated(path: &Path) -> u64 {
    use std::os::unix::fs::MetadataExt;
    File::open(path).unwrap().sync_all().unwrap();
    std::fs::metadata(path).unwrap().blocks() * 512
}

/// Trims an image as the command does. Gives the bytes that came back.
fn trim(path: &Path) -> u64 {
    let before = allocated(path);
    let image = Image::open(path, Access::ReadWrite).unwrap();
    let plan = plan(&image.disk, &PlanOptions::default(), &mut ()).unwrap();
    assert_eq!(plan.refused, []);
    let print = fingerprint(&image.disk, plan.may_change(), &mut ()).unwrap();
    let outcome = carry_out(&image.disk, &plan, &mut ()).unwrap();
    assert!(outcome.stopped.is_none(), "{:?}", outcome.stopped);
    assert_eq!(print, fingerprint(&image.disk, plan.may_change(), &mut ()).unwrap());
    drop(image);
    before - allocated(path)
}

#[test]
fn law1_ext_gives_back_what_fstrim_does_and_keeps_every_file() {
    let recipes: [(&[&str], usize); 6] = [
        (&["-t", "ext4"], 150 << 20),
        (&["-t", "ext4", "-b", "1024", "-O", "^flex_bg"], 100 << 20),
        (&["-t", "ext4", "-O", "bigalloc", "-C", "65536"], 100 << 20),
        (&["-t", "ext4", "-O", "meta_bg,^resize_inode,inline_data,orphan_file"], 100 << 20),
        (&["-t", "ext3"], 100 << 20),
        (&["-t", "ext2", "-b", "2048"], 100 << 20),
    ];
    for (arguments, bytes) in recipes {
        let scratch = Scratch::new();
        let Some(image) = scratch.made(256, arguments) else { return };
        let name = image.to_str().unwrap();
        let Some(mounted) = scratch.mount(&image, "") else { return };
        let deleted = fill_and_delete(&mounted.at, bytes);
        let before = files(&mounted.at);
        drop(mounted);
        run("e2fsck", &["-f", "-n", name]);

        let other = scratch.copy(&image, "other.img");
        let theirs_before = allocated(&other);
        let mounted = scratch.mount(&other, "").unwrap();
        run("fstrim", &[mounted.at.to_str().unwrap()]);
        drop(mounted);
        let theirs = theirs_before - allocated(&other);

        let ours = trim(&image);
        eprintln!("{arguments:?}: deleted {deleted}, given back {ours}, by fstrim {theirs}");
        assert!(ours * 100 >= theirs * 98, "{arguments:?}: {ours}, fstrim {theirs}");
        assert!(ours * 100 >= deleted as u64 * 98, "{arguments:?}: {ours} of {deleted}");
        run("e2fsck", &["-f", "-n", name]);
        let mounted = scratch.mount(&image, "").unwrap();
        assert!(files(&mounted.at) == before, "{arguments:?}: law 1");
        // And it goes on to be used.
        fill_and_delete(&mounted.at, 20 << 20);
        drop(mounted);
        run("e2fsck", &["-f", "-n", name]);
    }
}

/// The kernel replays the journal of a trimmed image as it does that of one left alone.
#[test]
fn law1_a_volume_whose_power_went_is_trimmed_before_its_replay() {
    let scratch = Scratch::new();
    let Some(image) = scratch.made(128, &["-t", "ext4", "-J", "size=4"]) else { return };
    let Some(mounted) = scratch.mount(&image, ",commit=3000,nodelalloc") else { return };
    let mut freed = 0;
    for round in 0..6 {
        fill_and_delete(&mounted.at, 30 << 20);
        File::create(mounted.at.join(format!("marker{round}"))).unwrap().sync_all().unwrap();
        // Nothing of this is committed.
        std::fs::write(mounted.at.join("lost"), vec![1; 1 << 20]).unwrap();
        let (crashed, left) = (scratch.copy(&image, "crashed.img"), scratch.copy(&image, "left.img"));
        // What was deleted last is in use on the disk still.
        freed += trim(&crashed);
        let replayed = |image: &Path| {
            let scratch = Scratch::new();
            let mounted = scratch.mount(image, "").unwrap();
            files(&mounted.at)
        };
        assert!(replayed(&crashed) == replayed(&left), "law 1, round {round}");
        run("e2fsck", &["-f", "-n", crashed.to_str().unwrap()]);
    }
    assert!(freed > 20 << 20, "{freed}");
}
