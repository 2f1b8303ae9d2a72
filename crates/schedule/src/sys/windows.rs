//! Windows: tasks of the Task Scheduler, through `schtasks`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use disk_types::{Error, ErrorKind, Result};

use crate::{Added, Entry, Job, Plan, Scope, Text, absolute, task};

const OPERATION: &str = "schedule";

pub(crate) fn usual_scope() -> Scope {
    Scope::User
}

pub(crate) fn bytes_of_path(path: &Path) -> Option<Vec<u8>> {
    path.to_str().map(|path| path.as_bytes().to_vec())
}

pub(crate) fn path_of_bytes(bytes: Vec<u8>) -> Option<PathBuf> {
    String::from_utf8(bytes).ok().map(Into::into)
}

/// As it was given: the name that is free of links has a form that not every program takes.
pub(crate) fn real(_directory: &Path) -> Option<PathBuf> {
    None
}

pub(crate) fn plan(job: &Job) -> Result<Plan> {
    let name = task::name(job)?;
    let path = std::env::temp_dir().join(format!("sparsedisk-task-{}.xml", std::process::id()));
    let commands = vec![format!("schtasks /Create /TN \"{name}\" /XML \"{}\" /F", path.display())];
    Ok(Plan { files: vec![Text { path, text: task::xml(job)? }], commands, name })
}

pub(crate) fn add(job: &Job) -> Result<Added> {
    let plan = plan(job)?;
    let replaced = entry(&plan.name).is_some();
    let [file] = plan.files.as_slice() else { unreachable!("one task is one file") };
    // What schtasks reads is UTF-16, with a mark of its order.
    let units = std::iter::once(0xFEFF).chain(file.text.replace('\n', "\r\n").encode_utf16().collect::<Vec<_>>());
    let bytes: Vec<u8> = units.flat_map(u16::to_le_bytes).collect();
    let failed = |error| Error::from_io(OPERATION, error).at_path(file.path.display());
    fs::write(&file.path, bytes).map_err(failed)?;
    let text = file.path.display().to_string();
    let done = schtasks(&["/Create", "/TN", &plan.name, "/XML", &text, "/F"]);
    // It was only the way in.
    let _ = fs::remove_file(&file.path);
    done.map_err(|error| error.at_path(job.image.display()))?;
    Ok(Added { plan, enabled: true, replaced, notes: Vec::new() })
}

pub(crate) fn remove(image: &Path, scope: Scope) -> Result<Entry> {
    let path = absolute(image)?;
    let found = list()?.into_iter().find(|entry| entry.image == path && entry.scope == scope);
    let entry = found.ok_or_else(|| {
        Error::new(ErrorKind::NotFound, "unschedule")
            .at_path(image.display())
            .because(format!("there is no {} entry for it", scope.name()))
            .advise("`sparsedisk schedule list` shows what there is")
    })?;
    schtasks(&["/Delete", "/TN", &entry.name, "/F"])?;
    Ok(entry)
}

pub(crate) fn list() -> Result<Vec<Entry>> {
    // A folder that is not there has nothing in it.
    let Ok(said) = schtasks(&["/Query", "/FO", "CSV", "/NH"]) else { return Ok(Vec::new()) };
    let names = said.lines().filter_map(|line| line.strip_prefix('"')?.split('"').next());
    let mut names: Vec<&str> = names.filter(|name| name.starts_with(task::FOLDER)).collect();
    names.sort_unstable();
    // A task with several triggers is listed several times.
    names.dedup();
    Ok(names.into_iter().filter_map(entry).collect())
}

/// The task of this name, if it was made here.
fn entry(name: &str) -> Option<Entry> {
    let xml = schtasks(&["/Query", "/XML", "ONE", "/TN", name]).ok()?;
    task::read(name, &xml)
}

fn schtasks(arguments: &[&str]) -> Result<String> {
    let done = Command::new("schtasks").args(arguments).output();
    let done = done.map_err(|error| Error::from_io("run schtasks", error))?;
    if done.status.success() {
        return Ok(String::from_utf8_lossy(&done.stdout).into_owned());
    }
    let said = String::from_utf8_lossy(&done.stderr).trim().replace(['\r', '\n'], " ");
    Err(Error::new(ErrorKind::Io, OPERATION)
        .because(format!("schtasks {} failed: {said}", arguments.first().unwrap_or(&"")))
        .advise("an entry of the machine wants an administrator; --print shows the task, to be made by hand"))
}
