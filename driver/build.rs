//! Links the driver: a native image without a C runtime, whose entry is DriverEntry, and the version resource.

use std::path::Path;
use std::process::Command;
use std::{env, fs};

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed=sparsedisk.rc");
    let target = |part: &str| env::var(format!("CARGO_CFG_TARGET_{part}")).unwrap_or_default();
    let x86 = target("ARCH") == "x86";
    let arguments: &[&str] = match target("ENV").as_str() {
        // 5.2 is the oldest kernel the driver runs on. Without a time in it, the same source gives the same file.
        "gnu" => &[
            "-nostartfiles",
            "-nodefaultlibs",
            if x86 { "-Wl,--entry,_DriverEntry@8" } else { "-Wl,--entry,DriverEntry" },
            "-Wl,--subsystem,native:5.2",
            "-Wl,--major-os-version,5,--minor-os-version,2",
            "-Wl,--dynamicbase,--nxcompat",
            "-Wl,--section-alignment,4096,--file-alignment,512",
            "-Wl,--exclude-all-symbols,--no-insert-timestamp",
        ],
        "msvc" => &[
            "/DRIVER",
            "/NODEFAULTLIB",
            if x86 { "/ENTRY:DriverEntry@8" } else { "/ENTRY:DriverEntry" },
            if x86 { "/SUBSYSTEM:NATIVE,5.01" } else { "/SUBSYSTEM:NATIVE,5.02" },
            "/RELEASE",
            "/DYNAMICBASE",
            "/NXCOMPAT",
            "/BREPRO",
        ],
        // A check of the manifest on another system: nothing is linked.
        _ => &[],
    };
    if target("ENV") == "msvc" && x86 {
        // The WDK's: the compiler leaves the division of 64-bit numbers to routines that the kernel exports.
        println!("cargo::rustc-link-arg-bins=ntoskrnl.lib");
    }
    for argument in arguments {
        println!("cargo::rustc-link-arg-bins={argument}");
    }
    if target("ENV") == "gnu"
        && let Some(resource) = version_resource(x86)
    {
        println!("cargo::rustc-link-arg-bins={resource}");
    }
}

/// Compiles sparsedisk.rc with mingw's windres. Without one the driver has no version shown in Explorer, and nothing
/// else is missing.
fn version_resource(x86: bool) -> Option<String> {
    let out = env::var("OUT_DIR").ok()?;
    let version = |part: &str| env::var(format!("CARGO_PKG_VERSION_{part}")).unwrap_or_default();
    let (major, minor, patch) = (version("MAJOR"), version("MINOR"), version("PATCH"));
    let header = format!(
        "#define VERSION_NUMBERS {major},{minor},{patch},0\n#define VERSION_TEXT \"{major}.{minor}.{patch}\"\n"
    );
    fs::write(Path::new(&out).join("version.h"), header).ok()?;
    let object = Path::new(&out).join("sparsedisk.o");
    let windres = if x86 { "i686-w64-mingw32-windres" } else { "x86_64-w64-mingw32-windres" };
    let done = Command::new(windres).arg("-I").arg(&out).arg("sparsedisk.rc").arg(&object).status().ok()?;
    done.success().then(|| object.to_string_lossy().into_owned())
}
