//! Windows: nothing yet. The kernel driver that makes drives of images comes with its own issue.

use std::fs::File;
use std::path::Path;

use disk_types::{Error, ErrorKind, Result};

use crate::{AttachOptions, Attached};

pub(crate) fn attach(image: &Path, _file: &File, _options: &AttachOptions) -> Result<Attached> {
    Err(no_driver("attach").at_path(image.display()))
}

pub(crate) fn detach(target: &Path) -> Result<Attached> {
    Err(no_driver("detach").at_path(target.display()))
}

pub(crate) fn list() -> Result<Vec<Attached>> {
    Err(no_driver("list attached images"))
}

pub(crate) fn find(image: &Path) -> Result<Option<Attached>> {
    Err(no_driver("find the drive of").at_path(image.display()))
}

pub(crate) fn trim_mounted(attached: &Attached) -> Result<u64> {
    Err(no_driver("trim through its drive").at_path(attached.image.display()))
}

fn no_driver(operation: &'static str) -> Error {
    Error::new(ErrorKind::Unsupported, operation)
        .because("on Windows there is no sparsedisk driver yet")
        .advise("use `sparsedisk serve` and connect to it over NBD")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_function_says_that_there_is_no_driver_yet() {
        let image = Path::new("disk.img");
        let file = tempfile::tempfile().expect("a file");
        let attached = Attached {
            image: image.to_owned(),
            device: "X:".into(),
            mounted_at: Vec::new(),
            read_only: false,
            ours: true,
            notes: Vec::new(),
        };
        let errors = [
            attach(image, &file, &AttachOptions::default()).unwrap_err(),
            detach(image).unwrap_err(),
            list().unwrap_err(),
            find(image).unwrap_err(),
            trim_mounted(&attached).unwrap_err(),
        ];
        for error in errors {
            assert_eq!(error.kind(), ErrorKind::Unsupported);
            assert!(error.to_string().contains("no sparsedisk driver yet"), "{error}");
        }
    }
}
