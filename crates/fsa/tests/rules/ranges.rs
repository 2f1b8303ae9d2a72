//! Facts 1.3: FSCTL_QUERY_ALLOCATED_RANGES. And 1.5: FSCTL_QUERY_FILE_REGIONS.

use fsa::{Access, Status, codes};

use crate::world::{KIB, MIB, World, pair, pairs};

const CU: u64 = 64 * KIB;

#[test]
fn fsa_1_3_invalid_parameters() {
    let mut w = World::new();
    let id = w.sparse("\\f");
    w.put(id, 0, 10);
    let max = i64::MAX as u64;
    for input in [vec![], pair(0, 1)[..15].to_vec(), pair(u64::MAX, 1), pair(0, u64::MAX), pair(1, max), pair(max, 1)] {
        assert_eq!(w.qar_status(id, &input, 64), (Status::INVALID_PARAMETER, 0), "{input:?}");
    }
    let directory = w.directory("\\d");
    assert_eq!(w.qar_status(directory, &pair(0, 1), 64).0, Status::INVALID_PARAMETER);
    assert_eq!(w.qar_status(id, &pair(0, max), 64), (Status::SUCCESS, 16));
}

#[test]
fn fsa_1_3_no_length_is_success_before_the_output_is_looked_at() {
    let mut w = World::new();
    let id = w.sparse("\\f");
    w.put(id, 0, 10);
    assert_eq!(w.qar_status(id, &pair(0, 0), 0), (Status::SUCCESS, 0));
}

#[test]
fn fsa_1_3_output_too_small_for_one_entry() {
    let mut w = World::new();
    let id = w.sparse("\\f");
    w.put(id, 0, 10);
    for output in [0, 1, 15] {
        assert_eq!(w.qar_status(id, &pair(0, 10), output), (Status::BUFFER_TOO_SMALL, 0));
    }
    assert_eq!(w.qar_status(id, &pair(10, 10), 0), (Status::SUCCESS, 0), "nothing to return fits into nothing");
}

#[test]
fn fsa_1_3_runs_are_coalesced_however_they_lie() {
    let mut w = World::new();
    let (a, b) = (w.sparse("\\a"), w.sparse("\\b"));
    for unit in 0..4 {
        w.put(a, unit * CU, CU);
        w.put(b, unit * CU, CU);
    }
    assert_eq!(w.details(a).extents, 4, "interleaved on the volume");
    assert_eq!(w.qar(a, 0, MIB), [(0, 4 * CU)]);
}

#[test]
fn fsa_1_3_cluster_granular_and_biased_to_the_request() {
    let mut w = World::new();
    let id = w.sparse("\\f");
    w.put(id, 0, 4 * CU);
    w.zero(id, CU, 2 * CU);
    assert_eq!(w.qar(id, 7, CU), [(7, CU - 7)]);
    assert_eq!(w.qar(id, CU + 7, CU), [(2 * CU, 7)]);
    assert_eq!(w.qar(id, CU + 7, 10), []);
}

#[test]
fn fsa_1_3_overflow_returns_whole_entries_and_resumes_page_by_page() {
    let mut w = World::new();
    let id = w.sparse("\\f");
    for unit in 0..1000 {
        w.put(id, unit * 4 * CU, CU);
    }
    let whole = w.qar(id, 0, 1 << 40);
    assert_eq!(whole.len(), 1000);
    for page in [16, 31, 160, 16 * 999, 16 * 1000 - 1] {
        let (mut next, end, mut found, mut calls) = (0, 1 << 40, Vec::new(), 0);
        loop {
            let mut output = vec![0; page];
            let (status, len) = w.control(id, codes::QUERY_ALLOCATED_RANGES, &pair(next, end - next), &mut output);
            assert_eq!(len % 16, 0);
            calls += 1;
            found.extend(pairs(&output[..len]));
            if status == Status::SUCCESS {
                break;
            }
            assert_eq!((status, len), (Status::BUFFER_OVERFLOW, page / 16 * 16));
            let (offset, length) = *found.last().unwrap();
            next = offset + length;
        }
        assert_eq!((found, calls), (whole.clone(), 1000_usize.div_ceil(page / 16)));
    }
}

#[test]
fn fsa_1_3_needs_read_data() {
    let mut w = World::new();
    w.sparse("\\f");
    for access in [Access::READ_ATTRIBUTES, Access::READ_EA, Access::WRITE_DATA] {
        let id = w.with_access("\\f", access);
        assert_eq!(w.qar_status(id, &pair(0, 1), 16).0, Status::ACCESS_DENIED);
    }
}

#[test]
fn fsa_1_3_ignores_locks() {
    let mut w = World::new();
    let id = w.sparse("\\f");
    w.put(id, 0, 4096);
    let other = w.file("\\f");
    w.lock(other, 0, 4096, 0, true).unwrap();
    assert_eq!(w.qar(id, 0, 4096), [(0, 4096)]);
}

#[test]
fn fsa_1_3_what_is_not_sparse_answers_with_the_request_clipped_to_the_end() {
    let mut w = World::new();
    let id = w.file("\\f");
    w.put(id, 0, 5000);
    assert_eq!(w.qar(id, 0, 5001), [(0, 5000)]);
    assert_eq!(w.qar(id, 4999, 1), [(4999, 1)]);
    assert_eq!(w.qar(id, 5000, 1), []);
    w.compress(id, 2);
    assert_eq!(w.qar(id, 0, 9999), [(0, 5000)], "compressed and not sparse: as the text says");
}

/// Flags, total, count and the regions of the answer.
fn regions(w: &mut World, id: fsa::OpenId, input: &[u8], output: usize) -> (Status, usize, Vec<(u64, u64, u64)>) {
    let mut buffer = vec![0xEE; output];
    let (status, len) = w.control(id, codes::QUERY_FILE_REGIONS, input, &mut buffer);
    let number = |at: usize| u64::from_le_bytes(buffer[at..at + 8].try_into().unwrap());
    let regions = (16..len).step_by(24).map(|at| (number(at), number(at + 8), number(at + 16))).collect();
    if len > 0 {
        assert_eq!(&buffer[..4], &[0; 4]);
        assert_eq!(u32::from_le_bytes(buffer[8..12].try_into().unwrap()) as usize, (len - 16) / 24);
    }
    (status, len, regions)
}

fn ask(offset: u64, len: u64, usage: u32) -> Vec<u8> {
    [pair(offset, len), usage.to_le_bytes().to_vec(), vec![0; 4]].concat()
}

#[test]
fn fsa_1_5_regions_tell_the_valid_data_length() {
    let mut w = World::new();
    let id = w.file("\\f");
    w.end(id, 10_000);
    w.put(id, 0, 4000);
    assert_eq!(regions(&mut w, id, &[], 64), (Status::SUCCESS, 64, vec![(0, 4000, 1), (4000, 6000, 0)]));
    assert_eq!(regions(&mut w, id, &ask(100, 50, 1), 64), (Status::SUCCESS, 40, vec![(100, 50, 1)]));
    assert_eq!(regions(&mut w, id, &ask(100, 50, 3), 64).2, [(100, 50, 1)], "the only usage that NTFS knows");
    assert_eq!(regions(&mut w, id, &ask(3000, 2000, 1), 64).2, [(3000, 1000, 1), (4000, 1000, 0)]);
    assert_eq!(regions(&mut w, id, &ask(5000, 99_999, 3), 64).2, [(5000, 5000, 0)]);
    assert_eq!(regions(&mut w, id, &ask(10_000, 1, 1), 64), (Status::SUCCESS, 0, vec![]));
    let (status, len, found) = regions(&mut w, id, &[], 63);
    assert_eq!((status, len, found), (Status::BUFFER_OVERFLOW, 40, vec![(0, 4000, 1)]));
    w.put(id, 0, 10_000);
    assert_eq!(regions(&mut w, id, &[], 64).2, [(0, 10_000, 1)]);
    w.end(id, 0);
    assert_eq!(regions(&mut w, id, &[], 64).2, [(0, 0, 0)], "an empty stream has one empty region");
}

#[test]
fn fsa_1_5_regions_refuse() {
    let mut w = World::new();
    let id = w.file("\\f");
    w.put(id, 0, 10);
    let max = i64::MAX as u64;
    for input in [ask(0, 0, 1), ask(0, u64::MAX, 1), ask(u64::MAX, 1, 1), ask(1, max, 1), ask(0, 1, 0), ask(0, 1, 2)] {
        assert_eq!(regions(&mut w, id, &input, 64).0, Status::INVALID_PARAMETER);
    }
    assert_eq!(regions(&mut w, id, &ask(0, 1, 1)[..23], 64).0, Status::BUFFER_TOO_SMALL);
    assert_eq!(regions(&mut w, id, &[], 39).0, Status::BUFFER_TOO_SMALL);
    let directory = w.directory("\\d");
    assert_eq!(regions(&mut w, directory, &[], 64).0, Status::INVALID_PARAMETER);
}
