//! A simulated volume in use, and what of it is kept in its directory.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use fsa::OpenId;

use super::store::{Clusters, Trouble};
use super::{VolumeFigures, VolumeOptions};
use crate::fsctl::Status;
use crate::{Access, ByteRange, Error, ErrorKind, Result, SparseFile, is_zero, sys};

const OPEN: &str = "use as a simulated volume";
const STATE: &str = "volume.state";

/// Read at once, looking for data.
const PIECE_BYTES: usize = 1 << 20;

/// Bytes of a cluster where none are asked for.
const DEFAULT_CLUSTER_BYTES: u64 = 4096;
/// Bytes of a volume where none are asked for.
const DEFAULT_CAPACITY_BYTES: u64 = 1 << 30;

/// A volume and the directory it is kept in.
#[derive(Debug)]
pub(super) struct Shared {
    dir: PathBuf,
    world: Mutex<World>,
}

#[derive(Debug)]
struct World {
    volume: fsa::Volume<Clusters>,
    /// Something changed since the last save.
    is_changed: bool,
    /// A save failed: nothing more is promised (law 2).
    is_broken: bool,
}

impl Shared {
    pub(super) fn open(dir: &Path, options: &VolumeOptions) -> Result<Self> {
        let os = |error| Error::from_io(OPEN, error).at_path(dir.display());
        let (clusters_path, state_path) = (dir.join("clusters"), dir.join(STATE));
        let lost = |what: &'static str| {
            let error = Error::new(ErrorKind::Corrupt, OPEN).at_path(dir.display()).because(what);
            error.advise("take the directory from a backup, or remove it")
        };
        // The clusters are the lock: the state is read under it.
        let (clusters, is_new) = match SparseFile::open(&clusters_path, Access::ReadWrite) {
            Ok(file) => (file, false),
            Err(error) if error.kind() == ErrorKind::NotFound => {
                if state_path.exists() {
                    return Err(lost("its clusters are missing"));
                }
                let wanted = options_of_new(options).map_err(|error| error.at_path(dir.display()))?;
                make_directory(dir).map_err(os)?;
                let bytes = wanted.cluster_bytes * wanted.capacity_clusters;
                (SparseFile::create_with_holes_if_possible(&clusters_path, bytes)?, true)
            }
            Err(error) => return Err(error),
        };
        let (volume, is_changed) = match fs::read(&state_path) {
            Ok(bytes) => (restore(&bytes, clusters, options), false),
            // Clusters are written to only once there is a state.
            Err(error) if error.kind() == io::ErrorKind::NotFound && !is_new && was_used(&clusters)? => {
                return Err(lost("its state is missing"));
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => (never_saved(clusters, options), true),
            Err(error) => (Err(Error::from_io(OPEN, error)), false),
        };
        let volume = volume.map_err(|error| error.at_path(dir.display()))?;
        let shared = Self { dir: dir.to_owned(), world: Mutex::new(World { volume, is_changed, is_broken: false }) };
        shared.sync()?;
        Ok(shared)
    }

    pub(super) fn figures(&self) -> VolumeFigures {
        let world = self.world();
        let options = world.volume.options();
        VolumeFigures {
            cluster_bytes: options.cluster_bytes,
            capacity_bytes: options.cluster_bytes * options.capacity_clusters,
            free_bytes: options.cluster_bytes * world.volume.free_clusters(),
            extent_budget: options.extent_budget,
        }
    }

    /// Looks at the volume.
    pub(super) fn ask<T>(
        &self,
        question: impl FnMut(&mut fsa::Volume<Clusters>) -> Result<T, fsa::Status>,
    ) -> io::Result<T> {
        self.answer(&mut self.world(), question)
    }

    /// Changes the volume.
    pub(super) fn change<T>(
        &self,
        change: impl FnMut(&mut fsa::Volume<Clusters>) -> Result<T, fsa::Status>,
    ) -> io::Result<T> {
        let mut world = self.world();
        world.is_changed = true;
        self.answer(&mut world, change)
    }

    /// Closes a file. What that frees is a change.
    pub(super) fn close(&self, open: OpenId) {
        let mut world = self.world();
        let free = world.volume.free_clusters();
        // Whatever fails, the file is closed.
        let _ = world.volume.close(open);
        world.is_changed |= world.volume.free_clusters() != free;
    }

    /// Saves what changed.
    pub(super) fn sync(&self) -> Result<()> {
        let mut world = self.world();
        self.save(&mut world)
    }

    fn world(&self) -> MutexGuard<'_, World> {
        self.world.lock().unwrap_or_else(|poisoned| {
            // Whoever panicked was in the middle of something: that is never saved.
            let mut world = PoisonError::into_inner(poisoned);
            world.is_broken = true;
            world
        })
    }

    /// Does it. Where it would write over what the saved state still needs, it saves first and does it again: an
    /// operation that the store refused left sizes as they were, and may be repeated.
    fn answer<T>(
        &self,
        world: &mut World,
        mut operation: impl FnMut(&mut fsa::Volume<Clusters>) -> Result<T, fsa::Status>,
    ) -> io::Result<T> {
        loop {
            let status = match operation(&mut world.volume) {
                Ok(answer) => return Ok(answer),
                Err(status) => status,
            };
            let trouble = world.volume.store_mut().take_trouble();
            match trouble.filter(|_| status == fsa::Status::IO_DEVICE_ERROR) {
                Some(Trouble::Unsaved) => {
                    self.save(world).map_err(host_failed)?;
                    // What follows is a change after this save.
                    world.is_changed = true;
                }
                Some(Trouble::Host(error)) => return Err(host_failed(error)),
                None => return Err(Status::from_ntstatus(status.0).into()),
            }
        }
    }

    fn save(&self, world: &mut World) -> Result<()> {
        if world.is_broken {
            return Err(Error::new(ErrorKind::Io, "save")
                .at_path(self.dir.display())
                .because("an earlier flush of the simulated volume failed, and what was written before may be lost")
                .advise("use the volume anew: it is as it was saved last"));
        }
        if !world.is_changed {
            return Ok(());
        }
        let (state, new) = (self.dir.join(STATE), self.dir.join("volume.state.new"));
        let os = |error| Error::from_io("save", error).at_path(state.display());
        // Where there is no space for it, nothing is lost yet, and it can be tried again (law 9).
        write_whole(&new, &world.volume.save()).map_err(os)?;
        // From here on a failure may have lost what was acknowledged (law 2).
        world.is_broken = true;
        world.volume.store().sync()?;
        fs::rename(&new, &state).and_then(|()| sys::sync_directory_of(&state)).map_err(os)?;
        world.volume.store_mut().forget_freed();
        (world.is_changed, world.is_broken) = (false, false);
        Ok(())
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        // Nobody is left to tell: whoever needs to know calls `sync`.
        let _ = self.sync();
    }
}

/// Writes a file, durably but for its name.
fn write_whole(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = File::create(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

/// Makes a directory and those above it, and makes their names durable.
fn make_directory(dir: &Path) -> io::Result<()> {
    let missing: Vec<_> = dir.ancestors().take_while(|dir| !dir.as_os_str().is_empty() && !dir.exists()).collect();
    fs::create_dir_all(dir)?;
    missing.into_iter().try_for_each(sys::sync_directory_of)
}

/// Whether anything was written to the clusters since they were made, which writes zeroes, and the end alone.
fn was_used(clusters: &SparseFile) -> Result<bool> {
    let Some(whole) = ByteRange::whole(clusters.len_bytes()) else { return Ok(false) };
    for extent in clusters.extents(whole) {
        let extent = extent?;
        if extent.kind.reads_as_zero() {
            continue;
        }
        if extent.range.end() != clusters.len_bytes() {
            return Ok(true);
        }
        // On a host without holes that is all of it.
        let mut buffer = vec![0; PIECE_BYTES];
        for piece in extent.range.chunks(PIECE_BYTES as u64) {
            let len = usize::try_from(piece.len()).unwrap_or(PIECE_BYTES).min(PIECE_BYTES);
            clusters.read_at(piece.start(), &mut buffer[..len])?;
            if !is_zero(&buffer[..len]) {
                return Ok(true);
            }
        }
    }
    Ok(false)
}

/// The host's failure on its way up, with the kind that matters there: no space.
pub(super) fn host_failed(error: Error) -> io::Error {
    let kind = match error.kind() {
        ErrorKind::NoSpace => io::ErrorKind::StorageFull,
        _ => io::ErrorKind::Other,
    };
    io::Error::new(kind, error)
}

/// A volume without a state: new, or interrupted before its first save.
fn never_saved(clusters: SparseFile, options: &VolumeOptions) -> Result<fsa::Volume<Clusters>> {
    let wanted = options_of_new(options)?;
    if clusters.len_bytes() != wanted.cluster_bytes * wanted.capacity_clusters {
        return Err(Error::new(ErrorKind::Corrupt, OPEN)
            .because("it was never finished: it has clusters of another capacity, and no state")
            .advise("remove the directory"));
    }
    let store = Clusters::new(clusters, wanted.cluster_bytes);
    fsa::Volume::with_store(wanted, store).map_err(|error| invalid(error.0))
}

fn restore(bytes: &[u8], clusters: SparseFile, options: &VolumeOptions) -> Result<fsa::Volume<Clusters>> {
    let corrupt = |why: String| {
        Error::new(ErrorKind::Corrupt, OPEN).because(why).advise("take the directory from a backup, or remove it")
    };
    // The size of a cluster is in the state, and the store needs it: the state is read twice.
    let known = fsa::Volume::restore(bytes, fsa::MemoryStore::new(1)).map_err(|error| corrupt(error.to_string()))?;
    let known = known.options().clone();
    let capacity_bytes = known.cluster_bytes.saturating_mul(known.capacity_clusters);
    if capacity_bytes != clusters.len_bytes() {
        return Err(corrupt(format!(
            "its state is of {capacity_bytes} bytes, its clusters are {}",
            clusters.len_bytes()
        )));
    }
    let in_clusters = |bytes: u64| bytes - bytes % known.cluster_bytes;
    for (name, has, asked) in [
        ("cluster", Some(known.cluster_bytes), options.cluster_bytes),
        ("capacity", Some(capacity_bytes), options.capacity_bytes.map(in_clusters)),
        ("budget", known.extent_budget, options.extent_budget),
    ] {
        if let Some(asked) = asked.filter(|&asked| has != Some(asked)) {
            let has = has.map_or_else(|| "none".to_owned(), |has| has.to_string());
            return Err(Error::new(ErrorKind::InvalidInput, OPEN)
                .because(format!("it was made with {name}={has}, and {name}={asked} is asked for"))
                .advise("leave that out, or use another directory"));
        }
    }
    let store = Clusters::new(clusters, known.cluster_bytes);
    fsa::Volume::restore(bytes, store).map_err(|error| corrupt(error.to_string()))
}

/// The options of a new volume, if there can be such a one.
fn options_of_new(options: &VolumeOptions) -> Result<fsa::Options> {
    let cluster_bytes = options.cluster_bytes.unwrap_or(DEFAULT_CLUSTER_BYTES);
    let capacity_bytes = options.capacity_bytes.unwrap_or(DEFAULT_CAPACITY_BYTES);
    let wanted = fsa::Options {
        cluster_bytes,
        capacity_clusters: capacity_bytes.checked_div(cluster_bytes).unwrap_or(0),
        extent_budget: options.extent_budget,
        // Nobody reads it here, and it would be saved each time.
        usn_journal: false,
        ..fsa::Options::default()
    };
    if wanted.capacity_clusters == 0 {
        return Err(invalid("a volume has at least one cluster"));
    }
    // The volume itself knows what is possible.
    fsa::Volume::new(wanted.clone()).map(|_| wanted).map_err(|error| invalid(error.0))
}

fn invalid(why: &'static str) -> Error {
    Error::new(ErrorKind::InvalidInput, OPEN).because(why)
}
