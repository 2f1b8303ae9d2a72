//! The driver on Linux: requests as the I/O manager sends them, over a simulated NTFS volume.
//!
//! `machine` does what `driver/` does with the kernel, `irp` holds the rules of the I/O manager and asserts them at every
//! completion, `host` is the backing file on [`fsa`].

mod attaching;
mod cancelling;
mod controlling;
mod detaching;
mod durability;
mod geometry;
mod host;
mod ioctls;
mod irp;
mod kernel_bytes;
mod machine;
mod mounting;
mod sizes;
mod space;
mod sparse;
mod transfers;
mod trimming;
mod twin;
mod worker;
