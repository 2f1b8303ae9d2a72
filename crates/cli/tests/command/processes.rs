//! Two programs on one image, signals, kill -9.
#![cfg(unix)]

use std::fs::File;
use std::os::unix::fs::{FileExt, FileTypeExt, PermissionsExt};

use crate::client::Client;
use crate::room::{KIB, MIB, Room, Serving, allocated};

#[test]
fn law7_a_second_program_learns_who_has_the_image() {
    let room = Room::new();
    room.create_fat("disk.img", "64MiB");
    let server = Serving::start(&room, &["disk.img"]);
    for arguments in [
        &["trim", "--dry-run", "disk.img"][..],
        &["trim", "--verify", "disk.img"],
        &["punch", "disk.img", "--offset", "0", "--length", "4096"],
        &["sparse", "clear", "disk.img"],
        &["format", "disk.img", "--fs", "fat32", "--force"],
        &["copy", "disk.img", "copy.img"],
        &["serve", "disk.img", "--listen", "unix:other.sock"],
    ] {
        let error = room.json_error(3, arguments);
        assert_eq!(error["kind"], "in_use", "{arguments:?}: {error}");
        let message = error["message"].as_str().unwrap();
        assert!(message.contains(&server.pid().to_string()), "{arguments:?}: {message}");
    }
    let info = room.json(&["info", "disk.img"]);
    assert_eq!(info["locked"]["pid"], server.pid());
    assert!(room.run(&["info", "disk.img"]).out().contains(&format!("by process {}", server.pid())));
    assert_eq!(room.run(&["map", "disk.img"]).code(), 0);
}

#[test]
fn law4_an_image_that_anybody_has_open_is_not_trimmed() {
    let room = Room::new();
    let image = room.create("disk.img", "8MiB");
    crate::room::write_zeroes(&image, 0, MIB);
    let stranger = File::open(&image).unwrap();
    let before = allocated(&image);
    assert_eq!(room.json_error(3, &["trim", "disk.img"])["kind"], "in_use");
    assert_eq!(allocated(&image), before);
    drop(stranger);
    assert_eq!(room.run(&["trim", "disk.img"]).code(), 0);
    assert!(allocated(&image) < before);
}

#[test]
fn two_readers_may_serve_one_image() {
    let room = Room::new();
    room.create("disk.img", "8MiB");
    let first = Serving::start(&room, &["--read-only", "disk.img", "--listen", "unix:a.sock"]);
    let second = Serving::start(&room, &["--read-only", "disk.img", "--listen", "unix:b.sock"]);
    assert_eq!((&first.start["read_only"], &second.start["read_only"]), (&true.into(), &true.into()));
    let mut client = Client::connect(&room.path("a.sock"));
    assert!(client.write(0, &[1; 512]).is_err());
}

#[test]
fn serve_creates_the_image_once_and_opens_it_the_next_time() {
    let room = Room::new();
    let arguments = ["disk.img", "--size", "64MiB", "--fs", "fat32", "--label", "ONCE"];
    let server = Serving::start(&room, &arguments);
    assert_eq!(server.start["created"], true);
    let mut client = Client::connect(&room.path("disk.img.sock"));
    client.write(32 * MIB, &[7; 4096]).unwrap();
    client.flush().unwrap();
    server.signal("TERM");
    assert!(server.end().0.success());
    let server = Serving::start(&room, &arguments);
    assert_eq!(server.start["created"], false);
    let mut block = [0; 4096];
    File::open(room.path("disk.img")).unwrap().read_exact_at(&mut block, 32 * MIB).unwrap();
    assert_eq!(block, [7; 4096], "it was not formatted again");
}

#[test]
fn serve_ends_on_each_signal_with_0_and_removes_its_socket() {
    let room = Room::new();
    room.create("disk.img", "8MiB");
    for signal in ["TERM", "INT"] {
        let server = Serving::start(&room, &["disk.img"]);
        let socket = room.path("disk.img.sock");
        let metadata = std::fs::metadata(&socket).unwrap();
        assert!(metadata.file_type().is_socket());
        assert_eq!(metadata.permissions().mode() & 0o777, 0o600);
        let uri = server.start["uri"].as_str().unwrap().to_owned();
        assert!(uri.starts_with("nbd+unix:///?socket=/") && uri.ends_with("disk.img.sock"), "{uri}");
        // One that stays connected and silent does not keep it from ending.
        let mut client = Client::connect(&socket);
        client.write(0, &[1; 4096]).unwrap();
        server.signal(signal);
        let (status, rest) = server.end();
        assert_eq!(status.code(), Some(0), "{signal}");
        assert_eq!(rest, "", "one object, and nothing after it");
        assert!(!socket.exists(), "{signal}");
    }
}

/// As `timeout` stops a program: it, and then its group.
#[test]
fn one_request_to_stop_that_arrives_twice_is_one() {
    let room = Room::new();
    room.create("disk.img", "8MiB");
    let server = Serving::start(&room, &["disk.img"]);
    let pid = server.pid().to_string();
    let _ = std::process::Command::new("sh").args(["-c", "kill -s INT $1; kill -s TERM $1", "sh", &pid]).status();
    assert_eq!(server.end().0.code(), Some(0));
    assert_eq!(room.names(), ["disk.img"]);
}

#[test]
fn serve_tells_people_how_to_connect_and_what_it_did() {
    let room = Room::new();
    let mut child = room
        .program(&["serve", "disk.img", "--size", "8MiB", "--listen", "tcp:127.0.0.1:0"])
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let mut out = std::io::BufReader::new(child.stdout.take().unwrap());
    let mut start = String::new();
    for _ in 0..4 {
        std::io::BufRead::read_line(&mut out, &mut start).unwrap();
    }
    assert!(start.contains("serving disk.img (8 MiB, created)"), "{start}");
    assert!(start.contains("nbd://127.0.0.1:"), "{start}");
    assert!(start.contains("qemu") && start.contains("nbd-client"), "{start}");
    let killed = std::process::Command::new("kill").arg(child.id().to_string()).status().unwrap();
    assert!(killed.success());
    let mut rest = String::new();
    std::io::Read::read_to_string(&mut out, &mut rest).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(0));
    for word in ["reads", "writes", "flushes", "failed requests", "connections", "allocated"] {
        assert!(rest.contains(word), "{word}: {rest}");
    }
}

#[test]
fn zeroes_that_clients_write_allocate_nothing_unless_asked() {
    let room = Room::new();
    for (option, stored) in [(None, false), (Some("--no-detect-zeroes"), true)] {
        let name = format!("stored-{stored}.img");
        let image = room.create(&name, "8MiB");
        let before = allocated(&image);
        let mut arguments = vec![name.as_str()];
        arguments.extend(option);
        let server = Serving::start(&room, &arguments);
        let mut client = Client::connect(&room.path(&format!("{name}.sock")));
        client.write(0, &vec![0; MIB as usize]).unwrap();
        client.flush().unwrap();
        drop(server);
        assert_eq!(allocated(&image) >= before + MIB, stored);
    }
}

#[test]
fn serve_takes_the_socket_that_systemd_passes_on() {
    let room = Room::new();
    room.create("disk.img", "8MiB");
    let path = room.path("passed.sock");
    let listener = std::os::unix::net::UnixListener::bind(&path).unwrap();
    // The shell becomes the server: its process number is the one that is named.
    let line = r#"exec 3<&0 </dev/null; LISTEN_FDS=1 LISTEN_PID=$$ exec "$0" serve disk.img --json"#;
    let mut command = room.command("sh", &["-c", line, env!("CARGO_BIN_EXE_sparsedisk")]);
    command.stdin(std::os::fd::OwnedFd::from(listener));
    let server = Serving::spawn(command);
    assert!(server.start["uri"].as_str().unwrap().ends_with("passed.sock"), "{}", server.start);
    Client::connect(&path).write(0, &[1; 512]).unwrap();
    server.signal("TERM");
    assert_eq!(server.end().0.code(), Some(0));
    assert!(path.exists(), "it belongs to whoever passed it on");
}

#[test]
fn law1_an_interrupt_at_any_moment_does_no_harm() {
    let room = Room::new();
    let image = room.create("disk.img", "64MiB");
    for index in 0..64 {
        let offset = index * MIB;
        crate::room::write_data(&image, offset, 512 * KIB);
        crate::room::write_zeroes(&image, offset + 512 * KIB, 512 * KIB);
    }
    let before = std::fs::read(&image).unwrap();
    for _ in 0..5 {
        let child = room
            .program(&["trim", "--verify", "--json", "disk.img"])
            .stdout(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        let _ = std::process::Command::new("kill").args(["-s", "INT", &child.id().to_string()]).status();
        let output = child.wait_with_output().unwrap();
        // The signal may come before the program listens, in the middle, or too late.
        if let Some(code) = output.status.code() {
            let object: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
            assert!(code == 0 || object["error"]["kind"] == "interrupted", "{object}");
        }
        assert_eq!(std::fs::read(&image).unwrap(), before);
    }
    assert_eq!(room.json(&["trim", "--verify", "disk.img"])["verified"], true);
    assert!(allocated(&image) <= 33 * MIB);
}

/// Must show 7, with a client of our own so that it needs no tool.
#[test]
fn law2_what_was_flushed_before_kill_9_is_there() {
    let room = Room::new();
    let image = room.create("disk.img", "64MiB");
    let server = Serving::start(&room, &["disk.img"]);
    let socket = room.path("disk.img.sock");
    let (flushed, told) = std::sync::mpsc::channel();
    let worker = std::thread::spawn(move || {
        let mut client = Client::connect(&socket);
        for index in 0..1024u64 {
            let block = [(index % 255) as u8 + 1; 64 * KIB as usize];
            if client.write(index * 64 * KIB, &block).is_err() {
                return;
            }
            if index % 8 == 7 && (client.flush().is_err() || flushed.send(index).is_err()) {
                return;
            }
        }
    });
    // Some rounds are over, and the worker is in the middle of the next.
    let mut last = 0;
    while last < 64 {
        last = told.recv().unwrap();
    }
    server.signal("KILL");
    let (status, _) = server.end();
    assert_eq!(status.code(), None, "it was killed");
    worker.join().unwrap();
    last = told.try_iter().last().unwrap_or(last);
    let file = File::open(&image).unwrap();
    for index in 0..=last {
        let mut block = [0; 64 * KIB as usize];
        file.read_exact_at(&mut block, index * 64 * KIB).unwrap();
        assert!(block.iter().all(|&byte| byte == (index % 255) as u8 + 1), "block {index} of {last}");
    }
    drop(file);
    // Neither the socket that the dead one left beside the image nor its lock keeps the next one from starting.
    let again = Serving::start(&room, &["disk.img"]);
    again.signal("TERM");
    assert!(again.end().0.success());
}

#[test]
fn a_stale_socket_named_by_the_user_stays() {
    let room = Room::new();
    room.create("disk.img", "8MiB");
    for name in ["disk.img.sock", "other.sock"] {
        drop(std::os::unix::net::UnixListener::bind(room.path(name)).unwrap());
        let listen = format!("unix:{name}");
        let error = room.json_error(1, &["serve", "disk.img", "--listen", &listen]);
        assert_eq!(error["kind"], "already_exists", "{error}");
        assert!(error["advice"].as_str().unwrap().contains("delete it"), "{error}");
    }
    std::fs::remove_file(room.path("disk.img.sock")).unwrap();
    let _alive = std::os::unix::net::UnixListener::bind(room.path("disk.img.sock")).unwrap();
    assert_eq!(room.json_error(1, &["serve", "disk.img"])["kind"], "already_exists");
}

#[test]
fn whoever_has_the_image_open_without_a_lock_is_named() {
    let room = Room::new();
    let image = room.create("disk.img", "8MiB");
    let _stranger = File::open(&image).unwrap();
    let ours = format!("process {}", std::process::id());
    for arguments in [
        &["punch", "disk.img", "--offset", "0", "--length", "4096"][..],
        &["sparse", "set", "disk.img"],
        &["sparse", "clear", "disk.img"],
        &["copy", "disk.img", "copy.img"],
        &["trim", "--dry-run", "disk.img"],
    ] {
        let ran = room.run(arguments);
        assert_eq!(ran.code(), 0, "{ran:?}");
        assert!(ran.err().contains("open elsewhere") && ran.err().contains(&ours), "{arguments:?}: {ran:?}");
    }
}

#[test]
fn a_server_for_everybody_says_so_and_where() {
    let room = Room::new();
    room.create("disk.img", "8MiB");
    let mut child = room
        .program(&["serve", "disk.img", "--listen", "tcp:0.0.0.0:0", "--allow-remote"])
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let mut out = std::io::BufReader::new(child.stdout.take().unwrap());
    let mut start = String::new();
    while !start.contains("nbd-client") || !start.ends_with("machines\n") {
        assert_ne!(std::io::BufRead::read_line(&mut out, &mut start).unwrap(), 0, "{start}");
    }
    let killed = std::process::Command::new("kill").arg(child.id().to_string()).status().unwrap();
    assert!(killed.success());
    let output = child.wait_with_output().unwrap();
    assert!(String::from_utf8_lossy(&output.stderr).contains("no password, no encryption"), "{output:?}");
}
