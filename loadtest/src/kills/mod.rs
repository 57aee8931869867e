//! A gateway that is killed again and again under load: what is on record of the calls afterwards.
//!
//! Each call has a number, which the provider finds in its body and the gateway takes as its id. So what the
//! provider saw, what callers saw and what is on record can be laid side by side.

mod caller;
mod record;
mod report;

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::ids::Random;
use crate::process::Program;
use crate::{FakeProvider, Protocol};

use caller::{Calling, Seen};
use record::OnRecord;
pub use report::Report;

const KEY: &str = "load-key-0123456789";

/// What is done.
#[derive(Debug, Clone, clap::Args)]
pub struct Plan {
    /// The program.
    #[arg(long)]
    pub gateway: PathBuf,
    /// An empty one, for the gateway's files.
    #[arg(long)]
    pub directory: PathBuf,
    #[arg(long, default_value_t = 100_000)]
    pub calls: usize,
    #[arg(long, default_value_t = 50)]
    pub kills: usize,
    /// Connections at once.
    #[arg(long, default_value_t = 16)]
    pub callers: usize,
    /// Of the moments at which it is killed.
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
}

/// Calls, kills, and looks what is on record.
pub async fn run(plan: &Plan) -> anyhow::Result<Report> {
    let began = Instant::now();
    let provider = FakeProvider::start(Protocol::Http1).await;
    let yaml = configuration(&provider.base_url());
    let program = Program::configured(&plan.gateway, &plan.directory, &yaml)?;
    let mut gateway = program.start().await?;
    let (at, _) = watch::channel(Some(gateway.proxy));
    let begun = Arc::new(AtomicUsize::new(0));
    let callers = callers(plan, &at, &begun);

    let mut at_provider = BTreeSet::new();
    let (mut random, mut kills) = (Random::new(plan.seed), 0);
    for _ in 0..plan.kills {
        if !reached(next_kill(plan, &begun, &mut random), &begun, &callers).await {
            break;
        }
        // Not only where a call begins.
        tokio::time::sleep(Duration::from_micros(random.below(20_000) as u64)).await;
        at.send_replace(None);
        gateway.kill().await?;
        kills += 1;
        heard(&provider, &mut at_provider);
        gateway = program.start().await?;
        at.send_replace(Some(gateway.proxy));
    }
    let mut seen = Seen::default();
    for caller in callers {
        seen.add(caller.await?);
    }
    gateway.stop().await?;
    heard(&provider, &mut at_provider);
    let on_record = OnRecord::read(&program).await?;
    Ok(Report {
        plan: plan.clone(),
        kills,
        seen,
        at_provider,
        on_record,
        took: began.elapsed(),
    })
}

fn configuration(base_url: &str) -> String {
    format!(
        "server: {{port: 0, drain: {{lame_duck: -1}}}}\n\
         admin: {{port: 0}}\n\
         api_keys: [{{key: {KEY}, name: load}}]\n\
         providers: {{openai: {{base_url: \"{base_url}/v1\", credentials: [{{api_key: sk-good}}]}}}}\n"
    )
}

fn callers(
    plan: &Plan,
    at: &watch::Sender<Option<std::net::SocketAddr>>,
    begun: &Arc<AtomicUsize>,
) -> Vec<JoinHandle<Seen>> {
    let calling = || Calling {
        at: at.subscribe(),
        begun: begun.clone(),
        calls: plan.calls,
    };
    let callers = (0..plan.callers).map(|_| tokio::spawn(calling().call_on()));
    callers.collect()
}

/// After how many calls it is killed next: half as many as are usual, to half as many more.
fn next_kill(plan: &Plan, begun: &AtomicUsize, random: &mut Random) -> usize {
    let usual = plan.calls / (plan.kills + 1);
    begun.load(Ordering::Relaxed) + usual / 2 + random.below(usual.max(1))
}

/// Waits until so many calls have begun; false when there are no more.
async fn reached(calls: usize, begun: &AtomicUsize, callers: &[JoinHandle<Seen>]) -> bool {
    while begun.load(Ordering::Relaxed) < calls {
        if callers.iter().all(JoinHandle::is_finished) {
            return false;
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    true
}

/// Takes the numbers of the calls that the provider has had since.
fn heard(provider: &FakeProvider, into: &mut BTreeSet<usize>) {
    for call in provider.take_calls() {
        into.extend(call.json()["user"].as_str().and_then(number));
    }
}

/// A call's id.
fn id(number: usize) -> String {
    format!("call-{number}")
}

fn number(id: &str) -> Option<usize> {
    id.strip_prefix("call-")?.parse().ok()
}
