//! The command line of floods.
#![allow(
    clippy::print_stdout,
    reason = "a command-line tool talks on its output"
)]

use std::net::SocketAddr;
use std::process::ExitCode;

use anyhow::Context as _;
use clap::Parser;
use tokio::net::TcpListener;
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
    Run(Box<Flood>),
}

fn main() -> anyhow::Result<ExitCode> {
    match Args::parse() {
        Args::Issuer { listen } => serve(listen),
        Args::Run(flood) => report(&flood),
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
