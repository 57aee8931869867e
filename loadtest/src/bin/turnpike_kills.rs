//! The command line of kills.
#![allow(
    clippy::print_stdout,
    reason = "a command-line tool talks on its output"
)]

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use turnpike_loadtest::kills::{Plan, run};

/// Whether all calls are on record though the gateway is killed again and again.
///
/// The exit code is 1 when they are not.
#[derive(Parser)]
struct Args {
    /// The program.
    #[arg(long)]
    gateway: PathBuf,
    /// An empty one, for the gateway's files.
    #[arg(long)]
    directory: PathBuf,
    #[arg(long, default_value_t = 100_000)]
    calls: usize,
    #[arg(long, default_value_t = 50)]
    kills: usize,
    #[arg(long, default_value_t = 16)]
    callers: usize,
    /// Of the moments at which it is killed.
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

#[tokio::main]
async fn main() -> anyhow::Result<ExitCode> {
    let args = Args::parse();
    let report = run(&Plan {
        gateway: args.gateway,
        directory: args.directory,
        calls: args.calls,
        kills: args.kills,
        callers: args.callers,
        seed: args.seed,
    })
    .await?;
    print!("{report}");
    Ok(match report.is_good() {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    })
}
