//! The controls against a model that answers as [MS-FSA] says, and against answers that lie.

use std::cell::RefCell;

use disk_types::{ErrorKind, MAX_OFFSET};
use proptest::prelude::*;

use super::*;

/// Remembers what it was asked, and answers with a function.
struct Scripted<F> {
    asked: RefCell<Vec<(u32, Vec<u8>)>>,
    answer: F,
}

impl<F: Fn(u32, &[u8], &mut [u8]) -> Result<Answer, Status>> Scripted<F> {
    fn new(answer: F) -> Self {
        Self { asked: RefCell::default(), answer }
    }
}

impl<F: Fn(u32, &[u8], &mut [u8]) -> Result<Answer, Status>> Control for Scripted<F> {
    fn control(&self, code: u32, input: &[u8], output: &mut [u8]) -> Result<Answer, Status> {
        self.asked.borrow_mut().push((code, input.to_vec()));
        (self.answer)(code, input, output)
    }
}

fn says_yes(_: u32, _: &[u8], _: &mut [u8]) -> Result<Answer, Status> {
    Ok(Answer::complete(0))
}

fn says(bytes: &[u8]) -> impl Fn(u32, &[u8], &mut [u8]) -> Result<Answer, Status> {
    move |_, _, output| {
        let len = bytes.len().min(output.len());
        output[..len].copy_from_slice(&bytes[..len]);
        Ok(Answer { len_bytes: len, more: len < bytes.len() })
    }
}

fn range(start: u64, end: u64) -> ByteRange {
    ByteRange::new(start, end).unwrap()
}

/// `FSCTL_QUERY_ALLOCATED_RANGES` over a list of runs, \[MS-FSA\] 2.1.5.10.22 as Windows behaves.
fn allocation(runs: Vec<ByteRange>) -> impl Fn(u32, &[u8], &mut [u8]) -> Result<Answer, Status> {
    move |code, input, output| {
        assert_eq!((code, input.len()), (QUERY_ALLOCATED_RANGES, 16));
        let request = ByteRange::at(get_u64(input, 0).unwrap(), get_u64(input, 8).unwrap()).unwrap();
        let found: Vec<_> = runs.iter().filter_map(|run| run.intersect(request)).collect();
        if output.len() < 16 && !found.is_empty() {
            return Err(Status::INSUFFICIENT_BUFFER);
        }
        let fit = found.len().min(output.len() / 16);
        for (index, run) in found[..fit].iter().enumerate() {
            put_u64(output, 16 * index, run.start());
            put_u64(output, 16 * index + 8, run.len());
        }
        Ok(Answer { len_bytes: 16 * fit, more: fit < found.len() })
    }
}

#[test]
fn inputs_are_laid_out_byte_for_byte_as_ms_fscc_says() {
    let file = Scripted::new(says_yes);
    set_sparse(&file, true).unwrap();
    set_sparse(&file, false).unwrap();
    set_zero_data(&file, range(0x1_0000, 0x0102_0304_0506_0708)).unwrap();
    duplicate_extents(&file, 0x44, 0x1_0000, 0x2_0000, 0x3_0000).unwrap();
    let asked = file.asked.into_inner();
    assert_eq!(asked[0], (0x900C4, vec![1]));
    assert_eq!(asked[1], (0x900C4, vec![0]));
    assert_eq!(asked[2], (0x980C8, vec![0, 0, 1, 0, 0, 0, 0, 0, 8, 7, 6, 5, 4, 3, 2, 1]));
    let mut clone = vec![0; 32];
    (clone[0], clone[10], clone[18], clone[26]) = (0x44, 1, 2, 3);
    assert_eq!(asked[3], (0x98344, clone));
}

#[test]
fn a_trim_lists_its_ranges_after_key_and_count_and_adds_up_the_batches() {
    let ranges: Vec<_> = (0..2500).map(|n| range(n * 8192, n * 8192 + 4096)).collect();
    let file = Scripted::new(|_, input: &[u8], output: &mut [u8]| {
        output.copy_from_slice(&input[4..8]);
        Ok(Answer::complete(4))
    });
    assert_eq!(file_level_trim(&file, &ranges).unwrap(), 2500);
    let asked = file.asked.into_inner();
    let counts: Vec<_> = asked.iter().map(|(_, input)| get_u32(input, 4).unwrap()).collect();
    assert_eq!(counts, [1024, 1024, 452]);
    for (code, input) in &asked {
        assert_eq!((*code, get_u32(input, 0)), (0x98208, Some(0)), "the key is zero");
        assert_eq!(input.len() as u64, 8 + 16 * u64::from(get_u32(input, 4).unwrap()));
    }
    assert_eq!((get_u64(&asked[1].1, 8), get_u64(&asked[1].1, 16)), (Some(1024 * 8192), Some(4096)));
    let boasting = Scripted::new(says(&[2, 0, 0, 0]));
    assert_eq!(file_level_trim(&boasting, &ranges[..1]), Err(Status::BAD_ANSWER));
    assert_eq!(file_level_trim(&boasting, &[]), Ok(0));
}

#[test]
fn law6_ranges_are_read_over_many_pages_and_resume_after_the_last_entry() {
    let runs: Vec<_> = (0..1000).map(|n| range(n * 1000 + 1, n * 1000 + 501)).collect();
    for page in [1, 2, 7, 999, 1000, 1001] {
        let file = Scripted::new(allocation(runs.clone()));
        let read: Vec<_> =
            AllocatedRanges::with_page(&file, range(0, 1 << 30), page).collect::<Result<_, _>>().unwrap();
        assert_eq!(read, runs, "{page} entries a page");
        let asked = file.asked.into_inner();
        assert_eq!(asked.len(), 1000_usize.div_ceil(page));
        if let Some((_, second)) = asked.get(1) {
            let resumed = runs[page - 1].end();
            assert_eq!((get_u64(second, 0), get_u64(second, 8)), (Some(resumed), Some((1 << 30) - resumed)));
        }
    }
}

#[test]
fn an_overflow_without_one_entry_grows_the_buffer_and_never_loops() {
    let file = Scripted::new(allocation(vec![range(10, 20)]));
    let read: Vec<_> = AllocatedRanges::with_page(&file, range(0, 100), 0).collect::<Result<_, _>>().unwrap();
    assert_eq!(read, [range(10, 20)]);

    let never = Scripted::new(|_, _: &[u8], _: &mut [u8]| Ok(Answer { len_bytes: 15, more: true }));
    let read: Vec<_> = allocated_ranges(&never, range(0, 100)).collect();
    assert_eq!(read, [Err(Status::BAD_ANSWER)]);
    assert!(never.asked.borrow().len() < 16);
}

#[test]
fn an_overflow_with_half_an_entry_counts_the_whole_ones_only() {
    // SAMBA's sparse_qar_truncated: 31 bytes hold one entry, and the second comes with the next call.
    let first = RefCell::new(true);
    let file = Scripted::new(|_, input: &[u8], output: &mut [u8]| {
        let again = !first.replace(false);
        put_u64(output, 0, if again { 1 << 20 } else { 0 });
        put_u64(output, 8, 1024);
        output[16..31].fill(0xFF);
        assert_eq!(get_u64(input, 0), Some(if again { 1024 } else { 0 }));
        Ok(Answer { len_bytes: if again { 16 } else { 31 }, more: !again })
    });
    let read: Vec<_> = allocated_ranges(&file, range(0, 2 << 20)).collect::<Result<_, _>>().unwrap();
    assert_eq!(read, [range(0, 1024), range(1 << 20, (1 << 20) + 1024)]);
}

#[test]
fn a_page_that_repeats_itself_is_an_error() {
    let entry: Vec<u8> = [0u64.to_le_bytes(), 10u64.to_le_bytes()].concat();
    let file = Scripted::new(move |_, _: &[u8], output: &mut [u8]| {
        output[..16].copy_from_slice(&entry);
        Ok(Answer { len_bytes: 16, more: true })
    });
    let read: Vec<_> = allocated_ranges(&file, range(0, 100)).take(10).collect();
    assert_eq!(read, [Ok(range(0, 10)), Err(Status::BAD_ANSWER)]);
}

#[test]
fn ranges_that_go_back_or_wrap_are_an_error_and_rounding_outward_is_not() {
    let entries = |list: &[(u64, u64)]| -> Vec<u8> {
        list.iter().flat_map(|(offset, length)| [offset.to_le_bytes(), length.to_le_bytes()].concat()).collect()
    };
    let read = |list: &[(u64, u64)]| -> Vec<_> {
        let bytes = entries(list);
        allocated_ranges(Scripted::new(says(&bytes)), range(100, 200)).collect()
    };
    assert_eq!(read(&[(0, 120), (150, 500)]), [Ok(range(100, 120)), Ok(range(150, 200))]);
    assert_eq!(read(&[(150, 10), (120, 10)]), [Ok(range(150, 160)), Err(Status::BAD_ANSWER)]);
    assert_eq!(read(&[(u64::MAX, 2)]), [Err(Status::BAD_ANSWER)]);
    assert_eq!(read(&[(120, 0), (120, 5)]), [Ok(range(120, 125))], "an empty entry says nothing");
}

#[test]
fn a_failure_ends_the_ranges() {
    let file = Scripted::new(|_, _: &[u8], _: &mut [u8]| Err(Status::ACCESS_DENIED));
    assert_eq!(allocated_ranges(&file, range(0, 1)).collect::<Vec<_>>(), [Err(Status::ACCESS_DENIED)]);
}

#[test]
fn compression_and_valid_data_are_read_from_their_layouts() {
    assert_eq!(compression(&Scripted::new(says(&[0, 0]))), Ok(false));
    assert_eq!(compression(&Scripted::new(says(&[2, 0]))), Ok(true));
    assert_eq!(compression(&Scripted::new(says(&[2]))), Err(Status::BAD_ANSWER));

    let mut answer = vec![0; 16 + 48];
    (answer[4], answer[8]) = (2, 2);
    put_u64(&mut answer, 24, 4096);
    answer[32] = 1;
    put_u64(&mut answer, 40, 4096);
    put_u64(&mut answer, 48, 8192);
    let file = Scripted::new(says(&answer));
    assert_eq!(valid_data_bytes(&file, 12288), Ok(4096));
    assert_eq!(valid_data_bytes(&file, 0), Ok(0));
    let (code, input) = &file.asked.borrow()[0];
    assert_eq!((*code, input.len(), get_u64(input, 8), get_u32(input, 16)), (0x90284, 24, Some(12288), Some(1)));
}

/// What a punch of `range` in a file of 1 MiB and 100 bytes sends, where `allocated` is.
fn sent_by_a_punch(hole: ByteRange, allocated: &[ByteRange]) -> Vec<ByteRange> {
    let runs = allocation(allocated.to_vec());
    let file = Scripted::new(
        |code, input: &[u8], output: &mut [u8]| {
            if code == SET_ZERO_DATA { Ok(Answer::complete(0)) } else { runs(code, input, output) }
        },
    );
    punch(&file, hole, (1 << 20) + 100, SPARSE_UNIT_BYTES).unwrap();
    let sent = file.asked.into_inner().into_iter().filter(|(code, _)| *code == SET_ZERO_DATA);
    sent.map(|(_, input)| range(get_u64(&input, 0).unwrap(), get_u64(&input, 8).unwrap())).collect()
}

#[test]
fn a_punch_is_one_call_and_allocates_nothing_at_edges_that_are_holes() {
    const UNIT: u64 = SPARSE_UNIT_BYTES;
    let all = [range(0, (1 << 20) + 100)];
    assert_eq!(sent_by_a_punch(range(10, 3 * UNIT + 10), &all), [range(10, 3 * UNIT + 10)]);
    assert_eq!(sent_by_a_punch(range(10, 3 * UNIT + 10), &[range(UNIT, 3 * UNIT)]), [range(UNIT, 3 * UNIT)]);
    assert_eq!(sent_by_a_punch(range(10, 3 * UNIT + 10), &[range(0, 1)]), [range(10, 3 * UNIT)]);
    assert_eq!(sent_by_a_punch(range(10, 20), &[range(UNIT, 2 * UNIT)]), []);
    assert_eq!(sent_by_a_punch(range(10, 20), &all), [range(10, 20)]);
    assert_eq!(sent_by_a_punch(range(UNIT - 10, UNIT + 10), &[]), []);
    // The last unit ends with the file, and is freed with it.
    assert_eq!(sent_by_a_punch(range(UNIT, (1 << 20) + 100), &all), [range(UNIT, (1 << 20) + 100)]);
    assert_eq!(sent_by_a_punch(range((1 << 20) + 10, (1 << 20) + 100), &[]), []);
}

#[test]
fn law8_a_status_has_a_kind_words_and_its_number() {
    assert_eq!(Status::from_ntstatus(0xC000_007F).kind(), ErrorKind::NoSpace);
    assert_eq!(Status::from_ntstatus(0x8000_0005), Status::MORE_DATA);
    assert_eq!(Status(1117).kind(), ErrorKind::Io);
    assert_eq!(Status::from_ntstatus(0xC000_02B6).to_string(), "NTSTATUS 0xc00002b6");
    assert_eq!(std::io::Error::from(Status::DISK_FULL).kind(), std::io::ErrorKind::StorageFull);
    let error = Status::DISK_FULL.error("punch").at_path("a.img");
    // On Windows in the system's words.
    let (words, number) = error.message().rsplit_once(" (").map(|(a, b)| (a.to_owned(), b.to_owned())).unwrap();
    assert_eq!(number, "Windows error 112)");
    assert_eq!(words == "cannot punch a.img: no space left on the volume", !cfg!(windows), "{words}");
    for full in [Status::HANDLE_DISK_FULL, Status::DISK_QUOTA_EXCEEDED, Status::FILE_SYSTEM_LIMITATION] {
        assert_eq!(full.error("write").kind(), ErrorKind::NoSpace, "{full}");
    }
    assert_eq!(Status::from_ntstatus(0xC000_0802), Status::DISK_QUOTA_EXCEEDED);
    assert!(Status::DISK_QUOTA_EXCEEDED.error("write").advice().is_some_and(|advice| advice.contains("quota")));
}

proptest! {
    #[test]
    fn law5_no_answer_makes_a_panic_and_every_range_lies_in_the_request_in_order(
        bytes in proptest::collection::vec(any::<u8>(), 0..200),
        claims in proptest::collection::vec((any::<u16>(), any::<bool>()), 1..8),
        start in 0..=MAX_OFFSET - 1,
        len in 1..=MAX_OFFSET,
    ) {
        let request = range(start, start.saturating_add(len).min(MAX_OFFSET));
        let turn = RefCell::new(0);
        let lies = |_: u32, _: &[u8], output: &mut [u8]| {
            let (claimed, more) = claims[turn.replace_with(|turn| *turn + 1) % claims.len()];
            for (to, from) in output.iter_mut().zip(bytes.iter().cycle()) {
                *to = *from;
            }
            Ok(Answer { len_bytes: usize::from(claimed), more })
        };
        let mut floor = request.start();
        for found in AllocatedRanges::with_page(Scripted::new(lies), request, 4).take(100).flatten() {
            prop_assert!(request.contains(found) && floor <= found.start());
            floor = found.end();
        }
        let _ = compression(&Scripted::new(lies));
        let _ = file_level_trim(&Scripted::new(lies), &[request]);
        if let Ok(valid) = valid_data_bytes(&Scripted::new(lies), request.end()) {
            prop_assert!(valid <= request.end());
        }
    }

    #[test]
    fn law6_small_numbers_that_almost_make_sense_stay_in_the_request(
        entries in proptest::collection::vec((0u64..300, 0u64..60), 0..20),
        more in any::<bool>(),
    ) {
        let bytes: Vec<u8> =
            entries.iter().flat_map(|(at, len)| [at.to_le_bytes(), len.to_le_bytes()].concat()).collect();
        let request = range(50, 250);
        let answer = |_: u32, _: &[u8], output: &mut [u8]| {
            let len = bytes.len().min(output.len());
            output[..len].copy_from_slice(&bytes[..len]);
            Ok(Answer { len_bytes: len, more })
        };
        let mut floor = request.start();
        for found in AllocatedRanges::with_page(Scripted::new(answer), request, 5).take(100).flatten() {
            prop_assert!(request.contains(found) && floor <= found.start());
            floor = found.end();
        }
    }

    #[test]
    fn law6_what_the_model_holds_is_what_is_read(
        gaps in proptest::collection::vec((0u64..5, 1u64..5), 0..40),
        page in 0usize..6,
        start in 0u64..50,
        len in 1u64..200,
    ) {
        let mut at = 0;
        let runs: Vec<_> = gaps.iter().map(|(gap, len)| { at += gap + len; range(at - len, at) }).collect();
        let request = range(start, start + len);
        let want: Vec<_> = runs.iter().filter_map(|run| run.intersect(request)).collect();
        let read: Vec<_> = AllocatedRanges::with_page(Scripted::new(allocation(runs)), request, page)
            .collect::<Result<_, _>>().unwrap();
        prop_assert_eq!(read, want);
    }
}
