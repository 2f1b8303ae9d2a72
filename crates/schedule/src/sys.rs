//! The platform seam: both halves have the same functions, in the same order.
//!
//! ```text
//! fn usual_scope() -> Scope
//! fn bytes_of_path(path: &Path) -> Option<Vec<u8>>
//! fn path_of_bytes(bytes: Vec<u8>) -> Option<PathBuf>    // absolute; the slash that escaping takes is put back
//! fn real(directory: &Path) -> Option<PathBuf>           // links followed; None: leave it as it is
//! fn plan(job: &Job) -> Result<Plan>
//! fn add(job: &Job) -> Result<Added>
//! fn remove(image: &Path, scope: Scope) -> Result<Entry>
//! fn list() -> Result<Vec<Entry>>
//! ```

#[cfg(target_os = "linux")]
mod linux;
#[cfg(target_os = "linux")]
pub(crate) use linux::*;

#[cfg(windows)]
mod windows;
#[cfg(windows)]
pub(crate) use windows::*;
