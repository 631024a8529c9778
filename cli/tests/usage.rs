//! What a person at a terminal meets first: the list of commands, and errors that say what to do. No servers.

use std::process::{Command, Output};

/// Runs `loyalty` in an empty directory with an empty environment.
fn loyalty(args: &[&str]) -> Output {
    let dir = tempfile::tempdir().expect("a directory");
    Command::new(env!("CARGO_BIN_EXE_loyalty"))
        .args(args)
        .env_clear()
        .current_dir(dir.path())
        .output()
        .expect("the binary runs")
}

/// The exit code and what was said.
fn told(args: &[&str]) -> String {
    let Output { status, stdout, stderr } = loyalty(args);
    let text = String::from_utf8([stdout, stderr].concat()).expect("UTF-8");
    format!("{}\n{}", status.code().expect("it ended by itself"), text.trim_end())
}

#[test]
fn the_help_lists_what_can_be_done() {
    insta::assert_snapshot!(told(&["-h"]), @r"
    0
    Loyalty points that are neither lost nor doubled, on RabbitMQ and PostgreSQL

    Usage: loyalty [OPTIONS] <COMMAND>

    Commands:
      dev           Start everything on this machine: servers, worker, bridge and a mailbox
      worker        Apply commands and send emails: a service for production
      workers       List the workers: since when, which partitions, how fast, how far behind
      bridge        Take commands over HTTP: a service for production
      migrate       Create or update the database's tables
      topology      Declare the exchanges and queues, or check them
      publish       Publish one command
      import        Publish a file of purchases or commands
      member        Show members
      receipt       Show what was decided about a command
      dead-letters  List, edit, replay or discard dead letters
      emails        List emails to members, and send again those that were not sent
      verify        Check the database for broken promises, and list the rows that break one
      rebuild       Recompute members from the ledger, and repair what differs
      sweep         Let points expire and holds run out that are due
      token         Create, list and revoke the bridge's access tokens
      bench         Measure how near the whole comes to its broker and its database
      schema        Print the contract for other systems: JSON Schema, or AsyncAPI
      completions   Print shell completions
      help          Print this message or the help of the given subcommand(s)

    Options:
          --json     Print the answer as JSON
      -h, --help     Print help (see more with '--help')
      -V, --version  Print version

    Begin with `loyalty dev` in one terminal and, in the next:
      loyalty publish enroll ann --email ann@example.com --wait 5s
      loyalty publish earn ann 1200 --reason 'order 991' --wait 5s
      loyalty member show ann
    ");
}

#[test]
fn without_servers_an_error_says_how_to_give_them() {
    insta::assert_snapshot!(told(&["member", "list"]), @r"
    3
    error: where is PostgreSQL? Run `loyalty dev` in this directory or one above it, or give --database-url or LOYALTY_DATABASE_URL
    ");
    insta::assert_snapshot!(told(&["publish", "earn", "ann", "5"]), @r"
    3
    error: where is RabbitMQ? Run `loyalty dev` in this directory or one above it, or give --amqp-url or LOYALTY_AMQP_URL
    ");
}

/// As in an `.env` file that was not filled in.
#[test]
fn variables_that_are_set_to_nothing_are_not_set() {
    let names = ["AMQP_URL", "MANAGEMENT_URL", "DATABASE_URL", "SMTP_URL", "CA_FILE", "CONFIG", "DATA", "OPEN"];
    let dir = tempfile::tempdir().expect("a directory");
    let mut command = Command::new(env!("CARGO_BIN_EXE_loyalty"));
    command.arg("bridge").env_clear().current_dir(dir.path());
    let ended = command.envs(names.map(|name| (format!("LOYALTY_{name}"), ""))).output().expect("the binary runs");
    let said = String::from_utf8(ended.stderr).expect("UTF-8");
    assert!(said.starts_with("error: where is RabbitMQ?") || said.starts_with("error: where is PostgreSQL?"), "{said}");
}

#[test]
fn a_server_that_is_away_is_told_without_its_password() {
    let told = told(&["verify", "--database-url", "postgres://ann:s3cret@127.0.0.1:1/shop"]);
    assert!(told.starts_with("3\nerror: could not connect to PostgreSQL"), "{told}");
    assert!(!told.contains("s3cret"), "{told}");
}

/// Whoever asks for traces should not have to guess why there are none. `./run test` builds all features, so this one
/// is run by `cargo test -p loyalty-cli`.
#[cfg(not(feature = "otel"))]
#[test]
fn a_service_that_was_built_without_traces_says_so() {
    let said = |command: &str| {
        let mut command_line = Command::new(env!("CARGO_BIN_EXE_loyalty"));
        command_line.arg(command).env_clear().env("OTEL_EXPORTER_OTLP_ENDPOINT", "http://ann:s3cret@collector:4318");
        let ended = command_line.current_dir(env!("CARGO_TARGET_TMPDIR")).output().expect("the binary runs");
        String::from_utf8(ended.stderr).expect("UTF-8")
    };
    let told = said("worker");
    assert!(told.contains("No traces are sent") && told.contains("--features otel"), "{told}");
    assert!(!told.contains("s3cret"), "{told}");
    assert!(!said("verify").contains("traces"), "nobody expects them of a command that ends by itself");
}

#[test]
fn wrong_usage_says_what_is_allowed() {
    insta::assert_snapshot!(told(&["publish", "earn", "ann", "0"]), @r"
    2
    error: invalid value '0' for '<POINTS>': must be an integer from 1 to 1000000000000

    For more information, try '--help'.
    ");
    insta::assert_snapshot!(told(&["publish", "earn", "a b", "5"]), @r"
    2
    error: invalid value 'a b' for '<MEMBER>': must be 1 to 64 bytes of printable ASCII without spaces

    For more information, try '--help'.
    ");
    insta::assert_snapshot!(told(&["publish", "earn", "ann", "5", "--wait", "soon"]), @r"
    2
    error: invalid value 'soon' for '--wait <TIME>': must be a time such as 5s, 500ms or 1m

    For more information, try '--help'.
    ");
    insta::assert_snapshot!(told(&["publish", "terminate", "ann"]), @r"
    2
    error: the following required arguments were not provided:
      --reason <REASON>

    Usage: loyalty publish terminate --reason <REASON> <MEMBER>

    For more information, try '--help'.
    ");
    insta::assert_snapshot!(told(&["rebuild", "--where", "points > 5 or status = gone"]), @r"
    2
    error: invalid value 'points > 5 or status = gone' for '--where <CONDITIONS>': at character 12: expected `and` or the end, found `or`

    For more information, try '--help'.
    ");
    insta::assert_snapshot!(told(&["import", "june.csv", "--email", "x"]), @r"
    2
    error: the following required arguments were not provided:
      --enroll

    Usage: loyalty import --enroll --email <TEMPLATE> <FILE>

    For more information, try '--help'.
    ");
    insta::assert_snapshot!(told(&["import", "june.xlsx"]), @r"
    2
    error: june.xlsx: the name must end in .csv, .tsv, .txt or .jsonl
    ");
    insta::assert_snapshot!(told(&["import", "june.csv"]), @r"
    2
    error: june.csv: No such file or directory (os error 2)
    ");
    insta::assert_snapshot!(told(&["--config", "nowhere.toml", "topology"]), @r"
    2
    error: could not read nowhere.toml
      because: No such file or directory (os error 2)
    ");
}

#[test]
fn completions_are_for_the_whole_command_line() {
    let script = String::from_utf8(loyalty(&["completions", "bash"]).stdout).expect("UTF-8");
    for command in ["dev", "worker", "bridge", "import", "verify"] {
        assert!(script.contains(&format!("loyalty__subcmd__{command}")), "{command}");
    }
}
