//! Libraries that fail on purpose, compiled where the tests run (a C compiler is there wherever Rust links).

use std::path::Path;

use crate::error::{Error, io};
use crate::host::Host;
use crate::tool::tool;

/// Compiles `tests/fault/SOURCE` and puts the library into a host.
///
/// # Errors
/// [`Error::Failed`] with the compiler's words, or when the host cannot write it.
pub fn push_fault(host: &Host, source: &str, to: &str) -> Result<(), Error> {
    let source_file = Path::new(env!("CARGO_MANIFEST_DIR")).join("fault").join(source);
    let library = std::env::temp_dir().join(format!("jst-{}-{source}.so", std::process::id()));
    let built = tool(
        "cc",
        &[
            "-shared",
            "-fPIC",
            "-O1",
            "-Wall",
            "-Werror",
            "-o",
            &library.to_string_lossy(),
            &source_file.to_string_lossy(),
        ],
    );
    let pushed = built.and_then(|_| host.push(&library, to, 0o644));
    let _ = std::fs::remove_file(&library).map_err(io("remove a library"));
    pushed
}
