//! One request at a time, for what is not measured: captures, checks and samples.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use captured::{Answer, head_end};

/// Time for an answer, which no server needs.
const PATIENCE: Duration = Duration::from_secs(10);

/// Sends `request` on a connection of its own and returns the response as it came, with its body.
pub fn exchange(port: u16, request: &str) -> Result<Vec<u8>> {
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
    exchange_on(&mut stream, request)
}

/// The same on a connection that there is.
pub fn exchange_on(stream: &mut TcpStream, request: &str) -> Result<Vec<u8>> {
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.write_all(request.as_bytes())?;
    let mut response = Vec::new();
    let mut chunk = vec![0; 64 << 10];
    loop {
        if let Some(length) = complete_at(&response)?
            && response.len() >= length
        {
            return Ok(response);
        }
        let read = stream.read(&mut chunk).context("no whole response came")?;
        if read == 0 {
            bail!("the server closed the connection within a response");
        }
        response.extend_from_slice(&chunk[..read]);
    }
}

/// The length of the response that begins here, once its head is there.
fn complete_at(response: &[u8]) -> Result<Option<usize>> {
    let Some(body) = head_end(response) else {
        return Ok(None);
    };
    let head = std::str::from_utf8(&response[..body]).context("the head is not text")?;
    let length = head.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        let is_length = name.eq_ignore_ascii_case("content-length");
        is_length.then(|| value.trim().parse::<usize>())
    });
    let not_modified = Answer::parse(response)?.status == 304;
    match length {
        Some(length) if !not_modified => Ok(Some(body + length?)),
        None if !not_modified => bail!("a response without a length"),
        _ => Ok(Some(body)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_response_is_complete_with_its_body() {
        let head = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n";
        assert_eq!(complete_at(head).unwrap(), Some(head.len() + 5));
        assert_eq!(complete_at(&head[..20]).unwrap(), None);
    }

    #[test]
    fn a_304_has_no_body_whatever_its_length_says() {
        let head = b"HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n";
        assert_eq!(complete_at(head).unwrap(), Some(head.len()));
        let head = b"HTTP/1.1 304 Not Modified\r\n\r\n";
        assert_eq!(complete_at(head).unwrap(), Some(head.len()));
    }
}
