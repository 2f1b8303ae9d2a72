//! A server on a thread of the test, on a TCP port the system chooses.

use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::sync::{Arc, Condvar, Mutex};
use std::thread::JoinHandle;

use block_device::{
    BlockDevice, ByteRange, Disk, Durability, Extent, Geometry, MemoryDisk, Result, ZeroEffect, ZeroMode,
};
use nbd::{Export, Limits, Listen, Served, Server, Stopper};

pub(crate) const MIB: u64 = 1 << 20;

/// Loopback, on a port the system chooses.
pub(crate) const ANY_PORT: SocketAddr = SocketAddr::V4(SocketAddrV4::new(Ipv4Addr::LOCALHOST, 0));

pub(crate) fn memory(len_bytes: u64) -> Disk {
    Disk::new(MemoryDisk::new(len_bytes)).unwrap()
}

pub(crate) fn export(disk: &Disk) -> Export {
    Export { name: "disk".into(), description: "a disk for tests".into(), disk: disk.clone() }
}

pub(crate) struct Running {
    #[cfg_attr(windows, expect(dead_code, reason = "for other people's clients"))]
    pub(crate) uri: String,
    /// Of no use for a UNIX socket.
    pub(crate) address: SocketAddr,
    pub(crate) disk: Disk,
    pub(crate) stopper: Stopper,
    thread: Option<JoinHandle<Result<Served>>>,
}

impl Running {
    pub(crate) fn new(disk: Disk) -> Self {
        Self::with(disk, Limits::default())
    }

    pub(crate) fn with(disk: Disk, limits: Limits) -> Self {
        Self::on(&Listen::Tcp(ANY_PORT), disk, limits)
    }

    pub(crate) fn on(listen: &Listen, disk: Disk, limits: Limits) -> Self {
        let server = Server::bind(listen, export(&disk), limits).unwrap();
        let uri = server.uri();
        let address = uri.strip_prefix("nbd://").map_or(ANY_PORT, |address| address.parse().unwrap());
        let stopper = server.stopper();
        Self { uri, address, disk, stopper, thread: Some(std::thread::spawn(|| server.run())) }
    }

    pub(crate) fn join(&mut self) -> Result<Served> {
        self.thread.take().unwrap().join().unwrap()
    }

    pub(crate) fn stop(mut self) -> Result<Served> {
        self.stopper.stop();
        self.join()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.stopper.stop();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// A gate in front of whatever a disk may take long for, but writes and flushes: a test sees that a request has come, and
/// lets it go on. It also keeps a book of what was changed and flushed.
#[derive(Clone, Default)]
pub(crate) struct Gate {
    state: Arc<(Mutex<(u32, bool)>, Condvar)>,
    book: Arc<Mutex<Vec<&'static str>>>,
}

impl Gate {
    /// How many requests have come to the gate.
    pub(crate) fn come(&self) -> u32 {
        self.state.0.lock().unwrap().0
    }

    /// Waits until `count` requests have come to the gate.
    pub(crate) fn wait_for(&self, count: u32) {
        let (state, changed) = &*self.state;
        drop(changed.wait_while(state.lock().unwrap(), |(come, _)| *come < count).unwrap());
    }

    pub(crate) fn open(&self) {
        self.state.0.lock().unwrap().1 = true;
        self.state.1.notify_all();
    }

    /// What has been changed and flushed since this was last asked.
    pub(crate) fn book(&self) -> Vec<&'static str> {
        std::mem::take(&mut self.book.lock().unwrap())
    }

    fn note(&self, what: &'static str) {
        self.book.lock().unwrap().push(what);
    }

    pub(crate) fn pass(&self) {
        let (state, changed) = &*self.state;
        let mut come = state.lock().unwrap();
        come.0 += 1;
        changed.notify_all();
        drop(changed.wait_while(come, |(_, open)| !*open).unwrap());
    }
}

pub(crate) struct Gated {
    pub(crate) disk: Disk,
    pub(crate) gate: Gate,
}

impl BlockDevice for Gated {
    fn geometry(&self) -> Geometry {
        self.disk.geometry()
    }

    fn read(&self, offset: u64, buffer: &mut [u8]) -> Result<()> {
        self.gate.pass();
        self.disk.read(offset, buffer)
    }

    fn write(&self, offset: u64, data: &[u8]) -> Result<()> {
        self.gate.note("write");
        self.disk.write(offset, data, Durability::Cached)
    }

    fn flush(&self) -> Result<()> {
        self.gate.note("flush");
        self.disk.flush()
    }

    fn discard(&self, range: ByteRange) -> Result<()> {
        self.gate.note("discard");
        self.gate.pass();
        self.disk.discard(range.start(), range.len())
    }

    fn write_zeroes(&self, range: ByteRange, mode: ZeroMode) -> Result<ZeroEffect> {
        self.gate.note("zero");
        self.gate.pass();
        self.disk.write_zeroes(range.start(), range.len(), mode, Durability::Cached)
    }

    fn extents(&self, range: ByteRange, visit: &mut dyn FnMut(Extent) -> std::ops::ControlFlow<()>) -> Result<()> {
        self.gate.pass();
        self.disk.extents(range.start(), range.len(), visit)
    }

    fn allocated_bytes(&self) -> Result<u64> {
        self.disk.allocated_bytes()
    }
}
