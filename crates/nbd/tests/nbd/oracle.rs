//! What the state machines must answer, worked out a second time: for the fuzzer, and for seeded tests.
//!
//! The fuzz targets `nbd_handshake` and `nbd_requests` include this file. Each function takes any bytes and panics when
//! the server's answer is not the one expected.

use block_device::{Disk, MemoryDisk};
use nbd::protocol::{
    CHUNK_MAGIC, Fields, OPTION_MAGIC, OPTION_REPLY_MAGIC, Request, SIMPLE_REPLY_MAGIC, chunk, command, command_flag,
    option, option_reply,
};
use nbd::{Agreement, Errno, Export, Handshake, HandshakeNext, Limits, Replies, Transmission, TransmissionNext};

const DISK_BYTES: usize = 1 << 20;
const GRANULE: usize = 4096;
const MAX_REQUEST: u32 = 512 << 10;
const MAX_EXTENTS: usize = 4;

fn limits() -> Limits {
    let mut limits = Limits::default();
    limits.max_request_bytes = MAX_REQUEST;
    limits.max_extents = MAX_EXTENTS;
    limits.max_option_bytes = 8 << 10;
    limits
}

fn disk() -> Disk {
    Disk::new(MemoryDisk::new(DISK_BYTES as u64)).unwrap()
}

// ---- handshake --------------------------------------------------------------------------------------------------

/// Feeds `input` to a handshake, whole and byte by byte: both must say the same, and every option gets its replies.
pub(crate) fn handshake(input: &[u8]) {
    let whole = shake(input, usize::MAX);
    assert_eq!(whole, shake(input, 1), "the answer depends on how the bytes arrive");
    let (said, next) = whole;
    let mut replies = Fields::of(&said[18..]);
    let mut options = Fields::of(input);
    let Some(client_flags) = options.u32() else {
        assert!(replies.is_empty() && next == HandshakeNext::Continue);
        return;
    };
    if client_flags > 3 {
        assert!(replies.is_empty() && matches!(next, HandshakeNext::Close(_)));
        return;
    }
    loop {
        let mut head = options;
        let (Some(magic), Some(number), Some(length)) = (head.u64(), head.u32(), head.u32()) else {
            assert!(replies.is_empty() && next == HandshakeNext::Continue, "an answer to half an option");
            return;
        };
        let too_long = length > limits().max_option_bytes;
        let fixed = client_flags & 1 != 0;
        let closes = magic != OPTION_MAGIC || number == option::EXPORT_NAME && too_long;
        if closes {
            assert!(replies.is_empty() && matches!(next, HandshakeNext::Close(_)));
            return;
        }
        let Some(data) = head.bytes(length as usize) else {
            assert!(replies.is_empty() && next == HandshakeNext::Continue, "an answer to half an option");
            return;
        };
        options = head;
        if number == option::EXPORT_NAME {
            if !data.is_empty() && data != b"disk" {
                assert!(replies.is_empty() && matches!(next, HandshakeNext::Close(_)));
                return;
            }
            assert_eq!(replies.u64(), Some(DISK_BYTES as u64));
            assert_eq!(replies.u16().unwrap() & 1, 1);
            if client_flags & 2 == 0 {
                assert_eq!(replies.bytes(124), Some(&[0; 124][..]));
            }
            assert!(replies.is_empty() && matches!(next, HandshakeNext::Begin(_)));
            return;
        }
        if !fixed && !too_long {
            assert!(replies.is_empty() && matches!(next, HandshakeNext::Close(_)));
            return;
        }
        let last = option_answer(&mut replies, number);
        let expected: &[u32] = match number {
            _ if too_long => &[option_reply::ERR_TOO_BIG],
            option::ABORT => &[option_reply::ACK],
            option::LIST | option::STRUCTURED_REPLY if data.is_empty() => &[option_reply::ACK],
            option::LIST | option::STRUCTURED_REPLY => &[option_reply::ERR_INVALID],
            option::STARTTLS if data.is_empty() => &[option_reply::ERR_UNSUP],
            option::STARTTLS => &[option_reply::ERR_INVALID],
            option::INFO | option::GO | option::LIST_META_CONTEXT | option::SET_META_CONTEXT => {
                &[option_reply::ACK, option_reply::ERR_INVALID, option_reply::ERR_UNKNOWN, option_reply::ERR_TOO_BIG]
            }
            _ => &[option_reply::ERR_UNSUP],
        };
        assert!(expected.contains(&last), "option {number} was answered with {last:#x}");
        let ends = number == option::ABORT || number == option::GO && last == option_reply::ACK;
        if ends && !too_long {
            assert!(replies.is_empty(), "something was said after the end");
            let begins = matches!(next, HandshakeNext::Begin(_));
            assert_eq!((begins, matches!(next, HandshakeNext::Close(_))), (number == option::GO, number != option::GO));
            return;
        }
    }
}

/// Everything said, and how it ended.
fn shake(input: &[u8], step: usize) -> (Vec<u8>, HandshakeNext) {
    let export = Export { name: "disk".into(), description: "fuzzed".into(), disk: disk() };
    let mut handshake = Handshake::new(&export, limits());
    let mut said = Vec::new();
    handshake.greet(&mut said);
    let (mut start, mut end) = (0, 0);
    loop {
        let (consumed, next) = handshake.advance(&input[start..end], &mut said, &|| true);
        start += consumed;
        assert!(start <= end);
        if next != HandshakeNext::Continue {
            return (said, next);
        }
        if consumed == 0 {
            if end == input.len() {
                return (said, next);
            }
            end = end.saturating_add(step).min(input.len());
        }
    }
}

/// Reads the replies to one option; the type of the last.
fn option_answer(replies: &mut Fields<'_>, number: u32) -> u32 {
    loop {
        assert_eq!(replies.u64(), Some(OPTION_REPLY_MAGIC), "option {number}");
        assert_eq!(replies.u32(), Some(number));
        let kind = replies.u32().unwrap();
        let data = replies.string().expect("a reply is whole");
        assert!(data.len() <= 4096 + 8);
        let intermediate = match number {
            option::LIST => option_reply::SERVER,
            option::INFO | option::GO => option_reply::INFO,
            option::LIST_META_CONTEXT | option::SET_META_CONTEXT => option_reply::META_CONTEXT,
            _ => option_reply::ACK,
        };
        if kind == option_reply::ACK {
            assert!(data.is_empty());
            return kind;
        }
        if kind & 1 << 31 != 0 {
            return kind;
        }
        assert_eq!(kind, intermediate);
    }
}

// ---- requests ---------------------------------------------------------------------------------------------------

/// Turns `input` into requests, executes them, and compares every reply, and the disk at the end, with a byte array.
pub(crate) fn requests(input: &[u8]) {
    let mut choices = Choices(input);
    let style = choices.byte();
    let agreement = Agreement { structured_replies: style & 1 != 0, base_allocation: style & 3 == 3 };
    let step = [usize::MAX, 1 << 16, 4099, 77][usize::from(style >> 2 & 3)];
    let disk = disk();
    let mut twin = Twin { bytes: vec![0; DISK_BYTES], agreement };
    let mut sent = Vec::new();
    let mut expected = Vec::new();
    // A write whose data does not arrive whole, or bytes that are no request, end the input.
    let mut ending = Ending::Receive;
    while !choices.0.is_empty() && sent.len() < 4 << 20 {
        let request = choices.request();
        let shape = choices.byte();
        if shape == 0xff {
            sent.extend([0xff; Request::BYTES]);
            ending = Ending::Violated;
            break;
        }
        sent.extend(request.encode());
        if request.command == command::DISC {
            ending = Ending::Asked;
            break;
        }
        let mut data = Vec::new();
        if request.command == command::WRITE {
            // Not all bytes alike, so that a shifted write is found.
            let data_len = (request.length as usize).min(2 << 20);
            data = (0..data_len).map(|at| (at / 512) as u8 ^ shape).collect();
            sent.extend(&data);
            if data_len < request.length as usize {
                ending = Ending::HalfWrite(request);
                break;
            }
        }
        expected.push((request, twin.answer(&request, &data)));
    }
    let said = transmit(&disk, agreement, &sent, step, &ending);
    let mut replies = Fields::of(&said);
    for (request, answer) in &expected {
        check_reply(&mut replies, request, answer, agreement);
    }
    if let Ending::HalfWrite(request) = &ending {
        check_reply(&mut replies, request, &Answer::Error(Errno::Shutdown), agreement);
    }
    assert!(replies.is_empty(), "more replies than requests");
    let mut content = vec![0xaa; DISK_BYTES];
    disk.read(0, &mut content).unwrap();
    if let Ending::HalfWrite(request) = &ending {
        // It may have been written in part, or not; nothing outside it may have changed.
        let start = usize::try_from(request.offset).unwrap_or(DISK_BYTES).min(DISK_BYTES);
        let end = start.saturating_add(request.length as usize).min(DISK_BYTES);
        content[start..end].copy_from_slice(&twin.bytes[start..end]);
    }
    assert!(content == twin.bytes, "the disk and its twin differ");
}

enum Ending {
    Receive,
    Asked,
    Violated,
    HalfWrite(Request),
}

/// What a reply must be.
enum Answer {
    Done,
    Error(Errno),
    Data(Vec<u8>),
    /// The range's content, from which holes are judged.
    Status(Vec<u8>),
}

struct Twin {
    bytes: Vec<u8>,
    agreement: Agreement,
}

impl Twin {
    fn answer(&mut self, request: &Request, data: &[u8]) -> Answer {
        use command_flag::{DF, FAST_ZERO, FUA, NO_HOLE, REQ_ONE};
        let Agreement { structured_replies, base_allocation } = self.agreement;
        let allowed = FUA
            | match request.command {
                command::READ if structured_replies => DF,
                command::WRITE_ZEROES => NO_HOLE | FAST_ZERO,
                command::BLOCK_STATUS => REQ_ONE,
                0..=7 => 0,
                _ => return Answer::Error(Errno::Invalid),
            };
        let reads = request.command == command::READ;
        let carries = reads || request.command == command::WRITE;
        let writes = matches!(request.command, command::WRITE | command::WRITE_ZEROES);
        let beyond = u128::from(request.offset) + u128::from(request.length) > DISK_BYTES as u128;
        let unaligned = !request.offset.is_multiple_of(512) || !request.length.is_multiple_of(512);
        if request.flags & !allowed != 0 {
            return Answer::Error(Errno::Invalid);
        }
        if request.command == command::FLUSH {
            let reserved = request.offset != 0 || request.length != 0;
            return if reserved { Answer::Error(Errno::Invalid) } else { Answer::Done };
        }
        if beyond {
            return Answer::Error(if writes { Errno::NoSpace } else { Errno::Invalid });
        }
        if unaligned {
            return Answer::Error(Errno::Invalid);
        }
        if carries && request.length > MAX_REQUEST {
            return Answer::Error(if reads && structured_replies { Errno::Overflow } else { Errno::Invalid });
        }
        let start = usize::try_from(request.offset).unwrap();
        let end = start + request.length as usize;
        match request.command {
            command::READ => return Answer::Data(self.bytes[start..end].to_vec()),
            command::BLOCK_STATUS if !base_allocation || start == end => return Answer::Error(Errno::Invalid),
            command::BLOCK_STATUS => return Answer::Status(self.bytes[start..end].to_vec()),
            command::WRITE => self.bytes[start..end].copy_from_slice(data),
            command::TRIM => {
                let (first, last) = (start.next_multiple_of(GRANULE), end - end % GRANULE);
                if first < last {
                    self.bytes[first..last].fill(0);
                }
            }
            command::WRITE_ZEROES => {
                let both = NO_HOLE | FAST_ZERO;
                if request.flags & both == both && start < end {
                    return Answer::Error(Errno::NotSupported);
                }
                self.bytes[start..end].fill(0);
            }
            _ => {}
        }
        Answer::Done
    }
}

fn transmit(disk: &Disk, agreement: Agreement, sent: &[u8], step: usize, ending: &Ending) -> Vec<u8> {
    let mut transmission = Transmission::new(disk.clone(), agreement, limits());
    let mut replies = Replies::new(Vec::new());
    let (mut start, mut end) = (0, 0);
    loop {
        let (consumed, next) = transmission.advance(&sent[start..end], &mut replies).unwrap();
        start += consumed;
        assert!(start <= end);
        assert!(end - start <= 512 << 10 || step > 512 << 10, "it waits for more than it may");
        match next {
            TransmissionNext::Close(nbd::Closing::Asked) => {
                assert!(matches!(ending, Ending::Asked));
                break;
            }
            TransmissionNext::Close(_) => {
                assert!(matches!(ending, Ending::Violated));
                break;
            }
            TransmissionNext::Receive if end == sent.len() => {
                assert!(matches!(ending, Ending::Receive | Ending::HalfWrite(_)));
                transmission.stop(&mut replies);
                break;
            }
            TransmissionNext::Receive => end = end.saturating_add(step).min(sent.len()),
        }
    }
    replies.send().unwrap();
    replies.into_inner()
}

fn check_reply(replies: &mut Fields<'_>, request: &Request, answer: &Answer, agreement: Agreement) {
    let reads = request.command == command::READ;
    let mut first = *replies;
    if first.u32() == Some(SIMPLE_REPLY_MAGIC) {
        let error = first.u32().unwrap();
        assert_eq!(first.u64(), Some(request.cookie), "{request:?}");
        assert!(!(reads && agreement.structured_replies), "a simple reply to a structured read");
        match answer {
            Answer::Done => assert_eq!(error, 0, "{request:?}"),
            Answer::Error(errno) => assert_eq!(error, errno.code(), "{request:?}"),
            Answer::Data(data) => {
                assert_eq!(error, 0, "{request:?}");
                assert!(first.bytes(data.len()) == Some(data), "{request:?}: other data");
            }
            Answer::Status(_) => panic!("a simple reply to a status"),
        }
        *replies = first;
        return;
    }
    assert!(agreement.structured_replies);
    let mut covered = Vec::new();
    let mut contents = 0;
    loop {
        assert_eq!(replies.u32(), Some(CHUNK_MAGIC), "{request:?}");
        let (flags, kind) = (replies.u16().unwrap(), replies.u16().unwrap());
        assert_eq!(replies.u64(), Some(request.cookie), "{request:?}");
        let mut payload = Fields::of(replies.string().expect("a chunk is whole"));
        match (kind, answer) {
            (chunk::NONE, Answer::Done | Answer::Data(_)) => {}
            (chunk::OFFSET_DATA | chunk::OFFSET_HOLE, Answer::Data(data)) => {
                contents += 1;
                let at = usize::try_from(payload.u64().unwrap() - request.offset).unwrap();
                let len = if kind == chunk::OFFSET_HOLE {
                    let len = payload.u32().unwrap() as usize;
                    assert!(len > 0 && data[at..at + len].iter().all(|&byte| byte == 0), "{request:?}: not a hole");
                    len
                } else {
                    let len = (1..).find(|&len| payload.bytes(1).is_none_or(|byte| byte[0] != data[at + len - 1]));
                    len.unwrap() - 1
                };
                assert!(len > 0);
                covered.push((at, at + len));
            }
            (chunk::BLOCK_STATUS, Answer::Status(data)) => check_status(payload, request, data),
            (chunk::ERROR | chunk::ERROR_OFFSET, Answer::Error(errno)) => {
                assert_eq!(payload.u32(), Some(errno.code()), "{request:?}");
                let len = payload.u16().unwrap();
                assert!(std::str::from_utf8(payload.bytes(len.into()).unwrap()).is_ok());
                payload = Fields::of(&[]);
            }
            (kind, _) => panic!("chunk of type {kind:#x} for {request:?}"),
        }
        if kind < chunk::BLOCK_STATUS {
            assert!(payload.is_empty(), "{request:?}: a byte of a chunk is not the disk's");
        }
        if flags & chunk::DONE != 0 {
            break;
        }
    }
    if let Answer::Data(data) = answer {
        covered.sort_unstable();
        assert!(covered.first().is_none_or(|first| first.0 == 0));
        assert!(covered.windows(2).all(|pair| pair[0].1 == pair[1].0), "{request:?}: gaps or overlaps");
        assert_eq!(covered.last().map_or(0, |last| last.1), data.len());
        assert!(request.flags & command_flag::DF == 0 || contents <= 1, "a fragment that was declined");
    }
}

fn check_status(mut payload: Fields<'_>, request: &Request, data: &[u8]) {
    assert_eq!(payload.u32(), Some(1));
    let (mut at, mut count, mut before) = (0, 0, None);
    while !payload.is_empty() {
        let (len, flags) = (payload.u32().unwrap() as usize, payload.u32().unwrap());
        assert!(len > 0 && len % 512 == 0 && matches!(flags, 0 | 2 | 3), "{request:?}: {len} {flags}");
        assert_ne!(before.replace(flags), Some(flags), "neighbours are joined");
        assert!(flags == 0 || data[at..at + len].iter().all(|&byte| byte == 0), "{request:?}: not zero");
        at += len;
        count += 1;
    }
    let one = request.flags & command_flag::REQ_ONE != 0;
    assert!(count >= 1 && count <= if one { 1 } else { MAX_EXTENTS });
    assert!(at <= data.len());
    assert!(at == data.len() || one || count == MAX_EXTENTS, "{request:?}: the range is not covered");
}

/// Bytes as choices; zeroes once they run out.
struct Choices<'a>(&'a [u8]);

impl Choices<'_> {
    fn byte(&mut self) -> u8 {
        self.number(1) as u8
    }

    fn number(&mut self, len: usize) -> u64 {
        let (bytes, rest) = self.0.split_at(len.min(self.0.len()));
        self.0 = rest;
        bytes.iter().fold(0, |number, &byte| number << 8 | u64::from(byte))
    }

    /// Mostly a request that makes sense, sometimes anything at all.
    fn request(&mut self) -> Request {
        let kind = self.byte();
        let command = if kind & 0xe0 == 0xe0 { self.number(2) as u16 } else { u16::from(kind & 7) };
        let fitting = match command {
            command::READ => command_flag::DF,
            command::WRITE_ZEROES => command_flag::NO_HOLE | command_flag::FAST_ZERO,
            command::BLOCK_STATUS => command_flag::REQ_ONE,
            _ => 0,
        };
        let flags = match kind >> 3 & 3 {
            0 => 0,
            1 | 2 => u16::from(self.byte()) & (fitting | command_flag::FUA),
            _ => self.number(2) as u16,
        };
        let form = self.byte();
        let blocks = DISK_BYTES as u64 / 512;
        let offset = match form & 7 {
            0 => self.number(8),
            1 => self.number(3),
            2 => u64::MAX - self.number(2),
            _ => self.number(2) % (blocks + 2) * 512,
        };
        let length = match form >> 3 & 7 {
            0 if form & 7 == 0 => self.number(4) as u32,
            1 if form & 0x80 != 0 => self.number(2) as u32,
            2 => 0,
            3 => (self.number(2) % (blocks + 2) * 512) as u32,
            4 => (blocks * 512).saturating_sub(offset).min(1 << 22) as u32,
            _ => (u64::from(self.byte()) * 512) as u32,
        };
        // A DISC at every eighth request would make every sequence short.
        let command = if command == command::DISC && form & 0xc0 != 0 { command::READ } else { command };
        Request { flags, command, cookie: u64::from(form) << 56 | offset, offset, length }
    }
}
