//! A raw image keeps every law of a disk on each file system of Linux.
#![cfg(target_os = "linux")]

use block_device::conformance::Fixture;
use block_device::{Disk, RangeLocked, ZeroDetect};
use disk_image::{Format, Image};
use sparse_file::Allocation;
use test_places as places;
use test_places::Place;

fn image_in(place: Place, len_bytes: u64) -> Fixture {
    let image = Image::create(&place.path("disk.img"), len_bytes, Format::Raw, Allocation::Sparse);
    let disk = image.unwrap_or_else(|error| panic!("{}: {error}", place.name)).disk;
    Fixture { keep: Box::new(place), disk }
}

fn here() -> Option<Place> {
    places::always().into_iter().find(|place| place.name == "here")
}

fn tmpfs() -> Option<Place> {
    places::always().into_iter().find(|place| place.name == "tmpfs")
}

block_device::conformance_suite!(raw_here, |len| here().map(|place| image_in(place, len)));
block_device::conformance_suite!(raw_on_tmpfs, |len| tmpfs().map(|place| image_in(place, len)));
block_device::conformance_suite!(raw_on_ext4, |len| places::mounted("ext4").map(|place| image_in(place, len)));
block_device::conformance_suite!(raw_on_xfs, |len| places::mounted("xfs").map(|place| image_in(place, len)));
block_device::conformance_suite!(raw_on_btrfs, |len| places::mounted("btrfs").map(|place| image_in(place, len)));
// No holes, no zero range, no fallocate: everything is written, and discards are ignored.
block_device::conformance_suite!(raw_on_ext2, |len| places::mounted("ext2").map(|place| image_in(place, len)));
block_device::conformance_suite!(as_served, |len| here().map(|place| {
    let Fixture { keep, disk } = image_in(place, len);
    let detecting = Disk::new(ZeroDetect::new(disk)).unwrap();
    Fixture { keep, disk: Disk::new(RangeLocked::new(detecting)).unwrap() }
}));
