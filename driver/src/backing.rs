//! The backing file, through Zw*.

use core::ffi::c_void;
use core::ptr::{NonNull, null, null_mut};

use driver_core::{BackingFile, Completion, FileFacts};

use crate::handle::OwnedHandle;
use crate::nt::imports::{
    IoBuildSynchronousFsdRequest, IoGetRelatedDeviceObject, IofCallDriver, KeInitializeEvent, KeWaitForSingleObject,
    ObReferenceObjectByHandle, ObfDereferenceObject, ZwFsControlFile, ZwQueryInformationFile,
    ZwQueryVolumeInformationFile, ZwReadFile, ZwWriteFile,
};
use crate::nt::information::{
    FileAlignmentInformation, FileBasicInformation, FileFsAttributeInformation, FileFsDeviceInformation,
    FileFsSizeInformation, FileStandardInformation,
};
use crate::nt::objects::{DriverObject, FileObject};
use crate::nt::values::{
    Executive, FILE_NO_INTERMEDIATE_BUFFERING, FILE_OPEN_NO_RECALL, FILE_OPEN_REPARSE_POINT, FILE_RANDOM_ACCESS,
    FILE_READ_ATTRIBUTES, FILE_READ_DATA, FILE_SHARE_READ, FILE_WRITE_DATA, FileAlignmentInformationClass,
    FileBasicInformationClass, FileFsAttributeInformationClass, FileFsDeviceInformationClass,
    FileFsSizeInformationClass, FileStandardInformationClass, IRP_MJ_FLUSH_BUFFERS, KernelMode, OBJ_CASE_INSENSITIVE,
    OBJ_FORCE_ACCESS_CHECK, OBJ_KERNEL_HANDLE, SynchronizationEvent,
};
use crate::nt::{IoStatusBlock, KEvent, NtStatus, ObjectAttributes, UnicodeString};
use crate::pool::PoolBytes;
use crate::routines;

/// STATUS_FILE_IS_A_DIRECTORY.
const FILE_IS_A_DIRECTORY: NtStatus = NtStatus(0xC000_00BA);

/// What goes through the bounce buffer at a time.
const BOUNCE_BYTES: usize = 64 << 10;

/// A file that was opened as its caller may, without the cache in between.
pub(crate) struct Backing {
    handle: OwnedHandle,
    file: FileReference,
    /// A mask: what memory must be aligned to.
    alignment_mask: usize,
    /// For memory that is not, and for the last sector at attach.
    bounce: PoolBytes,
}

/// A counted reference to the file object.
struct FileReference(NonNull<FileObject>);

// SAFETY: the object manager's references belong to no thread.
unsafe impl Send for FileReference {}

impl Drop for FileReference {
    fn drop(&mut self) {
        // SAFETY: the reference was taken by `Backing::open`, and is given back once.
        unsafe { ObfDereferenceObject(self.0.as_ptr().cast()) };
    }
}

impl Backing {
    /// Opens `path` for the thread that asks, judged by its own token, impersonation included.
    ///
    /// A writer shares the file with nobody, a reader with readers (law 7). A link is opened itself, so that it can be
    /// refused.
    ///
    /// What lies elsewhere is not fetched, so that it can be refused, too.
    ///
    /// # Errors
    /// What the file system answers; INSUFFICIENT_RESOURCES without memory for the bounce buffer.
    pub(crate) fn open(path: &UnicodeString, read_only: bool) -> Result<Self, NtStatus> {
        let attributes = ObjectAttributes::new(path, OBJ_KERNEL_HANDLE | OBJ_FORCE_ACCESS_CHECK | OBJ_CASE_INSENSITIVE);
        let write = if read_only { 0 } else { FILE_WRITE_DATA };
        let share = if read_only { FILE_SHARE_READ } else { 0 };
        let options =
            FILE_NO_INTERMEDIATE_BUFFERING | FILE_OPEN_REPARSE_POINT | FILE_OPEN_NO_RECALL | FILE_RANDOM_ACCESS;
        let handle = OwnedHandle::open(&attributes, FILE_READ_DATA | FILE_READ_ATTRIBUTES | write, share, options)
            .map_err(|status| match status {
                FILE_IS_A_DIRECTORY => driver_core::Refusal::Directory.status(),
                status => status,
            })?;
        let mut object = null_mut();
        // SAFETY: a handle of the driver's own; the pointer that is given is a counted reference.
        let status =
            unsafe { ObReferenceObjectByHandle(handle.raw(), 0, null_mut(), KernelMode, &mut object, null_mut()) };
        let object = NonNull::new(object.cast()).filter(|_| status.is_success());
        let file = FileReference(object.ok_or(NtStatus::UNSUCCESSFUL)?);
        let bounce = PoolBytes::zeroed(BOUNCE_BYTES).ok_or(NtStatus::INSUFFICIENT_RESOURCES)?;
        let mut backing = Self { handle, file, alignment_mask: 0, bounce };
        let alignment: Result<FileAlignmentInformation, _> = backing.information(FileAlignmentInformationClass);
        // What cannot be asked is taken to want whole sectors.
        backing.alignment_mask = alignment.map_or(0x1FF, |alignment| alignment.alignment_requirement) as usize;
        Ok(backing)
    }

    /// What there is to judge about it. `driver` is this driver, whose own disks are no place for it.
    ///
    /// # Errors
    /// Not a file: whatever keeps its attributes and its size to itself is none.
    pub(crate) fn facts(&self, driver: *mut DriverObject) -> Result<FileFacts, NtStatus> {
        let not_a_file = |_| driver_core::Refusal::NotAFile.status();
        let device: FileFsDeviceInformation = self.volume(FileFsDeviceInformationClass).map_err(not_a_file)?;
        let basic: FileBasicInformation = self.information(FileBasicInformationClass).map_err(not_a_file)?;
        let standard: FileStandardInformation = self.information(FileStandardInformationClass).map_err(not_a_file)?;
        let attributes: FileFsAttributeInformation = self.volume(FileFsAttributeInformationClass)?;
        let size: FileFsSizeInformation = self.volume(FileFsSizeInformationClass)?;
        Ok(FileFacts {
            attributes: basic.file_attributes,
            len_bytes: standard.end_of_file,
            device_type: device.device_type,
            device_characteristics: device.characteristics,
            volume_flags: attributes.file_system_attributes,
            host_sector_bytes: size.bytes_per_sector,
            cluster_bytes: size.sectors_per_allocation_unit.saturating_mul(size.bytes_per_sector),
            alignment_mask: self.alignment_mask as u32,
            on_own_disk: self.lies_on_a_device_of(driver),
        })
    }

    fn lies_on_a_device_of(&self, driver: *mut DriverObject) -> bool {
        // SAFETY: the file object is referenced, and its device does not change; it is null for what has none.
        let device = unsafe { (*self.file.0.as_ptr()).device_object };
        // SAFETY: a file object keeps its device object.
        !device.is_null() && unsafe { (*device).driver_object } == driver
    }

    /// ZwQueryInformationFile.
    fn information<T: Default>(&self, class: u32) -> Result<T, NtStatus> {
        let mut information = T::default();
        let mut status_block = IoStatusBlock::new();
        let place = (&raw mut information).cast::<c_void>();
        // SAFETY: `information` has room for the bytes that are said, and each of these classes is plain numbers.
        let status = unsafe {
            ZwQueryInformationFile(self.handle.raw(), &mut status_block, place, size_of::<T>() as u32, class)
        };
        if status.is_success() { Ok(information) } else { Err(status) }
    }

    /// ZwQueryVolumeInformationFile. A name that is cut is no failure: none is used.
    fn volume<T: Default>(&self, class: u32) -> Result<T, NtStatus> {
        let mut information = T::default();
        let mut status_block = IoStatusBlock::new();
        let place = (&raw mut information).cast::<c_void>();
        // SAFETY: `information` has room for the bytes that are said, and each of these classes is plain numbers.
        let status = unsafe {
            ZwQueryVolumeInformationFile(self.handle.raw(), &mut status_block, place, size_of::<T>() as u32, class)
        };
        if status.is_success() || status == NtStatus::BUFFER_OVERFLOW { Ok(information) } else { Err(status) }
    }

    fn is_aligned(&self, memory: *const u8) -> bool {
        memory.addr() & self.alignment_mask == 0
    }

    /// ZwReadFile into memory that is aligned.
    fn read_aligned(&self, offset: u64, memory: *mut u8, bytes: usize) -> Result<(), NtStatus> {
        let (offset, length) = place(offset, bytes)?;
        let mut status_block = IoStatusBlock::new();
        // SAFETY: the callers give memory of that many bytes; the handle is synchronous, so the call ends when the read
        // does.
        let status = unsafe {
            ZwReadFile(
                self.handle.raw(),
                null_mut(),
                null(),
                null(),
                &mut status_block,
                memory,
                length,
                &offset,
                null(),
            )
        };
        match status {
            _ if !status.is_success() => Err(status),
            _ if status_block.information != bytes => Err(NtStatus::END_OF_FILE),
            _ => Ok(()),
        }
    }

    /// ZwWriteFile from memory that is aligned.
    fn write_aligned(&self, offset: u64, memory: *const u8, bytes: usize) -> Result<(), NtStatus> {
        let (offset, length) = place(offset, bytes)?;
        let mut status_block = IoStatusBlock::new();
        // SAFETY: as for `read_aligned`.
        let status = unsafe {
            ZwWriteFile(
                self.handle.raw(),
                null_mut(),
                null(),
                null(),
                &mut status_block,
                memory,
                length,
                &offset,
                null(),
            )
        };
        match status {
            _ if !status.is_success() => Err(status),
            // A file system that writes less without an error is full.
            _ if status_block.information != bytes => Err(NtStatus::DISK_FULL),
            _ => Ok(()),
        }
    }

    /// Before Vista there is no ZwFlushBuffersFile: the IRP that it would send.
    fn flush_by_irp(&self) -> NtStatus {
        let file = self.file.0.as_ptr();
        let mut event = KEvent::ZERO;
        // SAFETY: the event stays on this stack until the wait below has ended.
        unsafe { KeInitializeEvent(&mut event, SynchronizationEvent, 0) };
        let mut status_block = IoStatusBlock::new();
        // SAFETY: the file object is referenced.
        let device = unsafe { IoGetRelatedDeviceObject(file) };
        // SAFETY: a flush has no buffer and no offset; event and status block live until the IRP is completed.
        let irp = unsafe {
            IoBuildSynchronousFsdRequest(
                u32::from(IRP_MJ_FLUSH_BUFFERS),
                device,
                null_mut(),
                0,
                null(),
                &mut event,
                &mut status_block,
            )
        };
        if irp.is_null() {
            return NtStatus::INSUFFICIENT_RESOURCES;
        }
        // SAFETY: the I/O manager has just made the IRP.
        let current = unsafe { (*irp).tail.current_stack_location };
        // IoGetNextIrpStackLocation: in a new IRP the current one lies one behind the first driver's.
        let next = current.wrapping_sub(1);
        // SAFETY: the stack location is the sender's to fill until the IRP is sent.
        unsafe { (*next).file_object = file };
        // SAFETY: the IRP was built for this device, and is the I/O manager's from here on.
        let status = unsafe { IofCallDriver(device, irp) };
        if status != NtStatus::PENDING {
            return status;
        }
        // SAFETY: the event is initialised; without a time-out the wait ends when the IRP is completed.
        let _ = unsafe { KeWaitForSingleObject((&raw mut event).cast(), Executive, KernelMode, 0, null()) };
        // SAFETY: the I/O manager has filled it, behind the compiler's back.
        unsafe { (&raw const status_block.status).read_volatile() }
    }
}

/// Offset and length as the kernel takes them.
fn place(offset: u64, bytes: usize) -> Result<(i64, u32), NtStatus> {
    match (i64::try_from(offset), u32::try_from(bytes)) {
        (Ok(offset), Ok(bytes)) => Ok((offset, bytes)),
        _ => Err(NtStatus::INVALID_PARAMETER),
    }
}

impl BackingFile for Backing {
    fn read(&mut self, offset: u64, buffer: &mut [u8]) -> Result<(), NtStatus> {
        if self.is_aligned(buffer.as_ptr()) {
            return self.read_aligned(offset, buffer.as_mut_ptr(), buffer.len());
        }
        let mut at = offset;
        for piece in buffer.chunks_mut(BOUNCE_BYTES) {
            let memory = self.bounce.as_mut_ptr();
            self.read_aligned(at, memory, piece.len())?;
            piece.iter_mut().zip(self.bounce.iter()).for_each(|(to, from)| *to = *from);
            at += piece.len() as u64;
        }
        Ok(())
    }

    fn write(&mut self, offset: u64, data: &[u8]) -> Result<(), NtStatus> {
        if self.is_aligned(data.as_ptr()) {
            return self.write_aligned(offset, data.as_ptr(), data.len());
        }
        let mut at = offset;
        for piece in data.chunks(BOUNCE_BYTES) {
            self.bounce.iter_mut().zip(piece).for_each(|(to, from)| *to = *from);
            self.write_aligned(at, self.bounce.as_ptr(), piece.len())?;
            at += piece.len() as u64;
        }
        Ok(())
    }

    fn flush(&mut self) -> Result<(), NtStatus> {
        let status = match routines::flush_buffers_file() {
            Some(flush) => {
                let mut status_block = IoStatusBlock::new();
                // SAFETY: a handle of the driver's own; the status block lives through the call.
                unsafe { flush(self.handle.raw(), &mut status_block) }
            }
            None => self.flush_by_irp(),
        };
        if status.is_success() { Ok(()) } else { Err(status) }
    }

    fn control(&mut self, code: u32, input: &[u8], output: &mut [u8]) -> Completion {
        let mut status_block = IoStatusBlock::new();
        // SAFETY: both buffers are as long as is said, and a synchronous handle is done with them when the call ends.
        let status = unsafe {
            ZwFsControlFile(
                self.handle.raw(),
                null_mut(),
                null(),
                null(),
                &mut status_block,
                code,
                input.as_ptr().cast(),
                input.len() as u32,
                output.as_mut_ptr().cast(),
                output.len() as u32,
            )
        };
        Completion { status, information: status_block.information }
    }

    fn free_bytes(&mut self) -> Result<u64, NtStatus> {
        let size: FileFsSizeInformation = self.volume(FileFsSizeInformationClass)?;
        let unit = u64::from(size.sectors_per_allocation_unit) * u64::from(size.bytes_per_sector);
        Ok(u64::try_from(size.available_allocation_units).unwrap_or(0).saturating_mul(unit))
    }
}
