//! What a computer runs that is started from the volume by mistake: it says so, and waits to be switched off.

/// Real-mode code that prints the text behind it through the BIOS and halts. It is loaded at 0000:7C00, and its first
/// byte lies at `offset` in the boot sector.
pub(super) fn boot_code(offset: u16) -> Vec<u8> {
    const TEXT: &[u8] = b"\r\nThis disk holds data and no operating system.\r\n\0";
    let mut code = vec![
        0xFC, //                cld
        0x31, 0xC0, //          xor ax, ax
        0x8E, 0xD8, //          mov ds, ax
        0xBE, 0x00, 0x00, //    mov si, text        (filled in below)
        0xAC, //          next: lodsb
        0x84, 0xC0, //          test al, al
        0x74, 0x09, //          jz halt
        0xB4, 0x0E, //          mov ah, 0x0E        teletype output
        0xBB, 0x07, 0x00, //    mov bx, 0x0007      page 0, light grey
        0xCD, 0x10, //          int 0x10
        0xEB, 0xF2, //          jmp next
        0xFB, //          halt: sti
        0xF4, //          wait: hlt
        0xEB, 0xFD, //          jmp wait
    ];
    let text = 0x7C00 + offset + u16::try_from(code.len()).expect("a few bytes");
    code[6..8].copy_from_slice(&text.to_le_bytes());
    code.extend_from_slice(TEXT);
    code
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_code_points_at_its_text_and_its_jumps_land_on_instructions() {
        let code = boot_code(0x5A);
        let text = usize::from(u16::from_le_bytes([code[6], code[7]])) - 0x7C00 - 0x5A;
        assert!(code[text..].starts_with(b"\r\nThis disk") && code.ends_with(b"\0"));
        let target = |jump: usize| jump.wrapping_add(2).wrapping_add_signed(isize::from(code[jump + 1] as i8));
        assert_eq!((code[11], code[target(11)]), (0x74, 0xFB), "jz halt");
        assert_eq!((code[20], code[target(20)]), (0xEB, 0xAC), "jmp next");
        assert_eq!((code[24], code[target(24)]), (0xEB, 0xF4), "jmp wait");
        // Clear of the place where a partition table would be looked for.
        assert!(0x5A + code.len() <= 446);
    }
}
