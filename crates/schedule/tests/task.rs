//! The XML of tasks. What the Task Scheduler makes of it is not proven here.

use schedule::{Job, Scope, task};

/// How absolute paths begin.
const ROOT: &str = if cfg!(windows) { "C:" } else { "" };

fn job(image: &str, every: &str, scope: Scope) -> Job {
    let (image, program) = (format!("{ROOT}{image}").into(), "/Program Files/sparsedisk.exe".into());
    Job { image, program, every: every.parse().unwrap(), scope }
}

#[test]
fn a_task_is_read_as_it_was_written() {
    for (image, every, scope) in [
        ("/disks/a & b <c>.img", "1d", Scope::User),
        ("/disks/\u{e4} 100%.img", "6h", Scope::System),
        ("/disks/x--y.img", "15min", Scope::User),
    ] {
        let job = job(image, every, scope);
        let xml = task::xml(&job).unwrap();
        let entry = task::read("name", &xml).unwrap();
        assert_eq!((&entry.image, entry.every, entry.scope), (&job.image, job.every, scope), "{xml}");
        assert_eq!(entry.active, Some(true));
        let off =
            xml.replace("<Priority>9</Priority>\n    <Enabled>true", "<Priority>9</Priority>\n    <Enabled>false");
        assert_eq!(task::read("name", &off).unwrap().active, Some(false));
    }
    assert_eq!(task::read("name", "<Task><Data>somebody's</Data></Task>"), None);
}

#[test]
fn a_task_quotes_for_xml_and_for_the_command_line() {
    let xml = task::xml(&job("/a & b/disk.img", "1d", Scope::User)).unwrap();
    let expected = format!("<Arguments>trim --skip-in-use -- &quot;{ROOT}/a &amp; b/disk.img&quot;</Arguments>");
    assert!(xml.contains(&expected), "{xml}");
    assert!(xml.contains("<Command>/Program Files/sparsedisk.exe</Command>"), "{xml}");
    assert!(!xml.contains("<Repetition>") && xml.contains("<DaysInterval>1</DaysInterval>"), "{xml}");
    let xml = task::xml(&job("/a/trailing\\", "15min", Scope::User)).unwrap();
    assert!(xml.contains("/a/trailing\\\\&quot;") && xml.contains("<Interval>PT15M</Interval>"), "{xml}");
}

#[test]
fn law10_a_path_with_a_variable_in_it_is_refused() {
    for image in ["/disks/%TEMP%.img", "/disks/$(Arg0).img"] {
        let error = task::xml(&job(image, "1d", Scope::User)).unwrap_err();
        assert_eq!(error.kind(), disk_types::ErrorKind::Refused, "{image}: {error}");
    }
}

#[test]
fn law10_what_the_schema_of_tasks_does_not_take_is_refused() {
    for image in ["/disks/\u{1}.img", "/disks/\u{ffff}.img"] {
        let error = task::xml(&job(image, "1d", Scope::User)).unwrap_err();
        assert_eq!(error.kind(), disk_types::ErrorKind::Refused, "{image:?}: {error}");
    }
    let deep = Job { program: "/p".repeat(131).into(), ..job("/disk.img", "1d", Scope::User) };
    assert!(task::xml(&deep).unwrap_err().to_string().contains("260"));
}

#[test]
fn the_name_of_a_task_has_no_folder_but_ours_and_no_stream() {
    let name = task::name(&job("/disks/a b:c.img", "1d", Scope::User)).unwrap();
    let stem = name.strip_prefix("\\sparsedisk\\sparsedisk-trim-").unwrap();
    assert!(stem.ends_with("disks-a~x20b~x3ac.img") && !stem.contains(['\\', ':', '/', '%']), "{name}");
}
