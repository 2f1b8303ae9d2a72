//! Copies onto and from a simulated volume, and forecasts that come true.

use proptest::prelude::*;
use sparse_file::forecast::{Forecast, Risk};
use sparse_file::{Access, Allocation, CopyMethod, CopyOptions, ErrorKind, SparseFile, copy_file};

use crate::layout::{self, assert_same_content};
use crate::{KIB, MIB, content, directory, map, volume};

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
            let options = CopyOptions { detect_zeroes, verify: true, ..CopyOptions::default() };
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
    let source = SparseFile::create(&path, 4 * MIB, Allocation::Sparse).unwrap();
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
fn risk_names_are_stable() {
    let names = [Risk::Fits, Risk::Depends, Risk::TooMany, Risk::Impossible].map(Risk::name);
    assert_eq!(names, ["fits", "depends", "too_many", "impossible"]);
}
