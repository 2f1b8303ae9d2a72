//! Long reads that go from the file to the socket without being copied: the same for a client as those that are read.

#![cfg(unix)]

use std::fs::File;
use std::io::Read;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use block_device::{ByteRange, Disk, Durability, RangeLocked, Stats, Window, ZeroDetect, ZeroMode};
use disk_image::{Format, Image};
use nbd::Limits;
use nbd::protocol::command;
use sparse_file::Allocation;

use crate::client::{Client, Style};
use crate::server::{MIB, Running};

fn limits(splice: bool) -> Limits {
    let mut limits = Limits::default();
    limits.splice = splice;
    limits
}

fn noise(len: usize) -> Vec<u8> {
    (0..len as u32).map(|at| (at.wrapping_mul(2_654_435_761) >> 24) as u8 | 1).collect()
}

/// A directory with an image of so many MiB in it, full of data.
fn image(mebibytes: u64) -> (tempfile::TempDir, Image) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("disk.img");
    let image = Image::create(&path, mebibytes * MIB, Format::Raw, Allocation::Sparse).unwrap();
    image.disk.write(0, &noise((mebibytes * MIB) as usize), Durability::Cached).unwrap();
    (directory, image)
}

/// The layers that a served disk has, as far as they change how it is read.
fn layered(disk: Disk) -> Disk {
    let disk = Disk::new(ZeroDetect::new(disk)).unwrap();
    Disk::new(RangeLocked::new(disk)).unwrap()
}

#[test]
fn a_long_read_is_the_same_copied_or_not() {
    let (_directory, image) = image(8);
    let unmap = ZeroMode { may_unmap: true, fast_only: false };
    image.disk.write_zeroes(3 * MIB, MIB, unmap, Durability::Cached).unwrap();
    image.disk.write_zeroes(5 * MIB + 4096, 64 << 10, unmap, Durability::Cached).unwrap();
    let window = ByteRange::new(4096, 8 * MIB - 512).unwrap();
    for disk in [layered(image.disk.clone()), Disk::new(Window::new(image.disk.clone(), window).unwrap()).unwrap()] {
        for splice in [true, false] {
            let server = Running::with(disk.clone(), limits(splice));
            for style in [Style::Simple, Style::Structured] {
                let mut client = Client::new(server.address, style);
                for (offset, length) in [
                    (0, 128 << 10),
                    (4096, MIB),
                    (512, MIB),
                    (MIB, MIB - 512),
                    (MIB + 4096, (128 << 10) + 512),
                    (2 * MIB - 4096, 5 * MIB),
                    (0, 7 * MIB),
                ] {
                    let mut expected = vec![0; length as usize];
                    disk.read(offset, &mut expected).unwrap();
                    let data = client.read(offset, length as u32);
                    assert!(data == expected, "splice {splice} {style:?} {offset}+{length}");
                }
            }
        }
    }
}

#[test]
fn law1_a_long_read_sees_every_write_that_was_acknowledged_before_it() {
    let (_directory, image) = image(2);
    let server = Running::with(layered(image.disk), limits(true));
    let length = 512 << 10;
    for style in [Style::Simple, Style::Structured] {
        let mut one = Client::new(server.address, style);
        let mut other = Client::new(server.address, style);
        for byte in 1..=32 {
            assert_eq!(one.write(0, 4096, &vec![byte; length]), 0);
            for reader in [&mut one, &mut other] {
                assert!(reader.read(4096, length as u32).iter().all(|&is| is == byte), "{style:?} {byte}");
            }
            // A read that was not waited for overlaps the writes that follow: old or new, and nothing else.
            let cookie = one.send_request(0, command::READ, 4096, length as u32);
            assert_eq!(other.write(0, 4096, &vec![byte + 100; length]), 0);
            let data = one.reply(cookie, command::READ, length as u32).data(4096, length);
            assert!(data.iter().all(|&is| is == byte || is == byte + 100), "{style:?} {byte}");
            assert!(one.read(4096, length as u32).iter().all(|&is| is == byte + 100), "{style:?} {byte}");
        }
    }
}

#[test]
fn law1_freed_pages_do_not_turn_up_in_later_reads() {
    let (_directory, image) = image(2);
    let server = Running::with(layered(image.disk), limits(true));
    let mut client = Client::new(server.address, Style::Structured);
    for round in 1..=16 {
        let cookie = client.send_request(0, command::READ, 0, MIB as u32);
        let old = client.reply(cookie, command::READ, MIB as u32).data(0, MIB as usize);
        assert!(round == 1 || old.iter().all(|&byte| byte == round - 1));
        assert_eq!(client.request(0, command::TRIM, 0, MIB as u32).error(), 0);
        assert!(client.read(0, MIB as u32).iter().all(|&byte| byte == 0));
        assert_eq!(client.write(0, 0, &vec![round; MIB as usize]), 0);
    }
}

#[test]
fn where_the_file_has_become_shorter_a_long_read_fails_and_the_connection_goes_on() {
    for splice in [true, false] {
        let (directory, image) = image(4);
        let server = Running::with(image.disk, limits(splice));
        for style in [Style::Simple, Style::Structured] {
            let mut client = Client::new(server.address, style);
            assert_eq!(client.read(0, 3 << 20).len(), 3 << 20);
            // Off the grid of pages: the last page is there, and not whole.
            let file = File::options().write(true).open(directory.path().join("disk.img")).unwrap();
            file.set_len(2 * MIB + 1000).unwrap();
            for (offset, length) in [(3 * MIB, 512 << 10), (2 * MIB - 65536, 512 << 10), (0, 4 << 20)] {
                let error = client.request(0, command::READ, offset, length).error();
                assert_ne!(error, 0, "splice {splice} {style:?} {offset}+{length}");
            }
            assert!(client.read(0, 2 << 20) == noise(2 << 20), "splice {splice} {style:?}");
            file.set_len(4 * MIB).unwrap();
        }
    }
}

#[test]
fn long_reads_are_counted() {
    let (_directory, image) = image(4);
    let stats = Stats::new(image.disk);
    let counters = stats.counters();
    let mut server = Running::with(Disk::new(stats).unwrap(), limits(true));
    let mut client = Client::new(server.address, Style::Structured);
    client.read(0, MIB as u32);
    client.read(MIB, 3 << 20);
    assert_eq!(counters.read_bytes.load(Relaxed), 4 * MIB);
    drop(client);
    server.stopper.stop();
    assert_eq!(server.join().unwrap().counters.bytes_read, 4 * MIB);
}

#[test]
fn a_client_that_does_not_take_a_long_read_is_cut_off_at_the_end() {
    let (_directory, image) = image(32);
    let mut limits = limits(true);
    limits.grace = Duration::from_millis(50);
    let mut server = Running::with(image.disk, limits);
    let mut client = Client::new(server.address, Style::Structured);
    for _ in 0..4 {
        client.send_request(0, command::READ, 0, 32 << 20);
    }
    client.stream.read_exact(&mut [0]).unwrap();
    server.stopper.stop();
    assert_eq!(server.join().unwrap().cut_off, 1);
}
