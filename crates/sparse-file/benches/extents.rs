//! Reading the map of a file and joining what belongs together: `cargo bench -p sparse-file`, in the temporary directory
//! (`TMPDIR`), whose file system has its share in it.

use divan::Bencher;
use divan::counter::ItemsCount;
use sparse_file::{Access, Allocation, ByteRange, SparseFile};
use tempfile::TempDir;

const BLOCK: u64 = 4096;

fn main() {
    divan::main();
}

/// A file of 4 KiB of data and 4 KiB of hole in turn.
fn comb(extents: u64) -> (TempDir, SparseFile) {
    let directory = tempfile::tempdir().expect("a directory to work in");
    let path = directory.path().join("comb");
    // Of a new file the last block may be allocated.
    let file = SparseFile::create(&path, (extents * 2 + 1) * BLOCK, Allocation::Sparse).expect("space for it");
    for extent in 0..extents {
        file.write_at(extent * 2 * BLOCK, &[1; BLOCK as usize]).expect("space for it");
    }
    file.sync().expect("it reaches its place");
    drop(file);
    let file = SparseFile::open(&path, Access::Inspect).expect("it was just made");
    (directory, file)
}

#[divan::bench(args = [1_000, 10_000, 100_000], sample_count = 20)]
fn of_a_comb(bencher: Bencher, extents: u64) {
    let (_directory, file) = comb(extents);
    let all = ByteRange::new(0, extents * 2 * BLOCK).expect("not empty");
    bencher.counter(ItemsCount::new(2 * extents)).bench_local(|| {
        let count = file.extents(all).try_fold(0, |count, extent| extent.map(|_| count + 1)).expect("a map");
        assert_eq!(count, 2 * extents, "extents");
    });
}
