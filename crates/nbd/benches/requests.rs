//! Taking requests apart: `cargo bench -p nbd`. How fast the server is beside others, `cargo xtask compare nbd` tells.

use divan::counter::ItemsCount;
use divan::{Bencher, black_box};
use nbd::protocol::{Request, command};

fn main() {
    divan::main();
}

/// As many as a client with a deep queue sends at once.
const REQUESTS: u64 = 64;

fn requests() -> impl Iterator<Item = Request> {
    (0..REQUESTS).map(|cookie| Request {
        flags: 0,
        command: if cookie % 2 == 0 { command::READ } else { command::WRITE },
        cookie,
        offset: cookie << 12,
        length: 4096,
    })
}

#[divan::bench]
fn parse(bencher: Bencher) {
    let wire: Vec<u8> = requests().flat_map(|request| request.encode()).collect();
    bencher.counter(ItemsCount::new(REQUESTS)).bench_local(|| {
        for bytes in black_box(&wire).as_chunks::<{ Request::BYTES }>().0 {
            black_box(Request::parse(bytes));
        }
    });
}

#[divan::bench]
fn encode(bencher: Bencher) {
    let requests: Vec<Request> = requests().collect();
    bencher.counter(ItemsCount::new(REQUESTS)).bench_local(|| {
        for request in black_box(&requests) {
            black_box(request.encode());
        }
    });
}
