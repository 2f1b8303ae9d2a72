//! A message: a header, then its fields, exactly filling its buffer.

use crate::bytes::{Reader, Writer};
use crate::{ABI_VERSION, NtStatus};

/// The bytes of `{u32 abi_version, u32 size_bytes}`.
pub const HEADER_BYTES: usize = 8;

/// Why bytes are no message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Malformed {
    /// The buffer is shorter or longer than the message, or `size_bytes` says something else.
    Size,
    /// Another [`ABI_VERSION`].
    Version,
    /// A reserved field or an unknown flag is not zero.
    Reserved,
    /// A field has a value without a meaning.
    Value,
}

impl From<Malformed> for NtStatus {
    fn from(malformed: Malformed) -> Self {
        match malformed {
            Malformed::Size => Self::INFO_LENGTH_MISMATCH,
            Malformed::Version => Self::REVISION_MISMATCH,
            Malformed::Reserved | Malformed::Value => Self::INVALID_PARAMETER,
        }
    }
}

/// One of the messages of this crate.
pub trait Message<'a>: Sized {
    /// Whether a message of another version is read too; only the question for the version is.
    #[doc(hidden)]
    const ANY_VERSION: bool = false;

    /// The bytes of the whole message, header included.
    fn size_bytes(&self) -> usize;

    /// Writes what follows the header.
    #[doc(hidden)]
    fn put(&self, writer: &mut Writer<'_>) -> Result<(), Malformed>;

    /// Reads what follows the header.
    #[doc(hidden)]
    fn get(reader: &mut Reader<'a>) -> Result<Self, Malformed>;

    /// Writes the message to the front of `buffer`; gives its [`size_bytes`](Self::size_bytes).
    ///
    /// # Errors
    /// [`Malformed::Size`] where it does not fit; the buffer is unchanged then.
    fn encode(&self, buffer: &mut [u8]) -> Result<usize, Malformed> {
        let size = self.size_bytes();
        let mut writer = Writer::new(buffer.get_mut(..size).ok_or(Malformed::Size)?);
        writer.u32(ABI_VERSION)?;
        writer.u32(u32::try_from(size).map_err(|_| Malformed::Size)?)?;
        self.put(&mut writer)?;
        Ok(size)
    }

    /// Reads the message that fills `bytes`.
    ///
    /// # Errors
    /// The first of [`Malformed`] that is wrong with it.
    fn decode(bytes: &'a [u8]) -> Result<Self, Malformed> {
        let mut reader = Reader::new(bytes);
        let (version, size) = (reader.u32()?, reader.u32()?);
        if version != ABI_VERSION && !Self::ANY_VERSION {
            return Err(Malformed::Version);
        }
        if usize::try_from(size) != Ok(bytes.len()) {
            return Err(Malformed::Size);
        }
        let message = Self::get(&mut reader)?;
        if reader.left() == 0 { Ok(message) } else { Err(Malformed::Size) }
    }
}
