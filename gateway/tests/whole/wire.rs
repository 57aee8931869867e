//! A client that sends bytes as they are, and reads HTTP/1.1 answers without forgiving anything.

use std::io;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::time::timeout;

use crate::harness::{Answer, House, PATIENCE};

/// One TCP connection to the gateway.
pub struct Wire {
    input: BufReader<OwnedReadHalf>,
    output: OwnedWriteHalf,
}

impl Wire {
    pub async fn connect(house: &House) -> Self {
        let tcp = TcpStream::connect(house.gateway.proxy).await.unwrap();
        tcp.set_nodelay(true).unwrap();
        let (input, output) = tcp.into_split();
        Self {
            input: BufReader::new(input),
            output,
        }
    }

    /// Sends what the gateway still takes: it may have refused the rest already.
    pub async fn send(&mut self, bytes: impl AsRef<[u8]>) -> io::Result<()> {
        self.output.write_all(bytes.as_ref()).await
    }

    /// Ends the sending half.
    pub async fn end(&mut self) {
        let _ = self.output.shutdown().await;
    }

    /// The next answer; `None` when the gateway has closed.
    pub async fn answer(&mut self) -> Option<Answer> {
        timeout(PATIENCE, self.read(false))
            .await
            .expect("an answer, or the connection's end")
    }

    /// The next answer, to a `HEAD`.
    pub async fn head(&mut self) -> Option<Answer> {
        timeout(PATIENCE, self.read(true))
            .await
            .expect("an answer, or the connection's end")
    }

    /// Every answer until the gateway closes.
    pub async fn rest(&mut self) -> Vec<Answer> {
        let mut answers = Vec::new();
        while let Some(answer) = self.answer().await {
            answers.push(answer);
        }
        answers
    }

    /// Sends `bytes` one by one until the gateway has answered.
    pub async fn drip(&mut self, bytes: impl IntoIterator<Item = u8>) -> Option<Answer> {
        let output = &mut self.output;
        let dripping = async {
            for byte in bytes {
                if output.write_all(&[byte]).await.is_err() {
                    break;
                }
                tokio::time::sleep(std::time::Duration::from_millis(5)).await;
            }
            std::future::pending::<()>().await;
        };
        tokio::select! {
            () = dripping => None,
            answer = timeout(PATIENCE, read(&mut self.input, false)) => answer.expect("an answer"),
        }
    }

    async fn read(&mut self, head_only: bool) -> Option<Answer> {
        read(&mut self.input, head_only).await
    }
}

async fn read(input: &mut BufReader<OwnedReadHalf>, head_only: bool) -> Option<Answer> {
    let status_line = line(input).await?;
    let status = status_line
        .strip_prefix("HTTP/1.1 ")
        .and_then(|rest| rest.get(..3)?.parse().ok())
        .unwrap_or_else(|| panic!("not a status line: {status_line:?}"));
    let mut headers = HeaderMap::new();
    loop {
        let line = line(input).await.expect("a whole head");
        let Some((name, value)) = line.split_once(':') else {
            assert_eq!(line, "", "not a header");
            break;
        };
        headers.append(
            HeaderName::from_bytes(name.as_bytes()).unwrap(),
            HeaderValue::from_str(value.trim()).unwrap(),
        );
    }
    let body = match head_only || status < 200 {
        true => Vec::new(),
        false => body(input, &headers).await,
    };
    Some(Answer {
        status,
        headers,
        body: Bytes::from(body),
    })
}

/// A line without its end. A reset counts as the end: bytes that the gateway did not read were
/// left.
async fn line(input: &mut BufReader<OwnedReadHalf>) -> Option<String> {
    let mut line = Vec::new();
    match input.read_until(b'\n', &mut line).await {
        Ok(0) | Err(_) => return None,
        Ok(_) => {}
    }
    let line = String::from_utf8(line).unwrap();
    Some(
        line.strip_suffix("\r\n")
            .unwrap_or_else(|| panic!("no CRLF: {line:?}"))
            .to_owned(),
    )
}

async fn body(input: &mut BufReader<OwnedReadHalf>, headers: &HeaderMap) -> Vec<u8> {
    if headers
        .get("transfer-encoding")
        .is_some_and(|coding| coding == "chunked")
    {
        return chunks(input).await;
    }
    let length = headers.get("content-length").expect("a framed answer");
    let mut body = vec![0; length.to_str().unwrap().parse().unwrap()];
    input.read_exact(&mut body).await.expect("a whole body");
    body
}

async fn chunks(input: &mut BufReader<OwnedReadHalf>) -> Vec<u8> {
    let mut body = Vec::new();
    loop {
        let size = usize::from_str_radix(&line(input).await.expect("a chunk"), 16).unwrap();
        let start = body.len();
        body.resize(start + size, 0);
        input
            .read_exact(&mut body[start..])
            .await
            .expect("a whole chunk");
        assert_eq!(line(input).await.as_deref(), Some(""), "a chunk's end");
        if size == 0 {
            return body;
        }
    }
}
