//! The XML of a task, as [MS-TSCH] section 2.5 has it.
//!
//! The Task Scheduler puts the values of variables into what it runs, and knows no way to keep it from that: a path in
//! which it would find one is refused.

use disk_types::{Error, ErrorKind, Result};

use crate::{Entry, Every, Job, Scope, escape_path, systemd, unescape_path};

/// The folder of all tasks.
pub const FOLDER: &str = "\\sparsedisk\\";
/// The language of [MS-TSCH] 1.2: Windows Vista and later.
const NAMESPACE: &str = "http://schemas.microsoft.com/windows/2004/02/mit/task";

/// The full name of the task for a job.
///
/// # Errors
/// [`ErrorKind::Refused`] for a path that is no Unicode.
pub fn name(job: &Job) -> Result<String> {
    Ok(format!("{FOLDER}{}", stem(job)?))
}

fn stem(job: &Job) -> Result<String> {
    let escaped = escape_path(&job.image).ok_or_else(|| refused(job, "its path is no Unicode"))?;
    // A task is a file of its name: a backslash would begin a folder, a colon a stream.
    Ok(systemd::stem(&escaped).replace('\\', "~").replace(':', "~x3a"))
}

/// The XML that describes the task, for a file in UTF-16.
///
/// # Errors
/// [`ErrorKind::Refused`] for a path in which the Task Scheduler would find a variable, that is no Unicode or cannot be
/// written as XML, and for a program with a longer path than it takes.
pub fn xml(job: &Job) -> Result<String> {
    let unicode = |path: &std::path::Path| path.to_str().map(str::to_owned).ok_or_else(|| refused(job, "no Unicode"));
    let (image, program) = (unicode(&job.image)?, unicode(&job.program)?);
    for path in [&image, &program] {
        if path.matches('%').count() > 1 || path.contains("$(") || path.contains('"') {
            return Err(refused(job, "the Task Scheduler would put the value of a variable into its path")
                .advise("give it a name without % and $("));
        }
    }
    if [&image, &program]
        .iter()
        .any(|path| path.contains(|c: char| c.is_control() || ['\u{fffe}', '\u{ffff}'].contains(&c)))
    {
        return Err(refused(job, "its path has a character that XML has not").advise("give it a plain name"));
    }
    if program.encode_utf16().count() > PROGRAM_UNITS {
        return Err(refused(job, "the Task Scheduler runs no program whose path is longer than 260 characters")
            .advise("install sparsedisk in a shorter place"));
    }
    let escaped = escape_path(&job.image).ok_or_else(|| refused(job, "no Unicode"))?;
    let Job { every, .. } = job;
    let (command, shown) = (markup(&program), markup(&image));
    let arguments = markup(&format!("trim --skip-in-use -- {}", argument(&image)));
    let principal = match job.scope {
        Scope::User => "<LogonType>InteractiveToken</LogonType>\n      <RunLevel>LeastPrivilege</RunLevel>",
        // The account of the machine itself.
        Scope::System => "<UserId>S-1-5-18</UserId>\n      <RunLevel>HighestAvailable</RunLevel>",
    };
    Ok(format!(
        r#"<?xml version="1.0" encoding="UTF-16"?>
<Task version="1.2" xmlns="{NAMESPACE}">
  <RegistrationInfo>
    <Author>sparsedisk</Author>
    <Description>Trim {shown} every {every}</Description>
  </RegistrationInfo>
  <Triggers>
    <CalendarTrigger>
{repetition}      <StartBoundary>2024-01-01T00:00:00</StartBoundary>
      <Enabled>true</Enabled>
      <RandomDelay>PT{spread}S</RandomDelay>
      <ScheduleByDay>
        <DaysInterval>{days}</DaysInterval>
      </ScheduleByDay>
    </CalendarTrigger>
  </Triggers>
  <Principals>
    <Principal id="Author">
      {principal}
    </Principal>
  </Principals>
  <Settings>
    <MultipleInstancesPolicy>IgnoreNew</MultipleInstancesPolicy>
    <DisallowStartIfOnBatteries>true</DisallowStartIfOnBatteries>
    <StopIfGoingOnBatteries>false</StopIfGoingOnBatteries>
    <StartWhenAvailable>true</StartWhenAvailable>
    <ExecutionTimeLimit>PT0S</ExecutionTimeLimit>
    <Priority>9</Priority>
    <Enabled>true</Enabled>
  </Settings>
  <Data>{MARK}image={escaped} every={every}</Data>
  <Actions Context="Author">
    <Exec>
      <Command>{command}</Command>
      <Arguments>{arguments}</Arguments>
    </Exec>
  </Actions>
</Task>
"#,
        spread = every.spread_seconds(),
        days = (every.as_minutes() / DAY).max(1),
        repetition = repetition(*every),
    ))
}

const DAY: u32 = 24 * 60;
/// The longest path of a program (`pathType` of the schema).
const PROGRAM_UNITS: usize = 260;
/// How our data begins.
const MARK: &str = "sparsedisk ";

/// What repeats within a day.
fn repetition(every: Every) -> String {
    match every.as_minutes() {
        minutes if minutes < DAY => format!(
            "      <Repetition>\n        <Interval>PT{minutes}M</Interval>\n        <Duration>P1D</Duration>\n      \
             </Repetition>\n"
        ),
        _ => String::new(),
    }
}

/// The entry that a task's XML describes, if it was made here.
#[must_use]
pub fn read(name: &str, xml: &str) -> Option<Entry> {
    let (_, data) = xml.split_once("<Data>")?;
    let (data, _) = data.split_once("</Data>")?;
    let mut fields = data.trim().strip_prefix(MARK)?.split(' ');
    let image = unescape_path(fields.next()?.strip_prefix("image=")?)?;
    let every = fields.next()?.strip_prefix("every=")?.parse().ok()?;
    let scope = if xml.contains("<UserId>S-1-5-18</UserId>") { Scope::System } else { Scope::User };
    let active = Some(!xml.contains("<Settings>") || !settings(xml).contains("<Enabled>false</Enabled>"));
    Some(Entry { image, every, scope, name: name.to_owned(), active, next: None, last: None, last_result: None })
}

fn settings(xml: &str) -> &str {
    xml.split_once("<Settings>")
        .and_then(|(_, rest)| rest.split_once("</Settings>"))
        .map_or("", |(settings, _)| settings)
}

/// An argument as `CommandLineToArgvW` takes it apart: in quotes, and backslashes before the last quote doubled.
fn argument(text: &str) -> String {
    let trailing = text.len() - text.trim_end_matches('\\').len();
    format!("\"{text}{}\"", "\\".repeat(trailing))
}

fn markup(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            _ => out.push(c),
        }
    }
    out
}

fn refused(job: &Job, why: &'static str) -> Error {
    Error::new(ErrorKind::Refused, "schedule").at_path(job.image.display()).because(why)
}
