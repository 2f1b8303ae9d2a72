//! Images with a partition table.

use std::fs::{self};
use std::os::unix::fs::{FileExt, FileTypeExt, MetadataExt};
use std::path::PathBuf;
use std::process::Command;

use attach::{AttachOptions, KnownPartition, find, trim_mounted};
use disk_types::ByteRange;
use rustix::mount::MountFlags;

use crate::machine::{Image, MIB, attribute, detach, machine_alone_has, machine_has, run};

/// An MBR with one entry for each range.
fn write_mbr(image: &Image, partitions: &[KnownPartition]) {
    let mut sector = [0; 512];
    for (entry, partition) in sector[446..510].chunks_exact_mut(16).zip(partitions) {
        entry[4] = 0x83;
        entry[8..12].copy_from_slice(&((partition.range.start() / 512) as u32).to_le_bytes());
        entry[12..16].copy_from_slice(&((partition.range.len() / 512) as u32).to_le_bytes());
    }
    sector[510..].copy_from_slice(&[0x55, 0xAA]);
    image.open().write_all_at(&sector, 0).expect("write");
}

fn partition(number: u32, start: u64, len_bytes: u64) -> KnownPartition {
    KnownPartition { number, range: ByteRange::at(start, len_bytes).expect("a range") }
}

fn ext4_at(image: &Image, offset: u64) {
    let place = format!("offset={offset}");
    run(Command::new("mke2fs").args(["-q", "-F", "-t", "ext4", "-E", &place]).arg(&image.path).arg("16M"));
}

#[test]
fn partitions_appear_and_the_first_file_system_among_them_is_mounted() {
    let Some(_turn) = machine_has(&["mke2fs"]) else { return };
    let image = Image::new(64 * MIB);
    let partitions = vec![partition(1, MIB, MIB), partition(2, 2 * MIB, 16 * MIB), partition(3, 20 * MIB, 16 * MIB)];
    write_mbr(&image, &partitions);
    ext4_at(&image, 2 * MIB);
    ext4_at(&image, 20 * MIB);
    let directory = image.mount_point("at");
    let options =
        AttachOptions { read_only: false, mount_at: Some(directory.clone()), partitions, ..AttachOptions::default() };
    let attached = image.attach(&options).expect("attach");
    let node = |number| PathBuf::from(format!("{}p{number}", attached.device.display()));
    for number in 1..=3 {
        assert!(fs::metadata(node(number)).is_ok_and(|node| node.file_type().is_block_device()), "{number}");
    }
    assert_eq!(attribute(&attached.device, &format!("{}/start", node(2).file_name().unwrap().display())), "4096");
    assert_eq!(attached.mounted_at, [directory.as_path()]);
    let left = format!("partition 3: ext4 is not mounted: {}", node(3).display());
    assert!(attached.notes.contains(&left), "{:?}", attached.notes);
    fs::write(directory.join("file"), "in the second partition").expect("write");
    // By the node of a partition, and of one that is not mounted at that.
    assert_eq!(detach(&node(1)).expect("detach").mounted_at, [directory.as_path()]);
    for number in 1..=3 {
        assert!(!node(number).exists(), "{} stayed behind", node(number).display());
    }
    image.assert_untouched();
}

#[test]
fn every_mount_point_of_every_partition_is_unmounted() {
    let Some(_turn) = machine_has(&["mke2fs"]) else { return };
    let image = Image::new(64 * MIB);
    let partitions = vec![partition(1, 2 * MIB, 16 * MIB), partition(2, 20 * MIB, 16 * MIB)];
    write_mbr(&image, &partitions);
    ext4_at(&image, 2 * MIB);
    ext4_at(&image, 20 * MIB);
    let [first, second, third] = ["first", "second", "third"].map(|name| image.mount_point(name));
    let options =
        AttachOptions { read_only: false, mount_at: Some(first.clone()), partitions, ..AttachOptions::default() };
    let attached = image.attach(&options).expect("attach");
    let node = format!("{}p2", attached.device.display());
    rustix::mount::mount(node.as_str(), &second, "ext4", MountFlags::empty(), None).expect("mount");
    rustix::mount::mount_bind(&first, &third).expect("bind");
    let all = [first, second, third];
    assert_eq!(find(&image.path).expect("find").expect("attached").mounted_at, all);
    assert!(trim_mounted(&attached).expect("trim") <= 32 * MIB, "a file system was trimmed twice");
    assert_eq!(detach(&all[1]).expect("detach").mounted_at, all);
    image.assert_untouched();
}

/// Runs itself again in a mount namespace of its own, whose /dev is a plain tmpfs as in a container.
#[test]
fn where_dev_is_not_the_kernels_the_nodes_are_made_and_removed_again() {
    const INSIDE: &str = "SPARSEDISK_TEST_PLAIN_DEV";
    let Some(_turn) = machine_alone_has(&["mke2fs", "unshare"]) else { return };
    if std::env::var_os(INSIDE).is_none() {
        let name = "partitioned::where_dev_is_not_the_kernels_the_nodes_are_made_and_removed_again";
        let test = std::env::current_exe().expect("this test");
        let inside = run(Command::new("unshare").arg("-m").arg(test).args(["--exact", name]).env(INSIDE, "1"));
        assert!(inside.contains("1 passed"), "{inside}");
        return;
    }
    let image = Image::new(64 * MIB);
    let partitions = vec![partition(1, 2 * MIB, 16 * MIB)];
    write_mbr(&image, &partitions);
    ext4_at(&image, 2 * MIB);
    let directory = image.mount_point("at");
    let control = fs::metadata("/dev/loop-control").expect("the control device").rdev();
    rustix::mount::mount("none", "/dev", "tmpfs", MountFlags::empty(), None).expect("mount");
    let control_node = (rustix::fs::FileType::CharacterDevice, rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR);
    rustix::fs::mknodat(rustix::fs::CWD, "/dev/loop-control", control_node.0, control_node.1, control).expect("mknod");

    let options =
        AttachOptions { read_only: false, mount_at: Some(directory.clone()), partitions, ..AttachOptions::default() };
    let attached = image.attach(&options).expect("attach");
    let node = PathBuf::from(format!("{}p1", attached.device.display()));
    assert!(attached.device.exists() && node.exists());
    assert_eq!(attached.mounted_at, [directory.as_path()]);
    detach(&directory).expect("detach");
    assert!(!node.exists(), "the partition's node stayed behind");
    image.assert_untouched();
}
