//! The file of the socket, its mode, what stood there before; clients, and being woken.
#![cfg(unix)]

use std::io::{ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::{MetadataExt, symlink};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;

use listening::{Listener, Occupant, occupant};
use rustix::fs::{OFlags, fcntl_getfl};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, connect, socket_with};

/// As many clients as may wait at `path`.
fn fill(path: &Path) -> Vec<OwnedFd> {
    let address = SocketAddrUnix::new(path).unwrap();
    let mut waiting = Vec::new();
    loop {
        let socket = socket_with(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::NONBLOCK, None).unwrap();
        match connect(&socket, &address) {
            Ok(()) => waiting.push(socket),
            Err(error) => {
                assert_eq!(error, Errno::AGAIN);
                return waiting;
            }
        }
    }
}

fn is_blocking(socket: impl AsFd) -> bool {
    !fcntl_getfl(socket).unwrap().contains(OFlags::NONBLOCK)
}

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
        assert_eq!(occupant(&path), Occupant::Stale);
        std::fs::remove_file(&path).unwrap();
    }
    let (listener, _wake) = Listener::bind(&path, false).unwrap();
    std::fs::remove_file(&path).unwrap();
    std::fs::write(&path, "another's").unwrap();
    drop(listener);
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "another's");
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
    let _full = UnixListener::bind(at("full")).unwrap();
    let _waiting = fill(&at("full"));
    let stand = [
        ("file", Occupant::Other),
        ("directory", Occupant::Other),
        ("dangling", Occupant::Other),
        ("link", Occupant::Other),
        ("alive", Occupant::Server),
        ("full", Occupant::Server),
        ("stale", Occupant::Stale),
    ];
    for (name, what) in stand {
        assert_eq!(occupant(&at(name)), what, "{name}");
        for replace_stale in [false, true] {
            let before = at(name).symlink_metadata().unwrap().ino();
            let bound = Listener::bind(&at(name), replace_stale);
            if replace_stale && what == Occupant::Stale {
                bound.unwrap();
                assert!(!at(name).exists());
            } else {
                assert_eq!(bound.unwrap_err().kind(), ErrorKind::AddrInUse, "{name}");
                assert_eq!(at(name).symlink_metadata().unwrap().ino(), before, "{name} is still there");
            }
        }
    }
    assert!(at("nowhere").symlink_metadata().is_err(), "no link was followed");
    Listener::bind(&at("new"), true).unwrap();
}

#[test]
fn a_path_that_cannot_be_a_socket_says_why() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("file"), "").unwrap();
    let long = "n".repeat(108);
    for (name, kind) in [
        (&*long, ErrorKind::InvalidFilename),
        ("missing/socket", ErrorKind::NotFound),
        ("file/socket", ErrorKind::NotADirectory),
    ] {
        for replace_stale in [false, true] {
            let error = Listener::bind(&directory.path().join(name), replace_stale).unwrap_err();
            assert_eq!(error.kind(), kind, "{name}");
        }
    }
}

#[test]
fn clients_are_accepted_in_turn_and_their_sockets_block() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("socket");
    let (listener, _wake) = Listener::bind(&path, false).unwrap();
    for said in [b"one", b"two"] {
        let mut theirs = UnixStream::connect(&path).unwrap();
        let mut ours = UnixStream::from(listener.accept().unwrap().unwrap());
        theirs.write_all(said).unwrap();
        let mut heard = [0; 3];
        ours.read_exact(&mut heard).unwrap();
        assert_eq!(&heard, said);
        assert!(is_blocking(&ours));
    }
    let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = tcp.local_addr().unwrap();
    let (listener, _wake) = Listener::on(tcp).unwrap();
    let theirs = TcpStream::connect(address).unwrap();
    let ours = TcpStream::from(listener.accept().unwrap().unwrap());
    assert_eq!(ours.peer_addr().unwrap(), theirs.local_addr().unwrap());
    assert!(is_blocking(&ours));
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
    listener.pause();
    drop(listener);
    wake.wake();
}
