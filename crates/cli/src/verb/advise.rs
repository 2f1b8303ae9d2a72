//! `advise IMAGE`

use std::io::{self, Write};
use std::path::PathBuf;

use clap::Args;
use disk_types::ByteRange;
use serde::Serialize;
use sparse_file::Access;
use sparse_file::forecast::{Forecast, RUN_LIMIT, RUN_LIMIT_LARGE_RECORDS, Risk};

use crate::context::Context;
use crate::failure::Failure;
use crate::interrupt;
use crate::size::{Bytes, Count, Exact};
use crate::table::{Align, Table};

/// The clusters that NTFS has unless told otherwise, and those that Microsoft recommends for large files.
const CLUSTER_BYTES: [u64; 2] = [4 << 10, 64 << 10];

/// Say what an image would cost on NTFS
///
/// Computed from the map of the image: what a sparse copy would occupy, in how many runs it would lie, how far that is
/// from the number that NTFS can list (error 665), and what to do. Nothing is copied or changed.
#[derive(Args)]
#[command(after_help = "\
Examples:
  sparsedisk advise disk.img
  sparsedisk advise --json disk.img | jq '.ntfs[].risk'")]
pub(crate) struct Advise {
    /// The image, or any other file
    #[arg(value_hint = clap::ValueHint::FilePath)]
    image: PathBuf,
}

#[derive(Serialize)]
struct Document {
    path: String,
    apparent_bytes: u64,
    allocated_bytes: u64,
    extents: u64,
    run_limit: u64,
    run_limit_large_records: u64,
    ntfs: Vec<ForecastJson>,
    advice: Vec<&'static str>,
}

#[derive(Serialize)]
struct ForecastJson {
    cluster_bytes: u64,
    unit_bytes: u64,
    allocated_bytes: u64,
    runs: u64,
    runs_at_most: u64,
    risk: &'static str,
}

impl From<&Forecast> for ForecastJson {
    fn from(forecast: &Forecast) -> Self {
        Self {
            cluster_bytes: forecast.cluster_bytes,
            unit_bytes: forecast.unit_bytes,
            allocated_bytes: forecast.allocated_bytes,
            runs: forecast.runs,
            runs_at_most: forecast.runs_at_most,
            risk: forecast.risk().name(),
        }
    }
}

impl Advise {
    pub(crate) fn run(&self, context: &Context) -> Result<(), Failure> {
        let file = context.host()?.open_file(&self.image, Access::Inspect)?;
        let mut extents = 0;
        let mut data_end = None;
        let whole = ByteRange::whole(file.len_bytes());
        let map = whole.into_iter().flat_map(|whole| file.extents(whole)).map(|extent| {
            interrupt::check()?;
            let extent = extent?;
            if extent.kind.is_allocated() {
                extents += u64::from(data_end != Some(extent.range.start()));
                data_end = Some(extent.range.end());
            }
            Ok(extent)
        });
        let forecasts = Forecast::of(map, CLUSTER_BYTES)?;
        let document = Document {
            path: self.image.display().to_string(),
            apparent_bytes: file.len_bytes(),
            allocated_bytes: file.allocated_bytes()?,
            extents,
            run_limit: RUN_LIMIT,
            run_limit_large_records: RUN_LIMIT_LARGE_RECORDS,
            ntfs: forecasts.iter().map(Into::into).collect(),
            advice: advice(&forecasts, file.allocated_bytes()?),
        };
        context.answer(&document, |out| print(&document, &forecasts, out))
    }
}

/// What to do, the most useful first.
fn advice(forecasts: &[Forecast; 2], allocated_bytes: u64) -> Vec<&'static str> {
    let [small, large] = forecasts;
    let mut advice = Vec::new();
    if small.risk() != Risk::Fits || small.allocated_bytes > 2 * allocated_bytes {
        advice.push("trim first: sparsedisk trim frees what is zero or deleted inside, and fewer units are left");
    }
    if small.risk() == Risk::Depends && large.risk() == Risk::Fits {
        advice.push("put it on a volume with 64 KiB clusters: a unit is then one cluster, and cannot be scattered");
    }
    match large.risk() {
        Risk::Fits if small.risk() == Risk::Fits => {}
        Risk::Impossible => advice.push("keep it dense there (copy --dense): as a sparse file NTFS cannot list its runs"),
        Risk::TooMany => {
            advice.push("format the volume with large file records (format /L), or keep the image dense there (copy --dense)");
        }
        Risk::Fits | Risk::Depends => {
            advice.push("or format the volume with large file records (format /L), which lists about four times as many");
            advice.push("or allocate it there ahead (copy --dense onto a volume with free space in one piece)");
        }
    }
    if small.risk() != Risk::Fits {
        advice.push("what is scattered already becomes whole by copying it onto a volume with free space in one piece");
    }
    advice
}

fn print(document: &Document, forecasts: &[Forecast], out: &mut dyn Write) -> io::Result<()> {
    let mut facts = Table::of_facts();
    facts.fact("image", &document.path);
    facts.fact("apparent size", Exact(document.apparent_bytes));
    facts.fact("allocated here", format!("{} in {}", Exact(document.allocated_bytes), extents(document.extents)));
    facts.print(out)?;
    writeln!(out, "\ncopied to NTFS, as a sparse file that is allocated in units:")?;
    let mut table = Table::with_header(&[
        ("cluster", Align::Right),
        ("unit", Align::Right),
        ("allocated", Align::Right),
        ("runs", Align::Right),
        ("of the limit", Align::Right),
        ("runs at most", Align::Right),
        ("of the limit", Align::Right),
    ]);
    for forecast in forecasts {
        table.row([
            Bytes(forecast.cluster_bytes).to_string(),
            Bytes(forecast.unit_bytes).to_string(),
            Bytes(forecast.allocated_bytes).to_string(),
            Count(forecast.runs).to_string(),
            share(forecast.runs),
            Count(forecast.runs_at_most).to_string(),
            share(forecast.runs_at_most),
        ]);
    }
    table.print(out)?;
    writeln!(
        out,
        "runs: free space in one piece; at most: scattered in single clusters. The limit is about {} runs in a file,\n\
         about {} on a volume formatted with large file records (format /L).",
        Count(RUN_LIMIT),
        Count(RUN_LIMIT_LARGE_RECORDS)
    )?;
    writeln!(out)?;
    for forecast in forecasts {
        if let Some(warning) = warning(forecast) {
            writeln!(out, "warning: {} clusters: {warning}", Bytes(forecast.cluster_bytes))?;
        }
    }
    if forecasts.iter().all(|forecast| forecast.risk() == Risk::Fits) {
        writeln!(out, "far enough from error 665 with either cluster size")?;
    }
    document.advice.iter().try_for_each(|advice| writeln!(out, "advice: {advice}"))
}

/// What is wrong with it, with the numbers.
fn warning(forecast: &Forecast) -> Option<String> {
    let (runs, at_most, limit) = (Count(forecast.runs), Count(forecast.runs_at_most), Count(RUN_LIMIT));
    Some(match forecast.risk() {
        Risk::Fits => return None,
        Risk::Depends => format!(
            "{runs} runs at best and {at_most} at worst, where about {limit} can be listed; if the free space is \
             scattered, writes fail with error 665 (ERROR_FILE_SYSTEM_LIMITATION)"
        ),
        Risk::TooMany => format!(
            "{runs} runs, where about {limit} can be listed; writes fail with error 665 \
             (ERROR_FILE_SYSTEM_LIMITATION)"
        ),
        Risk::Impossible => format!(
            "{runs} runs, where about {limit} can be listed and {} with format /L; writes fail with error 665 \
             (ERROR_FILE_SYSTEM_LIMITATION)",
            Count(RUN_LIMIT_LARGE_RECORDS)
        ),
    })
}

fn extents(count: u64) -> String {
    crate::size::Many(count, "extent").to_string()
}

/// Percent of the limit, to a tenth.
fn share(runs: u64) -> String {
    let thousandths = u128::from(runs) * 1000 / u128::from(RUN_LIMIT);
    format!("{}.{}%", thousandths / 10, thousandths % 10)
}
