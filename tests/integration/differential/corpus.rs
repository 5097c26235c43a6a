//! Streams worth keeping: each a case that is easily got wrong.

/// Bytes that are sent as they stand.
const STREAMS: &[&str] = &[
    // Pipelined reads, the last of which closes; what follows is not answered.
    "GET /todos?limit=1 HTTP/1.1\r\nHost: h\r\n\r\nGET /todos HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\nGET /todos HTTP/1.1\r\nHost: h\r\n\r\n",
    // Where `Connection: close` stands in an answer to GET, to HEAD, and in a 304.
    "HEAD /todos?limit=7 HTTP/1.1\r\nHost: h\r\nX-Request-Id: i\r\nConnection: close\r\n\r\n",
    "GET /todos?limit=7 HTTP/1.1\r\nHost: h\r\nX-Request-Id: i\r\nConnection: close\r\n\r\n",
    "GET /todos?limit=7 HTTP/1.1\r\nHost: h\r\nIf-None-Match: *\r\nX-Request-Id: i\r\nConnection: close\r\n\r\n",
    "HEAD /todos?limit=7 HTTP/1.1\r\nHost: h\r\nIf-None-Match: *\r\n\r\n",
    // Two lines of Connection: once closed, always closed.
    "GET /todos?limit=1 HTTP/1.1\r\nHost: h\r\nConnection: close\r\nConnection: keep-alive\r\n\r\n",
    // A request id that may not be echoed before one that may: the first one counts.
    "GET /todos?limit=1 HTTP/1.1\r\nHost: h\r\nX-Request-Id: a b\r\nX-Request-Id: good\r\n\r\n",
    // Empty lines before a head (RFC 9112, 2.2), line feeds alone, blanks around values.
    "\r\n\r\n\nGET /todos?limit=1 HTTP/1.1\r\nHost: h\r\n\r\n\r\n\r\nGET /todos?limit=1 HTTP/1.1\nHost:\th \n\n",
    // A body on a read, whole; the connection closes behind it.
    "GET /todos?limit=1 HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nhello",
    "GET /todos?limit=1 HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\n\r\n",
    // What looks like a request in a body is none.
    "POST /todos HTTP/1.1\r\nHost: h\r\nContent-Length: 43\r\n\r\nGET /todos?limit=1 HTTP/1.1\r\nHost: other\r\n\r\n",
    // Two lengths, and a length beside chunks.
    "POST /todos HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\n{}",
    "POST /todos HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\n{}}",
    "GET /todos HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n",
    "GET /todos?limit=1 HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /todos?limit=1 HTTP/1.1\r\nHost: h\r\n\r\n",
    "GET /todos?limit=1 HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: gzip\r\n\r\n",
    // Lengths that no body has.
    "POST /todos HTTP/1.1\r\nHost: h\r\nContent-Length: 18446744073709551615\r\n\r\n",
    "POST /todos HTTP/1.1\r\nHost: h\r\nContent-Length: 9999999\r\n\r\n",
    "POST /todos HTTP/1.1\r\nHost: h\r\nContent-Length: -1\r\n\r\n",
    // Hosts: none, two, one that is none, and an absolute target beside it.
    "GET /todos?limit=1 HTTP/1.1\r\n\r\n",
    "GET /todos?limit=1 HTTP/1.1\r\nHost: h\r\nHost: h\r\n\r\n",
    "GET /todos?limit=1 HTTP/1.1\r\nHost: a/b\r\n\r\n",
    "GET http://h/todos?limit=1 HTTP/1.1\r\nHost: h\r\n\r\nGET /todos?limit=1 HTTP/1.1\r\nHost: h\r\n\r\n",
    // Other versions.
    "GET /todos?limit=1 HTTP/1.0\r\n\r\n",
    "GET /todos?limit=1 HTTP/1.0\r\nConnection: keep-alive\r\n\r\nGET /todos?limit=1 HTTP/1.1\r\nHost: h\r\n\r\n",
    "GET /todos?limit=1 HTTP/2.0\r\nHost: h\r\n\r\n",
    "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    // Upgrades that are not taken up, and what no tunnel is opened for.
    "GET /todos?limit=1 HTTP/1.1\r\nHost: h\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: x\r\n\r\n",
    "CONNECT h:80 HTTP/1.1\r\nHost: h:80\r\n\r\n",
    // Malformed heads behind good ones.
    "GET /todos?limit=1 HTTP/1.1\r\nHost: h\r\n\r\nGET /todos?limit=1 HTTP/1.1\r\nHost: h\r\nX : y\r\n\r\n",
    "GET /todos?limit=1 HTTP/1.1\r\nHost: h\r\n\r\nGET  /todos HTTP/1.1\r\nHost: h\r\n\r\n",
    "GET /todos?limit=1 HTTP/1.1\r\nHost: h\r\nX: a\r\n b\r\n\r\n",
    "GET /todos?limit=1 HTTP/1.1\r\nHost: h\r\nX: a\0b\r\n\r\n",
    "GET /todos?limit=1 HTTP/1.1\r\nHost: h\r\nX: a\rb\r\n\r\n",
    // A token that the list includes, one that names no partition, one that is none.
    "GET /todos?limit=1 HTTP/1.1\r\nHost: h\r\nConsistency-Token: 0-0\r\n\r\nGET /todos?limit=1 HTTP/1.1\r\nHost: h\r\n\r\n",
    "GET /todos?limit=1 HTTP/1.1\r\nHost: h\r\nConsistency-Token: 7-0\r\n\r\n",
    "GET /todos?limit=1 HTTP/1.1\r\nHost: h\r\nConsistency-Token: x\r\n\r\n",
    // Unknown targets and methods between reads.
    "GET /todos?limit=1 HTTP/1.1\r\nHost: h\r\n\r\nOPTIONS /todos HTTP/1.1\r\nHost: h\r\n\r\nBREW /todos HTTP/1.1\r\nHost: h\r\n\r\nGET /todos?limit=1 HTTP/1.1\r\nHost: h\r\n\r\n",
    // No codings, all, some that are not spoken, and weights.
    "GET /todos?limit=7 HTTP/1.1\r\nHost: h\r\nAccept-Encoding:\r\n\r\nGET /todos?limit=7 HTTP/1.1\r\nHost: h\r\nAccept-Encoding: *;q=0.1, br;q=0\r\n\r\n",
];

pub fn streams() -> Vec<Vec<u8>> {
    let written = STREAMS.iter().map(|stream| stream.as_bytes().to_vec());
    written.chain(of_lengths()).collect()
}

/// Heads and pipelines around the lengths and counts where something changes.
fn of_lengths() -> Vec<Vec<u8>> {
    const HEAD_LIMIT: usize = 16_384;
    const LINE: &str = "GET /todos?limit=1 HTTP/1.1\r\nHost: h\r\n";
    let mut streams = vec![];
    for length in [
        8_191,
        8_192,
        8_193,
        HEAD_LIMIT - 1,
        HEAD_LIMIT,
        HEAD_LIMIT + 1,
        3 * HEAD_LIMIT,
    ] {
        let filler = "y".repeat(length - LINE.len() - "X: \r\n\r\n".len());
        let head = format!("{LINE}X: {filler}\r\n\r\n");
        assert_eq!(head.len(), length);
        streams.push(head.into());
    }
    for fields in [62, 63, 64, 65, 98, 99, 100] {
        let lines = "X: y\r\n".repeat(fields);
        streams.push(format!("{LINE}{lines}\r\n").into());
    }
    for requests in [16, 63, 64, 65, 200] {
        let one = format!("{LINE}X-Request-Id: i\r\n\r\n");
        streams.push(one.repeat(requests).into());
    }
    let blank = "\r\n".repeat(HEAD_LIMIT);
    streams.push(format!("{blank}{LINE}\r\n").into());
    streams
}
