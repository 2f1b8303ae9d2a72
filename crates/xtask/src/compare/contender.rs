//! Who is compared.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde::Serialize;

/// A program with the options that it runs with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Contender {
    /// sparsedisk as it is, zero detection on.
    Ours,
    /// sparsedisk, told not to look for zeroes in what is written.
    OursStoringZeroes,
    /// sparsedisk, told to leave the flush to the system, as its peers do.
    OursUnflushed,
    NbdkitFile,
    NbdServer,
    QemuNbdThreads,
    QemuNbdUring,
    Fallocate,
    CpAuto,
    CpAlways,
    Filefrag,
    QemuImgMap,
    MkfsVfat,
}

impl Contender {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Ours => "sparsedisk",
            Self::OursStoringZeroes => "sparsedisk --no-detect-zeroes",
            Self::OursUnflushed => "sparsedisk --no-flush",
            Self::NbdkitFile => "nbdkit file",
            Self::NbdServer => "nbd-server",
            Self::QemuNbdThreads => "qemu-nbd threads",
            Self::QemuNbdUring => "qemu-nbd io_uring",
            Self::Fallocate => "fallocate -d",
            Self::CpAuto => "cp --sparse=auto",
            Self::CpAlways => "cp --sparse=always",
            Self::Filefrag => "filefrag -v",
            Self::QemuImgMap => "qemu-img map",
            Self::MkfsVfat => "mkfs.vfat",
        }
    }

    pub(crate) const fn is_ours(self) -> bool {
        matches!(self, Self::Ours | Self::OursStoringZeroes | Self::OursUnflushed)
    }

    /// The file name of the peer's program; `None` for ours.
    pub(crate) const fn program(self) -> Option<&'static str> {
        Some(match self {
            Self::Ours | Self::OursStoringZeroes | Self::OursUnflushed => return None,
            Self::NbdkitFile => "nbdkit",
            Self::NbdServer => "nbd-server",
            Self::QemuNbdThreads | Self::QemuNbdUring => "qemu-nbd",
            Self::Fallocate => "fallocate",
            Self::CpAuto | Self::CpAlways => "cp",
            Self::Filefrag => "filefrag",
            Self::QemuImgMap => "qemu-img",
            Self::MkfsVfat => "mkfs.vfat",
        })
    }
}

/// Where a program is: in PATH, or where Debian keeps what is for administrators.
pub(crate) fn find(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain(["/usr/sbin", "/sbin"].map(PathBuf::from))
        .map(|directory| directory.join(program))
        .find(|candidate| candidate.is_file())
}

/// The first line of what a program says of its version that has a digit.
pub(crate) fn version(program: &Path) -> Option<String> {
    let name = program.file_name()?.to_str()?;
    let option = match name {
        "filefrag" => return version_of_package("e2fsprogs"),
        "nbd-server" => "-V",
        "mkfs.vfat" => "--help",
        _ => "--version",
    };
    let output = Command::new(program).arg(option).output().ok()?;
    let text = [output.stdout, output.stderr].concat();
    let text = String::from_utf8_lossy(&text);
    text.lines().find(|line| line.contains(|c: char| c.is_ascii_digit())).map(|line| line.trim().to_owned())
}

/// filefrag does not tell its version.
fn version_of_package(package: &str) -> Option<String> {
    let output = Command::new("dpkg-query").args(["-W", "-f=${Package} ${Version}", package]).output().ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).into_owned())
}
