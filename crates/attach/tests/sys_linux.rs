//! Attach and detach against the kernel of this machine: root, the loop driver and e2fsprogs are needed, and losetup
//! as the judge and as somebody else.
#![cfg(target_os = "linux")]

use std::ffi::OsStr;
use std::fs::{self, File, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, FileTypeExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use attach::{AttachOptions, Attached, KnownPartition, attach, detach, find, list, trim_mounted};
use disk_types::{ByteRange, Error, ErrorKind, Result};
use rustix::fs::FlockOperation;
use rustix::io::Errno;
use rustix::mount::MountFlags;
use tempfile::TempDir;

const MIB: u64 = 1 << 20;

/// An image in a directory of its own; what is attached of it is detached at the end, and nothing else.
struct Image {
    directory: TempDir,
    path: PathBuf,
}

impl Image {
    fn new(len_bytes: u64) -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let path = directory.path().join("disk.img");
        File::create_new(&path).and_then(|file| file.set_len(len_bytes)).expect("an image");
        Self { directory, path }
    }

    fn formatted(len_bytes: u64, program: &str, arguments: &[&str]) -> Self {
        let image = Self::new(len_bytes);
        run(Command::new(program).args(arguments).arg(&image.path));
        image
    }

    fn ext4(len_bytes: u64) -> Self {
        Self::formatted(len_bytes, "mke2fs", &["-q", "-F", "-t", "ext4"])
    }

    /// An empty directory beside the image.
    fn mount_point(&self, name: &str) -> PathBuf {
        let path = fs::canonicalize(self.directory.path()).expect("the directory").join(name);
        fs::create_dir(&path).expect("a mount point");
        path
    }

    fn open(&self) -> File {
        OpenOptions::new().read(true).write(true).open(&self.path).expect("the image")
    }

    /// Locks as sparse-file does, attaches, and lets go of the file.
    fn attach(&self, options: &AttachOptions) -> Result<Attached> {
        let file = if options.read_only { File::open(&self.path).expect("the image") } else { self.open() };
        lock(&file, options.read_only).expect("the image's lock");
        attach(&self.path, &file, options)
    }

    fn attach_at(&self, directory: &Path) -> Attached {
        let options = AttachOptions { mount_at: Some(directory.to_owned()), ..AttachOptions::default() };
        self.attach(&options).expect("attach")
    }

    fn allocated_bytes(&self) -> u64 {
        fs::metadata(&self.path).expect("the image").blocks() * 512
    }

    /// Nothing of an attach is left: no device, no mount below the image's directory, no lock.
    fn assert_untouched(&self) {
        assert_eq!(find(&self.path).expect("find"), None);
        let mounts = fs::read_to_string("/proc/self/mountinfo").expect("mountinfo");
        assert!(!mounts.contains(self.directory.path().to_str().expect("an ordinary name")));
        wait_until("the lock is gone", || lock(&self.open(), false).is_ok());
    }
}

impl Drop for Image {
    fn drop(&mut self) {
        let _ = detach(&self.path);
    }
}

/// Somebody else's loop device.
struct Losetup {
    device: PathBuf,
}

impl Losetup {
    fn of(image: &Path) -> Self {
        let output = run(Command::new("losetup").args(["--find", "--show"]).arg(image));
        Self { device: PathBuf::from(output.trim()) }
    }
}

impl Drop for Losetup {
    fn drop(&mut self) {
        let _ = Command::new("losetup").arg("-d").arg(&self.device).status();
    }
}

/// Takes the lock that sparse-file takes, if it is free.
fn lock(file: &File, shared: bool) -> rustix::io::Result<()> {
    let kind = if shared { FlockOperation::NonBlockingLockShared } else { FlockOperation::NonBlockingLockExclusive };
    rustix::fs::flock(file, kind)
}

/// What this machine must have, or the test is skipped.
fn machine_has(programs: &[&str]) -> bool {
    let missing = if !rustix::process::geteuid().is_root() {
        Some("not root".to_owned())
    } else if !Path::new("/dev/loop-control").exists() {
        Some("no loop devices".to_owned())
    } else {
        programs.iter().find(|program| Command::new(program).arg("-V").output().is_err()).map(|p| format!("no {p}"))
    };
    skip_unless(missing)
}

/// A driver in the kernel or a module of it.
fn kernel_has(file_system: &str) -> bool {
    let known = fs::read_to_string("/proc/filesystems").expect("/proc/filesystems");
    known.lines().any(|line| line.trim_start_matches("nodev").trim() == file_system)
}

fn skip_unless(missing: Option<String>) -> bool {
    let Some(why) = missing else { return true };
    assert!(std::env::var_os("SPARSEDISK_REQUIRE_ALL").is_none_or(|value| value != "1"), "required, but {why}");
    eprintln!("skipped: {why}");
    false
}

fn run(command: &mut Command) -> String {
    let output = command.output().expect("the program runs");
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("text")
}

/// Waits for a fact; the bound is only there so that a failure ends.
fn wait_until(fact: &str, mut is_so: impl FnMut() -> bool) {
    let began = Instant::now();
    while !is_so() {
        assert!(began.elapsed() < Duration::from_secs(30), "in vain: {fact}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

fn attribute(device: &Path, name: &str) -> String {
    let path = Path::new("/sys/block").join(device.file_name().expect("a device")).join(name);
    fs::read_to_string(path).expect("an attribute").trim_end().to_owned()
}

fn write_junk(path: &Path, len_bytes: u64) {
    let mut file = File::create(path).expect("a file");
    file.write_all(&vec![0xA5; len_bytes as usize]).expect("room");
    file.sync_all().expect("sync");
}

#[track_caller]
fn assert_error<T: std::fmt::Debug>(result: Result<T>, kind: ErrorKind, words: &[&str]) -> Error {
    let error = result.expect_err("an error");
    let text = error.to_string();
    assert_eq!(error.kind(), kind, "{text}");
    for word in words {
        assert!(text.contains(word), "{word:?} is not in: {text}");
    }
    error
}

#[test]
fn law7_the_lock_lives_as_long_as_the_device() {
    if !machine_has(&[]) {
        return;
    }
    let image = Image::new(4 * MIB);
    let attached = image.attach(&AttachOptions::default()).expect("attach");
    // The attaching File is dropped by now.
    assert_eq!(lock(&image.open(), false), Err(Errno::WOULDBLOCK), "the lock went with the file");
    assert_eq!(lock(&image.open(), true), Err(Errno::WOULDBLOCK));
    assert_eq!(detach(&image.path).expect("detach").device, attached.device);
    image.assert_untouched();
}

#[test]
fn the_device_is_the_image_with_512_byte_sectors_and_others_see_its_true_path() {
    if !machine_has(&["losetup"]) {
        return;
    }
    let image = Image::new(4 * MIB);
    let attached = image.attach(&AttachOptions::default()).expect("attach");
    let path = fs::canonicalize(&image.path).expect("a path");
    assert_eq!((&attached.image, attached.ours, attached.read_only), (&path, true, false));
    assert_eq!(attribute(&attached.device, "loop/backing_file"), path.to_str().expect("text"));
    let listed = run(Command::new("losetup").args(["-l", "-n", "-O", "BACK-FILE"]).arg(&attached.device));
    assert_eq!(listed.trim(), path.to_str().expect("text"));
    assert_eq!(attribute(&attached.device, "queue/logical_block_size"), "512");
    assert_eq!(attribute(&attached.device, "loop/partscan"), "1");
    let buffered = attribute(&attached.device, "loop/dio") == "0";
    assert_eq!(attached.notes.iter().any(|note| note.contains("direct I/O")), buffered, "{:?}", attached.notes);
    assert!(list().expect("list").contains(&Attached { notes: Vec::new(), ..attached.clone() }));
    assert_eq!(find(&image.path).expect("find"), Some(Attached { notes: Vec::new(), ..attached }));
}

#[test]
fn law1_what_is_written_to_the_device_is_in_the_image_after_detach() {
    if !machine_has(&[]) {
        return;
    }
    let image = Image::new(4 * MIB);
    let attached = image.attach(&AttachOptions::default()).expect("attach");
    let device = OpenOptions::new().write(true).open(&attached.device).expect("the device");
    // Not flushed by the writer: it may lie in the device's cache only.
    device.write_all_at(b"written through the device", 512 * 1000).expect("write");
    drop(device);
    detach(&attached.device).expect("detach");
    let mut content = [0; 26];
    image.open().read_exact_at(&mut content, 512 * 1000).expect("read");
    assert_eq!(&content, b"written through the device");
}

#[test]
fn the_discard_option_alone_gives_deleted_space_back() {
    if !machine_has(&["mke2fs"]) {
        return;
    }
    let image = Image::ext4(128 * MIB);
    let directory = image.mount_point("at");
    let attached = image.attach_at(&directory);
    assert_eq!(attached.mounted_at, [directory.as_path()]);
    let empty = image.allocated_bytes();
    write_junk(&directory.join("junk"), 48 * MIB);
    let full = image.allocated_bytes();
    assert!(full >= empty + 48 * MIB);
    fs::remove_file(directory.join("junk")).expect("remove");
    // ext4 discards after the commit, in its own time.
    wait_until("the image shrinks", || {
        rustix::fs::syncfs(File::open(&directory).expect("the directory")).expect("sync");
        image.allocated_bytes() < empty + 4 * MIB
    });
    eprintln!("-o discard: allocated empty {empty}, full {full}, after the delete {}", image.allocated_bytes());
}

#[test]
fn trim_through_the_mount_point_gives_deleted_space_back() {
    if !machine_has(&["mke2fs"]) {
        return;
    }
    let image = Image::ext4(128 * MIB);
    let directory = image.mount_point("at");
    let attached = image.attach_at(&directory);
    // Without `discard`, so that only FITRIM can do it.
    rustix::mount::mount_remount(&directory, MountFlags::empty(), c"nodiscard").expect("remount");
    let empty = image.allocated_bytes();
    write_junk(&directory.join("junk"), 48 * MIB);
    write_junk(&directory.join("kept"), MIB);
    fs::remove_file(directory.join("junk")).expect("remove");
    rustix::fs::syncfs(File::open(&directory).expect("the directory")).expect("sync");
    let before = image.allocated_bytes();
    assert!(before >= empty + 48 * MIB);
    let trimmed = trim_mounted(&attached).expect("trim");
    let after = image.allocated_bytes();
    eprintln!("FITRIM says {trimmed} bytes; allocated before {before}, after {after}");
    assert!(trimmed >= 48 * MIB && after < empty + 4 * MIB);
    let mut kept = Vec::new();
    File::open(directory.join("kept")).and_then(|mut file| file.read_to_end(&mut kept)).expect("the kept file");
    assert!(kept.len() as u64 == MIB && kept.iter().all(|&byte| byte == 0xA5));
}

#[test]
fn trim_of_what_is_not_mounted_is_refused() {
    if !machine_has(&[]) {
        return;
    }
    let image = Image::new(4 * MIB);
    let attached = image.attach(&AttachOptions::default()).expect("attach");
    assert_error(trim_mounted(&attached), ErrorKind::Refused, &["not mounted", "detach it and trim"]);
}

#[test]
fn xfs_and_btrfs_are_mounted_trimmed_and_detached_too() {
    for (file_system, program) in [("xfs", "mkfs.xfs"), ("btrfs", "mkfs.btrfs")] {
        if !machine_has(&[program])
            || !skip_unless((!kernel_has(file_system)).then(|| format!("no {file_system} in the kernel")))
        {
            continue;
        }
        let image = Image::formatted(512 * MIB, program, &["-q"]);
        let directory = image.mount_point("at");
        let attached = image.attach_at(&directory);
        assert_eq!(attached.notes, [""; 0], "{file_system}");
        let empty = image.allocated_bytes();
        write_junk(&directory.join("junk"), 32 * MIB);
        assert!(image.allocated_bytes() >= empty + 31 * MIB, "{file_system}");
        fs::remove_file(directory.join("junk")).expect("remove");
        // Both free what was deleted in the background.
        wait_until("the image shrinks", || {
            trim_mounted(&attached).expect("trim");
            image.allocated_bytes() < empty + 8 * MIB
        });
        // btrfs shows no device number of a device: found by its source.
        assert_eq!(find(&image.path).expect("find").expect("attached").mounted_at, [directory.as_path()]);
        assert_eq!(detach(&directory).expect("detach").device, attached.device);
        image.assert_untouched();
    }
}

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
    if !machine_has(&["mke2fs"]) {
        return;
    }
    let image = Image::new(64 * MIB);
    let partitions = vec![partition(1, MIB, MIB), partition(2, 2 * MIB, 16 * MIB), partition(3, 20 * MIB, 16 * MIB)];
    write_mbr(&image, &partitions);
    ext4_at(&image, 2 * MIB);
    ext4_at(&image, 20 * MIB);
    let directory = image.mount_point("at");
    let options = AttachOptions { read_only: false, mount_at: Some(directory.clone()), partitions };
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
    if !machine_has(&["mke2fs"]) {
        return;
    }
    let image = Image::new(64 * MIB);
    let partitions = vec![partition(1, 2 * MIB, 16 * MIB), partition(2, 20 * MIB, 16 * MIB)];
    write_mbr(&image, &partitions);
    ext4_at(&image, 2 * MIB);
    ext4_at(&image, 20 * MIB);
    let [first, second, third] = ["first", "second", "third"].map(|name| image.mount_point(name));
    let options = AttachOptions { read_only: false, mount_at: Some(first.clone()), partitions };
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

#[test]
fn law7_an_image_is_attached_once() {
    if !machine_has(&["losetup"]) {
        return;
    }
    let image = Image::new(4 * MIB);
    let read_only = AttachOptions { read_only: true, ..AttachOptions::default() };
    let first = image.attach(&read_only).expect("attach");
    // The shared lock lets a second reader come this far.
    let device = first.device.to_str().expect("text");
    assert_error(image.attach(&read_only), ErrorKind::InUse, &["disk.img", device, "sparsedisk detach"]);
    // Under another name it is the same image.
    let alias = image.directory.path().join("alias.img");
    fs::hard_link(&image.path, &alias).expect("link");
    let file = File::open(&alias).expect("the image");
    assert_error(attach(&alias, &file, &read_only), ErrorKind::InUse, &["alias.img", device]);
    assert_eq!(find(&alias).expect("find").expect("attached").device, first.device);
    detach(&alias).expect("detach");

    let theirs = Losetup::of(&image.path);
    let device = theirs.device.to_str().expect("text");
    let release = format!("losetup -d {device}");
    assert_error(image.attach(&AttachOptions::default()), ErrorKind::InUse, &[device, &release]);
    let found = find(&image.path).expect("find").expect("attached");
    assert_eq!((found.device.as_path(), found.ours), (theirs.device.as_path(), false));
    assert!(!list().expect("list").iter().any(|attached| attached.device == theirs.device));
}

#[test]
fn law7_of_two_who_attach_one_image_at_once_one_is_refused() {
    if !machine_has(&[]) {
        return;
    }
    let image = Image::new(4 * MIB);
    let read_only = AttachOptions { read_only: true, ..AttachOptions::default() };
    let results = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..4).map(|_| scope.spawn(|| image.attach(&read_only))).collect();
        threads.into_iter().map(|thread| thread.join().expect("no panic")).collect::<Vec<_>>()
    });
    assert_eq!(results.iter().filter(|result| result.is_ok()).count(), 1, "{results:?}");
    for error in results.into_iter().filter_map(Result::err) {
        assert_eq!(error.kind(), ErrorKind::InUse, "{error}");
    }
}

#[test]
fn many_images_attached_at_once_get_a_device_each() {
    if !machine_has(&[]) {
        return;
    }
    let images: Vec<_> = (0..6).map(|_| Image::new(MIB)).collect();
    let mut devices: Vec<_> = std::thread::scope(|scope| {
        let attach = |image: &Image| image.attach(&AttachOptions::default()).expect("attach").device;
        let threads: Vec<_> = images.iter().map(|image| scope.spawn(move || attach(image))).collect();
        threads.into_iter().map(|thread| thread.join().expect("no panic")).collect()
    });
    devices.sort();
    devices.dedup();
    assert_eq!(devices.len(), images.len());
}

#[test]
fn detach_takes_the_image_the_device_and_the_directory() {
    if !machine_has(&["mke2fs"]) {
        return;
    }
    let image = Image::ext4(16 * MIB);
    let directory = image.mount_point("at");
    let names: [&dyn Fn(&Attached) -> PathBuf; 3] =
        [&|_| image.path.clone(), &|attached| attached.device.clone(), &|_| directory.join(".")];
    for name in names {
        let attached = image.attach_at(&directory);
        let detached = detach(&name(&attached)).expect("detach");
        assert_eq!((detached.device, detached.mounted_at), (attached.device, attached.mounted_at));
        image.assert_untouched();
    }
}

#[test]
fn detach_refuses_what_is_not_ours_and_says_what_is_right() {
    if !machine_has(&["losetup", "mke2fs"]) {
        return;
    }
    let image = Image::ext4(16 * MIB);
    let directory = image.mount_point("at");
    let empty = image.mount_point("empty");
    assert_error(detach(&image.path), ErrorKind::Refused, &["disk.img", "not attached", "sparsedisk list"]);
    assert_error(detach(&empty), ErrorKind::Refused, &["empty", "nothing is mounted", "sparsedisk list"]);
    assert_error(detach(Path::new("/proc")), ErrorKind::Refused, &["/proc", "umount /proc"]);
    assert_error(detach(Path::new("/dev/null")), ErrorKind::Refused, &["/dev/null", "neither"]);
    assert_error(detach(&image.directory.path().join("absent")), ErrorKind::NotFound, &["absent"]);

    let theirs = Losetup::of(&image.path);
    let release = format!("losetup -d {}", theirs.device.display());
    assert_error(detach(&theirs.device), ErrorKind::Refused, &["not attached by sparsedisk", &release]);
    assert_error(detach(&image.path), ErrorKind::Refused, &["not attached by sparsedisk", &release]);
    rustix::mount::mount(&theirs.device, &directory, "ext4", MountFlags::empty(), None).expect("mount");
    let refused = detach(&directory);
    rustix::mount::unmount(&directory, rustix::mount::UnmountFlags::empty()).expect("unmount");
    assert_error(refused, ErrorKind::Refused, &["not attached by sparsedisk", &release]);
    assert_eq!(attribute(&theirs.device, "loop/autoclear"), "0");

    let device = theirs.device.clone();
    drop(theirs);
    // Unless somebody else has got the device meanwhile, it is bound to nothing now.
    if !Path::new("/sys/block").join(device.file_name().unwrap()).join("loop/backing_file").exists() {
        assert_error(detach(&device), ErrorKind::Refused, &["no image is attached"]);
    }
}

#[test]
fn detach_refuses_a_block_device_that_is_no_loop() {
    let other = fs::read_dir("/sys/block").ok().and_then(|entries| {
        let names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
        let mut nodes = names.filter(|name| !name.starts_with("loop")).map(|name| Path::new("/dev").join(name));
        nodes.find(|node| fs::metadata(node).is_ok_and(|node| node.file_type().is_block_device()))
    });
    if !machine_has(&[]) || !skip_unless(other.is_none().then(|| "no other block device".to_owned())) {
        return;
    }
    let other = other.expect("a block device");
    assert_error(detach(&other), ErrorKind::Refused, &["not a loop device", "sparsedisk list"]);
}

#[test]
fn a_busy_file_system_is_in_use_by_a_named_process_and_stays() {
    if !machine_has(&["mke2fs"]) {
        return;
    }
    let image = Image::ext4(16 * MIB);
    let directory = image.mount_point("at");
    image.attach_at(&directory);
    let busy = File::create(directory.join("busy")).expect("a file");
    let us = format!("process {} (", std::process::id());
    assert_error(detach(&image.path), ErrorKind::InUse, &[directory.to_str().expect("text"), &us, "stop that first"]);
    assert_eq!(find(&image.path).expect("find").expect("attached").mounted_at, [directory.as_path()]);
    drop(busy);

    // Another file system on top is named too.
    let inner = directory.join("inner");
    fs::create_dir(&inner).expect("a directory");
    rustix::mount::mount("none", &inner, "tmpfs", MountFlags::empty(), None).expect("mount");
    let held = detach(&image.path);
    rustix::mount::unmount(&inner, rustix::mount::UnmountFlags::empty()).expect("unmount");
    assert_error(held, ErrorKind::InUse, &["mounted below it", "umount ", "/at/inner"]);
    detach(&image.path).expect("detach");
    image.assert_untouched();
}

#[test]
fn a_device_that_somebody_has_open_is_in_use_and_goes_when_it_is_closed() {
    if !machine_has(&[]) {
        return;
    }
    let image = Image::new(4 * MIB);
    let attached = image.attach(&AttachOptions::default()).expect("attach");
    let opened = File::open(&attached.device).expect("the device");
    let us = format!("process {} (", std::process::id());
    assert_error(detach(&image.path), ErrorKind::InUse, &[attached.device.to_str().unwrap(), &us]);
    let listed = list().expect("list");
    let listed = listed.iter().find(|listed| listed.device == attached.device).expect("still listed");
    assert!(listed.notes.iter().any(|note| note.contains("goes as soon as")), "{:?}", listed.notes);
    drop(opened);
    wait_until("the device goes", || find(&image.path).expect("find").is_none());
    image.assert_untouched();
}

#[test]
fn a_mount_in_another_namespace_is_in_use_by_a_named_process() {
    if !machine_has(&["mke2fs", "unshare"]) {
        return;
    }
    let image = Image::ext4(16 * MIB);
    let directory = image.mount_point("at");
    let attached = image.attach_at(&directory);
    // It copies the mounts of this namespace, our one among them, then waits for the end of its input.
    let mut other = Command::new("unshare")
        .args(["-m", "sh", "-c", "echo ready; exec cat"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("unshare");
    let mut ready = [0; 6];
    other.stdout.as_mut().expect("its output").read_exact(&mut ready).expect("ready");
    let held = detach(&image.path);
    drop(other.stdin.take());
    let named = format!("process {} (", other.id());
    other.wait().expect("its end");
    assert_error(held, ErrorKind::InUse, &[attached.device.to_str().expect("text"), "mounted by", &named]);
    assert_eq!(find(&image.path).expect("find").expect("still attached").mounted_at, [""; 0].map(PathBuf::from));
    // The kernel takes a namespace apart after its last process.
    wait_until("the device can be detached", || detach(&image.path).is_ok());
    image.assert_untouched();
}

/// Runs itself again in a mount namespace of its own, whose /dev is a plain tmpfs as in a container.
#[test]
fn where_dev_is_not_the_kernels_the_nodes_are_made_and_removed_again() {
    const INSIDE: &str = "SPARSEDISK_TEST_PLAIN_DEV";
    if !machine_has(&["mke2fs", "unshare"]) {
        return;
    }
    if std::env::var_os(INSIDE).is_none() {
        let name = "where_dev_is_not_the_kernels_the_nodes_are_made_and_removed_again";
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

    let options = AttachOptions { read_only: false, mount_at: Some(directory.clone()), partitions };
    let attached = image.attach(&options).expect("attach");
    let node = PathBuf::from(format!("{}p1", attached.device.display()));
    assert!(attached.device.exists() && node.exists());
    assert_eq!(attached.mounted_at, [directory.as_path()]);
    detach(&directory).expect("detach");
    assert!(!node.exists(), "the partition's node stayed behind");
    image.assert_untouched();
}

#[test]
fn a_mount_point_may_have_any_name() {
    if !machine_has(&["mke2fs"]) {
        return;
    }
    let image = Image::ext4(16 * MIB);
    for name in ["a b", "tab\tline\nend", "back\\slash \\040", "#ümlaut"] {
        let directory = image.mount_point(name);
        image.attach_at(&directory);
        assert_eq!(find(&image.path).expect("find").expect("attached").mounted_at, [directory.as_path()]);
        detach(&directory).expect("detach");
    }
    let directory = fs::canonicalize(image.directory.path()).expect("a path").join(OsStr::from_bytes(b"\xFF\xFE"));
    fs::create_dir(&directory).expect("a mount point");
    image.attach_at(&directory);
    assert_eq!(detach(&directory).expect("detach").mounted_at, [directory.as_path()]);
    image.assert_untouched();
}

#[test]
fn a_read_only_device_takes_no_writes() {
    if !machine_has(&["mke2fs"]) {
        return;
    }
    let image = Image::ext4(16 * MIB);
    let directory = image.mount_point("at");
    let before = fs::read(&image.path).expect("the image");
    let options = AttachOptions { read_only: true, mount_at: Some(directory.clone()), ..AttachOptions::default() };
    let attached = image.attach(&options).expect("attach");
    assert!(attached.read_only && find(&image.path).expect("find").expect("attached").read_only);
    assert!(fs::write(directory.join("file"), "no").is_err());
    let device = OpenOptions::new().write(true).open(&attached.device);
    assert!(device.and_then(|device| device.write_all_at(&[1; 512], 0)).is_err());
    detach(&image.path).expect("detach");
    assert!(fs::read(&image.path).expect("the image") == before, "the image changed");

    let file = File::open(&image.path).expect("the image");
    assert_error(attach(&image.path, &file, &AttachOptions::default()), ErrorKind::ReadOnly, &["read-only"]);
    image.assert_untouched();
}

#[test]
fn a_file_system_that_the_kernel_does_not_know_undoes_the_attach() {
    if !machine_has(&[]) {
        return;
    }
    let image = Image::new(16 * MIB);
    let mut boot = [0; 512];
    boot[..3].copy_from_slice(&[0xEB, 0x3C, 0x90]);
    boot[11..17].copy_from_slice(&[0, 2, 4, 1, 0, 2]);
    boot[21] = 0xF8;
    boot[510..].copy_from_slice(&[0x55, 0xAA]);
    image.open().write_all_at(&boot, 0).expect("write");
    let directory = image.mount_point("at");
    let options = AttachOptions { mount_at: Some(directory), ..AttachOptions::default() };
    let result = image.attach(&options);
    if kernel_has("vfat") {
        // The driver is there and finds an empty shell of a file system.
        assert_error(result, ErrorKind::Corrupt, &["FAT", "without --at"]);
    } else {
        let words =
            ["cannot mount ", "disk.img: this kernel has no driver for FAT (vfat)", "without --at", "sparsedisk serve"];
        assert_error(result, ErrorKind::Unsupported, &words);
    }
    image.assert_untouched();
}

#[test]
fn an_image_without_a_file_system_or_with_a_damaged_one_undoes_the_attach() {
    if !machine_has(&["mke2fs"]) {
        return;
    }
    let image = Image::new(16 * MIB);
    let options = AttachOptions { mount_at: Some(image.mount_point("at")), ..AttachOptions::default() };
    assert_error(image.attach(&options), ErrorKind::Unsupported, &["disk.img: no file system", "sparsedisk format"]);
    image.assert_untouched();

    run(Command::new("mke2fs").args(["-q", "-F", "-t", "ext4"]).arg(&image.path));
    image.open().write_all_at(&[0xFF; 16], 1024 + 24).expect("write");
    assert_error(image.attach(&options), ErrorKind::Corrupt, &["ext4", "damaged", "without --at"]);
    image.assert_untouched();
}

#[test]
fn the_directory_must_be_there_and_empty_and_no_mount_point() {
    if !machine_has(&["mke2fs"]) {
        return;
    }
    let image = Image::ext4(16 * MIB);
    let at = |directory: &Path| {
        image.attach(&AttachOptions { mount_at: Some(directory.to_owned()), ..AttachOptions::default() })
    };
    let beside = image.directory.path();
    assert_error(
        at(&beside.join("absent")),
        ErrorKind::NotFound,
        &["absent as the mount point: it does not exist", "mkdir"],
    );
    assert_error(at(&image.path), ErrorKind::InvalidInput, &["not a directory"]);
    assert_error(at(beside), ErrorKind::Refused, &["not empty", "empty directory"]);
    image.assert_untouched();
    let directory = image.mount_point("at");
    image.attach_at(&directory);
    let other = Image::ext4(16 * MIB);
    let options = AttachOptions { mount_at: Some(directory), ..AttachOptions::default() };
    assert_error(other.attach(&options), ErrorKind::InUse, &["mounted there already"]);
    other.assert_untouched();
}

#[test]
fn a_moved_image_is_listed_by_its_new_name_and_a_deleted_one_by_its_last() {
    if !machine_has(&[]) {
        return;
    }
    let mut image = Image::new(4 * MIB);
    let attached = image.attach(&AttachOptions::default()).expect("attach");
    let listed =
        |device: &Path| list().expect("list").into_iter().find(|attached| attached.device == device).expect("listed");
    let moved = fs::canonicalize(image.directory.path()).expect("a path").join("moved.img");
    fs::rename(&image.path, &moved).expect("rename");
    image.path = moved;
    assert_eq!((listed(&attached.device).image, listed(&attached.device).notes), (image.path.clone(), Vec::new()));
    fs::remove_file(&image.path).expect("remove");
    let deleted = listed(&attached.device);
    assert_eq!(deleted.image, image.path);
    assert!(deleted.notes.iter().any(|note| note.contains("was deleted")), "{:?}", deleted.notes);
    assert_eq!(detach(&image.path).expect("detach").device, attached.device);
    assert_error(detach(&image.path), ErrorKind::NotFound, &["moved.img"]);
}

#[test]
fn the_sectors_are_as_large_as_the_image_was_made_for() {
    if !machine_has(&[]) {
        return;
    }
    let image = Image::new(4 * MIB);
    image.open().write_all_at(b"EFI PART", 4096).expect("write");
    let attached = image.attach(&AttachOptions::default()).expect("attach");
    assert_eq!(attribute(&attached.device, "queue/logical_block_size"), "4096");
}

#[test]
fn an_image_that_is_no_disk_is_refused() {
    if !machine_has(&[]) {
        return;
    }
    let tiny = Image::new(511);
    assert_error(tiny.attach(&AttachOptions::default()), ErrorKind::InvalidInput, &["less than one sector"]);
    let odd = Image::new(MIB + 100);
    let attached = odd.attach(&AttachOptions::default()).expect("attach");
    assert!(attached.notes.iter().any(|note| note.contains("last 100 bytes")), "{:?}", attached.notes);
    let directory = File::open(tiny.directory.path()).expect("the directory");
    let result = attach(tiny.directory.path(), &directory, &AttachOptions::default());
    assert_error(result, ErrorKind::InvalidInput, &["not a regular file"]);
}

#[test]
fn without_privileges_only_finding_works() {
    if !machine_has(&[]) {
        return;
    }
    let image = Image::new(4 * MIB);
    let attached = image.attach(&AttachOptions::default()).expect("attach");
    fs::set_permissions(image.directory.path(), fs::Permissions::from_mode(0o755)).expect("permissions");
    // Of this thread only, which ends with the scope.
    let unprivileged = |work: &(dyn Fn() + Sync)| {
        std::thread::scope(|scope| {
            let nobody = rustix::process::Uid::from_raw(65534);
            let group = rustix::process::Gid::from_raw(65534);
            let work = scope.spawn(move || {
                rustix::thread::set_thread_groups(&[]).expect("no groups");
                rustix::thread::set_thread_res_gid(group, group, group).expect("a group");
                rustix::thread::set_thread_res_uid(nobody, nobody, nobody).expect("a user");
                work();
            });
            work.join().expect("no panic");
        });
    };
    unprivileged(&|| {
        let file = File::open(&image.path).expect("the image");
        let read_only = AttachOptions { read_only: true, ..AttachOptions::default() };
        let words = ["only root", "sudo", "sparsedisk serve"];
        assert_error(attach(&image.path, &file, &read_only), ErrorKind::PermissionDenied, &words);
        assert_error(detach(&image.path), ErrorKind::PermissionDenied, &["disk.img", "only root"]);
        assert_error(detach(&attached.device), ErrorKind::PermissionDenied, &["only root"]);
        assert_error(list(), ErrorKind::PermissionDenied, &["only root"]);
        let found = find(&image.path).expect("find").expect("attached");
        assert_eq!((found.device, found.ours), (attached.device.clone(), false));
    });
    assert!(find(&image.path).expect("find").expect("attached").ours);
}
