//! The last plain read that a core has seen, so that its like need not be parsed again.

use super::head::{Asked, Line, Next, Target, next};

/// The last plain read that a core has seen. Who pipelines sends the same head byte for byte, and
/// who polls at least the same fields; then they mean the same. Comparing costs a tenth of parsing.
#[derive(Default)]
pub struct Last {
    head: Vec<u8>,
    asked: Option<Asked>,
}

impl Last {
    /// Looks at the request that `bytes` begin with. `head_bytes_max` is the limit on its head.
    pub fn next(&mut self, bytes: &[u8], head_bytes_max: usize) -> Next {
        if let Some(asked) = &self.asked {
            if bytes.starts_with(&self.head) && self.head.len() <= head_bytes_max {
                return Next::Hot(asked.clone());
            }
            let fields = &self.head[asked.line.bytes..];
            if let Some(line) = line(bytes)
                && bytes[line.bytes..].starts_with(fields)
                && line.bytes + fields.len() <= head_bytes_max
            {
                let fields = asked.fields.clone();
                return Next::Hot(Asked { line, fields });
            }
        }
        let next = next(bytes, head_bytes_max);
        if let Next::Hot(asked) = &next {
            let head_bytes = asked.line.bytes + asked.fields.bytes;
            self.head.clear();
            self.head.extend_from_slice(&bytes[..head_bytes]);
            self.asked = Some(asked.clone());
        }
        next
    }
}

/// Reads a request line in its usual spelling; the parser knows the others.
fn line(bytes: &[u8]) -> Option<Line> {
    let (wants_body, target) = match bytes.strip_prefix(b"GET ") {
        Some(target) => (true, target),
        None => (false, bytes.strip_prefix(b"HEAD ")?),
    };
    let target_bytes = target.iter().position(|byte| *byte == b' ')?;
    let (target, version) = target.split_at(target_bytes);
    let behind = version.strip_prefix(b" HTTP/1.1\r\n")?;
    let limit = match Target::of(std::str::from_utf8(target).ok()?) {
        Target::All => None,
        Target::First(limit) => Some(limit),
        Target::Other => return None,
    };
    Some(Line {
        wants_body,
        limit,
        bytes: bytes.len() - behind.len(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: usize = 1_024;

    #[test]
    fn fields_that_come_again_mean_the_same() {
        let mut last = Last::default();
        let fields = [
            "Host: h\r\nX-Request-Id: i\r\n\r\n",
            "Host: h\r\nX-Request-Id: i\r\nConnection: close\r\n\r\n",
            "Host: h\r\nX-Request-Id: j\r\n\r\n",
            "Host: h\r\nX-Forwarded-For: 192.0.2.1\r\n\r\n",
            "Host: h\r\nX-Forwarded-For: 192.0.2.2\r\n\r\n",
            "Host: h\r\nX-Request-Id: j\r\nContent-Length: 1\r\n\r\n",
            "Host: h\n\n",
        ];
        let lines = [
            "GET /todos HTTP/1.1\r\n",
            "GET /todos?limit=7 HTTP/1.1\r\n",
            "HEAD /todos?limit=7 HTTP/1.1\r\n",
            "GET /todos?limit=7 HTTP/1.1\n",
            "GET /todos?limit=0 HTTP/1.1\r\n",
            "GET /todos?limit=7 HTTP/1.0\r\n",
            "\r\nGET /todos HTTP/1.1\r\n",
            "POST /todos HTTP/1.1\r\n",
        ];
        for fields in fields.iter().flat_map(|fields| [fields, fields]) {
            for line in lines {
                let head = format!("{line}{fields}");
                let stream = format!("{head}GET /");
                assert_eq!(
                    last.next(stream.as_bytes(), LIMIT),
                    next(head.as_bytes(), LIMIT)
                );
                let part = &head.as_bytes()[..head.len() - 1];
                assert_eq!(last.next(part, LIMIT), Next::Partial, "{head:?}");
                assert_eq!(last.next(head.as_bytes(), head.len() - 1), Next::Unframed);
            }
        }
    }
}
