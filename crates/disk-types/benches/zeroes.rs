//! Zero detection: `cargo bench -p disk-types`.

use disk_types::is_zero;
use divan::counter::BytesCount;
use divan::{Bencher, black_box};

const LENGTHS: [usize; 4] = [512, 4096, 64 << 10, 1 << 20];

fn main() {
    divan::main();
}

/// All of it must be looked at.
#[divan::bench(args = LENGTHS)]
fn zeroes(bencher: Bencher, len_bytes: usize) {
    let bytes = vec![0_u8; len_bytes];
    bencher.counter(BytesCount::new(len_bytes)).bench_local(|| is_zero(black_box(&bytes)));
}

/// As costly as zeroes, and nothing gained.
#[divan::bench(args = LENGTHS)]
fn data_in_the_last_byte(bencher: Bencher, len_bytes: usize) {
    let mut bytes = vec![0_u8; len_bytes];
    bytes[len_bytes - 1] = 1;
    bencher.counter(BytesCount::new(len_bytes)).bench_local(|| is_zero(black_box(&bytes)));
}

/// What data costs that is data from the beginning: nearly all.
#[divan::bench(args = LENGTHS)]
fn data_in_the_first_byte(bencher: Bencher, len_bytes: usize) {
    let bytes = vec![1_u8; len_bytes];
    bencher.bench_local(|| is_zero(black_box(&bytes)));
}

/// Data that begins with a zero, as numbers in big-endian order do.
#[divan::bench(args = LENGTHS)]
fn data_in_the_second_byte(bencher: Bencher, len_bytes: usize) {
    let mut bytes = vec![1_u8; len_bytes];
    bytes[0] = 0;
    bencher.bench_local(|| is_zero(black_box(&bytes)));
}
