//! The least that each part of `loyalty` must be allowed, as `deploy/` gives it: the worlds' programs run under it, so
//! that what they need and lack fails a test.
//!
//! Roles and users are made once a server, and are allowed something in one database and virtual host at a time. On a
//! server that was given to the tests, the programs keep the login that was given.

use std::fmt;

/// Who a program is to the servers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Account {
    /// `loyalty worker`, `loyalty sweep`
    Worker,
    /// `loyalty bridge`
    Bridge,
    /// Every other command.
    Operator,
    /// Another system that sends commands. No role in the database.
    Publisher,
    /// Another system that hears events. No role in the database.
    Listener,
}

/// The password of all of them, on servers that only this machine reaches and that end with the tests.
const PASSWORD: &str = "least";

/// The file for the database.
const ROLES: &str = include_str!("../../deploy/postgres/roles.sql");

/// The file for the broker.
const PERMISSIONS: &str = include_str!("../../deploy/rabbitmq/permissions.sh");

impl Account {
    pub const ALL: [Self; 5] = [Self::Worker, Self::Bridge, Self::Operator, Self::Publisher, Self::Listener];

    /// Those with a role in the database.
    pub const WITH_ROLE: [Self; 3] = [Self::Worker, Self::Bridge, Self::Operator];

    pub(crate) fn of(command: Option<&str>) -> Self {
        match command {
            Some("worker" | "sweep") => Self::Worker,
            Some("bridge") => Self::Bridge,
            Some(_) | None => Self::Operator,
        }
    }

    /// `user:password`, the same for both servers.
    pub(crate) fn login(self) -> String {
        format!("{self}:{PASSWORD}")
    }

    /// The name of its line among the permissions: the broker of most machines is an old one.
    fn line(self) -> &'static str {
        match self {
            Self::Worker => "worker-before-4.3.1",
            Self::Bridge => "bridge",
            Self::Operator => "operator",
            Self::Publisher => "publisher",
            Self::Listener => "listener",
        }
    }

    /// The permissions, as the management API takes them.
    pub(crate) fn permissions(self) -> String {
        permissions(self.line(), &self.to_string())
    }
}

impl fmt::Display for Account {
    /// The name of its role and user.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Worker => "loyalty_worker",
            Self::Bridge => "loyalty_bridge",
            Self::Operator => "loyalty_operator",
            Self::Publisher => "loyalty_publisher",
            Self::Listener => "loyalty_listener",
        })
    }
}

/// What the script sets for a user of this kind.
pub(crate) fn permissions(line: &str, user: &str) -> String {
    let start = format!("{line}) permit \"$user\" ");
    let found = PERMISSIONS.lines().find_map(|line| line.trim().strip_prefix(&start)).expect(line);
    let words: Vec<String> =
        found.split([' ', '"', '\'']).filter(|word| !word.is_empty()).map(|word| word.replace("$user", user)).collect();
    let [configure, write, read] = &words[..3] else { panic!("three expressions: {found}") };
    serde_json::json!({"configure": configure, "write": write, "read": read}).to_string()
}

/// Makes the roles, once a server, whoever else does so at the same time.
pub(crate) fn make_roles() -> String {
    let make = |account: Account| {
        format!(
            "do $$ begin create role {account} login password '{PASSWORD}';
             exception when duplicate_object or unique_violation then null; end $$;"
        )
    };
    Account::WITH_ROLE.map(make).concat()
}

/// What the file says, with its variables filled in as psql does.
pub(crate) fn grants() -> String {
    Account::WITH_ROLE
        .iter()
        .zip(["worker", "bridge", "operator"])
        .fold(ROLES.to_owned(), |sql, (account, variable)| {
            sql.replace(&format!(":\"{variable}\""), &account.to_string())
        })
}

/// The same as the management API takes it for a new user.
pub(crate) fn user() -> String {
    serde_json::json!({"password": PASSWORD, "tags": ""}).to_string()
}
