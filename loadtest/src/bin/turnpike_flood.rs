//! The command line of floods.
#![allow(
    clippy::print_stdout,
    reason = "a command-line tool talks on its output"
)]

use std::net::SocketAddr;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context as _;
use clap::Parser;
use tokio::net::TcpListener;
use turnpike_loadtest::drive::Target;
use turnpike_loadtest::flood::{Flood, issuer, run};

/// Valid calls to a gateway on this machine, without and with a flood of made-up credentials.
#[derive(Parser)]
enum Args {
    /// Serves an issuer whose tokens the gateway is to take, until it is stopped.
    Issuer {
        #[arg(long)]
        listen: SocketAddr,
    },
    /// Floods; the exit code is 1 when a valid call failed.
    Run(Box<Run>),
}

#[derive(clap::Args)]
struct Run {
    #[arg(long, value_parser = Target::parse)]
    target: Target,
    #[arg(long, value_parser = Target::parse)]
    admin: Target,
    /// The agent token of the valid calls.
    #[arg(long, env = "LOADTEST_TOKEN", hide_env_values = true)]
    token: String,
    /// The issuer, as the gateway is configured.
    #[arg(long)]
    issuer: String,
    #[arg(long, default_value = "fake-model")]
    model: String,
    /// Valid calls a second.
    #[arg(long, default_value_t = 100.0)]
    valid_rate: f64,
    /// Made-up credentials a second.
    #[arg(long, default_value_t = 1000.0)]
    rate: f64,
    /// Of each half of each kind.
    #[arg(long, default_value = "5s", value_parser = humantime::parse_duration)]
    duration: Duration,
}

fn main() -> anyhow::Result<ExitCode> {
    match Args::parse() {
        Args::Issuer { listen } => serve(listen),
        Args::Run(run) => report(&Flood {
            target: run.target,
            admin: run.admin,
            token: run.token,
            issuer: run.issuer,
            model: run.model,
            valid_rate: run.valid_rate,
            flood_rate: run.rate,
            duration: run.duration,
        }),
    }
}

fn serve(listen: SocketAddr) -> anyhow::Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_current_thread();
    let runtime = { runtime }.enable_all().build()?;
    runtime.block_on(async {
        let listener = TcpListener::bind(listen).await.context(listen)?;
        issuer::serve(listener).await
    })?;
    Ok(ExitCode::SUCCESS)
}

fn report(flood: &Flood) -> anyhow::Result<ExitCode> {
    let (valid, made_up) = (flood.valid_rate, flood.flood_rate);
    println!("{valid} valid calls a second, {made_up} made-up credentials a second");
    let effects = run(flood)?;
    effects.iter().for_each(|effect| print!("{effect}"));
    let failed = |tally: &turnpike_loadtest::drive::Tally| tally.errors() > 0;
    let any = (effects.iter()).any(|effect| failed(&effect.with) || failed(&effect.without));
    Ok(if any {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    })
}
