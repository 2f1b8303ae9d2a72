//! Which driver is it?

use crate::bytes::{Reader, Writer};
use crate::{HEADER_BYTES, Malformed, Message};

/// Asks for the [`Version`]. The only message whose `abi_version` may be any.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct VersionRequest;

impl<'a> Message<'a> for VersionRequest {
    const ANY_VERSION: bool = true;

    fn size_bytes(&self) -> usize {
        HEADER_BYTES
    }

    fn put(&self, _: &mut Writer<'_>) -> Result<(), Malformed> {
        Ok(())
    }

    fn get(_: &mut Reader<'a>) -> Result<Self, Malformed> {
        Ok(Self)
    }
}

/// The driver's own version, and how it runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Version {
    /// Major, minor and patch of the driver.
    pub driver: [u16; 3],
    /// How it runs.
    pub flags: DriverFlags,
    /// How many disks it holds at most.
    pub max_disks: u32,
}

/// How the driver runs. Unknown bits are kept: a newer driver may say more than this program understands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DriverFlags(pub u32);

impl DriverFlags {
    /// The control device's security descriptor could not be set, and the registry value for tests lets it run all the same.
    pub const UNPROTECTED: u32 = 1;
    /// There is a Mount Manager to tell about new disks.
    pub const MOUNT_MANAGER: u32 = 2;
}

impl Version {
    /// The size of the message.
    pub const BYTES: usize = HEADER_BYTES + 16;
}

// Offsets: driver 8, reserved 14, flags 16, max_disks 20.
impl<'a> Message<'a> for Version {
    const ANY_VERSION: bool = true;

    fn size_bytes(&self) -> usize {
        Self::BYTES
    }

    fn put(&self, writer: &mut Writer<'_>) -> Result<(), Malformed> {
        for part in self.driver {
            writer.u16(part)?;
        }
        writer.u16(0)?;
        writer.u32(self.flags.0)?;
        writer.u32(self.max_disks)
    }

    fn get(reader: &mut Reader<'a>) -> Result<Self, Malformed> {
        let driver = [reader.u16()?, reader.u16()?, reader.u16()?];
        reader.reserved(2)?;
        Ok(Self { driver, flags: DriverFlags(reader.u32()?), max_disks: reader.u32()? })
    }
}
