//! A served image: trimmed and looked into while clients use it.
#![cfg(unix)]

use std::fs::File;
use std::io::Read;
use std::os::unix::fs::{FileExt, FileTypeExt, PermissionsExt};
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::thread::JoinHandle;

use serde_json::Value;

use crate::client::Client;
use crate::room::{KIB, MIB, Room, Serving, allocated, write_data, write_zeroes};

/// An image of 64 MiB: data, and after each piece of it zeroes that occupy space.
struct Disk {
    room: Room,
    image: PathBuf,
}

impl Disk {
    const LEN_BYTES: u64 = 64 * MIB;
    const ZEROES_BYTES: u64 = Self::LEN_BYTES / 2;
    /// A server that is this slow beside active clients needs minutes for a pass.
    const SLOW: &str = "--trim-rate=256K";

    fn new() -> Self {
        let room = Room::new();
        let image = room.create("disk.img", "64MiB");
        let disk = Self { room, image };
        disk.fill();
        disk
    }

    fn fill(&self) {
        for at in (0..Self::LEN_BYTES).step_by(MIB as usize) {
            write_data(&self.image, at, 512 * KIB);
            write_zeroes(&self.image, at + 512 * KIB, 512 * KIB);
        }
    }

    fn serve(&self, options: &[&str]) -> Serving {
        Serving::start(&self.room, &[&["disk.img"], options].concat())
    }

    fn client(&self) -> Client {
        Client::connect(&self.room.path("disk.img.sock"))
    }

    fn content(&self) -> Vec<u8> {
        std::fs::read(&self.image).unwrap()
    }

    fn info(&self) -> Value {
        self.room.json(&["info", "disk.img"])["served"].clone()
    }

    /// Asks until it is so.
    fn info_until(&self, so: impl Fn(&Value) -> bool) -> Value {
        loop {
            let served = self.info();
            if so(&served) {
                return served;
            }
        }
    }

    /// Begins `trim`, and returns when its pass has freed something, or is over.
    fn begin_trim(&self) -> Child {
        let before = self.info()["reclaim"]["freed_bytes"].as_u64().unwrap();
        let trim = self.room.program(&["trim", "disk.img", "--json"]).stdout(Stdio::piped()).spawn().unwrap();
        self.info_until(|served| served["reclaim"]["freed_bytes"].as_u64() > Some(before));
        trim
    }

    /// Does `end` to a trim in the middle of its pass, and gives what it said. A client that is kept from its writes for
    /// long is idle, and the pass is over before that: then it begins again.
    fn end_a_pass_by(&self, end: impl Fn(&Child)) -> Output {
        for _ in 0..20 {
            let trim = self.begin_trim();
            end(&trim);
            let output = trim.wait_with_output().unwrap();
            if !output.status.success() {
                return output;
            }
            // Beneath the server, which has to be told that something was written.
            self.fill();
            self.touch_all();
        }
        panic!("no pass was met in the middle");
    }

    /// Writes a sector in each mebibyte as it is.
    fn touch_all(&self) {
        let mut client = self.client();
        for at in (0..Self::LEN_BYTES).step_by(MIB as usize) {
            let mut sector = [0; 512];
            File::open(&self.image).unwrap().read_exact_at(&mut sector, at).unwrap();
            client.write(at, &sector).unwrap();
        }
    }
}

/// A client that writes the first sector again and again, as it is.
struct Busy {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Busy {
    fn with(disk: &Disk) -> Self {
        let stop = Arc::<AtomicBool>::default();
        let (mut client, told) = (disk.client(), Arc::clone(&stop));
        let sector: Vec<u8> = (0..512u64).map(|index| (index % 251) as u8 + 1).collect();
        let thread = std::thread::spawn(move || while !told.load(SeqCst) && client.write(0, &sector).is_ok() {});
        Self { stop, thread: Some(thread) }
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.stop.store(true, SeqCst);
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

fn signal(name: &str, pid: u32) {
    assert!(Command::new("kill").args(["-s", name, &pid.to_string()]).status().unwrap().success());
}

#[test]
fn law1_a_served_image_is_trimmed_by_its_server() {
    let disk = Disk::new();
    let before = disk.content();
    let server = disk.serve(&[]);
    let control = disk.room.path("disk.img.control");
    assert!(server.start["control"].as_str().unwrap().ends_with("/disk.img.control"));
    let metadata = std::fs::metadata(&control).unwrap();
    assert!(metadata.file_type().is_socket() && metadata.permissions().mode() & 0o777 == 0o600);

    let full = allocated(&disk.image);
    let trimmed = disk.room.json(&["trim", "disk.img"]);
    assert_eq!(trimmed["zero_bytes"], Disk::ZEROES_BYTES, "{trimmed}");
    assert_eq!((&trimmed["free_space_bytes"], &trimmed["verified"]), (&0.into(), &false.into()));
    // What lay in one piece lies in many, for which ext4 may need a block more.
    assert!(allocated(&disk.image) <= full - Disk::ZEROES_BYTES + 4 * KIB);
    assert_eq!(trimmed["allocated_after_bytes"], allocated(&disk.image), "law 6");
    // What is free inside is for those who have it mounted.
    assert_eq!(trimmed["refused"][0]["length"], Disk::LEN_BYTES);
    for word in ["fstrim", "-o discard", "NTFS"] {
        assert!(trimmed["refused"][0]["advice"].as_str().unwrap().contains(word), "{word}: {trimmed}");
    }
    assert_eq!(disk.content(), before);

    let again = disk.room.json(&["trim", "--zeros-only", "disk.img"]);
    assert_eq!((&again["zero_bytes"], &again["refused"]), (&0.into(), &Value::Array(vec![])), "{again}");
    let said = disk.room.run(&["trim", "disk.img"]).out();
    assert!(said.contains(&format!("process {}", server.pid())) && said.contains("left alone"), "{said}");
    server.signal("TERM");
    assert_eq!(server.end().0.code(), Some(0));
    assert!(!control.exists());
}

#[test]
fn law4_nothing_is_freed_while_another_program_may_write_to_the_image() {
    let disk = Disk::new();
    let _server = disk.serve(&[]);
    let full = allocated(&disk.image);
    let reader = File::open(&disk.image).unwrap();
    let writer = File::options().write(true).open(&disk.image).unwrap();
    let error = disk.room.json_error(3, &["trim", "disk.img"]);
    assert_eq!(error["kind"], "in_use", "{error}");
    let us = format!("process {}", std::process::id());
    assert!(error["message"].as_str().unwrap().contains(&us), "{error}");
    assert!(error["advice"].as_str().unwrap().contains("closed"), "{error}");
    assert_eq!(allocated(&disk.image), full);
    drop(writer);
    assert_eq!(disk.room.json(&["trim", "disk.img"])["zero_bytes"], Disk::ZEROES_BYTES);
    drop(reader);
}

#[test]
fn info_shows_live_what_a_server_does() {
    let disk = Disk::new();
    let server = disk.serve(&["--trim-every=7h", "--trim-rate=3MiB", "--keep-free=1MiB"]);
    let served = disk.info();
    assert_eq!((&served["pid"], &served["uri"]), (&server.pid().into(), &server.start["uri"]));
    assert_eq!((&served["connections"], &served["connections_total"]), (&0.into(), &0.into()));
    assert_eq!(served["reclaim"]["every_ms"], 7 * 3_600_000);
    assert_eq!(served["reclaim"]["rate_bytes"], 3 * MIB);
    assert_eq!((&served["keep_free_bytes"], &served["host_free_bytes"]), (&MIB.into(), &Value::Null));

    let (mut one, _two) = (disk.client(), disk.client());
    one.write(0, &[1; 4096]).unwrap();
    one.flush().unwrap();
    let served = disk.info_until(|served| served["connections"] == 2);
    assert_eq!((&served["writes"], &served["written_bytes"], &served["flushes"]), (&1.into(), &4096.into(), &1.into()));
    assert!(served["host_free_bytes"].as_u64().is_some(), "{served}");
    drop(one);
    let served = disk.info_until(|served| served["connections"] == 1);
    assert_eq!(served["connections_total"], 2);

    disk.room.json(&["trim", "disk.img"]);
    let served = disk.info();
    assert_eq!((&served["reclaim"]["passes"], &served["reclaim"]["running"]), (&1.into(), &Value::Null), "{served}");
    assert_eq!(served["reclaim"]["last"]["freed_bytes"], Disk::ZEROES_BYTES);
    let said = disk.room.run(&["info", "disk.img"]).out();
    for words in ["1 now, 2 connections", "every 7 h", "3 MiB a second", "32 MiB of 64 MiB looked at, in 1 run"] {
        assert!(said.contains(words), "{words}: {said}");
    }
}

#[test]
fn passes_run_by_the_clock_and_look_only_at_what_was_written_since() {
    let disk = Disk::new();
    // What clients write as zeroes is stored, for a pass to find.
    let _server = disk.serve(&["--trim-every=1s", "--no-detect-zeroes"]);
    let served = disk.info_until(|served| served["reclaim"]["passes"].as_u64() > Some(0));
    assert_eq!(served["reclaim"]["freed_bytes"], Disk::ZEROES_BYTES);
    let looked_at = served["reclaim"]["looked_at_bytes"].as_u64().unwrap();
    let mut client = disk.client();
    client.write(5 * MIB, &[0; 256 << 10]).unwrap();
    let served =
        disk.info_until(|served| served["reclaim"]["freed_bytes"].as_u64() == Some(Disk::ZEROES_BYTES + 256 * KIB));
    let more = served["reclaim"]["looked_at_bytes"].as_u64().unwrap() - looked_at;
    assert!(more <= 2 * MIB, "{more} bytes were looked at again, of a disk of {}", Disk::LEN_BYTES);
}

#[test]
fn a_pass_stops_when_its_user_asks_and_the_next_one_ends_it() {
    let disk = Disk::new();
    let before = disk.content();
    let _server = disk.serve(&[Disk::SLOW]);
    let busy = Busy::with(&disk);
    let output = disk.end_a_pass_by(|trim| signal("INT", trim.id()));
    let error: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((output.status.code(), &error["error"]["kind"]), (Some(1), &"interrupted".into()), "{error}");
    assert!(error["error"]["advice"].as_str().unwrap().contains("run it again"), "{error}");
    let served = disk.info();
    assert_eq!((&served["reclaim"]["stopped_passes"], &served["reclaim"]["running"]), (&1.into(), &Value::Null));
    assert!(disk.content() == before, "law 1");
    drop(busy);
    disk.room.json(&["trim", "disk.img"]);
    assert!(allocated(&disk.image) <= Disk::LEN_BYTES - Disk::ZEROES_BYTES + MIB);
    assert!(disk.content() == before, "law 1");
}

#[test]
fn a_pass_stops_when_whoever_asked_for_it_is_killed() {
    let disk = Disk::new();
    let _server = disk.serve(&[Disk::SLOW]);
    let _busy = Busy::with(&disk);
    let output = disk.end_a_pass_by(|trim| signal("KILL", trim.id()));
    assert_eq!(output.status.code(), None);
    disk.info_until(|served| served["reclaim"]["running"].is_null());
}

#[test]
fn one_asks_at_a_time_and_a_pass_by_the_clock_makes_room() {
    let disk = Disk::new();
    let _server = disk.serve(&[Disk::SLOW, "--trim-every=1s"]);
    let busy = Busy::with(&disk);
    // By the clock; then for the first who asks.
    disk.info_until(|served| served["reclaim"]["running"].is_object());
    let first = disk.room.program(&["trim", "disk.img", "--json"]).stdout(Stdio::piped()).spawn().unwrap();
    let stopped = disk.info_until(|served| served["reclaim"]["stopped_passes"] == 1);
    assert_eq!(stopped["reclaim"]["passes"], 0, "{stopped}");
    let error = disk.room.json_error(3, &["trim", "disk.img"]);
    assert_eq!(error["kind"], "in_use", "{error}");
    assert!(error["message"].as_str().unwrap().contains("disk.img: somebody else has asked"), "{error}");
    // Nobody is active any more, and the pass ends soon.
    drop(busy);
    assert_eq!(first.wait_with_output().unwrap().status.code(), Some(0));
}

#[test]
fn a_server_ends_in_the_middle_of_a_pass() {
    let disk = Disk::new();
    let before = disk.content();
    let server = disk.serve(&[Disk::SLOW]);
    let busy = Busy::with(&disk);
    let trim = disk.begin_trim();
    server.signal("TERM");
    assert_eq!(server.end().0.code(), Some(0));
    drop(busy);
    let output = trim.wait_with_output().unwrap();
    if !output.status.success() {
        let error: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(error["error"]["kind"], "interrupted", "{error}");
        assert!(error["error"]["message"].as_str().unwrap().contains("the server is ending"), "{error}");
    }
    assert!(disk.content() == before, "law 1");
    assert!(!disk.room.path("disk.img.control").exists());
}

#[test]
fn law1_a_server_killed_in_the_middle_of_a_pass_leaves_a_whole_image() {
    let disk = Disk::new();
    let before = disk.content();
    let server = disk.serve(&[Disk::SLOW]);
    let busy = Busy::with(&disk);
    let trim = disk.begin_trim();
    server.signal("KILL");
    assert_eq!(server.end().0.code(), None);
    drop(busy);
    let output = trim.wait_with_output().unwrap();
    if !output.status.success() {
        let error: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert!(error["error"]["message"].as_str().unwrap().contains("went away"), "{error}");
    }
    assert!(disk.content() == before);
    // Its socket is in nobody's way: without a lock there is no server to ask.
    let control = disk.room.path("disk.img.control");
    assert!(control.exists());
    assert_eq!(disk.info(), Value::Null);
    let again = disk.serve(&[]);
    assert_eq!(disk.info()["pid"], again.pid());
    disk.room.json(&["trim", "disk.img"]);
    assert!(disk.content() == before);
    assert!(allocated(&disk.image) <= Disk::LEN_BYTES - Disk::ZEROES_BYTES + MIB);
    drop(again);
    std::fs::remove_file(disk.room.path("disk.img.sock")).unwrap();
    std::fs::remove_file(&control).unwrap();
    assert_eq!(disk.room.json(&["trim", "disk.img"])["zero_bytes"], 0);
}

#[test]
fn what_stands_in_the_way_of_the_socket_stays_and_the_server_serves() {
    let disk = Disk::new();
    let control = disk.room.path("disk.img.control");
    std::fs::write(&control, "mine").unwrap();
    let server = disk.serve(&[]);
    assert_eq!(server.start["control"], Value::Null);
    disk.client().write(0, &[1; 512]).unwrap();
    let error = disk.room.json_error(3, &["trim", "disk.img"]);
    assert_eq!(error["kind"], "in_use");
    assert!(error["message"].as_str().unwrap().contains(&server.pid().to_string()), "{error}");
    assert_eq!(disk.info(), Value::Null);
    assert_eq!(std::fs::read_to_string(&control).unwrap(), "mine");
}

#[test]
fn a_server_of_readers_is_not_asked() {
    let disk = Disk::new();
    let server = disk.serve(&["--read-only"]);
    assert_eq!((&server.start["control"], &server.start["keep_free_bytes"]), (&Value::Null, &0.into()));
    assert_eq!(disk.info(), Value::Null);
    assert_eq!(disk.room.json_error(3, &["trim", "disk.img"])["kind"], "in_use");
    for option in ["--trim-every=1h", "--trim-rate=1M", "--keep-free=1M"] {
        let error = disk.room.json_error(2, &["serve", "disk.img", "--read-only", option]);
        assert_eq!(error["kind"], "invalid_input", "{option}");
    }
}

#[test]
fn another_user_gets_no_answer() {
    let disk = Disk::new();
    if !rustix::process::geteuid().is_root() {
        return crate::room::skip("only root can be another user too");
    }
    let _server = disk.serve(&[]);
    let everyone = std::fs::Permissions::from_mode(0o666);
    std::fs::set_permissions(&disk.image, everyone.clone()).unwrap();
    // The mode keeps others out, and where it was changed the server does.
    for mode in [0o600, 0o666] {
        let control = disk.room.path("disk.img.control");
        std::fs::set_permissions(&control, std::fs::Permissions::from_mode(mode)).unwrap();
        let ran = disk.room.run_as_nobody(&["trim", "disk.img", "--json"]);
        assert_eq!(ran.object()["error"]["kind"], "permission_denied", "{mode:o}: {ran:?}");
        let ran = disk.room.run_as_nobody(&["info", "disk.img", "--json"]);
        assert_eq!((ran.code(), &ran.object()["served"]), (0, &Value::Null), "{mode:o}: {ran:?}");
    }
    assert_eq!(disk.info()["reclaim"]["looked_at_bytes"], 0);
}

/// Must show 1, briefly: what clients wrote is there, whatever passes freed meanwhile.
#[test]
fn law4_clients_that_write_while_the_image_is_trimmed_lose_nothing() {
    let disk = Disk::new();
    let _server = disk.serve(&["--trim-rate=0", "--no-detect-zeroes"]);
    // Each block is a header and zeroes, so that there is something to free all along.
    let fio = disk
        .room
        .command("fio", &["--name=verify", "--ioengine=nbd", "--uri=nbd+unix:///?socket=disk.img.sock"])
        .args(["--rw=randwrite", "--bs=32k", "--size=16m", "--offset_increment=16m", "--numjobs=4", "--iodepth=8"])
        .args(["--verify=crc32c", "--verify_interval=32k", "--verify_pattern=0", "--verify_backlog=64"])
        .args(["--verify_fatal=1", "--verify_state_save=0", "--loops=8", "--group_reporting"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let mut fio = match fio {
        Ok(fio) => fio,
        Err(error) => return crate::room::skip(&format!("fio: {error}")),
    };
    while fio.try_wait().unwrap().is_none() {
        disk.room.json(&["trim", "disk.img"]);
    }
    let mut said = String::new();
    fio.stdout.take().unwrap().read_to_string(&mut said).unwrap();
    fio.stderr.take().unwrap().read_to_string(&mut said).unwrap();
    assert!(fio.wait().unwrap().success(), "{said}");
    let freed = disk.info()["reclaim"]["freed_bytes"].as_u64();
    assert!(freed > Some(Disk::ZEROES_BYTES), "and of what the clients wrote: {freed:?}");
}

/// Four clients that verify, one that is killed every second: 20 seconds of the soak where everything is required.
#[test]
fn the_soak_briefly() {
    let room = Room::new();
    if room.judge("fio", &["--version"]).is_none() {
        return;
    }
    if !room.judge("/usr/bin/python3", &["-c", "import nbd"]).is_some_and(|output| output.status.success()) {
        return crate::room::skip("python3-libnbd is not installed");
    }
    let all = std::env::var_os("SPARSEDISK_REQUIRE_ALL").is_some_and(|all| all == "1");
    let soak = concat!(env!("CARGO_MANIFEST_DIR"), "/../../scripts/soak");
    let program = env!("CARGO_BIN_EXE_sparsedisk");
    let output = room.command(soak, &[if all { "20" } else { "3" }]).env("SPARSEDISK", program).output().unwrap();
    assert!(output.status.success(), "{output:?}");
}

/// What clients copy in while passes run is what can be read afterwards.
#[test]
fn law4_a_copy_into_a_disk_that_is_trimmed_meanwhile_is_whole() {
    let disk = Disk::new();
    // Short runs of data among zeroes: what is zero at one glance is written the next moment.
    let mut content = vec![0; Disk::LEN_BYTES as usize];
    for (index, block) in content.chunks_mut(4096).enumerate() {
        if index * 7919 % 5 < 2 {
            block.fill((index % 255) as u8 + 1);
        }
    }
    std::fs::write(disk.room.path("source"), &content).unwrap();
    let _server = disk.serve(&["--trim-rate=0", "--no-detect-zeroes"]);
    let copy = disk
        .room
        .command("nbdcopy", &["--allocated", "--request-size=65536", "source", "nbd+unix:///?socket=disk.img.sock"])
        .spawn();
    let mut copy = match copy {
        Ok(copy) => copy,
        Err(error) => return crate::room::skip(&format!("nbdcopy: {error}")),
    };
    while copy.try_wait().unwrap().is_none() {
        disk.room.json(&["trim", "disk.img"]);
    }
    assert!(copy.wait().unwrap().success());
    disk.room.json(&["trim", "disk.img"]);
    assert!(disk.content() == content, "law 1");
}
