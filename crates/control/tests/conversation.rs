//! A server, and those who ask it: honest ones, and others.
#![cfg(unix)]

use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::sync::{Condvar, Mutex};

use control::{Answer, Asker, Client, Server, Status, Stopped, Stopper, Trimmed};
use disk_types::{Error, ErrorKind, Result};

/// Counts what it is asked; a pass goes on until it is stopped, or let go.
#[derive(Default)]
struct Counting {
    asked: AtomicU64,
    passes: Mutex<Passes>,
    changed: Condvar,
}

#[derive(Default)]
struct Passes {
    running: u64,
    ended: u64,
    stop: bool,
    let_go: bool,
}

impl Counting {
    fn wait_until(&self, what: impl Fn(&Passes) -> bool) {
        let passes = self.passes.lock().unwrap();
        drop(self.changed.wait_while(passes, |passes| !what(passes)).unwrap());
    }

    fn change(&self, change: impl FnOnce(&mut Passes)) {
        change(&mut self.passes.lock().unwrap());
        self.changed.notify_all();
    }
}

impl Answer for Counting {
    fn status(&self) -> Status {
        Status { pid: std::process::id(), writes: self.asked.fetch_add(1, SeqCst), ..Status::default() }
    }

    fn trim(&self, asker: &mut Asker<'_>) -> Result<Trimmed> {
        self.change(|passes| passes.running += 1);
        let result = loop {
            asker.progress(1, 2);
            if let Err(error) = asker.may_continue() {
                break Err(error);
            }
            let passes = self.passes.lock().unwrap();
            if passes.stop {
                break Err(Error::new(ErrorKind::Interrupted, "trim").because("stopped"));
            }
            if passes.let_go {
                break Ok(Trimmed { freed_bytes: 7, ..Trimmed::default() });
            }
            // What it looks at next is a socket, which notifies nobody.
            drop(self.changed.wait_timeout(passes, std::time::Duration::from_millis(5)).unwrap());
        };
        self.change(|passes| {
            passes.running -= 1;
            passes.ended += 1;
        });
        result
    }

    fn stop_trim(&self) -> Stopped {
        let was_running = self.passes.lock().unwrap().running > 0;
        self.change(|passes| passes.stop = true);
        Stopped { was_running }
    }
}

/// An image with a server beside it.
struct Room {
    directory: tempfile::TempDir,
    answer: Counting,
}

/// Stops the server also where the test fails, so that the failure is seen.
struct StopAtEnd(Stopper);

impl Drop for StopAtEnd {
    fn drop(&mut self) {
        self.0.stop();
    }
}

impl Room {
    fn new() -> Self {
        let room = Self { directory: tempfile::tempdir().unwrap(), answer: Counting::default() };
        std::fs::write(room.image(), "").unwrap();
        room
    }

    fn image(&self) -> PathBuf {
        self.directory.path().join("disk.img")
    }

    fn socket(&self) -> PathBuf {
        self.directory.path().join("disk.img.control")
    }

    /// Runs `test` beside a running server.
    fn with_server(&self, test: impl FnOnce()) {
        let server = Server::bind(&self.image()).unwrap();
        std::thread::scope(|scope| {
            let stop = StopAtEnd(server.stopper());
            scope.spawn(|| server.run(&self.answer));
            test();
            self.answer.change(|passes| passes.stop = true);
            drop(stop);
        });
        assert!(!self.socket().exists(), "the socket is gone with its server");
    }

    fn client(&self) -> Client {
        Client::connect(&self.image(), std::process::id()).unwrap().expect("somebody listens")
    }

    fn raw(&self) -> UnixStream {
        UnixStream::connect(self.socket()).unwrap()
    }

    /// What comes back for these bytes, up to the end.
    fn answer_to(&self, bytes: &[u8]) -> String {
        let mut stream = self.raw();
        // Who is answered early stops reading.
        let _ = stream.write_all(bytes);
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    }
}

#[test]
fn a_question_gets_its_answer_and_the_socket_is_for_its_user_only() {
    let room = Room::new();
    room.with_server(|| {
        assert_eq!(std::fs::metadata(room.socket()).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(room.client().status().unwrap().pid, std::process::id());
        assert!(!room.client().stop_trim().unwrap().was_running);
        // As a person would, without the end of a line, or with more behind it.
        let answer = room.answer_to(b"{\"schema\":1,\"ask\":\"status\"}\nand more\n");
        assert!(answer.starts_with("{\"schema\":1,\"result\":{") && answer.ends_with("}\n"), "{answer}");
        let mut stream = room.raw();
        stream.write_all(br#"{"schema":1,"ask":"status"}"#).unwrap();
        stream.shutdown(std::net::Shutdown::Write).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        assert!(answer.contains("\"result\""), "{answer}");
    });
}

#[test]
fn the_socket_lies_beside_the_image_itself_whatever_link_is_asked_by() {
    let room = Room::new();
    let link = room.directory.path().join("link.img");
    std::os::unix::fs::symlink("disk.img", &link).unwrap();
    room.with_server(|| {
        assert_eq!(control::socket_path(&link), std::fs::canonicalize(room.socket()).unwrap());
        assert!(Client::connect(&link, std::process::id()).unwrap().is_some());
    });
    assert!(Client::connect(&room.image(), std::process::id()).unwrap().is_none(), "nobody listens any more");
}

#[test]
fn a_pass_is_followed_to_its_end() {
    let room = Room::new();
    room.with_server(|| {
        let mut steps = 0;
        let trimmed = room.client().trim(&mut |done, total| {
            assert_eq!((done, total), (1, 2));
            steps += 1;
            room.answer.change(|passes| passes.let_go = true);
        });
        assert_eq!(trimmed.unwrap().freed_bytes, 7);
        assert!(steps > 0);
    });
}

#[test]
fn a_pass_is_stopped_from_another_connection() {
    let room = Room::new();
    room.with_server(|| {
        let stopped = AtomicBool::new(false);
        let result = room.client().trim(&mut |_, _| {
            if !stopped.swap(true, SeqCst) {
                assert!(room.client().stop_trim().unwrap().was_running);
            }
        });
        let error = result.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Interrupted);
        assert!(error.message().contains("disk.img: stopped"), "{error}");
    });
}

#[test]
fn who_hangs_up_stops_the_pass_and_who_only_has_no_more_to_say_does_not() {
    let room = Room::new();
    room.with_server(|| {
        let mut stream = room.raw();
        stream.write_all(b"{\"schema\":1,\"ask\":\"trim\"}\n").unwrap();
        stream.shutdown(std::net::Shutdown::Write).unwrap();
        let mut reader = BufReader::new(stream);
        for _ in 0..3 {
            let mut line = String::new();
            reader.read_line(&mut line).unwrap();
            assert_eq!(line, "{\"schema\":1,\"progress\":{\"done_bytes\":1,\"total_bytes\":2}}\n");
        }
        assert_eq!(room.answer.passes.lock().unwrap().running, 1);
        drop(reader);
        room.answer.wait_until(|passes| passes.ended == 1);
    });
}

#[test]
fn nobody_waits_for_ever_where_too_many_wait_already() {
    let room = Room::new();
    let listener = UnixListener::bind(room.socket()).unwrap();
    // As many as wait there, and one more; std lets at least 128 wait.
    let mut waiting = Vec::new();
    let full = loop {
        match Client::connect(&room.image(), std::process::id()) {
            Ok(client) => waiting.push(client.expect("somebody listens")),
            Err(error) => break error,
        }
    };
    assert_eq!(full.kind(), ErrorKind::InUse, "{full}");
    assert!(waiting.len() > 16);
    // It is not the place of a dead server.
    assert_eq!(Server::bind(&room.image()).unwrap_err().kind(), ErrorKind::AlreadyExists);
    drop(listener);
}

#[test]
fn hostile_questions_are_answered_with_an_error_and_the_server_goes_on() {
    let room = Room::new();
    room.with_server(|| {
        let long = vec![b'x'; Server::MAX_QUESTION_BYTES + 1];
        let never_ending = vec![b' '; 1 << 20];
        for (bytes, kind) in [
            (&b"\n"[..], "invalid_input"),
            (b"status\n", "invalid_input"),
            (b"{\"schema\":1}\n", "invalid_input"),
            (b"\0\0\0\0\n", "invalid_input"),
            (b"{\"schema\":1,\"ask\":\"format\"}\n", "unsupported"),
            (b"{\"schema\":9,\"ask\":\"trim\"}\n", "unsupported"),
            (b"GET / HTTP/1.1\r\n\r\n", "invalid_input"),
            (&long, "too_large"),
        ] {
            let answer = room.answer_to(bytes);
            assert!(answer.contains(&format!("{{\"schema\":1,\"error\":{{\"kind\":\"{kind}\"")), "{kind}: {answer}");
            assert_eq!(answer.lines().count(), 1);
        }
        // The answer may be lost with what it did not read.
        let mut stream = room.raw();
        let _ = stream.write_all(&never_ending);
        let _ = stream.read_to_end(&mut Vec::new());
        assert_eq!(room.answer.passes.lock().unwrap().ended, 0, "nothing was begun");
        assert!(room.client().status().is_ok());
    });
}

#[test]
fn one_asker_too_many_is_told_and_silent_ones_hold_up_nobody_else() {
    let room = Room::new();
    room.with_server(|| {
        // All but one place.
        let silent: Vec<_> = (1..Server::MAX_ASKERS).map(|_| room.raw()).collect();
        assert!(room.client().status().is_ok());
        // Its place may be taken for a moment still.
        let last = loop {
            let last = room.raw();
            let mut one_more = room.raw();
            let _ = one_more.write_all(b"{\"schema\":1,\"ask\":\"status\"}\n");
            let mut answer = String::new();
            let _ = one_more.read_to_string(&mut answer);
            if answer.contains("\"in_use\"") {
                break last;
            }
        };
        drop((silent, last));
        // The places are free again as soon as that is noticed.
        while room.client().status().is_err() {}
    });
}

#[test]
fn silent_askers_do_not_keep_the_server_from_ending() {
    let room = Room::new();
    let mut silent = None;
    room.with_server(|| silent = Some(room.raw()));
    // Whether it was accepted or not, it is told nothing and let go.
    let mut rest = Vec::new();
    let _ = silent.unwrap().read_to_end(&mut rest);
    assert_eq!(rest, b"");
}

#[test]
fn what_a_dead_server_left_is_replaced_and_nothing_else() {
    let room = Room::new();
    drop(UnixListener::bind(room.socket()).unwrap());
    assert!(room.socket().exists());
    assert!(Client::connect(&room.image(), std::process::id()).unwrap().is_none());
    room.with_server(|| assert!(room.client().status().is_ok()));

    std::fs::write(room.socket(), "mine").unwrap();
    assert_eq!(Server::bind(&room.image()).unwrap_err().kind(), ErrorKind::AlreadyExists);
    assert_eq!(std::fs::read_to_string(room.socket()).unwrap(), "mine");
}

#[test]
fn a_client_believes_only_the_process_that_holds_the_lock() {
    let room = Room::new();
    room.with_server(|| {
        let error = Client::connect(&room.image(), 1).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Refused);
        let ours = std::process::id().to_string();
        assert!(error.message().contains(&ours) && error.message().contains("process 1 "), "{error}");
    });
}

#[test]
fn a_path_that_no_socket_can_have_is_an_error_for_the_server_and_nobody_for_a_client() {
    let room = Room::new();
    let image = room.directory.path().join("x".repeat(120));
    std::fs::write(&image, "").unwrap();
    assert_eq!(Server::bind(&image).unwrap_err().kind(), ErrorKind::TooLarge);
    assert!(Client::connect(&image, std::process::id()).unwrap().is_none());
}

#[test]
fn a_server_that_answers_nonsense_is_no_answer() {
    let room = Room::new();
    for (answer, kind) in [
        (&b""[..], ErrorKind::Io),
        (b"\n", ErrorKind::Corrupt),
        (b"{\"schema\":1,\"progress\":{\"done_bytes\":1,\"total_bytes\":2}}\n", ErrorKind::Io),
        (b"{\"schema\":1,\"result\":[]}\n", ErrorKind::Corrupt),
    ] {
        let listener = UnixListener::bind(room.socket()).unwrap();
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let (mut stream, _) = listener.accept().unwrap();
                let mut question = String::new();
                BufReader::new(stream.try_clone().unwrap()).read_line(&mut question).unwrap();
                stream.write_all(answer).unwrap();
            });
            assert_eq!(room.client().status().unwrap_err().kind(), kind, "{:?}", String::from_utf8_lossy(answer));
        });
        std::fs::remove_file(room.socket()).unwrap();
    }
}
