//! The way back: three names, refusals, and who stands in the way.

use std::ffi::{CString, OsStr};
use std::fs::{self, File};
use std::io::Read;
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use attach::{AttachOptions, Attached, find, list};
use disk_types::ErrorKind;
use rustix::fs::{Mode, OFlags};
use rustix::mount::{MountFlags, UnmountFlags};

use crate::machine::{
    Image, Losetup, MIB, PATIENCE, assert_error, attribute, detach, machine_alone_has, machine_has, output,
    skip_unless, spawn, wait_until,
};

#[test]
fn detach_takes_the_image_the_device_and_the_directory() {
    let Some(_turn) = machine_has(&["mke2fs"]) else { return };
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
    let Some(_turn) = machine_has(&["losetup", "mke2fs"]) else { return };
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
    rustix::mount::unmount(&directory, UnmountFlags::empty()).expect("unmount");
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
    let Some(_turn) = machine_has(&[]) else { return };
    let Some(other) = other else {
        skip_unless(Some("no other block device".to_owned()));
        return;
    };
    assert_error(detach(&other), ErrorKind::Refused, &["not a loop device", "sparsedisk list"]);
}

#[test]
fn a_busy_file_system_is_in_use_by_a_named_process_and_stays() {
    let Some(_turn) = machine_has(&["mke2fs"]) else { return };
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
    rustix::mount::unmount(&inner, UnmountFlags::empty()).expect("unmount");
    assert_error(held, ErrorKind::InUse, &["mounted on it", "umount ", "/at/inner"]);
    detach(&image.path).expect("detach");
    image.assert_untouched();
}

#[test]
fn a_device_that_somebody_has_open_is_in_use_and_goes_when_it_is_closed() {
    let Some(_turn) = machine_has(&[]) else { return };
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
    let Some(_turn) = machine_alone_has(&["mke2fs", "unshare"]) else { return };
    let image = Image::ext4(16 * MIB);
    let directory = image.mount_point("at");
    let attached = image.attach_at(&directory);
    // It copies the mounts of this namespace, our one among them, then waits for the end of its input.
    let mut other = Command::new("unshare");
    other.args(["-m", "sh", "-c", "echo ready; exec cat"]).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut other = spawn(&mut other).expect("unshare");
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

#[test]
fn a_mount_point_may_have_any_name() {
    let Some(_turn) = machine_has(&["mke2fs"]) else { return };
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
fn a_moved_image_is_listed_by_its_new_name_and_a_deleted_one_by_its_last() {
    let Some(_turn) = machine_has(&[]) else { return };
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
fn of_several_who_detach_one_image_at_once_one_does_and_the_others_find_it_gone() {
    let Some(_turn) = machine_has(&["mke2fs"]) else { return };
    let image = Image::ext4(16 * MIB);
    let directory = image.mount_point("at");
    image.attach_at(&directory);
    let results = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..4).map(|_| scope.spawn(|| detach(&image.path))).collect();
        threads.into_iter().map(|thread| thread.join().expect("no panic")).collect::<Vec<_>>()
    });
    assert_eq!(results.iter().filter(|result| result.is_ok()).count(), 1, "{results:?}");
    for error in results.into_iter().filter_map(Result::err) {
        assert!(matches!(error.kind(), ErrorKind::NotFound | ErrorKind::Refused), "{error}");
        assert!(error.to_string().contains("not attached"), "{error}");
    }
    image.assert_untouched();
}

/// Runs itself again under strace, which kills it where it enters mount(2).
#[test]
fn what_an_attach_killed_between_device_and_mount_leaves_is_listed_and_detached() {
    const INSIDE: &str = "SPARSEDISK_TEST_KILLED_IMAGE";
    if let Some(path) = std::env::var_os(INSIDE) {
        let file = File::options().read(true).write(true).open(&path).expect("the image");
        let mount_at = Some(Path::new(&path).with_file_name("at"));
        let _ = attach::attach(Path::new(&path), file, &AttachOptions { mount_at, ..AttachOptions::default() });
        unreachable!("not killed");
    }
    let Some(_turn) = machine_has(&["mke2fs", "strace"]) else { return };
    let image = Image::ext4(16 * MIB);
    image.mount_point("at");
    let name = "detaching::what_an_attach_killed_between_device_and_mount_leaves_is_listed_and_detached";
    let test = std::env::current_exe().expect("this test");
    let mut killed = Command::new("strace");
    killed.args(["-f", "-qq", "-e", "trace=mount", "-e", "inject=mount:error=EIO:signal=KILL"]).arg(test);
    let killed = output(killed.args(["--exact", name, "--nocapture"]).env(INSIDE, &image.path)).expect("strace");
    let said = String::from_utf8_lossy(&killed.stderr);
    assert!(said.contains("+++ killed by SIGKILL +++"), "{said}");

    let left = list().expect("list");
    let image_path = fs::canonicalize(&image.path).expect("a path");
    let left = left.iter().find(|attached| attached.image == image_path).expect("listed");
    assert!(left.ours && left.mounted_at.is_empty(), "{left:?}");
    assert_eq!(detach(&image.path).expect("detach").device, left.device);
    image.assert_untouched();
}

#[test]
fn a_dead_file_system_elsewhere_does_not_hold_up_the_search_for_holders() {
    let Some(_turn) = machine_has(&[]) else { return };
    let Ok(server) = File::options().read(true).write(true).open("/dev/fuse") else {
        skip_unless(Some("no /dev/fuse".to_owned()));
        return;
    };
    let image = Image::new(4 * MIB);
    let dead = image.mount_point("dead");
    // Nobody ever answers from `server`. Closing it ends whoever waits for an answer.
    let options = format!("fd={},rootmode=40000,user_id=0,group_id=0", server.as_raw_fd());
    let options = CString::new(options).expect("text");
    rustix::mount::mount("none", &dead, "fuse", MountFlags::empty(), Some(options.as_c_str())).expect("mount");
    let in_it = rustix::fs::open(&dead, OFlags::PATH | OFlags::CLOEXEC, Mode::empty()).expect("the directory");
    let attached = image.attach(&AttachOptions::default()).expect("attach");
    let opened = File::open(&attached.device).expect("the device");
    let (answer, answered) = std::sync::mpsc::channel();
    let path = image.path.clone();
    let detaching = std::thread::spawn(move || answer.send(detach(&path)));
    let held = answered.recv_timeout(PATIENCE);
    drop((server, in_it, opened));
    detaching.join().expect("no panic").expect("somebody listens");
    rustix::mount::unmount(&dead, UnmountFlags::DETACH).expect("unmount");
    assert_error(held.expect("an answer"), ErrorKind::InUse, &[&format!("process {} (", std::process::id())]);
}
