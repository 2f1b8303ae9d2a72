//! Clients that are slow, silent, greedy, gone, or too many, beside one that works.

use std::io::{Read, Write};
use std::net::TcpStream;

use nbd::Limits;
use nbd::protocol::command;

use crate::client::{Client, Style};
use crate::server::{MIB, Running, memory};

fn assert_works(server: &Running) {
    let mut client = Client::new(server.address, Style::Structured);
    assert_eq!(client.write(0, 0, &[6; 4096]), 0);
    assert_eq!(client.read(0, 4096), [6; 4096]);
    client.send_request(0, command::DISC, 0, 0);
    assert!(client.is_closed());
}

#[test]
fn silent_clients_hold_up_no_other() {
    let server = Running::new(memory(MIB));
    let _connected = TcpStream::connect(server.address).unwrap();
    let _greeted = Client::greeted(server.address);
    let mut half_option = Client::haggling(server.address);
    half_option.send(b"IHAVE");
    let _idle = Client::new(server.address, Style::Simple);
    let mut half_request = Client::new(server.address, Style::Simple);
    half_request.send(&[0x25, 0x60]);
    let mut half_write = Client::new(server.address, Style::Simple);
    half_write.send_request(0, command::WRITE, 0, 65536);
    half_write.send(&[1; 1000]);
    assert_works(&server);
}

#[test]
fn clients_that_vanish_at_any_byte_of_a_write_leave_the_server_as_it_was() {
    let server = Running::new(memory(MIB));
    let mut whole = nbd::protocol::Request { flags: 0, command: command::WRITE, cookie: 1, offset: 512, length: 512 }
        .encode()
        .to_vec();
    whole.extend([0xee; 512]);
    for len in (0..whole.len()).step_by(7).chain([27, 28, 29, 539]) {
        let mut client = Client::new(server.address, Style::Simple);
        client.send(&whole[..len]);
    }
    // A vanishing client's thread ends on its own time: the stop waits for it.
    let disk = server.disk.clone();
    assert_works(&server);
    let served = server.stop().unwrap();
    assert_eq!(served.cut_off, 0);
    let mut sector = [1; 512];
    disk.read(512, &mut sector).unwrap();
    assert_eq!(sector, [6; 512], "no half write was executed over the working client's");
}

#[test]
fn a_client_that_reads_no_replies_is_not_buffered_for_and_holds_up_no_other() {
    let server = Running::new(memory(16 * MIB));
    let mut greedy = Client::new(server.address, Style::Simple);
    greedy.stream.set_nonblocking(true).unwrap();
    let request =
        nbd::protocol::Request { flags: 0, command: command::READ, cookie: 7, offset: 0, length: 1 << 20 }.encode();
    // Ask for far more than sockets hold, until the server takes no more requests either: so it is waiting for us.
    let mut sent = 0u64;
    let mut refusals = 0;
    while refusals < 1000 {
        match greedy.stream.write(&request) {
            Ok(len) => {
                sent += len as u64;
                refusals = 0;
            }
            Err(_) => {
                refusals += 1;
                std::thread::yield_now();
            }
        }
        assert!(sent < 1 << 30, "the server goes on receiving from a client that reads nothing");
    }
    assert_works(&server);
}

#[test]
fn connections_over_the_limit_are_closed_and_places_become_free() {
    let mut limits = Limits::default();
    limits.max_connections = 2;
    let server = Running::with(memory(MIB), limits);
    let mut first = Client::new(server.address, Style::Simple);
    let mut second = Client::new(server.address, Style::Simple);
    let mut third = TcpStream::connect(server.address).unwrap();
    assert!(!matches!(third.read(&mut [0; 18]), Ok(1..)), "closed without a greeting");
    assert_eq!(first.read(0, 512), [0; 512]);
    first.send_request(0, command::DISC, 0, 0);
    assert!(first.is_closed());
    // The place is free once the server has noticed; until then we are refused.
    while TcpStream::connect(server.address).unwrap().read_exact(&mut [0; 18]).is_err() {}
    assert_eq!(second.read(0, 512), [0; 512]);
    let served = server.stop().unwrap();
    assert!(served.refused >= 1 && served.connections >= 3, "{served:?}");
}

#[test]
fn who_is_silent_in_the_handshake_makes_room_for_who_comes() {
    let mut limits = Limits::default();
    limits.max_connections = 2;
    let server = Running::with(memory(MIB), limits);
    let mut first = Client::new(server.address, Style::Simple);
    for _ in 0..3 {
        let mut silent = TcpStream::connect(server.address).unwrap();
        silent.read_exact(&mut [0; 18]).unwrap();
        let mut newcomer = Client::new(server.address, Style::Simple);
        assert!(!matches!(silent.read(&mut [0]), Ok(1..)), "the silent one was closed");
        assert_eq!(newcomer.read(0, 512), [0; 512]);
        newcomer.send_request(0, command::DISC, 0, 0);
        assert!(newcomer.is_closed());
        assert_eq!(first.read(0, 512), [0; 512], "who has begun stays");
        // The newcomer's place is free once the server has noticed; until then we are refused.
        while TcpStream::connect(server.address).unwrap().read_exact(&mut [0; 18]).is_err() {}
    }
    let served = server.stop().unwrap();
    assert!(served.displaced >= 3, "{served:?}");
}
