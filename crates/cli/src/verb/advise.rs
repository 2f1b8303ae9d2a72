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
use crate::plain::plain;
use crate::size::{Bytes, Count, Exact, Many};
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
    runs_scattered: u64,
    risk: &'static str,
}

impl From<&Forecast> for ForecastJson {
    fn from(forecast: &Forecast) -> Self {
        Self {
            cluster_bytes: forecast.cluster_bytes,
            unit_bytes: forecast.unit_bytes,
            allocated_bytes: forecast.allocated_bytes,
            runs: forecast.runs,
            runs_scattered: forecast.runs_scattered,
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
            interrupt::check("map", &self.image)?;
            let extent = extent?;
            if extent.kind.is_allocated() {
                extents += u64::from(data_end != Some(extent.range.start()));
                data_end = Some(extent.range.end());
            }
            Ok(extent)
        });
        let forecasts = Forecast::of(map, CLUSTER_BYTES)?;
        let allocated_bytes = file.allocated_bytes()?;
        let document = Document {
            path: self.image.display().to_string(),
            apparent_bytes: file.len_bytes(),
            allocated_bytes,
            extents,
            run_limit: RUN_LIMIT,
            run_limit_large_records: RUN_LIMIT_LARGE_RECORDS,
            ntfs: forecasts.iter().map(Into::into).collect(),
            advice: advice(&forecasts[0], allocated_bytes),
        };
        context.answer(&document, |out| print(&document, &forecasts, out))
    }
}

/// What to do, the most useful first. The smaller clusters are never the better ones.
fn advice(smallest: &Forecast, allocated_bytes: u64) -> Vec<&'static str> {
    const TRIM: &str = "trim it first (sparsedisk trim): what is zero, or deleted inside, leaves fewer units";
    const CLUSTERS: &str = "put it on a volume with 64 KiB clusters: a unit is then one cluster, and lies in one piece";
    const LARGE_RECORDS: &str =
        "format the volume with large file records (format /L), which list about four times as many";
    const DENSE: &str = "allocate it there ahead (sparsedisk copy --dense): a file without holes has few runs";
    const COPY: &str = "copy it again once it is scattered: a copy onto free space in one piece has the fewest runs";
    match smallest.risk() {
        Risk::Fits if smallest.allocated_bytes > 2 * allocated_bytes => vec![TRIM],
        Risk::Fits => vec![],
        Risk::Depends => vec![TRIM, CLUSTERS, LARGE_RECORDS, DENSE, COPY],
        Risk::TooMany => vec![TRIM, LARGE_RECORDS, DENSE],
        Risk::Impossible => vec![TRIM, DENSE],
    }
}

fn print(document: &Document, forecasts: &[Forecast], out: &mut dyn Write) -> io::Result<()> {
    let mut facts = Table::of_facts();
    facts.fact("image", plain(&document.path));
    facts.fact("apparent size", Exact(document.apparent_bytes));
    facts
        .fact("allocated here", format!("{} in {}", Exact(document.allocated_bytes), Many(document.extents, "extent")));
    facts.print(out)?;
    writeln!(out, "\ncopied to NTFS, as a sparse file that is allocated in units:")?;
    let mut table = Table::with_header(&[
        ("cluster", Align::Right),
        ("unit", Align::Right),
        ("allocated", Align::Right),
        ("runs", Align::Right),
        ("of the limit", Align::Right),
        ("if scattered", Align::Right),
        ("of the limit", Align::Right),
    ]);
    for forecast in forecasts {
        table.row([
            Bytes(forecast.cluster_bytes).to_string(),
            Bytes(forecast.unit_bytes).to_string(),
            Bytes(forecast.allocated_bytes).to_string(),
            Count(forecast.runs).to_string(),
            share(forecast.runs),
            Count(forecast.runs_scattered).to_string(),
            share(forecast.runs_scattered),
        ]);
    }
    table.print(out)?;
    writeln!(
        out,
        "runs: with free space in one piece; if scattered: each of them in as many pieces as a unit has clusters, an\n\
         estimate. The limit is about {} runs of a file, about {} on a volume formatted with large file records (format /L).",
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
    let (runs, scattered, limit) = (Count(forecast.runs), Count(forecast.runs_scattered), Count(RUN_LIMIT));
    Some(match forecast.risk() {
        Risk::Fits => return None,
        Risk::Depends => format!(
            "{runs} runs, and some {scattered} if the free space is scattered, where about {limit} can be listed: then \
             writes fail with error 665 (ERROR_FILE_SYSTEM_LIMITATION)"
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

/// Percent of the limit, to a tenth.
fn share(runs: u64) -> String {
    let thousandths = u128::from(runs) * 1000 / u128::from(RUN_LIMIT);
    format!("{}.{}%", thousandths / 10, thousandths % 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As many islands of 4 KiB, each in a unit of its own.
    fn islands(count: u64) -> Forecast {
        let (cluster_bytes, unit_bytes) = (4096, 65536);
        Forecast { cluster_bytes, unit_bytes, allocated_bytes: count << 16, runs: count, runs_scattered: count * 16 }
    }

    #[test]
    fn the_warning_has_the_numbers_and_the_advice_fits_it() {
        assert_eq!((warning(&islands(1000)), advice(&islands(1000), 1000 << 16).len()), (None, 0));
        // Small islands cost sixteen times as much there.
        assert_eq!(advice(&islands(1000), 1000 << 12).len(), 1);
        for (count, numbers) in [
            (160_000, &["160,000", "2,560,000", "1,500,000", "error 665"][..]),
            (1_500_001, &["1,500,001", "1,500,000", "error 665"]),
            (6_000_001, &["6,000,001", "6,000,000", "error 665"]),
        ] {
            let text = warning(&islands(count)).unwrap();
            assert!(numbers.iter().all(|number| text.contains(number)), "{text}");
            let told = advice(&islands(count), count << 12).join(" ");
            assert_eq!(told.contains("format /L"), count < 6_000_001, "{told}");
            assert_eq!(told.contains("64 KiB clusters"), count < 1_500_001, "{told}");
        }
        assert_eq!((share(0), share(RUN_LIMIT), share(160_000)), ("0.0%".into(), "100.0%".into(), "10.6%".into()));
    }
}
