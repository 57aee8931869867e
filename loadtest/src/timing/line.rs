//! One connection that waits without a runtime, whose turns would be timed too.

use std::io::{self, Read as _, Write as _};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use memchr::memmem;

use crate::drive::Target;

pub(super) struct Line {
    socket: TcpStream,
    before: String,
    buffer: Vec<u8>,
}

impl Line {
    pub(super) fn connect(target: &Target) -> io::Result<Self> {
        let socket = TcpStream::connect(target.addr())?;
        socket.set_nodelay(true)?;
        socket.set_read_timeout(Some(Duration::from_secs(30)))?;
        let (path, host) = (target.path("/v1/models"), target.authority());
        Ok(Self {
            socket,
            before: format!("GET {path} HTTP/1.1\r\nhost: {host}\r\nauthorization: Bearer "),
            buffer: vec![0; 16 << 10],
        })
    }

    /// The nanoseconds until a credential was refused.
    pub(super) fn time(&mut self, credential: &str) -> io::Result<u64> {
        let request = format!("{}{credential}\r\n\r\n", self.before);
        let began = Instant::now();
        self.socket.write_all(request.as_bytes())?;
        let mut read = 0;
        let length = loop {
            match self.socket.read(&mut self.buffer[read..])? {
                0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                more => read += more,
            }
            if let Some(length) = length(&self.buffer[..read])
                && length <= read
            {
                break length;
            }
        };
        let took = began.elapsed();
        if !self.buffer[..length].starts_with(b"HTTP/1.1 401 ") {
            let line = self.buffer[..length].split(|&byte| byte == b'\r').next();
            let line = String::from_utf8_lossy(line.unwrap_or_default()).into_owned();
            return Err(io::Error::other(format!("not refused, but: {line}")));
        }
        Ok(u64::try_from(took.as_nanos()).unwrap_or(u64::MAX))
    }
}

/// Of the whole answer, once its head is there.
fn length(read: &[u8]) -> Option<usize> {
    let head = memmem::find(read, b"\r\n\r\n")? + 4;
    let text = std::str::from_utf8(&read[..head])
        .ok()?
        .to_ascii_lowercase();
    let body = text
        .split("\r\n")
        .find_map(|line| line.strip_prefix("content-length:"));
    let body: usize = body?.trim().parse().ok()?;
    Some(head + body)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answers_length_is_known_once_its_head_is_there() {
        let answer = b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 3\r\n\r\nabc";
        assert_eq!(length(&answer[..40]), None);
        assert_eq!(length(&answer[..answer.len() - 2]), Some(answer.len()));
    }
}
