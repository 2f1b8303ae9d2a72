//! What the types of partitions are called.

const DYNAMIC_DISK: &str = "Windows dynamic disk";
const STORAGE_SPACES: &str = "Windows Storage Spaces";
const LVM: &str = "Linux LVM";
const RAID: &str = "Linux RAID";
/// Of both kinds of table.
pub(crate) const SWAP: &str = "Linux swap";

/// Whether a partition of this type is a volume manager's, which lays volumes out in it as it likes.
pub(crate) fn is_managed(name: &str) -> bool {
    matches!(name, DYNAMIC_DISK | STORAGE_SPACES | LVM | RAID)
}

/// Whether a partition of this type is of Windows' own volume manager, which keeps its database outside of partitions, too.
pub(crate) fn is_dynamic(name: &str) -> bool {
    matches!(name, DYNAMIC_DISK | STORAGE_SPACES)
}

/// The name of an MBR partition type, or the number.
pub(super) fn mbr(kind: u8) -> String {
    let name = match kind {
        0x01 => "FAT12",
        0x04 | 0x06 | 0x0E => "FAT16",
        0x05 | 0x0F | 0x85 => "Extended",
        0x07 => "NTFS or exFAT",
        0x0B | 0x0C => "FAT32",
        0x27 => "Windows recovery",
        0x42 => DYNAMIC_DISK,
        0x82 => SWAP,
        0x83 => "Linux",
        0x8E => LVM,
        0xA5 => "FreeBSD",
        0xAF => "Apple HFS",
        0xEE => "GPT protective",
        0xEF => "EFI system",
        0xFD => RAID,
        _ => return format!("type {kind:#04x}"),
    };
    name.to_owned()
}

/// The types of UEFI 2.10 and of the systems met most, as they are printed.
const GPT: [(&str, &str); 17] = [
    ("c12a7328-f81f-11d2-ba4b-00a0c93ec93b", "EFI system"),
    ("21686148-6449-6e6f-744e-656564454649", "BIOS boot"),
    ("ebd0a0a2-b9e5-4433-87c0-68b6b72699c7", "Microsoft basic data"),
    ("e3c9e316-0b5c-4db8-817d-f92df00215ae", "Microsoft reserved"),
    ("de94bba4-06d1-4d40-a16a-bfd50179d6ac", "Windows recovery"),
    // Its database, and its data.
    ("5808c8aa-7e8f-42e0-85d2-e1e90434cfb3", DYNAMIC_DISK),
    ("af9bc60f-1431-4f62-bc68-3311714a69ad", DYNAMIC_DISK),
    ("e75caf8f-f680-4cee-afa3-b001e56efc2d", STORAGE_SPACES),
    ("0fc63daf-8483-4772-8e79-3d69d8477de4", "Linux"),
    ("4f68bce3-e8cd-4db1-96e7-fbcaf984b709", "Linux root (x86-64)"),
    ("933ac7e1-2eb4-4f13-b844-0e14e2aef915", "Linux home"),
    ("0657fd6d-a4ab-43c4-84e5-0933c84b4f4f", SWAP),
    ("e6d6d379-f507-44c2-a23c-238f2a3df928", LVM),
    ("a19d880f-05fc-4d3b-a006-743f0f84911e", RAID),
    ("ca7d7ccb-63ed-4c53-861c-1742536059cc", "Linux LUKS"),
    ("bc13c2ff-59e6-4262-a352-b275fd6f7172", "Linux extended boot"),
    ("48465300-0000-11aa-aa11-00306543ecac", "Apple HFS+"),
];

/// The name of a GPT partition type, or the GUID.
pub(super) fn gpt(guid: &[u8; 16]) -> String {
    let text = guid_text(guid);
    GPT.iter().find(|(known, _)| *known == text).map_or(text, |(_, name)| (*name).to_owned())
}

/// A GUID as it is printed: its first three fields are little-endian (UEFI 2.10, appendix A).
fn guid_text(guid: &[u8; 16]) -> String {
    let order = [3, 2, 1, 0, 5, 4, 7, 6, 8, 9, 10, 11, 12, 13, 14, 15];
    let mut text = String::with_capacity(36);
    for (position, index) in order.into_iter().enumerate() {
        if matches!(position, 4 | 6 | 8 | 10) {
            text.push('-');
        }
        text.push_str(&format!("{:02x}", guid[index]));
    }
    text
}
