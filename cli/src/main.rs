//! The one binary, `loyalty`.
fn main() {}
