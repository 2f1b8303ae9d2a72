//! Copying and compacting while one system call after the other fails, or is the last: strace plays the host.
//!
//! Which calls there are is not written down here: each operation is traced once, and whatever it asked of its files is a
//! step. So a call that is made tomorrow is a step tomorrow.
#![cfg(target_os = "linux")]

#[path = "../copy/layout.rs"]
mod layout;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use layout::{KIB, Layout, Part};
use sparse_file::{Access, CopyOptions, SparseFile, compact, copy};
use test_places::{Place, always, skipped};

/// Where the second run of this program finds what it is to do, and in which directory.
const INSIDE: &str = "SPARSEDISK_TEST_CALLS";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Act {
    Copy,
    Scan,
    /// The flush is left to the system.
    Unflushed,
    Compact,
    /// Onto a simulated volume, in the directory `volume`.
    #[cfg(feature = "model")]
    Model,
}

impl Act {
    fn run(self, dir: &Path) -> sparse_file::Result<()> {
        let (image, target) = (dir.join("disk.img"), dir.join("copy.img"));
        match self {
            Self::Copy => {
                copy(&image, &target, &CopyOptions { verify: true, ..CopyOptions::default() }, &mut ()).map(drop)
            }
            Self::Scan => {
                copy(&image, &target, &CopyOptions { detect_zeroes: true, ..CopyOptions::default() }, &mut ()).map(drop)
            }
            Self::Unflushed => {
                copy(&image, &target, &CopyOptions { no_flush: true, ..CopyOptions::default() }, &mut ()).map(drop)
            }
            Self::Compact => {
                let file = SparseFile::open(&image, Access::ReadWrite)?;
                let alone = file.sole_opener()?;
                compact(&file, &alone, &mut ()).map(drop)
            }
            #[cfg(feature = "model")]
            Self::Model => {
                let volume = volume::open(dir)?;
                let source = SparseFile::open(&image, Access::ReadOnly)?;
                volume.copy_file(&source, "copy.img".as_ref(), &CopyOptions::default(), &mut ())?;
                volume.sync()
            }
        }
    }

    /// The name of the test that does this, inside.
    fn test(self) -> &'static str {
        match self {
            Self::Copy => "a_copy_is_whole_or_not_there_whatever_call_fails_or_is_the_last",
            Self::Scan => "a_copy_without_zeroes_is_whole_or_not_there_whatever_call_fails_or_is_the_last",
            Self::Unflushed => "a_copy_that_is_not_flushed_is_whole_or_not_there_whatever_call_fails_or_is_the_last",
            Self::Compact => "a_compaction_leaves_the_image_whole_whatever_call_fails_or_is_the_last",
            #[cfg(feature = "model")]
            Self::Model => "volume::a_copy_onto_a_volume_harms_nothing_on_it_whatever_call_fails_or_is_the_last",
        }
    }
}

#[test]
fn a_copy_is_whole_or_not_there_whatever_call_fails_or_is_the_last() {
    walk(Act::Copy);
}

#[test]
fn a_copy_without_zeroes_is_whole_or_not_there_whatever_call_fails_or_is_the_last() {
    walk(Act::Scan);
}

/// A program that is killed loses nothing that it wrote, flushed or not.
#[test]
fn a_copy_that_is_not_flushed_is_whole_or_not_there_whatever_call_fails_or_is_the_last() {
    walk(Act::Unflushed);
}

#[test]
fn a_compaction_leaves_the_image_whole_whatever_call_fails_or_is_the_last() {
    walk(Act::Compact);
}

#[cfg(feature = "model")]
mod volume {
    use std::path::Path;

    use sparse_file::model::{Volume, VolumeOptions};
    use sparse_file::{Access, CopyOptions, ErrorKind, Result, SparseFile};

    #[test]
    fn a_copy_onto_a_volume_harms_nothing_on_it_whatever_call_fails_or_is_the_last() {
        super::walk(super::Act::Model);
    }

    pub(crate) fn open(dir: &Path) -> Result<Volume> {
        let options = VolumeOptions { capacity_bytes: Some(4 << 20), ..VolumeOptions::default() };
        Volume::open(&dir.join("volume"), &options)
    }

    /// A volume with one file, the same each time: what a request costs depends on what came before.
    pub(crate) fn make_anew(dir: &Path) {
        let _ = std::fs::remove_dir_all(dir.join("volume"));
        let source = SparseFile::open(&dir.join("disk.img"), Access::ReadOnly).unwrap();
        let volume = open(dir).unwrap();
        volume.copy_file(&source, "kept.img".as_ref(), &CopyOptions::default(), &mut ()).unwrap();
    }

    /// What a file on it holds, if it is there.
    pub(crate) fn content(dir: &Path, name: &str) -> Option<Vec<u8>> {
        let volume = open(dir).unwrap();
        match volume.open_file(name.as_ref(), Access::Inspect) {
            Err(error) if error.kind() == ErrorKind::NotFound => None,
            file => {
                let file = file.unwrap();
                let mut bytes = vec![0; usize::try_from(file.len_bytes()).unwrap()];
                file.read_at(0, &mut bytes).unwrap();
                Some(bytes)
            }
        }
    }
}

/// Calls that only look. To be killed there is to be killed at the next call that does more.
const LOOKING: &[&str] = &[
    "lseek",
    "statx",
    "fstat",
    "newfstatat",
    "stat",
    "lstat",
    "fstatfs",
    "statfs",
    "pread64",
    "read",
    "readlink",
    "readlinkat",
    "access",
    "faccessat",
    "faccessat2",
    "flistxattr",
    "fgetxattr",
    "getxattr",
    "listxattr",
];

/// Calls without whose success nothing is done: where one fails the operation fails.
const NEEDED: &[&str] = &["pread64", "pwrite64", "ftruncate", "fdatasync", "fsync"];

/// Calls that make something durable, or begin to.
const FLUSHES: &[&str] = &["fsync", "fdatasync", "sync_file_range", "syncfs", "sync", "msync"];

/// What becomes of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Kill,
    Io,
    NoSpace,
    Late,
    /// It says that it wrote a block, and did not.
    Lost,
}

impl Fate {
    fn as_strace_says(self) -> &'static str {
        match self {
            Self::Kill => "signal=KILL",
            Self::Io => "error=EIO",
            Self::NoSpace => "error=ENOSPC",
            Self::Late => "delay_enter=300",
            Self::Lost => "retval=512",
        }
    }
}

fn walk(act: Act) {
    if let Some(dir) = std::env::var_os(INSIDE) {
        match act.run(Path::new(&dir)) {
            Ok(()) => println!("\noutcome: done"),
            Err(error) => println!("\noutcome: {:?}: {error}", error.kind()),
        }
        return;
    }
    if Command::new("strace").arg("-V").output().is_err() {
        return skipped("no strace");
    }
    // Only what strace plays differs: one file system will do, the quickest.
    let Some(place) = always().pop() else { return };
    let test = Test::new(&place, act);
    let steps = test.steps();
    let (mut kills, mut errors, mut tolerated, mut late) = (0, 0, 0, 0);
    for (call, count) in &steps {
        let looks = LOOKING.contains(&call.as_str());
        let fates: &[Fate] = match call.as_str() {
            _ if looks => &[Fate::Io],
            // Who compares finds it.
            "pwrite64" if matches!(act, Act::Copy | Act::Compact) => {
                &[Fate::Kill, Fate::Io, Fate::NoSpace, Fate::Late, Fate::Lost]
            }
            _ => &[Fate::Kill, Fate::Io, Fate::NoSpace, Fate::Late],
        };
        for fate in fates {
            // Of questions that are asked again and again each of the first, and then fewer.
            let sparse = looks || *fate == Fate::Late;
            for nth in (1..=*count).filter(|nth| !sparse || *nth < 4 || nth.is_power_of_two()) {
                let what = format!("{act:?}, {call} {nth}: {fate:?}");
                match test.run(call, nth, *fate, &what) {
                    None => kills += 1,
                    Some(outcome) if outcome == "done" => {
                        assert!(*fate == Fate::Late || !NEEDED.contains(&call.as_str()), "{what}: nobody noticed");
                        *(if *fate == Fate::Late { &mut late } else { &mut tolerated }) += 1;
                    }
                    Some(outcome) => {
                        assert_ne!(*fate, Fate::Late, "{what}: {outcome}");
                        let kind = match fate {
                            Fate::NoSpace => "NoSpace: ",
                            Fate::Lost => "Corrupt: ",
                            _ => "Io: ",
                        };
                        assert!(!NEEDED.contains(&call.as_str()) || outcome.starts_with(kind), "{what}: {outcome}");
                        // A host that fails is not somebody else who has the file, or has changed it.
                        let nobody = !outcome.starts_with("InUse: ") && !outcome.starts_with("Changed: ");
                        assert!(nobody, "{what}: {outcome}");
                        assert!(
                            outcome.contains(".img") || outcome.contains("/volume"),
                            "{what}: which file? {outcome}"
                        );
                        errors += 1;
                    }
                }
            }
        }
    }
    let calls: usize = steps.values().sum();
    eprintln!(
        "{act:?}: {calls} calls of {} kinds; killed {kills} times, {errors} errors told, {tolerated} done without, {late} late",
        steps.len()
    );
    assert!(kills > 10 && errors > 20 && late > 10, "{kills} {errors} {late}");
}

struct Test<'a> {
    place: &'a Place,
    act: Act,
    image: PathBuf,
    twin: Vec<u8>,
}

impl<'a> Test<'a> {
    fn new(place: &'a Place, act: Act) -> Self {
        let image = place.path("disk.img");
        let parts = [Part::Data(64 * KIB), Part::Zeroes(64 * KIB), Part::Hole(256 * KIB), Part::Data(4 * KIB + 17)];
        Layout(parts.to_vec()).write(&image);
        let twin = fs::read(&image).unwrap();
        Self { place, act, image, twin }
    }

    /// The operation in another process, of whose calls those on our files are traced.
    fn strace(&self, arguments: &[&str]) -> std::process::Output {
        #[cfg(feature = "model")]
        if self.on_volume() {
            volume::make_anew(self.place.dir());
        }
        let mut command = Command::new("strace");
        command.args(["-f", "-qq", "-P"]).arg(self.place.dir());
        let names = ["disk.img", "disk.img.compacting", "disk.img.before-compacting", "copy.img", "copy.img.partial"];
        let of_volume = ["volume", "volume/clusters", "volume/volume.state", "volume/volume.state.new"];
        for name in names.into_iter().chain(of_volume) {
            command.arg("-P").arg(self.place.path(name));
        }
        command.args(arguments).arg(std::env::current_exe().unwrap()).args(["--exact", self.act.test(), "--nocapture"]);
        command.env(INSIDE, self.place.dir()).output().unwrap()
    }

    /// The calls that a run makes on our files, and how often the thread that makes the most of them makes them.
    fn steps(&self) -> BTreeMap<String, usize> {
        let log = tempfile::NamedTempFile::new().unwrap();
        let output = self.strace(&["-y", "-o", log.path().to_str().unwrap()]);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        self.clean("traced");
        let trace = fs::read_to_string(log.path()).unwrap();
        // "4711  openat(AT_FDCWD, ..."
        let calls = trace.lines().filter_map(|line| {
            let (thread, call) = line.split_once(' ')?;
            let (call, arguments) = call.trim_start().split_once('(')?;
            let is_name = call.chars().all(|c| c.is_alphanumeric() || c == '_');
            is_name.then_some((thread, call, arguments))
        });
        let calls: Vec<_> = calls.collect();
        match self.act {
            Act::Unflushed => {
                let flush = calls.iter().find(|(_, call, _)| FLUSHES.contains(call));
                assert_eq!(flush, None, "it was to be left to the system");
                // Which ext4 takes for a wish to have the file written out when it is closed.
                let mut lengths = calls.iter().filter(|(_, call, _)| *call == "ftruncate");
                assert!(!lengths.any(|(_, _, arguments)| arguments.contains(">, 0)")), "{calls:?}");
                assert!(calls.iter().any(|(_, call, _)| *call == "renameat2"), "{calls:?}");
            }
            _ if self.on_volume() => {}
            _ => self.assert_order(&calls),
        }
        // strace counts the calls of each thread apart.
        let mut of_threads = BTreeMap::<_, usize>::new();
        for (thread, call, _) in calls {
            *of_threads.entry((call, thread)).or_default() += 1;
        }
        of_threads.into_iter().fold(BTreeMap::new(), |mut steps, ((call, _), count)| {
            let most: &mut usize = steps.entry(call.to_owned()).or_default();
            *most = count.max(*most);
            steps
        })
    }

    /// Law 2 for a power cut, which no kill shows: the new file is flushed, whole, before it gets its name, and the name
    /// before the old file goes and before anybody is told.
    fn assert_order(&self, calls: &[(&str, &str, &str)]) {
        const CHANGES: &[&str] =
            &["pwrite64", "copy_file_range", "ftruncate", "fallocate", "fchmod", "fchown", "fsetxattr", "utimensat"];
        let dir = format!("<{}>", self.place.dir().display());
        let (mut unflushed, mut unnamed, mut renamed) = (false, false, false);
        for (_, call, arguments) in calls {
            let on_new = [".partial", ".compacting"].iter().any(|suffix| arguments.contains(suffix));
            match *call {
                "renameat2" => {
                    assert!(!unflushed, "renamed before it was flushed: {arguments}");
                    (renamed, unnamed) = (true, true);
                }
                "unlink" => assert!(!unnamed, "removed before the name was flushed: {arguments}"),
                "fsync" | "fdatasync" if on_new => unflushed = false,
                "fsync" if arguments.contains(&dir) => unnamed = false,
                call if on_new && !renamed => unflushed |= CHANGES.contains(&call),
                _ => {}
            }
        }
        assert!(renamed && !unnamed, "{calls:?}");
    }

    /// Runs it with this fate of this call, and looks at what it left. Gives what it said; `None` if it was killed.
    fn run(&self, call: &str, nth: usize, fate: Fate, what: &str) -> Option<String> {
        let inject = format!("inject={call}:{}:when={nth}", fate.as_strace_says());
        let output = self.strace(&["-o", "/dev/null", "-e", &format!("trace={call}"), "-e", &inject]);
        let (said, complained) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(!complained.contains("panicked"), "{what}: {complained}");
        let outcome = said.lines().find_map(|line| line.strip_prefix("outcome: ")).map(str::to_owned);
        assert!(outcome.is_some() || fate == Fate::Kill, "{what}: {said} {complained}");
        let done = outcome.as_deref() == Some("done");
        match self.made() {
            // A part of a copy may stand on a simulated volume that was killed, or that the host did not let save.
            Some(_) if self.on_volume() && !done => {}
            Some(made) => assert!(made == self.twin, "{what}: what was made"),
            None => assert!(!done, "{what}: nothing was made"),
        }
        let names = self.names();
        assert!(!done || self.act == Act::Compact || !names.contains(&"copy.img.partial".to_owned()), "{what}");
        let known: &[&str] = match self.act {
            Act::Compact => &["disk.img", "disk.img.compacting", "disk.img.before-compacting"],
            Act::Copy | Act::Scan | Act::Unflushed => &["disk.img", "copy.img", "copy.img.partial"],
            #[cfg(feature = "model")]
            Act::Model => &["disk.img", "volume"],
        };
        assert!(names.iter().all(|name| known.contains(&name.as_str())), "{what} left {names:?}");
        self.clean(what);
        // The locks went with the process: the next run completes.
        if nth == 1 || fate == Fate::Kill {
            self.act.run(self.place.dir()).unwrap_or_else(|error| panic!("after {what}: {error}"));
            assert!(self.made().as_ref() == Some(&self.twin), "after {what}");
            self.clean(what);
            assert!(self.on_volume() || self.names() == ["disk.img"], "after {what}: {:?}", self.names());
        }
        outcome
    }

    #[cfg(feature = "model")]
    fn on_volume(&self) -> bool {
        self.act == Act::Model
    }

    #[cfg(not(feature = "model"))]
    fn on_volume(&self) -> bool {
        false
    }

    fn names(&self) -> Vec<String> {
        let names = fs::read_dir(self.place.dir()).unwrap();
        names.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    }

    /// The content of what the operation makes, if it is there. What was there before is as it was.
    fn made(&self) -> Option<Vec<u8>> {
        assert!(fs::read(&self.image).unwrap() == self.twin, "the image");
        match self.act {
            Act::Copy | Act::Scan | Act::Unflushed => fs::read(self.place.path("copy.img")).ok(),
            Act::Compact => fs::read(&self.image).ok(),
            #[cfg(feature = "model")]
            Act::Model => {
                let kept = volume::content(self.place.dir(), "kept.img");
                assert!(kept.as_ref() == Some(&self.twin), "another file of the volume");
                volume::content(self.place.dir(), "copy.img")
            }
        }
    }

    /// Takes away what a copy left, as it asks for: the next one refuses it. A compaction takes it away itself.
    fn clean(&self, what: &str) {
        #[cfg(feature = "model")]
        if self.on_volume() {
            let volume = volume::open(self.place.dir()).unwrap();
            match volume.remove_file("copy.img".as_ref()) {
                Err(error) if error.kind() != sparse_file::ErrorKind::NotFound => panic!("{what}: {error}"),
                _ => {}
            }
        }
        for name in ["copy.img", "copy.img.partial"] {
            match fs::remove_file(self.place.path(name)) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => panic!("{what}: {error}"),
                _ => {}
            }
        }
    }
}
