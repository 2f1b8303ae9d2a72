//! The program from end to end, as a person or a script meets it.
//!
//! | file | what it proves |
//! | --- | --- |
//! | `verbs` | what each verb does and says |
//! | `schema` | every JSON object has exactly the keys of JSON.md |
//! | `holes` | what they do with the holes of real files |
//! | `bad_input`, `bad_names` | wrong arguments and hostile files get a clear error, the right exit code, and lose nothing |
//! | `output`, `terminal` | colours, broken pipes, pictures, completions, manual pages |
//! | `processes` | two programs on one image, signals, kill -9 |
//! | `figures` | the "must show", in sizes that a test can have |
//! | `model`, `islands` | the verbs on a simulated NTFS volume, and what an image would cost there |
//! | `upkeep` | compacting an image, and trimming it regularly |
//! | `online` | a served image, trimmed and looked into while clients use it |
//! | `host` | what needs root: a full host, loop devices |
//! | `windows` | the same on Windows, where the tests run under Wine and no file has holes |

mod bad_input;
mod bad_names;
mod client;
mod figures;
mod holes;
mod host;
mod islands;
mod model;
mod online;
mod output;
mod processes;
mod room;
mod room_unix;
mod schema;
mod terminal;
mod upkeep;
mod verbs;
mod windows;
