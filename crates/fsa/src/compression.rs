//! FSCTL_GET_COMPRESSION and FSCTL_SET_COMPRESSION, \[MS-FSA\] 2.1.5.10.9 and 2.1.5.10.30.
//!
//! Only the rules are here, not LZNT1: data of a compressed stream occupies as much as if it could not be compressed.

use crate::control::{Answer, put};
use crate::disk::Disk;
use crate::journal::{Action, notify, usn_reason};
use crate::open::{Attributes, Open};
use crate::stream::Stream;
use crate::{ClusterStore, Status, Volume};

const FORMAT_NONE: u16 = 0;
const FORMAT_DEFAULT: u16 = 1;
const FORMAT_LZNT1: u16 = 2;
/// Larger clusters cannot be compressed.
const MAX_CLUSTER_BYTES: u64 = 4096;

impl<S: ClusterStore> Volume<S> {
    pub(crate) fn get_compression(&self, open: Open, output: &mut [u8]) -> Answer {
        if output.len() < 2 {
            return Err(Status::INVALID_PARAMETER);
        }
        let format = if self.is_compressed(open)? { FORMAT_LZNT1 } else { FORMAT_NONE };
        put(output, 0, &format.to_le_bytes());
        Ok((Status::SUCCESS, 2))
    }

    fn is_compressed(&self, open: Open) -> Result<bool, Status> {
        match open.stream {
            Some(_) => Ok(self.stream_at(open)?.is_compressed),
            None => Ok(self.file_at(open)?.attributes.contains(Attributes::COMPRESSED)),
        }
    }

    pub(crate) fn set_compression(&mut self, open: Open, input: &[u8]) -> Answer {
        let format = input.first_chunk().copied().map(u16::from_le_bytes);
        let compress = match format {
            Some(FORMAT_NONE) => false,
            Some(FORMAT_DEFAULT | FORMAT_LZNT1) => true,
            _ => return Err(Status::INVALID_PARAMETER),
        };
        if compress {
            if self.options.compression_disabled {
                return Err(Status::COMPRESSION_DISABLED);
            }
            if self.options.cluster_bytes > MAX_CLUSTER_BYTES {
                return Err(Status::INVALID_DEVICE_REQUEST);
            }
        }
        if self.options.read_only {
            return Err(Status::MEDIA_WRITE_PROTECTED);
        }
        let is_encrypted = match open.stream {
            Some(_) => self.stream_at(open)?.is_encrypted,
            None => self.file_at(open)?.attributes.contains(Attributes::ENCRYPTED),
        };
        if is_encrypted {
            return Err(Status::INVALID_DEVICE_REQUEST);
        }
        if self.is_compressed(open)? == compress {
            return Ok((Status::SUCCESS, 0));
        }
        self.post_usn(open.file, usn_reason::COMPRESSION_CHANGE);
        let (mut changed_allocation, mut outcome) = (false, Ok(()));
        if open.stream.is_some() {
            let (disk, stream) = self.parts(open)?;
            let before = stream.runs.clusters();
            outcome = if compress { disk.compress(stream) } else { disk.decompress(stream) };
            changed_allocation = stream.runs.clusters() != before;
            // A store that failed to free what was too much leaves the new state.
            if stream.is_compressed != compress {
                return outcome.map(|()| (Status::SUCCESS, 0));
            }
        }
        self.clock += 1;
        let now = self.clock;
        let file = self.file_at_mut(open)?;
        file.changed = now;
        if open.is_primary {
            file.attributes = Attributes(
                file.attributes.0 & !Attributes::COMPRESSED.0 | if compress { Attributes::COMPRESSED.0 } else { 0 },
            );
            if changed_allocation {
                file.pending_notifications |= notify::SIZE;
            }
        }
        let path = self.tree.path(open.file);
        self.journal.notify(Action::Modified, notify::ATTRIBUTES, path);
        outcome.map(|()| (Status::SUCCESS, 0))
    }
}

impl<S: ClusterStore> Disk<S> {
    /// Rounds the allocation up to the compression unit; in a sparse stream, frees whole units behind the valid data.
    fn compress(&mut self, stream: &mut Stream) -> Result<(), Status> {
        let end = stream.runs.end();
        let trial = Stream { is_compressed: true, ..Stream::default() };
        let unit = trial.unit_bytes(self.cluster_bytes) / self.cluster_bytes;
        let mut wanted = end..end.next_multiple_of(unit);
        if stream.is_sparse {
            // Rounding a unit up that is freed at once would only be able to fail.
            self.free_behind_valid(stream, unit)?;
            wanted = stream.runs.end()..stream.runs.end().next_multiple_of(unit);
        }
        let fresh = self.reserve(stream, &[wanted])?;
        let kept = self.fill_fresh(stream, &fresh, stream.valid_bytes, &(0..0));
        match kept {
            Ok(()) => stream.is_compressed = true,
            // Clusters that could not be zeroed must not be seen.
            Err(_) => self.undo(stream, &fresh),
        }
        kept
    }

    /// Frees the whole units, each of so many clusters, behind the valid data.
    fn free_behind_valid(&mut self, stream: &mut Stream, unit: u64) -> Result<(), Status> {
        let valid = stream.valid_bytes.div_ceil(self.cluster_bytes).next_multiple_of(unit);
        self.release(stream, valid..u64::MAX).map(drop)
    }

    /// Frees what is more than the size needs, and in a sparse stream whole units behind the valid data. The holes that compression left are allocated: the text is silent, but
    /// a stream that is neither sparse nor compressed has none.
    fn decompress(&mut self, stream: &mut Stream) -> Result<(), Status> {
        if !stream.is_sparse {
            self.allocate_holes(stream, stream.size_bytes)?;
        }
        stream.is_compressed = false;
        let freed = self.truncate_allocation(stream, stream.size_bytes);
        if stream.is_sparse {
            let unit = stream.unit_bytes(self.cluster_bytes) / self.cluster_bytes;
            return freed.and(self.free_behind_valid(stream, unit));
        }
        freed
    }
}
