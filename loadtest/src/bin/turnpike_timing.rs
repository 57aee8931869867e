//! The command line of timings.
#![allow(
    clippy::print_stdout,
    reason = "a command-line tool talks on its output"
)]

use std::process::ExitCode;

use clap::Parser;
use turnpike_loadtest::timing::{LIMIT, Timing, run};

/// Whether a gateway on this machine tells by the time of its refusals how much of a secret is right.
///
/// The exit code is 1 when it does.
#[derive(Parser)]
struct Args {
    #[command(flatten)]
    timing: Timing,
}

fn main() -> anyhow::Result<ExitCode> {
    let timed = run(&Args::parse().timing)?;
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
