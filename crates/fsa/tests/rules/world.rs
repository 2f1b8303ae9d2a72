//! A volume with short words for what the tests do to it.

use std::ops::{Deref, DerefMut};

use fsa::{
    Access, Attributes, ClusterStore, CreateOptions, Disposition, MemoryStore, OpenId, Options, Status, StreamDetails,
    Volume, codes,
};

pub(crate) const KIB: u64 = 1 << 10;
pub(crate) const MIB: u64 = 1 << 20;
pub(crate) const GIB: u64 = 1 << 30;

pub(crate) struct World<S: ClusterStore = MemoryStore>(pub(crate) Volume<S>);

impl<S: ClusterStore> Deref for World<S> {
    type Target = Volume<S>;
    fn deref(&self) -> &Volume<S> {
        &self.0
    }
}

impl<S: ClusterStore> DerefMut for World<S> {
    fn deref_mut(&mut self) -> &mut Volume<S> {
        &mut self.0
    }
}

impl World {
    /// 1 GiB of 4 KiB clusters.
    pub(crate) fn new() -> Self {
        Self::of(Options::default())
    }

    pub(crate) fn of(options: Options) -> Self {
        Self(Volume::new(options).unwrap())
    }

    pub(crate) fn clusters(cluster_bytes: u64, capacity_clusters: u64) -> Self {
        Self::of(Options { cluster_bytes, capacity_clusters, ..Options::default() })
    }
}

impl<S: ClusterStore> World<S> {
    pub(crate) fn file(&mut self, path: &str) -> OpenId {
        self.create(path, &CreateOptions::new(Access::ALL, Disposition::OpenIf)).unwrap().0
    }

    pub(crate) fn directory(&mut self, path: &str) -> OpenId {
        let options = CreateOptions { directory: true, ..CreateOptions::new(Access::ALL, Disposition::OpenIf) };
        self.create(path, &options).unwrap().0
    }

    pub(crate) fn sparse(&mut self, path: &str) -> OpenId {
        let id = self.file(path);
        assert_eq!(self.set_sparse(id, true), Status::SUCCESS);
        id
    }

    pub(crate) fn with_access(&mut self, path: &str, access: Access) -> OpenId {
        self.open(path, access).unwrap()
    }

    pub(crate) fn set_sparse(&mut self, id: OpenId, sparse: bool) -> Status {
        self.control(id, codes::SET_SPARSE, &[u8::from(sparse)], &mut []).0
    }

    pub(crate) fn zero(&mut self, id: OpenId, from: u64, to: u64) -> Status {
        self.control(id, codes::SET_ZERO_DATA, &pair(from, to), &mut []).0
    }

    pub(crate) fn compress(&mut self, id: OpenId, format: u16) -> Status {
        self.control(id, codes::SET_COMPRESSION, &format.to_le_bytes(), &mut []).0
    }

    pub(crate) fn compression(&mut self, id: OpenId) -> u16 {
        let mut output = [0; 2];
        assert_eq!(self.control(id, codes::GET_COMPRESSION, &[], &mut output), (Status::SUCCESS, 2));
        u16::from_le_bytes(output)
    }

    /// Offset and length of every allocated range, which all fit.
    pub(crate) fn qar(&mut self, id: OpenId, offset: u64, len: u64) -> Vec<(u64, u64)> {
        let mut output = vec![0; 1 << 16];
        let (status, len) = self.control(id, codes::QUERY_ALLOCATED_RANGES, &pair(offset, len), &mut output);
        assert_eq!(status, Status::SUCCESS);
        pairs(&output[..len])
    }

    pub(crate) fn qar_status(&mut self, id: OpenId, input: &[u8], output: usize) -> (Status, usize) {
        self.control(id, codes::QUERY_ALLOCATED_RANGES, input, &mut vec![0; output])
    }

    pub(crate) fn trim(&mut self, id: OpenId, ranges: &[(u64, u64)]) -> (Status, u32) {
        let mut output = [0xEE; 4];
        let (status, len) = self.control(id, codes::FILE_LEVEL_TRIM, &trim_input(ranges), &mut output);
        assert!(len == 4 || status.is_error());
        (status, u32::from_le_bytes(output))
    }

    pub(crate) fn details(&self, id: OpenId) -> StreamDetails {
        self.stream_details(id).unwrap()
    }

    pub(crate) fn allocated(&self, id: OpenId) -> u64 {
        self.details(id).allocated_bytes
    }

    pub(crate) fn valid(&self, id: OpenId) -> u64 {
        self.details(id).valid_bytes
    }

    pub(crate) fn size(&self, id: OpenId) -> u64 {
        self.details(id).size_bytes
    }

    pub(crate) fn attributes(&mut self, id: OpenId) -> Attributes {
        self.basic_information(id).unwrap().attributes
    }

    pub(crate) fn is_marked(&mut self, id: OpenId) -> bool {
        self.attributes(id).contains(Attributes::SPARSE_FILE)
    }

    /// Writes `len` bytes that are not zero.
    pub(crate) fn put(&mut self, id: OpenId, offset: u64, len: u64) {
        assert_eq!(self.write(id, offset as i64, &data(len)), Ok(len as usize));
    }

    pub(crate) fn end(&mut self, id: OpenId, size: u64) {
        self.set_end_of_file(id, size as i64).unwrap();
    }

    pub(crate) fn bytes(&mut self, id: OpenId, offset: u64, len: u64) -> Vec<u8> {
        let mut buffer = vec![0xEE; len as usize];
        let read = self.read(id, offset as i64, &mut buffer).unwrap();
        buffer.truncate(read);
        buffer
    }

    pub(crate) fn reads_zero(&mut self, id: OpenId, offset: u64, len: u64) -> bool {
        let bytes = self.bytes(id, offset, len);
        bytes.len() as u64 == len && bytes.iter().all(|&byte| byte == 0)
    }

    pub(crate) fn reads_data(&mut self, id: OpenId, offset: u64, len: u64) -> bool {
        self.bytes(id, offset, len) == data(len)
    }

    /// The reasons of the records since the last time.
    pub(crate) fn reasons(&mut self) -> Vec<u32> {
        self.take_usn_records().iter().map(|record| record.reason).collect()
    }

    /// Action and filter of the notifications since the last time.
    pub(crate) fn notified(&mut self) -> Vec<(fsa::Action, u32)> {
        self.take_notifications().iter().map(|sent| (sent.action, sent.filter)).collect()
    }
}

pub(crate) fn data(len: u64) -> Vec<u8> {
    (0..len).map(|at| (at % 251) as u8 + 1).collect()
}

pub(crate) fn pair(first: u64, second: u64) -> Vec<u8> {
    [first.to_le_bytes(), second.to_le_bytes()].concat()
}

pub(crate) fn pairs(bytes: &[u8]) -> Vec<(u64, u64)> {
    let number = |bytes: &[u8]| u64::from_le_bytes(bytes.try_into().unwrap());
    bytes.chunks_exact(16).map(|entry| (number(&entry[..8]), number(&entry[8..]))).collect()
}

pub(crate) fn trim_input(ranges: &[(u64, u64)]) -> Vec<u8> {
    let head = [0_u32.to_le_bytes(), (ranges.len() as u32).to_le_bytes()].concat();
    ranges.iter().fold(head, |input, &(offset, len)| [input, pair(offset, len)].concat())
}
