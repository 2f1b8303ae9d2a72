//! The file of the socket, its mode, what stood there before, and being woken. How clients are served, and what people are
//! told, the tests of `nbd` and `control` show.
#![cfg(unix)]

use std::io::ErrorKind;
use std::os::unix::fs::{MetadataExt, symlink};
use std::os::unix::net::{UnixListener, UnixStream};

use listening::{Listener, Occupant, occupant};

#[test]
fn the_socket_is_for_its_owner_only_and_goes_with_the_listener() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("socket");
    let (mut listener, _wake) = Listener::bind(&path, false).unwrap();
    assert_eq!(std::fs::symlink_metadata(&path).unwrap().mode() & 0o7777, 0o600);
    assert_eq!(occupant(&path), Occupant::Server);
    listener.close();
    assert_eq!(occupant(&path), Occupant::Stale, "it stays while there is something to end");
    assert!(listener.accept().unwrap().is_none());
    drop(listener);
    assert!(!path.exists());
}

#[test]
fn what_is_put_in_place_of_ours_stays() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("socket");
    for is_closed in [false, true] {
        let (mut listener, _wake) = Listener::bind(&path, false).unwrap();
        if is_closed {
            listener.close();
        }
        std::fs::remove_file(&path).unwrap();
        // On ext4 it would get the inode number of ours, if nothing held that.
        drop(UnixListener::bind(&path).unwrap());
        drop(listener);
        std::fs::remove_file(&path).expect("it is still there");
    }
}

#[test]
fn only_a_socket_that_nobody_answers_on_is_replaced_and_only_if_asked() {
    let directory = tempfile::tempdir().unwrap();
    let at = |name: &str| directory.path().join(name);
    std::fs::write(at("file"), "precious").unwrap();
    std::fs::create_dir(at("directory")).unwrap();
    symlink("nowhere", at("dangling")).unwrap();
    drop(UnixListener::bind(at("stale")).unwrap());
    symlink("stale", at("link")).unwrap();
    let _alive = UnixListener::bind(at("alive")).unwrap();
    for name in ["file", "directory", "dangling", "link", "alive"] {
        let before = at(name).symlink_metadata().unwrap().ino();
        for replace_stale in [false, true] {
            let error = Listener::bind(&at(name), replace_stale).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::AddrInUse, "{name}");
        }
        assert_eq!(at(name).symlink_metadata().unwrap().ino(), before, "{name} is still there");
    }
    assert!(at("nowhere").symlink_metadata().is_err(), "no link was followed");
    assert_eq!(Listener::bind(&at("stale"), false).unwrap_err().kind(), ErrorKind::AddrInUse);
    drop(Listener::bind(&at("stale"), true).unwrap());
    assert!(!at("stale").exists());
    drop(Listener::bind(&at("new"), true).unwrap());
}

#[test]
fn who_is_woken_accepts_nobody_any_more() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("socket");
    let (listener, wake) = Listener::bind(&path, false).unwrap();
    std::thread::scope(|scope| {
        let waits = scope.spawn(|| listener.accept());
        wake.wake();
        assert!(waits.join().unwrap().unwrap().is_none());
    });
    let _client = UnixStream::connect(&path).unwrap();
    assert!(listener.accept().unwrap().is_none());
    drop(listener);
    wake.wake();
}
