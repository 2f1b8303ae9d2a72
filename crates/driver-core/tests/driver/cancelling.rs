//! Who completes a queued request that is cancelled: every order of events, each request completed exactly once.

use std::cell::Cell;

use driver_core::cancel::{Admission, Cancellable, admit, claim};
use driver_core::{Completion, NtStatus};
use fsa::Options;

use crate::irp::Irp;
use crate::machine::{MIB, Machine};

#[test]
fn a_queued_request_is_cancelled_and_its_neighbours_are_done() {
    let mut machine = Machine::with_disk(Options::default(), 8 * MIB);
    let sent: Vec<_> =
        (0..4u8).map(|n| machine.send(0, Irp::write(u64::from(n) * 512, &[n + 1; 512], false))).collect();
    machine.cancel(sent[1]);
    machine.cancel(sent[1]);
    assert_eq!(machine.completion(sent[1]), Some(Completion::bare(NtStatus::CANCELLED)));
    machine.run(0);
    machine.cancel(sent[2]);
    for done in [0, 2, 3] {
        assert_eq!(machine.completion(sent[done]), Some(Completion::done(512)));
    }
    assert_eq!(machine.read(512, 512).unwrap(), [0; 512], "a cancelled write wrote nothing");
}

#[test]
fn a_request_that_was_cancelled_before_it_was_queued_is_not_queued() {
    let mut machine = Machine::with_disk(Options::default(), 8 * MIB);
    let irp = Irp::write(0, &[1; 512], false);
    irp.cancel();
    let sent = machine.send(0, irp);
    assert_eq!(machine.completion(sent), Some(Completion::bare(NtStatus::CANCELLED)));
}

/// One request, with atomic steps as the kernel has them.
#[derive(Clone, Default)]
struct Packet {
    routine: Cell<bool>,
    flag: Cell<bool>,
    linked: Cell<bool>,
    completed: Cell<u32>,
}

impl Packet {
    fn complete(&self) {
        self.completed.set(self.completed.get() + 1);
    }
}

/// The steps between which another processor may do something. Dispatch and worker hold the queue's lock over their calls
/// of [`admit`] and [`claim`], but IoCancelIrp holds another one: it may come in the middle.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Canceller {
    /// Before IoCancelIrp.
    Waiting,
    /// The flag is set; the routine is not taken yet.
    Flagged,
    /// The routine was taken, and waits for the queue's lock.
    Called,
    Finished,
}

/// A request in whose middle of arming the canceller takes `steps[n]` steps after the n-th atomic access.
struct Interrupted<'a> {
    packet: &'a Packet,
    canceller: &'a Cell<Canceller>,
    /// At how many of its accesses the canceller goes on.
    at: &'a Cell<u32>,
    schedule: u32,
}

/// IoCancelIrp, one atomic step at a time; the routine itself waits for the lock.
fn cancel_step(packet: &Packet, canceller: &Cell<Canceller>) {
    match canceller.get() {
        Canceller::Waiting => {
            packet.flag.set(true);
            canceller.set(Canceller::Flagged);
        }
        Canceller::Flagged => {
            let had = packet.routine.replace(false);
            canceller.set(if had { Canceller::Called } else { Canceller::Finished });
        }
        Canceller::Called | Canceller::Finished => {}
    }
}

impl Interrupted<'_> {
    /// Between two accesses the canceller may take none, one or two steps.
    fn between(&self) {
        let at = self.at.get();
        self.at.set(at + 1);
        for _ in 0..self.schedule / 3u32.pow(at) % 3 {
            cancel_step(self.packet, self.canceller);
        }
    }
}

impl Cancellable for Interrupted<'_> {
    fn arm(&self) {
        self.between();
        self.packet.routine.set(true);
    }

    fn disarm(&self) -> bool {
        self.between();
        self.packet.routine.replace(false)
    }

    fn is_cancelled(&self) -> bool {
        self.between();
        self.packet.flag.get()
    }
}

#[test]
fn every_order_of_dispatch_worker_and_cancel_completes_exactly_once() {
    // Four accesses (arm, look, disarm; claim), none to two steps of the canceller before each; and whether the cancel
    // routine gets the lock before or after the worker.
    let mut cancelled = 0;
    for schedule in 0..3u32.pow(4) {
        for routine_first in [false, true] {
            let (packet, canceller, at) = (Packet::default(), Cell::new(Canceller::Waiting), Cell::new(0));
            let request = Interrupted { packet: &packet, canceller: &canceller, at: &at, schedule };
            // The cancel routine, once it has the lock.
            let routine = || {
                if canceller.get() == Canceller::Called {
                    packet.linked.set(false);
                    packet.complete();
                    canceller.set(Canceller::Finished);
                }
            };
            match admit(&request) {
                Admission::Queued => packet.linked.set(true),
                Admission::Cancelled => packet.complete(),
            }
            // The lock is released.
            if routine_first {
                routine();
            }
            // The worker takes what is linked.
            at.set(3);
            if packet.linked.replace(false) && claim(&request) {
                packet.complete();
            }
            // The canceller goes on to its end.
            cancel_step(&packet, &canceller);
            cancel_step(&packet, &canceller);
            routine();
            assert_eq!(packet.completed.get(), 1, "schedule {schedule}, routine first: {routine_first}");
            assert!(!packet.routine.get() && !packet.linked.get());
            cancelled += u32::from(canceller.get() == Canceller::Finished);
        }
    }
    assert_eq!(cancelled, 2 * 3u32.pow(4));
}
