//! The control device and its codes.

/// The service's name, in the service manager and in the registry.
pub const SERVICE_NAME: &str = "SparseDisk";
/// The control device as a program opens it.
pub const CONTROL_DEVICE: &str = r"\\.\SparseDiskControl";
/// The control device as the kernel names it.
pub const CONTROL_DEVICE_NT: &str = r"\Device\SparseDiskControl";
/// The link from the first name to the second.
pub const CONTROL_LINK_NT: &str = r"\DosDevices\SparseDiskControl";
/// The control device's type, from the half that is left to everybody.
pub const DEVICE_TYPE: u32 = 0x8D15;

/// METHOD_BUFFERED: one system buffer holds the input and then the output.
const METHOD_BUFFERED: u32 = 0;
/// FILE_READ_ACCESS | FILE_WRITE_ACCESS: whoever holds a handle of less cannot send it.
const READ_AND_WRITE_ACCESS: u32 = 3;

/// What can be asked of the control device.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u32)]
pub enum Control {
    /// Which driver is it, and which messages does it understand?
    QueryVersion = code(0),
    /// Make a file a disk.
    Attach = code(1),
    /// Take a disk away.
    Detach = code(2),
    /// Which disks are there?
    List = code(3),
    /// Keep this much of the host free.
    SetSpaceFloor = code(4),
    /// What has a disk done?
    Statistics = code(5),
}

impl Control {
    /// Every code.
    pub const ALL: [Self; 6] =
        [Self::QueryVersion, Self::Attach, Self::Detach, Self::List, Self::SetSpaceFloor, Self::Statistics];

    /// The IOCTL's number.
    #[must_use]
    pub const fn code(self) -> u32 {
        self as u32
    }

    /// The request with this number.
    #[must_use]
    pub fn from_code(code: u32) -> Option<Self> {
        Self::ALL.into_iter().find(|control| control.code() == code)
    }
}

/// CTL_CODE of the function `0x800 + number`: the half of the functions that is left to everybody.
const fn code(number: u32) -> u32 {
    DEVICE_TYPE << 16 | READ_AND_WRITE_ACCESS << 14 | (0x800 + number) << 2 | METHOD_BUFFERED
}
