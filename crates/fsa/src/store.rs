//! Where the bytes of clusters are kept.

use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::vec;

/// The store failed. The operation answers [`Status::IO_DEVICE_ERROR`](crate::Status::IO_DEVICE_ERROR).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StoreError;

/// Keeps the bytes of a volume's clusters.
///
/// Every place is a cluster number `lcn` and a byte `at` counted from that cluster's start; a request may run on over
/// the clusters that follow, and ends inside the volume. `at` is smaller than a cluster. A cluster that was never
/// written, or was freed since, may read as anything: the volume never shows it to anybody.
pub trait ClusterStore {
    /// Fills `buffer`.
    ///
    /// # Errors
    /// [`StoreError`] where the bytes cannot be had.
    fn read(&self, lcn: u64, at: u64, buffer: &mut [u8]) -> Result<(), StoreError>;

    /// Puts `data` there.
    ///
    /// # Errors
    /// [`StoreError`] where some of it was not kept.
    fn write(&mut self, lcn: u64, at: u64, data: &[u8]) -> Result<(), StoreError>;

    /// Makes `len` bytes zero.
    ///
    /// # Errors
    /// [`StoreError`] where some of it was not kept.
    fn zero(&mut self, lcn: u64, at: u64, len: u64) -> Result<(), StoreError>;

    /// `clusters` from `lcn` on hold nothing any more.
    ///
    /// # Errors
    /// [`StoreError`]; the clusters are free for the volume all the same.
    fn free(&mut self, lcn: u64, clusters: u64) -> Result<(), StoreError>;

    /// Everything written is on stable storage when this returns.
    ///
    /// # Errors
    /// [`StoreError`] where it is not.
    fn flush(&mut self) -> Result<(), StoreError> {
        Ok(())
    }
}

/// Clusters in memory; only pages that hold something occupy any.
#[derive(Clone, Debug)]
pub struct MemoryStore {
    cluster_bytes: u64,
    page_bytes: u64,
    pages: BTreeMap<u64, Box<[u8]>>,
}

impl MemoryStore {
    /// Memory is taken in pages of a cluster, or of this where clusters are larger.
    const LARGEST_PAGE_BYTES: u64 = 4096;

    /// An empty store for clusters of `cluster_bytes`, a power of two.
    #[must_use]
    pub fn new(cluster_bytes: u64) -> Self {
        let cluster_bytes = cluster_bytes.max(1);
        Self { cluster_bytes, page_bytes: cluster_bytes.min(Self::LARGEST_PAGE_BYTES), pages: BTreeMap::new() }
    }

    /// Bytes of memory that hold content.
    #[must_use]
    pub fn resident_bytes(&self) -> u64 {
        self.pages.len() as u64 * self.page_bytes
    }

    /// Page number and offset in it. Positions go beyond 64 bits on the largest volumes; page numbers do not.
    fn place(&self, lcn: u64, at: u64) -> (u64, usize) {
        let page = lcn * (self.cluster_bytes / self.page_bytes) + at / self.page_bytes;
        (page, (at % self.page_bytes) as usize)
    }
}

impl ClusterStore for MemoryStore {
    fn read(&self, lcn: u64, at: u64, mut buffer: &mut [u8]) -> Result<(), StoreError> {
        let (mut page, mut at) = self.place(lcn, at);
        while !buffer.is_empty() {
            let len = buffer.len().min(self.page_bytes as usize - at);
            let (piece, rest) = buffer.split_at_mut(len);
            match self.pages.get(&page) {
                Some(bytes) => piece.copy_from_slice(&bytes[at..at + len]),
                None => piece.fill(0),
            }
            (buffer, page, at) = (rest, page + 1, 0);
        }
        Ok(())
    }

    fn write(&mut self, lcn: u64, at: u64, mut data: &[u8]) -> Result<(), StoreError> {
        let (mut page, mut at) = self.place(lcn, at);
        while !data.is_empty() {
            let len = data.len().min(self.page_bytes as usize - at);
            let (piece, rest) = data.split_at(len);
            let bytes = self.pages.entry(page).or_insert_with(|| vec![0; self.page_bytes as usize].into());
            bytes[at..at + len].copy_from_slice(piece);
            (data, page, at) = (rest, page + 1, 0);
        }
        Ok(())
    }

    fn zero(&mut self, lcn: u64, at: u64, len: u64) -> Result<(), StoreError> {
        let (mut page, at) = self.place(lcn, at);
        let mut left = len;
        if at > 0 {
            let head = left.min(self.page_bytes - at as u64);
            if let Some(bytes) = self.pages.get_mut(&page) {
                bytes[at..at + head as usize].fill(0);
            }
            (left, page) = (left - head, page + 1);
        }
        let whole = page..page + left / self.page_bytes;
        while let Some((&full, _)) = self.pages.range(whole.clone()).next() {
            self.pages.remove(&full);
        }
        if let Some(bytes) = self.pages.get_mut(&whole.end) {
            bytes[..(left % self.page_bytes) as usize].fill(0);
        }
        Ok(())
    }

    fn free(&mut self, lcn: u64, clusters: u64) -> Result<(), StoreError> {
        let per_cluster = self.cluster_bytes / self.page_bytes;
        let freed = lcn * per_cluster..(lcn + clusters) * per_cluster;
        while let Some((&page, _)) = self.pages.range(freed.clone()).next() {
            self.pages.remove(&page);
        }
        Ok(())
    }
}
