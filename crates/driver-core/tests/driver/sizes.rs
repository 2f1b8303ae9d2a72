//! What a disk of any size says about itself, and that all of it agrees. The fuzz targets use it, too.

use disk_types::{DiskBounds, LogicalBlock};
use driver_core::geometry::Geometry;
use driver_core::{Completion, DiskFacts, DiskState, NtStatus, Request, SystemBuffer, Verdict, codes, dispatch};

pub(crate) fn facts(len_bytes: u64, sector: LogicalBlock) -> DiskFacts {
    DiskFacts {
        disk: 7,
        serial: 9,
        bounds: DiskBounds::new(len_bytes, sector).unwrap(),
        unit_bytes: 65536,
        read_only: false,
        removable: false,
        trims: true,
        physical_sector_bytes: 4096,
        alignment_mask: 1,
    }
}

pub(crate) fn ask<const N: usize>(facts: &DiskFacts, code: u32) -> [u8; N] {
    let mut bytes = [0xA5; N];
    let state = DiskState::new(0);
    let verdict = dispatch(facts, &state, Request::DeviceControl { code }, Some(SystemBuffer::new(&mut bytes, 0, N)));
    assert_eq!(verdict, Verdict::Complete(Completion { status: NtStatus::SUCCESS, information: N }), "{code:#x}");
    bytes
}

pub(crate) fn u32_at(bytes: &[u8], at: usize) -> u64 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap()).into()
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes[at..at + 8].try_into().unwrap())
}

/// Every IOCTL that says how long the disk is says the same.
pub(crate) fn check(len_bytes: u64, sector: LogicalBlock) {
    let facts = facts(len_bytes, sector);
    let geometry = Geometry::of(facts.bounds);
    assert!((1..=64).contains(&geometry.tracks) && (1..=32).contains(&geometry.sectors) && geometry.cylinders > 0);
    let per_cylinder = u64::from(geometry.tracks) * u64::from(geometry.sectors) * sector.bytes();
    assert_eq!(geometry.cylinders.checked_mul(per_cylinder), Some(len_bytes));
    assert!(i64::try_from(geometry.cylinders).is_ok());

    let plain: [u8; 24] = ask(&facts, codes::DISK_GET_DRIVE_GEOMETRY);
    assert_eq!(u64_at(&plain, 0) * u32_at(&plain, 12) * u32_at(&plain, 16) * u32_at(&plain, 20), len_bytes);
    assert_eq!((u32_at(&plain, 8), u32_at(&plain, 20)), (12, sector.bytes()));
    assert_eq!(ask::<24>(&facts, codes::DISK_GET_MEDIA_TYPES), plain);
    assert_eq!(ask::<24>(&facts, codes::STORAGE_GET_MEDIA_TYPES), plain);
    let extended: [u8; 40] = ask(&facts, codes::DISK_GET_DRIVE_GEOMETRY_EX);
    assert_eq!((&extended[..24], u64_at(&extended, 24), &extended[32..]), (&plain[..], len_bytes, &[0; 8][..]));
    assert_eq!(ask::<32>(&facts, codes::DISK_GET_DRIVE_GEOMETRY_EX), extended[..32]);
    assert_eq!(ask::<8>(&facts, codes::DISK_GET_LENGTH_INFO), len_bytes.to_le_bytes());
    let partition: [u8; 32] = ask(&facts, codes::DISK_GET_PARTITION_INFO);
    assert_eq!((u64_at(&partition, 0), u64_at(&partition, 8)), (0, len_bytes));
    let partition: [u8; 144] = ask(&facts, codes::DISK_GET_PARTITION_INFO_EX);
    assert_eq!((u32_at(&partition, 0), u64_at(&partition, 8), u64_at(&partition, 16)), (0, 0, len_bytes));
    let capacity: [u8; 32] = ask(&facts, codes::STORAGE_READ_CAPACITY);
    assert_eq!((u32_at(&capacity, 0), u32_at(&capacity, 4)), (32, 32));
    assert_eq!(u32_at(&capacity, 8) * u64_at(&capacity, 16), len_bytes);
    assert_eq!(u64_at(&capacity, 24), len_bytes);
}
