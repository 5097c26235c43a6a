//! Entity tags and content codings: which representation a client gets, or whether it has it.

use std::fmt;

use hyper::header::{ACCEPT_ENCODING, HeaderMap, HeaderValue, IF_MATCH, IF_NONE_MATCH};

use super::response::Problem;
use crate::domain::{Hash128, IfMatch};
use crate::snapshot::Coding;

/// Tags that `If-Match` may list, at most; more is 400. Each stands in the command.
const IF_MATCH_TAGS_MAX: usize = 16;

/// The strong entity tag of a list: the sum of its items' hashes, their number and the coding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ListTag {
    pub sum: Hash128,
    pub items: usize,
    pub coding: Coding,
}

impl fmt::Display for ListTag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let suffix = match self.coding {
            Coding::Identity => "",
            Coding::Gzip => "-gzip",
            Coding::Brotli => "-br",
            Coding::Zstd => "-zstd",
        };
        write!(f, "\"{}-{}{suffix}\"", self.sum, self.items)
    }
}

/// The strong entity tag of one todo.
pub fn item_tag(tag: Hash128) -> String {
    format!("\"{tag}\"")
}

/// The tags of a comma-separated list, each with its quotes, weak ones without their `W/`. Ends at
/// the first thing that is not a tag.
fn tags(list: &str) -> impl Iterator<Item = (bool, &str)> {
    let mut rest = list;
    std::iter::from_fn(move || {
        rest = rest.trim_start_matches([' ', '\t', ',']);
        let strong = rest.strip_prefix("W/");
        let quoted = strong.unwrap_or(rest);
        let end = quoted.strip_prefix('"')?.find('"')? + 2;
        let (tag, after) = quoted.split_at(end);
        rest = after;
        Some((strong.is_none(), tag))
    })
}

/// Whether a text is tags, commas and blanks and nothing else, and at least one tag.
fn is_tag_list(list: &str) -> bool {
    let mut rest = list;
    for (_, tag) in tags(list) {
        rest = rest.split_once(tag).map_or("", |(_, behind)| behind);
    }
    let is_separator = |c: char| matches!(c, ' ' | '\t' | ',');
    rest.len() < list.len() && rest.chars().all(is_separator)
}

/// Whether `If-None-Match` (RFC 9110, 13.1.2) says that the client has what `tag` names.
pub fn client_has(headers: &HeaderMap, tag: &HeaderValue) -> bool {
    let values = headers.get_all(IF_NONE_MATCH).iter();
    values
        .filter_map(|value| value.to_str().ok())
        .any(|list| names(list, tag.as_bytes()))
}

/// Whether one value of `If-None-Match` names `tag`. The comparison is weak.
pub fn names(list: &str, tag: &[u8]) -> bool {
    list.trim() == "*" || tags(list).any(|(_, theirs)| theirs.as_bytes() == tag)
}

/// `If-Match` (RFC 9110, 13.1.1), reduced to the tags that a todo can have. Weak ones never match.
pub fn if_match(headers: &HeaderMap) -> Result<Option<IfMatch>, Problem> {
    let mut matching = None;
    for value in headers.get_all(IF_MATCH) {
        let malformed = || Problem::bad_request("If-Match: must be * or a list of entity tags");
        let list = value.to_str().map_err(|_| malformed())?.trim();
        if list == "*" {
            return Ok(Some(IfMatch::Any));
        }
        if !is_tag_list(list) {
            return Err(malformed());
        }
        let known = matching.get_or_insert_with(Vec::new);
        for (strong, tag) in tags(list) {
            known.extend(
                tag.trim_matches('"')
                    .parse::<Hash128>()
                    .ok()
                    .filter(|_| strong),
            );
        }
        if known.len() > IF_MATCH_TAGS_MAX {
            return Err(Problem::bad_request(format!(
                "If-Match: must list at most {IF_MATCH_TAGS_MAX} entity tags"
            )));
        }
    }
    Ok(matching.map(IfMatch::Tags))
}

/// How much a client wants each coding, in thousandths (RFC 9110, 12.5.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Accepts {
    identity: u16,
    gzip: u16,
    brotli: u16,
    zstd: u16,
}

impl Accepts {
    /// `None` where a request says nothing about it: then only identity will do.
    pub fn of_headers(headers: &HeaderMap) -> Option<Self> {
        let values = headers.get_all(ACCEPT_ENCODING).iter();
        let values = values.map(|value| value.to_str().unwrap_or(""));
        let is_named = headers.contains_key(ACCEPT_ENCODING);
        is_named.then(|| Self::of(values))
    }

    /// From the values of `Accept-Encoding`.
    pub fn of<'a>(values: impl IntoIterator<Item = &'a str>) -> Self {
        let mut named = [None; 4];
        let mut any = None;
        for value in values {
            for entry in value.split(',') {
                let (name, weight) = weighted(entry);
                let index = match name {
                    name if name.eq_ignore_ascii_case("identity") => 0,
                    name if is_gzip(name) => 1,
                    name if name.eq_ignore_ascii_case("br") => 2,
                    name if name.eq_ignore_ascii_case("zstd") => 3,
                    "*" => {
                        any = Some(weight);
                        continue;
                    }
                    _ => continue,
                };
                named[index] = Some(weight);
            }
        }
        let coded = |index: usize| named[index].or(any).unwrap_or(0);
        // Identity is acceptable unless it is ruled out; unnamed, it comes last.
        let identity = named[0].or(any.filter(|&weight| weight == 0)).unwrap_or(1);
        Self {
            identity,
            gzip: coded(1),
            brotli: coded(2),
            zstd: coded(3),
        }
    }

    /// The codings that the client takes, best first. Where it likes several alike, the smallest
    /// body wins. Identity ends the list even where it is ruled out: a body beats a 406.
    pub fn in_order(self) -> impl Iterator<Item = Coding> {
        let mut codings = [
            (self.brotli, Coding::Brotli),
            (self.zstd, Coding::Zstd),
            (self.gzip, Coding::Gzip),
            (self.identity, Coding::Identity),
        ];
        // Stable: what is liked alike stays in the order above.
        codings.sort_by_key(|&(weight, _)| std::cmp::Reverse(weight));
        let wanted = codings.into_iter().filter(|&(weight, _)| weight > 0);
        wanted.map(|(_, coding)| coding).chain([Coding::Identity])
    }
}

fn is_gzip(name: &str) -> bool {
    name.eq_ignore_ascii_case("gzip") || name.eq_ignore_ascii_case("x-gzip")
}

/// A coding and its weight in thousandths; a malformed weight rules the coding out.
fn weighted(entry: &str) -> (&str, u16) {
    let (name, parameters) = entry.split_once(';').unwrap_or((entry, "q=1"));
    let weight = parameters
        .trim()
        .strip_prefix(['q', 'Q'])
        .map(str::trim_start);
    let weight = weight
        .and_then(|rest| rest.strip_prefix('='))
        .and_then(|text| thousandths(text.trim()));
    (name.trim(), weight.unwrap_or(0))
}

/// `0` to `1` with up to three decimals (RFC 9110, 12.4.2).
fn thousandths(text: &str) -> Option<u16> {
    let (whole, decimals) = text.split_once('.').unwrap_or((text, ""));
    if decimals.len() > 3 || !decimals.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let digits = decimals.bytes().chain(*b"000").take(3);
    let fraction = digits.fold(0, |sum, digit| sum * 10 + u16::from(digit - b'0'));
    match whole {
        "0" => Some(fraction),
        "1" if fraction == 0 => Some(1_000),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hyper::header::HeaderName;

    fn headers(name: HeaderName, value: &str) -> HeaderMap {
        HeaderMap::from_iter([(name, HeaderValue::from_str(value).unwrap())])
    }

    fn order(value: &str) -> Vec<Coding> {
        let mut order: Vec<_> = Accepts::of([value]).in_order().collect();
        order.dedup();
        order
    }

    #[test]
    fn codings_come_by_weight() {
        use Coding::{Brotli, Gzip, Identity, Zstd};
        assert_eq!(order(""), [Identity]);
        assert_eq!(order("gzip"), [Gzip, Identity]);
        assert_eq!(
            order("gzip, deflate, br, zstd"),
            [Brotli, Zstd, Gzip, Identity]
        );
        assert_eq!(order("GZIP;q=0.5, br;q=0.2"), [Gzip, Brotli, Identity]);
        assert_eq!(order("gzip; q=0"), [Identity]);
        assert_eq!(order("gzip;q=0.001, identity"), [Identity, Gzip, Identity]);
        assert_eq!(order("*"), [Brotli, Zstd, Gzip, Identity]);
        assert_eq!(order("*;q=0.5, gzip"), [Gzip, Brotli, Zstd, Identity]);
        assert_eq!(order("gzip;q=2, br;q=x, zstd;q=0.1234"), [Identity]);
        assert_eq!(order("identity;q=0, gzip;q=0.3"), [Gzip, Identity]);
    }

    #[test]
    fn if_none_match_compares_weakly_and_knows_lists() {
        let has = |value: &str| {
            client_has(
                &headers(IF_NONE_MATCH, value),
                &HeaderValue::from_static("\"a\""),
            )
        };
        for yes in ["\"a\"", "W/\"a\"", "\"x\", \"a\"", "*", "\"x,y\" , W/\"a\""] {
            assert!(has(yes), "{yes}");
        }
        for no in ["a", "\"b\"", "\"x,\"a\"", "", "W/", "\"a"] {
            assert!(!has(no), "{no}");
        }
    }

    #[test]
    fn if_match_keeps_strong_tags_of_todos() {
        let tag = Hash128(5);
        let of = |value: &str| if_match(&headers(IF_MATCH, value));
        assert_eq!(of(&item_tag(tag)).unwrap(), Some(IfMatch::Tags(vec![tag])));
        assert_eq!(of("*").unwrap(), Some(IfMatch::Any));
        assert_eq!(
            of(&format!("W/{}, \"other\"", item_tag(tag))).unwrap(),
            Some(IfMatch::Tags(vec![]))
        );
        for bad in ["nonsense", "", "\"a\" junk", "W/", "\"open"] {
            assert!(of(bad).is_err(), "{bad}");
        }
        assert_eq!(if_match(&HeaderMap::new()).unwrap(), None);
    }
}
