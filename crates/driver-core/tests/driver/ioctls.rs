//! What a disk answers at once: right, short, long and absurd buffers.

use disk_types::LogicalBlock;
use driver_core::{Completion, DiskFacts, DiskState, NtStatus, Request, SystemBuffer, Verdict, codes, dispatch};

use crate::irp::{Irp, STALE};
use crate::sizes::facts;

/// Sends one control past the I/O manager's rules; `None` if it is for the worker.
fn send(facts: &DiskFacts, code: u32, input: &[u8], output_len: usize) -> Option<(NtStatus, Vec<u8>)> {
    let state = DiskState::new(0);
    let mut irp = Irp::control(code, input, output_len);
    match dispatch(facts, &state, irp.request, irp.system_buffer()) {
        Verdict::Complete(completion) => {
            irp.complete(completion);
            Some(irp.output())
        }
        Verdict::Queue(_) => None,
        Verdict::Keep => panic!("a control is decided here"),
    }
}

fn disk() -> DiskFacts {
    facts(1 << 30, LogicalBlock::B512)
}

fn read_only() -> DiskFacts {
    DiskFacts { read_only: true, trims: false, ..disk() }
}

fn query(id: u32, kind: u32) -> Vec<u8> {
    [id.to_le_bytes(), kind.to_le_bytes(), [0; 4]].concat()
}

#[test]
fn law5_every_code_with_every_length_of_input_and_output() {
    let known = [
        NtStatus::SUCCESS,
        NtStatus::BUFFER_OVERFLOW,
        NtStatus::BUFFER_TOO_SMALL,
        NtStatus::INVALID_PARAMETER,
        NtStatus::INVALID_DEVICE_REQUEST,
        NtStatus::MEDIA_WRITE_PROTECTED,
        NtStatus::NOT_FOUND,
        NtStatus::NOT_SUPPORTED,
    ];
    for code in codes::ALL {
        for fill in [0x00, 0xFF, 0x01] {
            for input_len in (0..40).chain([144, 4096]) {
                for output_len in (0..50).chain([140, 143, 144, 145, 4096]) {
                    let Some((status, _)) = send(&disk(), code, &vec![fill; input_len], output_len) else { continue };
                    assert!(known.contains(&status), "{code:#x} {input_len} {output_len}: {status}");
                }
            }
        }
    }
}

#[test]
fn answers_of_a_fixed_size_need_exactly_that_and_leave_the_rest_zero() {
    let sizes = [
        (codes::DISK_GET_DRIVE_GEOMETRY, 24),
        (codes::DISK_GET_LENGTH_INFO, 8),
        (codes::DISK_GET_PARTITION_INFO, 32),
        (codes::DISK_GET_PARTITION_INFO_EX, 144),
        (codes::STORAGE_GET_HOTPLUG_INFO, 8),
        (codes::STORAGE_READ_CAPACITY, 32),
        (codes::VOLUME_GET_GPT_ATTRIBUTES, 8),
        (codes::VOLUME_IS_DYNAMIC, 1),
    ];
    for (code, size) in sizes {
        for len in 0..size {
            assert_eq!(send(&disk(), code, &[], len), Some((NtStatus::BUFFER_TOO_SMALL, vec![])), "{code:#x} in {len}");
        }
        // An input that is longer than the output and stale shows wherever it is not overwritten.
        let (status, output) = send(&disk(), code, &[STALE; 300], size + 100).unwrap();
        assert_eq!((status, output.len()), (NtStatus::SUCCESS, size), "{code:#x}");
    }
    for len in 0..32 {
        let answer = send(&disk(), codes::DISK_GET_DRIVE_GEOMETRY_EX, &[], len);
        assert_eq!(answer, Some((NtStatus::BUFFER_TOO_SMALL, vec![])));
    }
    for (len, size) in [(32, 32), (39, 32), (40, 40), (100, 40)] {
        assert_eq!(send(&disk(), codes::DISK_GET_DRIVE_GEOMETRY_EX, &[], len).unwrap().1.len(), size);
    }
}

#[test]
fn the_input_is_read_before_the_output_overwrites_it() {
    // Both lie in the same buffer, the property's id where the version comes to lie.
    let (status, output) = send(&disk(), codes::STORAGE_QUERY_PROPERTY, &query(8, 0), 12).unwrap();
    assert_eq!((status, &output[..]), (NtStatus::SUCCESS, &[12, 0, 0, 0, 12, 0, 0, 0, 1, 0, 0, 0][..]));
}

#[test]
fn an_answer_never_goes_beyond_the_output_even_if_the_system_buffer_is_shorter_than_it_says() {
    let mut bytes = [STALE; 4];
    let buffer = SystemBuffer::new(&mut bytes, 4, 4096);
    let request = Request::DeviceControl { code: codes::DISK_GET_LENGTH_INFO };
    let verdict = dispatch(&disk(), &DiskState::new(0), request, Some(buffer));
    assert_eq!(verdict, Verdict::Complete(Completion::bare(NtStatus::BUFFER_TOO_SMALL)));
    let verdict = dispatch(&disk(), &DiskState::new(0), request, None);
    assert_eq!(verdict, Verdict::Complete(Completion::bare(NtStatus::BUFFER_TOO_SMALL)));
}

#[test]
fn what_is_not_in_the_table_is_no_request_of_a_disk() {
    // Device number, disk extents, drive layout, media types with details, eject, stable GUID, update of the size.
    let refused = [0x2D_1080, 0x56_0000, 0x7_0050, 0x7_400C, 0x2D_0C04, 0x2D_4808, 0x4D_0018, 0x7_C0C8, 0, u32::MAX];
    for code in refused {
        assert_eq!(send(&disk(), code, &[0; 64], 256), Some((NtStatus::INVALID_DEVICE_REQUEST, vec![])), "{code:#x}");
    }
    // The control device's codes mean nothing here.
    for control in driver_abi::Control::ALL {
        assert_eq!(send(&disk(), control.code(), &[0; 64], 256), Some((NtStatus::INVALID_DEVICE_REQUEST, vec![])));
    }
}

#[test]
fn a_read_only_disk_says_so_to_everybody_who_would_write() {
    let refused = Some((NtStatus::MEDIA_WRITE_PROTECTED, vec![]));
    for code in [codes::DISK_IS_WRITABLE, codes::DISK_SET_PARTITION_INFO, codes::DISK_SET_PARTITION_INFO_EX] {
        assert_eq!(send(&read_only(), code, &[0; 120], 0), refused, "{code:#x}");
        assert_eq!(send(&disk(), code, &[0; 120], 0), Some((NtStatus::SUCCESS, vec![])), "{code:#x}");
    }
    let trim = crate::machine::trim_input(1, 0, &[(0, 65536)]);
    assert_eq!(send(&read_only(), codes::STORAGE_MANAGE_DATA_SET_ATTRIBUTES, &trim, 0), refused);
    let attributes = send(&read_only(), codes::VOLUME_GET_GPT_ATTRIBUTES, &[], 8).unwrap().1;
    assert_eq!(attributes, (1u64 << 60).to_le_bytes());
    let (state, facts) = (DiskState::new(0), read_only());
    let protected = Verdict::Complete(Completion::bare(NtStatus::MEDIA_WRITE_PROTECTED));
    for len_bytes in [0, 512] {
        let write = Request::Write { offset: 0, len_bytes, write_through: false };
        assert_eq!(dispatch(&facts, &state, write, None), protected);
    }
    for flush in [Request::FlushBuffers, Request::Shutdown] {
        assert_eq!(dispatch(&facts, &state, flush, None), Verdict::Complete(Completion::bare(NtStatus::SUCCESS)));
    }
}

#[test]
fn a_partition_may_be_set_by_a_format_program_if_its_input_is_one() {
    for (code, shortest) in [(codes::DISK_SET_PARTITION_INFO, 1), (codes::DISK_SET_PARTITION_INFO_EX, 9)] {
        for len in 0..20 {
            let expected = if len < shortest { NtStatus::INVALID_PARAMETER } else { NtStatus::SUCCESS };
            assert_eq!(send(&disk(), code, &vec![0; len], 0), Some((expected, vec![])), "{code:#x} of {len}");
        }
    }
}

#[test]
fn verify_checks_bounds_and_never_claims_output() {
    let verify = |offset: u64, len: u32| {
        let input = [&offset.to_le_bytes()[..], &len.to_le_bytes(), &[0; 4]].concat();
        send(&disk(), codes::DISK_VERIFY, &input, 4).unwrap()
    };
    assert_eq!(verify(0, 1 << 20), (NtStatus::SUCCESS, vec![]));
    assert_eq!(verify((1 << 30) - 512, 512), (NtStatus::SUCCESS, vec![]));
    for (offset, len) in
        [(1 << 30, 512), ((1 << 30) - 512, 1024), (u64::MAX, 512), (u64::MAX, u32::MAX), (1 << 63, 512), (1, 512)]
    {
        assert_eq!(verify(offset, len), (NtStatus::INVALID_PARAMETER, vec![]), "{offset} {len}");
    }
    for len in 0..16 {
        assert_eq!(send(&disk(), codes::DISK_VERIFY, &vec![0; len], 0), Some((NtStatus::INVALID_PARAMETER, vec![])));
    }
}

#[test]
fn check_verify_has_a_count_for_who_wants_it() {
    for code in [codes::DISK_CHECK_VERIFY, codes::STORAGE_CHECK_VERIFY, codes::STORAGE_CHECK_VERIFY2] {
        assert_eq!(send(&disk(), code, &[], 0), Some((NtStatus::SUCCESS, vec![])));
        assert_eq!(send(&disk(), code, &[], 3), Some((NtStatus::BUFFER_TOO_SMALL, vec![])));
        assert_eq!(send(&disk(), code, &[], 4), Some((NtStatus::SUCCESS, vec![0; 4])));
        assert_eq!(send(&disk(), code, &[], 100), Some((NtStatus::SUCCESS, vec![0; 4])));
    }
}

#[test]
fn only_a_removable_medium_can_be_held_in_its_drive() {
    let removable = DiskFacts { removable: true, ..disk() };
    for code in [codes::DISK_MEDIA_REMOVAL, codes::STORAGE_MEDIA_REMOVAL] {
        assert_eq!(send(&disk(), code, &[1], 0), Some((NtStatus::INVALID_DEVICE_REQUEST, vec![])));
        assert_eq!(send(&removable, code, &[1], 0), Some((NtStatus::SUCCESS, vec![])));
        assert_eq!(send(&removable, code, &[], 0), Some((NtStatus::INVALID_PARAMETER, vec![])));
    }
}

#[test]
fn properties_are_answered_whole_in_part_and_as_a_header() {
    for (id, size) in [(0, 64), (1, 32), (4, 28), (6, 28), (7, 12), (8, 12), (11, 40)] {
        let whole = send(&disk(), codes::STORAGE_QUERY_PROPERTY, &query(id, 0), 1000).unwrap();
        assert_eq!((whole.0, whole.1.len()), (NtStatus::SUCCESS, size), "property {id}");
        let field = |at: usize| u32::from_le_bytes(whole.1[at..at + 4].try_into().unwrap()) as usize;
        assert_eq!(field(4), size);
        for len in 0..size + 4 {
            let answer = send(&disk(), codes::STORAGE_QUERY_PROPERTY, &query(id, 0), len).unwrap();
            if len < 8 {
                assert_eq!(answer, (NtStatus::BUFFER_TOO_SMALL, vec![]), "property {id} in {len}");
            } else {
                assert_eq!(answer, (NtStatus::SUCCESS, whole.1[..len.min(size)].to_vec()), "property {id} in {len}");
            }
        }
        assert_eq!(send(&disk(), codes::STORAGE_QUERY_PROPERTY, &query(id, 1), 0), Some((NtStatus::SUCCESS, vec![])));
        // Eight bytes are enough of a query; fewer are none.
        assert!(send(&disk(), codes::STORAGE_QUERY_PROPERTY, &query(id, 0)[..8], 8).unwrap().0.is_success());
        for len in 0..8 {
            let answer = send(&disk(), codes::STORAGE_QUERY_PROPERTY, &query(id, 0)[..len], 64);
            assert_eq!(answer, Some((NtStatus::INVALID_PARAMETER, vec![])));
        }
    }
}

#[test]
fn other_properties_and_queries_are_not_supported() {
    for (id, kind) in [(2, 0), (3, 0), (5, 1), (9, 0), (12, 1), (u32::MAX, 0), (0, 2), (0, 3), (8, u32::MAX)] {
        let answer = send(&disk(), codes::STORAGE_QUERY_PROPERTY, &query(id, kind), 64);
        assert_eq!(answer, Some((NtStatus::NOT_SUPPORTED, vec![])), "property {id}, query {kind}");
    }
}

#[test]
fn a_disk_that_frees_nothing_does_not_say_that_it_trims() {
    let dense = DiskFacts { trims: false, unit_bytes: 0, ..disk() };
    let (_, trim) = send(&dense, codes::STORAGE_QUERY_PROPERTY, &query(8, 0), 12).unwrap();
    assert_eq!(trim[8], 0);
    for kind in [0, 1] {
        let thin = send(&dense, codes::STORAGE_QUERY_PROPERTY, &query(11, kind), 40);
        assert_eq!(thin, Some((NtStatus::NOT_SUPPORTED, vec![])));
    }
    let input = crate::machine::trim_input(1, 0, &[(0, 65536)]);
    let answer = send(&dense, codes::STORAGE_MANAGE_DATA_SET_ATTRIBUTES, &input, 0);
    assert_eq!(answer, Some((NtStatus::NOT_SUPPORTED, vec![])));
}

#[test]
fn the_device_descriptor_names_the_product_within_its_bounds() {
    let (_, bytes) = send(&disk(), codes::STORAGE_QUERY_PROPERTY, &query(0, 0), 64).unwrap();
    let number = |at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap()) as usize;
    let text = |at: usize| {
        let name = &bytes[number(at)..];
        core::str::from_utf8(&name[..name.iter().position(|&byte| byte == 0).unwrap()]).unwrap()
    };
    assert_eq!([text(12), text(16), text(20)], ["sparsedisk", "Sparse", "1.0"]);
    assert_eq!((number(24), number(28), 40 + number(32)), (0, 14, number(4)));
    let (_, thin) = send(&disk(), codes::STORAGE_QUERY_PROPERTY, &query(11, 0), 40).unwrap();
    assert_eq!((thin[8] & 3, u64::from_le_bytes(thin[16..24].try_into().unwrap())), (3, 65536));
    let (_, alignment) = send(&disk(), codes::STORAGE_QUERY_PROPERTY, &query(6, 0), 28).unwrap();
    assert_eq!((&alignment[16..20], &alignment[20..24]), (&512u32.to_le_bytes()[..], &4096u32.to_le_bytes()[..]));
}

#[test]
fn no_paging_file_and_no_other_news_from_plug_and_play() {
    let (state, facts) = (DiskState::new(0), disk());
    let answer = |request| dispatch(&facts, &state, request, None);
    let status = |status| Verdict::Complete(Completion::bare(status));
    assert_eq!(answer(Request::Pnp { minor: 0x16 }), status(NtStatus::NOT_SUPPORTED));
    assert_eq!(answer(Request::Pnp { minor: 0x07 }), Verdict::Keep);
    assert_eq!(answer(Request::Power), Verdict::Keep);
    assert_eq!(answer(Request::SystemControl), Verdict::Keep);
    assert_eq!(answer(Request::Other), status(NtStatus::INVALID_DEVICE_REQUEST));
    for open_or_close in [Request::Create, Request::Cleanup, Request::Close] {
        assert_eq!(answer(open_or_close), status(NtStatus::SUCCESS));
    }
}
