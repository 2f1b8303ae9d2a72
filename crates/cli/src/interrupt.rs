//! SIGINT and SIGTERM: the first asks, the second ends.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use disk_types::{Error, ErrorKind, Result};

use crate::exit;

/// What a person stops the program with.
pub(crate) const BY: &str = if nbd::HAS_UNIX_SOCKETS { "SIGINT or SIGTERM" } else { "Ctrl-C" };

static ASKED: AtomicBool = AtomicBool::new(false);
static ON_ASK: Mutex<Option<Box<dyn FnOnce() + Send>>> = Mutex::new(None);

/// One request can arrive twice: `timeout(1)` tells the program, and then all of its group.
const ONE_REQUEST: Duration = Duration::from_millis(500);

/// Starts listening. The first signal sets a flag that long work looks at; the second ends the program at once, which
/// no image minds: whatever is half done is a punch or a copy that can be done again.
pub(crate) fn listen() -> Result<()> {
    let mut first = None;
    let handler = move || {
        if ASKED.swap(true, Ordering::SeqCst) {
            if first.is_some_and(|first: Instant| first.elapsed() < ONE_REQUEST) {
                return;
            }
            std::process::exit(exit::KILLED);
        }
        first = Some(Instant::now());
        let action = ON_ASK.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(action) = action {
            action();
        }
    };
    ctrlc::set_handler(handler).map_err(|error| Error::new(ErrorKind::Io, "listen for signals").caused_by(error))
}

/// Runs `action` once, on the signal's thread, when the user asks to stop; at once if that has happened.
pub(crate) fn on_ask(action: impl FnOnce() + Send + 'static) {
    let mut place = ON_ASK.lock().unwrap_or_else(PoisonError::into_inner);
    if ASKED.load(Ordering::SeqCst) {
        drop(place);
        action();
    } else {
        *place = Some(Box::new(action));
    }
}

/// Succeeds until the user has asked to stop `operation`, which works on `path` and can be begun again.
///
/// # Errors
/// [`ErrorKind::Interrupted`].
pub(crate) fn check(operation: &'static str, path: &Path) -> Result<()> {
    if ASKED.load(Ordering::SeqCst) {
        Err(Error::new(ErrorKind::Interrupted, operation).at_path(path.display()).because("interrupted"))
    } else {
        Ok(())
    }
}
