//! What an open is granted, what it shares, and how it behaves.

use core::ops::{BitAnd, BitOr};

macro_rules! bits {
    ($(#[$about:meta])* $name:ident { $($(#[$of:meta])* $bit:ident = $value:literal,)* }) => {
        $(#[$about])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
        pub struct $name(pub u32);

        impl $name {
            $($(#[$of])* pub const $bit: Self = Self($value);)*

            /// Every bit of `other` is here.
            #[must_use]
            pub const fn contains(self, other: Self) -> bool {
                self.0 & other.0 == other.0
            }

            /// Some bit of `other` is here.
            #[must_use]
            pub const fn intersects(self, other: Self) -> bool {
                self.0 & other.0 != 0
            }
        }

        impl BitOr for $name {
            type Output = Self;
            fn bitor(self, other: Self) -> Self {
                Self(self.0 | other.0)
            }
        }

        impl BitAnd for $name {
            type Output = Self;
            fn bitand(self, other: Self) -> Self {
                Self(self.0 & other.0)
            }
        }
    };
}

bits! {
    /// An access mask. There are no descriptors here: what is asked for is granted, a read-only file's data aside.
    Access {
        /// Read data, `FILE_READ_DATA`.
        READ_DATA = 0x1,
        /// Write data anywhere, `FILE_WRITE_DATA`.
        WRITE_DATA = 0x2,
        /// Write behind the end, `FILE_APPEND_DATA`.
        APPEND_DATA = 0x4,
        /// `FILE_READ_EA`.
        READ_EA = 0x8,
        /// `FILE_WRITE_EA`.
        WRITE_EA = 0x10,
        /// `FILE_EXECUTE`.
        EXECUTE = 0x20,
        /// `FILE_READ_ATTRIBUTES`.
        READ_ATTRIBUTES = 0x80,
        /// `FILE_WRITE_ATTRIBUTES`.
        WRITE_ATTRIBUTES = 0x100,
        /// `DELETE`.
        DELETE = 0x1_0000,
        /// `FILE_GENERIC_READ`.
        GENERIC_READ = 0x12_0089,
        /// `FILE_GENERIC_WRITE`.
        GENERIC_WRITE = 0x12_0116,
        /// `FILE_ALL_ACCESS`.
        ALL = 0x1F_01FF,
        /// Whatever can be had, `MAXIMUM_ALLOWED`.
        MAXIMUM_ALLOWED = 0x0200_0000,
    }
}

bits! {
    /// What others may do with the stream meanwhile.
    Share {
        /// Nothing.
        NONE = 0,
        /// `FILE_SHARE_READ`.
        READ = 1,
        /// `FILE_SHARE_WRITE`.
        WRITE = 2,
        /// `FILE_SHARE_DELETE`.
        DELETE = 4,
        /// All three.
        ALL = 7,
    }
}

bits! {
    /// File attributes, \[MS-FSCC\] 2.6.
    Attributes {
        /// Nothing set.
        NONE = 0,
        /// `FILE_ATTRIBUTE_READONLY`.
        READONLY = 0x1,
        /// `FILE_ATTRIBUTE_HIDDEN`.
        HIDDEN = 0x2,
        /// `FILE_ATTRIBUTE_SYSTEM`.
        SYSTEM = 0x4,
        /// `FILE_ATTRIBUTE_DIRECTORY`.
        DIRECTORY = 0x10,
        /// `FILE_ATTRIBUTE_ARCHIVE`.
        ARCHIVE = 0x20,
        /// `FILE_ATTRIBUTE_NORMAL`: reported where there is no other.
        NORMAL = 0x80,
        /// `FILE_ATTRIBUTE_TEMPORARY`.
        TEMPORARY = 0x100,
        /// `FILE_ATTRIBUTE_SPARSE_FILE`: some stream of the file is sparse.
        SPARSE_FILE = 0x200,
        /// `FILE_ATTRIBUTE_COMPRESSED`.
        COMPRESSED = 0x800,
        /// `FILE_ATTRIBUTE_OFFLINE`.
        OFFLINE = 0x1000,
        /// `FILE_ATTRIBUTE_NOT_CONTENT_INDEXED`.
        NOT_CONTENT_INDEXED = 0x2000,
        /// `FILE_ATTRIBUTE_ENCRYPTED`.
        ENCRYPTED = 0x4000,
        /// What an application may set (\[MS-FSA\] 2.1.5.1.1).
        SETTABLE = 0x3127,
    }
}

/// What to do with a file that exists, and with one that does not (\[MS-SMB2\] 2.2.13).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Disposition {
    /// Replace, or create.
    Supersede,
    /// Open; it must exist.
    Open,
    /// Create; it must not exist.
    Create,
    /// Open, or create.
    OpenIf,
    /// Empty it; it must exist.
    Overwrite,
    /// Empty it, or create.
    OverwriteIf,
}

/// What [`Volume::create`](crate::Volume::create) did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CreateAction {
    /// There was one already.
    Opened,
    /// It is new.
    Created,
    /// It was emptied.
    Overwritten,
    /// It was replaced.
    Superseded,
}

/// How to create or open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CreateOptions {
    /// What the open may do.
    pub access: Access,
    /// What others may do meanwhile.
    pub share: Share,
    /// Create, open, empty.
    pub disposition: Disposition,
    /// Attributes of a new or emptied file. Sparse and compressed are not honoured; encrypted is.
    pub attributes: Attributes,
    /// A directory, and nothing else (`FILE_DIRECTORY_FILE`).
    pub directory: bool,
    /// No directory (`FILE_NON_DIRECTORY_FILE`).
    pub non_directory: bool,
    /// Reads and writes are multiples of a sector (`FILE_NO_INTERMEDIATE_BUFFERING`).
    pub no_intermediate_buffering: bool,
    /// Nothing stays in a cache (`FILE_WRITE_THROUGH`).
    pub write_through: bool,
    /// Gone when the last open closes (`FILE_DELETE_ON_CLOSE`).
    pub delete_on_close: bool,
    /// Does not inherit compression from its directory (`FILE_NO_COMPRESSION`).
    pub no_compression: bool,
    /// The caller holds `SeManageVolumePrivilege`.
    pub manage_volume: bool,
}

impl CreateOptions {
    /// `access` to what `disposition` says, sharing everything, nothing special.
    #[must_use]
    pub const fn new(access: Access, disposition: Disposition) -> Self {
        Self {
            access,
            share: Share::ALL,
            disposition,
            attributes: Attributes::NONE,
            directory: false,
            non_directory: false,
            no_intermediate_buffering: false,
            write_through: false,
            delete_on_close: false,
            no_compression: false,
            manage_volume: false,
        }
    }
}

/// The number of an open. Never used twice by a volume.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct OpenId(pub u64);

/// An open of a file or of one of its streams.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Open {
    pub(crate) file: u64,
    /// `None` for a directory.
    pub(crate) stream: Option<u64>,
    /// The default stream or the directory itself: deleting it deletes the file.
    pub(crate) is_primary: bool,
    pub(crate) access: Access,
    pub(crate) share: Share,
    pub(crate) no_intermediate_buffering: bool,
    pub(crate) write_through: bool,
    pub(crate) delete_on_close: bool,
    pub(crate) manage_volume: bool,
}
