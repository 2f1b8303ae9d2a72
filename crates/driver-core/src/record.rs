//! A structure of the kernel as bytes, its fields put at their offsets.

/// `N` bytes, zero where nothing was put.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Record<const N: usize>([u8; N]);

impl<const N: usize> Record<N> {
    pub(crate) const fn new() -> Self {
        Self([0; N])
    }

    pub(crate) fn put(mut self, offset: usize, bytes: &[u8]) -> Self {
        let place = self.0.get_mut(offset..).and_then(|rest| rest.get_mut(..bytes.len()));
        debug_assert!(place.is_some(), "{} bytes at {offset} of {N}", bytes.len());
        if let Some(place) = place {
            place.copy_from_slice(bytes);
        }
        self
    }

    pub(crate) fn u8(self, offset: usize, value: u8) -> Self {
        self.put(offset, &[value])
    }

    pub(crate) fn u16(self, offset: usize, value: u16) -> Self {
        self.put(offset, &value.to_le_bytes())
    }

    pub(crate) fn u32(self, offset: usize, value: u32) -> Self {
        self.put(offset, &value.to_le_bytes())
    }

    pub(crate) fn u64(self, offset: usize, value: u64) -> Self {
        self.put(offset, &value.to_le_bytes())
    }

    pub(crate) const fn bytes(&self) -> &[u8; N] {
        &self.0
    }
}

/// The little-endian number at `offset` of `bytes`.
pub(crate) fn u32_at(bytes: &[u8], offset: usize) -> Option<u32> {
    bytes.get(offset..)?.first_chunk().copied().map(u32::from_le_bytes)
}

/// The little-endian number at `offset` of `bytes`.
pub(crate) fn u64_at(bytes: &[u8], offset: usize) -> Option<u64> {
    bytes.get(offset..)?.first_chunk().copied().map(u64::from_le_bytes)
}
