//! How fast a drive of the Windows driver is, beside the same program on the backing file itself.
//!
//! ```text
//! SPARSEDISK_DRIVER=... cargo bench -p attach --bench driver --target x86_64-pc-windows-gnu
//! ```
//!
//! Reads and writes of 4 KiB at random places with 1 and 16 requests in flight, and of 1 MiB in sequence. Drive and file
//! take turns, and a figure is the median of its rounds. Under Wine every request to a driver passes through the wineserver
//! and is carried out in another process: the ratio says what that costs, not what Windows' kernel would.

mod sys;

fn main() {
    sys::run();
}
