//! A million random operations on one core: `cargo bench -p fsa`.
//!
//! A sparse file of 4 GiB on a volume of 1 GiB: writes, reads, zeroing, queries of what is allocated and of sizes.

use std::time::Instant;

use fsa::{Access, CreateOptions, Disposition, Options, Volume, codes};

const OPERATIONS: u64 = 1_000_000;
const FILE_BYTES: u64 = 4 << 30;

fn main() {
    for cluster_bytes in [4096, 65_536] {
        let options = Options { cluster_bytes, capacity_clusters: (1 << 30) / cluster_bytes, ..Options::default() };
        let mut volume = Volume::new(options).expect("good options");
        let id = volume.create("\\f", &CreateOptions::new(Access::ALL, Disposition::Create)).expect("new").0;
        volume.control(id, codes::SET_SPARSE, &[], &mut []);
        volume.set_end_of_file(id, FILE_BYTES as i64).expect("a hole");
        volume.write(id, FILE_BYTES as i64 - 1, &[0]).expect("room");
        let mut random = 1_u64;
        let mut next = |limit: u64| {
            // xorshift64*, by Vigna.
            random ^= random >> 12;
            random ^= random << 25;
            random ^= random >> 27;
            (random.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 11) % limit
        };
        let mut buffer = vec![7; 4096];
        let mut output = vec![0; 1024];
        let start = Instant::now();
        let mut failed = 0_u64;
        for _ in 0..OPERATIONS {
            let at = next(FILE_BYTES - 1);
            let input = |len: u64| [at.to_le_bytes(), len.to_le_bytes()].concat();
            let done = match next(16) {
                0..6 => volume.write(id, at as i64, &buffer).is_ok(),
                6..11 => volume.read(id, at as i64, &mut buffer).is_ok(),
                11..14 => {
                    let end = at + next(4 << 20);
                    volume.control(id, codes::SET_ZERO_DATA, &input(end), &mut []).0.is_success()
                }
                14 => !volume.control(id, codes::QUERY_ALLOCATED_RANGES, &input(16 << 20), &mut output).0.is_error(),
                _ => volume.stream_details(id).is_ok(),
            };
            failed += u64::from(!done);
        }
        let seconds = start.elapsed().as_secs_f64();
        let details = volume.stream_details(id).expect("open");
        println!(
            "clusters of {cluster_bytes}: {OPERATIONS} operations in {seconds:.2} s, {:.0} a second, {failed} refused; \
             {} MiB allocated in {} extents",
            OPERATIONS as f64 / seconds,
            details.allocated_bytes >> 20,
            details.extents,
        );
    }
}
