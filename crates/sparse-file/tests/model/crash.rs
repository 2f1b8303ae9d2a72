//! A crash at any moment: the directory is copied as it is, and used again.

use std::path::Path;

use proptest::prelude::*;
use sparse_file::{Access, Allocation, ByteRange, SparseFile};

use crate::{again, content, directory, volume};

const LEN: usize = 512 << 10;

#[derive(Clone, Debug)]
enum Step {
    Write(usize, usize),
    Punch(usize, usize),
    Sync,
}

fn step() -> impl Strategy<Value = (usize, Step)> {
    let part = || (0..LEN / 4096, 1..40usize).prop_map(|(at, len)| (at * 4096, (len * 4096).min(LEN - at * 4096)));
    let step = prop_oneof![
        6 => part().prop_map(|(at, len)| Step::Write(at, len)),
        5 => part().prop_map(|(at, len)| Step::Punch(at, len)),
        1 => Just(Step::Sync),
    ];
    (0..2usize, step)
}

/// Every content that a file has had since the last flush of the volume.
struct History(Vec<Vec<u8>>);

impl History {
    fn now(&self) -> Vec<u8> {
        self.0.last().unwrap().clone()
    }

    fn flushed(&mut self) {
        self.0 = vec![self.now()];
    }

    /// Each byte is one that the file has held since, and never another file's.
    fn allows(&self, found: &[u8]) -> bool {
        found.iter().enumerate().all(|(at, byte)| self.0.iter().any(|content| content[at] == *byte))
    }
}

fn names(file: usize) -> &'static Path {
    Path::new(["a.img", "b.img"][file])
}

fn crashed(dir: &Path) -> tempfile::TempDir {
    let copy = directory();
    for name in ["clusters", "volume.state"] {
        std::fs::copy(dir.join(name), copy.path().join(name)).unwrap();
    }
    // What a crash in the middle of a save leaves.
    std::fs::write(copy.path().join("volume.state.new"), b"half a st").unwrap();
    copy
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    /// A volume so small that what one file frees the other takes at once. A punch needs one free unit.
    #[test]
    fn law2_after_a_crash_each_file_holds_what_it_has_held_since_the_flush(
        steps in prop::collection::vec(step(), 1..30),
    ) {
        let dir = directory();
        let volume = volume(dir.path(), 4096, 2 * LEN as u64 + (64 << 10));
        let create = |file| volume.create_file(names(file), LEN as u64, Allocation::Sparse).unwrap();
        let files: [SparseFile; 2] = [create(0), create(1)];
        let mut histories = [History(vec![vec![0; LEN]]), History(vec![vec![0; LEN]])];
        for (number, (file, step)) in steps.iter().enumerate() {
            let mut next = histories[*file].now();
            match *step {
                Step::Write(at, len) => {
                    // A different byte for each file and step.
                    let byte = 1 + 2 * number as u8 + *file as u8;
                    files[*file].write_at(at as u64, &vec![byte; len]).unwrap();
                    next[at..at + len].fill(byte);
                }
                Step::Punch(at, len) => {
                    files[*file].punch(ByteRange::at(at as u64, len as u64).unwrap()).unwrap();
                    next[at..at + len].fill(0);
                }
                Step::Sync => files[*file].sync().unwrap(),
            }
            histories[*file].0.push(next);
            if matches!(step, Step::Sync) {
                histories.iter_mut().for_each(History::flushed);
            }
            let copy = crashed(dir.path());
            let again = again(copy.path());
            for (file, history) in histories.iter().enumerate() {
                let file = again.open_file(names(file), Access::Inspect).unwrap();
                prop_assert!(history.allows(&content(&file)), "after step {number}");
            }
        }
    }
}

// Only a host with holes can be given anything back.
#[cfg(unix)]
#[test]
fn what_was_freed_is_given_back_to_the_host_after_the_flush_and_not_before() {
    let dir = directory();
    let volume = volume(dir.path(), 4096, 8 << 20);
    let file = volume.create_file("disk.img".as_ref(), 4 << 20, Allocation::Sparse).unwrap();
    file.write_at(0, &vec![1; 2 << 20]).unwrap();
    file.sync().unwrap();
    let host = || SparseFile::open(&dir.path().join("clusters"), Access::Inspect).unwrap().allocated_bytes().unwrap();
    let full = host();
    file.punch(ByteRange::at(0, 2 << 20).unwrap()).unwrap();
    assert_eq!(host(), full);
    file.sync().unwrap();
    assert!(host() + (2 << 20) <= full, "{} of {full}", host());
}
