//! METHOD_BUFFERED: one buffer holds the input first and the output afterwards.

use driver_abi::NtStatus;

/// How a request ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Completion {
    /// `IoStatus.Status`.
    pub status: NtStatus,
    /// `IoStatus.Information`: bytes transferred, or written to the output.
    pub information: usize,
}

impl Completion {
    /// An end without output: a failure, or a success with nothing to say.
    #[must_use]
    pub const fn bare(status: NtStatus) -> Self {
        Self { status, information: 0 }
    }

    /// Success, with so many bytes.
    #[must_use]
    pub const fn done(information: usize) -> Self {
        Self { status: NtStatus::SUCCESS, information }
    }
}

/// The system buffer of a METHOD_BUFFERED request.
///
/// Answering takes the buffer by value, so that no input can be read after the output overwrote it. Every byte of the
/// output that the answer does not fill is zeroed, and `information` is never more than the output holds.
#[derive(Debug)]
pub struct SystemBuffer<'a> {
    bytes: &'a mut [u8],
    input_len: usize,
    output_len: usize,
}

impl<'a> SystemBuffer<'a> {
    /// `bytes` holds `input_len` bytes of input and has room for `output_len` of output. The I/O manager makes it as long
    /// as the longer of the two; should it be shorter, so are they.
    #[must_use]
    pub fn new(bytes: &'a mut [u8], input_len: usize, output_len: usize) -> Self {
        let (input_len, output_len) = (input_len.min(bytes.len()), output_len.min(bytes.len()));
        Self { bytes, input_len, output_len }
    }

    /// The input.
    #[must_use]
    pub fn input(&self) -> &[u8] {
        self.bytes.get(..self.input_len).unwrap_or_default()
    }

    /// The first `N` bytes of the input, copied.
    #[must_use]
    pub fn head<const N: usize>(&self) -> Option<[u8; N]> {
        self.input().first_chunk().copied()
    }

    /// How many bytes the output has room for.
    #[must_use]
    pub const fn output_len(&self) -> usize {
        self.output_len
    }

    /// The output, all zero.
    #[must_use]
    pub fn into_output(self) -> &'a mut [u8] {
        let output = self.bytes.get_mut(..self.output_len).unwrap_or_default();
        output.fill(0);
        output
    }

    /// Answers with all of `output`.
    ///
    /// [`NtStatus::BUFFER_TOO_SMALL`] where it does not fit.
    #[must_use]
    pub fn answer(self, output: &[u8]) -> Completion {
        if output.len() > self.output_len {
            return Completion::bare(NtStatus::BUFFER_TOO_SMALL);
        }
        self.answer_as(NtStatus::SUCCESS, output)
    }

    /// Answers with `status` and as much of `output` as fits.
    #[must_use]
    pub fn answer_as(self, status: NtStatus, output: &[u8]) -> Completion {
        let room = self.into_output();
        let len = output.len().min(room.len());
        if let (Some(to), Some(from)) = (room.get_mut(..len), output.get(..len)) {
            to.copy_from_slice(from);
        }
        Completion { status, information: len }
    }
}
