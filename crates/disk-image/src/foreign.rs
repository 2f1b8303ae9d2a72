//! Image formats that are recognised so as not to be taken for raw.

use block_device::Result;
use sparse_file::SparseFile;

/// Name, offset and bytes of a signature. Not among them: a fixed VHD, which is a raw image with a footer.
const SIGNATURES: [(&str, usize, &[u8]); 6] = [
    ("qcow2", 0, b"QFI\xFB"),
    ("VHDX", 0, b"vhdxfile"),
    ("dynamic VHD", 0, b"conectix"),
    ("VMDK", 0, b"KDMV"),
    ("VMDK", 0, b"# Disk DescriptorFile"),
    ("VDI", 64, b"\x7F\x10\xDA\xBE"),
];

/// The format that `file` says it has, if it is one of those that raw must not be confused with: `"qcow2"`.
///
/// # Errors
/// Those of reading the file.
pub fn foreign_format(file: &SparseFile) -> Result<Option<&'static str>> {
    let mut start = [0; 128];
    let len = start.len().min(usize::try_from(file.len_bytes()).unwrap_or(usize::MAX));
    file.read_at(0, &mut start[..len])?;
    let said = SIGNATURES.iter().find(|(_, offset, bytes)| start[*offset..].starts_with(bytes));
    Ok(said.map(|(name, ..)| *name))
}
