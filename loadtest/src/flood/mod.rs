//! Valid calls at a steady rate, without and with a flood of made-up credentials beside them.

pub mod issuer;

use std::fmt;
use std::io;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use crate::drive::{Curve, Drive, Forgery, Key, Scenario, Tally, Target, run as drive};
use crate::metrics::Computed;

/// What is flooded, and how.
#[derive(Debug, Clone, clap::Args)]
pub struct Flood {
    #[arg(long, value_parser = Target::parse)]
    pub target: Target,
    #[arg(long, value_parser = Target::parse)]
    pub admin: Target,
    /// The agent token of the valid calls, `tp-<id>.<secret>`.
    #[arg(long, env = "LOADTEST_TOKEN", hide_env_values = true)]
    pub token: String,
    /// Whose signed tokens the gateway takes.
    #[arg(long)]
    pub issuer: String,
    #[arg(long, default_value = "fake-model")]
    pub model: String,
    /// Valid calls a second.
    #[arg(long, default_value_t = 100.0)]
    pub valid_rate: f64,
    /// Made-up credentials a second.
    #[arg(long = "rate", default_value_t = 1000.0)]
    pub flood_rate: f64,
    /// Of each half of each kind.
    #[arg(long, default_value = "5s", value_parser = humantime::parse_duration)]
    pub duration: Duration,
}

/// What one kind of flood did.
#[derive(Debug)]
pub struct Effect {
    pub kind: &'static str,
    pub without: Tally,
    pub with: Tally,
    pub flood: Tally,
    pub computed: Computed,
}

/// One kind after the other.
pub fn run(flood: &Flood) -> io::Result<Vec<Effect>> {
    // The token's first check is none of the measured calls.
    valid(flood, Duration::from_millis(500))?;
    let kinds = flood.kinds().into_iter();
    kinds
        .map(|(kind, made_up)| effect(flood, kind, made_up))
        .collect()
}

fn effect(flood: &Flood, kind: &'static str, made_up: Forgery) -> io::Result<Effect> {
    let without = valid(flood, flood.duration)?;
    let before = Computed::read(&flood.admin)?;
    let flooding = flood.drive(Key::MadeUp(made_up), flood.flood_rate, 64, flood.duration);
    // On a thread of its own: that the flood is made must not slow down those who are measured.
    let flooding = thread::spawn(move || on_this_thread(flooding));
    let with = valid(flood, flood.duration)?;
    let flooded = flooding.join();
    let flooded = flooded.map_err(|_| io::Error::other("the flood panicked"))??;
    Ok(Effect {
        kind,
        without,
        with,
        flood: flooded,
        computed: Computed::read(&flood.admin)?.since(before),
    })
}

fn valid(flood: &Flood, duration: Duration) -> io::Result<Tally> {
    let key = Key::Same(flood.token.clone());
    on_this_thread(flood.drive(key, flood.valid_rate, 16, duration))
}

fn on_this_thread(calls: Drive) -> io::Result<Tally> {
    let runtime = tokio::runtime::Builder::new_current_thread();
    let runtime = { runtime }.enable_all().build()?;
    Ok(runtime.block_on(drive(calls, Arc::default())))
}

impl Flood {
    fn kinds(&self) -> Vec<(&'static str, Forgery)> {
        let id = self.token.trim_start_matches("tp-").split('.').next();
        let id = id.unwrap_or_default().to_owned();
        let signed = |algorithm| Forgery::BadSignature {
            issuer: self.issuer.clone(),
            algorithm,
        };
        vec![
            ("unknown ids", Forgery::UnknownId),
            ("wrong secrets", Forgery::WrongSecret { id }),
            ("bad ES256", signed(Curve::P256)),
            ("bad ES384", signed(Curve::P384)),
        ]
    }

    fn drive(&self, key: Key, rate: f64, connections: usize, duration: Duration) -> Drive {
        Drive {
            target: self.target.clone(),
            scenario: Scenario::Chat,
            key,
            model: self.model.clone(),
            connections,
            duration,
            rate: Some(rate),
            max_tokens: None,
        }
    }
}

impl fmt::Display for Effect {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ms = |tally: &Tally, share| tally.latency().percentile(share).as_secs_f64() * 1000.0;
        writeln!(out, "{}", self.kind)?;
        for (name, tally) in [("without", &self.without), ("with", &self.with)] {
            let (p50, p99) = (ms(tally, 0.5), ms(tally, 0.99));
            let (calls, errors) = (tally.requests(), tally.errors());
            writeln!(
                out,
                "  valid, {name:<8} p50 {p50:.3} ms, p99 {p99:.3} ms, {calls} calls, {errors} errors"
            )?;
            kinds(out, tally)?;
        }
        let ratio = |share| ms(&self.with, share) / ms(&self.without, share).max(f64::MIN_POSITIVE);
        let (p50, p99) = (ratio(0.5), ratio(0.99));
        writeln!(out, "  with to without p50 {p50:.2}, p99 {p99:.2}")?;
        let Computed { hashes, signatures } = self.computed;
        let sent = self.flood.requests();
        writeln!(
            out,
            "  flood           {sent} calls; computed {hashes} hashes, {signatures} signatures"
        )?;
        kinds(out, &self.flood)
    }
}

fn kinds(out: &mut fmt::Formatter<'_>, tally: &Tally) -> fmt::Result {
    let mut errors = tally.errors_by_kind();
    errors.try_for_each(|(kind, count)| writeln!(out, "    {kind}: {count}"))
}
