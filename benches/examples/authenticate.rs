//! So many requests with one of so many agent tokens, for a tool that counts instructions.

#[path = "../stand/tokens.rs"]
mod tokens;

use std::hint::black_box;

use clap::Parser;
use tokens::Tokens;

#[derive(Parser)]
struct Flags {
    tokens: usize,
    requests: usize,
}

fn main() {
    let flags = Flags::parse();
    let tokens = Tokens::new(flags.tokens);
    for _ in 0..flags.requests {
        black_box(tokens.authenticate());
    }
}
