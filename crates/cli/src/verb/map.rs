//! `map IMAGE`

use std::cell::RefCell;
use std::fs::File;
use std::io::{self, BufWriter, Read, Write};
use std::path::{Path, PathBuf};

use clap::Args;
use disk_types::{ByteRange, Error, ErrorKind, Extent, ExtentKind, Result};
use serde::ser::{Serialize, SerializeMap, SerializeSeq, Serializer};
use sparse_file::{Access, SparseFile};

use crate::context::{Context, SCHEMA};
use crate::failure::{ErrorJson, Failure};
use crate::picture::{Cells, Kind, Tally, strip, svg};
use crate::progress::Progress;
use crate::scan::Scan;
use crate::size::{Bytes, Count, Exact};
use crate::table::{Align, Table};
use crate::{advice, exit, interrupt};

/// A list longer than this is shortened, unless -v.
const SHORT_LIST: usize = 16;

/// Show where an image's bytes lie
///
/// The extents cover the file exactly: data, hole, unwritten (allocated and never written) and, with --scan, zero
/// (allocated, and nothing but zeroes in it). Works also while somebody else uses the image.
#[derive(Args)]
#[command(after_help = "\
In the strip a blank is a hole, and the fuller a block the fuller its piece of the disk.

Examples:
  sparsedisk map disk.img
  sparsedisk map --scan --svg disk.svg disk.img
  sparsedisk map --json disk.img | jq '.extents[] | select(.kind == \"data\")'")]
pub(crate) struct Map {
    /// The image, or any other file
    #[arg(value_hint = clap::ValueHint::FilePath)]
    image: PathBuf,
    /// Read the data to find the zeroes in it
    #[arg(long)]
    scan: bool,
    /// Draw the whole disk into this file; an SVG of that name is replaced, anything else is not
    #[arg(long, value_name = "FILE", value_hint = clap::ValueHint::FilePath)]
    svg: Option<PathBuf>,
}

impl Map {
    pub(crate) fn run(&self, context: &Context) -> Result<(), Failure> {
        let file = context.host()?.open_file(&self.image, Access::Inspect)?;
        if let Some(picture) = &self.svg {
            check_replaceable(picture, &self.image)?;
        }
        let page = RefCell::new(self.svg.as_ref().map(|path| Page::new(path, file.len_bytes())));
        let mut progress = Progress::new(context);
        let len_bytes = file.len_bytes();
        let extents = self.extents(&file).map(|extent| {
            let extent = extent?;
            interrupt::check("map", &self.image)?;
            if self.scan {
                progress.update("reading", extent.range.end(), len_bytes);
            }
            if let Some(page) = &mut *page.borrow_mut() {
                page.add(extent);
            }
            Ok(extent)
        });
        // Once all extents are known, before the answer is complete: it tells of both or of neither.
        let finish = || match page.take() {
            Some(page) => page.write(&self.image, file.allocated_bytes()?, self.scan),
            None => Ok(()),
        };
        if context.json() { write_json(extents, finish) } else { write_page(extents, finish, len_bytes, context) }
    }

    fn extents<'a>(&self, file: &'a SparseFile) -> Box<dyn Iterator<Item = Result<Extent>> + 'a> {
        let Some(whole) = ByteRange::whole(file.len_bytes()) else { return Box::new(std::iter::empty()) };
        let extents = file.extents(whole);
        if self.scan { Box::new(Scan::new(file, extents)) } else { Box::new(Joined::new(extents)) }
    }
}

/// Extents in which delayed data is data: neighbours are never shown under one name.
struct Joined<I: Iterator> {
    extents: I,
    pending: Option<Extent>,
}

impl<I: Iterator<Item = Result<Extent>>> Joined<I> {
    fn new(extents: I) -> Self {
        Self { extents, pending: None }
    }
}

impl<I: Iterator<Item = Result<Extent>>> Iterator for Joined<I> {
    type Item = Result<Extent>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let mut extent = match self.extents.next() {
                Some(Ok(extent)) => extent,
                Some(Err(error)) => return Some(Err(error)),
                None => return self.pending.take().map(Ok),
            };
            if extent.kind == ExtentKind::Delayed {
                extent.kind = ExtentKind::Data;
            }
            match &mut self.pending {
                Some(last) if last.kind == extent.kind => {
                    last.range = ByteRange::new(last.range.start(), extent.range.end()).unwrap_or(last.range);
                }
                pending => {
                    if let Some(done) = pending.replace(extent) {
                        return Some(Ok(done));
                    }
                }
            }
        }
    }
}

fn write_page(
    extents: impl Iterator<Item = Result<Extent>>,
    finish: impl FnOnce() -> Result<()>,
    len_bytes: u64,
    context: &Context,
) -> Result<(), Failure> {
    let mut cells = Cells::at_most(len_bytes, strip::cells_for(strip::terminal_width()));
    let mut tally = Tally::default();
    let mut listed = Vec::new();
    let mut count = 0;
    for extent in extents {
        let extent = extent?;
        cells.add(extent);
        tally.add(extent.kind.into(), extent.range.len());
        count += 1;
        if context.verbose() || listed.len() < SHORT_LIST {
            listed.push(extent);
        }
    }
    finish()?;
    context.write_page(|out| {
        strip::draw(&cells, strip::terminal_reads_utf8(), out)?;
        writeln!(out)?;
        kinds(&tally).print(out)?;
        writeln!(out)?;
        list(&listed).print(out)?;
        match count - listed.len() as u64 {
            0 => Ok(()),
            more => writeln!(out, "and {} more; -v lists them all", Count(more)),
        }
    })
}

fn kinds(tally: &Tally) -> Table {
    let mut table = Table::with_header(&[("kind", Align::Left), ("bytes", Align::Left), ("extents", Align::Right)]);
    for kind in Kind::ALL.into_iter().filter(|&kind| tally.extents(kind) > 0) {
        table.row([
            kind.meaning().to_owned(),
            Exact(tally.bytes(kind)).to_string(),
            Count(tally.extents(kind)).to_string(),
        ]);
    }
    table
}

fn list(extents: &[Extent]) -> Table {
    let mut table = Table::with_header(&[
        ("offset", Align::Right),
        ("length", Align::Right),
        ("", Align::Right),
        ("kind", Align::Left),
    ]);
    for extent in extents {
        table.row([
            extent.range.start().to_string(),
            extent.range.len().to_string(),
            Bytes(extent.range.len()).to_string(),
            Kind::from(extent.kind).name().to_owned(),
        ]);
    }
    table
}

/// Writes the object piece by piece: it is never whole in memory. An error on the way closes the list and is told in the
/// same object, which stays readable.
fn write_json(
    extents: impl Iterator<Item = Result<Extent>>,
    finish: impl FnOnce() -> Result<()>,
) -> Result<(), Failure> {
    let mut out = BufWriter::with_capacity(64 << 10, io::stdout().lock());
    let stream = Stream { extents: RefCell::new(extents), error: RefCell::new(None) };
    let write = || {
        let mut serializer = serde_json::Serializer::new(&mut out);
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("schema", &SCHEMA)?;
        map.serialize_entry("extents", &stream)?;
        if stream.error.borrow().is_none()
            && let Err(error) = finish()
        {
            *stream.error.borrow_mut() = Some(advice::fill_in(error));
        }
        if let Some(error) = &*stream.error.borrow() {
            map.serialize_entry("error", &ErrorJson::from(error))?;
        }
        SerializeMap::end(map)
    };
    write().map_err(io::Error::from)?;
    out.write_all(b"\n")?;
    out.flush()?;
    match stream.error.into_inner() {
        Some(error) => Err(Failure::Told(exit::code(error.kind()))),
        None => Ok(()),
    }
}

/// Extents that serialise as they come.
struct Stream<I> {
    extents: RefCell<I>,
    error: RefCell<Option<Error>>,
}

#[derive(serde::Serialize)]
struct ExtentJson {
    offset: u64,
    length: u64,
    kind: &'static str,
}

impl<I: Iterator<Item = Result<Extent>>> Serialize for Stream<I> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut list = serializer.serialize_seq(None)?;
        for extent in &mut *self.extents.borrow_mut() {
            match extent {
                Ok(extent) => list.serialize_element(&ExtentJson {
                    offset: extent.range.start(),
                    length: extent.range.len(),
                    kind: Kind::from(extent.kind).name(),
                })?,
                Err(error) => {
                    *self.error.borrow_mut() = Some(advice::fill_in(error));
                    break;
                }
            }
        }
        list.end()
    }
}

/// The operation of its errors.
const PICTURE: &str = "write as a picture";

/// Makes sure that nothing is lost when a picture takes the name `path`. Opens nothing that could wait.
fn check_replaceable(path: &Path, image: &Path) -> Result<()> {
    let failed = |error| Error::from_io(PICTURE, error).at_path(path.display());
    let refuse = |kind, why: &'static str| {
        Err(Error::new(kind, PICTURE).at_path(path.display()).because(why).advise("choose another name"))
    };
    let metadata = match path.symlink_metadata() {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(failed(error)),
    };
    if !metadata.is_file() {
        return refuse(ErrorKind::Refused, "it exists and is not a regular file");
    }
    if path.canonicalize().ok() == image.canonicalize().ok() {
        return refuse(ErrorKind::Refused, "it is the image itself");
    }
    let mut head = Vec::new();
    File::open(path).and_then(|file| file.take(5).read_to_end(&mut head)).map_err(failed)?;
    if !head.starts_with(b"<svg") && !head.starts_with(b"<?xml") {
        return refuse(ErrorKind::AlreadyExists, "it exists and is not an SVG");
    }
    Ok(())
}

/// The picture that --svg asks for.
struct Page<'a> {
    path: &'a Path,
    cells: Cells,
    tally: Tally,
}

impl<'a> Page<'a> {
    fn new(path: &'a Path, len_bytes: u64) -> Self {
        Self { path, cells: svg::cells_for(len_bytes), tally: Tally::default() }
    }

    fn add(&mut self, extent: Extent) {
        self.cells.add(extent);
        self.tally.add(extent.kind.into(), extent.range.len());
    }

    fn write(&self, image: &Path, allocated_bytes: u64, scanned: bool) -> Result<()> {
        let caption = svg::Caption {
            title: &image.file_name().unwrap_or(image.as_os_str()).to_string_lossy(),
            allocated_bytes,
            tally: &self.tally,
            scanned,
        };
        // Under another name first: whatever happens, what stands there is whole.
        let mut unfinished = self.path.as_os_str().to_owned();
        unfinished.push(format!(".{}.partial", std::process::id()));
        let unfinished = PathBuf::from(unfinished);
        let failed = |error| Error::from_io(PICTURE, error).at_path(self.path.display());
        let file = File::create_new(&unfinished).map_err(failed)?;
        let draw = || {
            let mut out = BufWriter::new(file);
            svg::draw(&self.cells, &caption, &mut out)?;
            out.flush()
        };
        let written = draw()
            .map_err(failed)
            .and_then(|()| check_replaceable(self.path, image))
            .and_then(|()| std::fs::rename(&unfinished, self.path).map_err(failed));
        if written.is_err() {
            // Ours, made a moment ago; nothing better is known if even that fails.
            let _ = std::fs::remove_file(&unfinished);
        }
        written
    }
}
