//! The fake provider as a process: a load target, or an upstream to try a
//! configuration against.
#![allow(
    clippy::print_stdout,
    reason = "a command-line tool talks on its output"
)]

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, bail};
use clap::Parser;
use tokio::net::TcpListener;
use turnpike_loadtest::{Behaviour, FakeProvider, Options, Protocol, raw};

/// A provider that speaks the OpenAI, Anthropic and Gemini dialects and makes
/// its answers up. Any key is accepted.
#[derive(Parser)]
struct Args {
    #[arg(long, default_value = "127.0.0.1:9001")]
    listen: SocketAddr,
    /// HTTP/2 by prior knowledge beside HTTP/1.1.
    #[arg(long, conflicts_with_all = ["tls", "raw"])]
    h2c: bool,
    /// TLS with h2 and http/1.1; see --ca-out.
    #[arg(long, conflicts_with = "raw")]
    tls: bool,
    /// Where to write the authority to trust with --tls.
    #[arg(long, requires = "tls")]
    ca_out: Option<std::path::PathBuf>,
    /// The cheapest responder: one fixed chat completion or stream for any POST.
    #[arg(long)]
    raw: bool,
    #[arg(long, default_value_t = 1)]
    threads: usize,
    /// Content events of a stream.
    #[arg(long, default_value_t = 6)]
    events: usize,
    /// Pause before each event of a stream.
    #[arg(long, default_value = "0ms", value_parser = humantime::parse_duration)]
    gap: Duration,
    /// KEY=BEHAVIOUR[,BEHAVIOUR…]: what the key's next calls get. Behaviours:
    /// ok, a status (429), slow:200ms, hang, cut, cut-mid:N, truncated,
    /// stream-error:N, overloaded-event, no-terminal:N.
    #[arg(long, value_parser = keyed, conflicts_with = "raw")]
    script: Vec<(String, Vec<Behaviour>)>,
    /// KEY=BEHAVIOUR: what the key's calls get when its script is over.
    #[arg(long, value_parser = keyed, conflicts_with = "raw")]
    always: Vec<(String, Vec<Behaviour>)>,
}

fn keyed(text: &str) -> anyhow::Result<(String, Vec<Behaviour>)> {
    let (key, behaviours) = text.split_once('=').context("expected KEY=BEHAVIOUR")?;
    let behaviours = behaviours
        .split(',')
        .map(str::parse)
        .collect::<Result<_, _>>()?;
    Ok((key.to_owned(), behaviours))
}

fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    let mut runtime = match args.threads {
        0 => bail!("--threads must be at least 1"),
        1 => tokio::runtime::Builder::new_current_thread(),
        _ => tokio::runtime::Builder::new_multi_thread(),
    };
    if args.threads > 1 {
        runtime.worker_threads(args.threads);
    }
    runtime.enable_all().build()?.block_on(run(args))
}

async fn run(args: Args) -> anyhow::Result<()> {
    if args.raw {
        let listener = TcpListener::bind(args.listen).await.context(args.listen)?;
        greet(&format!("http://{}", listener.local_addr()?));
        return Ok(raw::serve(listener, args.events, args.gap).await?);
    }
    let provider = FakeProvider::try_start(options(&args))
        .await
        .context(args.listen)?;
    for (key, behaviours) in args.script {
        provider.script(&key, behaviours);
    }
    for (key, mut behaviours) in args.always {
        let last = behaviours.pop().context("--always needs a behaviour")?;
        provider.always(&key, last);
    }
    if let Some(path) = &args.ca_out {
        std::fs::write(path, provider.ca_pem()).with_context(|| path.display().to_string())?;
    }
    greet(&provider.base_url());
    tokio::signal::ctrl_c().await?;
    println!("told callers {:?}", provider.usage_total());
    let (arrived, most) = (provider.arrived(), provider.most_at_a_time());
    println!("had {arrived} calls, at most {most} at a time");
    Ok(())
}

fn options(args: &Args) -> Options {
    let protocol = match (args.tls, args.h2c) {
        (true, _) => Protocol::Tls,
        (_, true) => Protocol::H2c,
        _ => Protocol::Http1,
    };
    Options {
        protocol,
        host: args.listen.ip(),
        port: args.listen.port(),
        record: false,
        events: args.events,
        gap: Some(args.gap),
        ..Options::default()
    }
}

fn greet(url: &str) {
    println!("listening on {url}");
    println!(
        "try: curl {url}/v1/chat/completions -H 'authorization: Bearer k' -d '{{\"model\":\"m\"}}'"
    );
}
