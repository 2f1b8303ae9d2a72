//! Numbers of the kernel's interface, under the names that C gives them.
//!
//! `scripts/check-layouts` compares every line of the table with mingw-w64's headers.

#![allow(non_upper_case_globals)]

macro_rules! values {
    ($($name:ident: $type:ty = $value:literal;)+) => {
        $(pub(crate) const $name: $type = $value;)+
    };
}

values! {
    IRP_MJ_CREATE: u8 = 0x00;
    IRP_MJ_CLOSE: u8 = 0x02;
    IRP_MJ_READ: u8 = 0x03;
    IRP_MJ_WRITE: u8 = 0x04;
    IRP_MJ_DEVICE_CONTROL: u8 = 0x0E;
    IRP_MJ_FLUSH_BUFFERS: u8 = 0x09;
    IRP_MJ_SHUTDOWN: u8 = 0x10;
    IRP_MJ_CLEANUP: u8 = 0x12;
    IRP_MJ_POWER: u8 = 0x16;
    IRP_MJ_SYSTEM_CONTROL: u8 = 0x17;
    IRP_MJ_PNP: u8 = 0x1B;
    FO_WRITE_THROUGH: u32 = 0x10;
    SL_PENDING_RETURNED: u8 = 0x01;

    FILE_DEVICE_DISK: u32 = 0x07;
    FILE_REMOVABLE_MEDIA: u32 = 0x01;
    FILE_READ_ONLY_DEVICE: u32 = 0x02;
    FILE_DEVICE_SECURE_OPEN: u32 = 0x100;
    DO_DIRECT_IO: u32 = 0x10;
    DO_DEVICE_INITIALIZING: u32 = 0x80;
    VPB_MOUNTED: u16 = 0x01;

    MDL_MAPPED_TO_SYSTEM_VA: i16 = 0x01;
    MDL_SOURCE_IS_NONPAGED_POOL: i16 = 0x04;

    OBJ_CASE_INSENSITIVE: u32 = 0x40;
    OBJ_KERNEL_HANDLE: u32 = 0x200;
    OBJ_FORCE_ACCESS_CHECK: u32 = 0x400;
    SYNCHRONIZE: u32 = 0x10_0000;
    WRITE_DAC: u32 = 0x4_0000;
    GENERIC_READ: u32 = 0x8000_0000;
    GENERIC_WRITE: u32 = 0x4000_0000;
    FILE_READ_DATA: u32 = 0x01;
    FILE_WRITE_DATA: u32 = 0x02;
    FILE_READ_ATTRIBUTES: u32 = 0x80;
    FILE_SHARE_READ: u32 = 0x01;
    FILE_SHARE_WRITE: u32 = 0x02;
    FILE_OPEN: u32 = 0x01;
    FILE_NO_INTERMEDIATE_BUFFERING: u32 = 0x08;
    FILE_SYNCHRONOUS_IO_NONALERT: u32 = 0x20;
    FILE_RANDOM_ACCESS: u32 = 0x800;
    FILE_OPEN_NO_RECALL: u32 = 0x40_0000;
    FILE_OPEN_REPARSE_POINT: u32 = 0x20_0000;
    KEY_READ: u32 = 0x2_0019;
    REG_DWORD: u32 = 4;
    DACL_SECURITY_INFORMATION: u32 = 0x04;

    FSCTL_LOCK_VOLUME: u32 = 0x9_0018;
    FSCTL_DISMOUNT_VOLUME: u32 = 0x9_0020;

    FileBasicInformationClass: u32 = 4;
    FileStandardInformationClass: u32 = 5;
    FileAlignmentInformationClass: u32 = 17;
    FileFsDeviceInformationClass: u32 = 4;
    FileFsAttributeInformationClass: u32 = 5;
    FileFsSizeInformationClass: u32 = 3;
    KeyValuePartialInformationClass: u32 = 2;

    NonPagedPool: u32 = 0;
    HighPagePriority: u32 = 32;
    SynchronizationEvent: u32 = 1;
    Executive: u32 = 0;
    KernelMode: i8 = 0;
    SecurityImpersonation: u32 = 2;
    LOW_REALTIME_PRIORITY: i32 = 16;
    IO_NO_INCREMENT: i8 = 0;
    IO_DISK_INCREMENT: i8 = 1;
}
