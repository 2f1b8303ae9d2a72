//! Facts 1.7: what Samba's tests of these controls assert against Windows, row by row. Our own code, their numbers;
//! where they tolerate two answers, the one of NTFS.

use fsa::{Access, Attributes, CreateOptions, Disposition, Status, codes};

use crate::world::{KIB, MIB, World, data, pair, pairs};

const C: u64 = 64 * KIB;

#[test]
fn fsa_1_7_sparse_file_flag() {
    let mut w = World::new();
    let id = w.file("\\f");
    assert_eq!(w.set_sparse(id, true), Status::SUCCESS);
    assert!(w.is_marked(id));
    assert_eq!(w.set_sparse(id, false), Status::SUCCESS);
    assert!(!w.is_marked(id));
}

#[test]
fn fsa_1_7_sparse_file_attr() {
    let mut w = World::new();
    let mut options = CreateOptions::new(Access::ALL, Disposition::Create);
    options.attributes = Attributes::SPARSE_FILE | Attributes::NORMAL;
    let id = w.create("\\f", &options).unwrap().0;
    assert!(!w.is_marked(id));
}

#[test]
fn fsa_1_7_sparse_dir_flag() {
    let mut w = World::new();
    let id = w.directory("\\d");
    assert_eq!(w.set_sparse(id, true), Status::INVALID_PARAMETER);
}

#[test]
fn fsa_1_7_sparse_set_nobuf() {
    let mut w = World::new();
    let id = w.file("\\f");
    assert_eq!(w.control(id, codes::SET_SPARSE, &[], &mut []), (Status::SUCCESS, 0));
    assert!(w.is_marked(id));
}

#[test]
fn fsa_1_7_sparse_set_oversize() {
    let mut w = World::new();
    let id = w.file("\\f");
    for (first, marked) in [(1, true), (0, false)] {
        let mut input = [0xAA; 100];
        input[0] = first;
        assert_eq!(w.control(id, codes::SET_SPARSE, &input, &mut []), (Status::SUCCESS, 0));
        assert_eq!(w.is_marked(id), marked);
    }
}

#[test]
fn fsa_1_7_sparse_qar() {
    let mut w = World::new();
    let id = w.file("\\f");
    assert_eq!((w.qar(id, 0, 0), w.qar(id, 0, 1024)), (vec![], vec![]));
    w.set_sparse(id, true);
    assert_eq!((w.qar(id, 0, 0), w.qar(id, 0, 1024)), (vec![], vec![]));
    w.put(id, 4096, 1024);
    assert_eq!(w.qar(id, 0, 4096), [(0, 4096)]);
    assert_eq!(w.qar(id, 0, 8192), [(0, 5120)]);
}

#[test]
fn fsa_1_7_sparse_qar_malformed() {
    let mut w = World::new();
    let id = w.sparse("\\f");
    assert_eq!(w.qar_status(id, &pair(0, 1024), 0), (Status::SUCCESS, 0));
    w.put(id, 0, 1024);
    assert_eq!(w.qar_status(id, &pair(0, 1024), 0), (Status::BUFFER_TOO_SMALL, 0));
    assert_eq!(w.qar_status(id, &[pair(0, 1024), vec![0; 16]].concat(), 1024), (Status::SUCCESS, 16));
    assert_eq!(w.qar_status(id, &[], 1024), (Status::INVALID_PARAMETER, 0));
}

#[test]
fn fsa_1_7_sparse_qar_truncated() {
    let mut w = World::new();
    let id = w.sparse("\\f");
    w.put(id, 0, KIB);
    w.put(id, MIB, KIB);
    let mut ask = |output: usize| {
        let mut buffer = vec![0; output];
        let (status, len) = w.control(id, codes::QUERY_ALLOCATED_RANGES, &pair(0, 2 * MIB), &mut buffer);
        (status, pairs(&buffer[..len]).iter().map(|range| range.0).collect::<Vec<_>>())
    };
    assert_eq!(ask(16), (Status::BUFFER_OVERFLOW, vec![0]));
    assert_eq!(ask(31), (Status::BUFFER_OVERFLOW, vec![0]));
    assert_eq!(ask(32), (Status::SUCCESS, vec![0, MIB]));
}

#[test]
fn fsa_1_7_sparse_punch() {
    let mut w = World::new();
    let id = w.file("\\f");
    w.put(id, 0, 4096);
    assert_eq!(w.zero(id, 0, 4096), Status::SUCCESS);
    assert_eq!(w.qar(id, 0, 4096), [(0, 4096)]);
    w.set_sparse(id, true);
    assert_eq!(w.qar(id, 0, 4096), [(0, 4096)]);
    assert_eq!(w.zero(id, 0, 4096), Status::SUCCESS);
    assert_eq!(w.qar(id, 0, 4096), []);
    assert!(w.reads_zero(id, 0, 4096));
    w.set_sparse(id, false);
    assert_eq!(w.qar(id, 0, 4096), [(0, 4096)]);
    assert!(w.reads_zero(id, 0, 4096));
}

#[test]
fn fsa_1_7_sparse_hole_dealloc() {
    let mut w = World::new();
    let id = w.sparse("\\f");
    w.put(id, 0, MIB);
    assert_eq!(w.qar(id, 0, MIB), [(0, MIB)]);
    let mut first_hole = None;
    for hole in (4096..=MIB).step_by(4096) {
        assert_eq!(w.zero(id, 0, hole), Status::SUCCESS);
        let ranges = w.qar(id, 0, MIB);
        if ranges != [(0, MIB)] {
            assert_eq!(ranges, [(hole, MIB - hole)]);
            first_hole = Some(hole);
            break;
        }
    }
    assert_eq!(first_hole, Some(C));
    // Two punches of a half each.
    let id = w.sparse("\\g");
    w.put(id, 0, MIB);
    assert_eq!((w.zero(id, 0, C / 2), w.zero(id, C / 2, C)), (Status::SUCCESS, Status::SUCCESS));
    assert_eq!(w.qar(id, 0, MIB), [(0, MIB)]);
    // A new file with a kilobyte behind the first unit.
    let id = w.sparse("\\h");
    w.put(id, C, KIB);
    assert_eq!(w.qar(id, 0, MIB), [(0, 66_560)]);
    w.set_sparse(id, false);
    assert_eq!(w.qar(id, 0, MIB), [(0, 66_560)]);
}

#[test]
fn fsa_1_7_sparse_compressed() {
    let mut w = World::new();
    let id = w.sparse("\\f");
    assert_eq!(w.compress(id, 2), Status::SUCCESS);
    w.put(id, 0, MIB);
    assert_eq!(w.qar(id, 0, MIB), [(0, MIB)]);
    assert_eq!(w.zero(id, 0, MIB), Status::SUCCESS);
    assert_eq!(w.qar(id, 0, MIB), []);
}

#[test]
fn fsa_1_7_sparse_copy_chunk() {
    // The server copies by reading and writing.
    let mut w = World::new();
    let source = w.sparse("\\s");
    w.put(source, MIB, KIB);
    let target = w.file("\\t");
    for chunk in (0..MIB + KIB).step_by(C as usize) {
        let bytes = w.bytes(source, chunk, C);
        w.write(target, chunk as i64, &bytes).unwrap();
    }
    assert!(w.reads_zero(target, 0, MIB) && w.reads_data(target, MIB, KIB));
    assert_eq!(w.qar(target, 0, 2 * MIB), [(0, MIB + KIB)]);
    assert_eq!(w.allocated(target), MIB + 4096);
}

#[test]
fn fsa_1_7_sparse_punch_invalid() {
    let mut w = World::new();
    let id = w.file("\\f");
    w.put(id, 0, 4096);
    for sparse in [false, true] {
        assert_eq!(w.set_sparse(id, sparse), Status::SUCCESS);
        for (from, to) in [(4096, 4104), (8192, 8200), (4095, 4095)] {
            assert_eq!(w.zero(id, from, to), Status::SUCCESS);
            assert_eq!(w.size(id), 4096);
        }
        assert_eq!(w.zero(id, 4096, 4095), Status::INVALID_PARAMETER);
        assert_eq!((w.qar(id, 0, 0), w.qar(id, 4096, 1024)), (vec![], vec![]));
    }
}

#[test]
fn fsa_1_7_sparse_perms() {
    use Access as A;
    let mut w = World::new();
    w.file("\\f");
    let mut answers = |accesses: &[Access], control: fn(&mut World, fsa::OpenId) -> Status| -> Vec<Status> {
        accesses
            .iter()
            .map(|&access| {
                let id = w.with_access("\\f", access);
                control(&mut w, id)
            })
            .collect()
    };
    let (ok, denied) = (Status::SUCCESS, Status::ACCESS_DENIED);
    let set =
        answers(&[A::WRITE_ATTRIBUTES, A::WRITE_DATA, A::APPEND_DATA, A::WRITE_EA], |w, id| w.set_sparse(id, true));
    assert_eq!(set, [ok, ok, ok, denied]);
    let query = answers(&[A::READ_DATA, A::READ_ATTRIBUTES, A::READ_EA], |w, id| w.qar_status(id, &pair(0, 1), 16).0);
    assert_eq!(query, [ok, denied, denied]);
    let zero = answers(&[A::WRITE_DATA, A::WRITE_ATTRIBUTES, A::APPEND_DATA, A::WRITE_EA], |w, id| w.zero(id, 0, 1));
    assert_eq!(zero, [ok, denied, denied, denied]);
}

#[test]
fn fsa_1_7_sparse_lock() {
    let mut w = World::new();
    let id = w.file("\\f");
    w.put(id, 0, 4096);
    let other = w.file("\\f");
    w.lock(other, 0, 4096, 0, true).unwrap();
    assert_eq!(w.set_sparse(id, true), Status::SUCCESS);
    assert_eq!(w.zero(id, 0, 4096), Status::FILE_LOCK_CONFLICT);
    assert_eq!(w.qar(id, 0, 4096), [(0, 4096)]);
    assert_eq!(w.zero(id, 4096, 8192), Status::SUCCESS);
    assert_eq!(w.qar(id, 4096, 4096), []);
}

#[test]
fn fsa_1_7_sparse_qar_ob1() {
    let mut w = World::new();
    let id = w.file("\\f");
    w.put(id, 0, 2 * C);
    assert_eq!(w.qar(id, 0, 2 * C - 1), [(0, 2 * C - 1)]);
    assert_eq!(w.qar(id, 0, 2 * C + 1), [(0, 2 * C)]);
    assert_eq!(w.qar(id, 1, 2 * C), [(1, 2 * C - 1)]);
    w.set_sparse(id, true);
    assert_eq!(w.zero(id, C, 2 * C), Status::SUCCESS);
    assert_eq!(w.qar(id, 0, C - 1), [(0, C - 1)]);
    assert_eq!(w.qar(id, 0, C + 1), [(0, C)]);
    assert_eq!(w.qar(id, 1, C), [(1, C - 1)]);
    assert_eq!(w.qar(id, C - 1, C), [(C - 1, 1)]);
    assert_eq!(w.qar(id, C + 1, C), []);
}

#[test]
fn fsa_1_7_sparse_qar_multi() {
    let mut w = World::new();
    let id = w.sparse("\\f");
    for i in 0..10 {
        w.put(id, 128 * KIB * i, 128 * KIB);
        assert_eq!(w.zero(id, 128 * KIB * i, 128 * KIB * i + C), Status::SUCCESS);
    }
    let want: Vec<_> = (0..10).map(|i| (128 * KIB * i + C, C)).collect();
    assert_eq!(w.qar(id, 0, 10 * 128 * KIB), want);
}

#[test]
fn fsa_1_7_sparse_qar_overflow() {
    let mut w = World::new();
    let id = w.sparse("\\f");
    w.put(id, 0, 1024);
    assert_eq!(w.qar_status(id, &pair(512, u64::MAX), 1024), (Status::INVALID_PARAMETER, 0));
}

#[test]
fn fsa_1_7_trim_simple() {
    let mut w = World::new();
    let id = w.file("\\f");
    w.put(id, 0, 2 * C);
    let second = w.bytes(id, C, C);
    assert_eq!(w.trim(id, &[(0, C)]), (Status::SUCCESS, 1));
    assert_eq!(w.bytes(id, C, C), second);
}

#[test]
fn fsa_1_7_compress_rows() {
    let mut w = World::new();
    // compress_file_flag
    let id = w.file("\\f");
    assert_eq!(w.compression(id), 0);
    assert_eq!((w.compress(id, 1), w.compression(id)), (Status::SUCCESS, 2));
    // compress_invalid_format, compress_invalid_buf
    assert_eq!(w.compress(id, 0x42), Status::INVALID_PARAMETER);
    assert_eq!(w.control(id, codes::SET_COMPRESSION, &[], &mut []).0, Status::INVALID_PARAMETER);
    assert_eq!(w.compression(id), 2);
    // compress_query_file_attr
    assert!(w.attributes(id).contains(Attributes::COMPRESSED));
    assert_eq!((w.compress(id, 0), w.compression(id)), (Status::SUCCESS, 0));
    assert!(!w.attributes(id).contains(Attributes::COMPRESSED));
    // compress_create_with_attr
    let mut options = CreateOptions::new(Access::ALL, Disposition::Create);
    options.attributes = Attributes::COMPRESSED;
    let id = w.create("\\g", &options).unwrap().0;
    assert_eq!(w.compression(id), 0);
    // compress_set_file_attr: accepted, changes nothing
    assert_eq!(w.set_attributes(id, Attributes::COMPRESSED | Attributes::SPARSE_FILE), Ok(()));
    assert_eq!((w.compression(id), w.is_marked(id)), (0, false));
    // compress_dir_inherit, compress_inherit_disable
    let directory = w.directory("\\d");
    assert_eq!(w.compress(directory, 1), Status::SUCCESS);
    let id = w.file("\\d\\f");
    assert_eq!(w.compression(id), 2);
    assert_eq!((w.compress(id, 0), w.compression(id)), (Status::SUCCESS, 0));
    let options = CreateOptions { no_compression: true, ..CreateOptions::new(Access::ALL, Disposition::Create) };
    let id = w.create("\\d\\g", &options).unwrap().0;
    assert_eq!(w.compression(id), 0);
    // compress_perms
    let weak = w.with_access("\\f", Access(Access::ALL.0 & !Access::WRITE_DATA.0));
    assert_eq!(w.compress(weak, 1), Status::ACCESS_DENIED);
    // compress_notsup_get, compress_notsup_set
    let mut fat = World::of(fsa::Options { kind: fsa::Kind::Fat32, ..fsa::Options::default() });
    let id = fat.file("\\f");
    assert_eq!(fat.compress(id, 1), Status::INVALID_DEVICE_REQUEST);
    assert_eq!(fat.control(id, codes::GET_COMPRESSION, &[], &mut [0; 2]).0, Status::INVALID_DEVICE_REQUEST);
}

#[test]
fn fsa_1_7_dup_extents_rows_are_refs_only() {
    let mut w = World::new();
    let id = w.sparse("\\f");
    w.put(id, 0, C);
    let input = [pair(id.0, 0), pair(C, C)].concat();
    for input in [&input[..], &input[..16], &[]] {
        let answer = w.control(id, codes::DUPLICATE_EXTENTS_TO_FILE, input, &mut []);
        assert_eq!(answer, (Status::INVALID_DEVICE_REQUEST, 0));
    }
    assert_eq!(w.bytes(id, 0, 2 * C), data(C));
}
