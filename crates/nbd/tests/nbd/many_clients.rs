//! Clients that are slow, silent, greedy, gone, or too many, beside one that works.

use std::io::Write;
use std::net::TcpStream;

use nbd::Limits;
use nbd::protocol::{command, option, option_reply};

use crate::client::{Client, Style, go};
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
fn one_client_more_than_allowed_is_told_so_and_nobody_is_sent_away_for_it() {
    let mut limits = Limits::default();
    limits.max_connections = 2;
    let server = Running::with(memory(MIB), limits);
    let mut first = Client::new(server.address, Style::Simple);
    let mut silent = Client::new(server.address, Style::Simple);
    let mut third = Client::haggling(server.address);
    let (error, words) = third.option(option::GO, &go("", &[])).pop().unwrap();
    assert_eq!(error, option_reply::ERR_POLICY);
    assert!(String::from_utf8(words).unwrap().contains("as many clients as are allowed"));
    assert_eq!(third.option(option::INFO, &go("", &[])).last().unwrap().0, option_reply::ACK, "it may ask");
    let mut by_name = Client::haggling(server.address);
    by_name.send_option(option::EXPORT_NAME, &[]);
    assert!(by_name.is_closed(), "this option knows no refusal");
    first.send_request(0, command::DISC, 0, 0);
    assert!(first.is_closed());
    // The place is free once the server has noticed.
    while third.option(option::GO, &go("", &[])).last().unwrap().0 != option_reply::ACK {}
    assert_eq!(third.read(0, 512), [0; 512]);
    assert_eq!(silent.read(0, 512), [0; 512]);
    let served = server.stop().unwrap();
    assert!(served.refused >= 2 && served.displaced == 0, "{served:?}");
    assert_eq!(served.connections, 4);
}

#[test]
fn who_is_silent_in_the_handshake_makes_room_for_who_comes() {
    let mut limits = Limits::default();
    limits.max_connections = 2;
    let server = Running::with(memory(MIB), limits);
    let mut first = Client::new(server.address, Style::Simple);
    // 16 connections may be in their handshake, and here one more, because one client is missing.
    let mut silent: Vec<Client> = (0..17).map(|_| Client::greeted(server.address)).collect();
    let mut newcomer = Client::new(server.address, Style::Simple);
    assert!(silent[0].is_closed(), "the oldest was closed");
    assert_eq!(newcomer.read(0, 512), [0; 512]);
    assert_eq!(first.read(0, 512), [0; 512]);
    silent[1].send(&3u32.to_be_bytes());
    assert_eq!(silent[1].option(option::LIST, &[]).len(), 2, "the others stay");
    assert_eq!(server.stop().unwrap().displaced, 1);
}
