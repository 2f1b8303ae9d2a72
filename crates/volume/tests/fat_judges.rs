//! Volumes made and filled by dosfstools and mtools, who also say what is free.
#![cfg(unix)]

mod disks;
mod judge;

use std::path::Path;

use block_device::Error;
use disks::{load, read};
use judge::{content, judge};
use volume::fat::{Fat, files};

/// One way to call mkfs.vfat, and how large the image is.
struct Recipe {
    mib: u64,
    arguments: &'static [&'static str],
}

const RECIPES: [Recipe; 10] = [
    Recipe { mib: 2, arguments: &["-F", "12"] },
    Recipe { mib: 8, arguments: &["-F", "12", "-s", "8", "-f", "1"] },
    Recipe { mib: 16, arguments: &["-F", "16"] },
    Recipe { mib: 64, arguments: &["-F", "16", "-s", "4", "-r", "1024"] },
    Recipe { mib: 40, arguments: &["-F", "32", "-s", "1"] },
    Recipe { mib: 300, arguments: &["-F", "32", "-s", "8"] },
    Recipe { mib: 260, arguments: &["-F", "32", "-n", "THUMB", "-R", "100"] },
    Recipe { mib: 300, arguments: &["-F", "32", "-S", "4096", "-s", "1"] },
    Recipe { mib: 40, arguments: &["-F", "16", "-S", "4096", "-s", "2"] },
    Recipe { mib: 40, arguments: &["-F", "32", "-s", "1", "--mbr=yes"] },
];

fn agree(image: &Path) {
    let name = image.to_str().unwrap();
    let disk = load(image);
    let found = volume::inspect(&disk).unwrap();
    assert!(found.table.is_none(), "{found:?}");
    let [volume] = &found.volumes[..] else { panic!("{found:?}") };
    let checked = Fat::open(&disk).unwrap().check().unwrap();

    // fsck counts clusters, and the root of FAT32 among them.
    let Some(said) = content("fsck.vfat", &["-n", "-v", name]) else { return };
    let total = Fat::open(&disk).unwrap().layout().clusters;
    let line = format!("{}/{total} clusters", checked.used_clusters);
    assert!(said.contains(&line), "{line}: {said}");

    // mtools counts bytes; it calls an empty root an error.
    let Some(listed) = judge("mdir", &["-i", name, "::"]) else { return };
    let listing = String::from_utf8_lossy(&listed.stdout);
    let free_line = listing.lines().rev().find(|line| line.ends_with("bytes free"));
    assert!(free_line.is_some() || checked.files == 0, "{listing}");
    let digits = free_line.map(|line| line.chars().filter(char::is_ascii_digit).collect::<String>());
    let free = digits.map_or_else(|| volume.free_bytes.unwrap(), |digits| digits.parse().unwrap());
    assert_eq!(volume.free_bytes, Some(free), "{listing}");
    let ranges: Vec<_> = volume::free_space(&disk, volume).unwrap().collect::<Result<_, Error>>().unwrap();
    assert_eq!(ranges.iter().map(|range| range.len()).sum::<u64>(), free);

    // Every file that mtools can read has the same bytes in its clusters, and none of them is free.
    files(&disk, &mut |file| {
        assert!(file.runs.iter().all(|run| ranges.iter().all(|free| free.intersect(*run).is_none())));
        if file.is_directory {
            return Ok(());
        }
        let mut bytes: Vec<u8> = file.runs.iter().flat_map(|run| read(&disk, run.start(), run.len())).collect();
        bytes.truncate(file.size_bytes as usize);
        let expected = content("mtype", &["-i", name, &format!("::{}", file.path)]).unwrap();
        assert_eq!(String::from_utf8_lossy(&bytes), expected, "{}", file.path);
        Ok(())
    })
    .unwrap();
}

#[test]
fn free_clusters_agree_with_fsck_and_mtools_while_files_come_and_go() {
    let directory = tempfile::tempdir().unwrap();
    let source = directory.path().join("source");
    for (number, recipe) in RECIPES.iter().enumerate() {
        let image = directory.path().join(format!("{number}.img"));
        let name = image.to_str().unwrap();
        std::fs::File::create(&image).unwrap().set_len(recipe.mib << 20).unwrap();
        if content("mkfs.vfat", &[recipe.arguments, &[name]].concat()).is_none() {
            return;
        }
        eprintln!("{:?}", recipe.arguments);
        agree(&image);
        let put = |path: &str, len: usize| {
            std::fs::write(&source, "0123456789abcdef".repeat(len.div_ceil(16)).split_at(len).0).unwrap();
            content("mcopy", &["-i", name, source.to_str().unwrap(), &format!("::{path}")])
        };
        if put("first.txt", 1).is_none() {
            return;
        }
        put("gone.bin", 70_000);
        put("A rather long name, with a dot. And an end.jpeg", 40_000);
        content("mmd", &["-i", name, "::photos", "::photos/holiday in spring"]);
        // More entries than one cluster of the directory holds.
        for index in 0..40 {
            put(&format!("photos/holiday in spring/picture number {index}.jpg"), 100 * index);
        }
        agree(&image);
        content("mdel", &["-i", name, "::gone.bin", "::photos/holiday in spring/picture number 7.jpg"]);
        // Goes where the others were, in pieces.
        put("pieces.bin", 200_000);
        agree(&image);
        let disk = load(&image);
        let mut paths = Vec::new();
        files(&disk, &mut |file| {
            paths.push(file.path.clone());
            Ok(())
        })
        .unwrap();
        assert_eq!(paths.len(), 3 + 1 + 2 + 39, "{paths:?}");
        assert!(paths.contains(&"/A rather long name, with a dot. And an end.jpeg".to_owned()));
        assert!(paths.contains(&"/photos/holiday in spring/picture number 39.jpg".to_owned()));
    }
}

#[test]
fn the_label_is_what_mtools_says() {
    let directory = tempfile::tempdir().unwrap();
    let image = directory.path().join("label.img");
    let name = image.to_str().unwrap();
    std::fs::File::create(&image).unwrap().set_len(16 << 20).unwrap();
    if content("mkfs.vfat", &["-n", "FIRST", name]).is_none() {
        return;
    }
    let label = || volume::inspect(&load(&image)).unwrap().volumes[0].label.clone();
    assert_eq!(label().as_deref(), Some("FIRST"));
    if content("mlabel", &["-i", name, "::Second one"]).is_some() {
        assert_eq!(label().as_deref(), Some("SECOND ONE"));
    }
}
