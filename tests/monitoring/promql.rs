//! What an expression of Prometheus asks for: the metrics that it names, what it wants of their
//! labels, and the labels that it keeps. This is no parser: promtool has one.

/// Words between operands. Everything else that is not called is a metric.
const OPERATORS: [&str; 5] = ["and", "or", "unless", "bool", "offset"];
/// Words in front of labels in parentheses.
const LISTS: [&str; 6] = [
    "by",
    "without",
    "on",
    "ignoring",
    "group_left",
    "group_right",
];

/// What is wanted of a label: one of these values, or none of them.
#[derive(Debug, PartialEq, Eq)]
pub struct Matcher {
    pub label: String,
    pub values: Vec<String>,
}

#[derive(Debug, Default, PartialEq, Eq)]
pub struct Query {
    /// Metrics, each with its matchers.
    pub selectors: Vec<(String, Vec<Matcher>)>,
    /// Labels that are grouped or matched by.
    pub labels: Vec<String>,
}

impl Query {
    pub fn of(expression: &str) -> Self {
        let mut query = Self::default();
        let mut rest = expression;
        while let Some(first) = rest.chars().next() {
            match first {
                '"' | '\'' => rest = after(&rest[1..], first),
                '[' => rest = after(rest, ']'),
                '{' => panic!("a selector without a metric: {expression}"),
                '$' | '0'..='9' => rest = &rest[1 + word(&rest[1..]).len()..],
                'a'..='z' | 'A'..='Z' | '_' => rest = query.word(rest),
                _ => rest = &rest[first.len_utf8()..],
            }
        }
        query
    }

    /// Takes the word at the start of `rest`, and what belongs to it.
    fn word<'a>(&mut self, rest: &'a str) -> &'a str {
        let name = word(rest);
        let rest = rest[name.len()..].trim_start();
        let is_called = rest.starts_with('(') || LISTS.contains(&word(rest));
        if LISTS.contains(&name) && is_called {
            let (list, rest) = rest[1..].split_once(')').unwrap();
            let labels = list.split(',').map(str::trim);
            let labels = labels.filter(|label| !label.is_empty());
            self.labels.extend(labels.map(str::to_owned));
            return rest;
        }
        if OPERATORS.contains(&name) || is_called {
            return rest;
        }
        let (matchers, rest) = match rest.strip_prefix('{') {
            Some(inner) => inner.split_once('}').unwrap(),
            None => ("", rest),
        };
        let matchers = matchers.split_inclusive("\",").map(matcher).collect();
        self.selectors.push((name.to_owned(), matchers));
        rest
    }
}

/// As in `status=~"500|503"`.
fn matcher(text: &str) -> Matcher {
    let (name, value) = text.split_once('"').unwrap();
    let value = value.trim_end_matches(',').trim_end_matches('"');
    let name = name.trim();
    let label = name.trim_end_matches(['=', '!', '~']);
    let values = if name.ends_with('~') {
        value.split('|').map(str::to_owned).collect()
    } else {
        vec![value.to_owned()]
    };
    Matcher {
        label: label.to_owned(),
        values,
    }
}

fn word(text: &str) -> &str {
    let is_part = |letter: char| letter.is_ascii_alphanumeric() || letter == '_' || letter == ':';
    let end = text.find(|letter| !is_part(letter));
    &text[..end.unwrap_or(text.len())]
}

fn after(text: &str, end: char) -> &str {
    text.split_once(end).unwrap().1
}

#[test]
fn metrics_labels_and_values_are_found() {
    let query = Query::of(
        r#"0.5 * sum by (instance, le) (rate(a_total{b="c", d!~"e|$f"}[$__rate_interval])) > 1e3
           and on () max(up offset 1h) unless g{} or vector(0)"#,
    );
    let matchers = vec![
        Matcher {
            label: "b".to_owned(),
            values: vec!["c".to_owned()],
        },
        Matcher {
            label: "d".to_owned(),
            values: vec!["e".to_owned(), "$f".to_owned()],
        },
    ];
    assert_eq!(
        query.selectors,
        [
            ("a_total".to_owned(), matchers),
            ("up".to_owned(), vec![]),
            ("g".to_owned(), vec![])
        ]
    );
    assert_eq!(query.labels, ["instance", "le"]);
}
