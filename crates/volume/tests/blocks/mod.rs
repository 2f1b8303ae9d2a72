//! Bytes anywhere on a disk, whose requests are of whole blocks.
#![allow(dead_code, unreachable_pub, missing_docs, reason = "every test takes what it needs")]

use block_device::{Disk, Durability};

pub fn put(disk: &Disk, offset: u64, bytes: &[u8]) {
    let start = offset - offset % 512;
    let end = (offset + bytes.len() as u64).next_multiple_of(512);
    let mut blocks = vec![0; (end - start) as usize];
    disk.read(start, &mut blocks).unwrap();
    blocks[(offset - start) as usize..][..bytes.len()].copy_from_slice(bytes);
    disk.write(start, &blocks, Durability::Cached).unwrap();
}

pub fn get(disk: &Disk, offset: u64, len: u64) -> Vec<u8> {
    let start = offset - offset % 512;
    let mut blocks = vec![0; ((offset + len).next_multiple_of(512) - start) as usize];
    disk.read(start, &mut blocks).unwrap();
    blocks[(offset - start) as usize..][..len as usize].to_vec()
}
