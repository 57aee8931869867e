//! The load of `bench-path`: as cheap as a client can be, since it shares a core with the provider,
//! and able to send an exact number of calls, which counting instructions needs.
//!
//! Prints one line of JSON. With `--hold` it opens one stream a connection instead, says `open`
//! when all have begun, and keeps them until its input ends.
#![allow(
    clippy::print_stdout,
    reason = "a command-line tool talks on its output"
)]

use std::io::Read;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use clap::{Parser, ValueEnum};
use memchr::memmem;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use turnpike_loadtest::drive::Histogram;

/// Longer than any answer of the fake provider, under valgrind too.
const PATIENCE: Duration = Duration::from_secs(60);

#[derive(Clone, Copy, ValueEnum)]
enum Lane {
    /// Chat completions with bodies of 1 KiB.
    Chat,
    /// The same, streamed.
    Stream,
    /// Chat completions with bodies of 256 KiB.
    Large,
}

#[derive(Parser)]
struct Args {
    lane: Lane,
    #[arg(long)]
    target: SocketAddr,
    #[arg(long, default_value = "bench-client-key")]
    key: String,
    #[arg(long, default_value = "gpt-4o-mini")]
    model: String,
    #[arg(long, default_value_t = 1)]
    connections: usize,
    /// Exactly so many calls, over all connections.
    #[arg(long, required_unless_present_any = ["seconds", "hold"])]
    count: Option<usize>,
    /// Calls for so long.
    #[arg(long, conflicts_with = "count")]
    seconds: Option<f64>,
    /// Open one stream a connection and keep it.
    #[arg(long, conflicts_with_all = ["count", "seconds"])]
    hold: bool,
}

fn main() -> Result<()> {
    let args = Args::parse();
    ensure!(
        args.target.ip().is_loopback(),
        "only this machine may be driven"
    );
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?
        .block_on(async {
            if args.hold {
                hold(args).await
            } else {
                drive(args).await
            }
        })
}

/// When a connection stops.
#[derive(Clone, Copy)]
enum Until {
    Sent(usize),
    Time(Instant),
}

impl Until {
    fn reached(self, sent: usize) -> bool {
        match self {
            Self::Sent(count) => sent >= count,
            Self::Time(end) => Instant::now() >= end,
        }
    }
}

#[derive(Default)]
struct Seen {
    latency: Histogram,
    first: Histogram,
}

async fn drive(args: Args) -> Result<()> {
    let request = Arc::new(request(&args));
    let mut callers = Vec::new();
    for _ in 0..args.connections {
        callers.push(Caller::connect(args.target).await?);
    }
    let began = Instant::now();
    let tasks: Vec<_> = callers
        .into_iter()
        .enumerate()
        .map(|(nth, caller)| {
            let until = match (args.count, args.seconds) {
                (Some(count), _) => Until::Sent((count + nth) / args.connections),
                (None, seconds) => {
                    Until::Time(began + Duration::from_secs_f64(seconds.unwrap_or(1.0)))
                }
            };
            tokio::spawn(calls(caller, request.clone(), until))
        })
        .collect();
    let mut sum = Seen::default();
    for task in tasks {
        let seen = task.await??;
        sum.latency.merge(&seen.latency);
        sum.first.merge(&seen.first);
    }
    println!("{}", report(&sum, began.elapsed()));
    Ok(())
}

fn report(seen: &Seen, elapsed: Duration) -> serde_json::Value {
    let micros = |histogram: &Histogram, share| histogram.percentile(share).as_micros() as u64;
    json!({
        "requests": seen.latency.count(),
        "seconds": elapsed.as_secs_f64(),
        "p50_us": micros(&seen.latency, 0.5),
        "p99_us": micros(&seen.latency, 0.99),
        "first_p50_us": micros(&seen.first, 0.5),
        "first_p99_us": micros(&seen.first, 0.99),
    })
}

async fn calls(mut caller: Caller, request: Arc<Vec<u8>>, until: Until) -> Result<Seen> {
    let mut seen = Seen::default();
    let mut sent = 0;
    while !until.reached(sent) {
        let start = Instant::now();
        let first = tokio::time::timeout(PATIENCE, caller.call(&request))
            .await
            .context("no answer within a minute")??;
        seen.latency.record(start.elapsed());
        seen.first.record(first - start);
        sent += 1;
    }
    Ok(seen)
}

async fn hold(args: Args) -> Result<()> {
    let request = request(&args);
    let mut streams = Vec::new();
    for _ in 0..args.connections {
        let mut caller = Caller::connect(args.target).await?;
        caller.socket.write_all(&request).await?;
        streams.push(caller);
    }
    for caller in &mut streams {
        caller.begin().await?;
    }
    println!("open");
    for mut caller in streams {
        tokio::spawn(async move { while caller.more().await.is_ok() {} });
    }
    tokio::task::spawn_blocking(|| std::io::stdin().read_to_end(&mut Vec::new())).await??;
    Ok(())
}

fn request(args: &Args) -> Vec<u8> {
    let (len, stream) = match args.lane {
        Lane::Chat => (1 << 10, ""),
        Lane::Stream => (
            1 << 10,
            r#""stream":true,"stream_options":{"include_usage":true},"#,
        ),
        Lane::Large => (256 << 10, ""),
    };
    let head = format!(
        r#"{{"model":"{}",{stream}"messages":[{{"role":"system","content":"You are a load test."}},{{"role":"user","content":""#,
        args.model
    );
    let tail = r#""}],"temperature":0.7,"max_tokens":256}"#;
    let prose = "plain words of a prompt, ".repeat(len / 25 + 1);
    let prose = &prose[..len - head.len() - tail.len()];
    format!(
        "POST /v1/chat/completions HTTP/1.1\r\nhost: {}\r\nauthorization: Bearer {}\r\n\
         content-type: application/json\r\naccept: */*\r\nuser-agent: bench-load\r\n\
         content-length: {len}\r\n\r\n{head}{prose}{tail}",
        args.target, args.key
    )
    .into_bytes()
}

/// One keep-alive connection.
struct Caller {
    socket: TcpStream,
    read: Vec<u8>,
}

/// How the end of an answer's body is known.
enum End {
    /// All of it has this many bytes, head and body.
    At(usize),
    LastChunk,
}

impl Caller {
    async fn connect(target: SocketAddr) -> Result<Self> {
        let socket = TcpStream::connect(target).await.context(target)?;
        socket.set_nodelay(true)?;
        Ok(Self {
            socket,
            read: Vec::with_capacity(64 << 10),
        })
    }

    /// Sends a call, reads all of its answer, and says when the body began.
    async fn call(&mut self, request: &[u8]) -> Result<Instant> {
        self.socket.write_all(request).await?;
        let end = self.begin().await?;
        let first = Instant::now();
        loop {
            let complete = match end {
                End::At(len) => self.read.len() >= len,
                End::LastChunk => self.read.ends_with(b"\r\n0\r\n\r\n"),
            };
            if complete {
                return Ok(first);
            }
            self.more().await?;
        }
    }

    /// Reads until the body has begun.
    async fn begin(&mut self) -> Result<End> {
        self.read.clear();
        let head = loop {
            self.more().await?;
            if let Some(head) = memmem::find(&self.read, b"\r\n\r\n") {
                break head + 4;
            }
        };
        let text = std::str::from_utf8(&self.read[..head])?.to_ascii_lowercase();
        if !text.starts_with("http/1.1 200") {
            bail!("answered {}", String::from_utf8_lossy(&self.read));
        }
        let end = match text.split_once("\r\ncontent-length:") {
            Some((_, rest)) => {
                let len = rest.split("\r\n").next().unwrap_or_default();
                End::At(head + len.trim().parse::<usize>()?)
            }
            None => End::LastChunk,
        };
        while self.read.len() == head {
            self.more().await?;
        }
        Ok(end)
    }

    async fn more(&mut self) -> Result<()> {
        let read = self.socket.read_buf(&mut self.read).await?;
        ensure!(read > 0, "the connection was closed within an answer");
        Ok(())
    }
}
