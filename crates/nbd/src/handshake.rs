//! The handshake as a state machine over bytes: no sockets, so that tests and the fuzzer drive it as the server does.

use crate::Closing;
use crate::export::Export;
use crate::limits::Limits;
use crate::protocol::{
    BASE_ALLOCATION, Fields, GREETING_MAGIC, MAX_STRING_BYTES, OPTION_MAGIC, OPTION_REPLY_MAGIC, handshake_flag, info,
    option, option_reply,
};

/// What client and server agreed on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Agreement {
    /// Reads are answered in chunks, errors carry words.
    pub structured_replies: bool,
    /// BLOCK_STATUS may be asked, for `base:allocation`.
    pub base_allocation: bool,
}

/// What to do after a step of the handshake.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HandshakeNext {
    /// Go on: with the input not yet consumed, or with more.
    Continue,
    /// Send what is to be sent, and begin with requests.
    Begin(Agreement),
    /// Send what is to be sent, and close.
    Close(Closing),
}

/// The id under which `base:allocation` is chosen; any number but 0 would do.
pub(crate) const BASE_ALLOCATION_ID: u32 = 1;

const OPTION_HEADER_BYTES: usize = 16;

/// Fixed newstyle negotiation with one client, without TLS.
///
/// Options that are unknown, malformed, too long or not allowed are answered with an error and the handshake goes on.
/// It closes where the protocol has no answer: a wrong magic, client flags we did not offer, an unknown name in
/// EXPORT_NAME.
#[derive(Debug)]
pub struct Handshake<'a> {
    export: &'a Export,
    limits: Limits,
    agreement: Agreement,
    /// The client's flags; `None` until they arrived.
    client_flags: Option<u16>,
    /// An option whose data is too long to keep: its number and the bytes still to be skipped.
    skipping: Option<(u32, u32)>,
    stopping: bool,
}

impl<'a> Handshake<'a> {
    /// A handshake about `export`.
    #[must_use]
    pub const fn new(export: &'a Export, limits: Limits) -> Self {
        let agreement = Agreement { structured_replies: false, base_allocation: false };
        Self { export, limits, agreement, client_flags: None, skipping: None, stopping: false }
    }

    /// Appends what the server says first.
    pub fn greet(&self, out: &mut Vec<u8>) {
        out.extend(GREETING_MAGIC.to_be_bytes());
        out.extend(OPTION_MAGIC.to_be_bytes());
        out.extend((handshake_flag::FIXED_NEWSTYLE | handshake_flag::NO_ZEROES).to_be_bytes());
    }

    /// From now on answers every option with "shutting down".
    pub const fn stop(&mut self) {
        self.stopping = true;
    }

    /// Takes at most one message from the front of `input`, appends the answer to `out`, and returns how many bytes it
    /// consumed. Nothing consumed and [`HandshakeNext::Continue`] means that more input is needed.
    ///
    /// One message a call, because a client may send a great many small ones whose answers are long.
    ///
    /// `admit` is asked before the client is told that it may begin with requests: whether there is a place for it.
    pub fn advance(&mut self, input: &[u8], out: &mut Vec<u8>, admit: &dyn Fn() -> bool) -> (usize, HandshakeNext) {
        let Some(client_flags) = self.client_flags else {
            let Some(flags) = Fields::of(input).u32() else { return (0, HandshakeNext::Continue) };
            return (4, self.take_client_flags(flags));
        };
        if let Some((option, left)) = self.skipping {
            let skipped = input.len().min(left as usize);
            let left = left - u32::try_from(skipped).expect("at most `left`");
            self.skipping = (left > 0).then_some((option, left));
            if left == 0 {
                reply_error(out, option, option_reply::ERR_TOO_BIG, "the option carries too much data");
            }
            return (skipped, HandshakeNext::Continue);
        }
        let mut fields = Fields::of(input);
        let (Some(magic), Some(option), Some(length)) = (fields.u64(), fields.u32(), fields.u32()) else {
            return (0, HandshakeNext::Continue);
        };
        if magic != OPTION_MAGIC {
            return (0, HandshakeNext::Close(Closing::Violated("an option does not begin with its magic")));
        }
        if length > self.limits.max_option_bytes {
            if option == option::EXPORT_NAME {
                return (0, HandshakeNext::Close(Closing::Violated("the name of the export is too long")));
            }
            self.skipping = Some((option, length));
            return (OPTION_HEADER_BYTES, HandshakeNext::Continue);
        }
        let Some(data) = fields.bytes(length as usize) else { return (0, HandshakeNext::Continue) };
        (OPTION_HEADER_BYTES + data.len(), self.take_option(client_flags, option, data, out, admit))
    }

    fn take_client_flags(&mut self, flags: u32) -> HandshakeNext {
        let known = handshake_flag::FIXED_NEWSTYLE | handshake_flag::NO_ZEROES;
        match u16::try_from(flags) {
            Ok(flags) if flags & !known == 0 => {
                self.client_flags = Some(flags);
                HandshakeNext::Continue
            }
            _ => HandshakeNext::Close(Closing::Violated("the client sets flags that were not offered")),
        }
    }

    fn take_option(
        &mut self,
        client_flags: u16,
        option: u32,
        data: &[u8],
        out: &mut Vec<u8>,
        admit: &dyn Fn() -> bool,
    ) -> HandshakeNext {
        if option == option::EXPORT_NAME {
            return self.begin_by_name(client_flags, data, out, admit);
        }
        if client_flags & handshake_flag::FIXED_NEWSTYLE == 0 {
            return HandshakeNext::Close(Closing::Violated("the client is not of the fixed newstyle"));
        }
        if option == option::ABORT {
            reply(out, option, option_reply::ACK, &[]);
            return HandshakeNext::Close(Closing::Asked);
        }
        if self.stopping {
            reply_error(out, option, option_reply::ERR_SHUTDOWN, "the server is stopping");
            return HandshakeNext::Continue;
        }
        let answer = match option {
            option::LIST => self.list(data, out),
            option::INFO => self.describe(option, data, out, &|| true),
            option::GO => self.describe(option, data, out, admit),
            option::STRUCTURED_REPLY => self.use_structured_replies(data),
            option::LIST_META_CONTEXT | option::SET_META_CONTEXT => self.meta_contexts(option, data, out),
            option::STARTTLS if !data.is_empty() => Err(NO_DATA),
            option::STARTTLS => Err((option_reply::ERR_UNSUP, "this server does not speak TLS")),
            _ => Err((option_reply::ERR_UNSUP, "the option is not known")),
        };
        match answer {
            Ok(()) => {
                reply(out, option, option_reply::ACK, &[]);
                if option == option::GO { HandshakeNext::Begin(self.agreement) } else { HandshakeNext::Continue }
            }
            Err((error, words)) => {
                reply_error(out, option, error, words);
                HandshakeNext::Continue
            }
        }
    }

    fn begin_by_name(
        &self,
        client_flags: u16,
        name: &[u8],
        out: &mut Vec<u8>,
        admit: &dyn Fn() -> bool,
    ) -> HandshakeNext {
        if self.stopping {
            return HandshakeNext::Close(Closing::Stopped);
        }
        if !self.export.answers_to(name) {
            return HandshakeNext::Close(Closing::Violated("there is no export of that name"));
        }
        if !admit() {
            return HandshakeNext::Close(Closing::Full);
        }
        out.extend(self.export.disk.len_bytes().to_be_bytes());
        out.extend(self.export.flags(self.agreement.structured_replies).to_be_bytes());
        if client_flags & handshake_flag::NO_ZEROES == 0 {
            out.extend([0; 124]);
        }
        HandshakeNext::Begin(self.agreement)
    }

    fn list(&self, data: &[u8], out: &mut Vec<u8>) -> Answer {
        if !data.is_empty() {
            return Err(NO_DATA);
        }
        let name = self.export.name.as_bytes();
        let length = u32::try_from(name.len()).expect("checked when the server was bound").to_be_bytes();
        let entry = [&length, name, self.export.description.as_bytes()].concat();
        reply(out, option::LIST, option_reply::SERVER, &entry);
        Ok(())
    }

    fn describe(&self, option: u32, data: &[u8], out: &mut Vec<u8>, admit: &dyn Fn() -> bool) -> Answer {
        let mut fields = Fields::of(data);
        let name = fields.string().ok_or(MALFORMED)?;
        let count = fields.u16().ok_or(MALFORMED)?;
        let mut wants_name = false;
        let mut wants_description = false;
        for _ in 0..count {
            match fields.u16().ok_or(MALFORMED)? {
                info::NAME => wants_name = true,
                info::DESCRIPTION => wants_description = true,
                // Size and block sizes are sent in any case; what is not known is passed over, as the protocol demands.
                _ => {}
            }
        }
        if !fields.is_empty() {
            return Err(MALFORMED);
        }
        self.find(name)?;
        if !admit() {
            return Err((option_reply::ERR_POLICY, "as many clients as are allowed are connected already"));
        }
        let Export { name, description, disk } = self.export;
        let mut export = info::EXPORT.to_be_bytes().to_vec();
        export.extend(disk.len_bytes().to_be_bytes());
        export.extend(self.export.flags(self.agreement.structured_replies).to_be_bytes());
        reply(out, option, option_reply::INFO, &export);
        let mut sizes = info::BLOCK_SIZE.to_be_bytes().to_vec();
        for size in self.export.block_sizes(self.limits.max_request_bytes) {
            sizes.extend(size.to_be_bytes());
        }
        reply(out, option, option_reply::INFO, &sizes);
        if wants_name {
            reply(out, option, option_reply::INFO, &[&info::NAME.to_be_bytes(), name.as_bytes()].concat());
        }
        if wants_description {
            let text = [&info::DESCRIPTION.to_be_bytes(), description.as_bytes()].concat();
            reply(out, option, option_reply::INFO, &text);
        }
        Ok(())
    }

    fn use_structured_replies(&mut self, data: &[u8]) -> Answer {
        if !data.is_empty() {
            return Err(NO_DATA);
        }
        self.agreement.structured_replies = true;
        Ok(())
    }

    fn meta_contexts(&mut self, option: u32, data: &[u8], out: &mut Vec<u8>) -> Answer {
        let sets = option == option::SET_META_CONTEXT;
        if sets {
            // A choice replaces the one before, even when it fails.
            self.agreement.base_allocation = false;
            if !self.agreement.structured_replies {
                return Err((option_reply::ERR_INVALID, "metadata contexts need structured replies"));
            }
        }
        let mut fields = Fields::of(data);
        let name = fields.string().ok_or(MALFORMED)?;
        let count = fields.u32().ok_or(MALFORMED)?;
        let mut matched = count == 0 && !sets;
        for _ in 0..count {
            let query = fields.string().ok_or(MALFORMED)?;
            if query.len() > MAX_STRING_BYTES {
                return Err((option_reply::ERR_TOO_BIG, "the query is too long"));
            }
            matched |= query == BASE_ALLOCATION.as_bytes() || (!sets && query == b"base:");
        }
        if !fields.is_empty() {
            return Err(MALFORMED);
        }
        self.find(name)?;
        if matched {
            let id = if sets { BASE_ALLOCATION_ID } else { 0 };
            let context = [&id.to_be_bytes(), BASE_ALLOCATION.as_bytes()].concat();
            reply(out, option, option_reply::META_CONTEXT, &context);
            self.agreement.base_allocation |= sets;
        }
        Ok(())
    }

    fn find(&self, name: &[u8]) -> Answer {
        if name.len() > MAX_STRING_BYTES {
            Err((option_reply::ERR_TOO_BIG, "the name of the export is too long"))
        } else if self.export.answers_to(name) {
            Ok(())
        } else {
            Err((option_reply::ERR_UNKNOWN, "there is no export of that name"))
        }
    }
}

/// Acknowledged, or an error reply with words for the user.
type Answer = Result<(), (u32, &'static str)>;

const NO_DATA: (u32, &str) = (option_reply::ERR_INVALID, "the option carries data where none belongs");
const MALFORMED: (u32, &str) = (option_reply::ERR_INVALID, "the option's lengths contradict each other");

fn reply(out: &mut Vec<u8>, option: u32, kind: u32, data: &[u8]) {
    out.extend(OPTION_REPLY_MAGIC.to_be_bytes());
    out.extend(option.to_be_bytes());
    out.extend(kind.to_be_bytes());
    out.extend(u32::try_from(data.len()).expect("our replies are short").to_be_bytes());
    out.extend(data);
}

fn reply_error(out: &mut Vec<u8>, option: u32, kind: u32, words: &str) {
    reply(out, option, kind, words.as_bytes());
}
