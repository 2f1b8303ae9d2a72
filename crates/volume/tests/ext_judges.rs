//! ext volumes made by mke2fs with many options, filled and emptied by debugfs: their free blocks are those that dumpe2fs
//! lists, one by one.

mod ext_image;
mod judge;

use std::fmt::Write;

use ext_image::{Image, dumpe2fs, free, has, superblock_free, total, write_file};
use judge::content;

/// How large, and how mke2fs is called.
type Recipe = (u64, &'static [&'static str]);

const RECIPES: &[Recipe] = &[
    (8, &["-t", "ext2"]),
    (8, &["-t", "ext2", "-r", "0"]),
    (40, &["-t", "ext2", "-b", "2048", "-O", "^sparse_super,^resize_inode"]),
    (40, &["-t", "ext2", "-b", "4096", "-O", "meta_bg,^resize_inode", "-g", "256"]),
    (16, &["-t", "ext3", "-b", "1024"]),
    (64, &["-t", "ext3", "-b", "4096", "-J", "size=8"]),
    (64, &["-t", "ext4"]),
    (300, &["-t", "ext4"]),
    (64, &["-t", "ext4", "-b", "1024"]),
    (64, &["-t", "ext4", "-b", "1024", "-O", "^64bit"]),
    (64, &["-t", "ext4", "-b", "1024", "-O", "^flex_bg"]),
    (64, &["-t", "ext4", "-b", "1024", "-G", "4"]),
    (64, &["-t", "ext4", "-b", "1024", "-G", "4096", "-g", "1024"]),
    (64, &["-t", "ext4", "-b", "1024", "-O", "^metadata_csum,uninit_bg"]),
    (64, &["-t", "ext4", "-b", "1024", "-O", "^metadata_csum,uninit_bg,64bit,^flex_bg"]),
    (64, &["-t", "ext4", "-b", "1024", "-O", "^metadata_csum,^uninit_bg"]),
    (64, &["-t", "ext4", "-b", "1024", "-O", "meta_bg,^resize_inode"]),
    (64, &["-t", "ext4", "-b", "1024", "-O", "meta_bg,^resize_inode,^flex_bg,^64bit", "-g", "512"]),
    (64, &["-t", "ext4", "-b", "4096", "-O", "bigalloc", "-C", "16384"]),
    (200, &["-t", "ext4", "-b", "1024", "-O", "bigalloc", "-C", "16384"]),
    (64, &["-t", "ext4", "-b", "4096", "-O", "bigalloc,^metadata_csum,uninit_bg", "-C", "65536", "-g", "1024"]),
    (64, &["-t", "ext4", "-b", "1024", "-O", "bigalloc,meta_bg,^resize_inode", "-C", "2048"]),
    (64, &["-t", "ext4", "-b", "1024", "-O", "sparse_super2"]),
    (64, &["-t", "ext4", "-b", "1024", "-O", "sparse_super2", "-E", "num_backup_sb=1"]),
    (64, &["-t", "ext4", "-b", "1024", "-O", "sparse_super2,^resize_inode", "-E", "num_backup_sb=0"]),
    (64, &["-t", "ext4", "-b", "1024", "-E", "packed_meta_blocks=1"]),
    (64, &["-t", "ext4", "-b", "1024", "-E", "resize=4000000"]),
    (64, &["-t", "ext4", "-O", "metadata_csum_seed,inline_data,ea_inode,large_dir,verity"]),
    (64, &["-t", "ext4", "-O", "encrypt,stable_inodes,orphan_file", "-I", "1024"]),
    (64, &["-t", "ext4", "-O", "casefold,fast_commit", "-J", "size=8"]),
    (64, &["-t", "ext4", "-O", "mmp,^has_journal", "-N", "20000"]),
    (64, &["-t", "ext4", "-I", "128", "-N", "128"]),
    (200, &["-t", "ext4", "-b", "16384"]),
    (600, &["-t", "ext4", "-b", "65536"]),
    // The last group is as short as it may be.
    (65, &["-t", "ext4", "-b", "1024", "-E", "lazy_itable_init=0,lazy_journal_init=0"]),
    // As WSL makes them, but for the size.
    (40 << 10, &["-t", "ext4", "-G", "4096"]),
];

fn agree(image: &Image, what: &str) {
    image.fsck();
    let disk = image.disk();
    let found = volume::inspect(&disk).unwrap();
    let ours = free(&disk).unwrap_or_else(|error| panic!("{what}: {error}"));
    assert_eq!(ours, dumpe2fs(&image.path), "{what}");
    assert_eq!(total(&ours), superblock_free(&image.path), "{what}");
    assert_eq!(found.volumes[0].free_bytes, Some(total(&ours)), "{what}");
}

#[test]
fn free_blocks_are_those_of_dumpe2fs_while_files_come_and_go() {
    if !has("dumpe2fs", &["-V"]) || !has("debugfs", &["-V"]) {
        return;
    }
    for (mib, arguments) in RECIPES {
        let what = arguments.join(" ");
        eprintln!("{what}");
        let Some(image) = Image::made(*mib, arguments) else { return };
        agree(&image, &what);
        // Files of all sizes, every third deleted, and one large one in the gaps that they leave.
        let source = image.directory.path().join("source");
        let mut commands = String::from("mkdir sub\ncd sub\n");
        for number in 0..30_usize {
            let from = image.directory.path().join(format!("source{number}"));
            commands += &write_file(&from, &format!("file{number}"), (number * 7919) % 90_000 + 1, 1);
        }
        for number in (0..30).step_by(3) {
            writeln!(commands, "rm file{number}").unwrap();
        }
        image.debugfs(&commands);
        agree(&image, &what);
        image.debugfs(&write_file(&source, "large", 1 << 20, 3));
        agree(&image, &what);
    }
}

#[test]
fn free_blocks_are_those_of_dumpe2fs_after_tune2fs_and_resize2fs() {
    if !has("dumpe2fs", &["-V"]) {
        return;
    }
    let Some(image) = Image::made(64, &["-t", "ext4", "-b", "1024", "-O", "metadata_csum_seed"]) else { return };
    // Under metadata_csum_seed the checksums stay those of the first UUID.
    content("tune2fs", &["-U", "random", image.name()]).unwrap();
    agree(&image, "another UUID");
    std::fs::File::options().write(true).open(&image.path).unwrap().set_len(200 << 20).unwrap();
    content("resize2fs", &[image.name()]).unwrap();
    agree(&image, "grown");
    content("resize2fs", &[image.name(), "30M"]).unwrap();
    agree(&image, "shrunk");
    // The bytes behind its end are nobody's, and not given.
    assert!(free(&image.disk()).unwrap().last().unwrap().end() <= 30 << 20);
    content("resize2fs", &["-s", image.name()]).unwrap();
    agree(&image, "32-bit");
    content("tune2fs", &["-O", "^has_journal", image.name()]).unwrap();
    agree(&image, "without a journal");
    content("tune2fs", &["-O", "^metadata_csum", image.name()]).unwrap();
    agree(&image, "without checksums");
    // debugfs does not keep the quota files.
    let Some(quota) = Image::made(64, &["-t", "ext4", "-O", "quota,project"]) else { return };
    agree(&quota, "quota");
    let Some(old) = Image::made(64, &["-t", "ext2", "-b", "1024"]) else { return };
    content("tune2fs", &["-j", old.name()]).unwrap();
    agree(&old, "a journal added");
}

/// Memory and time go with the groups, and not with the bytes.
#[test]
fn a_volume_of_16_tib_is_read() {
    if !has("dumpe2fs", &["-V"]) {
        return;
    }
    // One block less than what the file systems of most hosts let a file have.
    for arguments in [&["-t", "ext4"][..], &["-t", "ext4", "-O", "meta_bg,^resize_inode,^flex_bg"]] {
        let Some(image) = Image::made((16 << 20) - 1, &[arguments, &["-N", "1000000"]].concat()) else { return };
        assert_eq!(total(&free(&image.disk()).unwrap()), superblock_free(&image.path));
    }
}
