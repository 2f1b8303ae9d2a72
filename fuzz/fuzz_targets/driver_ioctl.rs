//! Any bytes in the buffers of any IOCTL, to the control device and to a disk: no panic, never more output than there is
//! room, no byte in it that was not put there, and what is taken for a message is one.
#![no_main]

#[allow(dead_code, reason = "the tests use more of it")]
#[path = "../../crates/driver-core/tests/driver/irp.rs"]
mod irp;
#[allow(dead_code, reason = "the tests use more of it")]
#[path = "../../crates/driver-core/tests/driver/sizes.rs"]
mod sizes;

use disk_types::LogicalBlock;
use driver_abi::{Attached, Control, Counters, ListReply, ListRequest, Message, NameMaker, Statistics, Version};
use driver_core::control::{self, Command};
use driver_core::{Completion, DiskFacts, DiskState, NtStatus, SystemBuffer, Verdict, codes, dispatch};
use libfuzzer_sys::arbitrary::{self, Arbitrary};
use libfuzzer_sys::fuzz_target;

use irp::Irp;

#[derive(Arbitrary, Debug)]
struct Input<'a> {
    control_device: bool,
    /// An index into the codes, or a code of its own.
    code: Result<u8, u32>,
    read_only: bool,
    removable: bool,
    trims: bool,
    detaching: bool,
    letter: Option<u8>,
    output_len: u16,
    /// A header that says version 1 and the right size is put before the bytes.
    headed: bool,
    bytes: &'a [u8],
}

fuzz_target!(|input: Input<'_>| {
    let bytes = if input.headed {
        let size = (input.bytes.len() + 8) as u32;
        [&1u32.to_le_bytes()[..], &size.to_le_bytes(), input.bytes].concat()
    } else {
        input.bytes.to_vec()
    };
    let output_len = usize::from(input.output_len);
    if input.control_device {
        let code = input.code.map_or_else(|code| code, |n| Control::ALL[usize::from(n) % Control::ALL.len()].code());
        ask_driver(code, &bytes, output_len);
    } else {
        let code = input.code.map_or_else(|code| code, |n| codes::ALL[usize::from(n) % codes::ALL.len()]);
        ask_disk(&input, code, &bytes, output_len);
    }
});

/// The answer must not depend on what was in the buffer behind the input.
fn ask_disk(input: &Input<'_>, code: u32, bytes: &[u8], output_len: usize) {
    let facts = DiskFacts {
        read_only: input.read_only,
        removable: input.removable,
        trims: input.trims && !input.read_only,
        ..sizes::facts(1 << 30, LogicalBlock::B512)
    };
    let answer = |stale: u8| {
        let state = DiskState::new(0);
        state.set_letter(input.letter.map(|letter| b'A' + letter % 26));
        if input.detaching {
            state.begin_detach().unwrap();
        }
        let mut irp = Irp::control(code, bytes, output_len);
        irp.bytes()[bytes.len()..].fill(stale);
        match dispatch(&facts, &state, irp.request, irp.system_buffer()) {
            Verdict::Complete(completion) => {
                irp.complete(completion);
                Some((irp.output(), state.letter()))
            }
            Verdict::Queue(_) => {
                assert!(facts.trims && !input.detaching);
                None
            }
            Verdict::Keep => panic!("a control is decided at once"),
        }
    };
    let first = answer(0x55);
    assert_eq!(first, answer(0xAA));
    if let Some(((status, output), letter)) = first {
        assert!(letter.is_none_or(|letter| letter.is_ascii_uppercase()));
        assert!(status != NtStatus::PENDING && (!status.is_error() || output.is_empty()));
    }
}

fn ask_driver(code: u32, bytes: &[u8], output_len: usize) {
    let mut irp = Irp::control(code, bytes, output_len);
    let completion = carry_out(code, bytes, irp.system_buffer().unwrap());
    irp.complete(completion);
    let (status, output) = irp.output();
    match Control::from_code(code) {
        Some(Control::QueryVersion) if status.is_success() => drop(Version::decode(&output).unwrap()),
        Some(Control::Attach) if status.is_success() => drop(Attached::decode(&output).unwrap()),
        Some(Control::Statistics) if status.is_success() => drop(Statistics::decode(&output).unwrap()),
        Some(Control::List) if !status.is_error() => {
            let list = ListReply::decode(&output).unwrap();
            assert_eq!((list.disks, list.is_complete()), (2, status.is_success()));
        }
        _ => assert!(output.is_empty()),
    }
}

fn carry_out(code: u32, bytes: &[u8], buffer: SystemBuffer<'_>) -> Completion {
    let path: Vec<u8> = br"\??\C:\disk.img".iter().flat_map(|&unit| [unit, 0]).collect();
    let command = match control::command(code, &buffer) {
        Ok(command) => command,
        Err(status) => {
            assert!(status.is_error());
            return Completion::bare(status);
        }
    };
    match command {
        Command::QueryVersion => control::reply(buffer, &Version::default()),
        Command::Attach(request) => {
            same(&request, bytes);
            let attached = Attached {
                disk: 7,
                serial: 1,
                sector_bytes: request.sector_bytes,
                len_bytes: 1 << 30,
                unit_bytes: 65536,
                letter: request.letter,
                name_maker: NameMaker::Nobody,
            };
            control::reply(buffer, &attached)
        }
        Command::Detach(request) => {
            same(&request, bytes);
            Completion::bare(NtStatus::SUCCESS)
        }
        Command::SetSpaceFloor(request) => {
            same(&request, bytes);
            Completion::bare(NtStatus::SUCCESS)
        }
        Command::List => {
            same(&ListRequest, bytes);
            let entry = |disk| driver_abi::DiskEntry {
                disk,
                serial: 1,
                flags: driver_abi::DiskFlags::default(),
                len_bytes: 1 << 30,
                sector_bytes: 512,
                unit_bytes: 65536,
                letter: None,
                name_maker: NameMaker::Nobody,
                open_handles: 0,
                counters: Counters::default(),
                path: driver_abi::NtPath::new(&path).unwrap(),
            };
            control::list(buffer, (0..2).map(entry))
        }
        Command::Statistics(request) => {
            same(&request, bytes);
            control::reply(buffer, &Statistics { disk: request.disk, counters: Counters::default() })
        }
    }
}

/// What was read, written again, is what was sent: no byte of it went unread.
fn same<'a>(message: &impl Message<'a>, bytes: &[u8]) {
    let mut again = vec![0xEE; message.size_bytes()];
    message.encode(&mut again).unwrap();
    assert_eq!(again, bytes);
}
