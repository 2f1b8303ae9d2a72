//! NTFS made by mkntfs, filled and emptied by ntfs-3g: judged by ntfsfix and ntfsinfo.
#![cfg(unix)]

mod disks;
mod judge;
mod mounted;

use std::fs;

use judge::{content, judge};
use mounted::Image;

const MIB: u64 = 1 << 20;

/// A size, and how mkntfs is called.
const RECIPES: [(u64, &[&str]); 9] = [
    (16 * MIB, &[]),
    (64 * MIB, &["-L", "DISK"]),
    (64 * MIB, &["-c", "512"]),
    (64 * MIB, &["-c", "2048"]),
    (128 * MIB, &["-c", "65536"]),
    (600 * MIB, &["-c", "262144"]),
    (64 * MIB, &["-s", "4096"]),
    (64 * MIB, &["-C"]),
    (300 * MIB + 512 * 5, &[]),
];

fn formatted(arguments: &[&str], len_bytes: u64) -> Option<Image> {
    let quietly = ["-F", "-q", "-Q", "-p", "0", "-H", "255", "-S", "63"];
    Image::formatted("mkntfs", &[&quietly, arguments].concat(), len_bytes)
}

/// ntfsfix is content, and ntfsinfo counts as many free clusters. Gives what is free.
fn agree(image: &Image) -> Option<Vec<block_device::ByteRange>> {
    content("ntfsfix", &["-n", image.name()])?;
    let said = content("ntfsinfo", &["-m", image.name()])?;
    let figure = |what: &str| -> u64 {
        let line = said.lines().find_map(|line| line.trim().strip_prefix(what));
        line.and_then(|line| line.split_whitespace().next()?.parse().ok()).unwrap_or_else(|| panic!("{what}: {said}"))
    };
    let free = image.free().unwrap();
    let bytes: u64 = free.iter().map(|range| range.len()).sum();
    assert_eq!(bytes, figure("Free Clusters:") * figure("Cluster Size:"), "{said}");
    Some(free)
}

#[test]
fn what_mkntfs_makes_is_as_free_as_ntfsinfo_says() {
    for (len_bytes, arguments) in RECIPES {
        let Some(image) = formatted(arguments, len_bytes) else { return };
        if agree(&image).is_none() {
            return;
        }
    }
}

#[test]
fn law1_noise_in_all_that_is_free_harms_no_file() {
    for (seed, (len_bytes, arguments)) in RECIPES.into_iter().enumerate() {
        let Some(image) = formatted(arguments, len_bytes) else { return };
        let Some(mount) = image.mount("ntfs-3g", true) else { return };
        let files = if len_bytes > 16 * MIB { 120 } else { 30 };
        mount.fill_and_thin(files, 200_000, seed as u64);
        // A sparse file with data at both ends.
        let sparse = fs::File::create(mount.path().join("sparse")).unwrap();
        sparse.set_len(4 << 20).unwrap();
        std::os::unix::fs::FileExt::write_all_at(&sparse, &[7; 9000], 3 << 20).unwrap();
        drop(sparse);
        let before = mount.files();
        assert!(before.len() > 20);
        drop(mount);
        let Some(free) = agree(&image) else { return };
        assert!(free.len() > 3, "{arguments:?}: {free:?}");
        image.spoil(&free);
        assert_eq!(agree(&image).unwrap(), free);
        let mount = image.mount("ntfs-3g", true).unwrap();
        assert!(mount.files() == before, "{arguments:?}");
    }
}

/// A file in so many pieces that its run list needs records of its own, and an attribute list to name them.
#[test]
fn law1_a_file_in_thousands_of_pieces_keeps_them_all() {
    let Some(image) = formatted(&["-c", "512"], 24 * MIB) else { return };
    let Some(mount) = image.mount("ntfs-3g", true) else { return };
    let place = |number: u32| mount.path().join(format!("{number}"));
    let mut number = 0;
    // One cluster each, until it is full; what is resident has none.
    while fs::write(place(number), vec![number as u8; 1000]).is_ok() {
        number += 1;
    }
    for number in (0..number).step_by(2) {
        fs::remove_file(place(number)).unwrap();
    }
    let pieces = u64::from(number) / 2 * 1024;
    fs::write(mount.path().join("large"), vec![9; pieces as usize * 6 / 10]).unwrap();
    let before = mount.files();
    drop(mount);
    let listed = judge("ntfsinfo", &["-F", "/large", image.name()]).unwrap();
    let listed = String::from_utf8_lossy(&listed.stdout).into_owned();
    assert!(listed.contains("$ATTRIBUTE_LIST"), "{listed}");
    let Some(free) = agree(&image) else { return };
    image.spoil(&free);
    assert!(image.mount("ntfs-3g", true).unwrap().files() == before);
}

#[test]
fn section8_what_ntfsfix_marks_for_chkdsk_is_left_alone() {
    let Some(image) = formatted(&[], 64 * MIB) else { return };
    image.free().unwrap();
    // Without -n it marks the volume as dirty, so that Windows checks it.
    let Some(_) = content("ntfsfix", &[image.name()]) else { return };
    let error = image.free().unwrap_err();
    assert!(error.to_string().contains("not unmounted cleanly"), "{error}");
}

#[test]
fn section8_a_hibernated_windows_is_left_alone() {
    let Some(image) = formatted(&[], 64 * MIB) else { return };
    let Some(mount) = image.mount("ntfs-3g", true) else { return };
    let header = |magic: &[u8]| [magic, &vec![0; 65536]].concat();
    fs::write(mount.path().join("hiberfil.sys"), header(b"hibr")).unwrap();
    drop(mount);
    let error = image.free().unwrap_err();
    assert!(error.to_string().contains("Windows is hibernated"), "{error}");
    assert!(error.advice().unwrap().contains("shutdown /s"), "{error}");
}
