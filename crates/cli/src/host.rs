//! Where images lie: in files of this machine, or on a simulated volume (`--model`).

use std::path::{Path, PathBuf};
use std::str::FromStr;

use disk_image::{Format, Image};
use disk_types::{Error, ErrorKind, Result};
use sparse_file::model::{Volume, VolumeOptions};
use sparse_file::{Access, Allocation, CopyObserver, CopyOptions, CopyReport, SparseFile};

use crate::size::Size;

/// Where the simulated volume is kept unless `dir=` says otherwise.
const DEFAULT_DIRECTORY: &str = "ntfs-model";

/// What stands before the name of a file of this machine, where names are those of the simulated volume.
const HERE: &str = "host:";

/// The value of `--model`: `ntfs[,cluster=SIZE][,capacity=SIZE][,budget=N][,dir=DIR]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Model {
    directory: PathBuf,
    options: VolumeOptions,
}

impl FromStr for Model {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut parts = text.split(',');
        if parts.next() != Some("ntfs") {
            return Err("the only model is ntfs; write for example ntfs,cluster=64KiB".to_owned());
        }
        let mut model = Self { directory: DEFAULT_DIRECTORY.into(), options: VolumeOptions::default() };
        for part in parts {
            let Some((name, value)) = part.split_once('=').filter(|(_, value)| !value.is_empty()) else {
                return Err(format!("'{part}' is not of the form NAME=VALUE"));
            };
            let size = || value.parse::<Size>().map(|size| Some(size.0)).map_err(|error| format!("{name}: {error}"));
            match name {
                "cluster" => model.options.cluster_bytes = size()?,
                "capacity" => model.options.capacity_bytes = size()?,
                "budget" => {
                    let runs = value.parse().map_err(|_| "budget: a number of runs, such as 1500000".to_owned())?;
                    model.options.extent_budget = Some(runs);
                }
                "dir" => model.directory = value.into(),
                _ => return Err(format!("'{name}' is not known; there are cluster, capacity, budget and dir")),
            }
        }
        Ok(model)
    }
}

/// Where images lie.
#[derive(Debug)]
pub(crate) enum Host {
    /// In files of this machine.
    System,
    /// On a simulated volume.
    Model(Volume),
}

impl Host {
    /// Opens the volume of `--model`, if it was given.
    ///
    /// # Errors
    /// Those of opening it.
    pub(crate) fn open(model: Option<&Model>) -> Result<Self> {
        match model {
            Some(model) => Volume::open(&model.directory, &model.options).map(Self::Model),
            None => Ok(Self::System),
        }
    }

    /// As [`SparseFile::open`].
    pub(crate) fn open_file(&self, path: &Path, access: Access) -> Result<SparseFile> {
        match self {
            Self::System => SparseFile::open(path, access),
            Self::Model(volume) => volume.open_file(there(path)?, access),
        }
    }

    /// As [`Image::open`].
    pub(crate) fn open_image(&self, path: &Path, access: Access) -> Result<Image> {
        Image::over(self.open_file(path, access)?, Format::Raw)
    }

    /// As [`Image::create`].
    pub(crate) fn create_image(
        &self,
        path: &Path,
        len_bytes: u64,
        format: Format,
        allocation: Allocation,
    ) -> Result<Image> {
        match self {
            Self::System => Image::create(path, len_bytes, format, allocation),
            Self::Model(volume) => Image::over(volume.create_file(there(path)?, len_bytes, allocation)?, format),
        }
    }

    /// As [`sparse_file::decompress`].
    pub(crate) fn decompress(&self, path: &Path) -> Result<bool> {
        match self {
            Self::System => sparse_file::decompress(path),
            Self::Model(volume) => volume.decompress_file(there(path)?),
        }
    }

    /// Removes a file.
    pub(crate) fn remove(&self, path: &Path) -> Result<()> {
        match self {
            Self::System => {
                std::fs::remove_file(path).map_err(|error| Error::from_io("remove", error).at_path(path.display()))
            }
            Self::Model(volume) => volume.remove_file(path),
        }
    }

    /// As [`sparse_file::copy`]; beside a simulated volume, `host:FILE` is a file of this machine.
    pub(crate) fn copy(
        &self,
        source: &Path,
        destination: &Path,
        options: &CopyOptions,
        observer: &mut dyn CopyObserver,
    ) -> Result<CopyReport> {
        let Self::Model(volume) = self else { return sparse_file::copy(source, destination, options, observer) };
        let source = match here(source) {
            Some(source) => SparseFile::open(source, Access::ReadOnly)?,
            None => volume.open_file(source, Access::ReadOnly)?,
        };
        match here(destination) {
            Some(destination) => sparse_file::copy_file(&source, destination, options, observer),
            None => volume.copy_file(&source, destination, options, observer),
        }
    }

    /// Makes durable what the simulated volume knows.
    ///
    /// # Errors
    /// Those of writing it.
    pub(crate) fn finish(&self) -> Result<()> {
        match self {
            Self::System => Ok(()),
            Self::Model(volume) => volume.sync(),
        }
    }
}

/// A name on the simulated volume. Without this check `host:disk.img` would be a stream of a file `host`.
fn there(path: &Path) -> Result<&Path> {
    match here(path) {
        None => Ok(path),
        Some(_) => Err(Error::new(ErrorKind::InvalidInput, "use")
            .at_path(path.display())
            .because("only copy knows files of this machine beside a simulated volume")
            .advise("leave --model out, or copy the file there first")),
    }
}

/// The file of this machine that `host:FILE` names.
fn here(path: &Path) -> Option<&Path> {
    path.to_str()?.strip_prefix(HERE).map(Path::new)
}

/// What the operating system has no part in.
pub(crate) fn refused_on_model(operation: &'static str) -> Error {
    Error::new(ErrorKind::Refused, operation)
        .because("the simulated volume of --model is known to this program only, not to the system")
        .advise("serve the image, or copy it out with `sparsedisk --model ... copy IMAGE host:FILE`")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_model_is_read_with_its_options_and_nothing_else() {
        let plain: Model = "ntfs".parse().unwrap();
        assert_eq!((plain.directory, plain.options), (DEFAULT_DIRECTORY.into(), VolumeOptions::default()));
        let full: Model = "ntfs,cluster=64KiB,capacity=2GiB,budget=7,dir=a/b".parse().unwrap();
        let options =
            VolumeOptions { cluster_bytes: Some(65536), capacity_bytes: Some(2 << 30), extent_budget: Some(7) };
        assert_eq!((full.directory, full.options), ("a/b".into(), options));
        for wrong in ["", "fat", "ntfs,", "ntfs,cluster", "ntfs,cluster=", "ntfs,cluster=x", "ntfs,size=1", "NTFS"] {
            assert!(wrong.parse::<Model>().is_err(), "{wrong}");
        }
    }
}
