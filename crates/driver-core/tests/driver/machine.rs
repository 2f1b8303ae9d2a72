//! A machine with the driver loaded: what `driver/` does with the kernel, over a simulated volume.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;

use driver_abi::{
    AttachFlags, AttachRequest, Attached, Control, DetachRequest, DiscardMode, DiskEntry, DiskFlags, Message,
    NameMaker, NtPath, Statistics, Version,
};
use driver_core::cancel::{self, Admission};
use driver_core::control::{self, Command};
use driver_core::{
    Completion, Disk, DiskFacts, DiskState, FileFacts, InUse, Job, NtStatus, Refusal, Request, SystemBuffer, Verdict,
    dispatch, judge, may_detach,
};
use fsa::{Access, CreateOptions, Disposition, OpenId, Options, Share, Volume, codes};

use crate::host::{HostFile, SharedVolume, nt};
use crate::irp::{Buffers, Irp, STALE};

pub(crate) const KIB: u64 = 1024;
pub(crate) const MIB: u64 = 1024 * KIB;
pub(crate) const UNIT: u64 = 64 * KIB;

/// A disk's device, with the requests that were ever sent to it.
struct Device {
    facts: DiskFacts,
    state: &'static DiskState,
    disk: Disk<'static, HostFile>,
    open: OpenId,
    flags: AttachFlags,
    path: Vec<u8>,
    irps: Vec<Irp>,
    queue: VecDeque<(usize, Job)>,
    open_handles: u32,
}

pub(crate) struct Machine {
    pub(crate) volume: SharedVolume,
    devices: Vec<Option<Device>>,
    attached: u64,
}

/// Where an IRP is: the number of its disk, and its own.
pub(crate) type Sent = (u32, usize);

pub(crate) fn utf16(text: &str) -> Vec<u8> {
    text.encode_utf16().flat_map(u16::to_le_bytes).collect()
}

/// An attach request for the file `name`, with zero detection.
pub(crate) fn attach_request(path: &[u8]) -> AttachRequest<'_> {
    AttachRequest {
        flags: AttachFlags { zero_detection: true, ..AttachFlags::default() },
        sector_bytes: 512,
        letter: None,
        discard: DiscardMode::Free,
        space_floor_bytes: 0,
        path: NtPath::new(path).unwrap(),
    }
}

pub(crate) fn encode<'a>(message: &impl Message<'a>) -> Vec<u8> {
    let mut bytes = vec![0; message.size_bytes()];
    message.encode(&mut bytes).unwrap();
    bytes
}

impl Machine {
    pub(crate) fn new(options: Options) -> Self {
        Self { volume: Rc::new(RefCell::new(Volume::new(options).unwrap())), devices: Vec::new(), attached: 0 }
    }

    /// A machine with one sparse file attached as disk 0.
    pub(crate) fn with_disk(options: Options, len_bytes: u64) -> Self {
        Self::with_disk_as(options, len_bytes, |_| {})
    }

    pub(crate) fn with_disk_as(options: Options, len_bytes: u64, change: impl FnOnce(&mut AttachRequest<'_>)) -> Self {
        let mut machine = Self::new(options);
        machine.make_file("disk.img", len_bytes, true);
        machine.attach("disk.img", change).unwrap();
        machine
    }

    pub(crate) fn make_file(&mut self, name: &str, len_bytes: u64, sparse: bool) {
        let mut volume = self.volume.borrow_mut();
        let options = CreateOptions::new(Access::ALL, Disposition::Create);
        let (file, _) = volume.create(&format!("\\{name}"), &options).unwrap();
        if sparse && volume.options().kind == fsa::Kind::Ntfs {
            assert!(volume.control(file, codes::SET_SPARSE, &[], &mut []).0.is_success());
        }
        volume.set_end_of_file(file, len_bytes.try_into().unwrap()).unwrap();
        volume.close(file).unwrap();
    }

    pub(crate) fn attach(
        &mut self,
        name: &str,
        change: impl FnOnce(&mut AttachRequest<'_>),
    ) -> Result<Attached, NtStatus> {
        let path = utf16(&format!(r"\??\C:\{name}"));
        let mut request = attach_request(&path);
        change(&mut request);
        let (status, output) = self.control(Control::Attach.code(), &encode(&request), Attached::BYTES);
        if status.is_success() { Ok(Attached::decode(&output).unwrap()) } else { Err(status) }
    }

    /// Detaches the disk that has this number now.
    pub(crate) fn detach(&mut self, disk: u32, forced: bool) -> NtStatus {
        let serial = self.serial(disk);
        self.control(Control::Detach.code(), &encode(&DetachRequest { disk, serial, forced }), 0).0
    }

    /// The serial of the disk that has this number now; 0, which no disk has, without one.
    pub(crate) fn serial(&self, disk: u32) -> u64 {
        self.devices.get(disk as usize).and_then(Option::as_ref).map_or(0, |device| device.facts.serial)
    }

    /// An IOCTL to the control device.
    pub(crate) fn control(&mut self, code: u32, input: &[u8], output_len: usize) -> (NtStatus, Vec<u8>) {
        let mut irp = Irp::control(code, input, output_len);
        let buffer = irp.system_buffer().unwrap();
        let completion = self.carry_out(code, buffer).unwrap_or_else(Completion::bare);
        irp.complete(completion);
        irp.output()
    }

    fn carry_out(&mut self, code: u32, buffer: SystemBuffer<'_>) -> Result<Completion, NtStatus> {
        match control::command(code, &buffer)? {
            Command::QueryVersion => Ok(control::reply(buffer, &Version { driver: [1, 0, 0], ..Version::default() })),
            Command::Attach(request) => {
                let attached = self.make_disk(&request)?;
                Ok(control::reply(buffer, &attached))
            }
            Command::Detach(request) => self.take_away(request).map(|()| Completion::bare(NtStatus::SUCCESS)),
            Command::List => Ok(control::list(buffer, self.devices.iter().flatten().map(entry))),
            Command::SetSpaceFloor(request) => {
                self.meant(request.disk, request.serial)?.state.set_space_floor(request.space_floor_bytes);
                Ok(Completion::bare(NtStatus::SUCCESS))
            }
            Command::Statistics(request) => {
                let counters = self.meant(request.disk, request.serial)?.state.counters();
                Ok(control::reply(buffer, &Statistics { disk: request.disk, counters }))
            }
        }
    }

    fn make_disk(&mut self, request: &AttachRequest<'_>) -> Result<Attached, NtStatus> {
        let number = self.devices.iter().position(Option::is_none).unwrap_or(self.devices.len());
        if number >= driver_abi::MAX_DISKS as usize {
            return Err(Refusal::TooManyDisks.status());
        }
        let path: Vec<u16> = request.path.units().collect();
        let path = String::from_utf16(&path).unwrap();
        let path = path.strip_prefix(r"\??\C:").ok_or(NtStatus::OBJECT_PATH_NOT_FOUND)?;
        let flags = request.flags;
        let data = Access::READ_DATA | Access::READ_ATTRIBUTES;
        let options = CreateOptions {
            share: if flags.read_only { Share::READ } else { Share::NONE },
            no_intermediate_buffering: true,
            ..CreateOptions::new(
                if flags.read_only { data } else { data | Access::WRITE_DATA | Access::WRITE_ATTRIBUTES },
                Disposition::Open,
            )
        };
        let (open, _) = self.volume.borrow_mut().create(path, &options).map_err(nt)?;
        let made = self.judge_and_make(open, number as u32, request);
        self.attached += 1;
        match made {
            Ok(device) => {
                let facts = device.facts;
                if number == self.devices.len() {
                    self.devices.push(None);
                }
                self.devices[number] = Some(device);
                Ok(Attached {
                    disk: facts.disk,
                    serial: facts.serial,
                    sector_bytes: request.sector_bytes,
                    len_bytes: facts.bounds.len_bytes(),
                    unit_bytes: facts.unit_bytes,
                    letter: request.letter,
                    name_maker: if request.letter.is_some() { NameMaker::SymbolicLink } else { NameMaker::Nobody },
                })
            }
            Err(status) => {
                self.volume.borrow_mut().close(open).unwrap();
                Err(status)
            }
        }
    }

    fn judge_and_make(&self, open: OpenId, number: u32, request: &AttachRequest<'_>) -> Result<Device, NtStatus> {
        let plan = judge(&facts(&mut self.volume.borrow_mut(), open), request)?;
        // The driver's lies in the device object, which outlives the worker; a test may leak it.
        let state: &'static DiskState = Box::leak(Box::new(DiskState::new(request.space_floor_bytes)));
        let file = HostFile { volume: Rc::clone(&self.volume), open };
        let disk = Disk::attach(file, &plan, state, &mut vec![STALE; request.sector_bytes as usize])?;
        state.set_letter(request.letter);
        Ok(Device {
            facts: plan.facts(number, self.attached + 1),
            state,
            disk,
            open,
            flags: request.flags,
            path: request.path.as_bytes().to_vec(),
            irps: Vec::new(),
            queue: VecDeque::new(),
            open_handles: 0,
        })
    }

    fn take_away(&mut self, request: DetachRequest) -> Result<(), NtStatus> {
        let device = self.meant(request.disk, request.serial)?;
        may_detach(InUse { open_handles: device.open_handles, ..InUse::default() }, request.forced)?;
        device.state.begin_detach()?;
        if request.forced {
            // Nobody waits for the queue: what the worker has not begun is answered.
            while let Some((irp, _)) = device.queue.pop_front() {
                if cancel::claim(&device.irps[irp]) {
                    device.irps[irp].complete(Completion::bare(NtStatus::DEVICE_REMOVED));
                }
            }
        }
        device.run();
        let device = self.devices[request.disk as usize].take().expect("found before");
        assert!(device.irps.iter().all(|irp| irp.completion.is_some()), "a request was forgotten");
        let file = device.disk.into_file();
        file.volume.borrow_mut().close(file.open).unwrap();
        Ok(())
    }

    fn meant(&mut self, disk: u32, serial: u64) -> Result<&mut Device, NtStatus> {
        let device = self.device(disk)?;
        device.facts.is_meant(serial)?;
        Ok(device)
    }

    fn device(&mut self, disk: u32) -> Result<&mut Device, NtStatus> {
        self.devices.get_mut(disk as usize).and_then(Option::as_mut).ok_or(NtStatus::NO_SUCH_DEVICE)
    }

    /// IoCallDriver. The IRP is completed, or pending.
    pub(crate) fn send(&mut self, disk: u32, irp: Irp) -> Sent {
        let device = self.device(disk).unwrap();
        device.irps.push(irp);
        let number = device.irps.len() - 1;
        device.dispatch(number);
        (disk, number)
    }

    /// Lets the worker do all that is queued.
    pub(crate) fn run(&mut self, disk: u32) {
        self.device(disk).unwrap().run();
    }

    /// IoCancelIrp.
    pub(crate) fn cancel(&mut self, (disk, number): Sent) {
        let device = self.device(disk).unwrap();
        if device.irps[number].cancel() {
            device.queue.retain(|&(queued, _)| queued != number);
            device.irps[number].complete(Completion::bare(NtStatus::CANCELLED));
        }
    }

    /// What the request's caller has, which is completed.
    pub(crate) fn output(&mut self, (disk, number): Sent) -> (NtStatus, Vec<u8>) {
        self.device(disk).unwrap().irps[number].output()
    }

    pub(crate) fn completion(&mut self, (disk, number): Sent) -> Option<Completion> {
        self.device(disk).unwrap().irps[number].completion
    }

    /// Sends a request and waits for it.
    pub(crate) fn wait(&mut self, disk: u32, irp: Irp) -> (NtStatus, Vec<u8>) {
        let (_, number) = self.send(disk, irp);
        self.run(disk);
        let device = self.device(disk).unwrap();
        let output = device.irps[number].output();
        // Long sequences are sent; what is completed need not be kept.
        if device.queue.is_empty() && device.irps.iter().all(|irp| irp.completion.is_some()) {
            device.irps.clear();
        }
        output
    }

    pub(crate) fn ioctl(&mut self, code: u32, input: &[u8], output_len: usize) -> (NtStatus, Vec<u8>) {
        self.wait(0, Irp::control(code, input, output_len))
    }

    pub(crate) fn read(&mut self, offset: u64, len: usize) -> Result<Vec<u8>, NtStatus> {
        let (status, bytes) = self.wait(0, Irp::read(offset, len));
        if status.is_success() { Ok(bytes) } else { Err(status) }
    }

    pub(crate) fn write(&mut self, offset: u64, data: &[u8]) -> NtStatus {
        self.wait(0, Irp::write(offset, data, false)).0
    }

    pub(crate) fn write_through(&mut self, offset: u64, data: &[u8]) -> NtStatus {
        self.wait(0, Irp::write(offset, data, true)).0
    }

    pub(crate) fn flush(&mut self) -> NtStatus {
        self.wait(0, Irp::new(Request::FlushBuffers, Buffers::None)).0
    }

    pub(crate) fn trim(&mut self, ranges: &[(u64, u64)]) -> NtStatus {
        let code = driver_core::codes::STORAGE_MANAGE_DATA_SET_ATTRIBUTES;
        self.ioctl(code, &trim_input(1, 0, ranges), 0).0
    }

    pub(crate) fn state(&mut self) -> &'static DiskState {
        self.device(0).unwrap().state
    }

    pub(crate) fn facts(&mut self) -> DiskFacts {
        self.device(0).unwrap().facts
    }

    /// The allocated runs of disk 0's file, as its volume says; the end of the file ends the last one.
    pub(crate) fn allocated(&mut self) -> Vec<(u64, u64)> {
        let device = self.device(0).unwrap();
        let len = device.facts.bounds.len_bytes();
        let open = self.open();
        let mut volume = self.volume.borrow_mut();
        let input = [0u64.to_le_bytes(), len.to_le_bytes()].concat();
        let mut output = vec![0; 1 << 16];
        let (status, used) = volume.control(open, codes::QUERY_ALLOCATED_RANGES, &input, &mut output);
        assert!(status.is_success());
        let number = |bytes: &[u8]| u64::from_le_bytes(bytes.try_into().unwrap());
        output[..used]
            .chunks(16)
            .map(|entry| (number(&entry[..8]), number(&entry[..8]) + number(&entry[8..])))
            .collect()
    }

    pub(crate) fn allocated_bytes(&mut self) -> u64 {
        let open = self.open();
        self.volume.borrow_mut().stream_details(open).unwrap().allocated_bytes
    }

    pub(crate) fn extents(&mut self) -> u64 {
        let open = self.open();
        self.volume.borrow_mut().stream_details(open).unwrap().extents
    }

    /// The backing file of disk 0.
    pub(crate) fn open(&mut self) -> OpenId {
        self.device(0).unwrap().open
    }
}

impl Device {
    /// The dispatch routine.
    fn dispatch(&mut self, number: usize) {
        let irp = &mut self.irps[number];
        let request = irp.request;
        let verdict = dispatch(&self.facts, self.state, request, irp.system_buffer());
        match verdict {
            Verdict::Complete(completion) => {
                match request {
                    Request::Create if completion.status.is_success() => self.open_handles += 1,
                    Request::Cleanup => self.open_handles = self.open_handles.saturating_sub(1),
                    _ => {}
                }
                irp.complete(completion);
            }
            Verdict::Keep => irp.complete(Completion::bare(NtStatus::NOT_SUPPORTED)),
            Verdict::Queue(job) => {
                irp.pending = true;
                match cancel::admit(irp) {
                    Admission::Queued => self.queue.push_back((number, job)),
                    Admission::Cancelled => irp.complete(Completion::bare(NtStatus::CANCELLED)),
                }
            }
        }
    }

    /// The worker.
    fn run(&mut self) {
        while let Some((number, job)) = self.queue.pop_front() {
            let irp = &mut self.irps[number];
            if !cancel::claim(irp) {
                continue;
            }
            assert!(irp.pending, "queued without being marked");
            let completion = match job {
                Job::Read(range) => self.disk.read(range, irp.bytes()),
                Job::Write { range, write_through } => {
                    let before = irp.bytes().to_vec();
                    let completion = self.disk.write(range, write_through, irp.bytes());
                    assert!(irp.bytes() == before, "a write changed its caller's pages");
                    completion
                }
                Job::Flush => self.disk.flush(),
                Job::Trim(job) => self.disk.trim(job, irp.bytes()),
            };
            irp.complete(completion);
        }
    }
}

/// What the kernel would say about an open file.
pub(crate) fn facts(volume: &mut Volume, open: OpenId) -> FileFacts {
    let information = volume.information();
    FileFacts {
        attributes: volume.network_open_information(open).unwrap().attributes.0,
        len_bytes: volume.standard_information(open).unwrap().size_bytes.try_into().unwrap(),
        device_type: 7,
        device_characteristics: 0,
        volume_flags: information.flags,
        host_sector_bytes: information.sector_bytes.try_into().unwrap(),
        cluster_bytes: information.cluster_bytes.try_into().unwrap(),
        alignment_mask: 0,
        on_own_disk: false,
    }
}

fn entry(device: &Device) -> DiskEntry<'_> {
    DiskEntry {
        disk: device.facts.disk,
        serial: device.facts.serial,
        flags: DiskFlags {
            read_only: device.facts.read_only,
            removable: device.facts.removable,
            zero_detection: device.flags.zero_detection,
            trims: device.facts.trims,
            detaching: device.state.is_detaching(),
            flush_failed: device.state.flush_failed(),
        },
        len_bytes: device.facts.bounds.len_bytes(),
        sector_bytes: device.facts.bounds.block().bytes() as u32,
        unit_bytes: device.facts.unit_bytes,
        letter: device.state.letter(),
        name_maker: NameMaker::Nobody,
        open_handles: device.open_handles,
        counters: device.state.counters(),
        path: NtPath::new(&device.path).unwrap(),
    }
}

/// DEVICE_MANAGE_DATA_SET_ATTRIBUTES and its ranges.
pub(crate) fn trim_input(action: u32, flags: u32, ranges: &[(u64, u64)]) -> Vec<u8> {
    let offset = if ranges.is_empty() { 0 } else { 32 };
    let header = [28, action, flags, 0, 0, offset, 16 * ranges.len() as u32];
    let mut input: Vec<u8> = header.into_iter().flat_map(u32::to_le_bytes).collect();
    if !ranges.is_empty() {
        input.extend([0; 4]);
        input.extend(ranges.iter().flat_map(|(offset, len)| [offset.to_le_bytes(), len.to_le_bytes()]).flatten());
    }
    input
}
