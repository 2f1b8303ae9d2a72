//! ext4 volumes whose power went: what is called free is free on the disk and after
//! e2fsprogs have replayed the journal.
//!
//! The images are copies of the file beneath a mounted file system, taken after an fsync while nobody writes.
#![cfg(target_os = "linux")]

mod ext_image;
mod judge;

use std::collections::VecDeque;
use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

use block_device::ByteRange;
use ext_image::{Image, both, dumpe2fs, free, open, run, total};
use judge::judge;

/// A mounted image.
struct Mounted {
    at: PathBuf,
}

impl Mounted {
    /// `None`, with a word, where mounting is not possible and need not be.
    fn new(image: &Image, options: &str) -> Option<Self> {
        let at = image.directory.path().join("mounted");
        std::fs::create_dir_all(&at).unwrap();
        let options = format!("loop,{options}");
        let done = Command::new("mount").args(["-o", &options, image.name(), at.to_str().unwrap()]).output().unwrap();
        if !done.status.success() {
            let why = String::from_utf8_lossy(&done.stderr).into_owned();
            assert!(std::env::var_os("SPARSEDISK_REQUIRE_ALL").is_none_or(|all| all != "1"), "required, but {why}");
            eprintln!("skipped: an image cannot be mounted: {why}");
            return None;
        }
        Some(Self { at })
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        let at = self.at.to_str().unwrap();
        let busy = (0..1000).all(|_| !judge("umount", &[at]).unwrap().status.success());
        if busy {
            eprintln!("{at} stays mounted");
        }
    }
}

/// Numbers that are the same in each run.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % end
    }
}

/// Files that come, grow, shrink and go. Some are deleted while they are open.
struct Workload {
    numbers: Numbers,
    made: u64,
    files: VecDeque<PathBuf>,
    /// Whether files are deleted while they are open.
    holds: bool,
    held: VecDeque<File>,
}

impl Workload {
    fn step(&mut self, at: &Path) {
        match self.numbers.below(10) {
            0..4 => {
                self.made += 1;
                let directory = at.join(format!("d{}", self.made % 17));
                std::fs::create_dir_all(&directory).unwrap();
                let path = directory.join(format!("file-{}", self.made));
                let len = self.numbers.below(200_000);
                if std::fs::write(&path, ext_image::noise(len as usize, self.made as u8)).is_ok() {
                    self.files.push_back(path);
                }
            }
            4..6 => {
                if let Some(path) = self.any() {
                    let mut file = File::options().append(true).open(path).unwrap();
                    let _ = file.write_all(&vec![7; self.numbers.below(100_000) as usize]);
                }
            }
            6..7 => {
                if let Some(path) = self.any() {
                    File::options().write(true).open(path).unwrap().set_len(self.numbers.below(50_000)).unwrap();
                }
            }
            7 if self.holds && self.held.len() < 4 => {
                if let Some(path) = self.files.pop_front() {
                    self.held.push_back(File::open(&path).unwrap());
                    std::fs::remove_file(path).unwrap();
                }
            }
            _ => {
                self.held.pop_front();
                let index = self.numbers.below(self.files.len().max(1) as u64) as usize;
                if let Some(path) = self.files.remove(index) {
                    std::fs::remove_file(path).unwrap();
                }
            }
        }
    }

    fn any(&mut self) -> Option<PathBuf> {
        let index = self.numbers.below(self.files.len().max(1) as u64) as usize;
        self.files.get(index).cloned()
    }
}

/// How mke2fs is called, and how many crashes there are.
type Recipe = (&'static [&'static str], u32);

const RECIPES: &[Recipe] = &[
    (&["-t", "ext4", "-b", "1024", "-J", "size=1"], 12),
    (&["-t", "ext4", "-b", "4096", "-J", "size=4"], 8),
    (&["-t", "ext4", "-b", "1024", "-J", "size=2", "-O", "^64bit,^flex_bg", "-g", "1024"], 8),
    (&["-t", "ext4", "-b", "1024", "-J", "size=2", "-O", "bigalloc", "-C", "4096"], 8),
    (&["-t", "ext4", "-b", "1024", "-J", "size=2", "-O", "orphan_file,meta_bg,^resize_inode,metadata_csum_seed"], 8),
];

#[test]
fn law1_after_a_crash_nothing_is_free_that_is_in_use_before_or_after_the_replay() {
    let (mut hazards, mut crashes) = (0, 0);
    for (number, (arguments, rounds)) in RECIPES.iter().enumerate() {
        let Some(image) = Image::made(64, arguments) else { return };
        // Blocks are allocated at once, and nothing is committed but by fsync: the copy is of one moment.
        let Some(mounted) = Mounted::new(&image, "commit=3000,nodelalloc") else { return };
        // Its open files are closed before that is unmounted, even by a panic.
        let mut work = Workload {
            numbers: Numbers(0x9E37_79B9 + number as u64),
            made: 0,
            files: VecDeque::new(),
            holds: number % 2 == 1,
            held: VecDeque::new(),
        };
        for round in 0..*rounds {
            for step in 0..60 {
                work.step(&mounted.at);
                if step % 11 == 0 || step == 59 {
                    let marker = File::create(mounted.at.join("marker")).unwrap();
                    marker.sync_all().unwrap();
                }
            }
            let what = format!("{}, crash {round}", arguments.join(" "));
            let crashed = image.copy("crashed.img");
            hazards += judge_crash(&image, &crashed, !work.held.is_empty(), &what);
            crashes += 1;
        }
        drop(work);
        drop(mounted);
        image.fsck();
        assert_eq!(free(&image.disk()).unwrap(), dumpe2fs(&image.path));
    }
    // Otherwise these crashes prove nothing.
    assert!(hazards > crashes * 100_000, "{hazards} bytes in {crashes} crashes were free only before the replay");
    eprintln!("{crashes} crashes, {hazards} bytes free only before the replay");
}

#[test]
fn journals_that_are_not_replayed_here_refuse() {
    let cases: [(&[&str], &str); 3] = [
        (&["-t", "ext4", "-O", "fast_commit", "-J", "size=4"], "fast commits"),
        (&["-t", "ext4", "-O", "^metadata_csum", "-J", "size=4"], "no checksums of version 3"),
        (&["-t", "ext3", "-J", "size=4"], "no checksums of version 3"),
    ];
    for (arguments, words) in cases {
        let Some(image) = Image::made(32, arguments) else { return };
        let Some(mounted) = Mounted::new(&image, "commit=3000") else { return };
        let mut file = File::create(mounted.at.join("file")).unwrap();
        file.write_all(&[7; 100_000]).unwrap();
        file.sync_all().unwrap();
        let crashed = image.copy("crashed.img");
        let error = ext_image::refusal(&open(&crashed));
        assert!(error.to_string().contains(words), "{arguments:?}: {error}");
        assert!(error.advice().is_some_and(|advice| advice.contains("e2fsck")), "{error}");
        drop(file);
        drop(mounted);
        // Once it is unmounted there is nothing to replay.
        assert_eq!(free(&image.disk()).unwrap(), dumpe2fs(&image.path), "{arguments:?}");
    }
}

/// Gives how many bytes the disk calls free that are in use after the replay.
fn judge_crash(image: &Image, crashed: &Path, has_orphans: bool, what: &str) -> u64 {
    let ours = free(&open(crashed)).unwrap_or_else(|error| panic!("{what}: {error}"));
    let replayed = image.directory.path().join("replayed.img");
    run("cp", &["--sparse=always", crashed.to_str().unwrap(), replayed.to_str().unwrap()]);
    // 1: errors were corrected.
    let status = judge("e2fsck", &["-y", "-E", "journal_only", replayed.to_str().unwrap()]).unwrap().status;
    assert!(status.code().is_some_and(|code| code <= 1), "{what}: {status}");
    let after = dumpe2fs(&replayed);
    let before = bitmaps(crashed, &replayed);
    let expected = both(&before, &after);
    if has_orphans {
        // In the same breath it has deleted the orphans, which are in use for us.
        assert_eq!(both(&ours, &expected), ours, "{what}");
    } else {
        assert_eq!(ours, expected, "{what}");
    }
    // A whole check, which deletes orphans too, finds nothing in use there either.
    let status = judge("e2fsck", &["-f", "-y", replayed.to_str().unwrap()]).unwrap().status;
    assert!(status.code().is_some_and(|code| code <= 1), "{what}: {status}");
    assert_eq!(both(&ours, &dumpe2fs(&replayed)), ours, "{what}");
    total(&before) - total(&expected)
}

/// What the bitmaps in the places that dumpe2fs names call free, whether or not they agree with anything else. In a group
/// that never had one that is everything.
fn bitmaps(crashed: &Path, replayed: &Path) -> Vec<ByteRange> {
    let dump = |path: &Path| {
        // It says the flags of the groups even where the bitmaps do not agree with them.
        String::from_utf8(judge("dumpe2fs", &[path.to_str().unwrap()]).unwrap().stdout).unwrap()
    };
    let (places, flags) = (dump(replayed), dump(crashed));
    let groups_of = |said: &str| said.lines().filter(|line| line.contains("(Blocks ")).map(str::to_owned).collect();
    let (groups, flags): (Vec<String>, Vec<String>) = (groups_of(&places), groups_of(&flags));
    assert_eq!(groups.len(), flags.len());
    let field = |name: &str| places.lines().find_map(|line| line.strip_prefix(name)?.trim().parse::<u64>().ok());
    let block = field("Block size:").unwrap();
    let cluster = field("Cluster size:").unwrap_or(block);
    let maps = places.lines().filter_map(|line| line.trim().strip_prefix("Block bitmap at ")?.split(' ').next());
    let image = open(crashed);
    let mut free: Vec<(u64, u64)> = Vec::new();
    for ((group, flags), map) in groups.iter().zip(flags).zip(maps) {
        // Group 1: (Blocks 8193-16384) csum 0x8dc0 [INODE_UNINIT, BLOCK_UNINIT, ITABLE_ZEROED]
        let blocks = group.split_once("(Blocks ").unwrap().1.split_once(')').unwrap().0.split_once('-').unwrap();
        let (first, end) = (blocks.0.parse::<u64>().unwrap() * block, (blocks.1.parse::<u64>().unwrap() + 1) * block);
        let mut bits = vec![0; block as usize];
        if !flags.contains("BLOCK_UNINIT") {
            image.read(map.parse::<u64>().unwrap() * block, &mut bits).unwrap();
        }
        for index in 0..(end - first) / cluster {
            if bits[index as usize / 8] >> (index % 8) & 1 == 0 {
                let start = first + index * cluster;
                match free.last_mut() {
                    Some(open) if open.1 == start => open.1 = start + cluster,
                    _ => free.push((start, start + cluster)),
                }
            }
        }
    }
    free.into_iter().map(|(start, end)| ByteRange::new(start, end).unwrap()).collect()
}
