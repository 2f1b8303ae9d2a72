//! A file system without holes: FUSE, served by `nbdfuse` from an `nbdkit` plugin that cannot trim.

use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use sparse_file::{Ability, Access, ErrorKind, MapKind, SparseFile, ZeroEffect, ZeroMode};
use tempfile::TempDir;

use crate::files::range;
use test_places::{KIB, MIB, run, skipped};

/// One file of 4 MiB on a FUSE file system without fallocate.
struct Fuse {
    image: PathBuf,
    at: PathBuf,
    server: Child,
    _dir: TempDir,
}

impl Fuse {
    fn start() -> Option<Self> {
        let dir = tempfile::tempdir().unwrap();
        let at = dir.path().join("mount");
        std::fs::create_dir(&at).unwrap();
        let backing = dir.path().join("backing");
        std::fs::File::create(&backing).unwrap().set_len(4 * MIB).unwrap();
        let server = Command::new("nbdfuse")
            .arg(&at)
            .arg("--command")
            .args(["nbdkit", "--exit-with-parent", "-s", "split", backing.to_str().unwrap()])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::inherit())
            .spawn();
        let mut server = match server {
            Ok(server) => server,
            Err(error) => {
                skipped(&format!("nbdfuse: {error}"));
                return None;
            }
        };
        let image = at.join("nbd");
        while !image.exists() {
            if let Some(status) = server.try_wait().unwrap() {
                skipped(&format!("nbdfuse ended with {status}"));
                return None;
            }
            std::thread::yield_now();
        }
        Some(Self { image, at, server, _dir: dir })
    }
}

impl Drop for Fuse {
    fn drop(&mut self) {
        if run("fusermount3", &["-u", self.at.to_str().unwrap()]).is_err() {
            let _ = run("umount", &[self.at.to_str().unwrap()]);
        }
        let _ = self.server.wait();
    }
}

#[test]
fn law10_a_file_system_without_holes_is_told_as_such() {
    let Some(fuse) = Fuse::start() else { return };
    let file = SparseFile::open(&fuse.image, Access::ReadWrite).unwrap();
    assert_eq!(file.len_bytes(), 4 * MIB);
    let support = file.support().unwrap();
    assert_eq!((support.punch, support.map), (Ability::No, MapKind::None), "{support:?}");
    assert!(support.file_system.starts_with("fuse"), "{support:?}");

    file.write_at(0, &vec![7; 64 << 10]).unwrap();
    let error = file.punch(range(0, 64 * KIB)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported, "{error}");
    assert!(error.to_string().contains("keep the image on"), "{error}");
    // nbdfuse answers ZERO_RANGE by itself: the ladder ends there, and never pretends to have freed anything.
    let free = ZeroMode { may_unmap: true, fast_only: false };
    assert_eq!(file.zero(range(0, 64 * KIB), free).unwrap(), ZeroEffect::Marked);
    let mut bytes = vec![1; 64 << 10];
    file.read_at(0, &mut bytes).unwrap();
    assert!(sparse_file::is_zero(&bytes));

    assert_eq!(file.allocate(range(0, MIB)).unwrap_err().kind(), ErrorKind::Unsupported);
    let ledger = file.ledger().unwrap();
    assert_eq!((ledger.data_bytes, ledger.hole_bytes), (4 * MIB, 0));
    let alone = file.sole_opener().unwrap();
    assert!(alone.is_alone().unwrap());
    eprintln!("leases on FUSE: {}", alone.is_enforced());
}
