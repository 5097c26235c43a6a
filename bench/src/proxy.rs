//! Proxies in front of the product: one worker, no logs, and connections to the server that are kept
//! and shared by all clients.

use std::fs;
use std::path::Path;

use anyhow::Result;

use crate::process::{Server, free_port, pinned};
use crate::session::Session;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Proxy {
    Nginx,
    Haproxy,
}

impl Proxy {
    pub fn program(self) -> &'static str {
        match self {
            Self::Nginx => "nginx",
            Self::Haproxy => "haproxy",
        }
    }

    /// Starts it on the client's core, in front of `server`.
    pub fn start(self, session: &Session, server: u16) -> Result<Server> {
        let name = format!("proxy-{}", self.program());
        let port = free_port()?;
        let directory = session.fresh(&name)?;
        let file = directory.join("proxy.conf");
        let mut command = pinned(&session.client_cores[..1], Path::new(self.program()));
        match self {
            Self::Nginx => {
                fs::write(&file, nginx(&directory, port, server))?;
                command.arg("-p").arg(&directory).arg("-c").arg(&file);
            }
            Self::Haproxy => {
                fs::write(&file, haproxy(port, server))?;
                command.arg("-db").arg("-f").arg(&file);
            }
        }
        Server::start(command, port, &session.log(&name))
    }
}

fn nginx(directory: &Path, port: u16, server: u16) -> String {
    let directory = directory.display();
    format!(
        "daemon off;
master_process off;
pid {directory}/nginx.pid;
error_log {directory}/error.log crit;
events {{ worker_connections 4096; }}
http {{
  access_log off;
  client_body_temp_path {directory}/body;
  proxy_temp_path {directory}/proxy;
  fastcgi_temp_path {directory}/fastcgi;
  uwsgi_temp_path {directory}/uwsgi;
  scgi_temp_path {directory}/scgi;
  keepalive_timeout 300s;
  keepalive_requests 1000000000;
  upstream millpond {{
    server 127.0.0.1:{server};
    keepalive 64;
    keepalive_requests 1000000000;
  }}
  server {{
    listen 127.0.0.1:{port} backlog=4096;
    location / {{
      proxy_pass http://millpond;
      proxy_http_version 1.1;
      proxy_set_header Connection \"\";
      proxy_set_header Host $http_host;
      proxy_set_header X-Forwarded-For $remote_addr;
      proxy_buffers 8 32k;
    }}
  }}
}}
"
    )
}

fn haproxy(port: u16, server: u16) -> String {
    format!(
        "global
  nbthread 1
defaults
  mode http
  timeout connect 5s
  timeout client 300s
  timeout server 300s
frontend bench
  bind 127.0.0.1:{port}
  default_backend millpond
backend millpond
  option forwardfor
  http-reuse always
  server millpond 127.0.0.1:{server} pool-max-conn 64
"
    )
}
