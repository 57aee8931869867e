//! The load driver's command line.
#![allow(
    clippy::print_stdout,
    reason = "a command-line tool talks on its output"
)]

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use clap::Parser;
use turnpike_loadtest::drive::{Drive, Progress, Scenario, Target, run};

/// Drives a gateway on this machine with chat completions.
///
/// Each connection sends its next call when the last one is answered, or at
/// the pace of --rate. The exit code is 1 when a call failed.
#[derive(Parser)]
struct Args {
    scenario: Scenario,
    /// An http:// URL on loopback; a path in it comes before /v1/….
    #[arg(long, value_parser = Target::parse)]
    target: Target,
    #[arg(long, default_value = "load", value_parser = key)]
    key: String,
    #[arg(long, default_value = "fake-model")]
    model: String,
    #[arg(long, default_value_t = 16, value_parser = clap::value_parser!(u16).range(1..))]
    connections: u16,
    #[arg(long, default_value = "10s", value_parser = humantime::parse_duration)]
    duration: Duration,
    /// Calls a second over all connections; as fast as they are answered without.
    #[arg(long, value_parser = rate)]
    rate: Option<f64>,
    /// The longest answer that calls ask for, in tokens.
    #[arg(long)]
    max_tokens: Option<u64>,
    #[arg(long)]
    allow_errors: bool,
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..))]
    threads: u16,
}

fn key(text: &str) -> Result<String, &'static str> {
    let fits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic());
    if fits {
        Ok(text.to_owned())
    } else {
        Err("a key is visible ASCII without spaces")
    }
}

fn rate(text: &str) -> Result<f64, &'static str> {
    text.parse()
        .ok()
        .filter(|rate| *rate > 0.0)
        .ok_or("a rate is a number above 0")
}

fn main() -> anyhow::Result<ExitCode> {
    let args = Args::parse();
    let mut runtime = match args.threads {
        1 => tokio::runtime::Builder::new_current_thread(),
        _ => tokio::runtime::Builder::new_multi_thread(),
    };
    if args.threads > 1 {
        runtime.worker_threads(args.threads.into());
    }
    Ok(runtime.enable_all().build()?.block_on(drive(args)))
}

async fn drive(args: Args) -> ExitCode {
    let drive = Drive {
        target: args.target,
        scenario: args.scenario,
        key: args.key.into(),
        model: args.model,
        connections: args.connections.into(),
        duration: args.duration,
        rate: args.rate,
        max_tokens: args.max_tokens,
    };
    let progress = Arc::new(Progress::default());
    let telling = tokio::spawn(tell(progress.clone()));
    let tally = run(drive, progress).await;
    telling.abort();
    println!("{tally}");
    if tally.errors() > 0 && !args.allow_errors {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    }
}

/// A line each second.
async fn tell(progress: Arc<Progress>) {
    let mut ticks = tokio::time::interval(Duration::from_secs(1));
    ticks.tick().await;
    let mut before = 0;
    for second in 1.. {
        ticks.tick().await;
        let now = progress.requests();
        println!(
            "{second:>4} s  {:>7} requests/s  {} errors",
            now - before,
            progress.errors()
        );
        before = now;
    }
}
