//! The command line of trials: they run a gateway of their own, before a provider of their own.
#![allow(
    clippy::print_stdout,
    reason = "a command-line tool talks on its output"
)]

use std::process::ExitCode;

use clap::Parser;
use turnpike_loadtest::{kills, series};

/// Runs a gateway, and looks whether it keeps what it promises. The exit code is 1 when it does not.
#[derive(Parser)]
enum Trial {
    /// Whether all calls are on record though the gateway is killed again and again.
    Kills(kills::Plan),
    /// Whether users, models and paths make series of metrics.
    Series(series::Plan),
}

#[tokio::main]
async fn main() -> anyhow::Result<ExitCode> {
    let (report, is_good) = match Trial::parse() {
        Trial::Kills(plan) => {
            let report = kills::run(&plan).await?;
            (report.to_string(), report.is_good())
        }
        Trial::Series(plan) => {
            let report = series::run(&plan).await?;
            (report.to_string(), report.is_good())
        }
    };
    print!("{report}");
    Ok(match is_good {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    })
}
