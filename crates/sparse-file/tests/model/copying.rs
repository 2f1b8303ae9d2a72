//! Copies onto and from a simulated volume, and forecasts that come true.

use proptest::prelude::*;
use sparse_file::forecast::{Forecast, Risk};
use sparse_file::{Access, Allocation, CopyMethod, CopyOptions, ErrorKind, SparseFile, copy_file};

use crate::layout::{self, DENSE, assert_same_content};
use crate::{KIB, MIB, REAL, again, content, directory, map, volume};

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_copy_costs_what_was_forecast_and_comes_back_the_same(layout in layout::any(), detect_zeroes: bool) {
        let dir = directory();
        let original = dir.path().join("disk.img");
        layout.write(&original);
        let source = SparseFile::open(&original, Access::ReadOnly).unwrap();
        let forecasts = Forecast::of(map(&source).into_iter().map(Ok), [4 * KIB, 64 * KIB, 256 * KIB]).unwrap();
        for forecast in forecasts {
            let name = forecast.cluster_bytes.to_string();
            let volume = volume(&dir.path().join(&name), forecast.cluster_bytes, 64 * MIB);
            let report = volume.copy_file(&source, "disk.img".as_ref(), &CopyOptions::default(), &mut ()).unwrap();
            assert_eq!(report.method, CopyMethod::Extents);
            let copy = volume.open_file("disk.img".as_ref(), Access::ReadOnly).unwrap();
            let figures = copy.model_figures().unwrap();
            assert_eq!((figures.runs, copy.allocated_bytes().unwrap()), (forecast.runs, forecast.allocated_bytes));
            assert_eq!(report.allocated_bytes, forecast.allocated_bytes);
            assert!(content(&copy) == content(&source));
            // And back.
            let back = dir.path().join(name + ".img");
            let detect_zeroes = detect_zeroes && !DENSE;
            let options = CopyOptions { detect_zeroes, dense: DENSE, verify: true, ..CopyOptions::default() };
            let report = copy_file(&copy, &back, &options, &mut ()).unwrap();
            assert!(report.verified);
            assert_same_content(&original, &back);
        }
    }
}

#[test]
fn a_copy_onto_a_full_volume_leaves_nothing_of_its_name() {
    let dir = directory();
    let volume = volume(&dir.path().join("model"), 4096, MIB);
    let path = dir.path().join("disk.img");
    let source = SparseFile::create(&path, 4 * MIB, REAL).unwrap();
    source.write_at(0, &vec![1; 2 << 20]).unwrap();
    let error = volume.copy_file(&source, "disk.img".as_ref(), &CopyOptions::default(), &mut ()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NoSpace, "{error}");
    assert_eq!(volume.open_file("disk.img".as_ref(), Access::Inspect).unwrap_err().kind(), ErrorKind::NotFound);
    assert_eq!(volume.figures().free_bytes, MIB);
    for options in
        [CopyOptions { keep_times: true, ..Default::default() }, CopyOptions { dense: true, ..Default::default() }]
    {
        volume.copy_file(&source, "disk.img".as_ref(), &options, &mut ()).unwrap_err();
        assert_eq!(volume.figures().free_bytes, MIB);
    }
}

#[test]
fn a_copy_on_the_volume_and_a_dense_one() {
    let dir = directory();
    let volume = volume(dir.path(), 64 * KIB, 8 * MIB);
    let source = volume.create_file("a.img".as_ref(), MIB, Allocation::Sparse).unwrap();
    source.write_at(300 * KIB, &[9; 5000]).unwrap();
    let options = CopyOptions { dense: true, verify: true, ..CopyOptions::default() };
    let report = volume.copy_file(&source, "b.img".as_ref(), &options, &mut ()).unwrap();
    assert_eq!((report.allocated_bytes, report.holes_kept_bytes, report.verified), (MIB, 0, true));
    let report = volume.copy_file(&source, "c.img".as_ref(), &CopyOptions::default(), &mut ()).unwrap();
    assert_eq!(report.allocated_bytes, source.allocated_bytes().unwrap());
    let copy = volume.open_file("c.img".as_ref(), Access::Inspect).unwrap();
    assert!(content(&copy) == content(&source));
    let error = volume.copy_file(&source, "a.img".as_ref(), &CopyOptions::default(), &mut ()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::AlreadyExists, "{error}");
}

#[test]
fn law2_a_copy_is_saved_when_it_is_done_unless_that_is_left_to_whoever_saves_the_volume() {
    let dir = directory();
    let volume = volume(dir.path(), 4 * KIB, 16 * MIB);
    for name in ["a.img", "a.img:stream"] {
        let file = volume.create_file(name.as_ref(), MIB, Allocation::Sparse).unwrap();
        file.write_at(300 * KIB, &[9; 5000]).unwrap();
    }
    let source = volume.open_file("a.img".as_ref(), Access::ReadOnly).unwrap();
    let saved = || std::fs::read(dir.path().join("volume.state")).unwrap();
    for (no_flush, name) in [(true, "b.img"), (false, "c.img")] {
        let options = CopyOptions { no_flush, verify: true, ..CopyOptions::default() };
        let report = volume.copy_file(&source, name.as_ref(), &options, &mut ()).unwrap();
        assert_eq!((report.flushed, report.verified, report.streams_copied), (!no_flush, true, 1));
        let so_far = saved();
        volume.sync().unwrap();
        assert_eq!(saved() != so_far, no_flush, "{name}: whether something was left to save");
    }
    let original = content(&source);
    drop((source, volume));
    let volume = again(dir.path());
    for name in ["b.img", "c.img", "b.img:stream", "c.img:stream"] {
        assert!(content(&volume.open_file(name.as_ref(), Access::ReadOnly).unwrap()) == original, "{name}");
    }
}

#[test]
fn risk_names_are_stable() {
    let names = [Risk::Fits, Risk::Depends, Risk::TooMany, Risk::Impossible].map(Risk::name);
    assert_eq!(names, ["fits", "depends", "too_many", "impossible"]);
}

#[test]
fn named_streams_come_along_each_with_its_own_holes_and_mark() {
    let dir = directory();
    let volume = volume(&dir.path().join("model"), 4 * KIB, 16 * MIB);
    drop(volume.create_file("disk.img".as_ref(), MIB, Allocation::Sparse).unwrap());
    let sparse = volume.create_file("disk.img:sparse".as_ref(), 2 * MIB, Allocation::Sparse).unwrap();
    sparse.write_at(MIB, &[3; 4096]).unwrap();
    let plain = volume.create_file("disk.img:plain".as_ref(), MIB, Allocation::Sparse).unwrap();
    plain.set_sparse(false).unwrap();
    plain.write_at(7, &[4; 100]).unwrap();
    drop((sparse, plain));
    let source = volume.open_file("disk.img".as_ref(), Access::ReadOnly).unwrap();
    let options = CopyOptions { verify: true, ..CopyOptions::default() };
    let report = volume.copy_file(&source, "copy.img".as_ref(), &options, &mut ()).unwrap();
    assert_eq!((report.streams_copied, report.stream_bytes, report.streams_left_out), (2, 3 * MIB, 0));
    let copy = volume.open_file("copy.img".as_ref(), Access::ReadOnly).unwrap();
    let details = copy.ntfs_details().unwrap().unwrap();
    assert_eq!(details.streams, source.ntfs_details().unwrap().unwrap().streams);
    let told: Vec<_> = details.streams.iter().map(|stream| (stream.name.as_str(), stream.sparse)).collect();
    assert_eq!(told, [("sparse", Some(true)), ("plain", Some(false))]);
    assert!(details.streams[0].allocated_bytes < Some(256 * KIB), "{details:?}");
    assert_eq!(details.streams[1].allocated_bytes, Some(MIB));
    for name in ["sparse", "plain"] {
        let [one, other] = ["disk.img", "copy.img"]
            .map(|file| content(&volume.open_file(format!("{file}:{name}").as_ref(), Access::ReadOnly).unwrap()));
        assert!(one == other, "{name}");
    }
    // A stream is copied alone, and becomes a file or another stream.
    let stream = volume.open_file("copy.img:sparse".as_ref(), Access::ReadOnly).unwrap();
    assert_eq!(stream.ntfs_details().unwrap().unwrap().streams, []);
    for path in ["alone.img", "copy.img:again"] {
        let report = volume.copy_file(&stream, path.as_ref(), &options, &mut ()).unwrap();
        assert_eq!((report.bytes_copied, report.streams_copied, report.streams_left_out), (128 * KIB, 0, 0), "{path}");
    }
    // Where there are no streams they are left out, which is told.
    let options = CopyOptions { dense: DENSE, ..options };
    let report = copy_file(&source, &dir.path().join("out.img"), &options, &mut ()).unwrap();
    assert_eq!((report.streams_copied, report.streams_left_out), (0, 2));
}

#[test]
fn law7_a_stream_that_somebody_writes_to_is_not_copied_and_nothing_is_left() {
    let dir = directory();
    let volume = volume(dir.path(), 4 * KIB, 16 * MIB);
    drop(volume.create_file("disk.img".as_ref(), MIB, Allocation::Sparse).unwrap());
    drop(volume.create_file("disk.img:log".as_ref(), MIB, Allocation::Sparse).unwrap());
    let _writer = volume.open_file("disk.img:log".as_ref(), Access::ReadWrite).unwrap();
    let source = volume.open_file("disk.img".as_ref(), Access::ReadOnly).unwrap();
    let error = volume.copy_file(&source, "copy.img".as_ref(), &CopyOptions::default(), &mut ()).unwrap_err();
    assert_eq!((error.kind(), error.path()), (ErrorKind::InUse, Some("disk.img:log")), "{error}");
    assert_eq!(volume.open_file("copy.img".as_ref(), Access::Inspect).unwrap_err().kind(), ErrorKind::NotFound);
}

#[test]
fn details_are_those_of_the_stream_and_its_volume() {
    let dir = directory();
    let volume = volume(dir.path(), 4 * KIB, 16 * MIB);
    let file = volume.create_file("disk.img".as_ref(), MIB, Allocation::Sparse).unwrap();
    let details = file.ntfs_details().unwrap().unwrap();
    assert!(details.attributes.contains(&"sparse"), "{details:?}");
    for flag in ["sparse files", "named streams", "compression", "change journal"] {
        assert!(details.volume_flags.contains(&flag), "{details:?}");
    }
    assert_eq!((details.valid_bytes, details.streams.len()), (Some(MIB), 0));
    drop(file);
    let stream = volume.create_file("disk.img:plain".as_ref(), MIB, Allocation::Sparse).unwrap();
    stream.set_sparse(false).unwrap();
    assert!(!stream.ntfs_details().unwrap().unwrap().attributes.contains(&"sparse"));
    // Open for writing elsewhere, it is still looked at.
    let file = volume.open_file("disk.img".as_ref(), Access::Inspect).unwrap();
    let streams = file.ntfs_details().unwrap().unwrap().streams;
    assert_eq!((streams[0].sparse, streams[0].allocated_bytes), (Some(false), Some(MIB)));
}
