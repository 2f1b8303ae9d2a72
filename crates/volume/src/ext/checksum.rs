//! The two checksums of ext, as the kernel chains them: a register goes in, a register comes out, and nothing is
//! inverted at the end.

use crc::{Algorithm, Crc, Table};

/// Castagnoli's polynomial: everything under `metadata_csum`, and the journal.
static CRC32C: Crc<u32, Table<16>> = Crc::<u32, Table<16>>::new(&Algorithm { xorout: 0, ..crc::CRC_32_ISCSI });

/// Group descriptors under `uninit_bg`: CRC-16 of ANSI, begun with all ones.
static CRC16: Crc<u16> = Crc::<u16>::new(&crc::CRC_16_MODBUS);

/// Goes on from `register` through `bytes`. A chain begins with `!0`.
pub(super) fn crc32c(register: u32, bytes: &[u8]) -> u32 {
    // The crate takes the register as it would be shifted the other way.
    let mut digest = CRC32C.digest_with_initial(register.reverse_bits());
    digest.update(bytes);
    digest.finalize()
}

/// The CRC-16 of `pieces`, one after the other.
pub(super) fn crc16(pieces: &[&[u8]]) -> u16 {
    let mut digest = CRC16.digest();
    for piece in pieces {
        digest.update(piece);
    }
    digest.finalize()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chains_are_the_checksum_of_the_whole() {
        assert_eq!(!crc32c(!0, b"123456789"), 0xE306_9283);
        assert_eq!(crc32c(crc32c(!0, b"1234"), b"56789"), crc32c(!0, b"123456789"));
        assert_eq!(crc16(&[b"123", b"456789"]), 0x4B37);
    }
}
