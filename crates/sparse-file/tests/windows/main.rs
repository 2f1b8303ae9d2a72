//! The Windows half, called for real. It runs under Wine, whose volumes have no sparse files: what is proven is the calls, the
//! refusals (law 10), and everything that needs no hole. What needs NTFS is proven against the model.
#![cfg(windows)]

use std::fs::{self, File};
use std::os::windows::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use sparse_file::{
    Ability, Access, Allocation, ByteRange, CopyOptions, Error, ErrorKind, ExtentKind, MapKind, SparseFile, ZeroEffect,
    ZeroMode, copy, decompress,
};
use tempfile::TempDir;

const MIB: u64 = 1 << 20;
const ERROR_SHARING_VIOLATION: i32 = 32;

/// A directory on a volume without sparse files; `None`, and a word, where there is another.
fn without_holes() -> Option<TempDir> {
    let dir = tempfile::tempdir().unwrap();
    let probe = SparseFile::create(&dir.path().join("probe"), 512, Allocation::Dense).unwrap();
    if probe.support().unwrap().punch == Ability::No {
        return Some(dir);
    }
    eprintln!("skipped: this volume has sparse files, so nothing is refused");
    None
}

fn dense(dir: &TempDir, len_bytes: u64) -> (PathBuf, SparseFile) {
    let path = dir.path().join("disk.img");
    let file = SparseFile::create(&path, len_bytes, Allocation::Dense).unwrap();
    (path, file)
}

#[track_caller]
fn assert_refused<T: std::fmt::Debug>(result: Result<T, Error>, kind: ErrorKind, words: &[&str]) {
    let error = result.unwrap_err();
    assert_eq!(error.kind(), kind, "{error}");
    for word in words {
        assert!(error.to_string().contains(word), "{word}: {error}");
    }
    assert!(error.path().is_some(), "{error}");
    assert!(!error.to_string().contains("ext4"), "advice for another system: {error}");
}

#[test]
fn law10_a_sparse_image_on_a_volume_without_holes_is_refused_and_leaves_nothing() {
    let Some(dir) = without_holes() else { return };
    let path = dir.path().join("disk.img");
    let refused = SparseFile::create(&path, MIB, Allocation::Sparse);
    assert_refused(refused, ErrorKind::Refused, &["no holes", "NTFS or ReFS", "--dense"]);
    assert!(!path.exists());
}

#[test]
fn a_dense_image_occupies_its_length_and_reads_as_zeroes() {
    let dir = tempfile::tempdir().unwrap();
    let (path, file) = dense(&dir, 8 * MIB);
    assert!(file.allocated_bytes().unwrap() >= 8 * MIB);
    let mut bytes = vec![1; 8 << 20];
    file.read_at(0, &mut bytes).unwrap();
    assert!(sparse_file::is_zero(&bytes));
    file.write_at(3 * MIB + 7, &[9; 5000]).unwrap();
    file.sync().unwrap();
    assert_eq!(fs::metadata(&path).unwrap().len(), 8 * MIB);
    assert_eq!(fs::read(&path).unwrap()[3 << 20..][7..5007], [9; 5000]);
    assert!(file.host_free_bytes().unwrap() > MIB);
    let ledger = file.ledger().unwrap();
    assert_eq!((ledger.apparent_bytes, ledger.data_bytes + ledger.hole_bytes), (8 * MIB, 8 * MIB), "law 6");
}

#[test]
fn what_the_volume_cannot_is_not_supported_and_changes_nothing() {
    let Some(dir) = without_holes() else { return };
    let (path, file) = dense(&dir, MIB);
    file.write_at(0, &[7; 4096]).unwrap();
    let whole = ByteRange::whole(MIB).unwrap();
    let before = fs::read(&path).unwrap();
    assert_refused(file.punch(whole), ErrorKind::Unsupported, &["not marked as sparse"]);
    assert_refused(file.set_sparse(true), ErrorKind::Unsupported, &["no sparse files", "NTFS or ReFS"]);
    assert!(!file.is_marked_sparse().unwrap(), "what the system agreed to and did not do is no mark");
    assert_refused(file.device_trim(whole), ErrorKind::Unsupported, &["Windows error 50"]);
    let fast = ZeroMode { may_unmap: true, fast_only: true };
    assert_refused(file.zero(whole, fast), ErrorKind::Unsupported, &["only by writing"]);
    assert_eq!(fs::read(&path).unwrap(), before);
    assert_eq!(file.zero(whole, ZeroMode { may_unmap: true, fast_only: false }).unwrap(), ZeroEffect::Written);
    let extents: Vec<_> = file.extents(whole).map(Result::unwrap).collect();
    assert!(extents.len() == 1 && extents[0].kind == ExtentKind::Data, "no map is data everywhere: {extents:?}");
    let support = file.support().unwrap();
    assert_eq!((support.map, support.clone), (MapKind::None, Ability::No), "{support:?}");
}

#[test]
fn law7_the_share_mode_is_the_lock() {
    let dir = tempfile::tempdir().unwrap();
    let (path, writer) = dense(&dir, MIB);
    for access in [Access::ReadOnly, Access::ReadWrite] {
        let error = SparseFile::open(&path, access).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InUse, "{error}");
        assert!(error.advice().is_some(), "{error}");
    }
    assert_eq!(SparseFile::open(&path, Access::Inspect).unwrap().len_bytes(), MIB);
    // Whoever knows nothing of us is kept out as well, by the system.
    let stranger = File::options().write(true).open(&path).unwrap_err();
    assert_eq!(stranger.raw_os_error(), Some(ERROR_SHARING_VIOLATION));
    assert!(writer.sole_opener().unwrap().is_alone().unwrap());
    drop(writer);
    let reader = SparseFile::open(&path, Access::ReadOnly).unwrap();
    assert!(SparseFile::open(&path, Access::ReadOnly).is_ok());
    assert_eq!(SparseFile::open(&path, Access::ReadWrite).unwrap_err().kind(), ErrorKind::InUse);
    drop(reader);
    // And the other way round.
    let stranger = File::options().read(true).write(true).share_mode(0).open(&path).unwrap();
    for access in [Access::Inspect, Access::ReadOnly, Access::ReadWrite] {
        assert_eq!(SparseFile::open(&path, access).unwrap_err().kind(), ErrorKind::InUse);
    }
    drop(stranger);
    SparseFile::open(&path, Access::ReadWrite).unwrap();
}

#[test]
fn law7_nobody_writes_to_a_source_while_it_is_copied() {
    struct Meddler(PathBuf, Vec<i32>);
    impl sparse_file::CopyObserver for Meddler {
        fn progress(&mut self, _: u64, _: u64) {}

        fn may_continue(&mut self) -> Result<(), Error> {
            self.1.extend(File::options().append(true).open(&self.0).unwrap_err().raw_os_error());
            Ok(())
        }
    }
    let dir = tempfile::tempdir().unwrap();
    let (path, file) = dense(&dir, 8 * MIB);
    drop(file);
    let mut meddler = Meddler(path.clone(), Vec::new());
    let options = CopyOptions { dense: true, verify: true, ..CopyOptions::default() };
    let report = copy(&path, &dir.path().join("copy.img"), &options, &mut meddler).unwrap();
    assert!(report.verified && !meddler.1.is_empty());
    assert!(meddler.1.iter().all(|&error| error == ERROR_SHARING_VIOLATION), "{:?}", meddler.1);
}

#[test]
fn law10_what_is_no_file_is_refused_with_the_reason() {
    let dir = tempfile::tempdir().unwrap();
    let open = |path: &Path| SparseFile::open(path, Access::Inspect);
    assert_refused(open(dir.path()), ErrorKind::Refused, &["it is a directory", "name a file in it"]);
    assert_refused(open(Path::new("NUL")), ErrorKind::Refused, &["device"]);
    assert_refused(open(&dir.path().join("missing.img")), ErrorKind::NotFound, &["no such file", "create it first"]);
    assert_refused(open(&dir.path().join("missing\\disk.img")), ErrorKind::NotFound, &["its directory does not exist"]);
    assert_refused(copy(dir.path(), &dir.path().join("c"), &CopyOptions::default(), &mut ()), ErrorKind::Refused, &[]);
}

#[test]
fn create_never_touches_what_is_there() {
    let dir = tempfile::tempdir().unwrap();
    let there = dir.path().join("there");
    fs::write(&there, "precious").unwrap();
    let create = |path: &Path| SparseFile::create(path, MIB, Allocation::Dense);
    assert_refused(create(&there), ErrorKind::AlreadyExists, &["never overwritten"]);
    assert_refused(create(dir.path()), ErrorKind::AlreadyExists, &["exists"]);
    assert_refused(create(&dir.path().join("missing\\disk.img")), ErrorKind::NotFound, &["directory"]);
    assert_refused(create(&dir.path().join("a*b")), ErrorKind::InvalidInput, &[]);
    assert_eq!(fs::read(&there).unwrap(), b"precious");
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
}

#[test]
fn a_file_with_the_read_only_attribute_is_not_opened_for_writing() {
    let dir = tempfile::tempdir().unwrap();
    let (path, file) = dense(&dir, MIB);
    drop(file);
    let mut permissions = fs::metadata(&path).unwrap().permissions();
    permissions.set_readonly(true);
    fs::set_permissions(&path, permissions).unwrap();
    let error = SparseFile::open(&path, Access::ReadWrite).unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::ReadOnly | ErrorKind::Refused), "{error}");
    assert!(error.to_string().contains("read-only") && error.advice().unwrap().contains("properties"), "{error}");
    let read = SparseFile::open(&path, Access::ReadOnly).unwrap();
    assert!(read.ntfs_details().unwrap().unwrap().attributes.contains(&"read-only"));
    // A copy has the attribute, and one that fails is removed all the same.
    let options = CopyOptions { dense: true, ..CopyOptions::default() };
    copy(&path, &dir.path().join("copy.img"), &options, &mut ()).unwrap();
    assert!(fs::metadata(dir.path().join("copy.img")).unwrap().permissions().readonly());
}

#[test]
fn names_as_long_as_the_volume_has_them_are_copied() {
    let dir = tempfile::tempdir().unwrap();
    let (path, file) = dense(&dir, MIB);
    drop(file);
    let options = CopyOptions { dense: true, ..CopyOptions::default() };
    for len in [247, 248, 255] {
        let long = dir.path().join("n".repeat(len));
        copy(&path, &long, &options, &mut ()).unwrap_or_else(|error| panic!("{len}: {error}"));
        assert_eq!(fs::metadata(&long).unwrap().len(), MIB);
    }
    // Beyond MAX_PATH too.
    let deep = dir.path().join("d".repeat(150)).join("e".repeat(150));
    fs::create_dir_all(&deep).unwrap();
    copy(&path, &deep.join("disk.img"), &options, &mut ()).unwrap();
    let too_long = dir.path().join("n".repeat(256));
    let error = copy(&path, &too_long, &options, &mut ()).unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::InvalidInput | ErrorKind::NotFound | ErrorKind::Io), "{error}");
}

#[test]
fn details_name_attributes_and_volume_flags() {
    let dir = tempfile::tempdir().unwrap();
    let (path, file) = dense(&dir, MIB);
    let details = file.ntfs_details().unwrap().expect("Windows tells");
    assert!(!details.attributes.contains(&"compressed"), "{details:?}");
    let support = file.support().unwrap();
    assert_eq!(details.volume_flags.contains(&"sparse files"), support.punch == Ability::Yes, "{details:?}");
    assert_eq!(details.streams, []);
    drop(file);
    assert!(!decompress(&path).unwrap(), "there was nothing to expand");
    assert_refused(decompress(dir.path()), ErrorKind::Refused, &["directory"]);
    assert_refused(decompress(&dir.path().join("missing")), ErrorKind::NotFound, &["no such file"]);
    let _held = SparseFile::open(&path, Access::ReadOnly).unwrap();
    assert_refused(decompress(&path), ErrorKind::InUse, &[]);
}

#[test]
fn what_the_system_says_is_said_in_its_words() {
    let dir = tempfile::tempdir().unwrap();
    let (_, file) = dense(&dir, MIB);
    let error = file.device_trim(ByteRange::whole(MIB).unwrap()).unwrap_err();
    let source = std::error::Error::source(&error).expect("the system's own error").to_string();
    let number = source.rsplit_once("(Windows error ").and_then(|(_, number)| number.strip_suffix(')')).unwrap();
    let system = std::io::Error::from_raw_os_error(number.parse().unwrap()).to_string();
    let (words, _) = system.split_once(" (os error").unwrap();
    assert!(source.starts_with(words.trim_end_matches(['.', ' '])), "{source} {system}");
}
