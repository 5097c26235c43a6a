//! What is asked: the table of scenarios, and the requests that make them.

use std::fmt::Write;

/// How many todos the server holds.
pub const TODOS: usize = 10_000;
/// The largest N of a random `limit=N`.
pub const RANDOM_MAX: u32 = 100;
/// Addresses that forwarded requests are of.
pub const ADDRESSES: u32 = 10_000;

/// One line of the table.
#[derive(Clone, Copy, Debug)]
pub struct Scenario {
    pub name: &'static str,
    pub limit: Limit,
    pub form: Form,
    /// Requests in flight on each connection.
    pub depth: u32,
    pub connections: u32,
    pub head: Head,
    pub clients: Clients,
    /// Whether one request in ten is a create, which a token goes with.
    pub has_writes: bool,
    /// Part of `--quick`.
    pub quick: bool,
    /// Who runs unless `--side` says otherwise.
    pub cast: Cast,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Limit {
    First(u32),
    All,
    /// 1 to [`RANDOM_MAX`], uniformly.
    Random,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    Identity,
    Gzip,
    /// The client has it already.
    NotModified,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Head {
    /// `Host` and what the form needs.
    Bare,
    /// Some 500 bytes, as they come from a browser through a proxy.
    Proxied,
}

/// Whose requests they are, to a server that limits by address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Clients {
    /// The address of the connection's other end.
    Peer,
    /// [`ADDRESSES`] in turn, by `X-Forwarded-For`.
    Forwarded,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cast {
    Everyone,
    /// The few, and servers in the style of those that Millpond replaces. They are so far off that
    /// a chart with everyone would show nothing else.
    Replaced,
    /// Millpond, the floor and bare hyper.
    Few,
    /// Millpond without limits, with them, and with them in Redis.
    Limited,
    /// Millpond, and Millpond behind proxies.
    Proxied,
    /// Millpond alone, and Millpond while it is written to.
    Written,
}

const BASE: Scenario = Scenario {
    name: "",
    limit: Limit::First(100),
    form: Form::Identity,
    depth: 1,
    connections: 64,
    head: Head::Bare,
    clients: Clients::Peer,
    has_writes: false,
    quick: false,
    cast: Cast::Few,
};

const fn first(name: &'static str, limit: u32, depth: u32) -> Scenario {
    Scenario {
        name,
        limit: Limit::First(limit),
        depth,
        ..BASE
    }
}

const fn all(name: &'static str, form: Form) -> Scenario {
    Scenario {
        name,
        limit: Limit::All,
        form,
        ..BASE
    }
}

const fn form(name: &'static str, form: Form, depth: u32) -> Scenario {
    Scenario {
        name,
        form,
        depth,
        ..BASE
    }
}

const fn many(name: &'static str, connections: u32) -> Scenario {
    Scenario {
        name,
        connections,
        ..BASE
    }
}

const fn random(name: &'static str, depth: u32) -> Scenario {
    Scenario {
        name,
        limit: Limit::Random,
        depth,
        ..BASE
    }
}

impl Limit {
    pub fn path(self) -> String {
        match self {
            Self::First(limit) => format!("/todos?limit={limit}"),
            Self::All | Self::Random => "/todos".to_owned(),
        }
    }

    /// As captures and files are named.
    pub fn name(self) -> String {
        match self {
            Self::First(limit) => limit.to_string(),
            Self::All | Self::Random => "all".to_owned(),
        }
    }
}

impl Scenario {
    const fn proxied(self) -> Self {
        Self {
            head: Head::Proxied,
            ..self
        }
    }

    const fn limited(self, clients: Clients) -> Self {
        Self {
            clients,
            cast: Cast::Limited,
            ..self
        }
    }

    const fn mixed(self) -> Self {
        Self {
            has_writes: true,
            cast: Cast::Proxied,
            ..self
        }
    }

    const fn written(self) -> Self {
        Self {
            cast: Cast::Written,
            ..self
        }
    }

    const fn quick(self) -> Self {
        Self {
            quick: true,
            ..self
        }
    }

    const fn replaced(self) -> Self {
        Self {
            cast: Cast::Replaced,
            ..self
        }
    }

    const fn everyone(self) -> Self {
        Self {
            cast: Cast::Everyone,
            ..self
        }
    }
}

/// Around one point, `limit-100`, each property is varied alone; the pairs that matter follow.
pub const READS: &[Scenario] = &[
    first("limit-100", 100, 1).quick().everyone(),
    first("limit-100-depth-16", 100, 16).quick().everyone(),
    first("limit-1", 1, 1).everyone(),
    first("limit-1-depth-16", 1, 16).quick().everyone(),
    first("limit-10", 10, 1),
    first("limit-10-depth-16", 10, 16),
    all("all", Form::Identity).quick().everyone(),
    all("all-gzip", Form::Gzip),
    all("all-304", Form::NotModified),
    form("gzip", Form::Gzip, 1).everyone(),
    form("gzip-depth-16", Form::Gzip, 16),
    form("304", Form::NotModified, 1).everyone(),
    form("304-depth-16", Form::NotModified, 16),
    many("connections-16", 16),
    many("connections-1000", 1_000),
    many("connections-10000", 10_000),
    many("proxied", 64).proxied(),
    form("proxied-depth-16", Form::Identity, 16).proxied(),
    form("proxied-gzip", Form::Gzip, 1).proxied(),
    random("random", 1),
    random("random-depth-16", 16),
    first("replaced", 100, 1).replaced(),
    first("limited-one-address", 100, 1).limited(Clients::Peer),
    first("limited-10000-addresses", 100, 1).limited(Clients::Forwarded),
    first("mixed-90-10", 100, 1).mixed(),
    first("beside-writes", 10, 16).written(),
];

/// What browsers and proxies add. No `Accept-Encoding`: the form decides that.
const PROXIED: &[(&str, &str)] = &[
    (
        "User-Agent",
        "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) \
         Chrome/141.0.0.0 Safari/537.36",
    ),
    ("Accept", "application/json, text/plain, */*"),
    ("Accept-Language", "en-GB,en;q=0.9,de;q=0.8"),
    ("Referer", "https://todos.example.org/app/"),
    ("Sec-Fetch-Dest", "empty"),
    ("Sec-Fetch-Mode", "cors"),
    ("Sec-Fetch-Site", "same-origin"),
    ("X-Forwarded-For", "203.0.113.195"),
    ("X-Forwarded-Proto", "https"),
    ("X-Forwarded-Host", "todos.example.org"),
    ("Via", "1.1 edge-7"),
];

impl Scenario {
    /// The request to `port` for `limit`; `tag` is what the client has.
    pub fn request(&self, port: u16, limit: Limit, tag: Option<&str>) -> String {
        let path = limit.path();
        let mut head = format!("GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n");
        for (name, value) in self.headers(tag) {
            write!(head, "{name}: {value}\r\n").expect("a string takes all");
        }
        head + "\r\n"
    }

    /// The headers but for `Host`.
    pub fn headers<'a>(
        &self,
        tag: Option<&'a str>,
    ) -> impl Iterator<Item = (&'static str, &'a str)> + use<'a> {
        let common: &[_] = match self.head {
            Head::Bare => &[],
            Head::Proxied => PROXIED,
        };
        let coding = (self.form == Form::Gzip).then_some(("Accept-Encoding", "gzip"));
        let tag = tag.map(|tag| ("If-None-Match", tag));
        common.iter().copied().chain(coding).chain(tag)
    }

    /// The limits that are asked for.
    pub fn limits(&self) -> Vec<Limit> {
        match self.limit {
            Limit::Random => (1..=RANDOM_MAX).map(Limit::First).collect(),
            limit => vec![limit],
        }
    }

    /// For the report: what it is in words.
    pub fn description(&self) -> String {
        let limit = match self.limit {
            Limit::First(limit) => format!("limit={limit}"),
            Limit::All => format!("all {TODOS}"),
            Limit::Random => format!("limit=1…{RANDOM_MAX} at random"),
        };
        let form = match self.form {
            Form::Identity => "identity",
            Form::Gzip => "gzip",
            Form::NotModified => "304",
        };
        let head = match self.head {
            Head::Bare => "",
            Head::Proxied => ", 500-byte heads",
        };
        let cast = match (self.cast, self.clients) {
            (Cast::Limited, Clients::Peer) => {
                ", all of one address; who limits admits all. Redis is on the server's core and not \
                 counted"
            }
            (Cast::Limited, Clients::Forwarded) => {
                ", of 10,000 addresses in turn, which a trusted proxy names; who limits admits all. \
                 Redis is on the server's core and not counted"
            }
            (Cast::Proxied, _) => {
                ", one request in ten a create (202). Counted is Millpond; a proxy in front of it is \
                 on the client's core and not counted"
            }
            (Cast::Written, _) => {
                "; who is written to takes 1,000 creates a second meanwhile (202, and applied), whose \
                 CPU time is counted as its reads'"
            }
            _ => "",
        };
        let (depth, connections) = (self.depth, self.connections);
        format!("{limit}, {form}, depth {depth}, {connections} connections{head}{cast}")
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn names_are_unique() {
        let names: BTreeSet<_> = READS.iter().map(|scenario| scenario.name).collect();
        assert_eq!(names.len(), READS.len());
        assert!(!names.contains(""));
    }

    #[test]
    fn a_proxied_head_has_some_500_bytes() {
        let scenario = BASE.proxied();
        let head = scenario.request(50_000, scenario.limit, None);
        assert!((480..=540).contains(&head.len()), "{}", head.len());
    }

    #[test]
    fn a_conditional_request_names_its_tag() {
        let scenario = form("304", Form::NotModified, 1);
        let head = scenario.request(80, scenario.limit, Some("\"x\""));
        assert_eq!(
            head,
            "GET /todos?limit=100 HTTP/1.1\r\nHost: 127.0.0.1:80\r\nIf-None-Match: \"x\"\r\n\r\n"
        );
    }
}
