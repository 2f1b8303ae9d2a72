//! Geometry for every size: nothing is lost to rounding.

use disk_types::{DiskBounds, LogicalBlock, MAX_OFFSET};
use driver_core::geometry::Geometry;
use driver_core::{DiskFacts, codes};
use proptest::prelude::*;

use crate::sizes::{ask, check, facts, u32_at};

#[test]
fn the_product_is_the_length_from_one_sector_to_the_largest_offset() {
    for sector in [LogicalBlock::B512, LogicalBlock::B4096] {
        let largest = MAX_OFFSET / sector.bytes();
        for sectors in [1, 2, 3, 31, 32, 33, 2047, 2048, 2049, 65_537, 4_294_967_291, largest - 1, largest] {
            check(sectors * sector.bytes(), sector);
        }
    }
}

#[test]
fn whole_mebibytes_have_the_geometry_of_scsi() {
    let geometry = Geometry::of(DiskBounds::new(10 << 30, LogicalBlock::B512).unwrap());
    assert_eq!((geometry.cylinders, geometry.tracks, geometry.sectors), (10 << 10, 64, 32));
}

#[test]
fn a_removable_disk_says_so_wherever_it_is_asked() {
    let facts = DiskFacts { removable: true, ..facts(1 << 20, LogicalBlock::B512) };
    assert_eq!(u32_at(&ask::<24>(&facts, codes::DISK_GET_DRIVE_GEOMETRY), 8), 11);
    assert_eq!(ask::<8>(&facts, codes::STORAGE_GET_HOTPLUG_INFO), [8, 0, 0, 0, 1, 0, 0, 0]);
}

proptest! {
    #[test]
    fn the_product_is_the_length_for_every_size(sectors in 1..=MAX_OFFSET / 512, shift in 0u32..54, large in any::<bool>()) {
        let sector = if large { LogicalBlock::B4096 } else { LogicalBlock::B512 };
        let sectors = (sectors >> shift).clamp(1, MAX_OFFSET / sector.bytes());
        check(sectors * sector.bytes(), sector);
    }
}
