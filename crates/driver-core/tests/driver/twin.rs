//! Random sequences of requests against a byte array, on hosts of several kinds.

use driver_abi::{Control, SpaceFloorRequest};
use driver_core::NtStatus;
use fsa::Options;
use proptest::prelude::*;

use crate::irp::Irp;
use crate::machine::{KIB, MIB, Machine, UNIT, encode};

/// Not whole units, so that the last one is cut.
const LEN: usize = (1 << 20) + 5 * 512;

#[derive(Clone, Debug)]
enum Step {
    Write {
        at: usize,
        len: usize,
        byte: u8,
        through: bool,
    },
    /// Data and zeroes by turns, so that zero detection has edges to find.
    Patches {
        at: usize,
        len: usize,
        patch: usize,
        byte: u8,
    },
    Trim(Vec<(usize, usize)>),
    /// Several requests in flight, one of them cancelled.
    Burst(Vec<(usize, usize, u8)>, usize),
    Flush,
    Reattach,
    Floor(u64),
    FillHost(Option<u64>),
}

/// Sectors, often on the grid of units.
fn part() -> impl Strategy<Value = (usize, usize)> {
    let on = |grid: usize| (0..LEN / grid).prop_map(move |index| index * grid);
    let point = prop_oneof![on(512), on(4096), on(64 << 10)];
    let len = prop_oneof![1..400usize, (1..16usize).prop_map(|n| n * 8), (1..5usize).prop_map(|n| n * 128)];
    (point, len).prop_map(|(at, sectors)| (at, (sectors * 512).min(LEN - at)))
}

fn step() -> impl Strategy<Value = Step> {
    let byte = prop_oneof![Just(0), 1u8..];
    prop_oneof![
        8 => (part(), byte.clone(), any::<bool>()).prop_map(|((at, len), byte, through)| Step::Write { at, len, byte, through }),
        4 => (part(), 1..200usize, 1u8..).prop_map(|((at, len), patch, byte)| Step::Patches { at, len, patch: patch * 512, byte }),
        4 => prop::collection::vec(part(), 1..8).prop_map(Step::Trim),
        2 => (prop::collection::vec((part(), byte).prop_map(|((at, len), byte)| (at, len, byte)), 1..8), any::<usize>())
            .prop_map(|(writes, cancelled)| { let len = writes.len(); Step::Burst(writes, cancelled % (len + 1)) }),
        1 => Just(Step::Flush),
        1 => Just(Step::Reattach),
    ]
}

fn step_on_a_small_host() -> impl Strategy<Value = Step> {
    prop_oneof![
        12 => step(),
        1 => (0..1100 * KIB).prop_map(Step::Floor),
        1 => prop::option::of(0..300u64).prop_map(Step::FillHost),
    ]
}

struct Pair {
    machine: Machine,
    twin: Vec<u8>,
}

impl Pair {
    fn new(options: Options) -> Self {
        Self { machine: Machine::with_disk(options, LEN as u64), twin: vec![0; LEN] }
    }

    /// What a step writes, if it does.
    fn data(step: &Step) -> Option<(usize, Vec<u8>, bool)> {
        match *step {
            Step::Write { at, len, byte, through } => Some((at, vec![byte; len], through)),
            Step::Patches { at, len, patch, byte } => {
                let data = (0..len).map(|n| if n / patch % 2 == 0 { byte } else { 0 }).collect();
                Some((at, data, false))
            }
            _ => None,
        }
    }

    fn act(&mut self, step: &Step) {
        let machine = &mut self.machine;
        if let Some((at, data, through)) = Self::data(step) {
            let sent = if through { machine.write_through(at as u64, &data) } else { machine.write(at as u64, &data) };
            match sent {
                NtStatus::SUCCESS => self.twin[at..at + data.len()].copy_from_slice(&data),
                // A write that found no space may be done in part, sector by sector: what is there now counts.
                NtStatus::DISK_FULL => {
                    let now = machine.read(at as u64, data.len()).unwrap();
                    for ((now, new), old) in now.iter().zip(&data).zip(&mut self.twin[at..]) {
                        assert!(now == new || now == old, "neither the old nor the new");
                        *old = *now;
                    }
                }
                other => panic!("{other} for {step:?}"),
            }
            return;
        }
        match step {
            Step::Trim(ranges) => {
                let mut covered = vec![false; LEN];
                for &(at, len) in ranges {
                    covered[at..at + len].fill(true);
                }
                let units = covered.chunks(UNIT as usize).zip(self.twin.chunks_mut(UNIT as usize));
                units.filter(|(unit, _)| unit.iter().all(|&byte| byte)).for_each(|(_, twin)| twin.fill(0));
                let ranges: Vec<_> = ranges.iter().map(|&(at, len)| (at as u64, len as u64)).collect();
                assert!(machine.trim(&ranges).is_success());
            }
            Step::Burst(writes, cancelled) => {
                let sent: Vec<_> = writes
                    .iter()
                    .map(|&(at, len, byte)| machine.send(0, Irp::write(at as u64, &vec![byte; len], false)))
                    .collect();
                if let Some(&sent) = sent.get(*cancelled) {
                    machine.cancel(sent);
                }
                machine.run(0);
                let mut settled = true;
                for (&(at, len, byte), sent) in writes.iter().zip(sent) {
                    match machine.completion(sent).unwrap().status {
                        NtStatus::SUCCESS => self.twin[at..at + len].fill(byte),
                        NtStatus::CANCELLED => {}
                        NtStatus::DISK_FULL => settled = false,
                        other => panic!("{other}"),
                    }
                }
                if !settled {
                    self.twin = machine.read(0, LEN).unwrap();
                }
            }
            Step::Flush => assert!(machine.flush().is_success()),
            Step::Reattach => {
                assert!(machine.detach(0, false).is_success());
                machine.attach("disk.img", |_| {}).unwrap();
            }
            Step::Floor(space_floor_bytes) => {
                let request =
                    SpaceFloorRequest { disk: 0, serial: machine.serial(0), space_floor_bytes: *space_floor_bytes };
                assert!(machine.control(Control::SetSpaceFloor.code(), &encode(&request), 0).0.is_success());
            }
            Step::FillHost(clusters) => machine.volume.borrow_mut().fill_at(*clusters),
            Step::Write { .. } | Step::Patches { .. } => unreachable!("done above"),
        }
    }

    /// Content, and that every unit that holds something is allocated and lies on the grid.
    fn check(&mut self) {
        assert!(self.machine.read(0, LEN).unwrap() == self.twin, "the content differs");
        let mut last = 0;
        for (start, end) in self.machine.allocated() {
            assert!(start.is_multiple_of(UNIT) && (end.is_multiple_of(UNIT) || end == LEN as u64), "{start} {end}");
            assert!(self.twin[last as usize..start as usize].iter().all(|&byte| byte == 0), "data in a hole");
            last = end;
        }
        assert!(self.twin[last as usize..].iter().all(|&byte| byte == 0), "data in a hole");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn law1_any_sequence_reads_as_a_byte_array(steps in prop::collection::vec(step(), 1..40)) {
        let mut pair = Pair::new(Options::default());
        for step in &steps {
            pair.act(step);
            pair.check();
        }
    }

    #[test]
    fn law9_any_sequence_on_a_host_that_fills_up_loses_nothing(steps in prop::collection::vec(step_on_a_small_host(), 1..40)) {
        let mut pair = Pair::new(Options { capacity_clusters: MIB / 4096 * 3 / 4, ..Options::default() });
        for step in &steps {
            pair.act(step);
            pair.check();
        }
        prop_assert!(pair.machine.flush().is_success());
    }
}
