//! The one place that reads the environment, beside the parser of the command line, which reads what its help names.
//!
//! What a variable changes can thus be looked up; the rest of the program gets values.

#![expect(clippy::disallowed_methods, reason = "this is the place")]

use std::ffi::OsString;

/// A variable that is set to text.
pub(crate) fn text(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

/// A variable as it is.
pub(crate) fn raw(name: &str) -> Option<OsString> {
    std::env::var_os(name)
}

/// The values of all variables.
pub(crate) fn values() -> impl Iterator<Item = OsString> {
    std::env::vars_os().map(|(_, value)| value)
}
