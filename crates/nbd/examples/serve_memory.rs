//! Serves a disk in memory until the end of standard input: `serve_memory unix:/tmp/disk.sock [MIB]`.

use block_device::{Disk, Error, MemoryDisk, Result};
use nbd::{Export, Limits, Listen, Server};

fn main() -> Result<()> {
    let mut arguments = std::env::args().skip(1);
    let listen: Listen = arguments.next().unwrap_or_else(|| "tcp:127.0.0.1:10809".into()).parse()?;
    let mebibytes: u64 = arguments.next().and_then(|text| text.parse().ok()).unwrap_or(64);
    let disk = Disk::new(MemoryDisk::new(mebibytes << 20))?;
    let export = Export { name: "memory".into(), description: "a disk in memory".into(), disk };
    let server = Server::bind(&listen, export, Limits::default())?;
    server.connect_lines().iter().for_each(|line| println!("{line}"));
    let stopper = server.stopper();
    std::thread::spawn(move || {
        let result = std::io::copy(&mut std::io::stdin(), &mut std::io::sink());
        stopper.stop();
        result.map_err(|error| Error::from_io("read standard input", error))
    });
    println!("{:?}", server.run()?);
    Ok(())
}
