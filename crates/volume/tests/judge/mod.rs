//! Other people's tools as judges.
#![allow(dead_code, reason = "each test uses a part")]

use std::io::Write;
use std::process::{Command, Output, Stdio};

/// What a tool says; `None`, with a word on standard error, if it is not installed and need not be.
pub(crate) fn judge(tool: &str, arguments: &[&str]) -> Option<Output> {
    judge_with(tool, arguments, "")
}

/// The same, with something to read on standard input.
pub(crate) fn judge_with(tool: &str, arguments: &[&str], input: &str) -> Option<Output> {
    if cfg!(windows) {
        eprintln!("skipped: {tool} judges on other systems");
        return None;
    }
    // Debian keeps the formatters out of the path of ordinary users.
    let path = format!("{}:/usr/sbin:/sbin", std::env::var("PATH").unwrap_or_default());
    let child = Command::new(tool)
        .args(arguments)
        .env("PATH", path)
        .env("LC_ALL", "C")
        .env("MTOOLS_SKIP_CHECK", "1")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    match child {
        Ok(mut child) => {
            // One that does not read its input may be gone by now.
            let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
            Some(child.wait_with_output().unwrap())
        }
        Err(error) => {
            let required = std::env::var_os("SPARSEDISK_REQUIRE_ALL").is_some_and(|value| value == "1");
            assert!(!required, "required, but {tool} does not run: {error}");
            eprintln!("skipped: {tool} does not run: {error}");
            None
        }
    }
}

/// Standard output of a judge that must be content.
pub(crate) fn content(tool: &str, arguments: &[&str]) -> Option<String> {
    content_with(tool, arguments, "")
}

/// The same, with something to read on standard input.
pub(crate) fn content_with(tool: &str, arguments: &[&str], input: &str) -> Option<String> {
    let output = judge_with(tool, arguments, input)?;
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{tool} {arguments:?}: {}\n{out}{err}", output.status);
    Some(out.into_owned())
}
