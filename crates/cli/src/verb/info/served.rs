//! `info` on an image that a server of ours has: what the server does.

use control::{Reclaim, Status};

use crate::interval::Interval;
use crate::size::{Bytes, Count, Many};
use crate::table::Table;

/// Adds what a server says of itself.
pub(super) fn add(table: &mut Table, status: &Status) {
    let both = |requests, bytes| format!("{}, {}", Count(requests), Bytes(bytes));
    table.fact("served at", &status.uri);
    table.fact(
        "clients",
        format!(
            "{} now, {} in {}",
            Count(status.connections),
            Many(status.connections_total, "connection"),
            Interval::of_ms(status.serving_ms)
        ),
    );
    table.fact("  reads", both(status.reads, status.read_bytes));
    table.fact("  writes", both(status.writes, status.written_bytes));
    table.fact("  trims", both(status.trims, status.trimmed_bytes));
    table.fact("  zeroings", both(status.zeroings, status.zeroed_bytes));
    table.fact("  flushes", Count(status.flushes));
    table.fact("  failed", Count(status.errors));
    let free = status.host_free_bytes.map_or(String::new(), |bytes| format!(" of the host's {}", Bytes(bytes)));
    let refused = match status.refused_for_space {
        0 => String::new(),
        requests => format!("; {} refused for that", Many(requests, "request")),
    };
    table.fact("kept free", format!("{}{free}{refused}", Bytes(status.keep_free_bytes)));
    if let Some(reclaim) = &status.reclaim {
        add_reclaim(table, reclaim);
    }
}

fn add_reclaim(table: &mut Table, reclaim: &Reclaim) {
    let every = reclaim.every_ms.map_or("when asked".to_owned(), |ms| format!("every {}", Interval::of_ms(ms)));
    let rate = reclaim.rate_bytes.map_or("no limit".to_owned(), |bytes| format!("{} a second", Bytes(bytes)));
    table.fact("zeroes freed", format!("{every}; beside active clients {rate}"));
    table.fact(
        "  so far",
        format!(
            "{} of {} looked at, in {}, {} stopped",
            Bytes(reclaim.freed_bytes),
            Bytes(reclaim.looked_at_bytes),
            Many(reclaim.passes + reclaim.stopped_passes, "run"),
            Count(reclaim.stopped_passes)
        ),
    );
    if let Some(running) = &reclaim.running {
        table.fact(
            "  now",
            format!(
                "{} of {} done in {}, {} freed",
                Bytes(running.done_bytes),
                Bytes(running.total_bytes),
                Interval::of_ms(running.running_ms),
                Bytes(running.freed_bytes)
            ),
        );
    }
    if let Some(last) = &reclaim.last {
        let end = last.stopped.as_deref().map_or(String::new(), |kind| format!(", stopped: {kind}"));
        table.fact(
            "  last",
            format!(
                "{} ago, {} freed of {} in {}{end}",
                Interval::of_ms(last.ago_ms),
                Bytes(last.freed_bytes),
                Bytes(last.looked_at_bytes),
                Interval::of_ms(last.took_ms)
            ),
        );
    }
}
