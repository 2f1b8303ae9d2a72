//! `serve IMAGE`

use std::ffi::OsString;
use std::io::Write;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Instant;

use block_device::Counters;
use clap::Args;
use disk_image::{Format, Image};
use disk_types::{Error, ErrorKind, Result};
use nbd::{Export, Limits, Listen, Server};
use serde::Serialize;
use sparse_file::{Access, Allocation};

use crate::context::Context;
use crate::creation::{self, FileSystemKind, Inside};
use crate::decompress::Decompress;
use crate::describe;
use crate::failure::Failure;
use crate::host::Host;
use crate::interrupt;
use crate::interval::Interval;
use crate::on_drop::OnDrop;
use crate::plain::plain;
use crate::serving::{Desk, Passes, Rhythm, Served, Wanted};
use crate::size::{Bytes, Count, Exact, Many, Size, help_with_sizes};
use crate::table::Table;

/// Where it listens on a system without UNIX sockets: NBD's own port, for this machine alone.
const DEFAULT_ADDRESS: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 10809);

/// Serve an image over NBD until stopped
///
/// Prints how to connect, then serves any number of clients until SIGINT or SIGTERM (on Windows Ctrl-C); what is under way
/// is finished and flushed. Blocks of zeroes that clients write are not stored but given back. Meanwhile `sparsedisk info IMAGE`
/// shows what it does, and `sparsedisk trim IMAGE` frees zeroes that are in the image already.
#[derive(Args)]
#[command(after_help = help_with_sizes!("\
Without --listen it is the socket that systemd passed on (LISTEN_FDS), if it did, or else \
a UNIX socket beside the image, IMAGE.sock, which only this user can open; on Windows, tcp:127.0.0.1:10809. At most 64 clients at once; one \
more is told so. Who has not finished its handshake after 30 seconds, or is one of too many, is cut off.

A pass looks only at what was written since the last one, goes on where that was stopped, and locks what it frees against \
the clients' writes, at most 256 KiB at a time. It frees what is all zero, and nothing while another program has the image open \
for writing. What it reads does not push out of the host's cache what others want (Linux 6.14, ext4 and xfs). What the file \
system inside calls free, only a trim from inside gives back: fstrim, mount -o discard, or Optimize Drives on Windows (NTFS).

Below --keep-free a write that needs new space gets \"no space\" at once, and overwriting goes on. A warning comes at twice as \
much. As soon as there is space again, writes go on.

IMAGE.control beside the image is where `info` and `trim` ask; only this user and root are answered.

Examples:
  sparsedisk serve disk.img --size 10GiB --fs fat32    the image is created if it is missing
  sparsedisk serve disk.img --listen tcp:127.0.0.1:10809
  nbdinfo \"nbd+unix:///?socket=disk.img.sock\""))]
pub(crate) struct Serve {
    /// The image
    #[arg(value_hint = clap::ValueHint::FilePath)]
    image: PathBuf,
    /// Create the image with this size if it is missing; if it is there, it must have this size
    #[arg(long, allow_hyphen_values = true)]
    size: Option<Size>,
    #[command(flatten)]
    inside: Inside,
    /// Where to listen
    #[arg(long, value_name = "unix:PATH|tcp:HOST:PORT")]
    listen: Option<String>,
    /// Take no writes
    #[arg(long, conflicts_with = "size")]
    read_only: bool,
    /// Allow --listen on an address that other machines reach: they can read and write the disk, without a password
    #[arg(long, requires = "listen")]
    allow_remote: bool,
    /// Store zeroes that clients write, instead of giving their blocks back
    #[arg(long)]
    no_detect_zeroes: bool,
    /// Create the image with all of its space allocated: the way where the file system has no holes
    #[arg(long, requires = "size")]
    dense: bool,
    #[command(flatten)]
    decompress: Decompress,
    /// Free zeroes that are in the image so often while it is served: 30m, 1h, 1d; the first time after as long
    #[arg(long, value_name = "TIME", conflicts_with = "read_only", allow_hyphen_values = true)]
    trim_every: Option<Interval>,
    /// Bytes that a pass may read in a second while clients are active, 0 for no limit; with idle clients there is none
    #[arg(long, value_name = "SIZE", conflicts_with = "read_only", default_value = DEFAULT_TRIM_RATE)]
    #[arg(allow_hyphen_values = true)]
    trim_rate: Size,
    /// Keep so much free on the host, 0 for nothing; unless given 1 GiB or 1 % of the host's file system, whichever is less
    #[arg(long, value_name = "SIZE", conflicts_with = "read_only", allow_hyphen_values = true)]
    keep_free: Option<Size>,
    /// Copy long reads; otherwise they go from the image to the client by reference
    #[arg(long, hide = true)]
    no_splice: bool,
    /// Look for requests without a pause; otherwise a busy client is served in batches
    #[arg(long, hide = true)]
    no_batch: bool,
    /// Sleep after every request; otherwise the next one of a client that hurries is looked for a moment
    #[arg(long, hide = true)]
    no_busy_poll: bool,
    /// Read one after the other; otherwise the host is told first of all reads that have arrived, if they are slow
    #[arg(long, hide = true)]
    no_read_ahead: bool,
    /// Wait for flushes and long discards; otherwise what came later is answered meanwhile
    #[arg(long, hide = true)]
    no_background: bool,
}

/// So that clients lose less than a twentieth of their speed.
const DEFAULT_TRIM_RATE: &str = "16MiB";

#[derive(Serialize)]
struct Document {
    path: String,
    uri: String,
    size_bytes: u64,
    read_only: bool,
    created: bool,
    keep_free_bytes: u64,
    control: Option<String>,
}

impl Serve {
    pub(crate) fn run(&self, context: &Context) -> Result<(), Failure> {
        let listen = self.listen()?;
        let (image, created) = self.image(context)?;
        describe::warn_if_open_elsewhere(&image.file);
        let allocated_before_bytes = image.file.allocated_bytes()?;
        let Served { disk, counters, space, online } = Served::new(&image, self.wanted())?;
        let passes = match online {
            Ok(online) => {
                Some(Arc::new(Passes::new(online, Arc::clone(&image.file), self.rhythm(), Arc::clone(&counters))))
            }
            Err(error) if self.trim_every.is_some() => return Err(error.at_path(self.image.display()).into()),
            // Nothing can be given back, and nobody has asked for it.
            Err(_) => None,
        };
        let export = Export {
            name: self.image.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default(),
            description: format!("{} ({})", self.image.display(), Bytes(disk.len_bytes())),
            disk,
        };
        let server = Server::bind(&listen, export, self.limits()).map_err(|error| self.explain_socket(error))?;
        if let Some(uri) = server.remote_uri() {
            tracing::warn!("every machine that reaches {uri} can read and write the disk: no password, no encryption");
        }
        let control = self.control(context)?;
        let (stopper, passes_to_end) = (server.stopper(), passes.clone());
        interrupt::on_ask(move || {
            passes_to_end.iter().for_each(|passes| passes.close());
            stopper.stop();
        });
        let document = Document {
            path: self.image.display().to_string(),
            uri: server.uri(),
            size_bytes: image.disk.len_bytes(),
            read_only: self.read_only,
            created,
            keep_free_bytes: space.as_ref().map_or(0, |space| space.floor_bytes()),
            control: control.as_ref().map(|control| control.path().display().to_string()),
        };
        // Nobody may be reading any more, and still others want to be served.
        let told = context.answer(&document, |out| {
            print_start(&document, &server.connect_lines(), out)?;
            server.remote_uri().map_or(Ok(()), |uri| writeln!(out, "  {uri} from other machines"))
        });
        if let Err(Failure::Output(error)) = told {
            tracing::warn!(%error, "cannot say how to connect");
        }
        let desk = Desk {
            uri: server.uri(),
            since: Instant::now(),
            census: server.census(),
            counters: Arc::clone(&counters),
            space,
            passes: passes.clone(),
        };
        let served = std::thread::scope(|scope| {
            let control_stopper = control.as_ref().map(control::Server::stopper);
            let desk = &desk;
            if let Some(control) = control {
                scope.spawn(move || control.run(desk));
            }
            let _end = OnDrop(|| {
                passes.iter().for_each(|passes| passes.close());
                control_stopper.iter().for_each(control::Stopper::stop);
            });
            if let Some(passes) = &passes {
                scope.spawn(|| passes.keep_time());
            }
            server.run()
        })?;
        if !context.json() && !context.quiet() {
            let allocated_bytes = image.file.allocated_bytes()?;
            context.write_page(|out| {
                let mut table = summary(&counters);
                table.fact("failed requests", Count(served.counters.failed));
                table.fact("connections", Count(served.connections));
                if let Some(totals) = passes.as_ref().map(|passes| passes.totals()) {
                    let passes = Many(totals.passes + totals.stopped_passes, "run");
                    table.fact("freed online", format!("{} in {passes}", Bytes(totals.freed_bytes)));
                }
                table.fact(
                    "allocated",
                    format!("{} before, {} now", Bytes(allocated_before_bytes), Bytes(allocated_bytes)),
                );
                table.print(out)
            })?;
        }
        Ok(())
    }

    fn listen(&self) -> Result<Listen> {
        let listen = match &self.listen {
            Some(text) => text.parse()?,
            None if !nbd::HAS_UNIX_SOCKETS => Listen::Tcp(DEFAULT_ADDRESS),
            None if std::env::var_os("LISTEN_FDS").is_some() => Listen::Inherited,
            // Readers share the image, and one must not take the socket of another.
            None if self.read_only => Listen::Unix(beside(&self.image)),
            // Ours by its name: only a server that has the image, which is locked when this is bound, uses it.
            None => Listen::UnixReplacingStale(beside(&self.image)),
        };
        Ok(if self.allow_remote { listen.allow_remote() } else { listen })
    }

    /// Opens the image, or creates it where a size is given and nothing is there.
    fn image(&self, context: &Context) -> Result<(Image, bool)> {
        let host = context.host()?;
        let Some(Size(len_bytes)) = self.size else {
            if self.inside.file_system.is_some() || self.inside.partition.table().is_some() {
                return Err(Error::new(ErrorKind::InvalidInput, "serve")
                    .at_path(self.image.display())
                    .because("--fs and --partition are for an image that is created, and there is no --size")
                    .advise("give --size too, or format the image with `sparsedisk format`"));
            }
            let access = if self.read_only { Access::ReadOnly } else { Access::ReadWrite };
            if !self.read_only {
                self.decompress.apply(host, &self.image)?;
            }
            return host.open_image(&self.image, access).map(|image| (image, false)).map_err(|error| {
                match error.kind() {
                    ErrorKind::ReadOnly | ErrorKind::PermissionDenied if !self.read_only => {
                        error.advise("--read-only serves it without writing; or give this user the right to write")
                    }
                    ErrorKind::NotFound if !self.read_only => error.advise("check the name; with --size it is created"),
                    _ => error,
                }
            });
        };
        let allocation = if self.dense { Allocation::Dense } else { Allocation::Sparse };
        match creation::create(host, &self.image, len_bytes, Format::Raw, allocation, &self.inside) {
            Ok((image, _)) => return Ok((image, true)),
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error),
        }
        self.decompress.apply(host, &self.image)?;
        let image = host.open_image(&self.image, Access::ReadWrite)?;
        if image.disk.len_bytes() == len_bytes {
            self.check_inside(&image)?;
            return Ok((image, false));
        }
        Err(Error::new(ErrorKind::InvalidInput, "serve")
            .at_path(self.image.display())
            .because(format!("it has {}, and --size asks for {}", Exact(image.disk.len_bytes()), Exact(len_bytes)))
            .advise("leave --size out to serve it as it is"))
    }

    /// --fs and --partition are for a new image; on one that is there they must be true already.
    fn check_inside(&self, image: &Image) -> Result<()> {
        let Inside { file_system, partition, .. } = &self.inside;
        let contents = volume::inspect(&image.disk).unwrap_or_default();
        let has_table = partition.table().is_none_or(|kind| contents.table.as_ref().is_some_and(|is| is.kind == kind));
        let has_volume = |kind: &FileSystemKind| contents.volumes.iter().any(|is| kind.includes(is.file_system));
        if has_table && file_system.as_ref().is_none_or(has_volume) {
            return Ok(());
        }
        let found = describe::in_words(&contents).unwrap_or_else(|| "nothing that is recognised".to_owned());
        Err(Error::new(ErrorKind::InvalidInput, "serve")
            .at_path(self.image.display())
            .because(format!("it exists and holds {found}"))
            .advise("leave out --fs, --label and --partition to serve it as it is"))
    }

    fn explain_socket(&self, error: Error) -> Error {
        match (error.kind(), error.advice()) {
            (ErrorKind::Refused, _) => {
                error.advise("--allow-remote allows it; without it listen on 127.0.0.1 or unix:PATH")
            }
            (ErrorKind::PermissionDenied | ErrorKind::ReadOnly, None) if self.listen.is_none() => {
                error.advise("choose another place for the socket with --listen unix:PATH")
            }
            (ErrorKind::AlreadyExists | ErrorKind::TooLarge, None) => {
                error.advise("choose another with --listen unix:PATH")
            }
            _ => error,
        }
    }

    fn limits(&self) -> Limits {
        let mut limits = Limits::default();
        limits.splice = !self.no_splice;
        limits.batch = !self.no_batch;
        limits.busy_poll = !self.no_busy_poll;
        limits.read_ahead = !self.no_read_ahead;
        limits.background = !self.no_background;
        limits
    }

    fn wanted(&self) -> Wanted {
        Wanted {
            read_only: self.read_only,
            detect_zeroes: !self.no_detect_zeroes,
            keep_free_bytes: self.keep_free.map(|size| size.0),
        }
    }

    fn rhythm(&self) -> Rhythm {
        let Size(rate_bytes) = self.trim_rate;
        Rhythm { every: self.trim_every.map(|every| every.0), rate_bytes: Some(rate_bytes).filter(|&bytes| bytes > 0) }
    }

    /// Where it can be asked. A reader shares the image with others, of whom none could be found by the lock; and a
    /// simulated volume is known to this process only.
    fn control(&self, context: &Context) -> Result<Option<control::Server>> {
        if self.read_only || matches!(context.host()?, Host::Model(_)) {
            return Ok(None);
        }
        match control::Server::bind(&self.image) {
            Ok(control) => Ok(Some(control)),
            Err(error) if error.kind() == ErrorKind::Unsupported => Ok(None),
            // It serves as well without.
            Err(error) => {
                tracing::warn!("`info` and `trim` cannot ask this server: {error}");
                Ok(None)
            }
        }
    }
}

/// The socket beside the image.
fn beside(image: &Path) -> PathBuf {
    let mut name = OsString::from(image);
    name.push(".sock");
    PathBuf::from(name)
}

fn print_start(document: &Document, lines: &[String], out: &mut dyn Write) -> std::io::Result<()> {
    let how = match (document.created, document.read_only) {
        (true, _) => ", created",
        (_, true) => ", read-only",
        _ => "",
    };
    writeln!(
        out,
        "serving {} ({}{how}) until {}; connect with",
        plain(&document.path),
        Bytes(document.size_bytes),
        interrupt::BY
    )?;
    lines.iter().try_for_each(|line| writeln!(out, "  {line}"))
}

fn summary(counters: &Counters) -> Table {
    let get = |counter: &AtomicU64| counter.load(Relaxed);
    let both = |requests: &AtomicU64, bytes: &AtomicU64| {
        let (requests, bytes) = (get(requests), get(bytes));
        format!("{}, {}", Count(requests), Bytes(bytes))
    };
    let mut table = Table::of_facts();
    table.fact("reads", both(&counters.reads, &counters.read_bytes));
    table.fact("writes", both(&counters.writes, &counters.written_bytes));
    table.fact("trims", both(&counters.discards, &counters.discarded_bytes));
    table.fact("zeroings", both(&counters.zeroings, &counters.zeroed_bytes));
    table.fact("flushes", Count(get(&counters.flushes)));
    table
}
