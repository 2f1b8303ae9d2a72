//! `map IMAGE`

use std::cell::RefCell;
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use clap::Args;
use disk_types::{ByteRange, Error, Extent, Result};
use serde::ser::{Serialize, SerializeMap, SerializeSeq, Serializer};
use sparse_file::{Access, SparseFile};

use crate::context::{Context, SCHEMA};
use crate::failure::{ErrorJson, Failure};
use crate::picture::{Cells, Kind, Tally, strip, svg};
use crate::progress::Progress;
use crate::scan::Scan;
use crate::size::{Bytes, Count, Exact};
use crate::table::{Align, Table};
use crate::{exit, interrupt};

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
    /// Draw the whole disk into this file, which is replaced
    #[arg(long, value_name = "FILE", value_hint = clap::ValueHint::FilePath)]
    svg: Option<PathBuf>,
}

impl Map {
    pub(crate) fn run(&self, context: &Context) -> Result<(), Failure> {
        let file = context.host()?.open_file(&self.image, Access::Inspect)?;
        let mut page = self.svg.as_ref().map(|path| Page::new(path, file.len_bytes()));
        let mut progress = Progress::new(context);
        let len_bytes = file.len_bytes();
        let extents = self.extents(&file).map(|extent| {
            let extent = extent?;
            interrupt::check()?;
            if self.scan {
                progress.update("reading", extent.range.end(), len_bytes);
            }
            if let Some(page) = &mut page {
                page.add(extent);
            }
            Ok(extent)
        });
        if context.json() {
            write_json(extents)?
        } else {
            write_page(extents, len_bytes, context)?
        }
        drop(progress);
        match page {
            Some(page) => page.write(&self.image, file.allocated_bytes()?, self.scan).map_err(Into::into),
            None => Ok(()),
        }
    }

    fn extents<'a>(&self, file: &'a SparseFile) -> Box<dyn Iterator<Item = Result<Extent>> + 'a> {
        let Some(whole) = ByteRange::whole(file.len_bytes()) else { return Box::new(std::iter::empty()) };
        let extents = file.extents(whole);
        if self.scan { Box::new(Scan::new(file, extents)) } else { Box::new(extents) }
    }
}

fn write_page(extents: impl Iterator<Item = Result<Extent>>, len_bytes: u64, context: &Context) -> Result<(), Failure> {
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
fn write_json(extents: impl Iterator<Item = Result<Extent>>) -> Result<(), Failure> {
    let mut out = BufWriter::with_capacity(64 << 10, io::stdout().lock());
    let stream = Stream { extents: RefCell::new(extents), error: RefCell::new(None) };
    let mut write = || {
        let mut serializer = serde_json::Serializer::new(&mut out);
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("schema", &SCHEMA)?;
        map.serialize_entry("extents", &stream)?;
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
                    *self.error.borrow_mut() = Some(error);
                    break;
                }
            }
        }
        list.end()
    }
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
        let write = || {
            let mut out = BufWriter::new(File::create(self.path)?);
            svg::draw(&self.cells, &caption, &mut out)?;
            out.flush()
        };
        write().map_err(|error| Error::from_io("write the picture", error).at_path(self.path.display()))
    }
}
