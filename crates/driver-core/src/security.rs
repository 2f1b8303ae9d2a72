//! Who may open the control device.

/// `D:P(A;;GA;;;SY)(A;;GA;;;BA)`: everything for SYSTEM and for administrators, nothing for anybody else, nothing
/// inherited. A self-relative SECURITY_DESCRIPTOR, for `ZwSetSecurityObject` with DACL_SECURITY_INFORMATION.
pub const CONTROL_DEVICE: [u8; 72] = [
    // Revision; SE_SELF_RELATIVE, SE_DACL_PROTECTED, SE_DACL_PRESENT; no owner, group or SACL; the DACL.
    1, 0, 0x04, 0x90, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 20, 0, 0, 0, //
    // ACL: revision 2, 52 bytes, 2 entries.
    2, 0, 52, 0, 2, 0, 0, 0, //
    // Allow, 20 bytes, GENERIC_ALL, S-1-5-18 (SYSTEM).
    0, 0, 20, 0, 0, 0, 0, 0x10, 1, 1, 0, 0, 0, 0, 0, 5, 18, 0, 0, 0, //
    // Allow, 24 bytes, GENERIC_ALL, S-1-5-32-544 (administrators).
    0, 0, 24, 0, 0, 0, 0, 0x10, 1, 2, 0, 0, 0, 0, 0, 5, 32, 0, 0, 0, 0x20, 2, 0, 0,
];
