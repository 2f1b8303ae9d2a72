//! Little-endian fields, one after the other, out of and into bytes that may be too short.

use crate::Malformed;

/// Flags as bits, the first one the lowest.
pub(crate) fn bits_of<const N: usize>(flags: [bool; N]) -> u32 {
    flags.into_iter().rev().fold(0, |bits, flag| bits << 1 | u32::from(flag))
}

/// The flags in `bits`, all others of which must be zero.
pub(crate) fn flags_of<const N: usize>(bits: u32) -> Result<[bool; N], Malformed> {
    const { assert!(N < 32) };
    if bits >> N != 0 {
        return Err(Malformed::Reserved);
    }
    Ok(core::array::from_fn(|number| bits >> number & 1 == 1))
}

/// Takes fields from the front of a buffer.
#[derive(Clone, Debug)]
pub struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    pub(crate) const fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    pub(crate) const fn left(&self) -> usize {
        self.rest.len()
    }

    pub(crate) fn bytes(&mut self, len: usize) -> Result<&'a [u8], Malformed> {
        let (taken, rest) = self.rest.split_at_checked(len).ok_or(Malformed::Size)?;
        self.rest = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        let (taken, rest) = self.rest.split_first_chunk().ok_or(Malformed::Size)?;
        self.rest = rest;
        Ok(*taken)
    }

    pub(crate) fn u16(&mut self) -> Result<u16, Malformed> {
        self.array().map(u16::from_le_bytes)
    }

    pub(crate) fn u32(&mut self) -> Result<u32, Malformed> {
        self.array().map(u32::from_le_bytes)
    }

    pub(crate) fn u64(&mut self) -> Result<u64, Malformed> {
        self.array().map(u64::from_le_bytes)
    }

    /// A field that must be zero.
    pub(crate) fn reserved(&mut self, len: usize) -> Result<(), Malformed> {
        if self.bytes(len)?.iter().all(|&byte| byte == 0) { Ok(()) } else { Err(Malformed::Reserved) }
    }
}

/// Puts fields at the front of a buffer.
#[derive(Debug)]
pub struct Writer<'a> {
    rest: &'a mut [u8],
}

impl<'a> Writer<'a> {
    pub(crate) const fn new(bytes: &'a mut [u8]) -> Self {
        Self { rest: bytes }
    }

    pub(crate) fn put(&mut self, bytes: &[u8]) -> Result<(), Malformed> {
        // The borrow must leave `self` before it can be split.
        let (taken, rest) = core::mem::take(&mut self.rest).split_at_mut_checked(bytes.len()).ok_or(Malformed::Size)?;
        taken.copy_from_slice(bytes);
        self.rest = rest;
        Ok(())
    }

    pub(crate) fn u16(&mut self, value: u16) -> Result<(), Malformed> {
        self.put(&value.to_le_bytes())
    }

    pub(crate) fn u32(&mut self, value: u32) -> Result<(), Malformed> {
        self.put(&value.to_le_bytes())
    }

    pub(crate) fn u64(&mut self, value: u64) -> Result<(), Malformed> {
        self.put(&value.to_le_bytes())
    }
}
