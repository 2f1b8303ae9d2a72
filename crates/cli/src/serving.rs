//! A served disk: its layers, and what goes on beside its clients.
//!
//! ```text
//!   clients (nbd)
//!      |
//!   Stats . RangeLocked . Written . ZeroDetect . SpaceGuard . the image
//!                \___________\___ |
//!                                Online: zeroes are freed beneath the locks, by passes
//! ```
//!
//! [`passes`] runs them, by the clock or because somebody asks; [`desk`] answers who asks (`trim` and `info` on a served
//! image).

mod desk;
mod passes;
mod space;

use std::sync::Arc;

use block_device::{Counters, Disk, RangeLocked, SpaceFigures, SpaceGuard, Stats, Written, WrittenMap, ZeroDetect};
use disk_image::Image;
use disk_types::Result;
use reclaim::online::Online;

pub(crate) use desk::Desk;
pub(crate) use passes::{Passes, Rhythm};
use space::Herald;

/// What of the layers is wanted.
#[derive(Clone, Copy)]
pub(crate) struct Wanted {
    pub(crate) read_only: bool,
    pub(crate) detect_zeroes: bool,
    /// What stays free on the host; `None` for the default.
    pub(crate) keep_free_bytes: Option<u64>,
}

/// A disk with its layers.
pub(crate) struct Served {
    /// What clients get.
    pub(crate) disk: Disk,
    /// What they asked for.
    pub(crate) counters: Arc<Counters>,
    /// What is left on the host; `None` where nothing is written.
    pub(crate) space: Option<Arc<SpaceFigures>>,
    /// What frees zeroes meanwhile, or why that cannot be.
    pub(crate) online: Result<Online>,
}

impl Served {
    /// Puts the layers on an image.
    ///
    /// # Errors
    /// Those of asking the host what it has.
    pub(crate) fn new(image: &Image, wanted: Wanted) -> Result<Self> {
        let mut disk = image.disk.clone();
        let mut space = None;
        if !wanted.read_only {
            let floor_bytes = match wanted.keep_free_bytes {
                Some(bytes) => bytes,
                None => SpaceGuard::default_floor_bytes(image.file.host_bytes()?),
            };
            let (host, herald) = (Arc::clone(&image.file), Herald::default());
            let guard =
                SpaceGuard::new(disk, floor_bytes, move || host.host_free_bytes(), move |news| herald.hear(news));
            space = Some(guard.figures());
            disk = Disk::new(guard)?;
        }
        if wanted.detect_zeroes && !wanted.read_only {
            disk = Disk::new(ZeroDetect::new(disk))?;
        }
        // Above the layer that cuts writes into pieces: a write takes effect as a whole.
        let written = Written::new(disk);
        let map: Arc<WrittenMap> = written.map();
        let locked = RangeLocked::new(Disk::new(written)?);
        // Neither of the layers beneath has to do with what a pass reads and frees.
        let online = Online::new(image.once.clone(), locked.locks(), map);
        let stats = Stats::new(Disk::new(locked)?);
        let counters = stats.counters();
        Ok(Self { disk: Disk::new(stats)?, counters, space, online })
    }
}
