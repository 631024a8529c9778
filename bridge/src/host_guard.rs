//! Keeps other people's web pages away from a bridge that asks for no tokens.
//!
//! A page may send simple requests to any address that its reader's browser reaches, this machine included; and with a
//! DNS name of its own that points here it may read the answers too. Only `Host` tells by which name the browser came,
//! and only `Origin` and `Sec-Fetch-Site` whose page it was. Where tokens are asked for, a page has none, so that
//! `Host` is looked at only if somebody said which names there are.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::str::FromStr;

use axum::extract::Request;
use axum::http::header::{HOST, HeaderName, ORIGIN};
use axum::http::{HeaderMap, Version};

use crate::problem::{Code, Problem};

/// The header by which browsers say whose page asks.
const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// Names by which a bridge may be asked for, beside those that it knows by itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Hosts(Vec<Host>);

impl FromStr for Hosts {
    type Err = HostsError;

    /// Names and addresses with commas between them; an empty text has none.
    fn from_str(text: &str) -> Result<Self, HostsError> {
        let parts = text.split(',').map(str::trim).filter(|part| !part.is_empty());
        let host = |part: &str| match part.parse() {
            Ok(address) => Ok(Host::Address(IpAddr::V6(address))),
            Err(_) => match Authority::parse(part) {
                Some(Authority { host, port: "" }) => Ok(host),
                Some(_) | None => Err(HostsError),
            },
        };
        parts.map(host).collect::<Result<_, _>>().map(Self)
    }
}

/// A list of hosts that is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "must be host names or IP addresses without scheme and port, with commas between them, as in `shop.example,10.0.0.7`"
)]
pub struct HostsError;

/// A host by its name, in small dead letters and without the dot of the root, or by its address.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Host {
    Name(String),
    Address(IpAddr),
}

/// A host and, if one is given, its port, as in `Host` and at the end of `Origin`.
#[derive(Debug, PartialEq, Eq)]
struct Authority<'a> {
    host: Host,
    port: &'a str,
}

impl<'a> Authority<'a> {
    fn parse(text: &'a str) -> Option<Self> {
        let end = if text.starts_with('[') { text.find(']')? + 1 } else { text.find(':').unwrap_or(text.len()) };
        let (host, port) = text.split_at(end);
        let port = if port.is_empty() { port } else { port.strip_prefix(':')? };
        let is_port = port.len() <= "65535".len() && port.bytes().all(|byte| byte.is_ascii_digit());
        is_port.then_some(Self { host: Host::parse(host)?, port })
    }
}

impl Host {
    fn parse(text: &str) -> Option<Self> {
        if let Some(address) = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')) {
            return Some(Self::Address(IpAddr::V6(address.parse::<Ipv6Addr>().ok()?).to_canonical()));
        }
        let name = text.strip_suffix('.').unwrap_or(text);
        if let Ok(address) = name.parse() {
            return Some(Self::Address(address));
        }
        let is_label = |label: &str| !label.is_empty() && label.bytes().all(is_of_label);
        name.split('.').all(is_label).then(|| Self::Name(name.to_ascii_lowercase()))
    }
}

const fn is_of_label(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_')
}

/// What a bridge knows of its names.
#[derive(Debug)]
pub(crate) struct HostGuard {
    hosts: Hosts,
    /// Where it listens; every address of the machine if that is unspecified.
    own: IpAddr,
}

impl HostGuard {
    pub(crate) fn new(hosts: Hosts, own: SocketAddr) -> Self {
        Self { hosts, own: own.ip().to_canonical() }
    }

    /// An error, if the request is not for this bridge, or may come from somebody else's web page.
    pub(crate) fn check(&self, request: &Request, is_open: bool) -> Result<(), Problem> {
        let headers = request.headers();
        let host = host_header(request)?;
        if !is_open && self.hosts.0.is_empty() {
            return Ok(());
        }
        // A request line may name the host as well, and counts then.
        let in_line = request.uri().host().map(|host| Host::parse(host).ok_or_else(invalid)).transpose()?;
        let named = host.iter().map(|authority| &authority.host).chain(&in_line);
        if !named.into_iter().all(|host| self.knows(host)) {
            return Err(Problem::new(Code::UnknownHost, UNKNOWN_HOST));
        }
        if is_open && self.is_of_another_page(headers, host.as_ref()) {
            return Err(Problem::new(Code::CrossSite, CROSS_SITE));
        }
        Ok(())
    }

    /// Names of others cannot be made to lead here if only these are taken. An address is no name: a browser that asks
    /// for it has its page from it.
    fn knows(&self, host: &Host) -> bool {
        let by_itself = match host {
            Host::Name(name) => name == "localhost",
            Host::Address(address) => address.is_loopback() || *address == self.own || self.own.is_unspecified(),
        };
        by_itself || self.hosts.0.contains(host)
    }

    fn is_of_another_page(&self, headers: &HeaderMap, host: Option<&Authority<'_>>) -> bool {
        let mut sites = headers.get_all(SEC_FETCH_SITE).iter();
        let mut origins = headers.get_all(ORIGIN).iter();
        sites.any(|site| !matches!(site.as_bytes(), b"same-origin" | b"none"))
            || origins.any(|origin| !origin.to_str().is_ok_and(|origin| self.is_own_page(origin, host)))
    }

    /// Another port is another page. That a proxy before the bridge is asked for by one of the given names is what they
    /// are given for.
    fn is_own_page(&self, origin: &str, host: Option<&Authority<'_>>) -> bool {
        let authority = origin.split_once("://").and_then(|(_, authority)| Authority::parse(authority));
        authority.is_some_and(|authority| host == Some(&authority) || self.hosts.0.contains(&authority.host))
    }
}

/// What `Host` says. HTTP/1.0 knows no such header, and no browser speaks it.
fn host_header(request: &Request) -> Result<Option<Authority<'_>>, Problem> {
    let mut hosts = request.headers().get_all(HOST).iter();
    let first = match (hosts.next(), hosts.next()) {
        (Some(host), None) => host,
        (None, _) if request.version() < Version::HTTP_11 => return Ok(None),
        (None, _) | (_, Some(_)) => return Err(invalid()),
    };
    let authority = first.to_str().ok().and_then(Authority::parse).ok_or_else(invalid)?;
    Ok(Some(authority))
}

fn invalid() -> Problem {
    Problem::invalid("host", "must be given once, as a host name or an IP address, with or without a port")
}

const UNKNOWN_HOST: &str = "this bridge is not known by that host; ask for localhost or its own address, or name the \
    host when it is started: `--hosts` or LOYALTY_HOSTS";

const CROSS_SITE: &str = "a web page of another origin may not use a bridge that asks for no tokens; make tokens \
    (`loyalty token create`), or serve page and bridge under one host";

#[cfg(test)]
mod tests {
    use axum::body::Body;

    use super::*;

    /// What is said of these headers, at a bridge that listens on this address and asks for no tokens.
    fn said(own: &str, hosts: &str, is_open: bool, headers: &[(&str, &str)]) -> Result<(), &'static str> {
        let guard = HostGuard::new(hosts.parse().expect("hosts"), own.parse().expect("an address"));
        let request = headers.iter().fold(Request::builder().uri("/ann"), |it, (name, value)| it.header(*name, *value));
        let request = request.body(Body::empty()).expect("a request");
        guard.check(&request, is_open).map_err(|problem| problem.code())
    }

    #[test]
    fn an_open_bridge_takes_its_own_names_and_no_others() {
        let check = |own: &str, host: &str, expected| {
            assert_eq!(said(own, "shop.example,10.0.0.7,fd00::7", true, &[("host", host)]), expected, "{own} {host}");
        };
        let here = "127.0.0.1:5000";
        let own =
            ["localhost", "LocalHost:80", "localhost.", "localhost:", "127.0.0.1:5000", "127.8.8.8", "[::1]:5000"];
        let given = ["shop.example", "SHOP.example.:443", "10.0.0.7:5000", "[fd00::7]", "[::ffff:127.0.0.1]"];
        for host in own.into_iter().chain(given) {
            check(here, host, Ok(()));
        }
        let foreign = ["rebind.example", "localhost.example", "x.localhost", "10.0.0.8", "0.0.0.0:5000", "[fd00::8]"];
        for host in foreign {
            check(here, host, Err("unknown_host"));
        }
        let malformed = [
            "",
            "ann@localhost",
            "localhost:5000:5000",
            "localhost:x",
            "::1",
            "[::1",
            "a b",
            "local..host",
            "localhost..",
        ];
        for host in malformed {
            check(here, host, Err("invalid"));
        }
        check("10.0.0.8:5000", "10.0.0.8:5000", Ok(()));
        check("0.0.0.0:5000", "192.168.1.7:5000", Ok(()));
        check("0.0.0.0:5000", "rebind.example", Err("unknown_host"));
        let twice = [("host", "localhost"), ("host", "localhost")];
        assert_eq!(said(here, "", true, &twice), Err("invalid"));
        assert_eq!(said(here, "", false, &[]), Err("invalid"), "HTTP/1.1 without one");
    }

    #[test]
    fn with_tokens_hosts_are_asked_for_only_if_some_are_given_and_origins_never() {
        let foreign = [("host", "rebind.example"), ("origin", "http://evil.example")];
        assert_eq!(said("127.0.0.1:5000", "", false, &foreign), Ok(()));
        assert_eq!(said("127.0.0.1:5000", "shop.example", false, &foreign), Err("unknown_host"));
        let other_page =
            [("host", "shop.example"), ("origin", "http://evil.example"), ("sec-fetch-site", "cross-site")];
        assert_eq!(said("127.0.0.1:5000", "shop.example", false, &other_page), Ok(()));
    }

    #[test]
    fn an_open_bridge_takes_nothing_from_pages_of_others() {
        let check = |name: &str, value: &str, expected| {
            let headers = [("host", "localhost:5000"), (name, value)];
            assert_eq!(said("127.0.0.1:5000", "shop.example", true, &headers), expected, "{name}: {value}");
        };
        for own in
            ["http://localhost:5000", "http://LOCALHOST:5000", "https://shop.example", "https://shop.example:8443"]
        {
            check("origin", own, Ok(()));
        }
        let others =
            ["null", "", "http://localhost:8080", "http://localhost", "http://127.0.0.1:5000", "localhost:5000"];
        let more = ["https://evil.example", "http://localhost:5000@evil.example", "http://shop.example.evil.example"];
        for origin in others.into_iter().chain(more) {
            check("origin", origin, Err("cross_site"));
        }
        for site in ["same-origin", "none"] {
            check("sec-fetch-site", site, Ok(()));
        }
        for site in ["cross-site", "same-site", ""] {
            check("sec-fetch-site", site, Err("cross_site"));
        }
    }

    #[test]
    fn a_list_of_hosts_holds_names_and_addresses_only() {
        let read = |text: &str| text.parse::<Hosts>().map(|hosts| hosts.0.len());
        assert_eq!(read(""), Ok(0));
        assert_eq!(read("shop.example, 10.0.0.7,::1,[::1],"), Ok(4));
        for wrong in ["http://shop.example", "shop.example:80", "*", "*.example", "shop example", "ann@shop"] {
            assert_eq!(read(wrong), Err(HostsError), "{wrong}");
        }
    }
}
