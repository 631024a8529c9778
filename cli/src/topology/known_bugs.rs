//! Versions of RabbitMQ with bugs that concern what we use of it, from its release notes. The newest first.

/// Major, minor and patch.
type Version = [u32; 3];

/// A bug of the versions from `since` to before `fixed`.
struct Bug {
    since: Version,
    fixed: Version,
    /// Whether it takes several nodes.
    of_clusters: bool,
    what: &'static str,
}

const KNOWN_BUGS: [Bug; 8] = [
    Bug {
        since: [3, 10, 0],
        fixed: [4, 3, 3],
        of_clusters: true,
        what: "after nodes came and went in short order, dead letters and emails in retry queues may stay where they \
               are until a node restarts",
    },
    Bug {
        since: [3, 13, 0],
        fixed: [3, 13, 3],
        of_clusters: false,
        what: "the headers that say why and where a message died are wrong, and so is what a dead letter says of it",
    },
    Bug { since: [3, 12, 0], fixed: [3, 12, 5], of_clusters: false, what: REUSED_TAGS },
    Bug { since: [3, 8, 0], fixed: [3, 11, 23], of_clusters: false, what: REUSED_TAGS },
    Bug { since: [3, 11, 0], fixed: [3, 11, 12], of_clusters: false, what: DEAD_LETTERING },
    Bug { since: [3, 10, 0], fixed: [3, 10, 20], of_clusters: false, what: DEAD_LETTERING },
    Bug {
        since: [3, 10, 0],
        fixed: [3, 10, 5],
        of_clusters: false,
        what: "a queue may fail while it dead-letters a message",
    },
    Bug {
        since: [0, 0, 0],
        fixed: [3, 10, 0],
        of_clusters: false,
        what: "quorum queues know neither a message's time to live nor safe dead-lettering: the queues cannot be made",
    },
];

const REUSED_TAGS: &str =
    "after many reconnections of a consumer, messages of a quorum queue may no longer be delivered";

const DEAD_LETTERING: &str = "when the leader of a queue changes, or a queue is deleted in that moment, what forwards \
                              dead letters may end or run twice";

/// What is known of a version, as sentences. `is_cluster`: whether several nodes are known, or may be.
pub(super) fn warnings(version: &str, is_cluster: bool) -> Vec<String> {
    let Some(installed) = parse(version) else {
        return vec![format!("RabbitMQ says that its version is {version:?}, of which nothing is known")];
    };
    let has = |bug: &&Bug| {
        let is_reached = (bug.since..bug.fixed).contains(&installed);
        is_reached && (is_cluster || !bug.of_clusters)
    };
    let told = |Bug { fixed: [major, minor, patch], what, .. }: &Bug| {
        format!("RabbitMQ {version}: {what}; fixed in {major}.{minor}.{patch}")
    };
    KNOWN_BUGS.iter().filter(has).map(told).collect()
}

/// The numbers before anything like `-rc.1` or `+2`.
fn parse(version: &str) -> Option<Version> {
    let numbers = version.split(['-', '+', '~']).next()?;
    let mut parts = numbers.split('.').map(|part| part.parse().ok());
    Some([parts.next()??, parts.next()??, parts.next().flatten().unwrap_or_default()])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_is_warned_of_while_its_bugs_are_not_fixed() {
        let check = |version: &str, is_cluster: bool, bugs: usize| {
            let warnings = warnings(version, is_cluster);
            assert_eq!(warnings.len(), bugs, "{version}: {warnings:#?}");
        };
        check("3.9.29", false, 2);
        check("3.10.4", false, 3);
        check("3.10.8", false, 2);
        check("3.10.8", true, 3);
        check("3.10.25", false, 1);
        check("3.11.12", false, 1);
        check("3.11.23", false, 0);
        check("3.12.4", false, 1);
        check("3.13.2-rc.1", false, 1);
        check("4.0.5", false, 0);
        check("4.0.5+1", true, 1);
        check("4.3.3", true, 0);
        check("5.0", true, 0);
        check("newest", false, 1);
    }

    #[test]
    fn a_warning_says_since_when_it_is_fixed() {
        insta::assert_snapshot!(warnings("3.13.0", false).join("\n"), @"RabbitMQ 3.13.0: the headers that say why and where a message died are wrong, and so is what a dead letter says of it; fixed in 3.13.3");
    }
}
