//! The numbers of the seeds.

use fsa::Status;

use crate::world::{KIB, MIB, World};

/// Zeroes up to `len`, then a byte: the byte first, then the zeroes by FSCTL_SET_ZERO_DATA.
fn zeroes_and_a_byte(len: u64) -> (World, fsa::OpenId) {
    let mut w = World::new();
    let id = w.sparse("\\f");
    w.put(id, len, 1);
    assert_eq!(w.zero(id, 0, len), Status::SUCCESS);
    (w, id)
}

#[test]
fn seed_60000_zeroes_and_a_byte_have_no_hole() {
    let (mut w, id) = zeroes_and_a_byte(60_000);
    assert_eq!(w.qar(id, 0, 60_001), [(0, 60_001)]);
}

#[test]
fn seed_70000_zeroes_and_a_byte_are_65536_of_hole_and_4465_of_data() {
    let (mut w, id) = zeroes_and_a_byte(70_000);
    assert_eq!(w.qar(id, 0, 70_001), [(65_536, 4465)]);
    assert_eq!(w.allocated(id), 65_536);
    assert!(w.reads_zero(id, 0, 70_000) && w.reads_data(id, 70_000, 1));
}

#[test]
fn seed_moving_the_end_by_16_mib_occupies_nothing() {
    let mut w = World::new();
    let id = w.sparse("\\f");
    w.put(id, 0, 1000);
    let before = w.allocated(id);
    let size = w.size(id);
    w.end(id, size + 0x100_0000);
    assert_eq!((w.allocated(id), w.size(id)), (before, 1000 + 16 * MIB));
    assert_eq!(w.qar(id, 0, 1 << 40), [(0, 64 * KIB)]);
}

#[test]
fn seed_512_mib_with_its_last_byte_written() {
    let mut w = World::new();
    let id = w.sparse("\\f");
    assert_eq!(w.write(id, 512 << 20, &[0]), Ok(1));
    assert_eq!((w.size(id), w.allocated(id)), ((512 << 20) + 1, 64 * KIB));
    assert_eq!(w.qar(id, 0, 1 << 40), [(512 << 20, 1)]);
}

#[test]
fn seed_a_250_mb_file_that_occupies_64_kb() {
    let mut w = World::new();
    let id = w.sparse("\\f");
    w.put(id, 100 << 20, 1000);
    w.end(id, 250 << 20);
    assert_eq!((w.size(id), w.allocated(id)), (250 << 20, 64 * KIB));
    assert_eq!(w.standard_information(id).unwrap().allocation_bytes, 250 << 20, "the nominal one");
}

#[test]
fn seed_a_query_that_needs_several_pages() {
    let mut w = World::new();
    let id = w.sparse("\\f");
    for run in 0..5000_u64 {
        w.put(id, run * 256 * KIB, 1);
    }
    let (mut next, mut pages, mut ranges) = (0, 0, 0);
    let end = w.size(id);
    loop {
        let mut output = [0; 1024 * 16];
        let input = crate::world::pair(next, end - next);
        let (status, len) = w.control(id, fsa::codes::QUERY_ALLOCATED_RANGES, &input, &mut output);
        let page = crate::world::pairs(&output[..len]);
        pages += 1;
        ranges += page.len();
        if status == Status::SUCCESS {
            break;
        }
        assert_eq!(status, Status::BUFFER_OVERFLOW);
        next = page.last().map(|(offset, len)| offset + len).unwrap();
    }
    assert_eq!((pages, ranges), (5, 5000));
}

#[test]
fn seed_without_the_mark_the_same_costs_everything() {
    let mut w = World::new();
    let id = w.file("\\f");
    w.put(id, 16 * MIB, 1);
    assert_eq!(w.allocated(id), 16 * MIB + 4096);
    assert_eq!(w.zero(id, 0, 16 * MIB), Status::SUCCESS);
    assert_eq!(w.allocated(id), 16 * MIB + 4096);
}
