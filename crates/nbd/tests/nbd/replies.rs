//! What well-formed requests are answered with: data, holes, extents.

use nbd::Limits;
use nbd::protocol::{chunk, command, command_flag};

use crate::client::{Client, Reply, Style};
use crate::server::{MIB, Running, memory};

const KIB: usize = 1 << 10;

fn kinds(reply: &Reply) -> Vec<u16> {
    let Reply::Chunks(chunks) = reply else { panic!("{reply:?}") };
    chunks.iter().map(|chunk| chunk.kind).collect()
}

#[test]
fn what_is_written_in_any_pieces_is_read_in_any_pieces() {
    let server = Running::new(memory(4 * MIB));
    let data: Vec<u8> = (0..3 << 20).map(|at: u32| (at.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    let mut client = Client::new(server.address, Style::Structured);
    // The data of one write trickles in, in pieces that do not end on blocks.
    let cookie = client.send_request(0, command::WRITE, 512, 3 << 20);
    for piece in data.chunks(100_003) {
        client.send(piece);
    }
    assert_eq!(client.reply(cookie, command::WRITE, 0).error(), 0);
    let mut on_disk = vec![0; data.len()];
    server.disk.read(512, &mut on_disk).unwrap();
    assert!(on_disk == data);
    for style in [Style::Simple, Style::Structured] {
        let mut client = Client::new(server.address, style);
        for (offset, length) in [(0, 512), (512, 3 << 20), (512 * 7, 128 << 10), (MIB - 512, 300 << 10)] {
            let mut expected = vec![0; length];
            server.disk.read(offset, &mut expected).unwrap();
            assert!(client.read(offset, length as u32) == expected, "{style:?} {offset}+{length}");
        }
    }
}

#[test]
fn long_holes_in_reads_are_sent_as_holes_unless_fragments_are_declined() {
    let server = Running::new(memory(4 * MIB));
    let mut client = Client::new(server.address, Style::Structured);
    assert_eq!(client.write(0, MIB, &vec![9; 64 * KIB]), 0);
    assert_eq!(client.write(0, MIB + (68 << 10), &vec![8; 64 * KIB]), 0);
    let mut expected = vec![0; 3 << 20];
    server.disk.read(0, &mut expected).unwrap();
    let reply = client.request(0, command::READ, 0, 3 << 20);
    assert!(reply.data(0, 3 << 20) == expected);
    // The hole of 4 KiB between the two is cheaper sent as zeroes.
    assert_eq!(kinds(&reply), [chunk::OFFSET_HOLE, chunk::OFFSET_DATA, chunk::OFFSET_HOLE]);
    let whole = client.request(command_flag::DF, command::READ, 0, 3 << 20);
    assert_eq!(kinds(&whole), [chunk::OFFSET_DATA]);
    assert!(whole.data(0, 3 << 20) == expected);
    let short = client.request(0, command::READ, 0, 4096);
    assert_eq!(kinds(&short), [chunk::OFFSET_DATA], "not worth asking the map");
}

#[test]
fn a_hole_filled_by_another_connection_is_seen_and_a_hole_made_later_reads_as_zeroes() {
    let server = Running::new(memory(4 * MIB));
    let mut one = Client::new(server.address, Style::Structured);
    let mut other = Client::new(server.address, Style::Structured);
    assert_eq!(one.read(0, 1 << 20), vec![0; 1 << 20]);
    assert_eq!(other.write(0, 0, &vec![3; 1 << 20]), 0);
    assert_eq!(one.read(0, 1 << 20), vec![3; 1 << 20]);
    assert_eq!(other.request(0, command::TRIM, 0, 1 << 20).error(), 0);
    assert_eq!(one.read(0, 1 << 20), vec![0; 1 << 20]);
}

#[test]
fn block_status_covers_the_range_with_joined_extents() {
    let server = Running::new(memory(4 * MIB));
    let mut client = Client::new(server.address, Style::WithMap);
    assert_eq!(client.write(0, 64 << 10, &vec![1; 64 * KIB]), 0);
    let status = |client: &mut Client, flags, offset, length| {
        client.request(flags, command::BLOCK_STATUS, offset, length).extents()
    };
    let hole = 3;
    assert_eq!(status(&mut client, 0, 0, 256 << 10), [(64 << 10, hole), (64 << 10, 0), (128 << 10, hole)]);
    assert_eq!(status(&mut client, 0, 512, 4096), [(4096, hole)]);
    assert_eq!(status(&mut client, command_flag::REQ_ONE, 0, 256 << 10), [(64 << 10, hole)]);
    assert_eq!(status(&mut client, command_flag::REQ_ONE, 96 << 10, 256 << 10), [(32 << 10, 0)]);
    assert_eq!(client.request(0, command::TRIM, 64 << 10, 64 << 10).error(), 0);
    assert_eq!(status(&mut client, 0, 0, 4 << 20), [(4 << 20, hole)]);
}

#[test]
fn block_status_ends_after_as_many_extents_as_are_allowed() {
    let mut limits = Limits::default();
    limits.max_extents = 3;
    let server = Running::with(memory(MIB), limits);
    let mut client = Client::new(server.address, Style::WithMap);
    for page in [1, 3, 5] {
        assert_eq!(client.write(0, page * 4096, &[1; 4096]), 0);
    }
    let status =
        |client: &mut Client, offset, length| client.request(0, command::BLOCK_STATUS, offset, length).extents();
    assert_eq!(status(&mut client, 0, 1 << 20), [(4096, 3), (4096, 0), (4096, 3)]);
    assert_eq!(status(&mut client, 3 * 4096, 3 * 4096), [(4096, 0), (4096, 3), (4096, 0)]);
}

#[test]
fn block_status_without_a_context_is_invalid() {
    let server = Running::new(memory(MIB));
    for style in [Style::Simple, Style::Structured] {
        let mut client = Client::new(server.address, style);
        assert_eq!(client.request(0, command::BLOCK_STATUS, 0, 512).error(), 22);
    }
}

#[test]
fn fua_is_understood_on_every_command() {
    let server = Running::new(memory(MIB));
    let mut client = Client::new(server.address, Style::WithMap);
    for (command, length) in [
        (command::READ, 512),
        (command::FLUSH, 0),
        (command::TRIM, 4096),
        (command::WRITE_ZEROES, 4096),
        (command::CACHE, 4096),
        (command::BLOCK_STATUS, 512),
    ] {
        assert_eq!(client.request(command_flag::FUA, command, 0, length).error(), 0, "{command}");
    }
    assert_eq!(client.write(command_flag::FUA, 0, &vec![1; 1 << 20]), 0);
    let cookie = client.send_request(command_flag::FUA, command::DISC, 0, 0);
    assert!(client.is_closed(), "{cookie}");
}

#[test]
fn many_requests_at_once_are_answered_in_order() {
    let server = Running::new(memory(4 * MIB));
    for style in [Style::Simple, Style::WithMap] {
        let mut client = Client::new(server.address, style);
        let writer = std::thread::spawn({
            let mut stream = client.stream.try_clone().unwrap();
            move || {
                use std::io::Write as _;
                for number in 0..1000u64 {
                    let request = nbd::protocol::Request {
                        flags: 0,
                        command: if number % 3 == 0 { command::WRITE } else { command::READ },
                        cookie: number,
                        offset: number / 3 * 4096,
                        length: 4096,
                    };
                    let mut bytes = request.encode().to_vec();
                    if request.command == command::WRITE {
                        bytes.extend([number as u8; 4096]);
                    }
                    stream.write_all(&bytes).unwrap();
                }
            }
        });
        for number in 0..1000u64 {
            if number % 3 == 0 {
                assert_eq!(client.reply(number, command::WRITE, 4096).error(), 0);
            } else {
                let data = client.reply(number, command::READ, 4096).data(number / 3 * 4096, 4096);
                assert!(data.iter().all(|&byte| byte == (number / 3 * 3) as u8), "{number}");
            }
        }
        writer.join().unwrap();
    }
}
