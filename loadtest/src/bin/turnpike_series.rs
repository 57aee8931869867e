//! The command line of series.
#![allow(
    clippy::print_stdout,
    reason = "a command-line tool talks on its output"
)]

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use turnpike_loadtest::series::{Plan, run};

/// Whether users, models and paths make series of metrics.
///
/// The exit code is 1 when they do.
#[derive(Parser)]
struct Args {
    /// The program.
    #[arg(long)]
    gateway: PathBuf,
    /// An empty one, for the gateway's files.
    #[arg(long)]
    directory: PathBuf,
    /// Each with a model and a path of its own.
    #[arg(long, default_value_t = 100_000)]
    users: usize,
    #[arg(long, default_value_t = 16)]
    callers: usize,
}

#[tokio::main]
async fn main() -> anyhow::Result<ExitCode> {
    let args = Args::parse();
    let report = run(&Plan {
        gateway: args.gateway,
        directory: args.directory,
        users: args.users,
        callers: args.callers,
    })
    .await?;
    print!("{report}");
    Ok(match report.is_good() {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    })
}
