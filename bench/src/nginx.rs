//! nginx as a server of the captured bodies: `gzip_static`, an open file cache, no logs, and what of
//! `sendfile` and reading suits the bodies better.
//!
//! `tcp_nopush` stays off: with it the last small answer of a pipelined batch is held back until the
//! kernel gives up waiting for more, 40 ms later (nginx 1.22 leaves `TCP_CORK` set between the
//! answers of a batch).

use std::fmt::Write;
use std::fs;
use std::path::Path;

use anyhow::Result;
use captured::Answer;

/// Bodies that nginx reads into a buffer and writes together with their head, in one system call;
/// longer ones go by `sendfile`, whose head is a write of its own.
const READ_MAX: usize = 32 << 10;

/// Writes the files and a configuration for `port`; returns the configuration's path.
///
/// A body lies in `<limit>.json`, its gzip form in `<limit>.json.gz`.
pub fn prepare(directory: &Path, captured: &Path, port: u16) -> Result<std::path::PathBuf> {
    let mut links = String::new();
    let mut largest = 0;
    for entry in fs::read_dir(captured)? {
        let path = entry?.path();
        let answer = Answer::parse(&fs::read(&path)?)?;
        let limit = path.file_stem().unwrap_or_default().to_string_lossy();
        let gzip = path.extension().is_some_and(|form| form == "gzip");
        let suffix = if gzip { ".gz" } else { "" };
        fs::write(
            directory.join(format!("{limit}.json{suffix}")),
            &answer.body,
        )?;
        largest = largest.max(answer.body.len());
        if let Some(link) = answer.header("link").filter(|_| !gzip) {
            writeln!(links, "    {limit} '{link}';")?;
        }
    }
    let configuration = configuration(directory, port, &links, largest);
    let path = directory.join("nginx.conf");
    fs::write(&path, configuration)?;
    Ok(path)
}

fn configuration(directory: &Path, port: u16, links: &str, largest: usize) -> String {
    let sendfile = if largest > READ_MAX { "on" } else { "off" };
    let directory = directory.display();
    // Workers of a root master would be `nobody`, who may not read the scratch directory.
    let user = if fs::metadata("/proc/self").is_ok_and(|me| owner(&me) == 0) {
        "user root;"
    } else {
        ""
    };
    format!(
        "{user}
daemon off;
worker_processes 1;
worker_rlimit_nofile 20000;
pid {directory}/nginx.pid;
error_log {directory}/error.log crit;
events {{ worker_connections 16384; use epoll; multi_accept on; }}
http {{
  access_log off;
  server_tokens off;
  client_body_temp_path {directory}/body;
  proxy_temp_path {directory}/proxy;
  fastcgi_temp_path {directory}/fastcgi;
  uwsgi_temp_path {directory}/uwsgi;
  scgi_temp_path {directory}/scgi;
  sendfile {sendfile};
  tcp_nopush off;
  tcp_nodelay on;
  keepalive_timeout 300s;
  keepalive_requests 1000000000;
  reset_timedout_connection on;
  open_file_cache max=1024 inactive=1h;
  open_file_cache_valid 1h;
  gzip_static on;
  gzip_vary on;
  map $arg_limit $file {{ '' all; default $arg_limit; }}
  map $arg_limit $next {{
{links}  }}
  server {{
    listen 127.0.0.1:{port} backlog=4096 reuseport;
    location = /todos {{
      default_type application/json;
      add_header Cache-Control no-cache;
      add_header Link $next;
      alias {directory}/$file.json;
    }}
  }}
}}
"
    )
}

fn owner(metadata: &fs::Metadata) -> u32 {
    std::os::unix::fs::MetadataExt::uid(metadata)
}
