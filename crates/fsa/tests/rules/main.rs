//! The rules of \[MS-FSA\], by their numbers in the facts file, and what Windows does where it differs.

mod bad_input;
mod byte_driven;
mod compression;
mod io;
mod model;
mod names;
mod ranges;
mod samba;
mod save;
mod seeds;
mod set_sparse;
mod space;
mod trim;
mod world;
mod zero_data;
