//! Memory that is never paged out.

use core::ffi::c_void;
use core::ops::{Deref, DerefMut};
use core::ptr::NonNull;

use crate::nt::imports::{ExAllocatePoolWithTag, ExFreePoolWithTag};
use crate::routines;

/// Shown by poolmon as `SpDk`.
const TAG: u32 = u32::from_le_bytes(*b"SpDk");

/// Zeroed memory from the non-paged pool, aligned to 8 bytes, to a page where `bytes` is one or more.
fn allocate(bytes: usize) -> Option<NonNull<u8>> {
    // SAFETY: any size and tag may be asked for at IRQL <= DISPATCH_LEVEL; null is handled.
    let memory = unsafe { ExAllocatePoolWithTag(routines::non_paged_pool(), bytes.max(1), TAG) };
    let memory = NonNull::new(memory.cast::<u8>())?;
    // SAFETY: the allocation has at least `bytes` bytes, and nobody else knows it yet.
    unsafe { memory.write_bytes(0, bytes) };
    Some(memory)
}

fn free(memory: NonNull<u8>) {
    // SAFETY: only called with what `allocate` gave, once, by the owner's drop.
    unsafe { ExFreePoolWithTag(memory.as_ptr().cast::<c_void>(), TAG) };
}

/// Bytes in the non-paged pool.
pub(crate) struct PoolBytes {
    memory: NonNull<u8>,
    len: usize,
}

// SAFETY: it owns its memory as a `Box<[u8]>` does.
unsafe impl Send for PoolBytes {}
// SAFETY: shared access only reads.
unsafe impl Sync for PoolBytes {}

impl PoolBytes {
    /// `len` zeroes, if there is memory.
    pub(crate) fn zeroed(len: usize) -> Option<Self> {
        Some(Self { memory: allocate(len)?, len })
    }

    /// A copy of `bytes`, if there is memory.
    pub(crate) fn copy_of(bytes: &[u8]) -> Option<Self> {
        let mut copy = Self::zeroed(bytes.len())?;
        copy.copy_from_slice(bytes);
        Some(copy)
    }
}

impl Deref for PoolBytes {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        // SAFETY: `len` initialised bytes, owned by `self`, and not changed while `self` is borrowed.
        unsafe { core::slice::from_raw_parts(self.memory.as_ptr(), self.len) }
    }
}

impl DerefMut for PoolBytes {
    fn deref_mut(&mut self) -> &mut [u8] {
        // SAFETY: as for `deref`, and `self` is borrowed by nobody else.
        unsafe { core::slice::from_raw_parts_mut(self.memory.as_ptr(), self.len) }
    }
}

impl Drop for PoolBytes {
    fn drop(&mut self) {
        free(self.memory);
    }
}

/// A value in the non-paged pool.
pub(crate) struct PoolBox<T> {
    memory: NonNull<T>,
}

// SAFETY: it owns its value as a `Box<T>` does.
unsafe impl<T: Send> Send for PoolBox<T> {}

impl<T> PoolBox<T> {
    /// Moves `value` there, if there is memory.
    pub(crate) fn new(value: T) -> Option<Self> {
        const { assert!(align_of::<T>() <= 8, "the pool aligns to 8 bytes") };
        let memory = allocate(size_of::<T>())?.cast::<T>();
        // SAFETY: the memory is large and aligned enough for a `T`, and owned by nobody else.
        unsafe { memory.write(value) };
        Some(Self { memory })
    }

    /// The value as a pointer, to be passed through the kernel to [`PoolBox::from_raw`].
    pub(crate) fn into_raw(self) -> *mut c_void {
        let memory = self.memory;
        core::mem::forget(self);
        memory.as_ptr().cast()
    }

    /// The value that [`PoolBox::into_raw`] gave away.
    ///
    /// # Safety
    /// `raw` comes from `into_raw` of a `PoolBox<T>` of the same type, and is used once.
    pub(crate) unsafe fn from_raw(raw: NonNull<c_void>) -> Self {
        Self { memory: raw.cast() }
    }
}

impl<T> Deref for PoolBox<T> {
    type Target = T;

    fn deref(&self) -> &T {
        // SAFETY: initialised by `new` and owned by `self`.
        unsafe { self.memory.as_ref() }
    }
}

impl<T> DerefMut for PoolBox<T> {
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: initialised by `new`, owned by `self`, which is borrowed by nobody else.
        unsafe { self.memory.as_mut() }
    }
}

impl<T> Drop for PoolBox<T> {
    fn drop(&mut self) {
        // SAFETY: the value is dropped once, here.
        unsafe { self.memory.drop_in_place() };
        free(self.memory.cast());
    }
}
