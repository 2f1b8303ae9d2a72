//! Copies of every shape, and what is refused. What needs other file systems is in `copy_linux`, what only Windows does in
//! `windows`.

mod layout;

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use layout::{DENSE, Layout, MIB, Part, assert_same_content, holes};
use proptest::prelude::*;
use sparse_file::{
    Access, CopyMethod, CopyObserver, CopyOptions, CopyReport, Error, ErrorKind, Result, SparseFile, copy,
};
use tempfile::TempDir;

fn usual() -> CopyOptions {
    CopyOptions { dense: DENSE, ..CopyOptions::default() }
}

/// A directory with a source in it, and a name for the copy.
struct Desk {
    directory: TempDir,
    source: PathBuf,
    destination: PathBuf,
}

impl Desk {
    fn with(parts: &[Part]) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let (source, destination) = (directory.path().join("source.img"), directory.path().join("copy.img"));
        Layout(parts.to_vec()).write(&source);
        Self { directory, source, destination }
    }

    fn copy(&self, options: CopyOptions) -> Result<CopyReport> {
        copy(&self.source, &self.destination, &options, &mut ())
    }

    fn partial(&self) -> PathBuf {
        self.directory.path().join("copy.img.partial")
    }

    /// That nothing but the source is there.
    fn assert_untouched(&self) {
        assert!(self.destination.symlink_metadata().is_err() && self.partial().symlink_metadata().is_err());
    }
}

/// Calls a function once the first bytes are settled.
struct After<F>(Option<F>);

impl<F: FnOnce() -> Result<()>> CopyObserver for After<F> {
    fn progress(&mut self, _: u64, _: u64) {}

    fn may_continue(&mut self) -> Result<()> {
        self.0.take().map_or(Ok(()), |act| act())
    }
}

/// Like [`After`], but not before the copy has begun to move bytes.
struct Midway<F> {
    begun: bool,
    act: Option<F>,
}

impl<F: FnOnce() -> Result<()>> Midway<F> {
    fn new(act: F) -> Self {
        Self { begun: false, act: Some(act) }
    }
}

impl<F: FnOnce() -> Result<()>> CopyObserver for Midway<F> {
    fn progress(&mut self, _: u64, _: u64) {
        self.begun = true;
    }

    fn may_continue(&mut self) -> Result<()> {
        if self.begun { self.act.take().map_or(Ok(()), |act| act()) } else { Ok(()) }
    }
}

fn adds_up(report: &CopyReport) -> bool {
    report.apparent_bytes
        == report.bytes_copied
            + report.bytes_shared
            + report.holes_kept_bytes
            + report.holes_filled_bytes
            + report.zeroes_left_out_bytes
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn law1_random_layouts_are_copied_byte_for_byte_and_hole_for_hole(layout in layout::any(), odd in 0u64..4096) {
        let desk = Desk::with(&layout.0);
        File::options().write(true).open(&desk.source).unwrap().set_len(layout.len_bytes() + odd).unwrap();
        // Before anybody reads: once read, a part never written counts as data for SEEK_DATA.
        let zeroes = layout::zeroes_by_map(&desk.source);
        let report = desk.copy(CopyOptions { verify: true, ..usual() }).unwrap();
        prop_assert!(adds_up(&report) && report.verified, "{report:?}");
        assert_same_content(&desk.source, &desk.destination);
        if report.method == CopyMethod::Extents && !DENSE {
            // Parts allocated and never written have become holes: the copy may have more, and never fewer.
            prop_assert_eq!(holes(&desk.destination), zeroes);
        }
        prop_assert!(!desk.partial().exists());
    }

    #[cfg(unix)]
    #[test]
    fn law1_random_layouts_are_scanned_and_no_written_zero_granule_is_left(layout in layout::any()) {
        let desk = Desk::with(&layout.0);
        let report = desk.copy(CopyOptions { detect_zeroes: true, ..usual() }).unwrap();
        prop_assert!(adds_up(&report), "{report:?}");
        prop_assert_eq!(report.method, CopyMethod::Scan);
        assert_same_content(&desk.source, &desk.destination);
        let target = SparseFile::open(&desk.destination, Access::ReadOnly).unwrap();
        let granule = target.granularity_bytes().clamp(4096, 65536);
        prop_assert_eq!(layout::zero_granules_in_data(&target, granule), 0);
    }

    #[test]
    fn law1_a_dense_copy_reads_the_same_and_has_no_hole(layout in layout::any()) {
        let desk = Desk::with(&layout.0);
        let report = desk.copy(CopyOptions { dense: true, verify: true, ..usual() }).unwrap();
        prop_assert!(adds_up(&report) && report.holes_kept_bytes == 0, "{report:?}");
        assert_same_content(&desk.source, &desk.destination);
        prop_assert!(holes(&desk.destination).is_empty());
        prop_assert!(report.allocated_bytes >= report.apparent_bytes);
    }
}

#[test]
fn a_copy_is_flushed_unless_told_otherwise_says_so_and_is_whole_either_way() {
    assert!(!CopyOptions::default().no_flush);
    for no_flush in [false, true] {
        let desk = Desk::with(&[Part::Data(MIB), Part::Hole(MIB), Part::Data(4096)]);
        let report = desk.copy(CopyOptions { no_flush, verify: true, keep_times: true, ..usual() }).unwrap();
        assert_eq!((report.flushed, report.verified), (!no_flush, true));
        assert!(adds_up(&report), "{report:?}");
        assert_same_content(&desk.source, &desk.destination);
        assert!(!desk.partial().exists());
    }
}

#[cfg(unix)]
#[test]
fn law1_data_written_into_allocated_space_and_not_flushed_is_not_taken_for_a_hole() {
    let desk = Desk::with(&[Part::Hole(4 * MIB)]);
    let source = SparseFile::open(&desk.source, Access::ReadWrite).unwrap();
    source.allocate(sparse_file::ByteRange::whole(source.len_bytes()).unwrap()).unwrap();
    for at in (0..4 * MIB).step_by(1 << 18) {
        source.write_at(at + 8192, &[7; 4096]).unwrap();
    }
    drop(source);
    let report = desk.copy(usual()).unwrap();
    assert_same_content(&desk.source, &desk.destination);
    assert!(report.allocated_bytes < MIB, "what was never written is a hole in the copy: {report:?}");
}

#[test]
fn an_empty_file_is_copied() {
    let desk = Desk::with(&[]);
    let report = desk.copy(CopyOptions { verify: true, ..usual() }).unwrap();
    assert_eq!((report.apparent_bytes, report.bytes_copied, report.allocated_bytes), (0, 0, 0));
    assert_eq!(fs::metadata(&desk.destination).unwrap().len(), 0);
}

#[cfg(unix)]
#[test]
fn a_tebibyte_of_hole_with_one_byte_at_its_end_takes_one_block() {
    let desk = Desk::with(&[]);
    let source = File::options().write(true).open(&desk.source).unwrap();
    source.set_len((1 << 40) - 1).unwrap();
    layout::write_at(&source, (1 << 40) - 2, &[1]);
    let report = desk.copy(CopyOptions { verify: true, ..usual() }).unwrap();
    assert_eq!(report.apparent_bytes, (1 << 40) - 1);
    assert!(report.allocated_bytes <= 64 << 10, "{report:?}");
    let copied = SparseFile::open(&desk.destination, Access::ReadOnly).unwrap();
    let mut last = [0; 2];
    copied.read_at((1 << 40) - 3, &mut last).unwrap();
    assert_eq!(last, [0, 1]);
}

#[test]
fn progress_never_goes_back_and_ends_at_the_total() {
    struct Seen(Vec<(u64, u64)>);
    impl CopyObserver for Seen {
        fn progress(&mut self, done_bytes: u64, total_bytes: u64) {
            self.0.push((done_bytes, total_bytes));
        }

        fn may_continue(&mut self) -> Result<()> {
            Ok(())
        }
    }
    let desk = Desk::with(&[Part::Data(9 * MIB), Part::Hole(30 * MIB), Part::Zeroes(5 * MIB), Part::Data(4096)]);
    let mut seen = Seen(Vec::new());
    copy(&desk.source, &desk.destination, &CopyOptions { verify: true, ..usual() }, &mut seen).unwrap();
    let total = 2 * (44 * MIB + 4096);
    assert!(seen.0.is_sorted() && seen.0.iter().all(|&(_, of)| of == total));
    assert_eq!(seen.0.last(), Some(&(total, total)));
}

#[test]
fn permissions_are_kept_and_times_if_asked() {
    use std::time::{Duration, SystemTime};
    let desk = Desk::with(&[Part::Data(4096)]);
    let old = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000_000);
    let times = fs::FileTimes::new().set_modified(old).set_accessed(old);
    File::options().write(true).open(&desk.source).unwrap().set_times(times).unwrap();
    let mut permissions = fs::metadata(&desk.source).unwrap().permissions();
    permissions.set_readonly(true);
    fs::set_permissions(&desk.source, permissions.clone()).unwrap();
    desk.copy(CopyOptions { keep_times: true, ..usual() }).unwrap();
    let copied = fs::metadata(&desk.destination).unwrap();
    assert_eq!((copied.permissions(), copied.modified().unwrap()), (permissions, old));
    // Wine moves the time of the last access before we look.
    let accessed = if cfg!(windows) { old } else { copied.accessed().unwrap() };
    assert_eq!(accessed, old, "reading the source for the copy is no access to keep");
}

#[test]
fn an_existing_destination_is_never_overwritten() {
    let desk = Desk::with(&[Part::Data(4096)]);
    fs::write(&desk.destination, "precious").unwrap();
    let error = desk.copy(usual()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::AlreadyExists);
    assert_eq!(fs::read(&desk.destination).unwrap(), b"precious");
    assert!(!desk.partial().exists());
}

#[test]
fn a_destination_that_appears_meanwhile_is_not_overwritten_and_the_copy_is_kept() {
    let desk = Desk::with(&[Part::Data(9 * MIB)]);
    let appears = desk.destination.clone();
    let mut observer = After(Some(move || {
        fs::write(&appears, "precious").unwrap();
        Ok(())
    }));
    let error = copy(&desk.source, &desk.destination, &usual(), &mut observer).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::AlreadyExists);
    assert!(error.advice().unwrap().contains("copy.img.partial"), "{error}");
    assert_eq!(fs::read(&desk.destination).unwrap(), b"precious");
    assert_same_content(&desk.source, &desk.partial());
}

#[test]
fn an_existing_partial_is_refused_with_advice_and_left_as_it_is() {
    let desk = Desk::with(&[Part::Data(4096)]);
    fs::write(desk.partial(), "half a copy").unwrap();
    let error = desk.copy(usual()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::AlreadyExists);
    assert!(error.to_string().contains("copy.img.partial") && error.advice().unwrap().contains("delete it"), "{error}");
    assert_eq!(fs::read(desk.partial()).unwrap(), b"half a copy");

    let _running = SparseFile::open(&desk.partial(), Access::ReadWrite).unwrap();
    assert_eq!(desk.copy(usual()).unwrap_err().kind(), ErrorKind::InUse);
}

#[test]
fn what_is_no_file_to_copy_or_no_name_to_copy_to_is_refused() {
    let desk = Desk::with(&[Part::Data(4096)]);
    let directory = desk.directory.path();
    let from = |source: &Path, destination: &Path| copy(source, destination, &usual(), &mut ());
    assert_eq!(from(directory, &desk.destination).unwrap_err().kind(), ErrorKind::Refused);
    assert_eq!(from(&directory.join("none"), &desk.destination).unwrap_err().kind(), ErrorKind::NotFound);
    assert_eq!(from(&desk.source, &desk.source).unwrap_err().kind(), ErrorKind::InvalidInput);
    assert_eq!(from(&desk.source, directory).unwrap_err().kind(), ErrorKind::AlreadyExists);
    assert_eq!(from(&desk.source, &directory.join("..")).unwrap_err().kind(), ErrorKind::InvalidInput);
    assert_eq!(from(&desk.source, &directory.join("none/copy.img")).unwrap_err().kind(), ErrorKind::NotFound);
    let both = CopyOptions { dense: true, detect_zeroes: true, ..usual() };
    assert_eq!(desk.copy(both).unwrap_err().kind(), ErrorKind::InvalidInput);
    desk.assert_untouched();
}

#[test]
fn law7_a_source_open_for_writing_is_refused_and_one_open_for_reading_is_copied() {
    let desk = Desk::with(&[Part::Data(4096)]);
    let writer = SparseFile::open(&desk.source, Access::ReadWrite).unwrap();
    assert_eq!(desk.copy(usual()).unwrap_err().kind(), ErrorKind::InUse);
    desk.assert_untouched();
    drop(writer);
    let _reader = SparseFile::open(&desk.source, Access::ReadOnly).unwrap();
    desk.copy(usual()).unwrap();
}

#[test]
fn law7_nobody_else_writes_to_the_partial_file_while_it_is_filled() {
    for options in [usual(), CopyOptions { dense: true, ..usual() }] {
        let desk = Desk::with(&[Part::Data(9 * MIB), Part::Hole(MIB)]);
        let partial = desk.partial();
        let mut observer = Midway::new(move || {
            assert_eq!(SparseFile::open(&partial, Access::ReadWrite).unwrap_err().kind(), ErrorKind::InUse);
            Ok(())
        });
        copy(&desk.source, &desk.destination, &options, &mut observer).unwrap();
        assert!(observer.act.is_none(), "it was asked");
    }
}

#[test]
fn a_name_as_long_as_the_file_system_has_them_is_copied_to() {
    for len in [247, 248, 255] {
        let desk = Desk::with(&[Part::Data(4096)]);
        let long = desk.directory.path().join("n".repeat(len));
        copy(&desk.source, &long, &usual(), &mut ()).unwrap_or_else(|error| panic!("{len}: {error}"));
        assert_same_content(&desk.source, &long);
        assert_eq!(fs::read_dir(desk.directory.path()).unwrap().count(), 2, "nothing else is left");
    }
}

#[test]
fn an_interrupted_copy_leaves_the_partial_file_and_says_so() {
    let desk = Desk::with(&[Part::Data(40 * MIB)]);
    let mut observer = Midway::new(|| Err(Error::new(ErrorKind::Interrupted, "copy")));
    let error = copy(&desk.source, &desk.destination, &usual(), &mut observer).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Interrupted);
    let advice = error.advice().unwrap();
    assert!(advice.contains("copy.img.partial") && advice.contains("bytes") && advice.contains("delete"), "{error}");
    assert!(desk.partial().exists() && !desk.destination.exists());
    assert_eq!(desk.copy(usual()).unwrap_err().kind(), ErrorKind::AlreadyExists);
}

#[test]
fn a_copy_stopped_before_its_first_byte_leaves_nothing() {
    let desk = Desk::with(&[Part::Data(4096)]);
    let mut observer = After(Some(|| Err(Error::new(ErrorKind::Interrupted, "copy"))));
    let error = copy(&desk.source, &desk.destination, &usual(), &mut observer).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Interrupted);
    desk.assert_untouched();
}

/// Copies a file of 40 MiB while `change` happens to it, and expects that to be noticed. On Windows nothing can happen to it.
#[cfg(unix)]
fn changed_while_copied(change: impl FnOnce(&Path), words: &str) {
    let desk = Desk::with(&[Part::Data(40 * MIB)]);
    let source = desk.source.clone();
    let mut observer = Midway::new(move || {
        change(&source);
        Ok(())
    });
    let options = CopyOptions { verify: true, ..usual() };
    let error = copy(&desk.source, &desk.destination, &options, &mut observer).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Changed, "{error}");
    assert!(error.to_string().contains(words) && error.to_string().contains("copy.img.partial"), "{error}");
    assert!(desk.partial().exists() && !desk.destination.exists());
}

#[cfg(unix)]
#[test]
fn growth_of_the_source_is_noticed() {
    let grow = |source: &Path| {
        std::io::Write::write_all(&mut File::options().append(true).open(source).unwrap(), &[1; 512]).unwrap();
    };
    changed_while_copied(grow, "grew from 41943040");
}

#[cfg(unix)]
#[test]
fn shrinking_of_the_source_is_noticed() {
    changed_while_copied(
        |source| File::options().write(true).open(source).unwrap().set_len(4096).unwrap(),
        "shrank from 41943040 to 4096",
    );
}

#[cfg(unix)]
#[test]
fn writing_to_the_source_is_noticed_when_its_length_stays() {
    changed_while_copied(
        |source| layout::write_at(&File::options().write(true).open(source).unwrap(), 39 * MIB, b"changed"),
        "it was changed while it was copied",
    );
}

#[test]
fn an_observer_that_panics_ends_the_copy_and_its_workers() {
    let desk = Desk::with(&[Part::Data(40 * MIB)]);
    let ended = std::panic::catch_unwind(|| {
        let mut observer = Midway::new(|| panic!("an observer with a defect"));
        copy(&desk.source, &desk.destination, &usual(), &mut observer)
    });
    assert!(ended.is_err() && !desk.destination.exists());
}
