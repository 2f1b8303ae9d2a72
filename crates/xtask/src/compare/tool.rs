//! Programs that do their work and end.

use std::fs::{self, File};
use std::io;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

use super::contender::Contender;
use super::row::{Work, Zeroes};
use super::sample::Sample;
use crate::sys;

/// Runs a contender on `source`, if the work has one, and measures. What it makes is `result`, which is not there.
pub(crate) fn measure(
    contender: Contender,
    program: &Path,
    work: Work,
    source: &Path,
    result: &Path,
) -> io::Result<Sample> {
    let mut command = Command::new(program);
    // What it changed, which is flushed.
    let changed = match (work, contender) {
        (Work::Trim(_), Contender::Ours) => {
            command.args(["trim", "--quiet"]).arg(source);
            Some(source)
        }
        (Work::Trim(_), Contender::Fallocate) => {
            command.arg("--dig-holes").arg(source);
            Some(source)
        }
        (Work::Copy(_, zeroes), Contender::Ours | Contender::OursUnflushed) => {
            command.args(["copy", "--quiet"]).arg(source).arg(result);
            command.args((zeroes == Zeroes::Detected).then_some("--detect-zeroes"));
            command.args((contender == Contender::OursUnflushed).then_some("--no-flush"));
            Some(result)
        }
        (Work::Copy(..), Contender::CpAuto | Contender::CpAlways) => {
            let sparse = if contender == Contender::CpAuto { "--sparse=auto" } else { "--sparse=always" };
            command.arg(sparse).arg(source).arg(result);
            Some(result)
        }
        (Work::Map(_), Contender::Ours) => {
            command.args(["map", "--json"]).arg(source);
            None
        }
        (Work::Map(_), Contender::Filefrag) => {
            command.arg("-v").arg(source);
            None
        }
        (Work::Map(_), Contender::QemuImgMap) => {
            command.args(["map", "--output=json", "--format=raw"]).arg(source);
            None
        }
        (Work::Create { len_bytes }, Contender::Ours) => {
            command.args(["create", "--quiet", "--fs", "fat32", "--size", &len_bytes.to_string()]).arg(result);
            Some(result)
        }
        (Work::Create { len_bytes }, Contender::MkfsVfat) => {
            // It wants a file, and making one is not its work.
            File::create_new(result)?.set_len(len_bytes)?;
            command.args(["-F", "32"]).arg(result);
            Some(result)
        }
        _ => return Err(io::Error::other(format!("{} does not do this", contender.name()))),
    };
    let said = tempfile::NamedTempFile::new()?;
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(said.reopen()?);
    let start = Instant::now();
    let ended = sys::wait(sys::spawn(&mut command)?)?;
    let wall = start.elapsed();
    if let Some(failure) = ended.failure {
        let said = fs::read_to_string(said.path()).unwrap_or_default();
        return Err(io::Error::other(format!("{failure}: {}", said.trim())));
    }
    let flushed_seconds = match changed {
        Some(changed) => {
            File::options().write(true).open(changed)?.sync_all()?;
            Some(start.elapsed().as_secs_f64())
        }
        None => None,
    };
    Ok(Sample {
        wall_seconds: wall.as_secs_f64(),
        flushed_seconds,
        processor_seconds: ended.processor.as_secs_f64(),
        operations: 1,
        peak_rss_bytes: ended.peak_rss_bytes,
        allocated_bytes: changed.map(sys::allocated_bytes).transpose()?,
        ..Sample::default()
    })
}
