//! The command line of timings.
#![allow(
    clippy::print_stdout,
    reason = "a command-line tool talks on its output"
)]

use std::process::ExitCode;

use clap::Parser;
use turnpike_loadtest::drive::Target;
use turnpike_loadtest::timing::{LIMIT, Timing, run};

/// Whether a gateway on this machine tells by the time of its refusals how much of a secret is right.
///
/// The exit code is 1 when it does.
#[derive(Parser)]
struct Args {
    #[arg(long, value_parser = Target::parse)]
    target: Target,
    #[arg(long, value_parser = Target::parse)]
    admin: Target,
    /// The agent token whose secret is guessed.
    #[arg(long, env = "LOADTEST_TOKEN", hide_env_values = true)]
    token: String,
    /// Calls of each class.
    #[arg(long, default_value_t = 10_000)]
    samples: usize,
}

fn main() -> anyhow::Result<ExitCode> {
    let args = Args::parse();
    let timed = run(&Timing {
        target: args.target,
        admin: args.admin,
        token: args.token,
        samples: args.samples,
    })?;
    println!("two classes are told apart when |t| or |z| is {LIMIT} or more");
    timed.iter().for_each(|timed| print!("{timed}"));
    let told = |timed: &turnpike_loadtest::timing::Timed| {
        timed.positions().any(|(_, _, compared)| compared.differ())
    };
    Ok(if timed.iter().any(told) {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    })
}
