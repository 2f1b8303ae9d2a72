//! Who completes a queued request when it is cancelled: exactly one.
//!
//! A cancel routine may run at any moment, on any processor. The queue's lock orders it with the queue, and the exchange of
//! the cancel routine (`IoSetCancelRoutine`, atomic) decides who owns the request:
//!
//! | who | holding the queue's lock | then |
//! | --- | --- | --- |
//! | dispatch | [`admit`]: link it on [`Admission::Queued`] | on [`Admission::Cancelled`] completes it as cancelled, after the lock |
//! | worker | unlinks the first and [`claim`]s it | owns it if that says so; otherwise goes on to the next: the cancel routine is on its way |
//! | cancel routine | unlinks it, which is harmless if it is unlinked (its link points to itself) | completes it as cancelled, after the lock |
//! | detach | as the worker, for each | completes it with DEVICE_REMOVED |
//!
//! A request that was claimed is not cancelled any more: the worker is at it, and completes it.

/// A request's cancel routine and its cancel flag.
pub trait Cancellable {
    /// Sets the cancel routine: `IoSetCancelRoutine(irp, routine)`.
    fn arm(&self);

    /// Takes the cancel routine away: `IoSetCancelRoutine(irp, NULL)`. `false` if there was none: it has been called.
    fn disarm(&self) -> bool;

    /// `Irp->Cancel`.
    fn is_cancelled(&self) -> bool;
}

/// What becomes of a request that is to be queued.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Admission {
    /// Link it, before the lock is released.
    Queued,
    /// Do not link it; complete it as cancelled.
    Cancelled,
}

/// Arms a request that is about to be linked. The queue's lock is held, the request is marked pending.
///
/// It may have been cancelled before it was armed: then nobody calls the routine, unless its call was just on its way,
/// in which case the routine waits for the lock and must find the request linked.
#[must_use]
pub fn admit(request: &impl Cancellable) -> Admission {
    request.arm();
    if request.is_cancelled() && request.disarm() { Admission::Cancelled } else { Admission::Queued }
}

/// Takes a request that was unlinked. The queue's lock is held.
///
/// `false` if its cancel routine is on its way: the request belongs to that, and must not be touched; its link must point to
/// itself before the lock is released.
#[must_use]
pub fn claim(request: &impl Cancellable) -> bool {
    request.disarm()
}
