//! What a token of the bridge is good for. Each type of command names the scope that it asks for.

string_enum! {
    /// What a token is good for. None includes another.
    pub enum Scope {
        /// Sending commands.
        Publish = "publish",
        /// Reading members, ledgers and receipts.
        Read = "read",
        /// Metrics, and commands that cannot be undone.
        Operate = "operate",
    }
}
