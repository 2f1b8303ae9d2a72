//! The program from end to end, as a person or a script meets it.
//!
//! | file | what it proves |
//! | --- | --- |
//! | `verbs` | what each verb does and says |
//! | `schema` | every JSON object has exactly the keys of JSON.md |
//! | `bad_input` | wrong arguments and hostile files get a clear error, the right exit code, and lose nothing |
//! | `output` | colours, broken pipes, pictures, completions, manual pages |
//! | `upkeep` | compacting an image, and trimming it regularly |
//! | `processes` | two programs on one image, signals, kill -9 |
//! | `figures` | the "must show", in sizes that a test can have |
//! | `model` | the verbs on a simulated NTFS volume, and what an image would cost there |
//! | `online` | a served image, trimmed and looked into while clients use it |
//! | `host` | what needs root: a full host, loop devices |

mod bad_input;
mod client;
mod figures;
mod host;
mod model;
mod online;
mod output;
mod processes;
mod room;
mod schema;
mod upkeep;
mod verbs;
