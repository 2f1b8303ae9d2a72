//! UNIX sockets: their file, its mode, what stood there before, and sockets passed on by systemd.
#![cfg(unix)]

use std::io::{BufRead, BufReader, Read};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{MetadataExt, symlink};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use block_device::{Disk, ErrorKind, Layer, Result};
use nbd::{Limits, Listen, Server};

use crate::server::{MIB, export, memory};

fn bind(path: &Path) -> Result<Server> {
    Server::bind(&Listen::Unix(path.into()), export(&memory(MIB)), Limits::default())
}

#[test]
fn the_socket_is_for_its_owner_only_and_removed_at_the_end() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("disk.sock");
    let server = bind(&path).unwrap();
    assert_eq!(std::fs::symlink_metadata(&path).unwrap().mode() & 0o7777, 0o600);
    let uri = format!("nbd+unix:///?socket={}", path.display());
    assert_eq!((server.uri(), &server.connect_lines()[0]), (uri.clone(), &uri));
    assert_eq!(server.connect_lines().len(), 3);
    let stopper = server.stopper();
    let client = UnixStream::connect(&path).unwrap();
    let running = std::thread::spawn(|| server.run());
    drop(client);
    stopper.stop();
    running.join().unwrap().unwrap();
    assert!(!path.exists());
    drop(bind(&path).unwrap());
    assert!(!path.exists(), "a server that never ran leaves nothing either");
}

/// A disk during whose last flush somebody replaces the socket at a path.
struct Replaced {
    disk: Disk,
    path: PathBuf,
}

impl Layer for Replaced {
    fn below(&self) -> &Disk {
        &self.disk
    }

    fn flush(&self) -> Result<()> {
        std::fs::remove_file(&self.path).unwrap();
        drop(UnixListener::bind(&self.path).unwrap());
        Ok(())
    }
}

#[test]
fn a_socket_put_in_place_of_ours_once_nobody_listens_stays() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("disk.sock");
    // On ext4 the new socket would get the inode number of the old one.
    let disk = Disk::new(Replaced { disk: memory(MIB), path: path.clone() }).unwrap();
    let server = Server::bind(&Listen::Unix(path.clone()), export(&disk), Limits::default()).unwrap();
    server.stopper().stop();
    server.run().unwrap();
    assert!(path.exists());
}

#[test]
fn what_stands_at_the_path_is_named_and_never_touched() {
    let directory = tempfile::tempdir().unwrap();
    let at = |name: &str| directory.path().join(name);
    std::fs::write(at("file"), "precious").unwrap();
    std::fs::create_dir(at("directory")).unwrap();
    symlink("nowhere", at("dangling")).unwrap();
    drop(UnixListener::bind(at("stale")).unwrap());
    let _alive = UnixListener::bind(at("alive")).unwrap();
    let reasons = [
        ("file", "not a socket"),
        ("directory", "not a socket"),
        ("dangling", "not a socket"),
        ("stale", "nobody answers"),
        ("alive", "a server listens"),
    ];
    for (name, reason) in reasons {
        let error = bind(&at(name)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::AlreadyExists, "{name}");
        assert!(error.message().contains(reason) && error.message().contains(name), "{name}: {error}");
        assert!(error.advice().is_some());
        assert!(at(name).symlink_metadata().is_ok(), "{name} is still there");
    }
}

#[test]
fn what_a_dead_server_left_is_replaced_if_asked() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("disk.sock");
    let replace = || Server::bind(&Listen::UnixReplacingStale(path.clone()), export(&memory(MIB)), Limits::default());
    drop(UnixListener::bind(&path).unwrap());
    drop(replace().unwrap());
    let _alive = UnixListener::bind(&path).unwrap();
    assert_eq!(replace().unwrap_err().kind(), ErrorKind::AlreadyExists);
}

#[test]
fn a_path_that_cannot_be_a_socket_says_why() {
    let directory = tempfile::tempdir().unwrap();
    let long = directory.path().join("n".repeat(108));
    let error = bind(&long).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TooLarge);
    assert!(error.message().contains("107 bytes"), "{error}");
    let error = bind(&directory.path().join("missing/disk.sock")).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    assert!(error.message().contains("directory"), "{error}");
    std::fs::write(directory.path().join("file"), "").unwrap();
    assert_eq!(bind(&directory.path().join("file/disk.sock")).unwrap_err().kind(), ErrorKind::NotFound);
}

#[test]
fn without_systemd_there_is_no_socket_to_inherit() {
    let error = Server::bind(&Listen::Inherited, export(&memory(MIB)), Limits::default()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    assert!(error.to_string().contains("LISTEN_PID"), "{error}");
}

const INHERITED: &str = "NBD_TEST_INHERITED";

/// The server process of the next test; not a test of its own.
#[test]
fn a_server_process_on_an_inherited_socket() {
    if std::env::var_os(INHERITED).is_none() {
        return;
    }
    let server = Server::bind(&Listen::Inherited, export(&memory(MIB)), Limits::default()).unwrap();
    let again = Server::bind(&Listen::Inherited, export(&memory(MIB)), Limits::default()).unwrap_err();
    println!("\nlistening {} {:?}", server.uri(), again.kind());
    server.run().unwrap();
}

#[test]
fn a_socket_passed_on_by_systemds_protocol_is_served() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("disk.sock");
    let listener = UnixListener::bind(&path).unwrap();
    // What systemd does: the socket as descriptor 3, and the variables with the pid of the process itself.
    let script = "exec 3<&0 </dev/null; export LISTEN_PID=$$ LISTEN_FDS=1; exec \"$0\" \"$@\"";
    let mut child = Command::new("sh")
        .args(["-c", script])
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", "sys_unix::a_server_process_on_an_inherited_socket", "--nocapture"])
        .env(INHERITED, "1")
        .stdin(Stdio::from(OwnedFd::from(listener)))
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let said = lines.find_map(|line| line.unwrap().strip_prefix("listening ").map(str::to_string));
    let mut greeting = [0; 18];
    let greeted = UnixStream::connect(&path).unwrap().read_exact(&mut greeting);
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!(said.unwrap(), format!("nbd+unix:///?socket={} InUse", path.display()));
    greeted.unwrap();
    assert_eq!(&greeting[..16], b"NBDMAGICIHAVEOPT");
}
