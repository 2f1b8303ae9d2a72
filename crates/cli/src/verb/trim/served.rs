//! `trim` on an image that a server of ours has: the server frees its zeroes.

use control::{Client, Trimmed};
use disk_types::{ByteRange, Error, ErrorKind};
use reclaim::LeftAlone;
use sparse_file::{Access, SparseFile};

use super::{Document, Trim, figures, print_refused};
use crate::asking;
use crate::context::Context;
use crate::failure::Failure;
use crate::interrupt;
use crate::plain::plain;
use crate::progress::Progress;

impl Trim {
    /// Has the server that keeps us out do it; `in_use` is the error where there is none.
    pub(super) fn trim_in_use(&self, in_use: Error, context: &Context) -> Result<(), Failure> {
        let Some(server) = asking::server_of(&self.image)? else { return Err(in_use.into()) };
        if self.dry_run || self.verify {
            let what = "it is being served; run it without --dry-run and --verify, and the server frees its zeroes";
            return Err(in_use.advise(what).into());
        }
        self.trim_served(server, context)
    }

    fn trim_served(&self, server: Client, context: &Context) -> Result<(), Failure> {
        let (image, pid) = (self.image.clone(), server.pid());
        // The end of the pass is still awaited: it says what came back.
        interrupt::on_ask(move || {
            let stopped = Client::connect(&image, pid).and_then(|server| server.map(Client::stop_trim).transpose());
            if let Err(error) = stopped {
                tracing::warn!("the pass goes on: {error}");
            }
        });
        let mut progress = Progress::new(context);
        let mut show = |done_bytes, total_bytes| progress.update("reading", done_bytes, total_bytes);
        let Trimmed { freed_bytes, freed_ranges, allocated_before_bytes, allocated_after_bytes, .. } =
            server.trim(&mut show)?;
        drop(progress);
        let left = self.left_to_those_inside()?;
        let document = Document {
            allocated_before_bytes,
            allocated_after_bytes,
            zero_bytes: freed_bytes,
            free_space_bytes: 0,
            punched_ranges: freed_ranges,
            dry_run: false,
            verified: false,
            refused: left.iter().map(Into::into).collect(),
            ranges: None,
        };
        context.report(&document, |out| {
            let mut table = figures(&document);
            table.fact("freed by", format!("its server, process {pid}, while it serves"));
            table.print(out)?;
            print_refused(&left, out)
        })
    }

    /// What the file systems inside call free, which is not ours to trust while somebody may have them mounted (law 4).
    fn left_to_those_inside(&self) -> Result<Vec<LeftAlone>, Error> {
        if self.zeros_only {
            return Ok(Vec::new());
        }
        let len_bytes = SparseFile::open(&self.image, Access::Inspect)?.len_bytes();
        let range = ByteRange::whole(len_bytes)
            .ok_or_else(|| Error::new(ErrorKind::Changed, "trim").at_path(plain(self.image.display())))?;
        Ok(vec![LeftAlone {
            range,
            what: "what the file system inside calls free".to_owned(),
            why: "the image is being served: whoever has it mounted may write there at any moment".to_owned(),
            advice: Some(
                "trim it from inside: fstrim or mount -o discard, on Windows Optimize Drives (NTFS); or stop the server first"
                    .to_owned(),
            ),
        }])
    }
}
