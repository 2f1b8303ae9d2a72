//! A volume as bytes and back.

use fsa::{Access, MemoryStore, Options, Status, Volume};
use proptest::prelude::*;

use crate::world::{KIB, MIB, World};

fn lively() -> World {
    let mut w = World::of(Options { extent_budget: Some(1000), max_file_bytes: Some(1 << 40), ..Options::default() });
    w.directory("\\d");
    let id = w.sparse("\\d\\f");
    w.put(id, 0, 200 * KIB);
    w.put(id, MIB, 10);
    w.zero(id, 64 * KIB, 128 * KIB);
    let stream = w.file("\\d\\f:s");
    w.put(stream, 0, 5000);
    w.end(stream, 9000);
    let compressed = w.file("\\c");
    w.compress(compressed, 2);
    w.put(compressed, 0, 100);
    w
}

#[test]
fn what_was_saved_is_restored() {
    let w = lively();
    let bytes = w.save();
    let mut again = World(Volume::restore(&bytes, w.store().clone()).unwrap());
    assert_eq!(again.save(), bytes);
    assert_eq!((again.free_clusters(), again.information()), (w.free_clusters(), w.information()));
    assert!(again.usn_records().eq(w.usn_records()));
    let id = again.open("\\D\\F", Access::ALL).unwrap();
    assert_eq!(again.qar(id, 0, 1 << 30), [(0, 64 * KIB), (128 * KIB, 128 * KIB), (MIB, 10)]);
    assert!(again.reads_data(id, 0, 64 * KIB) && again.reads_data(id, MIB, 10));
    let stream = again.open("\\d\\f:s", Access::ALL).unwrap();
    assert!(again.reads_data(stream, 0, 5000) && again.reads_zero(stream, 5000, 4000));
    assert_eq!((again.valid(stream), again.size(stream)), (5000, 9000));
    let compressed = again.open("\\c", Access::ALL).unwrap();
    assert_eq!(again.compression(compressed), 2);
    again.put(id, 64 * KIB, 64 * KIB);
    assert_eq!(again.qar(id, 0, 256 * KIB), [(0, 256 * KIB)]);
}

#[test]
fn opens_and_what_they_announced_are_not_saved() {
    let mut w = lively();
    let id = w.open("\\c", Access::ALL).unwrap();
    w.lock(id, 0, 1, 0, true).unwrap();
    w.set_disposition(id, true).unwrap();
    let mut again = World(Volume::restore(&w.save(), w.store().clone()).unwrap());
    assert_eq!(again.read(id, 0, &mut [0]), Err(Status::INVALID_HANDLE));
    let new = again.open("\\c", Access::ALL).unwrap();
    assert!(new.0 > id.0, "a number is never used twice");
    assert_eq!(again.write(new, 0, &[1]), Ok(1));
}

/// The checksum that the head holds, to get past it.
fn seal(bytes: &mut [u8]) {
    if bytes.len() >= 20 {
        let sum = bytes[20..]
            .iter()
            .fold(0xCBF2_9CE4_8422_2325_u64, |hash, &byte| (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01B3));
        bytes[12..20].copy_from_slice(&sum.to_le_bytes());
    }
}

fn restore(bytes: &[u8]) -> Result<Volume, fsa::RestoreError> {
    Volume::restore(bytes, MemoryStore::new(4096))
}

#[test]
fn damage_is_noticed() {
    let bytes = lively().save();
    for len in 0..bytes.len() {
        assert!(restore(&bytes[..len]).is_err(), "cut off at {len}");
        let mut cut = bytes[..len].to_vec();
        seal(&mut cut);
        assert!(restore(&cut).is_err(), "cut off at {len}, with the right checksum");
        let mut flipped = bytes.clone();
        flipped[len] ^= 1;
        assert!(restore(&flipped).is_err(), "changed at {len}");
    }
    let mut longer = [bytes.clone(), vec![0]].concat();
    seal(&mut longer);
    let error = restore(&longer).unwrap_err();
    assert_eq!(error.to_string(), "not a saved volume: something follows its end");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, ..ProptestConfig::default() })]

    #[test]
    fn no_bytes_make_a_panic(mut bytes in proptest::collection::vec(any::<u8>(), 0..400), sealed in any::<bool>()) {
        if sealed && bytes.len() > 20 {
            bytes[..12].copy_from_slice(b"FSAVOLUM\x01\0\0\0");
            seal(&mut bytes);
        }
        let _ = restore(&bytes);
    }

    #[test]
    fn a_changed_volume_is_refused_or_whole(
        changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
    ) {
        let mut bytes = lively().save();
        for (at, value) in changes {
            let at = at.index(bytes.len());
            bytes[at] = value;
        }
        seal(&mut bytes);
        if let Ok(volume) = restore(&bytes) {
            // Whatever was accepted is a volume: it saves the same again, and works.
            let saved = volume.save();
            prop_assert_eq!(restore(&saved).unwrap().save(), saved);
            let mut w = World(volume);
            for path in ["\\d\\f", "\\d\\f:s", "\\c", "\\new"] {
                let options = fsa::CreateOptions::new(Access::ALL, fsa::Disposition::OpenIf);
                let Ok((id, _)) = w.create(path, &options) else { continue };
                let _ = w.write(id, 100_000, &[1; 100]);
                let _ = w.set_end_of_file(id, 50_000);
                let _ = w.zero(id, 0, 1 << 40);
                let _ = w.compress(id, 2);
                let _ = w.set_disposition(id, true);
                let _ = w.close(id);
            }
        }
    }
}
