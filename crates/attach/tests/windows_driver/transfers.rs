//! Reads, writes and flushes, checked byte for byte.

use std::fs::File;
use std::io;
use std::ops::ControlFlow;
use std::os::windows::fs::FileExt;

use block_device::conformance::Fixture;
use block_device::{
    BlockDevice, ByteRange, Discard, DiscardEffect, Disk, Error, ErrorKind, Extent, ExtentKind, Geometry, LogicalBlock,
    ZeroEffect, ZeroMode,
};

use crate::machine::{Drive, Image, KIB, MIB, Random, dense, driver_is_loaded, read_only};
use crate::sys::InFlight;

const INVALID_PARAMETER: i32 = 87;
const WRITE_PROTECT: i32 = 19;

/// A drive as the other rooms see a disk: the laws are tested through it.
pub(crate) struct DriveDisk {
    file: File,
    len_bytes: u64,
}

impl DriveDisk {
    pub(crate) fn of(drive: &Drive) -> Disk {
        let len_bytes = drive.image.path.metadata().expect("the image").len();
        Disk::new(Self { file: drive.open(), len_bytes }).expect("a disk")
    }
}

impl BlockDevice for DriveDisk {
    fn geometry(&self) -> Geometry {
        let block = LogicalBlock::new(512).expect("a block");
        let discard = Discard { granularity_bytes: 512, effect: DiscardEffect::Ignored };
        let len_bytes = self.len_bytes;
        Geometry { len_bytes, logical_block: block, physical_block: block, discard, read_only: false }
    }

    fn read(&self, offset: u64, buffer: &mut [u8]) -> Result<(), Error> {
        match self.file.seek_read(buffer, offset) {
            Ok(len) if len == buffer.len() => Ok(()),
            Ok(_) => Err(Error::new(ErrorKind::Changed, "read")),
            Err(error) => Err(Error::from_io("read", error)),
        }
    }

    fn write(&self, offset: u64, data: &[u8]) -> Result<(), Error> {
        match self.file.seek_write(data, offset) {
            Ok(len) if len == data.len() => Ok(()),
            Ok(_) => Err(Error::new(ErrorKind::Io, "write")),
            Err(error) => Err(Error::from_io("write", error)),
        }
    }

    fn flush(&self) -> Result<(), Error> {
        self.file.sync_all().map_err(|error| Error::from_io("flush", error))
    }

    fn discard(&self, _: ByteRange) -> Result<(), Error> {
        Ok(())
    }

    fn write_zeroes(&self, range: ByteRange, mode: ZeroMode) -> Result<ZeroEffect, Error> {
        if mode.fast_only {
            return Err(Error::new(ErrorKind::Unsupported, "write zeroes"));
        }
        for piece in range.chunks(MIB) {
            self.write(piece.start(), &vec![0; piece.len() as usize])?;
        }
        Ok(ZeroEffect::Written)
    }

    fn extents(&self, range: ByteRange, visit: &mut dyn FnMut(Extent) -> ControlFlow<()>) -> Result<(), Error> {
        let _ = visit(Extent { range, kind: ExtentKind::Data });
        Ok(())
    }

    fn allocated_bytes(&self) -> Result<u64, Error> {
        Ok(self.len_bytes)
    }
}

block_device::conformance_suite!(a_drive_keeps_the_laws_of_a_disk, |len_bytes| {
    if !driver_is_loaded() {
        return None;
    }
    let drive = Image::new(len_bytes).drive();
    let disk = DriveDisk::of(&drive);
    Some(Fixture { keep: Box::new(drive), disk })
});

#[test]
fn overlapped_requests_of_several_threads_agree_with_a_byte_array() {
    const THREADS: u64 = 4;
    const REGION: u64 = 2 * MIB;
    const DEPTH: usize = 16;
    if !driver_is_loaded() {
        return;
    }
    let drive = Image::new(THREADS * REGION).drive();
    let file = drive.open_overlapped();
    let seed = 0x5EED_0002;
    let twins: Vec<Vec<u8>> = std::thread::scope(|scope| {
        let file = &file;
        let threads: Vec<_> = (0..THREADS)
            .map(|thread| {
                scope.spawn(move || {
                    let start = thread * REGION;
                    let mut random = Random(seed + thread);
                    let mut twin = vec![0; REGION as usize];
                    for round in 0..60 {
                        // The region in as many pieces as there are requests: they are in flight at once, and none
                        // meets another.
                        let piece = REGION / DEPTH as u64;
                        let mut flight = Vec::new();
                        for number in 0..DEPTH as u64 {
                            let sectors = 1 + random.below(32);
                            let at = number * piece + random.below(piece / 512 - sectors) * 512;
                            let len = (sectors * 512) as usize;
                            let writes = random.below(2) == 0;
                            let request = if writes {
                                let data = random.bytes(len);
                                twin[at as usize..at as usize + len].copy_from_slice(&data);
                                InFlight::write(file, start + at, data)
                            } else {
                                InFlight::read(file, start + at, len)
                            };
                            flight.push((request, at as usize, len, writes));
                        }
                        for (request, at, len, writes) in flight {
                            let (buffer, done) = request.wait().expect("a request inside the disk");
                            assert_eq!(done, len);
                            assert!(
                                buffer == twin[at..at + len],
                                "seed {seed:#x}, thread {thread}, round {round}: {} at {at}",
                                if writes { "write" } else { "read" }
                            );
                        }
                    }
                    twin
                })
            })
            .collect();
        threads.into_iter().map(|thread| thread.join().expect("no panic")).collect()
    });
    let twin = twins.concat();
    let (content, done) = InFlight::read(&file, 0, twin.len()).wait().expect("one read of everything");
    assert_eq!(done, twin.len());
    assert!(content == twin, "seed {seed:#x}: the drive differs");
    drop(file);
    assert!(drive.detach().bytes() == twin, "seed {seed:#x}: the image differs");
}

#[test]
fn requests_of_any_length_up_to_32_mib_arrive_whole() {
    if !driver_is_loaded() {
        return;
    }
    let mut random = Random(0x5EED_0003);
    let twin = random.bytes(32 << 20);
    let drive = Image::new(twin.len() as u64).drive();
    let file = drive.open();
    for len in [512, 4096, 64 << 10, (1 << 20) - 512, 1 << 20, 8 << 20, 32 << 20] {
        let offset = (twin.len() - len) as u64;
        assert_eq!(file.seek_write(&twin[twin.len() - len..], offset).expect("a write"), len);
        let mut back = vec![0; len];
        assert_eq!(file.seek_read(&mut back, offset).expect("a read"), len);
        assert!(back == twin[twin.len() - len..], "{len}");
    }
    drop(file);
    assert!(drive.detach().bytes() == twin);
}

#[test]
fn law5_requests_outside_the_disk_or_off_its_sectors_change_nothing() {
    if !driver_is_loaded() {
        return;
    }
    let before = Random(0x5EED_0004).bytes(MIB as usize);
    let drive = Image::of(&before).drive();
    let file = drive.open();
    let far = i64::MAX as u64;
    let wrong = [
        (MIB, 512),
        (MIB - 512, 1024),
        (0, MIB as usize + 512),
        (far - 511, 512),
        (far - 1023, 512),
        (1 << 63, 512),
        (1, 512),
        (511, 512),
        (0, 511),
        (0, 513),
        (256, 256),
        (MIB - 1, 1),
    ];
    for (offset, len) in wrong {
        let code = |result: io::Result<usize>| result.expect_err("refused").raw_os_error();
        assert_eq!(code(file.seek_read(&mut vec![0; len], offset)), Some(INVALID_PARAMETER), "read {offset} {len}");
        assert_eq!(code(file.seek_write(&vec![1; len], offset)), Some(INVALID_PARAMETER), "write {offset} {len}");
    }
    // Nothing is asked for, so nothing is wrong.
    assert_eq!(file.seek_read(&mut [], 0).expect("nothing"), 0);
    assert_eq!(file.seek_write(&[], 512).expect("nothing"), 0);
    assert!(drive.listed().expect("listed").counters.expect("counted").errors >= 24);
    drop(file);
    assert!(drive.detach().bytes() == before);
}

#[test]
fn sectors_of_4096_bytes_are_the_smallest_request() {
    if !driver_is_loaded() {
        return;
    }
    let mut options = dense();
    options.drive.sector_bytes = Some(4096);
    let drive = Image::new(MIB).drive_with(&options);
    let file = drive.open();
    for (offset, len) in [(512, 4096), (0, 512), (4096, 4608)] {
        let error = file.seek_write(&vec![1; len], offset).expect_err("refused");
        assert_eq!(error.raw_os_error(), Some(INVALID_PARAMETER), "{offset} {len}");
    }
    assert_eq!(file.seek_write(&[7; 8192], 4096).expect("a write"), 8192);
    drop(file);
    let bytes = drive.detach().bytes();
    assert!(bytes[4096..12288].iter().all(|&byte| byte == 7) && bytes[..4096].iter().all(|&byte| byte == 0));
}

#[test]
fn a_read_only_drive_takes_no_writes_and_lets_others_read_the_image() {
    if !driver_is_loaded() {
        return;
    }
    let before = Random(0x5EED_0005).bytes(MIB as usize);
    let drive = Image::of(&before).drive_with(&read_only());
    assert!(drive.attached.read_only && drive.listed().expect("listed").read_only);
    let mut back = vec![0; MIB as usize];
    drive.open().seek_read(&mut back, 0).expect("a read");
    assert!(back == before);
    let writer = File::options().read(true).write(true).share_mode_all().open(drive.name());
    // Opened for writing or not: nothing is written.
    if let Ok(writer) = writer {
        let error = writer.seek_write(&[1; 512], 0).expect_err("refused");
        assert_eq!(error.raw_os_error(), Some(WRITE_PROTECT));
        drop(writer);
    }
    assert!(drive.image.bytes() == before, "read beside the driver");
    assert!(drive.detach().bytes() == before);
}

/// What the other tests get from [`Drive::open`].
trait ShareAll {
    fn share_mode_all(&mut self) -> &mut Self;
}

impl ShareAll for std::fs::OpenOptions {
    fn share_mode_all(&mut self) -> &mut Self {
        std::os::windows::fs::OpenOptionsExt::share_mode(self, 7)
    }
}

#[test]
fn law2_what_was_flushed_is_in_the_image_and_flushes_are_counted() {
    if !driver_is_loaded() {
        return;
    }
    let drive = Image::new(MIB).drive();
    let file = drive.open();
    let counters = |drive: &Drive| *drive.listed().expect("listed").counters.expect("counted");
    let flushes = counters(&drive).flushes;
    file.seek_write(&[0xAB; 4096], 8192).expect("a write");
    file.sync_all().expect("a flush");
    file.sync_all().expect("a flush");
    assert_eq!(counters(&drive).flushes, flushes + 2);
    drop(file);
    // By force, so that nothing else flushes.
    attach::detach_forced(&drive.attached.device).expect("detach");
    assert_eq!(drive.image.bytes()[8192..12288], [0xAB; 4096]);
}

#[test]
fn zeroes_are_written_where_the_file_system_knows_no_holes() {
    if !driver_is_loaded() {
        return;
    }
    let drive = Image::of(&[0xFF; 256 << 10]).drive();
    let file = drive.open();
    file.seek_write(&[0; 128 << 10], 64 * KIB).expect("a write");
    let counters = *drive.listed().expect("listed").counters.expect("counted");
    assert_eq!((counters.writes, counters.written_bytes), (1, 128 * KIB));
    assert!(counters.zero_bytes == 0 || !under_wine(), "Wine makes no holes");
    drop(file);
    let bytes = drive.detach().bytes();
    assert!(bytes[64 << 10..192 << 10].iter().all(|&byte| byte == 0), "zeroes where they were written");
    assert!(bytes[..64 << 10].iter().chain(&bytes[192 << 10..]).all(|&byte| byte == 0xFF), "and nowhere else");
}

/// Wine answers as Windows does, but its file systems know no holes.
pub(crate) fn under_wine() -> bool {
    std::process::Command::new("reg")
        .args(["query", r"HKCU\Software\Wine"])
        .output()
        .is_ok_and(|found| found.status.success())
        || std::env::vars_os().any(|(name, _)| name.to_string_lossy().starts_with("WINE"))
}
