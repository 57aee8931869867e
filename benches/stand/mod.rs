//! A pool of credentials to select from, without anything around it.

use std::hint::black_box;
use std::path::Path;
use std::sync::Arc;

use turnpike::assemble::{Ground, assemble, provider_kinds};
use turnpike::clock::Time;
use turnpike::snapshot::Snapshot;
use turnpike::upstream::standing::Failure;
use turnpike::upstream::{Board, Member, Pool};
use turnpike_api::{Dialect, Fault, Hint};
use turnpike_config::{Environment, Kinds, Plan};

/// A pool, at a moment that does not pass.
pub(crate) struct Stand {
    snapshot: Snapshot,
    board: Arc<Board>,
    pool: Arc<Pool>,
}

const NOW: u64 = 1_800_000_000_000;

impl Stand {
    /// Quotas and weights are where the strategy looks at them.
    pub(crate) fn new(strategy: &str, credentials: usize) -> Self {
        let ground = ground();
        let each = |nth: usize| match strategy {
            "quota_aware" => format!(", quota: {{limit: {}}}", 1_000_000 + nth),
            "weighted" => format!(", weight: {}", 1 + nth % 3),
            _ => String::new(),
        };
        let snapshot = assembled(&ground, strategy, credentials, each);
        let served = snapshot.tenants.house.catalogue().find("gpt-4o-mini");
        let pool = served
            .as_ref()
            .and_then(|served| served.pool(Dialect::OpenAi))
            .expect("the model is served");
        Self {
            pool: pool.clone(),
            snapshot,
            board: ground.board,
        }
    }

    /// One request that is given so many credentials, one after the other.
    pub(crate) fn tries(&self, count: usize) {
        let turn = self.pool.next_turn();
        let patience = NOW + 1_000;
        let mut tried = Vec::new();
        for _ in 0..count {
            let fits = |at| !tried.contains(&at);
            let taken = self.pool.take(black_box(turn), NOW, patience, fits);
            tried.push(taken.expect("somebody is ready").at);
        }
    }

    /// One request, the first after one of them began or ceased to cool.
    pub(crate) fn try_anew(&self) {
        self.board.changed();
        self.tries(1);
    }

    /// Every other one has just been told that it is over its limit.
    pub(crate) fn cool_half(&self) {
        for Member {
            credential, model, ..
        } in self.pool.members().step_by(2)
        {
            let failure = Failure {
                model,
                began: NOW,
                probe: None,
                now: NOW,
                fault: Fault::RateLimited,
                hint: Hint::default(),
            };
            let standing = &credential.standing;
            standing.failed(failure, &self.snapshot.back_off);
            self.board.cooldowns_changed(standing);
        }
    }
}

/// What is under a gateway, at that moment.
pub(crate) fn ground() -> Ground {
    Ground::new(Time::simulated(NOW), 1).expect("metrics and a key of its own")
}

/// A gateway's configuration with so many credentials of one provider, assembled.
pub(crate) fn assembled(
    ground: &Ground,
    strategy: &str,
    credentials: usize,
    each: impl Fn(usize) -> String,
) -> Snapshot {
    let plan = planned(strategy, credentials, each);
    assemble(&plan, [].iter(), ground, 1, true).expect("a plan that can be served")
}

/// The same, as it was read.
pub(crate) fn planned(strategy: &str, credentials: usize, each: impl Fn(usize) -> String) -> Plan {
    let rows: String = (0..credentials)
        .map(|nth| {
            let more = each(nth);
            format!("      - {{api_key: sk-bench-{nth:08}, label: c{nth}{more}}}\n")
        })
        .collect();
    let text = format!(
        "routing: {{strategy: {strategy}}}\nproviders:\n  openai:\n    credentials:\n{rows}"
    );
    let nothing: [(&str, &str); 0] = [];
    let kinds = provider_kinds();
    turnpike_config::load_str(
        &text,
        Path::new("."),
        &Environment::from_pairs(nothing),
        &Kinds { providers: &kinds },
    )
    .expect("a configuration without mistakes")
}
