//! Creating and opening, \[MS-FSA\] 2.1.5.1.

use crate::journal::{Action, notify, usn_reason};
use crate::namespace::{File, Path, ROOT, Tree, folded, parse};
use crate::open::{Access, Attributes, CreateAction, CreateOptions, Disposition, Open, OpenId, Share};
use crate::{ClusterStore, Kind, OperationKind, Status, Volume};

/// What reads or writes data, or deletes: only such opens exclude each other.
const READS: Access = Access(Access::READ_DATA.0 | Access::EXECUTE.0);
const WRITES: Access = Access(Access::WRITE_DATA.0 | Access::APPEND_DATA.0);

/// Bits that no access mask has, \[MS-FSA\] 2.1.5.1 phase 1.
const INVALID_ACCESS: Access = Access(0x0CE0_FE00);

impl<S: ClusterStore> Volume<S> {
    /// Opens or creates `\dir\file`, `\dir\file:stream` or a directory.
    ///
    /// # Errors
    /// As \[MS-FSA\] 2.1.5.1 says: [`Status::OBJECT_NAME_INVALID`], [`Status::OBJECT_PATH_NOT_FOUND`],
    /// [`Status::OBJECT_NAME_NOT_FOUND`], [`Status::OBJECT_NAME_COLLISION`], [`Status::FILE_IS_A_DIRECTORY`],
    /// [`Status::NOT_A_DIRECTORY`], [`Status::ACCESS_DENIED`], [`Status::SHARING_VIOLATION`],
    /// [`Status::DELETE_PENDING`], [`Status::CANNOT_DELETE`], [`Status::MEDIA_WRITE_PROTECTED`],
    /// [`Status::INVALID_PARAMETER`]. Nothing has changed then.
    pub fn create(&mut self, path: &str, options: &CreateOptions) -> Result<(OpenId, CreateAction), Status> {
        self.schedule.strike(OperationKind::Create)?;
        let path = parse(path)?;
        self.check_options(&path, options)?;
        let found = self.find(&path)?;
        let wants_directory = self.wants_directory(&path, options, found)?;
        match found {
            Found::File(file) => self.open_existing(file, &path, options, wants_directory),
            Found::NothingIn(parent) => self.create_new(parent, &path, options, wants_directory),
        }
    }

    /// Opens a file that exists, sharing everything.
    ///
    /// # Errors
    /// As [`create`](Self::create).
    pub fn open(&mut self, path: &str, access: Access) -> Result<OpenId, Status> {
        self.create(path, &CreateOptions::new(access, Disposition::Open)).map(|(id, _)| id)
    }

    /// Phases 1 and 2: the parameters and the volume.
    fn check_options(&self, path: &Path<'_>, options: &CreateOptions) -> Result<(), Status> {
        use Disposition::{Create, Open, OpenIf, Overwrite, OverwriteIf, Supersede};
        let opens_only = matches!(options.disposition, Create | Open | OpenIf);
        let no_directory = !opens_only || options.no_intermediate_buffering || options.non_directory;
        let contradicts = (options.directory && no_directory)
            || (options.delete_on_close && !options.access.intersects(Access::DELETE | Access::MAXIMUM_ALLOWED))
            || (options.no_intermediate_buffering && options.access.contains(Access::APPEND_DATA))
            || (options.directory && options.attributes.contains(Attributes::TEMPORARY));
        if contradicts {
            return Err(Status::INVALID_PARAMETER);
        }
        if options.access == Access::default() || options.access.intersects(INVALID_ACCESS) {
            return Err(Status::ACCESS_DENIED);
        }
        if path.trailing && options.non_directory {
            return Err(Status::OBJECT_NAME_INVALID);
        }
        let has_stream = !path.stream.is_empty() || path.says_data;
        if has_stream && self.options.kind != Kind::Ntfs {
            return Err(Status::OBJECT_NAME_INVALID);
        }
        if self.options.read_only && matches!(options.disposition, Create | Supersede | Overwrite | OverwriteIf) {
            return Err(Status::MEDIA_WRITE_PROTECTED);
        }
        Ok(())
    }

    /// Phase 6: the file that the path names, or the directory in which it is not.
    fn find(&self, path: &Path<'_>) -> Result<Found, Status> {
        let Some((name, directories)) = path.names.split_last() else { return Ok(Found::File(ROOT)) };
        let parent = self.tree.directory(directories)?;
        Ok(match self.tree.files[&parent].children.get(&folded(name)) {
            Some(&file) => Found::File(file),
            None => Found::NothingIn(parent),
        })
    }

    /// Phase 7: whether the directory itself is opened, or a data stream.
    fn wants_directory(&self, path: &Path<'_>, options: &CreateOptions, found: Found) -> Result<bool, Status> {
        let says_stream = !path.stream.is_empty() || path.says_data;
        let existing = match found {
            Found::File(file) => Some(self.tree.files[&file].is_directory),
            Found::NothingIn(_) => None,
        };
        let is_directory = existing == Some(true);
        let wants = options.directory || (!options.non_directory && !says_stream && is_directory);
        if wants {
            if says_stream {
                return Err(Status::NOT_A_DIRECTORY);
            }
            if existing == Some(false) {
                let create = options.disposition == Disposition::Create;
                return Err(if create { Status::OBJECT_NAME_COLLISION } else { Status::NOT_A_DIRECTORY });
            }
        } else if path.stream.is_empty() && is_directory {
            return Err(Status::FILE_IS_A_DIRECTORY);
        } else if path.trailing {
            return Err(Status::OBJECT_NAME_INVALID);
        }
        Ok(wants)
    }

    /// 2.1.5.1.1.
    fn create_new(
        &mut self,
        parent: u64,
        path: &Path<'_>,
        options: &CreateOptions,
        is_directory: bool,
    ) -> Result<(OpenId, CreateAction), Status> {
        if matches!(options.disposition, Disposition::Open | Disposition::Overwrite) {
            return Err(Status::OBJECT_NAME_NOT_FOUND);
        }
        if self.options.read_only {
            return Err(Status::MEDIA_WRITE_PROTECTED);
        }
        if options.attributes.contains(Attributes::READONLY) && options.delete_on_close {
            return Err(Status::CANNOT_DELETE);
        }
        if self.tree.files[&parent].delete_pending {
            return Err(Status::DELETE_PENDING);
        }
        let name = path.names.last().copied().unwrap_or_default();
        let mut file = File { parent, name: name.into(), is_directory, ..File::default() };
        file.attributes = self.initial_attributes(parent, options, is_directory);
        let (compressed, encrypted) =
            (file.attributes.contains(Attributes::COMPRESSED), file.attributes.contains(Attributes::ENCRYPTED));
        if !is_directory {
            let mut add = |tree: &mut Tree, name: &str| {
                let mut stream = tree.fresh_stream(name);
                (stream.is_compressed, stream.is_encrypted) = (compressed, encrypted);
                file.streams.push(stream);
            };
            add(&mut self.tree, "");
            if !path.stream.is_empty() {
                add(&mut self.tree, path.stream);
            }
        }
        self.clock += 1;
        (file.created, file.modified, file.changed) = (self.clock, self.clock, self.clock);
        let stream = file.streams.last().map(|stream| stream.id);
        let id = self.tree.link(file);
        if let Some(directory) = self.tree.files.get_mut(&parent) {
            (directory.modified, directory.changed) = (self.clock, self.clock);
        }
        let named = !path.stream.is_empty();
        self.post_usn(id, usn_reason::FILE_CREATE | if named { usn_reason::STREAM_CHANGE } else { 0 });
        let filter = if is_directory { notify::DIR_NAME } else { notify::FILE_NAME };
        let at = self.tree.path(id);
        self.journal.notify(Action::Added, filter, at);
        Ok((self.add_open(id, stream, !named, options), CreateAction::Created))
    }

    /// What an application may set, and what the directory hands down.
    fn initial_attributes(&self, parent: u64, options: &CreateOptions, is_directory: bool) -> Attributes {
        let inherited = self.tree.files[&parent].attributes;
        let mut attributes = options.attributes & Attributes::SETTABLE;
        if !is_directory {
            attributes = attributes | Attributes::ARCHIVE;
        }
        let encrypted = (options.attributes | inherited) & Attributes::ENCRYPTED;
        if self.options.kind == Kind::Ntfs {
            attributes = attributes | encrypted;
            // The text inherits compression into an encrypted file too; NTFS excludes one by the other.
            if !options.no_compression && encrypted == Attributes::NONE {
                attributes = attributes | (inherited & Attributes::COMPRESSED);
            }
        }
        attributes
    }

    /// 2.1.5.1.2.
    fn open_existing(
        &mut self,
        id: u64,
        path: &Path<'_>,
        options: &CreateOptions,
        is_directory: bool,
    ) -> Result<(OpenId, CreateAction), Status> {
        let file = &self.tree.files[&id];
        if file.delete_pending {
            return Err(Status::DELETE_PENDING);
        }
        let name = folded(path.stream);
        let stream = file.streams.iter().find(|stream| folded(&stream.name) == name && !is_directory);
        let empties =
            matches!(options.disposition, Disposition::Supersede | Disposition::Overwrite | Disposition::OverwriteIf);
        let mut options = *options;
        if is_directory {
            if !matches!(options.disposition, Disposition::Open | Disposition::OpenIf) {
                return Err(if id == ROOT { Status::ACCESS_DENIED } else { Status::OBJECT_NAME_COLLISION });
            }
            self.check_access(file, &mut options)?;
            self.check_sharing(id, None, true, &options)?;
            return Ok((self.add_open(id, None, true, &options), CreateAction::Opened));
        }
        let Some(stream) = stream else {
            if matches!(options.disposition, Disposition::Open | Disposition::Overwrite) {
                return Err(Status::OBJECT_NAME_NOT_FOUND);
            }
            return self.add_stream(id, path.stream, options);
        };
        if stream.delete_pending {
            return Err(Status::DELETE_PENDING);
        }
        if options.disposition == Disposition::Create {
            return Err(Status::OBJECT_NAME_COLLISION);
        }
        let (stream_id, is_primary) = (stream.id, stream.name.is_empty());
        if empties {
            if self.options.read_only {
                return Err(Status::MEDIA_WRITE_PROTECTED);
            }
            let hides = |bit: Attributes| file.attributes.contains(bit) && !options.attributes.contains(bit);
            if is_primary && (hides(Attributes::HIDDEN) || hides(Attributes::SYSTEM)) {
                return Err(Status::ACCESS_DENIED);
            }
            let needs = if options.disposition == Disposition::Supersede { Access::DELETE } else { Access::WRITE_DATA };
            options.access = options.access | needs;
        }
        self.check_access(file, &mut options)?;
        self.check_sharing(id, Some(stream_id), is_primary, &options)?;
        let open = self.add_open(id, Some(stream_id), is_primary, &options);
        if !empties {
            return Ok((open, CreateAction::Opened));
        }
        self.empty_stream(open, &options)?;
        let superseded = options.disposition == Disposition::Supersede;
        Ok((open, if superseded { CreateAction::Superseded } else { CreateAction::Overwritten }))
    }

    /// A new named stream of a file that exists.
    fn add_stream(
        &mut self,
        id: u64,
        name: &str,
        mut options: CreateOptions,
    ) -> Result<(OpenId, CreateAction), Status> {
        options.access = options.access | Access::WRITE_DATA;
        self.check_access(&self.tree.files[&id], &mut options)?;
        if self.options.read_only {
            return Err(Status::MEDIA_WRITE_PROTECTED);
        }
        self.check_sharing(id, None, false, &options)?;
        let mut stream = self.tree.fresh_stream(name);
        let stream_id = stream.id;
        self.clock += 1;
        if let Some(file) = self.tree.files.get_mut(&id) {
            stream.is_encrypted = file.attributes.contains(Attributes::ENCRYPTED) && !file.is_directory;
            file.attributes = file.attributes | Attributes::ARCHIVE;
            file.changed = self.clock;
            file.streams.push(stream);
        }
        self.post_usn(id, usn_reason::STREAM_CHANGE);
        let at = self.tree.path(id) + ":" + name;
        self.journal.notify(Action::AddedStream, notify::STREAM_NAME, at);
        Ok((self.add_open(id, Some(stream_id), false, &options), CreateAction::Created))
    }

    /// Overwriting and superseding: nothing of the stream is left, and for the default stream nothing of the others
    /// and of the attributes either. The text is silent about the sparse and compressed states of what is emptied; a
    /// replaced file has those of a new one.
    fn empty_stream(&mut self, id: OpenId, options: &CreateOptions) -> Result<(), Status> {
        let open = self.open_of(id)?;
        let had_size = self.stream_at(open)?.size_bytes > 0;
        let parent = self.file_at(open)?.parent;
        let attributes = self.initial_attributes(parent, options, false);
        if let Some(file) = self.tree.files.get_mut(&open.file) {
            let opened_elsewhere = |stream: u64| self.opens.values().any(|other| other.stream == Some(stream));
            for stream in &mut file.streams {
                let is_this = Some(stream.id) == open.stream;
                if is_this {
                    stream.is_sparse = false;
                    stream.zero_on_deallocation = false;
                    (stream.size_bytes, stream.valid_bytes) = (0, 0);
                    if open.is_primary {
                        stream.is_compressed = attributes.contains(Attributes::COMPRESSED);
                        stream.is_encrypted |= attributes.contains(Attributes::ENCRYPTED);
                    }
                }
                if is_this || (open.is_primary && !opened_elsewhere(stream.id)) {
                    // The clusters are free even where the store cannot forget their bytes.
                    let _ = self.disk.release_all(stream);
                }
            }
            if open.is_primary {
                file.streams.retain(|stream| Some(stream.id) == open.stream || opened_elsewhere(stream.id));
                file.attributes = attributes | (file.attributes & Attributes::ENCRYPTED);
            }
        }
        self.note_modified(open, had_size);
        self.post_usn(open.file, usn_reason::DATA_TRUNCATION);
        Ok(())
    }

    /// 2.1.5.1.2.1, without descriptors.
    fn check_access(&self, file: &File, options: &mut CreateOptions) -> Result<(), Status> {
        let read_only = file.attributes.contains(Attributes::READONLY);
        if !file.is_directory && read_only && options.access.intersects(WRITES) {
            return Err(Status::ACCESS_DENIED);
        }
        if options.delete_on_close
            && (read_only || self.options.read_only || file.parent == ROOT && file.name.is_empty())
        {
            return Err(Status::CANNOT_DELETE);
        }
        if options.access.contains(Access::MAXIMUM_ALLOWED) {
            let withheld = if read_only || self.options.read_only { WRITES.0 } else { 0 };
            options.access = Access(Access::ALL.0 & !withheld);
        }
        Ok(())
    }

    /// 2.1.5.1.2.2: each excludes what the other does and it does not share.
    fn check_sharing(
        &self,
        file: u64,
        stream: Option<u64>,
        is_primary: bool,
        options: &CreateOptions,
    ) -> Result<(), Status> {
        const DATA: Access = Access(READS.0 | WRITES.0 | Access::DELETE.0);
        let excludes = |share: Share, access: Access| {
            (access.intersects(READS) && !share.contains(Share::READ))
                || (access.intersects(WRITES) && !share.contains(Share::WRITE))
                || (access.contains(Access::DELETE) && !share.contains(Share::DELETE))
        };
        for other in self.opens.values().filter(|other| other.file == file) {
            let same = other.stream == stream && other.is_primary == is_primary;
            let wants_data = options.access.intersects(DATA);
            let both_ways = same
                && wants_data
                && other.access.intersects(DATA)
                && (excludes(other.share, options.access) || excludes(options.share, other.access));
            // Deleting the default stream deletes the file with all its streams.
            let deletes = |access: Access, primary: bool| primary && access.contains(Access::DELETE);
            let across =
                (!options.share.contains(Share::DELETE) && wants_data && deletes(other.access, other.is_primary))
                    || (!other.share.contains(Share::DELETE)
                        && other.access.intersects(DATA)
                        && deletes(options.access, is_primary));
            if both_ways || across {
                return Err(Status::SHARING_VIOLATION);
            }
        }
        Ok(())
    }

    fn add_open(&mut self, file: u64, stream: Option<u64>, is_primary: bool, options: &CreateOptions) -> OpenId {
        let id = OpenId(self.next_open);
        self.next_open += 1;
        let maximum = options.access.contains(Access::MAXIMUM_ALLOWED);
        let open = Open {
            file,
            stream,
            is_primary,
            access: if maximum { Access::ALL } else { options.access },
            share: options.share,
            no_intermediate_buffering: options.no_intermediate_buffering,
            write_through: options.write_through,
            delete_on_close: options.delete_on_close,
            manage_volume: options.manage_volume,
        };
        self.opens.insert(id, open);
        id
    }
}

#[derive(Clone, Copy)]
enum Found {
    File(u64),
    NothingIn(u64),
}
