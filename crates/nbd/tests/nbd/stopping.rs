//! The end: what was received is answered, stuck clients are cut off, the disk is flushed.

use std::time::Duration;

use block_device::{Disk, ErrorKind};
use nbd::protocol::{Request, command, option, option_reply};
use nbd::{Errno, Limits, Listen, Server};

use crate::client::{Client, Style, go};
use crate::server::{Gate, Gated, MIB, Running, export, memory};

#[test]
fn requests_in_flight_are_answered_before_the_end() {
    let gate = Gate::default();
    let disk = memory(MIB);
    let server = Running::new(Disk::new(Gated { disk: disk.clone(), gate: gate.clone() }).unwrap());
    let mut client = Client::new(server.address, Style::Simple);
    let first = client.send_request(0, command::READ, 0, 512);
    gate.wait_for(1);
    // These wait in the socket while the first is being executed.
    let second = client.send_request(0, command::WRITE, 512, 512);
    client.send(&[5; 512]);
    let third = client.send_request(0, command::READ, 512, 512);
    server.stopper.stop();
    gate.open();
    assert_eq!(client.reply(first, command::READ, 512).error(), 0);
    assert_eq!(client.reply(second, command::WRITE, 512).error(), 0);
    assert_eq!(client.reply(third, command::READ, 512).data(512, 512), [5; 512]);
    assert!(client.is_closed());
    let served = server.stop().unwrap();
    assert_eq!((served.connections, served.counters.requests, served.cut_off), (1, 3, 0));
    assert_eq!((served.counters.bytes_read, served.counters.bytes_written), (1024, 512));
}

#[test]
fn a_write_whose_data_is_still_on_its_way_is_told_that_the_server_stops() {
    for style in [Style::Simple, Style::Structured] {
        let server = Running::new(memory(MIB));
        let mut client = Client::new(server.address, style);
        let before = client.send_request(0, command::READ, 0, 512);
        let cookie = client.send_request(0, command::WRITE, 0, 4096);
        client.send(&[1; 1000]);
        // Its reply shows that the server has received the request before it is told to stop.
        assert_eq!(client.reply(before, command::READ, 512).error(), 0);
        server.stopper.stop();
        assert_eq!(client.reply(cookie, command::WRITE, 4096).error(), Errno::Shutdown.code());
        assert!(client.is_closed());
        let disk = server.disk.clone();
        server.stop().unwrap();
        assert_eq!(disk.allocated_bytes().unwrap(), 0, "nothing of it was written");
    }
}

#[test]
fn an_option_after_the_stop_is_not_served() {
    let gate = Gate::default();
    let server = Running::new(Disk::new(Gated { disk: memory(MIB), gate: gate.clone() }).unwrap());
    // One connection keeps the server from ending.
    let mut busy = Client::new(server.address, Style::Simple);
    let cookie = busy.send_request(0, command::READ, 0, 512);
    gate.wait_for(1);
    let mut client = Client::haggling(server.address);
    assert_eq!(client.option(option::LIST, &[]).len(), 2);
    server.stopper.stop();
    client.send_option(option::GO, &go("", &[]));
    // Either the server had gone already, or it says so.
    let mut first = [0; 20];
    if std::io::Read::read_exact(&mut client.stream, &mut first).is_ok() {
        assert_eq!(first[12..16], option_reply::ERR_SHUTDOWN.to_be_bytes());
    }
    gate.open();
    assert_eq!(busy.reply(cookie, command::READ, 512).error(), 0);
}

#[test]
fn idle_clients_and_half_open_ones_do_not_delay_the_end() {
    let mut limits = Limits::default();
    limits.grace = Duration::from_secs(3600);
    let server = Running::with(memory(MIB), limits);
    let mut idle = Client::new(server.address, Style::Structured);
    let mut greeted = Client::greeted(server.address);
    let stopper = server.stopper.clone();
    let ended = std::thread::spawn(move || server.stop().unwrap());
    assert!(idle.is_closed() && greeted.is_closed());
    drop((idle, greeted));
    assert_eq!(ended.join().unwrap().cut_off, 0);
    stopper.stop();
}

#[test]
fn a_client_that_takes_no_replies_is_cut_off_after_the_grace() {
    let mut limits = Limits::default();
    limits.grace = Duration::from_millis(50);
    let server = Running::with(memory(64 * MIB), limits);
    let mut stuck = Client::new(server.address, Style::Simple);
    stuck.send_request(0, command::READ, 0, 32 << 20);
    stuck.send_request(0, command::READ, 0, 32 << 20);
    // The first bytes of the reply show that the server is sending.
    std::io::Read::read_exact(&mut stuck.stream, &mut [0; 16]).unwrap();
    assert_eq!(server.stop().unwrap().cut_off, 1);
}

#[test]
fn after_the_grace_nothing_more_of_what_was_received_is_executed() {
    let mut limits = Limits::default();
    limits.grace = Duration::ZERO;
    // Many requests, and one that is carried out in many steps.
    for (command, length, count) in [
        (command::TRIM, 4096, 1000),
        (command::WRITE_ZEROES, 4096, 1000),
        (command::BLOCK_STATUS, 4096, 1000),
        (command::TRIM, 1 << 30, 1),
        (command::WRITE_ZEROES, 1 << 30, 1),
    ] {
        let gate = Gate::default();
        let disk = Disk::new(Gated { disk: memory(1024 * MIB), gate: gate.clone() }).unwrap();
        let mut server = Running::with(disk, limits);
        let mut client = Client::new(server.address, Style::WithMap);
        let request = Request { flags: 0, command, cookie: 0, offset: 0, length }.encode();
        client.send(&request.repeat(count));
        gate.wait_for(1);
        server.stopper.stop();
        assert!(client.is_closed(), "cut off while the first is under way");
        gate.open();
        assert_eq!(server.join().unwrap().cut_off, 1);
        assert_eq!(gate.come(), 1, "{command} {length}");
    }
}

#[test]
fn a_stop_before_the_run_ends_the_run_and_nobody_is_served() {
    let listen = Listen::Tcp("127.0.0.1:0".parse().unwrap());
    let server = Server::bind(&listen, export(&memory(MIB)), Limits::default()).unwrap();
    server.stopper().stop();
    assert_eq!(server.run().unwrap().connections, 0);
}

#[test]
fn an_address_that_is_not_loopback_must_be_asked_for_by_name() {
    let address = "0.0.0.0:0".parse().unwrap();
    let bind = |listen: &Listen| Server::bind(listen, export(&memory(MIB)), Limits::default());
    let error = bind(&Listen::Tcp(address)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Refused);
    assert!(error.advice().unwrap().contains("127.0.0.1"));
    assert!(bind(&Listen::Tcp(address).allow_remote()).is_ok());
}

#[test]
fn a_port_that_is_taken_is_in_use_and_what_cannot_be_carried_is_invalid() {
    let server = Running::new(memory(MIB));
    let listen = Listen::Tcp(server.address);
    let error = Server::bind(&listen, export(&memory(MIB)), Limits::default()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InUse);
    assert!(error.to_string().contains(&server.address.to_string()), "{error}");
    let mut long = export(&memory(MIB));
    long.name = "n".repeat(4097);
    let free = Listen::Tcp("127.0.0.1:0".parse().unwrap());
    assert_eq!(Server::bind(&free, long, Limits::default()).unwrap_err().kind(), ErrorKind::InvalidInput);
    let wrong: [fn(&mut Limits); 4] = [
        |limits| limits.max_request_bytes = 512,
        |limits| limits.handshake_timeout = Duration::ZERO,
        |limits| limits.handshake_timeout = Duration::MAX,
        |limits| limits.grace = Duration::MAX,
    ];
    for spoil in wrong {
        let mut limits = Limits::default();
        spoil(&mut limits);
        let error = Server::bind(&free, export(&memory(MIB)), limits).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput, "{limits:?}");
    }
}
