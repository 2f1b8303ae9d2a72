//! The bytes of every message: where the fields lie, what is refused, and that nothing is lost on the way.

use driver_abi::{
    ABI_VERSION, AttachFlags, AttachRequest, Attached, Control, Counters, DetachRequest, DiscardMode, DiskEntry,
    DiskFlags, DriverFlags, ListReply, ListRequest, ListWriter, Malformed, Message, NameMaker, NtPath, NtStatus,
    Refusal, SpaceFloorRequest, Statistics, StatisticsRequest, Version, VersionRequest,
};
use proptest::prelude::*;

fn utf16(text: &str) -> Vec<u8> {
    text.encode_utf16().flat_map(u16::to_le_bytes).collect()
}

fn attach(path: &[u8]) -> AttachRequest<'_> {
    AttachRequest {
        flags: AttachFlags { read_only: true, zero_detection: true, ..AttachFlags::default() },
        sector_bytes: 4096,
        letter: Some(b'X'),
        discard: DiscardMode::Ignore,
        space_floor_bytes: 0x1122_3344_5566_7788,
        path: NtPath::new(path).unwrap(),
    }
}

fn counters() -> Counters {
    let bytes: Vec<u8> = (0..16u64).flat_map(|n| (n + 1).to_le_bytes()).collect();
    let mut message = vec![0; 16];
    message[..4].copy_from_slice(&ABI_VERSION.to_le_bytes());
    message.extend(bytes);
    let len = message.len() as u32;
    message[4..8].copy_from_slice(&len.to_le_bytes());
    Statistics::decode(&message).unwrap().counters
}

fn entry(path: &[u8], disk: u32) -> DiskEntry<'_> {
    DiskEntry {
        disk,
        serial: u64::from(disk) + 1,
        flags: DiskFlags { read_only: true, flush_failed: true, ..DiskFlags::default() },
        len_bytes: 1 << 40,
        sector_bytes: 512,
        unit_bytes: 65536,
        letter: None,
        name_maker: NameMaker::SymbolicLink,
        open_handles: 3,
        counters: counters(),
        path: NtPath::new(path).unwrap(),
    }
}

/// Every message, encoded, with a function that says how bytes of its kind are refused.
type Sample = (&'static str, Vec<u8>, fn(&[u8]) -> Option<Malformed>);

fn samples() -> Vec<Sample> {
    fn encode<'a>(message: &impl Message<'a>) -> Vec<u8> {
        let mut bytes = vec![0xEE; message.size_bytes()];
        assert_eq!(message.encode(&mut bytes), Ok(bytes.len()));
        bytes
    }
    let path = utf16(r"\??\C:\d.img");
    let mut list = vec![0xEE; 1024];
    let mut writer = ListWriter::new(&mut list).unwrap();
    writer.push(&entry(&path, 0));
    writer.push(&entry(&path, 9));
    let (len, complete) = writer.finish();
    assert!(complete);
    list.truncate(len);
    vec![
        ("VersionRequest", encode(&VersionRequest), |b| VersionRequest::decode(b).err()),
        ("Version", encode(&Version { driver: [1, 2, 3], flags: DriverFlags(3), max_disks: 64 }), |b| {
            Version::decode(b).err()
        }),
        ("AttachRequest", encode(&attach(&path)), |b| AttachRequest::decode(b).err()),
        (
            "Attached",
            encode(&Attached {
                disk: 7,
                serial: 1 << 40,
                sector_bytes: 512,
                len_bytes: 1 << 40,
                unit_bytes: 65536,
                letter: Some(b'X'),
                name_maker: NameMaker::MountManager,
            }),
            |b| Attached::decode(b).err(),
        ),
        ("DetachRequest", encode(&DetachRequest { disk: 7, serial: 8, forced: true }), |b| {
            DetachRequest::decode(b).err()
        }),
        ("ListRequest", encode(&ListRequest), |b| ListRequest::decode(b).err()),
        ("ListReply", list, |b| ListReply::decode(b).err()),
        ("SpaceFloorRequest", encode(&SpaceFloorRequest { disk: 7, serial: 8, space_floor_bytes: 1 << 30 }), |b| {
            SpaceFloorRequest::decode(b).err()
        }),
        ("StatisticsRequest", encode(&StatisticsRequest { disk: 7, serial: 8 }), |b| {
            StatisticsRequest::decode(b).err()
        }),
        ("Statistics", encode(&Statistics { disk: 7, counters: counters() }), |b| Statistics::decode(b).err()),
    ]
}

#[test]
fn the_codes_are_buffered_need_both_accesses_and_never_change() {
    let codes: Vec<_> = Control::ALL.into_iter().map(Control::code).collect();
    assert_eq!(codes, [0x8D15_E000, 0x8D15_E004, 0x8D15_E008, 0x8D15_E00C, 0x8D15_E010, 0x8D15_E014]);
    for control in Control::ALL {
        assert_eq!(control.code() & 3, 0, "METHOD_BUFFERED");
        assert_eq!(control.code() >> 14 & 3, 3, "read and write access");
        assert_eq!(Control::from_code(control.code()), Some(control));
        assert_eq!(Control::from_code(control.code() ^ 0x4000), None);
    }
}

#[test]
fn every_message_begins_with_version_and_size() {
    for (name, bytes, refused) in samples() {
        assert_eq!(bytes[..4], 1u32.to_le_bytes(), "{name}");
        assert_eq!(bytes[4..8], (bytes.len() as u32).to_le_bytes(), "{name}");
        assert_eq!(refused(&bytes), None, "{name}");
    }
}

#[test]
fn the_offsets_of_attach_are_those_of_version_1() {
    let path = utf16(r"\a");
    let mut bytes = [0; 44];
    attach(&path).encode(&mut bytes).unwrap();
    let expected: Vec<u8> = [
        &1u32.to_le_bytes()[..],
        &44u32.to_le_bytes(),
        &0b0_0101u32.to_le_bytes(),
        &4096u32.to_le_bytes(),
        b"X\0",
        &1u16.to_le_bytes(),
        &4u32.to_le_bytes(),
        &0x1122_3344_5566_7788u64.to_le_bytes(),
        &[0; 8],
        &path,
    ]
    .concat();
    assert_eq!(bytes[..], expected);
}

#[test]
fn the_other_sizes_are_those_of_version_1() {
    let sizes: Vec<_> = samples().into_iter().map(|(name, bytes, _)| (name, bytes.len())).collect();
    let path = utf16(r"\??\C:\d.img").len();
    assert_eq!(
        sizes,
        [
            ("VersionRequest", 8),
            ("Version", 24),
            ("AttachRequest", 40 + path),
            ("Attached", 40),
            ("DetachRequest", 24),
            ("ListRequest", 8),
            ("ListReply", 24 + 2 * (176 + path)),
            ("SpaceFloorRequest", 32),
            ("StatisticsRequest", 24),
            ("Statistics", 144),
        ]
    );
}

#[test]
fn serials_lie_where_version_1_has_them() {
    let serial = 0x1122_3344_5566_7788;
    let at = |message: &[u8], offset: usize| message[offset..offset + 8] == u64::to_le_bytes(serial);
    let mut bytes = [0; 64];
    DetachRequest { disk: 7, serial, forced: false }.encode(&mut bytes).unwrap();
    assert!(at(&bytes, 16));
    SpaceFloorRequest { disk: 7, serial, space_floor_bytes: 0 }.encode(&mut bytes).unwrap();
    assert!(at(&bytes, 16));
    StatisticsRequest { disk: 7, serial }.encode(&mut bytes).unwrap();
    assert!(at(&bytes, 16));
    let attached = Attached {
        disk: 7,
        serial,
        sector_bytes: 512,
        len_bytes: 512,
        unit_bytes: 0,
        letter: None,
        name_maker: NameMaker::Nobody,
    };
    attached.encode(&mut bytes).unwrap();
    assert!(at(&bytes, 32));
    assert_eq!(Attached::decode(&bytes[..Attached::BYTES]), Ok(attached));
    let path = utf16(r"\a");
    let mut list = [0; 512];
    let mut writer = ListWriter::new(&mut list).unwrap();
    writer.push(&DiskEntry { serial, ..entry(&path, 7) });
    let _ = writer.finish();
    assert!(at(&list, 24 + 40));
}

#[test]
fn short_long_and_absurd_buffers_are_refused() {
    for (name, bytes, refused) in samples() {
        for len in 0..bytes.len() {
            assert!(refused(&bytes[..len]).is_some(), "{name} cut to {len}");
        }
        let mut long = bytes.clone();
        long.push(0);
        assert_eq!(refused(&long), Some(Malformed::Size), "{name} with a byte more than it says");
        long[4..8].copy_from_slice(&(bytes.len() as u32 + 1).to_le_bytes());
        assert!(refused(&long).is_some(), "{name} with a byte more than it has fields");
        for size in [0, 7, u32::MAX] {
            let mut absurd = bytes.clone();
            absurd[4..8].copy_from_slice(&size.to_le_bytes());
            assert_eq!(refused(&absurd), Some(Malformed::Size), "{name} of {size} bytes");
        }
    }
}

#[test]
fn another_version_is_refused_but_for_the_question_which() {
    for (name, mut bytes, refused) in samples() {
        bytes[..4].copy_from_slice(&2u32.to_le_bytes());
        let expected = if name.starts_with("Version") { None } else { Some(Malformed::Version) };
        assert_eq!(refused(&bytes), expected, "{name}");
    }
}

#[test]
fn reserved_fields_and_unknown_flags_must_be_zero() {
    let samples = samples();
    let reserved: &[(&str, &[usize])] = &[
        ("Version", &[14, 15]),
        ("AttachRequest", &[9, 11, 32, 39]),
        ("DetachRequest", &[12, 15]),
        ("ListReply", &[24 + 13, 24 + 15]),
        ("SpaceFloorRequest", &[12, 15]),
        ("StatisticsRequest", &[12, 15]),
        ("Statistics", &[12, 15]),
    ];
    for (wanted, offsets) in reserved {
        let (name, bytes, refused) = samples.iter().find(|(name, ..)| name == wanted).unwrap();
        for &offset in *offsets {
            let mut bytes = bytes.clone();
            bytes[offset] |= 0x80;
            assert_eq!(refused(&bytes), Some(Malformed::Reserved), "{name} at {offset}");
        }
    }
}

#[test]
fn values_without_a_meaning_are_refused() {
    let path = utf16(r"\a");
    let mut good = [0; 44];
    attach(&path).encode(&mut good).unwrap();
    for (offset, value) in [(12, 1), (13, 8), (16, b'x'), (16, b'@'), (17, 1), (18, 2), (40, b'a'), (42, 0)] {
        let mut bytes = good;
        bytes[offset] = value;
        assert_eq!(AttachRequest::decode(&bytes), Err(Malformed::Value), "{value} at {offset}");
    }
    for path_bytes in [0u32, 2, 3, 6, u32::MAX] {
        let mut bytes = good;
        bytes[20..24].copy_from_slice(&path_bytes.to_le_bytes());
        assert!(AttachRequest::decode(&bytes).is_err(), "a path of {path_bytes} bytes");
    }
}

#[test]
fn a_path_is_not_empty_absolute_without_nul_and_at_most_as_long_as_a_unicode_string() {
    let long = utf16(&r"\".repeat(32_767));
    assert!(NtPath::new(&long).is_ok());
    assert_eq!(NtPath::new(&long).unwrap().units().len(), 32_767);
    let too_long = utf16(&r"\".repeat(32_768));
    for wrong in [&b""[..], b"\\", b"\\\0a", b"a\0", b"\\\0\0\0", &too_long] {
        assert_eq!(NtPath::new(wrong), Err(Malformed::Value));
    }
    // A lone surrogate is a name on Windows.
    assert!(NtPath::new(&[b'\\', 0, 0, 0xD8]).is_ok());
}

#[test]
fn a_message_that_does_not_fit_changes_nothing() {
    let path = utf16(r"\a");
    let mut bytes = [0xEE; 43];
    assert_eq!(attach(&path).encode(&mut bytes), Err(Malformed::Size));
    assert_eq!(bytes, [0xEE; 43]);
}

#[test]
fn a_list_says_how_much_is_missing_and_holds_whole_entries_only() {
    let path = utf16(r"\??\C:\disk.img");
    let full = 24 + 3 * 208;
    for len in 0..=full + 8 {
        let mut buffer = vec![0xEE; len];
        let Ok(mut writer) = ListWriter::new(&mut buffer) else {
            assert!(len < ListReply::FIXED_BYTES);
            continue;
        };
        (0..3).for_each(|disk| writer.push(&entry(&path, disk)));
        let (used, complete) = writer.finish();
        let reply = ListReply::decode(&buffer[..used]).unwrap();
        assert_eq!((reply.disks, reply.needed_bytes), (3, full as u64));
        assert_eq!((complete, reply.is_complete()), (len >= full, len >= full));
        assert_eq!(reply.count as usize, (len.min(full) - 24) / 208);
        let disks: Vec<_> = reply.entries().collect();
        assert_eq!(disks, (0..reply.count).map(|disk| entry(&path, disk)).collect::<Vec<_>>());
        assert!(buffer[used..].iter().all(|&byte| byte == 0xEE));
    }
}

#[test]
fn a_short_entry_after_one_that_did_not_fit_is_left_out_too() {
    let (long, short) = (utf16(&format!(r"\{}", "a".repeat(200))), utf16(r"\b"));
    let mut buffer = [0; 300];
    let mut writer = ListWriter::new(&mut buffer).unwrap();
    writer.push(&entry(&long, 0));
    writer.push(&entry(&short, 1));
    assert_eq!(writer.finish(), (24, false));
}

#[test]
fn every_refusal_is_an_error_of_its_own_that_windows_does_not_use() {
    for (index, refusal) in Refusal::ALL.into_iter().enumerate() {
        let status = refusal.status();
        assert_eq!(status, NtStatus(0xE5D1_0001 + index as u32));
        assert!(status.is_error() && status.name().is_none());
        assert_eq!(Refusal::from_status(status), Some(refusal));
    }
    assert_eq!(Refusal::from_status(NtStatus::ACCESS_DENIED), None);
}

#[test]
fn a_warning_is_neither_success_nor_error() {
    assert!(NtStatus::PENDING.is_success() && NtStatus::SUCCESS.is_success());
    assert!(!NtStatus::BUFFER_OVERFLOW.is_success() && !NtStatus::BUFFER_OVERFLOW.is_error());
    assert!(NtStatus::DISK_FULL.is_error());
    assert_eq!(format!("{:?} {}", NtStatus::DISK_FULL, NtStatus(0xC012_3456)), "DISK_FULL 0xC0123456");
}

proptest! {
    #[test]
    fn attach_requests_survive_the_way(
        flags in any::<[bool; 5]>(), four_k in any::<bool>(), letter in prop::option::of(b'A'..=b'Z'), ignore in any::<bool>(),
        space_floor_bytes in any::<u64>(), tail in prop::collection::vec(1u16.., 0..300),
    ) {
        let [read_only, removable, zero_detection, dense, mark_sparse] = flags;
        let path: Vec<u8> = [0x5C].into_iter().chain(tail).flat_map(u16::to_le_bytes).collect();
        let request = AttachRequest {
            flags: AttachFlags { read_only, removable, zero_detection, dense, mark_sparse },
            sector_bytes: if four_k { 4096 } else { 512 },
            letter,
            discard: if ignore { DiscardMode::Ignore } else { DiscardMode::Free },
            space_floor_bytes,
            path: NtPath::new(&path).unwrap(),
        };
        let mut bytes = vec![0xEE; request.size_bytes()];
        request.encode(&mut bytes).unwrap();
        prop_assert_eq!(AttachRequest::decode(&bytes), Ok(request));
    }

    #[test]
    fn changed_bytes_are_refused_or_mean_exactly_what_they_say(which in 0usize..10, at in any::<usize>(), value in any::<u8>()) {
        let (name, mut bytes, refused) = samples().swap_remove(which);
        let at = at % bytes.len();
        bytes[at] = value;
        if refused(&bytes).is_some() {
            return Ok(());
        }
        fn again<'a, M: Message<'a>>(bytes: &'a [u8]) -> Vec<u8> {
            let message = M::decode(bytes).unwrap();
            let mut again = vec![0xEE; message.size_bytes()];
            message.encode(&mut again).unwrap();
            again
        }
        let again = match name {
            "VersionRequest" => again::<VersionRequest>(&bytes),
            "Version" => again::<Version>(&bytes),
            "AttachRequest" => again::<AttachRequest>(&bytes),
            "Attached" => again::<Attached>(&bytes),
            "DetachRequest" => again::<DetachRequest>(&bytes),
            "ListRequest" => again::<ListRequest>(&bytes),
            "SpaceFloorRequest" => again::<SpaceFloorRequest>(&bytes),
            "StatisticsRequest" => again::<StatisticsRequest>(&bytes),
            "Statistics" => again::<Statistics>(&bytes),
            _ => return Ok(()),
        };
        // The version is the writer's own.
        prop_assert_eq!(&again[4..], &bytes[4..]);
    }

    #[test]
    fn law5_any_bytes_are_read_without_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..600), headed in any::<bool>()) {
        let mut bytes = bytes;
        if headed && bytes.len() >= 8 {
            let size = bytes.len() as u32;
            bytes[..4].copy_from_slice(&1u32.to_le_bytes());
            bytes[4..8].copy_from_slice(&size.to_le_bytes());
        }
        for (_, _, refused) in samples() {
            let _ = refused(&bytes);
        }
        if let Ok(list) = ListReply::decode(&bytes) {
            prop_assert_eq!(list.entries().count(), list.count as usize);
        }
    }
}
