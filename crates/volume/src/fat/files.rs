//! The files of a volume, and where their bytes are.

use block_device::{ByteRange, Disk, Result};

use super::Fat;
use super::directory::{DirectoryWalk, Item, astray};
use super::entries::Entry;

/// A file or a directory that is alive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LiveFile {
    /// From the root, with slashes, by its long name where it has one: `/photos/first.jpg`. The root is `/`.
    ///
    /// The ASCII characters of a short name are right; the others are in a code page that nothing names, and taken for
    /// Latin-1.
    pub path: String,
    /// Whether it is a directory.
    pub is_directory: bool,
    /// Its size in bytes; 0 for a directory.
    pub size_bytes: u64,
    /// Its clusters in the order of its content, whole, in bytes from the start of the volume; neighbours are joined.
    pub runs: Vec<ByteRange>,
}

/// Calls `visit` with every file and directory of the FAT volume that `disk` is, directories before what is in them.
///
/// The volume is checked first (see [`Fat::check`]), so no cluster comes twice.
///
/// # Errors
/// Those of [`Fat::open`] and [`Fat::check`], and what `visit` returns, which ends the walk.
pub fn files(disk: &Disk, visit: &mut dyn FnMut(&LiveFile) -> Result<()>) -> Result<()> {
    let fat = Fat::open(disk)?;
    fat.check()?;
    let layout = *fat.layout();
    let mut walk = DirectoryWalk::of_root(&fat);
    let root_runs = match fat.boot_sector().fat32 {
        Some(fat32) => runs(&mut walk, &fat, "/", fat32.root_cluster)?,
        None => vec![ByteRange::at(layout.root_start, layout.root_bytes)?],
    };
    visit(&LiveFile { path: "/".to_owned(), is_directory: true, size_bytes: 0, runs: root_runs })?;
    while let Some(item) = walk.next_item()? {
        let Item::Node(node) = item else { continue };
        let path = format!("{}/{}", walk.path(), node.name);
        let runs = runs(&mut walk, &fat, &path, node.first_cluster)?;
        if node.is_directory {
            walk.enter(&node)?;
        }
        let (is_directory, size_bytes) = (node.is_directory, u64::from(node.size_bytes));
        visit(&LiveFile { path, is_directory, size_bytes, runs })?;
    }
    Ok(())
}

fn runs(walk: &mut DirectoryWalk<'_>, fat: &Fat, path: &str, first: u32) -> Result<Vec<ByteRange>> {
    let mut runs: Vec<ByteRange> = Vec::new();
    let mut cluster = first;
    while cluster != 0 {
        let entry = walk.cache().entry(cluster)?;
        let range = fat.layout().clusters_range(cluster, 1).ok_or_else(|| astray(path, cluster, entry))?;
        match runs.last_mut() {
            Some(last) if last.end() == range.start() => *last = ByteRange::new(last.start(), range.end())?,
            _ => runs.push(range),
        }
        cluster = match entry {
            Entry::Next(next) => next,
            Entry::End => 0,
            other => return Err(astray(path, cluster, other)),
        };
    }
    Ok(runs)
}
