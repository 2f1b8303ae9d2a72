//! Bytes that the kernel wants: names, the security descriptor.

use driver_core::{Name, security};

fn text(name: &Name) -> String {
    assert_eq!(usize::from(name.len_bytes()), 2 * name.units().len());
    String::from_utf16(name.units()).unwrap()
}

#[test]
fn names_are_those_of_the_documentation() {
    for (disk, expected) in [(0, "0"), (7, "7"), (63, "63"), (u32::MAX, "4294967295")] {
        assert_eq!(text(&Name::device(disk)), format!(r"\Device\SparseDisk{expected}"));
    }
    assert_eq!(text(&Name::letter(b'X')), r"\DosDevices\X:");
    assert_eq!(text(&Name::global_letter(b'X')), r"\DosDevices\Global\X:");
    assert_eq!(text(&Name::of(driver_abi::CONTROL_DEVICE_NT)), driver_abi::CONTROL_DEVICE_NT);
    assert_eq!(text(&Name::of(driver_abi::CONTROL_LINK_NT)), driver_abi::CONTROL_LINK_NT);
    assert_eq!(text(&Name::of(&"x".repeat(100))).len(), 48);
}

/// Reads the descriptor back by the rules of \[MS-DTYP\] 2.4.6, independently of how it was written.
#[test]
fn the_control_device_is_for_system_and_administrators_only() {
    let descriptor = security::CONTROL_DEVICE;
    let word = |at: usize| u16::from_le_bytes([descriptor[at], descriptor[at + 1]]);
    let long = |at: usize| u32::from_le_bytes(descriptor[at..at + 4].try_into().unwrap());
    const SELF_RELATIVE: u16 = 0x8000;
    const DACL_PROTECTED: u16 = 0x1000;
    const DACL_PRESENT: u16 = 0x0004;
    assert_eq!((descriptor[0], word(2)), (1, SELF_RELATIVE | DACL_PROTECTED | DACL_PRESENT));
    assert_eq!([long(4), long(8), long(12)], [0, 0, 0], "no owner, no group, no SACL");
    let acl = long(16) as usize;
    assert_eq!((descriptor[acl], usize::from(word(acl + 2)), word(acl + 4)), (2, descriptor.len() - acl, 2));
    let mut at = acl + 8;
    let mut allowed = Vec::new();
    for _ in 0..2 {
        let (kind, flags, size, mask) = (descriptor[at], descriptor[at + 1], usize::from(word(at + 2)), long(at + 4));
        assert_eq!((kind, flags, mask), (0, 0, 0x1000_0000), "allow, not inherited, GENERIC_ALL");
        let sid = &descriptor[at + 8..at + size];
        assert_eq!((sid[0], sid.len()), (1, 8 + 4 * usize::from(sid[1])));
        assert_eq!(sid[2..8], [0, 0, 0, 0, 0, 5]);
        let parts: Vec<u32> = sid[8..].chunks(4).map(|part| u32::from_le_bytes(part.try_into().unwrap())).collect();
        allowed.push(parts);
        at += size;
    }
    assert_eq!(at, descriptor.len());
    assert_eq!(allowed, [vec![18], vec![32, 544]]);
}
