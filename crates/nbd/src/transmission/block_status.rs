//! BLOCK_STATUS: the disk's map as `base:allocation`.

use std::ops::ControlFlow;

use block_device::{Extent, ExtentKind};

use super::Transmission;
use crate::handshake::BASE_ALLOCATION_ID;
use crate::protocol::{Request, chunk, command, command_flag, state};
use crate::replies::{Replies, ReplySink};

/// The flags of an extent. A client may write where HOLE is clear without fear of a full host, which is true of whatever
/// is allocated, written or not.
const fn flags_of(kind: ExtentKind) -> u32 {
    match kind {
        ExtentKind::Hole => state::HOLE | state::ZERO,
        ExtentKind::Unwritten | ExtentKind::Zero => state::ZERO,
        ExtentKind::Data | ExtentKind::Delayed => 0,
    }
}

impl Transmission {
    /// Answers a BLOCK_STATUS that has been checked: neighbours with the same flags joined, and no more extents than
    /// allowed. A client asks again from where the answer ends.
    pub(super) fn block_status<W: ReplySink>(&mut self, request: &Request, replies: &mut Replies<W>) {
        let &Request { flags, cookie, offset, length, .. } = request;
        let most = if flags & command_flag::REQ_ONE != 0 { 1 } else { self.limits.max_extents.max(1) };
        let mark = replies.mark();
        replies.chunk(cookie, chunk::BLOCK_STATUS, chunk::DONE, 0);
        replies.put(&BASE_ALLOCATION_ID.to_be_bytes());
        let mut count = 0;
        let mut run: Option<(u32, u32)> = None;
        let mut visit = |extent: Extent| {
            let bytes = u32::try_from(extent.range.len()).expect("within the request");
            let flags = flags_of(extent.kind);
            run = match run {
                Some((run_bytes, run_flags)) if run_flags == flags => Some((run_bytes + bytes, flags)),
                Some((run_bytes, run_flags)) => {
                    replies.put(&run_bytes.to_be_bytes());
                    replies.put(&run_flags.to_be_bytes());
                    count += 1;
                    if count == most {
                        run = None;
                        return ControlFlow::Break(());
                    }
                    Some((bytes, flags))
                }
                None => Some((bytes, flags)),
            };
            ControlFlow::Continue(())
        };
        let result = self.disk.extents(offset, u64::from(length), &mut visit);
        if let Some((bytes, flags)) = run {
            replies.put(&bytes.to_be_bytes());
            replies.put(&flags.to_be_bytes());
        }
        match result {
            Ok(()) => {
                let payload = u32::try_from(replies.mark() - mark - 20).expect("at most 2^20 extents");
                replies.amend_length(mark, payload);
            }
            Err(error) => {
                replies.rewind(mark);
                let failure = self.failure(&error, command::BLOCK_STATUS, false);
                self.finish(cookie, Err(failure), replies);
            }
        }
    }
}
