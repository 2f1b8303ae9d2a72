//! Servers under fio.

use std::fs::{self, File};
use std::io;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use super::contender::Contender;
use super::row::Load;
use super::sample::Sample;
use crate::sys;

const PATIENCE: Duration = Duration::from_secs(20);

/// A server that listens on a UNIX socket. Ends with this value.
pub(crate) struct Server {
    pid: u32,
    socket: PathBuf,
    export: &'static str,
    started: Duration,
    waited_for: bool,
}

impl Server {
    /// Starts one, and returns when it listens. `directory` is its own, and empty.
    pub(crate) fn start(contender: Contender, program: &Path, image: &Path, directory: &Path) -> io::Result<Self> {
        let socket = directory.join("s");
        let mut command = Command::new(program);
        let mut pid_file = None;
        let mut export = "";
        match contender {
            Contender::Ours | Contender::OursStoringZeroes => {
                command.arg("serve").arg(image).arg("--quiet").arg("--listen");
                command.arg(format!("unix:{}", socket.display()));
                if contender == Contender::OursStoringZeroes {
                    command.arg("--no-detect-zeroes");
                }
            }
            Contender::NbdkitFile => {
                command.args(["--foreground", "--unix"]).arg(&socket).arg("file").arg(image);
            }
            Contender::QemuNbdThreads | Contender::QemuNbdUring => {
                let aio = if contender == Contender::QemuNbdUring { "--aio=io_uring" } else { "--aio=threads" };
                command.args(["--format=raw", "--persistent", "--shared=64", "--cache=writeback", aio, "--socket"]);
                command.arg(&socket).arg(image);
            }
            // It takes many clients only as a daemon, and only if it listens on a port too.
            Contender::NbdServer => {
                export = "disk";
                let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
                let configuration = directory.join("nbd-server.conf");
                let (socket, image) = (socket.display(), image.display());
                fs::write(
                    &configuration,
                    format!(
                        "[generic]\nunixsock = {socket}\nlistenaddr = 127.0.0.1\nport = {port}\n[disk]\nexportname = {image}\nflush = true\n"
                    ),
                )?;
                let file = directory.join("pid");
                command.arg("-C").arg(configuration).arg("-p").arg(&file);
                pid_file = Some(file);
            }
            _ => return Err(io::Error::other(format!("{} is no server", contender.name()))),
        }
        let said = directory.join("said");
        let output = File::create(&said)?;
        command.stdin(Stdio::null()).stdout(output.try_clone()?).stderr(output);
        let mut pid = sys::spawn(&mut command)?;
        let told = |what: String| {
            io::Error::other(format!("{}: {what}: {}", contender.name(), fs::read_to_string(&said).unwrap_or_default()))
        };
        if let Some(file) = pid_file {
            sys::wait(pid)?;
            pid = until("it says which process it is", || fs::read_to_string(&file).ok()?.trim().parse().ok())
                .map_err(|error| told(error.to_string()))?;
        }
        let mut server = Self { pid, socket, export, started: Duration::ZERO, waited_for: false };
        until("it listens", || listens(&server.socket).then_some(())).map_err(|error| told(error.to_string()))?;
        server.started = sys::processor_time(pid)?;
        Ok(server)
    }

    /// Where clients find it.
    pub(crate) fn socket(&self) -> &Path {
        &self.socket
    }

    /// What they ask for.
    pub(crate) const fn export(&self) -> &str {
        self.export
    }

    pub(crate) const fn pid(&self) -> u32 {
        self.pid
    }

    /// Ends it when its clients have gone, and tells what serving them took, and the most memory it had. It ends at once, so that
    /// what some would still do before they end counts for nobody.
    pub(crate) fn end(mut self) -> io::Result<(Duration, u64)> {
        until("the server has seen its clients go", || (!has_children(self.pid)).then_some(()))?;
        sys::kill(self.pid)?;
        self.waited_for = true;
        let ended = sys::wait(self.pid)?;
        Ok((ended.processor.saturating_sub(self.started), ended.peak_rss_bytes))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if !self.waited_for && sys::kill(self.pid).is_ok() {
            let _ = sys::wait(self.pid);
        }
    }
}

fn until<T>(what: &str, mut is: impl FnMut() -> Option<T>) -> io::Result<T> {
    let start = Instant::now();
    loop {
        if let Some(value) = is() {
            return Ok(value);
        }
        if start.elapsed() > PATIENCE {
            return Err(io::Error::other(format!("waited in vain until {what}")));
        }
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// Whether somebody listens on a UNIX socket; connecting to find out would be a client. See unix(7) and, for the flag,
/// `__SO_ACCEPTCON`.
fn listens(socket: &Path) -> bool {
    let socket = socket.to_string_lossy();
    let sockets = fs::read_to_string("/proc/net/unix").unwrap_or_default();
    sockets.lines().any(|line| line.ends_with(&*socket) && line.split_whitespace().nth(3) == Some("00010000"))
}

fn has_children(pid: u32) -> bool {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    tasks
        .into_iter()
        .any(|task| fs::read_to_string(task.path().join("children")).is_ok_and(|children| !children.trim().is_empty()))
}

/// fio, and how long it runs.
pub(crate) struct Client {
    pub(crate) fio: PathBuf,
    pub(crate) runtime: Duration,
}

impl Client {
    /// Serves `image` and measures.
    pub(crate) fn measure(&self, contender: Contender, program: &Path, image: &Path, load: Load) -> io::Result<Sample> {
        let directory = tempfile::tempdir()?;
        if load.cold {
            sys::forget_cached(image)?;
        }
        let server = Server::start(contender, program, image, directory.path())?;
        let (operations, wall_seconds, client) = self.run(&server, image, load, directory.path())?;
        let (processor, peak_rss_bytes) = server.end()?;
        Ok(Sample {
            wall_seconds,
            processor_seconds: processor.as_secs_f64(),
            operations,
            client_processor_seconds: Some(client.as_secs_f64()),
            peak_rss_bytes,
            ..Sample::default()
        })
    }

    /// The operations it has done, in how many seconds, and its own processor time.
    fn run(&self, server: &Server, image: &Path, load: Load, directory: &Path) -> io::Result<(u64, f64, Duration)> {
        let output = directory.join("fio.json");
        let said = directory.join("fio.said");
        let size = fs::metadata(image)?.len();
        let mut command = Command::new(&self.fio);
        command
            .current_dir(directory)
            .args(["--name=load", "--ioengine=nbd", "--output-format=json", "--time_based", "--group_reporting"])
            // The client is to cost little, and no two runs ask for the same places.
            .args(["--gtod_reduce=1", "--norandommap", "--randrepeat=0"])
            .arg(format!("--output={}", output.display()))
            .arg(format!("--uri=nbd+unix:///{}?socket={}", server.export, server.socket.display()))
            .args([format!("--rw={}", load.rw), format!("--bs={}", load.block)])
            .args([format!("--iodepth={}", load.depth), format!("--numjobs={}", load.clients)])
            .args([format!("--runtime={}ms", self.runtime.as_millis()), format!("--size={size}")])
            .arg(format!("--fsync={}", load.flush_every))
            .stdin(Stdio::null())
            .stdout(File::create(&said)?)
            .stderr(File::create(directory.join("fio.errors"))?);
        let ended = sys::wait(sys::spawn(&mut command)?)?;
        let failed = |why: &str| {
            let errors = fs::read_to_string(directory.join("fio.errors")).unwrap_or_default();
            io::Error::other(format!("fio: {why}: {errors}"))
        };
        if let Some(failure) = ended.failure {
            return Err(failed(&failure));
        }
        let text = fs::read_to_string(&output)?;
        // What it has to remark comes before the document.
        let document = text.find('{').map_or("", |start| &text[start..]);
        let report: serde_json::Value = serde_json::from_str(document)?;
        let job = &report["jobs"][0];
        let (reads, writes) = (&job["read"], &job["write"]);
        let operations =
            reads["total_ios"].as_u64().zip(writes["total_ios"].as_u64()).map(|(read, written)| read + written);
        let milliseconds =
            reads["runtime"].as_f64().zip(writes["runtime"].as_f64()).map(|(read, write)| read.max(write));
        match (operations, milliseconds, job["error"].as_i64()) {
            (Some(operations @ 1..), Some(milliseconds), Some(0)) => {
                Ok((operations, milliseconds / 1e3, ended.processor))
            }
            _ => Err(failed("it has done nothing")),
        }
    }
}
