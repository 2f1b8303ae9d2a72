//! Which files become disks (law 10), and what attaching leaves.

use driver_abi::{AttachRequest, DiscardMode};
use driver_core::{FileFacts, NtStatus, Plan, Refusal, judge};
use fsa::{Access, Attributes, CreateOptions, Disposition, Kind, OperationKind, Options, Status, codes};

use crate::machine::{KIB, MIB, Machine, UNIT, attach_request, utf16};

fn good() -> FileFacts {
    FileFacts {
        attributes: 0x220,
        len_bytes: 1 << 30,
        device_type: 8,
        device_characteristics: 0,
        volume_flags: 0x40,
        host_sector_bytes: 512,
        cluster_bytes: 4096,
        alignment_mask: 511,
        on_own_disk: false,
    }
}

fn judged(facts: FileFacts, change: impl FnOnce(&mut AttachRequest<'_>)) -> Result<Plan, Refusal> {
    let path = utf16(r"\??\C:\disk.img");
    let mut request = attach_request(&path);
    change(&mut request);
    judge(&facts, &request)
}

#[test]
fn law10_each_refusal_has_its_reason() {
    let attributes = |bits| FileFacts { attributes: bits, ..good() };
    let device = |device_type, device_characteristics| FileFacts { device_type, device_characteristics, ..good() };
    let refused = [
        (attributes(0x10), Refusal::Directory),
        (attributes(0x400), Refusal::ReparsePoint),
        (attributes(0x410), Refusal::ReparsePoint),
        (attributes(0x4000), Refusal::Encrypted),
        (attributes(0xA00), Refusal::Compressed),
        (attributes(0x201), Refusal::ReadOnlyFile),
        (attributes(0x1200), Refusal::Remote),
        (attributes(0x4_0200), Refusal::Remote),
        (attributes(0x40_0200), Refusal::Remote),
        (device(0x14, 0), Refusal::Remote),
        (device(0x35, 0), Refusal::Remote),
        (device(8, 0x10), Refusal::Remote),
        (device(8, 0x2), Refusal::ReadOnlyFile),
        (device(3, 0), Refusal::ReadOnlyFile),
        (device(0x11, 0), Refusal::NotAFile),
        (device(0, 0), Refusal::NotAFile),
        (FileFacts { on_own_disk: true, ..good() }, Refusal::OnOwnDisk),
        (FileFacts { volume_flags: 0x8_0040, ..good() }, Refusal::ReadOnlyFile),
        (FileFacts { volume_flags: 0, ..good() }, Refusal::NoHoles),
        (FileFacts { host_sector_bytes: 4096, ..good() }, Refusal::HostSectorLarger),
        (FileFacts { len_bytes: 0, ..good() }, Refusal::Empty),
        (FileFacts { len_bytes: 513, ..good() }, Refusal::SizeNotSectors),
        (FileFacts { len_bytes: i64::MAX, ..good() }, Refusal::SizeNotSectors),
        (FileFacts { len_bytes: -1, ..good() }, Refusal::TooLarge),
    ];
    for (facts, reason) in refused {
        assert_eq!(judged(facts, |_| {}), Err(reason), "{facts:?}");
    }
    assert!(judged(FileFacts { len_bytes: i64::MAX - 511, ..good() }, |_| {}).is_ok());
    assert_eq!(
        judged(FileFacts { len_bytes: 512, ..good() }, |request| request.sector_bytes = 4096),
        Err(Refusal::SizeNotSectors)
    );
    assert!(judged(FileFacts { host_sector_bytes: 4096, ..good() }, |request| request.sector_bytes = 4096).is_ok());
}

#[test]
fn what_the_file_is_comes_before_what_is_in_it() {
    let worst =
        FileFacts { attributes: 0x4C11, device_type: 0x14, volume_flags: 0, len_bytes: 0, on_own_disk: true, ..good() };
    assert_eq!(judged(worst, |_| {}), Err(Refusal::Remote));
    assert_eq!(judged(FileFacts { device_type: 8, ..worst }, |_| {}), Err(Refusal::ReparsePoint));
}

#[test]
fn read_only_takes_what_cannot_be_written_and_frees_nothing() {
    let read_only =
        |facts| judged(facts, |request| (request.flags.read_only, request.flags.mark_sparse) = (true, true));
    for facts in [
        FileFacts { attributes: 1, ..good() },
        FileFacts { device_characteristics: 2, ..good() },
        FileFacts { volume_flags: 0x8_0040, ..good() },
    ] {
        let plan = read_only(facts).unwrap();
        assert!(plan.read_only && !plan.mark_sparse && !plan.zero_detection && !plan.trims, "{facts:?}");
    }
    assert_eq!(read_only(FileFacts { device_type: 3, volume_flags: 0, ..good() }), Err(Refusal::NoHoles));
    let cd = judged(FileFacts { device_type: 3, volume_flags: 0, ..good() }, |request| {
        (request.flags.read_only, request.flags.dense) = (true, true);
    });
    assert_eq!(cd.unwrap().unit_bytes, 0);
}

#[test]
fn only_a_file_with_holes_frees_and_detects() {
    let sparse = judged(good(), |_| {}).unwrap();
    assert_eq!(
        (sparse.unit_bytes, sparse.zero_detection, sparse.trims, sparse.mark_sparse),
        (65536, true, true, false)
    );
    assert!(!judged(good(), |request| request.flags.mark_sparse = true).unwrap().mark_sparse, "it is marked");
    let dense = judged(FileFacts { attributes: 0x20, ..good() }, |_| {}).unwrap();
    assert_eq!((dense.unit_bytes, dense.zero_detection, dense.trims, dense.mark_sparse), (0, false, false, false));
    let marked = judged(FileFacts { attributes: 0x20, ..good() }, |request| request.flags.mark_sparse = true).unwrap();
    assert_eq!((marked.unit_bytes, marked.zero_detection, marked.trims, marked.mark_sparse), (65536, true, true, true));
    let meant = judged(FileFacts { volume_flags: 0, ..good() }, |request| request.flags.dense = true).unwrap();
    assert_eq!((meant.unit_bytes, meant.zero_detection, meant.trims, meant.dense), (0, false, false, true));
    let ignoring = judged(good(), |request| {
        (request.discard, request.flags.zero_detection) = (DiscardMode::Ignore, false);
    });
    let ignoring = ignoring.unwrap();
    assert_eq!((ignoring.unit_bytes, ignoring.zero_detection, ignoring.trims), (65536, false, false));
}

#[test]
fn physical_sectors_lie_between_the_disks_sector_and_4096() {
    for (cluster, sector, physical) in [(512, 512, 512), (1024, 512, 1024), (65536, 512, 4096), (4096, 4096, 4096)] {
        let facts = FileFacts { cluster_bytes: cluster, ..good() };
        let plan = judged(facts, |request| request.sector_bytes = sector).unwrap();
        assert_eq!(plan.physical_sector_bytes, physical);
    }
}

#[test]
fn the_last_sector_is_written_once_and_keeps_what_it_holds() {
    let mut machine = Machine::new(Options::default());
    machine.make_file("disk.img", 8 * MIB, true);
    machine.attach("disk.img", |_| {}).unwrap();
    assert_eq!(machine.allocated(), [(8 * MIB - UNIT, 8 * MIB)]);
    assert_eq!(machine.read(8 * MIB - UNIT, UNIT as usize).unwrap(), [0; UNIT as usize]);
    assert!(machine.write(8 * MIB - 512, &[7; 512]).is_success());
    assert!(machine.detach(0, false).is_success());
    machine.attach("disk.img", |_| {}).unwrap();
    assert_eq!(machine.read(8 * MIB - 512, 512).unwrap(), [7; 512]);
    assert_eq!(machine.allocated(), [(8 * MIB - UNIT, 8 * MIB)]);
}

#[test]
fn law1_read_only_writes_nothing() {
    let mut machine = Machine::new(Options::default());
    machine.make_file("disk.img", 8 * MIB, true);
    machine.attach("disk.img", |request| request.flags.read_only = true).unwrap();
    assert_eq!(machine.allocated_bytes(), 0);
    assert_eq!(machine.write(0, &[1; 512]), NtStatus::MEDIA_WRITE_PROTECTED);
    assert_eq!(machine.trim(&[(0, UNIT)]), NtStatus::MEDIA_WRITE_PROTECTED);
    assert!(machine.flush().is_success());
    assert_eq!(machine.read(0, 512).unwrap(), [0; 512]);
}

#[test]
fn a_dense_file_is_marked_if_that_is_asked_and_frees_then() {
    let mut machine = Machine::new(Options::default());
    machine.make_file("disk.img", 8 * MIB, false);
    machine.attach("disk.img", |_| {}).unwrap();
    assert_eq!(machine.trim(&[(0, UNIT)]), NtStatus::NOT_SUPPORTED);
    assert!(machine.write(0, &[0; 65536]).is_success());
    assert_eq!(machine.allocated_bytes(), 8 * MIB);
    assert!(machine.detach(0, false).is_success());
    machine.attach("disk.img", |request| request.flags.mark_sparse = true).unwrap();
    assert!(machine.trim(&[(0, UNIT)]).is_success());
    assert_eq!(machine.allocated_bytes(), 8 * MIB - UNIT);
}

#[test]
fn a_host_that_cannot_mark_refuses_unless_dense_is_meant() {
    for status in [Status::NOT_SUPPORTED, Status::INVALID_DEVICE_REQUEST] {
        let mut machine = Machine::new(Options::default());
        machine.make_file("disk.img", MIB, false);
        let fail = |machine: &Machine| {
            machine.volume.borrow_mut().fail_nth(OperationKind::Control(codes::SET_SPARSE), 1, status);
        };
        fail(&machine);
        let attached = machine.attach("disk.img", |request| request.flags.mark_sparse = true);
        assert_eq!(attached, Err(Refusal::NoHoles.status()));
        fail(&machine);
        machine.attach("disk.img", |request| (request.flags.mark_sparse, request.flags.dense) = (true, true)).unwrap();
        assert!(machine.write(0, &[0; 65536]).is_success());
        assert_eq!(machine.trim(&[(0, UNIT)]), NtStatus::NOT_SUPPORTED);
    }
    let mut machine = Machine::new(Options::default());
    machine.make_file("disk.img", MIB, false);
    let kind = OperationKind::Control(codes::SET_SPARSE);
    machine.volume.borrow_mut().fail_nth(kind, 1, Status::MEDIA_WRITE_PROTECTED);
    let attached = machine.attach("disk.img", |request| request.flags.mark_sparse = true);
    assert_eq!(attached, Err(NtStatus::MEDIA_WRITE_PROTECTED), "any other reason is told as it is");
}

#[test]
fn law9_a_full_host_still_attaches_so_that_it_can_be_trimmed() {
    let options = Options { capacity_clusters: 64, ..Options::default() };
    let mut machine = Machine::new(options);
    machine.make_file("disk.img", 8 * MIB, true);
    machine.volume.borrow_mut().fill_at(Some(0));
    machine.attach("disk.img", |_| {}).unwrap();
    assert_eq!(machine.write(0, &[1; 512]), NtStatus::DISK_FULL);
    assert!(machine.trim(&[(0, UNIT)]).is_success());
}

#[test]
fn a_volume_without_holes_carries_a_disk_only_if_that_is_meant() {
    let options = Options { kind: Kind::ExFat, cluster_bytes: 32 * KIB, ..Options::default() };
    let mut machine = Machine::new(options);
    machine.make_file("disk.img", 8 * MIB, false);
    assert_eq!(machine.attach("disk.img", |_| {}), Err(Refusal::NoHoles.status()));
    let attached = machine.attach("disk.img", |request| request.flags.dense = true).unwrap();
    assert_eq!(attached.unit_bytes, 0);
    assert!(machine.write(4 * MIB, &[1; 512]).is_success());
    assert_eq!(machine.read(4 * MIB, 512).unwrap(), [1; 512]);
    assert!(machine.flush().is_success());
}

#[test]
fn a_larger_sector_of_the_host_is_refused() {
    let options = Options { sector_bytes: 4096, ..Options::default() };
    let mut machine = Machine::new(options);
    machine.make_file("disk.img", 8 * MIB, true);
    assert_eq!(machine.attach("disk.img", |_| {}), Err(Refusal::HostSectorLarger.status()));
    machine.attach("disk.img", |request| request.sector_bytes = 4096).unwrap();
    assert!(machine.write(4096, &[1; 4096]).is_success());
}

#[test]
fn encrypted_and_compressed_files_are_refused_as_the_volume_shows_them() {
    let mut machine = Machine::new(Options::default());
    {
        let mut volume = machine.volume.borrow_mut();
        let create = CreateOptions::new(Access::ALL, Disposition::Create);
        let encrypted = CreateOptions { attributes: Attributes::ENCRYPTED, ..create };
        let (file, _) = volume.create("\\encrypted.img", &encrypted).unwrap();
        volume.set_end_of_file(file, 1 << 20).unwrap();
        volume.close(file).unwrap();
        let (file, _) = volume.create("\\compressed.img", &create).unwrap();
        volume.set_end_of_file(file, 1 << 20).unwrap();
        assert!(volume.control(file, codes::SET_COMPRESSION, &[1, 0], &mut []).0.is_success());
        volume.close(file).unwrap();
    }
    assert_eq!(machine.attach("encrypted.img", |_| {}), Err(Refusal::Encrypted.status()));
    assert_eq!(machine.attach("compressed.img", |_| {}), Err(Refusal::Compressed.status()));
}

#[test]
fn law7_a_file_is_one_disk_at_a_time_unless_both_only_read() {
    let mut machine = Machine::new(Options::default());
    machine.make_file("disk.img", MIB, true);
    machine.attach("disk.img", |_| {}).unwrap();
    for read_only in [false, true] {
        let again = machine.attach("disk.img", |request| request.flags.read_only = read_only);
        assert_eq!(again, Err(NtStatus::SHARING_VIOLATION));
    }
    assert!(machine.detach(0, false).is_success());
    for disk in 0..2 {
        assert_eq!(machine.attach("disk.img", |request| request.flags.read_only = true).unwrap().disk, disk);
    }
    assert_eq!(machine.attach("disk.img", |_| {}), Err(NtStatus::SHARING_VIOLATION));
    assert_eq!(machine.attach("none.img", |_| {}), Err(NtStatus::OBJECT_NAME_NOT_FOUND));
}

#[test]
fn the_sixty_fifth_disk_is_refused_and_numbers_are_used_again() {
    let mut machine = Machine::new(Options::default());
    for disk in 0..=driver_abi::MAX_DISKS {
        machine.make_file(&format!("{disk}.img"), 512, true);
    }
    for disk in 0..driver_abi::MAX_DISKS {
        assert_eq!(machine.attach(&format!("{disk}.img"), |_| {}).unwrap().disk, disk);
    }
    assert_eq!(machine.attach("64.img", |_| {}), Err(Refusal::TooManyDisks.status()));
    assert!(machine.detach(17, false).is_success());
    assert_eq!(machine.attach("64.img", |_| {}).unwrap().disk, 17);
}
