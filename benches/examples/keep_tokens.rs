//! Puts so many agent tokens into a store, and prints the one that can be used: the others have its
//! hash, so that it is computed once.

use std::io::Write as _;
use std::path::PathBuf;
use std::sync::Arc;

use clap::Parser;
use turnpike::clock::Time;
use turnpike_api::{Directory, Expected};
use turnpike_identity::agent_tokens::{Costs, KIND, NewToken};
use turnpike_store::Embedded;

#[derive(Parser)]
struct Flags {
    store: PathBuf,
    tokens: usize,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    let flags = Flags::parse();
    let store = Embedded::open(&flags.store, Arc::new(Time::system()))?;
    let new = NewToken {
        name: "bench".into(),
        ..NewToken::default()
    };
    let issued = new.make(Costs::default(), 0)?;
    let record = serde_json::to_string(&issued.record)?;
    let own = issued.record.id.clone();
    let others = (1..flags.tokens).map(|nth| format!("{nth:a>16}"));
    for id in others.chain([own.clone()]) {
        let record = record.replace(&own, &id);
        store
            .put(KIND, &id, record.as_bytes(), None, Expected::Anything)
            .await?;
    }
    std::io::stdout().write_all(issued.token.expose().as_bytes())?;
    Ok(())
}
