//! A tiny client that sends whatever it is told to, and reads replies as the protocol defines them.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};

use nbd::protocol::{
    BASE_ALLOCATION, CHUNK_MAGIC, Fields, GREETING_MAGIC, OPTION_MAGIC, OPTION_REPLY_MAGIC, Request,
    SIMPLE_REPLY_MAGIC, chunk, command, handshake_flag, option, option_reply,
};

/// What a client asks for in the handshake.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Style {
    Simple,
    Structured,
    WithMap,
}

/// A reply to a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Reply {
    Simple { error: u32, data: Vec<u8> },
    Chunks(Vec<Chunk>),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Chunk {
    pub(crate) kind: u16,
    pub(crate) payload: Vec<u8>,
}

impl Reply {
    /// The error, 0 for none.
    pub(crate) fn error(&self) -> u32 {
        match self {
            Self::Simple { error, .. } => *error,
            Self::Chunks(chunks) => chunks
                .iter()
                .find(|chunk| chunk.kind & 1 << 15 != 0)
                .map_or(0, |chunk| Fields::of(&chunk.payload).u32().unwrap()),
        }
    }

    /// The data of a read of `length` bytes from `offset`; panics unless it is whole, in bounds and without overlaps.
    pub(crate) fn data(&self, offset: u64, length: usize) -> Vec<u8> {
        assert_eq!(self.error(), 0);
        match self {
            Self::Simple { data, .. } => data.clone(),
            Self::Chunks(chunks) => {
                let mut data = vec![None; length];
                for chunk in chunks {
                    let mut fields = Fields::of(&chunk.payload);
                    let mut part = |at: u64, len: usize, bytes: Option<&[u8]>| {
                        let start = usize::try_from(at - offset).unwrap();
                        for (index, byte) in data[start..start + len].iter_mut().enumerate() {
                            let value = bytes.map_or(0, |bytes| bytes[index]);
                            assert!(byte.replace(value).is_none(), "chunks overlap");
                        }
                    };
                    match chunk.kind {
                        chunk::OFFSET_DATA => {
                            let at = fields.u64().unwrap();
                            let bytes = &chunk.payload[8..];
                            part(at, bytes.len(), Some(bytes));
                        }
                        chunk::OFFSET_HOLE => {
                            let at = fields.u64().unwrap();
                            part(at, fields.u32().unwrap() as usize, None);
                        }
                        chunk::NONE => {}
                        other => panic!("chunk of type {other} in a read"),
                    }
                }
                data.into_iter().map(|byte| byte.expect("the chunks cover the read")).collect()
            }
        }
    }

    /// The extents of a BLOCK_STATUS: lengths and flags.
    pub(crate) fn extents(&self) -> Vec<(u32, u32)> {
        let Self::Chunks(chunks) = self else { panic!("{self:?}") };
        assert_eq!((chunks.len(), chunks[0].kind), (1, chunk::BLOCK_STATUS), "{self:?}");
        let mut fields = Fields::of(&chunks[0].payload[4..]);
        std::iter::from_fn(|| Some((fields.u32()?, fields.u32()?))).collect()
    }
}

pub(crate) struct Client {
    pub(crate) stream: TcpStream,
    style: Style,
    next_cookie: u64,
}

impl Client {
    /// Connects, and reads the greeting.
    pub(crate) fn greeted(address: SocketAddr) -> Self {
        let mut stream = TcpStream::connect(address).unwrap();
        stream.set_nodelay(true).unwrap();
        let mut greeting = [0; 18];
        stream.read_exact(&mut greeting).unwrap();
        let mut fields = Fields::of(&greeting);
        assert_eq!((fields.u64(), fields.u64()), (Some(GREETING_MAGIC), Some(OPTION_MAGIC)));
        assert_eq!(fields.u16(), Some(handshake_flag::FIXED_NEWSTYLE | handshake_flag::NO_ZEROES));
        Self { stream, style: Style::Simple, next_cookie: 0x1234_5678_9abc_def0 }
    }

    /// Connects as far as the options.
    pub(crate) fn haggling(address: SocketAddr) -> Self {
        let mut client = Self::greeted(address);
        client.send(&3u32.to_be_bytes());
        client
    }

    /// Connects to the default export, ready for requests.
    pub(crate) fn new(address: SocketAddr, style: Style) -> Self {
        let mut client = Self::haggling(address);
        client.begin(style);
        client
    }

    /// Ends the haggling.
    pub(crate) fn begin(&mut self, style: Style) {
        if style != Style::Simple {
            assert_eq!(self.option(option::STRUCTURED_REPLY, &[]), [(option_reply::ACK, vec![])]);
        }
        if style == Style::WithMap {
            let replies = self.option(option::SET_META_CONTEXT, &meta_query("", &[BASE_ALLOCATION]));
            assert_eq!(replies.len(), 2, "{replies:?}");
        }
        assert_eq!(self.option(option::GO, &go("", &[])).last().unwrap().0, option_reply::ACK);
        self.style = style;
    }

    pub(crate) fn send(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).unwrap();
    }

    /// Sends an option without waiting for the answer.
    pub(crate) fn send_option(&mut self, option: u32, data: &[u8]) {
        let length = u32::try_from(data.len()).unwrap().to_be_bytes();
        self.send(&[&OPTION_MAGIC.to_be_bytes()[..], &option.to_be_bytes(), &length, data].concat());
    }

    /// Sends an option; the replies to it, the final one last.
    pub(crate) fn option(&mut self, option: u32, data: &[u8]) -> Vec<(u32, Vec<u8>)> {
        self.send_option(option, data);
        self.option_replies(option)
    }

    pub(crate) fn option_replies(&mut self, option: u32) -> Vec<(u32, Vec<u8>)> {
        let mut replies = Vec::new();
        loop {
            let mut head = [0; 20];
            self.stream.read_exact(&mut head).unwrap();
            let mut fields = Fields::of(&head);
            assert_eq!((fields.u64(), fields.u32()), (Some(OPTION_REPLY_MAGIC), Some(option)));
            let kind = fields.u32().unwrap();
            let mut data = vec![0; fields.u32().unwrap() as usize];
            self.stream.read_exact(&mut data).unwrap();
            replies.push((kind, data));
            if kind == option_reply::ACK || kind & 1 << 31 != 0 {
                return replies;
            }
        }
    }

    /// Sends a request; returns its cookie.
    pub(crate) fn send_request(&mut self, flags: u16, command: u16, offset: u64, length: u32) -> u64 {
        self.next_cookie = self.next_cookie.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(1);
        let request = Request { flags, command, cookie: self.next_cookie, offset, length };
        self.send(&request.encode());
        self.next_cookie
    }

    /// Reads the reply to a request, which must be the next one.
    pub(crate) fn reply(&mut self, cookie: u64, command: u16, length: u32) -> Reply {
        let (answered, reply) = self.next_reply(|_| (command, length));
        assert_eq!(answered, cookie);
        reply
    }

    /// Reads the next reply, which must be whole and not mixed with another. `asked` knows the command and length of a request
    /// by its cookie.
    pub(crate) fn next_reply(&mut self, asked: impl Fn(u64) -> (u16, u32)) -> (u64, Reply) {
        let mut chunks = Vec::new();
        let mut cookie = None;
        loop {
            let mut magic = [0; 4];
            self.stream.read_exact(&mut magic).unwrap();
            match u32::from_be_bytes(magic) {
                SIMPLE_REPLY_MAGIC => {
                    assert!(chunks.is_empty(), "a simple reply within a structured one");
                    let mut head = [0; 12];
                    self.stream.read_exact(&mut head).unwrap();
                    let mut fields = Fields::of(&head);
                    let error = fields.u32().unwrap();
                    let answered = fields.u64().unwrap();
                    let (command, length) = asked(answered);
                    assert!(self.style == Style::Simple || command != command::READ, "a simple reply to a read");
                    let has_data = command == command::READ && error == 0;
                    let mut data = vec![0; if has_data { length as usize } else { 0 }];
                    self.stream.read_exact(&mut data).unwrap();
                    return (answered, Reply::Simple { error, data });
                }
                CHUNK_MAGIC => {
                    assert!(self.style != Style::Simple, "a chunk that was not asked for");
                    let mut head = [0; 16];
                    self.stream.read_exact(&mut head).unwrap();
                    let mut fields = Fields::of(&head);
                    let (flags, kind) = (fields.u16().unwrap(), fields.u16().unwrap());
                    let answered = fields.u64().unwrap();
                    assert_eq!(*cookie.get_or_insert(answered), answered, "two replies are mixed");
                    let mut payload = vec![0; fields.u32().unwrap() as usize];
                    self.stream.read_exact(&mut payload).unwrap();
                    chunks.push(Chunk { kind, payload });
                    if flags & chunk::DONE != 0 {
                        return (answered, Reply::Chunks(chunks));
                    }
                }
                other => panic!("{other:#x} is the magic of no reply"),
            }
        }
    }

    /// Sends a request without data and reads its reply.
    pub(crate) fn request(&mut self, flags: u16, command: u16, offset: u64, length: u32) -> Reply {
        let cookie = self.send_request(flags, command, offset, length);
        self.reply(cookie, command, length)
    }

    pub(crate) fn read(&mut self, offset: u64, length: u32) -> Vec<u8> {
        self.request(0, command::READ, offset, length).data(offset, length as usize)
    }

    /// Writes; the error, 0 for none.
    pub(crate) fn write(&mut self, flags: u16, offset: u64, data: &[u8]) -> u32 {
        let length = u32::try_from(data.len()).unwrap();
        let cookie = self.send_request(flags, command::WRITE, offset, length);
        self.send(data);
        self.reply(cookie, command::WRITE, length).error()
    }

    /// Whether the server has closed the connection, and said nothing more. Waits until it says something or closes.
    pub(crate) fn is_closed(&mut self) -> bool {
        // A reset is an end too: the server closed while something of ours was unread.
        self.stream.read(&mut [0]).map_or(true, |len| len == 0)
    }
}

/// The data of GO and INFO.
pub(crate) fn go(name: &str, infos: &[u16]) -> Vec<u8> {
    let mut data = string(name);
    data.extend(u16::try_from(infos.len()).unwrap().to_be_bytes());
    data.extend(infos.iter().flat_map(|info| info.to_be_bytes()));
    data
}

/// The data of LIST_META_CONTEXT and SET_META_CONTEXT.
pub(crate) fn meta_query(name: &str, queries: &[&str]) -> Vec<u8> {
    let mut data = string(name);
    data.extend(u32::try_from(queries.len()).unwrap().to_be_bytes());
    data.extend(queries.iter().flat_map(|query| string(query)));
    data
}

pub(crate) fn string(text: &str) -> Vec<u8> {
    [&u32::try_from(text.len()).unwrap().to_be_bytes(), text.as_bytes()].concat()
}
