//! What is served: one disk under one name.

use block_device::{DiscardEffect, Disk, Error, ErrorKind, Geometry, Result};

use crate::protocol::{MAX_STRING_BYTES, transmission_flag};

/// A disk and what clients see of it. Clients also reach it as the default export, the empty name.
#[derive(Clone, Debug)]
pub struct Export {
    /// The name clients ask for; may be empty.
    pub name: String,
    /// A line for people who list the exports; may be empty.
    pub description: String,
    /// The disk.
    pub disk: Disk,
}

impl Export {
    /// Checks the strings against what the protocol can carry.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`] for a name or description over 4,096 bytes or with a NUL in it.
    pub(crate) fn check(&self) -> Result<()> {
        for (what, text) in [("name", &self.name), ("description", &self.description)] {
            if text.len() > MAX_STRING_BYTES || text.contains('\0') {
                return Err(Error::new(ErrorKind::InvalidInput, "serve")
                    .because(format!("the export's {what} is over {MAX_STRING_BYTES} bytes, or holds a NUL")));
            }
        }
        Ok(())
    }

    /// Whether a client that asks for `name` means this export.
    pub(crate) fn answers_to(&self, name: &[u8]) -> bool {
        name.is_empty() || name == self.name.as_bytes()
    }

    /// The transmission flags.
    pub(crate) fn flags(&self, structured_replies: bool) -> u16 {
        use transmission_flag::{
            CAN_MULTI_CONN, HAS_FLAGS, READ_ONLY, SEND_CACHE, SEND_DF, SEND_FAST_ZERO, SEND_FLUSH, SEND_FUA, SEND_TRIM,
            SEND_WRITE_ZEROES,
        };
        let Geometry { read_only, discard, .. } = self.disk.geometry();
        // Several connections are one client with several hands: they share one disk, nothing is kept back for any of
        // them, and a write is answered only once every other connection sees it. So a flush on one covers them all.
        let mut flags = HAS_FLAGS | CAN_MULTI_CONN | SEND_CACHE;
        if structured_replies {
            flags |= SEND_DF;
        }
        if read_only {
            return flags | READ_ONLY;
        }
        flags |= SEND_FLUSH | SEND_FUA | SEND_WRITE_ZEROES | SEND_FAST_ZERO;
        if discard.effect != DiscardEffect::Ignored {
            flags |= SEND_TRIM;
        }
        flags
    }

    /// Minimum, preferred and largest request, in bytes.
    ///
    /// The preferred size is what the disk gives back as a whole, so that a client's trims are aligned to it.
    pub(crate) fn block_sizes(&self, max_request_bytes: u32) -> [u32; 3] {
        let Geometry { logical_block, physical_block, discard, .. } = self.disk.geometry();
        let preferred = physical_block.bytes().max(discard.granularity_bytes).next_power_of_two();
        let largest_power = 1 << max_request_bytes.ilog2();
        let narrow = |bytes: u64| u32::try_from(bytes).unwrap_or(u32::MAX).min(largest_power);
        [narrow(logical_block.bytes()), narrow(preferred), max_request_bytes]
    }
}
