//! The coverage-guided driver (libFuzzer): `fuzz` runs the target that JITSUDO_FUZZ names. Built and started by `cargo xtask fuzz`.
#![no_main]
#![expect(clippy::panic, reason = "a driver without a target must say so")]

use std::sync::LazyLock;

use jitsudo_fuzz::Target;

static TARGET: LazyLock<Target> = LazyLock::new(|| {
    let name = std::env::var("JITSUDO_FUZZ").unwrap_or_default();
    jitsudo_fuzz::find(&name).unwrap_or_else(|| panic!("JITSUDO_FUZZ={name:?} is no target"))
});

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| (TARGET.run)(bytes));
