//! A real kernel as judge: Linux 6.12 in a virtual machine gets our disk from `sparsedisk serve` as virtio-blk, mounts
//! its FAT32, writes, deletes, runs fstrim and unmounts. The image must shrink on the host.
//!
//! `tests/guest/prepare` fetches the kernel and qemu once; without it the test is skipped.
#![cfg(target_os = "linux")]

use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

const SPARSEDISK: &str = env!("CARGO_BIN_EXE_sparsedisk");

/// Ends the process it holds, whatever becomes of the test.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The virtual machine, seen through its serial console.
struct Guest {
    _machine: Running,
    answers: ChildStdin,
    console: BufReader<ChildStdout>,
}

impl Guest {
    fn boot(folder: &Path, disk: &str) -> Self {
        let libraries = ["root/usr/lib/x86_64-linux-gnu", "root/lib/x86_64-linux-gnu"]
            .map(|below| folder.join(below).display().to_string())
            .join(":");
        let mut machine = Command::new(folder.join("root/usr/bin/qemu-system-x86_64"))
            .env("LD_LIBRARY_PATH", libraries)
            .args(["-accel", "tcg", "-machine", "q35", "-cpu", "max", "-m", "512"])
            .args(["-nographic", "-no-reboot", "-nic", "none", "-append", "console=ttyS0 panic=-1 quiet"])
            .arg("-L")
            .arg(folder.join("root/usr/share/qemu"))
            .arg("-L")
            .arg(folder.join("root/usr/share/seabios"))
            .arg("-kernel")
            .arg(folder.join("kernel"))
            .arg("-initrd")
            .arg(folder.join("initrd"))
            .args(["-drive", &format!("file={disk},format=raw,if=none,id=disk,discard=unmap")])
            .args(["-device", "virtio-blk-pci,drive=disk"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("qemu starts");
        let answers = machine.stdin.take().expect("piped");
        let console = BufReader::new(machine.stdout.take().expect("piped"));
        Self { _machine: Running(machine), answers, console }
    }

    /// Waits for the guest to say `word`, and gives what else it said on that line.
    fn expect(&mut self, word: &str) -> String {
        let mut seen = String::new();
        loop {
            let mut line = Vec::new();
            let read = self.console.read_until(b'\n', &mut line).expect("the console can be read");
            assert!(read > 0, "the guest ended before it said {word:?}; it said:\n{seen}");
            let line = String::from_utf8_lossy(&line);
            seen.push_str(&line);
            let Some((_, said)) = line.trim_end().split_once("GUEST ") else { continue };
            let (first, rest) = said.split_once(' ').unwrap_or((said, ""));
            assert_ne!(first, "failed", "the guest failed; it said:\n{seen}");
            if first == word {
                return rest.to_owned();
            }
        }
    }

    fn go_on(&mut self) {
        self.answers.write_all(b"\n").expect("the guest listens");
    }
}

/// The prepared machine, or nothing, in which case the test was told why it cannot run.
fn prepared() -> Option<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/guest");
    if folder.join("ready").exists() {
        return Some(folder);
    }
    let why = "no guest kernel; crates/cli/tests/guest/prepare fetches one";
    assert!(std::env::var_os("SPARSEDISK_REQUIRE_ALL").is_none_or(|all| all != "1"), "{why}");
    eprintln!("skipped: {why}");
    None
}

fn allocated(image: &Path) -> u64 {
    std::fs::metadata(image).expect("the image exists").blocks() * 512
}

#[test]
fn the_guests_fstrim_shrinks_the_image() {
    let Some(machine) = prepared() else { return };
    let folder = tempfile::tempdir().expect("a temporary directory");
    let (image, socket) = (folder.path().join("disk.img"), folder.path().join("disk.sock"));
    let mut server = Command::new(SPARSEDISK)
        .arg("serve")
        .arg(&image)
        .args(["--size", "512MiB", "--fs", "fat32", "--listen"])
        .arg(format!("unix:{}", socket.display()))
        .stdout(Stdio::piped())
        .spawn()
        .expect("the server starts");
    let mut said = BufReader::new(server.stdout.take().expect("piped")).lines();
    let server = Running(server);
    // The server prints how to connect once it listens.
    said.find(|line| line.as_ref().is_ok_and(|line| line.contains("nbd+unix://")))
        .expect("the server listens")
        .unwrap();
    let empty = allocated(&image);

    let mut guest = Guest::boot(&machine, &format!("nbd+unix:///?socket={}", socket.display()));
    let written_sum = guest.expect("written");
    let full = allocated(&image);
    guest.go_on();
    guest.expect("deleted");
    guest.go_on();
    guest.expect("trimmed");
    let trimmed = allocated(&image);
    guest.go_on();
    assert_eq!(guest.expect("again"), written_sum, "law 1: the kept file changed");
    guest.expect("done");
    drop(guest);
    drop(server);

    eprintln!("allocated: empty {empty}, with 41 MB of files {full}, after fstrim {trimmed}");
    assert!(full >= empty + 40_000_000, "the guest's files never reached the image");
    assert!(trimmed <= empty + 1_000_000 + (1 << 20), "the guest's fstrim did not shrink the image");
    match Command::new("fsck.vfat").arg("-n").arg(&image).output() {
        Ok(judge) => assert!(judge.status.success(), "fsck.vfat: {}", String::from_utf8_lossy(&judge.stdout)),
        Err(_) => assert!(
            std::env::var_os("SPARSEDISK_REQUIRE_ALL").is_none_or(|all| all != "1"),
            "fsck.vfat is not installed"
        ),
    }
}
