//! What reading leaves in the page cache.

use sparse_file::SparseFile;
use test_places::{output, skipped};

use crate::files::Files;

const MIB: usize = 1 << 20;

/// How many bytes of a file the page cache holds.
fn cached_bytes(file: &SparseFile) -> Result<usize, String> {
    let said = output("fincore", &["--bytes", "--noheadings", "--output", "RES", &file.path().display().to_string()])?;
    said.trim().parse().map_err(|_| said)
}

/// Whether the kernel is one that can be told: 6.14 or later.
fn can_be_told() -> bool {
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap();
    let mut numbers = release.split(['.', '-']).map_while(|number| number.trim().parse::<u32>().ok());
    (numbers.next(), numbers.next()) >= (Some(6), Some(14))
}

#[test]
fn reading_once_reads_the_same_and_keeps_only_what_was_kept_before() {
    let mut places = test_places::always();
    let told = ["ext4", "xfs"];
    places.extend(["ext4", "xfs", "btrfs"].into_iter().filter_map(test_places::mounted));
    let mut proven = 0;
    for place in &places {
        let file = place.file("once", 16 * MIB as u64);
        let content: Vec<u8> = (0..16 * MIB).map(|index| (index / 4096 % 251) as u8 + 1).collect();
        file.write_at(0, &content).unwrap();
        file.sync().unwrap();
        let forget = || rustix::fs::fadvise(file.as_file().unwrap(), 0, None, rustix::fs::Advice::DontNeed).unwrap();
        let read_once = || {
            let mut read = vec![0; content.len()];
            read.chunks_mut(2 * MIB).enumerate().for_each(|(at, part)| {
                file.read_once_at((at * 2 * MIB) as u64, part).unwrap();
            });
            assert!(read == content, "{}", place.name);
        };
        forget();
        read_once();
        let left = match cached_bytes(&file) {
            Ok(left) => left,
            Err(why) => return skipped(&why),
        };
        // Elsewhere it may be.
        if left > 0 && !(told.contains(&place.name) && can_be_told()) {
            continue;
        }
        assert_eq!(left, 0, "{}", place.name);
        forget();
        file.read_at(0, &mut vec![0; MIB]).unwrap();
        let before = cached_bytes(&file).unwrap();
        read_once();
        assert!(before >= MIB && cached_bytes(&file).unwrap() >= MIB, "{}: what was cached is not", place.name);
        proven += 1;
    }
    if proven == 0 {
        skipped("no file system here can be told not to keep what is read");
    }
}
