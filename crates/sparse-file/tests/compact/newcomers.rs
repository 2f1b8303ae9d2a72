//! Whoever opens the file while it is compacted gets the file that has the name.

use std::fs::{self, File};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::{Acquire, Release};
use std::time::{Duration, SystemTime};

use crate::files::open_again;
use crate::killed::POOR;
use crate::layout::{Layout, MIB, Part};
use crate::{compact_at, names};
use sparse_file::{Access, CopyObserver, ErrorKind, Result, SoleOpener, compact};
use test_places::skipped;

/// Opens the file at the n-th question, in another process that waits for the lease, and goes on once it is noticed.
struct OpenAt<'a> {
    question: u32,
    path: &'a Path,
    alone: &'a SoleOpener<'a>,
    newcomer: Option<Child>,
}

impl CopyObserver for OpenAt<'_> {
    fn progress(&mut self, _: u64, _: u64) {}

    fn may_continue(&mut self) -> Result<()> {
        self.question = self.question.saturating_sub(1);
        if self.question == 0 && self.newcomer.is_none() {
            self.newcomer = Some(appender(self.path));
            while self.alone.is_alone().unwrap() {
                std::thread::yield_now();
            }
        }
        Ok(())
    }
}

/// Writes "newcomer" to the start of the file, through the file that it opened.
pub(crate) fn appender(path: &Path) -> Child {
    let script = "exec 9<>\"$1\"; printf newcomer >&9";
    Command::new("sh").args(["-c", script, "sh"]).arg(path).stdin(Stdio::null()).spawn().unwrap()
}

#[test]
fn law7_a_newcomer_at_any_question_ends_it_and_what_he_writes_is_in_the_image() {
    let place = &test_places::always()[0];
    for question in 1..6 {
        let path = place.path("disk.img");
        Layout(vec![Part::Data(9 * MIB)]).write(&path);
        let (inode, mut twin) = (fs::metadata(&path).unwrap().ino(), fs::read(&path).unwrap());
        let file = open_again(&path, Access::ReadWrite);
        let alone = file.sole_opener().unwrap();
        let mut observer = OpenAt { question, path: &path, alone: &alone, newcomer: None };
        let outcome = compact(&file, &alone, &mut observer);
        let newcomer = observer.newcomer.take();
        drop(alone);
        drop(file);
        let Some(mut newcomer) = newcomer else { panic!("only {question} questions: {outcome:?}") };
        let error = outcome.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InUse, "{error}");
        assert!(newcomer.wait().unwrap().success());
        assert_eq!(names(place.dir()), ["disk.img"]);
        assert_eq!(fs::metadata(&path).unwrap().ino(), inode, "the old file");
        twin[..8].copy_from_slice(b"newcomer");
        assert!(fs::read(&path).unwrap() == twin, "question {question}");
        fs::remove_file(&path).unwrap();
    }
}

/// Does something at the last question, after which the names are exchanged.
pub(crate) struct AtTheEnd<'a> {
    asked_at_the_end: Option<u32>,
    act: &'a mut dyn FnMut(),
}

impl<'a> AtTheEnd<'a> {
    pub(crate) fn new(act: &'a mut dyn FnMut()) -> Self {
        Self { asked_at_the_end: None, act }
    }
}

impl CopyObserver for AtTheEnd<'_> {
    fn progress(&mut self, done_bytes: u64, total_bytes: u64) {
        if done_bytes == total_bytes {
            self.asked_at_the_end = Some(0);
        }
    }

    fn may_continue(&mut self) -> Result<()> {
        if let Some(asked) = &mut self.asked_at_the_end {
            *asked += 1;
            // The first belongs to the comparison, which is over.
            if *asked == 2 {
                (self.act)();
            }
        }
        Ok(())
    }
}

/// Openers come around the instant of the exchange: whatever they write is in the image, or in the file that is named.
#[test]
fn law4_what_is_written_by_whoever_comes_at_the_exchange_is_never_lost() {
    let mut places = test_places::always();
    places.extend(["ext4", "xfs", "btrfs"].into_iter().filter_map(test_places::mounted));
    for place in &places {
        let path = place.path("disk.img");
        Layout(vec![Part::Data(64 << 10), Part::Zeroes(64 << 10)]).write(&path);
        let (mut compacted, mut stopped, mut kept) = (0, 0, 0);
        for round in 0..60_u32 {
            let go = AtomicBool::new(false);
            let error = std::thread::scope(|threads| {
                let file = open_again(&path, Access::ReadWrite);
                let alone = file.sole_opener().unwrap();
                let (path, go) = (&path, &go);
                let newcomer = threads.spawn(move || {
                    while !go.load(Acquire) {
                        std::hint::spin_loop();
                    }
                    // A different moment each time.
                    for _ in 0..round * round * 20 {
                        std::hint::spin_loop();
                    }
                    let file = File::options().read(true).write(true).open(path).unwrap();
                    file.write_all_at(&(round + 1).to_le_bytes(), 0).unwrap();
                });
                let outcome = compact(&file, &alone, &mut AtTheEnd::new(&mut || go.store(true, Release)));
                assert!(go.swap(true, Release) || outcome.is_err(), "the last question was none");
                drop(alone);
                drop(file);
                newcomer.join().unwrap();
                outcome.err()
            });
            let mut left = names(place.dir());
            match error {
                None => compacted += 1,
                Some(error) => {
                    assert_eq!(error.kind(), ErrorKind::InUse, "{}: {error}", place.name);
                    stopped += 1;
                }
            }
            let written = (round + 1).to_le_bytes();
            if left.len() > 1 {
                assert_eq!(left.pop().unwrap(), "disk.img.opened-while-compacting", "{}", place.name);
                let opened = place.path("disk.img.opened-while-compacting");
                assert_eq!(fs::read(&opened).unwrap()[..4], written);
                fs::remove_file(opened).unwrap();
                kept += 1;
            } else {
                assert_eq!(fs::read(&path).unwrap()[..4], written, "{}: round {round}: lost", place.name);
            }
            assert_eq!(left, ["disk.img"], "{}: round {round}", place.name);
        }
        eprintln!("{}: {compacted} compacted, {stopped} stopped for a newcomer, {kept} times kept", place.name);
    }
}

/// Runs itself again under strace, which holds it up before and after it exchanges the names. Meanwhile one opener waits for
/// the old file and, after the exchange, another for the new one: the names are exchanged back, and nobody's writing is lost.
#[test]
fn law4_openers_on_both_sides_of_the_exchange_lose_nothing() {
    const INSIDE: &str = "SPARSEDISK_TEST_HELD_UP_COMPACTING";
    const NAME: &str = "newcomers::law4_openers_on_both_sides_of_the_exchange_lose_nothing";
    if let Some(path) = std::env::var_os(INSIDE) {
        return match compact_at(Path::new(&path)) {
            Ok(_) => eprintln!("both came for the new file"),
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::InUse, "{error}");
                eprintln!("ended: {error}");
            }
        };
    }
    if Command::new("strace").arg("-V").output().is_err() {
        return skipped("no strace");
    }
    // In memory a flush takes no time in which an opener could come too early.
    let Some(place) = test_places::always().into_iter().find(|place| place.name == "tmpfs") else { return };
    for (call, injected) in [("renameat2", &[][..]), ("rename", POOR)] {
        let (mut back, mut kept) = (false, false);
        // The moments are not ours to choose: it is done again until both have been met, and held up for longer the slower
        // this machine is; less than the kernel lets an opener wait for a lease.
        for round in 0..40 {
            let held_up_us = (200_000_u64 << (round / 4)).min(20_000_000);
            let path = place.path("disk.img");
            Layout(vec![Part::Data(64 << 10), Part::Zeroes(64 << 10)]).write(&path);
            let old = fs::metadata(&path).unwrap().ino();
            // Not the time of a file that was just made.
            let modified = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000_000);
            File::options().write(true).open(&path).unwrap().set_modified(modified).unwrap();
            let mut command = Command::new("strace");
            command.args(["-f", "-qq", "-o", "/dev/null", "-e", &format!("trace={call},renameat2,fallocate")]);
            command
                .args(injected)
                .args(["-e", &format!("inject={call}:delay_enter={held_up_us}:delay_exit={held_up_us}")]);
            command.arg(std::env::current_exe().unwrap()).args(["--exact", NAME, "--nocapture"]).env(INSIDE, &path);
            let mut held_up = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
            // The new file has the times of the old one once nothing is missing but the flush and the name. Where names are
            // linked, the old file has its second name by then.
            let (new, second_name) = (place.path("disk.img.compacting"), place.path("disk.img.before-compacting"));
            let ready = || match call {
                "rename" => second_name.exists(),
                _ => fs::metadata(&new).is_ok_and(|new| new.len() > 0 && new.modified().unwrap() == modified),
            };
            while !ready() && held_up.try_wait().unwrap().is_none() {
                std::thread::yield_now();
            }
            let first = appender(&path);
            let mut seen_new = false;
            let mut exchanged = || {
                fs::metadata(&path).is_ok_and(|now| {
                    seen_new |= now.ino() != old;
                    seen_new
                })
            };
            while !exchanged() && held_up.try_wait().unwrap().is_none() {
                std::thread::yield_now();
            }
            let second = if round % 2 == 1 { Some(appender(&path)) } else { None };
            let output = held_up.wait_with_output().unwrap();
            for opener in [Some(first), second].into_iter().flatten() {
                assert!(opener.wait_with_output().unwrap().status.success());
            }
            let said = String::from_utf8_lossy(&output.stderr);
            assert!(output.status.success(), "{}: {said}", place.name);
            assert_eq!(&fs::read(&path).unwrap()[..8], b"newcomer", "{}", place.name);
            let is_old = fs::metadata(&path).unwrap().ino() == old;
            assert_eq!(is_old, said.contains("ended: "), "{}: {said}", place.name);
            let mut left = names(place.dir());
            back |= is_old && seen_new;
            if left.len() > 1 {
                assert_eq!(left.pop().unwrap(), "disk.img.opened-while-compacting", "{}", place.name);
                let opened = place.path("disk.img.opened-while-compacting");
                assert!(said.contains("opened-while-compacting"), "{said}");
                assert_eq!(&fs::read(&opened).unwrap()[..8], b"newcomer", "{}", place.name);
                fs::remove_file(opened).unwrap();
                kept = true;
            }
            assert_eq!(left, ["disk.img"], "{}", place.name);
            fs::remove_file(&path).unwrap();
            if back && kept {
                break;
            }
        }
        assert!(back && kept, "{call}: exchanged back {back}, kept {kept}");
    }
}
