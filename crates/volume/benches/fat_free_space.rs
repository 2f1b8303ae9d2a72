//! The scan of a FAT: `cargo bench -p volume`.

use block_device::{Disk, Durability, MemoryDisk};
use divan::Bencher;
use divan::counter::BytesCount;
use volume::fat::{Fat, FormatOptions, format};

const LEN_BYTES: u64 = 8 << 30;

fn main() {
    divan::main();
}

/// How the clusters are used.
#[derive(Clone, Copy, Debug)]
enum Use {
    /// None is: the FAT is a hole.
    Empty,
    /// All are.
    Full,
    /// Every other one.
    Comb,
    /// By runs of 500, each with a gap of as many.
    Runs,
}

/// A volume with FAT32, and the size of its FAT.
fn volume(how: Use) -> (Fat, u64) {
    let disk = Disk::new(MemoryDisk::new(LEN_BYTES)).expect("a disk");
    let layout = format(&disk, &FormatOptions::default()).expect("a disk that FAT fits").layout;
    let is_used = |cluster: u32| match how {
        Use::Empty => false,
        Use::Full => true,
        Use::Comb => cluster.is_multiple_of(2),
        Use::Runs => (cluster / 500).is_multiple_of(2),
    };
    if !matches!(how, Use::Empty) {
        // The first two entries are no cluster's, the third is the root directory's.
        let entry = |cluster| if cluster < 3 || is_used(cluster) { 0x0FFF_FFFF_u32 } else { 0 };
        let mut entries: Vec<u8> = (0..layout.end_cluster()).flat_map(|cluster| entry(cluster).to_le_bytes()).collect();
        entries.resize(entries.len().next_multiple_of(512), 0);
        for fat in 0..u64::from(layout.fats) {
            disk.write(layout.fat_start + fat * layout.fat_bytes, &entries, Durability::Cached).expect("it fits");
        }
    }
    (Fat::open(&disk).expect("it was just made"), layout.fat_bytes)
}

#[divan::bench(args = [Use::Empty, Use::Full, Use::Comb, Use::Runs], sample_count = 20)]
fn runs(bencher: Bencher, how: Use) {
    let (fat, fat_bytes) = volume(how);
    let free = fat.free_bytes().expect("its free space");
    bencher.counter(BytesCount::new(fat_bytes)).bench_local(|| {
        let clusters = fat.free_runs().try_fold(0, |sum, run| run.map(|run| sum + u64::from(run.count)));
        assert_eq!(clusters.expect("its runs") * fat.layout().cluster_bytes, free);
    });
}
