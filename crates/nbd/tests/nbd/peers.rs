//! Other people's clients as judges: libnbd's tools, qemu, fio.
#![cfg(unix)]

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use block_device::{Disk, Durability, ReadOnly};
use disk_image::{Format, Image};
use nbd::protocol::{Request, command, command_flag, option};
use nbd::{Limits, Listen};
use sparse_file::{Access, Allocation};

use crate::client::{Client, Style};
use crate::server::{ANY_PORT, MIB, Running, memory};

/// Whether the tools are here. Says so if not, or panics where none may be missing.
fn have(tools: &[&str]) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = |tool: &&&str| std::env::split_paths(&path).any(|directory| directory.join(tool).is_file());
    let missing: Vec<_> = tools.iter().filter(|tool| !found(tool)).collect();
    missing.is_empty() || {
        skip(&format!("not installed: {missing:?}"));
        false
    }
}

/// Says that a test proves nothing here, or panics where every test must prove something.
fn skip(why: &str) {
    assert!(std::env::var_os("SPARSEDISK_REQUIRE_ALL").is_none_or(|value| value != "1"), "{why}");
    eprintln!("skipped: {why}");
}

/// A Python that has libnbd's module: the distribution's own, which need not be the first in the path.
fn python_with_libnbd() -> Option<&'static str> {
    let imports = |python: &&str| {
        let output = Command::new(python).args(["-c", "import nbd"]).output();
        output.is_ok_and(|output| output.status.success())
    };
    ["python3", "/usr/bin/python3"].into_iter().find(imports)
}

/// Runs a tool that must succeed; its standard output.
fn run(tool: &str, arguments: &[&str]) -> String {
    let output = Command::new(tool).args(arguments).stdin(Stdio::null()).output().unwrap();
    let (stdout, stderr) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{tool} {arguments:?}: {}\n{stdout}\n{stderr}", output.status);
    stdout.into_owned()
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// A directory with a socket in it, and a server there.
struct Served {
    directory: tempfile::TempDir,
    server: Running,
}

impl Served {
    fn new(disk: Disk) -> Self {
        Self::with(disk, Limits::default())
    }

    fn with(disk: Disk, limits: Limits) -> Self {
        let directory = tempfile::tempdir().unwrap();
        // A name that must be encoded in the URI.
        let listen = Listen::Unix(directory.path().join("a disk,100.sock"));
        let server = Running::on(&listen, disk, limits);
        Self { directory, server }
    }

    fn uri(&self) -> &str {
        &self.server.uri
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }
}

/// A sparse image of 64 MiB with data of different lengths, off the grid of most things.
fn sparse_image(path: &Path) -> Image {
    let image = Image::create(path, 64 * MIB, Format::Raw, Allocation::Sparse).unwrap();
    for (offset, len) in
        [(0, 4096), (MIB, 512), (5 * MIB + 512, 300 << 10), (20 * MIB, 3 << 20), (64 * MIB - 4096, 4096)]
    {
        let data: Vec<u8> = (0..len).map(|at: u32| (at / 7) as u8 | 1).collect();
        image.disk.write(offset, &data, Durability::Cached).unwrap();
    }
    image
}

fn content(path: &Path) -> Vec<u8> {
    std::fs::read(path).unwrap()
}

#[test]
fn nbdinfo_sees_what_the_export_can_do_and_its_map() {
    if !have(&["nbdinfo"]) {
        return;
    }
    let served = Served::new(memory(MIB));
    served.server.disk.write(64 << 10, &[1; 8192], Durability::Cached).unwrap();
    let uri = served.uri();
    assert_eq!(run("nbdinfo", &["--size", uri]).trim(), "1048576");
    let list = run("nbdinfo", &["--list", uri]);
    assert!(list.contains("export=\"disk\"") && list.contains("a disk for tests"), "{list}");
    for able in ["cache", "df", "fast-zero", "flush", "fua", "multi-conn", "read", "trim", "write", "zero"] {
        run("nbdinfo", &["--can", able, uri]);
    }
    run("nbdinfo", &["--can", "structured-reply", uri]);
    let map = run("nbdinfo", &["--map", uri]);
    let map: Vec<Vec<&str>> = map.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(map[0][..3], ["0", "65536", "3"]);
    assert_eq!(map[1][..3], ["65536", "8192", "0"]);
    assert_eq!(map[2][..3], ["73728", "974848", "3"]);
    let info = run("nbdinfo", &[uri]);
    assert!(info.contains("block_size_minimum: 512") && info.contains("block_size_maximum: 33554432"), "{info}");

    let served = Served::new(Disk::new(ReadOnly::new(memory(MIB))).unwrap());
    run("nbdinfo", &["--is", "read-only", served.uri()]);
    let status = Command::new("nbdinfo").args(["--can", "write", served.uri()]).status().unwrap();
    assert!(!status.success());
}

#[test]
fn law1_nbdcopy_copies_sparse_data_both_ways() {
    if !have(&["nbdcopy"]) {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let (source, middle, back) =
        (directory.path().join("source"), directory.path().join("middle"), directory.path().join("back"));
    let original = sparse_image(&source);
    let target = Image::create(&middle, 64 * MIB, Format::Raw, Allocation::Sparse).unwrap();
    let served = Served::new(target.disk.clone());
    run("nbdcopy", &["--destination-is-zero", "--flush", text(&source), served.uri()]);
    assert!(content(&source) == content(&middle));
    let (before, after) = (original.disk.allocated_bytes().unwrap(), target.disk.allocated_bytes().unwrap());
    assert!(after <= before + MIB, "{before} bytes became {after}");
    run("nbdcopy", &[served.uri(), text(&back)]);
    assert!(content(&source) == content(&back));
}

#[test]
fn qemu_img_reads_maps_compares_and_converts() {
    if !have(&["qemu-img"]) {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let (source, copy) = (directory.path().join("source"), directory.path().join("copy"));
    let image = sparse_image(&source);
    let served = Served::new(image.disk.clone());
    let uri = served.uri();
    let info = run("qemu-img", &["info", "--output=json", uri]);
    assert!(info.contains("\"virtual-size\": 67108864"), "{info}");
    // What qemu finds in the file itself is what it finds through us.
    let extents = |json: &str| -> Vec<(String, String, String)> {
        let field = |line: &str, name: &str| {
            let rest = line.split(&format!("\"{name}\": ")).nth(1).unwrap();
            rest.split([',', '}']).next().unwrap().to_string()
        };
        json.lines()
            .filter(|line| line.contains("\"start\""))
            .map(|line| (field(line, "start"), field(line, "length"), field(line, "data")))
            .collect()
    };
    let ours = extents(&run("qemu-img", &["map", "-f", "raw", "--output=json", uri]));
    let own = extents(&run("qemu-img", &["map", "-U", "-f", "raw", "--output=json", text(&source)]));
    assert_eq!(ours, own);
    assert!(ours.len() > 5, "{ours:?}");
    run("qemu-img", &["compare", "-U", "-f", "raw", "-F", "raw", text(&source), uri]);
    run("qemu-img", &["convert", "-f", "raw", "-O", "raw", uri, text(&copy)]);
    assert!(content(&source) == content(&copy));
    let target = Image::create(&served.path("target"), 64 * MIB, Format::Raw, Allocation::Sparse).unwrap();
    let other = Served::new(target.disk.clone());
    run("qemu-img", &["convert", "-n", "-f", "raw", "-O", "raw", text(&copy), other.uri()]);
    assert!(content(&copy) == content(&served.path("target")));
    assert!(target.disk.allocated_bytes().unwrap() < 8 * MIB);
}

const NBDSH: &str = r#"
import nbd, os, errno
uri = os.environ["URI"]
h = nbd.NBD()
h.add_meta_context("base:allocation")
h.connect_uri(uri)
assert h.get_size() == 16 << 20
assert h.get_structured_replies_negotiated() and h.can_meta_context("base:allocation")
assert not h.is_read_only() and h.can_flush() and h.can_fua() and h.can_trim() and h.can_zero()
assert h.can_fast_zero() and h.can_df() and h.can_multi_conn() and h.can_cache()
assert h.get_block_size(nbd.SIZE_MINIMUM) == 512
assert h.get_block_size(nbd.SIZE_PREFERRED) == 4096
assert h.get_block_size(nbd.SIZE_MAXIMUM) == 32 << 20

def status(handle, length, offset, flags=0):
    found = []
    def extent(context, at, entries, error):
        assert context == "base:allocation" and at == offset
        found.extend(zip(entries[::2], entries[1::2]))
    handle.block_status(length, offset, extent, flags)
    return found

assert status(h, 16 << 20, 0) == [(16 << 20, 3)]
data = bytes(range(256)) * 256
h.pwrite(data, 1 << 20, nbd.CMD_FLAG_FUA)
assert status(h, 16 << 20, 0) == [(1 << 20, 3), (65536, 0), ((15 << 20) - 65536, 3)]
assert status(h, 15 << 20, 1 << 20, nbd.CMD_FLAG_REQ_ONE) == [(65536, 0)]
assert h.pread(65536, 1 << 20) == data

# Structured reads: the parts arrive once each, holes as holes, together exactly the range.
parts = []
def chunk(buf, offset, kind, error):
    parts.append((offset, len(buf), kind))
back = h.pread_structured(2 << 20, 0, chunk)
assert back == bytes(1 << 20) + data + bytes((1 << 20) - 65536)
assert parts == [(0, 1 << 20, nbd.READ_HOLE), (1 << 20, 65536, nbd.READ_DATA),
                 ((1 << 20) + 65536, (1 << 20) - 65536, nbd.READ_HOLE)], parts
parts.clear()
h.pread_structured(2 << 20, 0, chunk, nbd.CMD_FLAG_DF)
assert parts == [(0, 2 << 20, nbd.READ_DATA)]

# Zeroes: fast or not at all, with and without a hole.
h.zero(4096, 1 << 20, nbd.CMD_FLAG_FAST_ZERO)
assert status(h, 4096, 1 << 20) == [(4096, 3)]
h.zero(4096, (1 << 20) + 4096, nbd.CMD_FLAG_NO_HOLE | nbd.CMD_FLAG_FUA)
assert status(h, 4096, (1 << 20) + 4096) == [(4096, 0)]
try:
    h.zero(4096, (1 << 20) + 8192, nbd.CMD_FLAG_NO_HOLE | nbd.CMD_FLAG_FAST_ZERO)
    assert False
except nbd.Error as e:
    assert e.errnum == errno.ENOTSUP
assert h.pread(65536, 1 << 20) == bytes(8192) + data[8192:]
h.trim(65536, 1 << 20, nbd.CMD_FLAG_FUA)
assert status(h, 16 << 20, 0) == [(16 << 20, 3)]
h.cache(1 << 20, 0)
h.flush()

# Several connections are one disk.
other = nbd.NBD()
other.connect_uri(uri)
h.pwrite(b"1" * 4096, 0)
assert other.pread(4096, 0) == b"1" * 4096
other.flush()

# Errors as the protocol has them; the connection goes on.
h.set_strict_mode(0)
def fails(number, call, *arguments):
    try:
        call(*arguments)
    except nbd.Error as e:
        assert e.errnum == number, (e.errnum, number)
    else:
        assert False
fails(errno.EINVAL, h.pread, 512, 16 << 20)
fails(errno.ENOSPC, h.pwrite, b"x" * 512, 16 << 20)
fails(errno.EINVAL, h.pread, 100, 0)
fails(errno.EINVAL, h.trim, 512, 1 << 40)
fails(errno.EINVAL, h.block_status, 4096, 16 << 20, lambda *arguments: 0)
assert h.pread(4096, 0) == b"1" * 4096
h.shutdown()
other.shutdown()

# Without structured replies, and the exports by name.
plain = nbd.NBD()
plain.set_request_structured_replies(False)
plain.set_export_name("disk")
plain.connect_unix(os.environ["SOCKET"])
assert not plain.get_structured_replies_negotiated() and not plain.can_df()
assert plain.pread(4096, 0) == b"1" * 4096
plain.shutdown()
wrong = nbd.NBD()
wrong.set_export_name("other")
fails(errno.ENOENT, wrong.connect_unix, os.environ["SOCKET"])
"#;

#[test]
fn libnbd_for_python_finds_flags_status_zeroes_chunks_and_errors_as_they_should_be() {
    let Some(python) = python_with_libnbd() else { return skip("no Python has the module nbd") };
    let served = Served::new(memory(16 * MIB));
    let output = Command::new(python)
        .args(["-c", NBDSH])
        .env("URI", served.uri())
        .env("SOCKET", served.path("a disk,100.sock"))
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// Whether fio reads what it has written, on four connections with 16 requests each; what it says if not.
fn fio_verifies(directory: &Path, uri: &str) -> Result<(), String> {
    let output = Command::new("fio")
        .current_dir(directory)
        .args(["--name=verify", "--ioengine=nbd", &format!("--uri={uri}")])
        .args(["--rw=randrw", "--bsrange=4k-256k", "--iodepth=16"])
        .args(["--size=32m", "--numjobs=4", "--offset_increment=32m", "--group_reporting"])
        .args(["--verify=crc32c", "--verify_fatal=1", "--do_verify=1", "--norandommap=0", "--randseed=7"])
        .output()
        .unwrap();
    let (stdout, stderr) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    let good = output.status.success() && !stdout.contains("verify: bad");
    if good { Ok(()) } else { Err(format!("{stdout}\n{stderr}")) }
}

/// Sends malformed requests and handshakes until told to stop.
fn misbehave(address: std::net::SocketAddr, stop: &AtomicBool) {
    let mut seed = 0x9e37_79b9_7f4a_7c15_u64;
    let mut random = || {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        seed
    };
    while !stop.load(Ordering::Relaxed) {
        let mut client = Client::haggling(address);
        client.option(option::GO, &random().to_be_bytes());
        client.option(u32::try_from(random() % 50 + 20).unwrap(), b"?");
        client.begin(Style::Structured);
        // All of it beyond the end or malformed: nothing may reach the disk.
        for _ in 0..20 {
            let offset = (1 << 30) + random() % (1 << 62);
            let command = [command::READ, command::TRIM, command::WRITE_ZEROES, 99][(random() % 4) as usize];
            assert_ne!(client.request(command_flag::FUA, command, offset, 512).error(), 0);
            assert_ne!(client.request(1 << 9, command::WRITE_ZEROES, 0, 4096).error(), 0);
            assert_ne!(client.write(0, offset, &[0xbd; 1024]), 0);
        }
        match random() % 3 {
            0 => client.send(&[0xff; 28]),
            1 => client.send(&Request { flags: 0, command: 1, cookie: 0, offset: 0, length: 1 << 20 }.encode()),
            _ => client.send(&[0x25]),
        }
    }
}

#[test]
fn law1_fio_verifies_four_connections_while_a_fifth_misbehaves() {
    if !have(&["fio"]) {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let image = Image::create(&directory.path().join("disk.img"), 128 * MIB, Format::Raw, Allocation::Sparse).unwrap();
    let server = Running::new(image.disk.clone());
    let stop = Arc::new(AtomicBool::new(false));
    let fifth = std::thread::spawn({
        let (stop, address) = (Arc::clone(&stop), server.address);
        move || misbehave(address, &stop)
    });
    let verified = fio_verifies(directory.path(), &server.uri);
    stop.store(true, Ordering::Relaxed);
    fifth.join().unwrap();
    verified.unwrap();
    let served = server.stop().unwrap();
    assert!(served.connections > 4 && served.counters.bytes_written >= 32 * MIB, "{served:?}");
}

#[test]
fn law1_fio_verifies_with_and_without_the_short_cuts() {
    if !have(&["fio"]) {
        return;
    }
    for short_cuts in [true, false] {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("disk.img");
        let image = Image::create(&path, 128 * MIB, Format::Raw, Allocation::Sparse).unwrap();
        let served = Served::with(image.disk, limits(short_cuts));
        fio_verifies(directory.path(), served.uri()).unwrap_or_else(|said| panic!("{short_cuts}: {said}"));
    }
}

const IMAGE: &str = "NBD_TEST_SERVE_IMAGE";
const WITHOUT_SHORT_CUTS: &str = "NBD_TEST_SERVE_WITHOUT_SHORT_CUTS";

/// The default, or every short cut switched off.
fn limits(short_cuts: bool) -> Limits {
    let mut limits = Limits::default();
    (limits.splice, limits.batch) = (short_cuts, short_cuts);
    (limits.busy_poll, limits.read_ahead, limits.background) = (short_cuts, short_cuts, short_cuts);
    limits
}

/// The server process of the next test; not a test of its own.
#[test]
fn a_server_process_for_the_kill() {
    let Some(path) = std::env::var_os(IMAGE) else { return };
    let image = Image::open(Path::new(&path), Access::ReadWrite).unwrap();
    let export = nbd::Export { name: String::new(), description: String::new(), disk: image.disk };
    let limits = limits(std::env::var_os(WITHOUT_SHORT_CUTS).is_none());
    let server = nbd::Server::bind(&Listen::Tcp(ANY_PORT), export, limits).unwrap();
    println!("\nlistening {}", server.uri());
    std::io::stdout().flush().unwrap();
    server.run().unwrap();
}

#[test]
fn law2_after_a_kill_everything_flushed_is_there() {
    kill_one_that_serves(true);
}

#[test]
fn law2_after_a_kill_everything_flushed_is_there_without_short_cuts() {
    kill_one_that_serves(false);
}

fn kill_one_that_serves(short_cuts: bool) {
    const BLOCKS: u64 = 512;
    const BLOCK: u64 = 4096;
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("disk.img");
    drop(Image::create(&path, BLOCKS * BLOCK, Format::Raw, Allocation::Sparse).unwrap());
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "peers::a_server_process_for_the_kill", "--nocapture"]).env(IMAGE, &path);
    if !short_cuts {
        command.env(WITHOUT_SHORT_CUTS, "1");
    }
    let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let address = lines.find_map(|line| line.unwrap().strip_prefix("listening nbd://").map(str::to_string)).unwrap();
    let mut client = Client::new(address.parse().unwrap(), Style::Simple);
    // Rounds of writes, each block carrying its round, each round flushed, until the server is killed in the midst.
    let rounds = Arc::new(AtomicU64::new(0));
    let killer = std::thread::spawn({
        let rounds = Arc::clone(&rounds);
        move || {
            while rounds.load(Ordering::Acquire) < 20 {
                std::thread::yield_now();
            }
            child.kill().unwrap();
            child.wait().unwrap();
        }
    });
    let flushed = write_rounds(&mut client, &rounds, BLOCKS, BLOCK);
    // In case it ended for another reason: then the killer would wait for ever.
    assert!(flushed >= 20, "the server ended before it was killed");
    killer.join().unwrap();
    let image = Image::open(&path, Access::ReadOnly).unwrap();
    for block in 0..BLOCKS {
        let mut data = [0; BLOCK as usize];
        image.disk.read(block * BLOCK, &mut data).unwrap();
        let stamp = |at: usize| u64::from_be_bytes(data[at..at + 8].try_into().unwrap());
        assert!(stamp(0) >= flushed, "block {block} holds round {}, and {flushed} was flushed", stamp(0));
        assert!(data.chunks(8).all(|part| part == &data[..8]), "block {block} is torn");
    }
}

/// Writes until the connection breaks; the last round whose flush was answered.
fn write_rounds(client: &mut Client, rounds: &AtomicU64, blocks: u64, block_bytes: u64) -> u64 {
    use std::io::Read;
    let mut flushed = 0;
    for round in 1u64.. {
        let mut batch = Vec::new();
        for block in 0..blocks {
            let length = u32::try_from(block_bytes).unwrap();
            let request =
                Request { flags: 0, command: command::WRITE, cookie: block, offset: block * block_bytes, length };
            batch.extend(request.encode());
            batch.extend(round.to_be_bytes().repeat(block_bytes as usize / 8));
        }
        batch.extend(Request { flags: 0, command: command::FLUSH, cookie: round, offset: 0, length: 0 }.encode());
        let mut stream = client.stream.try_clone().unwrap();
        let sender = std::thread::spawn(move || stream.write_all(&batch).is_ok());
        let mut replies = vec![0; 16 * (blocks as usize + 1)];
        let answered = client.stream.read_exact(&mut replies).is_ok();
        if !sender.join().unwrap() || !answered {
            break;
        }
        assert!(replies.chunks(16).all(|reply| reply[4..8] == [0; 4]), "an error in round {round}");
        flushed = round;
        rounds.store(round, Ordering::Release);
    }
    flushed
}
