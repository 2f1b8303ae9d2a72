//! UNIX sockets: their file, its mode, what stood there before, and sockets passed on by systemd.
#![cfg(unix)]

use std::os::unix::fs::{MetadataExt, symlink};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;

use block_device::{ErrorKind, Result};
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

#[test]
fn a_socket_put_in_place_of_ours_stays() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("disk.sock");
    let server = bind(&path).unwrap();
    std::fs::remove_file(&path).unwrap();
    let _other = UnixListener::bind(&path).unwrap();
    drop(server);
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
