//! Closing and deleting, \[MS-FSA\] 2.1.5.5 and 2.1.5.15.3.

use crate::journal::{Action, notify, usn_reason};
use crate::namespace::ROOT;
use crate::open::{Access, Attributes, Open, OpenId};
use crate::{ClusterStore, OperationKind, Status, Volume};

impl<S: ClusterStore> Volume<S> {
    /// Marks the file (through its default stream or directory) or the named stream to go away with its last open, or
    /// takes that back.
    ///
    /// # Errors
    /// [`Status::ACCESS_DENIED`] without `DELETE`; [`Status::CANNOT_DELETE`] for a read-only file and the root;
    /// [`Status::DIRECTORY_NOT_EMPTY`]; [`Status::MEDIA_WRITE_PROTECTED`].
    pub fn set_disposition(&mut self, id: OpenId, delete: bool) -> Result<(), Status> {
        self.schedule.strike(OperationKind::Delete)?;
        let open = self.open_of(id)?;
        if !open.access.contains(Access::DELETE) {
            return Err(Status::ACCESS_DENIED);
        }
        if self.options.read_only {
            return Err(Status::MEDIA_WRITE_PROTECTED);
        }
        self.mark_deleted(open, delete)
    }

    fn mark_deleted(&mut self, open: Open, delete: bool) -> Result<(), Status> {
        let file = self.file_at_mut(open)?;
        if delete && (file.attributes.contains(Attributes::READONLY) || open.file == ROOT) {
            return Err(Status::CANNOT_DELETE);
        }
        if !open.is_primary {
            if let Some(stream) = open.stream.and_then(|stream| file.stream_mut(stream)) {
                stream.delete_pending = delete;
            }
            return Ok(());
        }
        if delete && !file.children.is_empty() {
            return Err(Status::DIRECTORY_NOT_EMPTY);
        }
        file.delete_pending = delete;
        Ok(())
    }

    /// Closes the open: its locks go, what was marked for deletion goes with the last open, allocation beyond the size
    /// is freed, and pending notifications are sent.
    ///
    /// # Errors
    /// [`Status::INVALID_HANDLE`] for an open that is not there; [`Status::IO_DEVICE_ERROR`] where the store could not
    /// free clusters: the open is closed all the same.
    pub fn close(&mut self, id: OpenId) -> Result<(), Status> {
        self.schedule.strike(OperationKind::Close)?;
        let open = self.opens.remove(&id).ok_or(Status::INVALID_HANDLE)?;
        let path = self.tree.path(open.file);
        if let Ok((_, stream)) = self.parts(open) {
            stream.locks.retain(|lock| lock.owner != id);
        }
        if open.delete_on_close {
            self.delete_on_close(open);
        }
        let stream_deleted = self.delete_stream(open);
        let (file_deleted, mut outcome) = self.delete_file(open);
        if !file_deleted && stream_deleted.is_none() {
            outcome = outcome.and(self.free_excess(open));
        }
        if file_deleted {
            let filter = if open.stream.is_none() { notify::DIR_NAME } else { notify::FILE_NAME };
            self.journal.notify(Action::Removed, filter, path);
            return outcome;
        }
        if let Some(name) = stream_deleted {
            let at = path.clone() + ":" + &name;
            self.journal.notify(Action::RemovedStream, notify::STREAM_NAME, at);
        }
        self.send_pending(open, &path);
        outcome
    }

    /// Phase 1. Only a directory that has entries by now stays; what became read-only since goes.
    fn delete_on_close(&mut self, open: Open) {
        let Ok(file) = self.file_at_mut(open) else { return };
        if open.is_primary {
            file.delete_pending |= file.children.is_empty();
        } else if let Some(stream) = open.stream.and_then(|stream| file.stream_mut(stream)) {
            stream.delete_pending = true;
        }
    }

    /// Phase 2: the named stream that was marked goes with its last open. Returns its name.
    fn delete_stream(&mut self, open: Open) -> Option<alloc::string::String> {
        let id = open.stream.filter(|_| !open.is_primary)?;
        if self.opens.values().any(|other| other.stream == Some(id)) {
            return None;
        }
        let file = self.tree.files.get_mut(&open.file)?;
        let index = file.streams.iter().position(|stream| stream.id == id && stream.delete_pending)?;
        let mut stream = file.streams.remove(index);
        let last_sparse = stream.is_sparse && !file.streams.iter().any(|stream| stream.is_sparse);
        // The clusters are free even where the store cannot forget their bytes.
        let _ = self.disk.release_all(&mut stream);
        let sparse_bit = if last_sparse { usn_reason::BASIC_INFO_CHANGE } else { 0 };
        self.post_usn(open.file, usn_reason::STREAM_CHANGE | sparse_bit);
        self.post_usn(open.file, usn_reason::CLOSE);
        Some(stream.name)
    }

    /// Phase 3: the file that was marked goes with its last open.
    fn delete_file(&mut self, open: Open) -> (bool, Result<(), Status>) {
        let marked = self.tree.files.get(&open.file).is_some_and(|file| file.delete_pending);
        if !marked || self.opens.values().any(|other| other.file == open.file) {
            return (false, Ok(()));
        }
        self.post_usn(open.file, usn_reason::FILE_DELETE | usn_reason::CLOSE);
        let mut outcome = Ok(());
        if let Some(mut file) = self.tree.unlink(open.file) {
            self.clock += 1;
            if let Some(parent) = self.tree.files.get_mut(&file.parent) {
                (parent.modified, parent.changed) = (self.clock, self.clock);
            }
            for stream in &mut file.streams {
                outcome = outcome.and(self.disk.release_all(stream));
            }
        }
        (true, outcome)
    }

    /// Phase 4. A stream with holes keeps its last compression unit whole.
    fn free_excess(&mut self, open: Open) -> Result<(), Status> {
        if open.stream.is_none() || self.options.read_only {
            return Ok(());
        }
        let (disk, stream) = self.parts(open)?;
        disk.truncate_allocation(stream, stream.size_bytes)
    }

    /// Phase 5: what changed is told to those who watch the directory.
    fn send_pending(&mut self, open: Open, path: &str) {
        let Some(file) = self.tree.files.get_mut(&open.file) else { return };
        let filter = core::mem::take(&mut file.pending_notifications);
        let of_stream = open.stream.filter(|_| !open.is_primary).and_then(|id| file.stream_mut(id)).map(|stream| {
            (core::mem::take(&mut stream.pending_notifications), alloc::format!("{path}:{}", stream.name))
        });
        if filter != 0 {
            self.journal.notify(Action::Modified, filter, path.into());
        }
        if let Some((filter, path)) = of_stream.filter(|&(filter, _)| filter != 0) {
            self.journal.notify(Action::ModifiedStream, filter, path);
        }
    }
}
