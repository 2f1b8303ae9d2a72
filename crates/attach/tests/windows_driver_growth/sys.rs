//! What the processes of this system hold.
#![allow(unsafe_code)]

use std::mem::offset_of;

use windows_sys::Wdk::System::SystemInformation::NtQuerySystemInformation;
use windows_sys::Win32::System::WindowsProgramming::SYSTEM_PROCESS_INFORMATION;

/// What a process of this system holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Process {
    pub(crate) name: String,
    pub(crate) pid: usize,
    pub(crate) handles: u32,
    pub(crate) virtual_bytes: usize,
    /// What it has in memory.
    pub(crate) resident_bytes: usize,
}

/// Every process, as the system counts.
pub(crate) fn processes() -> Vec<Process> {
    const SYSTEM_PROCESSES: i32 = 5;
    // Words, because the structures in it hold pointers.
    let mut buffer = vec![0_u64; 128 << 10];
    let room = u32::try_from(size_of_val(buffer.as_slice())).expect("a small buffer");
    let mut used = 0;
    // SAFETY: the buffer is as long as said, and aligned for the structures.
    let status = unsafe { NtQuerySystemInformation(SYSTEM_PROCESSES, buffer.as_mut_ptr().cast(), room, &raw mut used) };
    assert_eq!(status, 0, "the list of processes");
    let start = buffer.as_ptr() as usize;
    // Read as bytes from here on, at the structure's offsets: its pointers are taken for places in the buffer.
    let bytes: Vec<u8> = buffer.iter().flat_map(|word| word.to_le_bytes()).collect();
    let number = |at: usize, len: usize| {
        bytes[at..at + len].iter().rev().fold(0_usize, |number, &byte| number << 8 | usize::from(byte))
    };
    let pointer = size_of::<usize>();
    let mut found = Vec::new();
    let mut at = 0;
    loop {
        type Info = SYSTEM_PROCESS_INFORMATION;
        let name_at = at + offset_of!(Info, ImageName);
        let name_bytes = number(name_at, 2);
        let name_start = number(name_at + pointer, pointer).wrapping_sub(start);
        let name = bytes.get(name_start..name_start.wrapping_add(name_bytes)).unwrap_or_default();
        let name: Vec<u16> = name.chunks_exact(2).map(|unit| u16::from_le_bytes([unit[0], unit[1]])).collect();
        found.push(Process {
            name: String::from_utf16_lossy(&name),
            pid: number(at + offset_of!(Info, UniqueProcessId), pointer),
            handles: number(at + offset_of!(Info, HandleCount), 4) as u32,
            virtual_bytes: number(at + offset_of!(Info, VirtualSize), pointer),
            resident_bytes: number(at + offset_of!(Info, WorkingSetSize), pointer),
        });
        match number(at, 4) {
            0 => return found,
            next => at += next,
        }
    }
}
