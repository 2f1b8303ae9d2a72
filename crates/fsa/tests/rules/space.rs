//! Allocation: the budget of extents, a full volume, a failing store, failures on purpose.

use fsa::{ClusterStore, MemoryStore, OperationKind, Options, Status, StoreError, Volume, codes};

use crate::world::{KIB, MIB, World, data, pair};

const CU: u64 = 64 * KIB;

#[test]
fn fsa_2_an_extent_budget_refuses_writes_and_changes_nothing() {
    let mut w = World::of(Options { extent_budget: Some(3), ..Options::default() });
    let (id, other) = (w.sparse("\\a"), w.sparse("\\b"));
    w.put(id, 100 * CU - 1, 1);
    for unit in 0..2 {
        w.put(other, unit * CU, CU);
        w.put(id, unit * 4 * CU, CU);
    }
    assert_eq!(w.details(id).extents, 3);
    let (before, free) = (w.extents(id).unwrap(), w.free_clusters());
    w.put(other, 2 * CU, CU);
    assert_eq!(w.write(id, 50 * CU as i64, &[1]), Err(Status::FILE_SYSTEM_LIMITATION));
    assert_eq!((w.extents(id).unwrap(), w.free_clusters()), (before.clone(), free - CU / 4096));
    assert!(w.reads_zero(id, 50 * CU, CU));
    w.put(id, 4 * CU, CU);
    assert_eq!(w.extents(id).unwrap(), before, "overwriting goes on working");
    // Punching the middle of a run would make two of it.
    let dense = w.file("\\c");
    w.put(dense, 0, 8 * CU);
    w.set_sparse(dense, true);
    for unit in [2, 4] {
        assert_eq!(w.zero(dense, unit * CU, (unit + 1) * CU), Status::SUCCESS);
    }
    assert_eq!(w.details(dense).extents, 3);
    assert_eq!(w.zero(dense, 6 * CU, 7 * CU), Status::FILE_SYSTEM_LIMITATION);
    assert!(w.reads_data(dense, 6 * CU, CU) || w.bytes(dense, 6 * CU, 1) != [0]);
    assert_eq!(w.zero(dense, 0, 8 * CU), Status::SUCCESS, "fewer runs are always allowed");
}

#[test]
fn the_allocator_goes_on_where_the_stream_ends() {
    let mut w = World::new();
    let id = w.sparse("\\f");
    for unit in 0..16 {
        w.put(id, unit * CU, CU);
    }
    assert_eq!(w.details(id).extents, 1);
    assert_eq!(w.qar(id, 0, 16 * CU), [(0, 16 * CU)]);
}

#[test]
fn the_same_calls_bring_the_same_clusters() {
    let run = || {
        let mut w = World::new();
        let (a, b) = (w.sparse("\\a"), w.sparse("\\b"));
        for step in 0..50_u64 {
            w.put(a, step * 7919 % 64 * CU, 100);
            w.put(b, step * 104_729 % 64 * CU, 100);
            w.zero(a, step * 31 % 64 * CU, (step * 31 % 64 + 3) * CU);
        }
        (w.extents(a).unwrap(), w.extents(b).unwrap(), w.save())
    };
    assert_eq!(run(), run());
}

#[test]
fn a_volume_fills_and_recovers() {
    let mut w = World::clusters(4096, 64);
    let id = w.sparse("\\f");
    w.put(id, 0, 4 * CU);
    assert_eq!(w.free_clusters(), 0);
    assert_eq!(w.write(id, 4 * CU as i64, &[1]), Err(Status::DISK_FULL));
    assert_eq!((w.size(id), w.allocated(id)), (4 * CU, 4 * CU));
    w.put(id, 0, 4 * CU);
    assert_eq!(w.zero(id, 0, CU), Status::SUCCESS);
    w.put(id, 4 * CU, 1);
    assert_eq!(w.free_clusters(), 0);
    w.end(id, 0);
    w.close(id).unwrap();
    assert_eq!(w.free_clusters(), 64);
}

#[test]
fn the_nth_operation_of_a_kind_fails_once_and_does_nothing() {
    let mut w = World::new();
    let id = w.file("\\f");
    let status = Status::IO_DEVICE_ERROR;
    w.fail_nth(OperationKind::Write, 2, status);
    w.fail_nth(OperationKind::Read, 1, status);
    w.fail_nth(OperationKind::Control(codes::SET_SPARSE), 1, Status::DISK_FULL);
    assert_eq!(w.write(id, 0, &[1]), Ok(1));
    assert_eq!(w.write(id, 0, &[2, 2]), Err(status));
    assert_eq!(w.read(id, 0, &mut [0]), Err(status));
    assert_eq!(w.bytes(id, 0, 9), [1]);
    assert_eq!(w.write(id, 0, &[2]), Ok(1));
    assert_eq!(w.set_sparse(id, true), Status::DISK_FULL);
    assert!(!w.is_marked(id));
    for (kind, mut act) in [
        (
            OperationKind::Create,
            Box::new(|w: &mut World, _| w.open("\\f", fsa::Access::ALL).map(drop))
                as Box<dyn FnMut(&mut World, _) -> _>,
        ),
        (OperationKind::Delete, Box::new(|w: &mut World, id| w.set_disposition(id, true))),
        (OperationKind::SetEndOfFile, Box::new(|w: &mut World, id| w.set_end_of_file(id, 99))),
        (OperationKind::SetAllocation, Box::new(|w: &mut World, id| w.set_allocation(id, 0))),
        (OperationKind::SetValidDataLength, Box::new(|w: &mut World, id| w.set_valid_data_length(id, 0))),
        (OperationKind::Flush, Box::new(|w: &mut World, id| w.flush(id))),
        (OperationKind::Lock, Box::new(|w: &mut World, id| w.lock(id, 0, 1, 0, true))),
        (OperationKind::Unlock, Box::new(|w: &mut World, id| w.unlock(id, 0, 1, 0))),
        (OperationKind::Query, Box::new(|w: &mut World, id| w.standard_information(id).map(drop))),
        (OperationKind::Close, Box::new(|w: &mut World, id| w.close(id))),
    ] {
        w.fail_nth(kind, 1, status);
        assert_eq!(act(&mut w, id), Err(status), "{kind:?}");
    }
    w.fail_nth(OperationKind::Read, 1, status);
    w.clear_failures();
    assert_eq!(w.bytes(id, 0, 9), [2]);
}

#[test]
fn failures_due_at_one_operation_are_one() {
    let mut w = World::new();
    let id = w.file("\\f");
    w.fail_nth(OperationKind::Write, 2, Status::DISK_FULL);
    assert_eq!(w.write(id, 0, &[1]), Ok(1));
    w.fail_nth(OperationKind::Write, 1, Status::IO_DEVICE_ERROR);
    w.fail_nth(OperationKind::Write, 2, Status::FILE_LOCK_CONFLICT);
    assert_eq!(w.write(id, 0, &[2]), Err(Status::DISK_FULL));
    assert_eq!(w.write(id, 0, &[3]), Err(Status::FILE_LOCK_CONFLICT));
    assert_eq!(w.write(id, 0, &[4]), Ok(1));
}

/// Fails on the given call, counting every call that changes something; holds garbage where nothing was written.
struct Failing {
    inner: MemoryStore,
    left: u32,
}

impl Failing {
    fn count(&mut self) -> Result<(), StoreError> {
        self.left = self.left.checked_sub(1).ok_or(StoreError)?;
        Ok(())
    }
}

impl ClusterStore for Failing {
    fn read(&self, lcn: u64, at: u64, buffer: &mut [u8]) -> Result<(), StoreError> {
        self.inner.read(lcn, at, buffer)?;
        buffer.iter_mut().for_each(|byte| *byte ^= 0xA5);
        Ok(())
    }
    fn write(&mut self, lcn: u64, at: u64, data: &[u8]) -> Result<(), StoreError> {
        self.count()?;
        self.inner.write(lcn, at, &data.iter().map(|byte| byte ^ 0xA5).collect::<Vec<_>>())
    }
    fn zero(&mut self, lcn: u64, at: u64, len: u64) -> Result<(), StoreError> {
        self.write(lcn, at, &vec![0; len as usize])
    }
    fn free(&mut self, lcn: u64, clusters: u64) -> Result<(), StoreError> {
        self.count()?;
        self.inner.free(lcn, clusters)
    }
    fn flush(&mut self) -> Result<(), StoreError> {
        self.count()
    }
}

#[test]
fn a_store_that_fails_is_an_error_of_the_device_and_shows_no_garbage() {
    let mut seen = 0;
    for left in 0..40 {
        let store = Failing { inner: MemoryStore::new(4096), left: u32::MAX };
        let mut w = World(Volume::with_store(Options::default(), store).unwrap());
        let id = w.sparse("\\f");
        w.put(id, 0, 4 * CU);
        w.zero(id, CU, 2 * CU);
        w.end(id, MIB);
        let dense = w.file("\\d");
        w.end(dense, MIB);
        let free = w.free_clusters();
        w.store_mut().left = left;
        let outcomes = [
            w.write(id, CU as i64 + 10, &[7; 10]).err(),
            w.write(id, MIB as i64 - 1, &[7]).err(),
            Some(w.zero(id, 3 * CU - 5, 4 * CU)).filter(|status| status.is_error()),
            w.write(dense, 5000, &[7]).err(),
            Some(w.set_sparse(id, false)).filter(|status| status.is_error()),
            Some(w.compress(id, 2)).filter(|status| status.is_error()),
            w.flush(id).err(),
            w.close(dense).err(),
        ];
        for status in outcomes.into_iter().flatten() {
            assert_eq!(status, Status::IO_DEVICE_ERROR);
            seen += 1;
        }
        assert!(w.free_clusters() <= free);
        w.store_mut().left = u32::MAX;
        let bytes = w.bytes(id, 0, MIB);
        let written = data(4 * CU);
        for (at, &byte) in bytes.iter().enumerate() {
            let was =
                if at < CU as usize || (2 * CU as usize..4 * CU as usize).contains(&at) { written[at] } else { 0 };
            assert!(byte == was || byte == 0 || byte == 7, "{byte} at {at}, {left} calls");
        }
    }
    assert!(seen > 20, "{seen} failures seen");
}

#[test]
fn an_end_moved_over_a_failing_store_leaves_no_hole() {
    for through_allocation in [false, true] {
        let store = Failing { inner: MemoryStore::new(4096), left: u32::MAX };
        let mut w = World(Volume::with_store(Options::default(), store).unwrap());
        let id = w.file("\\f");
        w.put(id, 0, MIB);
        w.store_mut().left = 0;
        let answer = if through_allocation { w.set_allocation(id, 4096) } else { w.set_end_of_file(id, 4096) };
        assert_eq!(answer, Err(Status::IO_DEVICE_ERROR));
        assert_eq!((w.size(id), w.valid(id), w.allocated(id)), (4096, 4096, 4096));
        let again = Failing { inner: MemoryStore::new(4096), left: 0 };
        assert!(Volume::restore(&w.save(), again).is_ok());
    }
}

#[test]
fn compression_that_ends_over_a_failing_store_has_ended() {
    let store = Failing { inner: MemoryStore::new(4096), left: u32::MAX };
    let mut w = World(Volume::with_store(Options::default(), store).unwrap());
    let id = w.file("\\f");
    w.put(id, 0, 5000);
    assert_eq!(w.compress(id, 2), Status::SUCCESS);
    w.store_mut().left = 0;
    assert_eq!(w.compress(id, 0), Status::IO_DEVICE_ERROR);
    assert_eq!((w.compression(id), w.allocated(id)), (0, 8192));
    assert!(!w.attributes(id).contains(fsa::Attributes::COMPRESSED));
}

#[test]
fn volumes_that_cannot_be() {
    for options in [
        Options { cluster_bytes: 256, ..Options::default() },
        Options { cluster_bytes: 4 * MIB, ..Options::default() },
        Options { cluster_bytes: 3000, ..Options::default() },
        Options { cluster_bytes: 512, sector_bytes: 4096, ..Options::default() },
        Options { sector_bytes: 8192, ..Options::default() },
        Options { sector_bytes: 0, ..Options::default() },
        Options { cluster_bytes: 0, ..Options::default() },
        Options { capacity_clusters: 1 << 32, ..Options::default() },
    ] {
        let error = Volume::new(options).map(drop).unwrap_err();
        assert!(!error.to_string().is_empty());
    }
    let mut w = World::clusters(2 * MIB, fsa::MAX_CAPACITY_CLUSTERS);
    let id = w.file("\\f");
    let max = w.information().max_file_bytes;
    w.end(id, max - 2 * MIB);
    assert_eq!(w.control(id, codes::SET_ZERO_DATA, &pair(0, max), &mut []).0, Status::SUCCESS);
    let empty = World::clusters(4096, 0);
    assert_eq!(empty.free_clusters(), 0);
}

#[test]
fn statuses_print_their_names() {
    assert_eq!(Status::DISK_FULL.to_string(), "STATUS_DISK_FULL (0xc000007f)");
    assert_eq!(format!("{:?}", Status(0xC000_FFFF)), "NTSTATUS 0xc000ffff");
    assert!(
        Status::SUCCESS.is_success() && !Status::BUFFER_OVERFLOW.is_success() && !Status::BUFFER_OVERFLOW.is_error()
    );
    assert!(Status::DISK_FULL.is_error());
}
