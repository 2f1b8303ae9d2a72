//! The control device: what is asked of the driver itself.

use driver_abi::{
    AttachRequest, Attached, Control, DetachRequest, DiskEntry, ListReply, ListRequest, ListWriter, Message, NtStatus,
    SpaceFloorRequest, Statistics, StatisticsRequest, Version, VersionRequest,
};

use crate::{Completion, SystemBuffer};

/// A request that is well formed, and whose answer has room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Command<'a> {
    /// Answer with [`Version`].
    QueryVersion,
    /// Attach, and answer with [`Attached`]. The path lies in the system buffer: it is gone once that is answered.
    Attach(AttachRequest<'a>),
    /// Detach.
    Detach(DetachRequest),
    /// Answer with [`list`].
    List,
    /// Set the space floor.
    SetSpaceFloor(SpaceFloorRequest),
    /// Answer with [`Statistics`].
    Statistics(StatisticsRequest),
}

/// What the IOCTL `code` with this buffer asks for.
///
/// Whether the answer fits is checked here, so that nothing is done whose result cannot be told.
///
/// # Errors
/// [`NtStatus::INVALID_DEVICE_REQUEST`] for another code, [`NtStatus::BUFFER_TOO_SMALL`] for too short an output, and
/// for the input what [`Malformed`](driver_abi::Malformed) becomes.
pub fn command<'a>(code: u32, buffer: &'a SystemBuffer<'_>) -> Result<Command<'a>, NtStatus> {
    let control = Control::from_code(code).ok_or(NtStatus::INVALID_DEVICE_REQUEST)?;
    let input = buffer.input();
    let command = match control {
        Control::QueryVersion => VersionRequest::decode(input).map(|VersionRequest| Command::QueryVersion)?,
        Control::Attach => Command::Attach(AttachRequest::decode(input)?),
        Control::Detach => Command::Detach(DetachRequest::decode(input)?),
        Control::List => ListRequest::decode(input).map(|ListRequest| Command::List)?,
        Control::SetSpaceFloor => Command::SetSpaceFloor(SpaceFloorRequest::decode(input)?),
        Control::Statistics => Command::Statistics(StatisticsRequest::decode(input)?),
    };
    let answer_bytes = match control {
        Control::QueryVersion => Version::BYTES,
        Control::Attach => Attached::BYTES,
        Control::List => ListReply::FIXED_BYTES,
        Control::Statistics => Statistics::BYTES,
        Control::Detach | Control::SetSpaceFloor => 0,
    };
    if buffer.output_len() < answer_bytes { Err(NtStatus::BUFFER_TOO_SMALL) } else { Ok(command) }
}

/// Answers with `message`.
#[must_use]
pub fn reply<'m>(buffer: SystemBuffer<'_>, message: &impl Message<'m>) -> Completion {
    match message.encode(buffer.into_output()) {
        Ok(len) => Completion::done(len),
        Err(_) => Completion::bare(NtStatus::BUFFER_TOO_SMALL),
    }
}

/// Answers with a list of disks: [`NtStatus::BUFFER_OVERFLOW`] where not all of them fit.
#[must_use]
pub fn list<'e>(buffer: SystemBuffer<'_>, disks: impl IntoIterator<Item = DiskEntry<'e>>) -> Completion {
    let Ok(mut writer) = ListWriter::new(buffer.into_output()) else {
        return Completion::bare(NtStatus::BUFFER_TOO_SMALL);
    };
    disks.into_iter().for_each(|disk| writer.push(&disk));
    let (information, complete) = writer.finish();
    let status = if complete { NtStatus::SUCCESS } else { NtStatus::BUFFER_OVERFLOW };
    Completion { status, information }
}
