//! A request packet, and the I/O manager's rules about it.

use std::cell::Cell;

use driver_core::cancel::Cancellable;
use driver_core::{Completion, NtStatus, Request, SystemBuffer};

/// What the I/O manager made of the caller's buffers.
#[derive(Clone, Debug)]
pub(crate) enum Buffers {
    None,
    /// METHOD_BUFFERED: one buffer, as long as the longer of the two.
    System {
        bytes: Vec<u8>,
        input_len: usize,
        output_len: usize,
    },
    /// Direct: the pages of the caller.
    Direct(Vec<u8>),
}

/// Behind every buffer: nobody may touch it.
const GUARD: [u8; 16] = *b"do not touch me!";
/// What an output holds before it is written; never zero, so that what was not zeroed shows.
pub(crate) const STALE: u8 = 0xA5;

/// An IRP. It is completed exactly once, as the rules want it.
#[derive(Debug)]
pub(crate) struct Irp {
    pub(crate) request: Request,
    pub(crate) buffers: Buffers,
    pub(crate) pending: bool,
    pub(crate) completion: Option<Completion>,
    armed: Cell<bool>,
    cancelled: Cell<bool>,
}

impl Irp {
    pub(crate) fn new(request: Request, buffers: Buffers) -> Self {
        let (armed, cancelled) = (Cell::new(false), Cell::new(false));
        Self { request, buffers, pending: false, completion: None, armed, cancelled }
    }

    pub(crate) fn control(code: u32, input: &[u8], output_len: usize) -> Self {
        let mut bytes = vec![STALE; input.len().max(output_len)];
        bytes[..input.len()].copy_from_slice(input);
        bytes.extend(GUARD);
        Self::new(Request::DeviceControl { code }, Buffers::System { bytes, input_len: input.len(), output_len })
    }

    pub(crate) fn read(offset: u64, len: usize) -> Self {
        let request = Request::Read { offset, len_bytes: len.try_into().unwrap() };
        Self::new(request, Buffers::Direct([vec![STALE; len], GUARD.to_vec()].concat()))
    }

    pub(crate) fn write(offset: u64, data: &[u8], write_through: bool) -> Self {
        let request = Request::Write { offset, len_bytes: data.len().try_into().unwrap(), write_through };
        Self::new(request, Buffers::Direct([data, &GUARD].concat()))
    }

    /// The system buffer, as the driver sees it.
    pub(crate) fn system_buffer(&mut self) -> Option<SystemBuffer<'_>> {
        match &mut self.buffers {
            Buffers::System { bytes, input_len, output_len } => {
                let len = bytes.len() - GUARD.len();
                Some(SystemBuffer::new(&mut bytes[..len], *input_len, *output_len))
            }
            _ => None,
        }
    }

    /// The pages of a transfer, or the system buffer of a control.
    pub(crate) fn bytes(&mut self) -> &mut [u8] {
        match &mut self.buffers {
            Buffers::System { bytes, .. } | Buffers::Direct(bytes) => {
                let len = bytes.len() - GUARD.len();
                &mut bytes[..len]
            }
            Buffers::None => &mut [],
        }
    }

    /// IoCompleteRequest.
    pub(crate) fn complete(&mut self, completion: Completion) {
        assert!(self.completion.is_none(), "completed twice: {self:?}");
        assert!(!self.armed.get(), "completed while its cancel routine is set: {self:?}");
        assert_ne!(completion.status, NtStatus::PENDING);
        let room = match &self.buffers {
            Buffers::System { output_len, .. } => *output_len,
            Buffers::Direct(bytes) => bytes.len() - GUARD.len(),
            Buffers::None => 0,
        };
        assert!(completion.information <= room, "{completion:?} for {:?}", self.request);
        if completion.status.is_error() {
            assert_eq!(completion.information, 0, "an error transfers nothing: {completion:?}");
        }
        self.completion = Some(completion);
        match &self.buffers {
            Buffers::System { bytes, .. } | Buffers::Direct(bytes) => {
                assert!(bytes.ends_with(&GUARD), "written behind the buffer");
            }
            Buffers::None => {}
        }
        if let Buffers::System { bytes, output_len, .. } = &self.buffers
            && completion.information > 0
            && *output_len > 0
        {
            assert!(bytes[completion.information..*output_len].iter().all(|&byte| byte == 0), "the tail is not zeroed");
        }
    }

    /// What the caller gets: errors copy nothing back.
    pub(crate) fn output(&self) -> (NtStatus, Vec<u8>) {
        let completion = self.completion.expect("not completed");
        match &self.buffers {
            _ if completion.status.is_error() => (completion.status, Vec::new()),
            Buffers::System { output_len: 0, .. } | Buffers::None => (completion.status, Vec::new()),
            Buffers::System { bytes, .. } | Buffers::Direct(bytes) => {
                (completion.status, bytes[..completion.information].to_vec())
            }
        }
    }

    /// IoCancelIrp: sets the flag and takes the routine. `true` if the routine must be called now.
    pub(crate) fn cancel(&self) -> bool {
        self.cancelled.set(true);
        self.armed.replace(false)
    }
}

impl Cancellable for Irp {
    fn arm(&self) {
        self.armed.set(true);
    }

    fn disarm(&self) -> bool {
        self.armed.replace(false)
    }

    fn is_cancelled(&self) -> bool {
        self.cancelled.get()
    }
}
