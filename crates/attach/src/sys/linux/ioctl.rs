//! The ioctls: numbers and layouts from `linux-raw-sys`, one safe function each.

use std::ffi::c_void;
use std::fs::File;
use std::os::fd::{AsFd, AsRawFd};

use linux_raw_sys::general::fstrim_range;
use linux_raw_sys::ioctl::{BLKPG, FITRIM};
use linux_raw_sys::loop_device::{
    LO_FLAGS_AUTOCLEAR, LO_FLAGS_DIRECT_IO, LO_FLAGS_PARTSCAN, LO_FLAGS_READ_ONLY, LOOP_CLR_FD, LOOP_CONFIGURE,
    LOOP_CTL_GET_FREE, LOOP_GET_STATUS64, loop_config, loop_info64,
};
use rustix::io;
use rustix::ioctl::{Getter, Ioctl, IoctlOutput, NoArg, Opcode, Setter, Updater, ioctl};

/// Bits of `lo_flags`.
pub(super) mod flag {
    pub(in super::super) const READ_ONLY: u32 = super::LO_FLAGS_READ_ONLY as u32;
    pub(in super::super) const AUTOCLEAR: u32 = super::LO_FLAGS_AUTOCLEAR as u32;
    pub(in super::super) const PARTSCAN: u32 = super::LO_FLAGS_PARTSCAN as u32;
    pub(in super::super) const DIRECT_IO: u32 = super::LO_FLAGS_DIRECT_IO as u32;
}

/// The number of a loop device that was free a moment ago (LOOP_CTL_GET_FREE on /dev/loop-control).
pub(super) fn loop_control_get_free(control: &File) -> io::Result<u32> {
    struct GetFree;
    // SAFETY: LOOP_CTL_GET_FREE takes no argument and returns the number as its result.
    unsafe impl Ioctl for GetFree {
        type Output = u32;
        const IS_MUTATING: bool = false;
        fn opcode(&self) -> Opcode {
            LOOP_CTL_GET_FREE as Opcode
        }
        fn as_ptr(&mut self) -> *mut c_void {
            std::ptr::null_mut()
        }
        unsafe fn output_from_ptr(out: IoctlOutput, _: *mut c_void) -> io::Result<u32> {
            u32::try_from(out).map_err(|_| io::Errno::RANGE)
        }
    }
    // SAFETY: the type above describes this ioctl.
    unsafe { ioctl(control, GetFree) }
}

/// Binds `file` to the free loop device `device`, in one step (LOOP_CONFIGURE, Linux 5.8).
///
/// `name` is the reference name, cut at 63 bytes.
pub(super) fn loop_configure(device: &File, file: &File, block_size: u32, flags: u32, name: &[u8]) -> io::Result<()> {
    let mut info = loop_info64 {
        lo_device: 0,
        lo_inode: 0,
        lo_rdevice: 0,
        lo_offset: 0,
        lo_sizelimit: 0,
        lo_number: 0,
        lo_encrypt_type: 0,
        lo_encrypt_key_size: 0,
        lo_flags: flags,
        lo_file_name: [0; 64],
        lo_crypt_name: [0; 64],
        lo_encrypt_key: [0; 32],
        lo_init: [0; 2],
    };
    for (to, from) in info.lo_file_name.iter_mut().take(63).zip(name) {
        *to = *from;
    }
    let fd = u32::try_from(file.as_raw_fd()).map_err(|_| io::Errno::BADF)?;
    let config = loop_config { fd, block_size, info, __reserved: [0; 8] };
    // SAFETY: LOOP_CONFIGURE reads one `loop_config`; both descriptors are open while it runs.
    let configure = unsafe { Setter::<{ LOOP_CONFIGURE as Opcode }, loop_config>::new(config) };
    // SAFETY: as above.
    unsafe { ioctl(device, configure) }
}

/// What `device` is bound to; ENXIO if to nothing (LOOP_GET_STATUS64).
pub(super) fn loop_status(device: &File) -> io::Result<loop_info64> {
    // SAFETY: LOOP_GET_STATUS64 fills one `loop_info64`.
    let status = unsafe { Getter::<{ LOOP_GET_STATUS64 as Opcode }, loop_info64>::new() };
    // SAFETY: as above.
    unsafe { ioctl(device, status) }
}

/// Releases what `device` is bound to, at once or when the last process closes the device (LOOP_CLR_FD).
pub(super) fn loop_clear(device: &File) -> io::Result<()> {
    // SAFETY: LOOP_CLR_FD takes no argument.
    let clear = unsafe { NoArg::<{ LOOP_CLR_FD as Opcode }>::new() };
    // SAFETY: as above.
    unsafe { ioctl(device, clear) }
}

/// Tells the kernel of a partition: start and length in bytes (BLKPG, BLKPG_ADD_PARTITION).
pub(super) fn add_partition(device: &File, number: i32, start: i64, length: i64) -> io::Result<()> {
    const BLKPG_ADD_PARTITION: i32 = 1;
    /// `struct blkpg_partition` of linux/blkpg.h.
    #[repr(C)]
    struct BlkpgPartition {
        start: i64,
        length: i64,
        pno: i32,
        devname: [u8; 64],
        volname: [u8; 64],
    }
    /// `struct blkpg_ioctl_arg` of linux/blkpg.h.
    #[repr(C)]
    struct BlkpgIoctlArg {
        op: i32,
        flags: i32,
        datalen: i32,
        data: *mut BlkpgPartition,
    }
    let mut partition = BlkpgPartition { start, length, pno: number, devname: [0; 64], volname: [0; 64] };
    let datalen = size_of::<BlkpgPartition>() as i32;
    let argument = BlkpgIoctlArg { op: BLKPG_ADD_PARTITION, flags: 0, datalen, data: &mut partition };
    // SAFETY: BLKPG reads one `blkpg_ioctl_arg` and, through it, the partition, which outlives the call.
    let add = unsafe { Setter::<{ BLKPG as Opcode }, BlkpgIoctlArg>::new(argument) };
    // SAFETY: as above.
    unsafe { ioctl(device, add) }
}

/// Has the file system that `directory` belongs to discard its free space; the bytes it says it discarded (FITRIM).
pub(super) fn trim(directory: impl AsFd) -> io::Result<u64> {
    let mut range = fstrim_range { start: 0, len: u64::MAX, minlen: 0 };
    // SAFETY: FITRIM reads and writes one `fstrim_range`.
    let trim = unsafe { Updater::<{ FITRIM as Opcode }, fstrim_range>::new(&mut range) };
    // SAFETY: as above.
    unsafe { ioctl(directory, trim) }?;
    Ok(range.len)
}
