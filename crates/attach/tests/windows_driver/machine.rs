//! What these tests stand on: the driver, loaded once for all of them, images, and drives made of them.

use std::fs::{File, OpenOptions};
use std::os::windows::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use attach::driver::{DriverState, FILE_VARIABLE};
use attach::{AttachOptions, Attached, DriveOptions};
use disk_types::Result;
use driver_abi::CONTROL_DEVICE;
use tempfile::TempDir;
use windows_sys::Win32::Storage::FileSystem::FILE_FLAG_OVERLAPPED;

pub(crate) const KIB: u64 = 1 << 10;
pub(crate) const MIB: u64 = 1 << 20;

/// Others may read and write the drive beside us.
const SHARE: u32 = 3;

/// Says why a test does nothing; where everything is required, that is a failure.
pub(crate) fn skip(why: &str) {
    assert!(
        std::env::var_os("SPARSEDISK_REQUIRE_ALL").is_none_or(|value| value != "1"),
        "required, and missing: {why}"
    );
    println!("skipped: {why}");
}

/// Loads the driver, once for all tests of this program. `false` where there is none to load.
pub(crate) fn driver_is_loaded() -> bool {
    static LOADED: OnceLock<bool> = OnceLock::new();
    if *LOADED.get_or_init(load) {
        return true;
    }
    skip(&format!("{FILE_VARIABLE} names no driver"));
    false
}

fn load() -> bool {
    if std::env::var_os(FILE_VARIABLE).is_none_or(|file| file.is_empty()) {
        return false;
    }
    attach::driver::install().expect("the service");
    allow_unprotected();
    let status = attach::driver::start().expect("a driver that starts");
    assert_eq!(status.state, DriverState::Running);
    true
}

/// Wine knows no security of devices. The driver does without only where it is told that this is a machine for tests.
pub(crate) fn allow_unprotected() {
    let key = r"HKLM\SYSTEM\CurrentControlSet\Services\SparseDisk\Parameters";
    let set = Command::new("reg")
        .args(["add", key, "/v", "AllowUnprotectedForTests", "/t", "REG_DWORD", "/d", "1", "/f"])
        .output()
        .expect("reg.exe");
    assert!(set.status.success(), "{set:?}");
}

/// The control device.
pub(crate) fn control_device() -> File {
    OpenOptions::new().read(true).write(true).open(CONTROL_DEVICE).expect("the control device")
}

/// An image in a directory of its own.
pub(crate) struct Image {
    pub(crate) directory: TempDir,
    pub(crate) path: PathBuf,
}

impl Image {
    /// So many zero bytes.
    pub(crate) fn new(len_bytes: u64) -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("disk.img");
        File::create(&path).and_then(|file| file.set_len(len_bytes)).expect("an image");
        Self { directory, path }
    }

    /// The image holds these bytes.
    pub(crate) fn of(bytes: &[u8]) -> Self {
        let image = Self::new(0);
        std::fs::write(&image.path, bytes).expect("an image");
        image
    }

    pub(crate) fn bytes(&self) -> Vec<u8> {
        std::fs::read(&self.path).expect("the image")
    }

    /// Attaches as the program does: the last handle goes to the driver.
    pub(crate) fn attach(&self, options: &AttachOptions) -> Result<Attached> {
        attach(&self.path, options)
    }

    /// A drive of it, as it is made where the file system may know no holes.
    pub(crate) fn drive(self) -> Drive {
        self.drive_with(&dense())
    }

    pub(crate) fn drive_with(self, options: &AttachOptions) -> Drive {
        let attached = self.attach(options).expect("attach");
        Drive { attached, image: self }
    }
}

/// Attaches the image at `path`.
pub(crate) fn attach(path: &Path, options: &AttachOptions) -> Result<Attached> {
    let file = OpenOptions::new().read(true).write(!options.read_only).share_mode(1).open(path).expect("the image");
    attach::attach(path, file, options)
}

/// A file system without holes will do, as Wine's.
pub(crate) fn dense() -> AttachOptions {
    AttachOptions { drive: DriveOptions { dense: true, ..DriveOptions::default() }, ..AttachOptions::default() }
}

pub(crate) fn read_only() -> AttachOptions {
    AttachOptions { read_only: true, ..dense() }
}

/// An attached image. It is detached at the end, whatever became of the test.
pub(crate) struct Drive {
    pub(crate) attached: Attached,
    pub(crate) image: Image,
}

impl Drive {
    /// The drive as Win32 opens it: `\\.\X:`.
    pub(crate) fn name(&self) -> String {
        format!(r"\\.\{}", self.attached.device.display())
    }

    pub(crate) fn open(&self) -> File {
        let write = !self.attached.read_only;
        OpenOptions::new().read(true).write(write).share_mode(SHARE).open(self.name()).expect("the drive")
    }

    /// For requests that are not waited for.
    pub(crate) fn open_overlapped(&self) -> File {
        let mut options = OpenOptions::new();
        options.read(true).write(true).share_mode(SHARE).custom_flags(FILE_FLAG_OVERLAPPED);
        options.open(self.name()).expect("the drive")
    }

    /// What the list says about it.
    pub(crate) fn listed(&self) -> Option<Attached> {
        attach::list().expect("list").into_iter().find(|disk| disk.device == self.attached.device)
    }

    /// Detaches it, and gives the image.
    pub(crate) fn detach(self) -> Image {
        attach::detach(&self.attached.device).expect("detach");
        let empty = Image::new(0);
        let mut this = self;
        std::mem::replace(&mut this.image, empty)
    }
}

impl Drop for Drive {
    fn drop(&mut self) {
        let still_there = attach::find(&self.image.path).is_ok_and(|found| found.is_some());
        if still_there {
            let _ = attach::detach_forced(&self.image.path);
        }
    }
}

/// Bytes without a pattern, from a seed that failures can name.
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    pub(crate) fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit
    }

    pub(crate) fn bytes(&mut self, len_bytes: usize) -> Vec<u8> {
        let mut bytes: Vec<u8> = (0..len_bytes.div_ceil(8)).flat_map(|_| self.next().to_le_bytes()).collect();
        bytes.truncate(len_bytes);
        bytes
    }
}
