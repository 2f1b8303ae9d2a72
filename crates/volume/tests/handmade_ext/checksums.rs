//! The checksums of ext, bit by bit: slower than the reader's, and surely not the same code.

pub fn crc32c(register: u32, bytes: &[u8]) -> u32 {
    const TABLE: [u32; 256] = table(0x82F6_3B78);
    bytes.iter().fold(register, |crc, &byte| TABLE[(crc as u8 ^ byte) as usize] ^ crc >> 8)
}

pub fn crc16(register: u16, bytes: &[u8]) -> u16 {
    const TABLE: [u32; 256] = table(0xA001);
    bytes.iter().fold(register, |crc, &byte| TABLE[(crc as u8 ^ byte) as usize] as u16 ^ crc >> 8)
}

const fn table(polynomial: u32) -> [u32; 256] {
    let mut table = [0; 256];
    let mut index = 0;
    while index < 256 {
        let mut value = index as u32;
        let mut bit = 0;
        while bit < 8 {
            value = if value & 1 == 1 { polynomial ^ value >> 1 } else { value >> 1 };
            bit += 1;
        }
        table[index] = value;
        index += 1;
    }
    table
}
