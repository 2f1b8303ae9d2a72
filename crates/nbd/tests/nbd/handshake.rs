//! Every well-formed and malformed handshake.

use std::io::Read;
use std::time::Duration;

use nbd::Limits;
use nbd::protocol::{BASE_ALLOCATION, Fields, OPTION_MAGIC, info, option, option_reply, transmission_flag};

use crate::client::{Client, Style, go, meta_query, string};
use crate::server::{MIB, Running, memory};

fn running() -> Running {
    Running::new(memory(MIB))
}

/// The server still answers options on this connection.
fn assert_alive(client: &mut Client) {
    let replies = client.option(option::LIST, &[]);
    assert_eq!(replies.len(), 2);
    assert_eq!(replies[0], (option_reply::SERVER, [string("disk"), b"a disk for tests".to_vec()].concat()));
    assert_eq!(replies[1].0, option_reply::ACK);
}

fn assert_refused(client: &mut Client, option: u32, data: &[u8], error: u32) {
    let replies = client.option(option, data);
    assert_eq!(replies.last().unwrap().0, error, "option {option} with {data:02x?}: {replies:?}");
    assert_alive(client);
}

#[test]
fn export_name_is_answered_with_124_zeroes_unless_they_are_declined() {
    let server = running();
    for (flags, zeroes) in [(0u32, 124), (1, 124), (2, 0), (3, 0)] {
        let mut client = Client::greeted(server.address);
        client.send(&flags.to_be_bytes());
        client.send_option(option::EXPORT_NAME, b"disk");
        let mut answer = vec![0xff; 10 + zeroes];
        client.stream.read_exact(&mut answer).unwrap();
        let mut fields = Fields::of(&answer);
        assert_eq!(fields.u64(), Some(MIB));
        let sent = fields.u16().unwrap();
        assert_eq!(sent & transmission_flag::HAS_FLAGS, transmission_flag::HAS_FLAGS);
        assert_eq!(sent & transmission_flag::SEND_DF, 0, "no structured replies were asked for");
        assert!(answer[10..].iter().all(|&byte| byte == 0));
        assert_eq!(client.read(0, 512), [0; 512]);
    }
}

#[test]
fn client_flags_that_were_not_offered_close() {
    let server = running();
    for flags in [4u32, 7, 1 << 16, u32::MAX] {
        let mut client = Client::greeted(server.address);
        client.send(&flags.to_be_bytes());
        assert!(client.is_closed(), "{flags:#x}");
    }
}

#[test]
fn options_of_a_client_that_is_not_of_the_fixed_newstyle_close() {
    let server = running();
    for option in [option::LIST, option::GO, option::ABORT, 99] {
        let mut client = Client::greeted(server.address);
        client.send(&2u32.to_be_bytes());
        client.send_option(option, &[]);
        assert!(client.is_closed(), "{option}");
    }
}

#[test]
fn a_wrong_option_magic_closes() {
    let server = running();
    let mut client = Client::haggling(server.address);
    client.send(&[&(OPTION_MAGIC + 1).to_be_bytes()[..], &[0; 8]].concat());
    assert!(client.is_closed());
}

#[test]
fn an_unknown_export_is_an_error_where_the_protocol_has_one_and_closes_where_not() {
    let server = running();
    let mut client = Client::haggling(server.address);
    for option in [option::GO, option::INFO] {
        assert_refused(&mut client, option, &go("other", &[]), option_reply::ERR_UNKNOWN);
    }
    assert_refused(&mut client, option::LIST_META_CONTEXT, &meta_query("other", &[]), option_reply::ERR_UNKNOWN);
    client.send_option(option::EXPORT_NAME, b"other");
    assert!(client.is_closed());
}

#[test]
fn unknown_options_and_tls_are_unsupported() {
    let server = running();
    let mut client = Client::haggling(server.address);
    for option in [0, 4, option::EXTENDED_HEADERS, 12, 1 << 31, u32::MAX] {
        assert_refused(&mut client, option, b"whatever", option_reply::ERR_UNSUP);
    }
    assert_refused(&mut client, option::STARTTLS, &[], option_reply::ERR_UNSUP);
    assert_refused(&mut client, option::STARTTLS, &[0], option_reply::ERR_INVALID);
}

#[test]
fn malformed_options_are_invalid_and_the_handshake_goes_on() {
    let server = running();
    let mut client = Client::haggling(server.address);
    assert_refused(&mut client, option::LIST, b"x", option_reply::ERR_INVALID);
    assert_refused(&mut client, option::STRUCTURED_REPLY, b"x", option_reply::ERR_INVALID);
    assert_eq!(client.option(option::STRUCTURED_REPLY, &[])[0].0, option_reply::ACK);
    let whole = go("disk", &[info::EXPORT, info::NAME]);
    let query = meta_query("disk", &[BASE_ALLOCATION, "other:thing"]);
    for option in [option::INFO, option::GO] {
        for len in 0..whole.len() {
            assert_refused(&mut client, option, &whole[..len], option_reply::ERR_INVALID);
        }
        assert_refused(&mut client, option, &[&whole[..], b"x"].concat(), option_reply::ERR_INVALID);
        assert_refused(&mut client, option, &[0xff; 64], option_reply::ERR_INVALID);
    }
    for option in [option::LIST_META_CONTEXT, option::SET_META_CONTEXT] {
        for len in 0..query.len() {
            assert_refused(&mut client, option, &query[..len], option_reply::ERR_INVALID);
        }
        assert_refused(&mut client, option, &[&query[..], b"x"].concat(), option_reply::ERR_INVALID);
        let huge_count = [string("disk"), u32::MAX.to_be_bytes().to_vec()].concat();
        assert_refused(&mut client, option, &huge_count, option_reply::ERR_INVALID);
    }
}

#[test]
fn too_much_is_too_big_and_the_handshake_goes_on() {
    let server = running();
    let mut client = Client::haggling(server.address);
    let limit = Limits::default().max_option_bytes as usize;
    for option in [option::GO, option::LIST, 77] {
        assert_refused(&mut client, option, &vec![0; limit + 1], option_reply::ERR_TOO_BIG);
    }
    assert_refused(&mut client, option::LIST, &vec![0; 3 << 20], option_reply::ERR_TOO_BIG);
    assert_refused(&mut client, option::GO, &go(&"n".repeat(4097), &[]), option_reply::ERR_TOO_BIG);
    assert_refused(&mut client, option::GO, &go(&"n".repeat(4096), &[]), option_reply::ERR_UNKNOWN);
    let long_query = meta_query("", &[&"q".repeat(4097)]);
    assert_refused(&mut client, option::LIST_META_CONTEXT, &long_query, option_reply::ERR_TOO_BIG);
    client.send_option(option::EXPORT_NAME, &vec![b'n'; limit + 1]);
    assert!(client.is_closed());
}

#[test]
fn info_tells_the_same_as_go_and_every_piece_that_is_asked_for() {
    let server = running();
    let mut client = Client::haggling(server.address);
    let asked = go("disk", &[info::NAME, info::DESCRIPTION, info::BLOCK_SIZE, 999]);
    let told = client.option(option::INFO, &asked);
    assert_eq!(told, client.option(option::GO, &asked));
    let piece = |kind: u16| {
        let found = told.iter().find(|(reply, data)| *reply == option_reply::INFO && data[..2] == kind.to_be_bytes());
        found.unwrap().1[2..].to_vec()
    };
    assert_eq!(piece(info::NAME), b"disk");
    assert_eq!(piece(info::DESCRIPTION), b"a disk for tests");
    let mut sizes = Fields::of(&told[1].1[2..]);
    assert_eq!((sizes.u32(), sizes.u32(), sizes.u32()), (Some(512), Some(4096), Some(32 << 20)));
    let export = piece(info::EXPORT);
    let mut fields = Fields::of(&export);
    assert_eq!(fields.u64(), Some(MIB));
    let wanted = transmission_flag::SEND_FLUSH
        | transmission_flag::SEND_FUA
        | transmission_flag::SEND_TRIM
        | transmission_flag::SEND_WRITE_ZEROES
        | transmission_flag::SEND_FAST_ZERO
        | transmission_flag::SEND_CACHE
        | transmission_flag::CAN_MULTI_CONN;
    assert_eq!(fields.u16(), Some(transmission_flag::HAS_FLAGS | wanted));
    assert_eq!(client.read(0, 512), [0; 512]);
}

#[test]
fn metadata_contexts_are_listed_chosen_and_replaced() {
    let server = running();
    let mut client = Client::haggling(server.address);
    let listed = |client: &mut Client, queries: &[&str]| {
        client.option(option::LIST_META_CONTEXT, &meta_query("", queries)).len() == 2
    };
    assert!(listed(&mut client, &[]));
    assert!(listed(&mut client, &["base:"]));
    assert!(listed(&mut client, &[BASE_ALLOCATION, BASE_ALLOCATION]), "once each");
    assert!(!listed(&mut client, &["qemu:", "base", "base:other", "", "x-y:z"]));
    let set =
        |client: &mut Client, queries: &[&str]| client.option(option::SET_META_CONTEXT, &meta_query("disk", queries));
    assert_eq!(set(&mut client, &[BASE_ALLOCATION])[0].0, option_reply::ERR_INVALID, "needs structured replies");
    assert_eq!(client.option(option::STRUCTURED_REPLY, &[])[0].0, option_reply::ACK);
    assert_eq!(set(&mut client, &["base:"]).len(), 1, "a wildcard chooses nothing");
    assert_eq!(set(&mut client, &[BASE_ALLOCATION]).len(), 2);
    assert_eq!(set(&mut client, &[]).len(), 1, "a later choice replaces the earlier");
    client.begin(Style::Structured);
    assert_eq!(client.request(0, nbd::protocol::command::BLOCK_STATUS, 0, 512).error(), 22);
}

#[test]
fn abort_is_acknowledged_and_closes() {
    let server = running();
    let mut client = Client::haggling(server.address);
    assert_eq!(client.option(option::ABORT, b"ignored"), [(option_reply::ACK, vec![])]);
    assert!(client.is_closed());
}

#[test]
fn a_handshake_may_arrive_byte_by_byte_or_all_at_once() {
    let server = running();
    let name = go("disk", &[info::EXPORT]);
    let mut bytes = 3u32.to_be_bytes().to_vec();
    for (option, data) in [(option::LIST, &[][..]), (option::GO, &name)] {
        bytes.extend(OPTION_MAGIC.to_be_bytes());
        bytes.extend(option.to_be_bytes());
        bytes.extend(u32::try_from(data.len()).unwrap().to_be_bytes());
        bytes.extend(data);
    }
    for step in [1, bytes.len()] {
        let mut client = Client::greeted(server.address);
        bytes.chunks(step).for_each(|piece| client.send(piece));
        assert_eq!(client.option_replies(option::LIST).len(), 2);
        assert_eq!(client.option_replies(option::GO).len(), 3);
        assert_eq!(client.read(512, 512), [0; 512]);
    }
}

#[test]
fn a_half_open_handshake_is_ended() {
    let mut limits = Limits::default();
    limits.handshake_timeout = Duration::from_millis(20);
    limits.max_connections = 1;
    let server = Running::with(memory(MIB), limits);
    for begun in [&[][..], &[0, 0], &3u32.to_be_bytes(), &[0, 0, 0, 3, b'I', b'H']] {
        // Nobody comes after it: only its time can end it.
        loop {
            let mut stream = std::net::TcpStream::connect(server.address).unwrap();
            if stream.read_exact(&mut [0; 18]).is_ok() {
                std::io::Write::write_all(&mut stream, begun).unwrap();
                assert!(!matches!(stream.read(&mut [0]), Ok(1..)));
                break;
            }
        }
    }
}
