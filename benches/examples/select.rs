//! So many selections from a pool of so many credentials, for a tool that counts instructions.

#[path = "../stand/mod.rs"]
mod stand;

use clap::{Parser, ValueEnum};
use stand::Stand;

#[derive(Parser)]
struct Flags {
    strategy: String,
    credentials: usize,
    state: State,
    selections: usize,
}

#[derive(Clone, Copy, ValueEnum)]
enum State {
    AllReady,
    HalfCooling,
    Anew,
}

fn main() {
    let flags = Flags::parse();
    let stand = Stand::new(&flags.strategy, flags.credentials);
    if let State::HalfCooling = flags.state {
        stand.cool_half();
    }
    for _ in 0..flags.selections {
        match flags.state {
            State::Anew => stand.try_anew(),
            State::AllReady | State::HalfCooling => stand.tries(1),
        }
    }
}
