//! The locks of this crate, and the atomics that threads synchronise by: those of `std`, or of shuttle where it explores every order in which threads can run.
//!
//! `RUSTFLAGS='--cfg shuttle'` chooses shuttle's, which work inside one of its runs only.

#[cfg(not(shuttle))]
pub(crate) use core::sync::atomic::AtomicU64;
#[cfg(shuttle)]
pub(crate) use shuttle::sync::atomic::AtomicU64;
#[cfg(shuttle)]
pub(crate) use shuttle::sync::{Condvar, Mutex, MutexGuard, RwLock, RwLockReadGuard, RwLockWriteGuard};
#[cfg(not(shuttle))]
pub(crate) use std::sync::{Condvar, Mutex, MutexGuard, RwLock, RwLockReadGuard, RwLockWriteGuard};
