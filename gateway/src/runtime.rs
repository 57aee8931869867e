//! The handles that outlive a reload.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use arc_swap::{ArcSwap, ArcSwapOption};
use tokio::sync::Semaphore;
use tokio::task::{JoinError, spawn_blocking};
use turnpike_api::{Clock, Store, StoreError};
use turnpike_identity::jwt::SignatureChecks;
use turnpike_identity::sso::session::{self, Session, SessionError};
use turnpike_identity::{Names, TokenBook};
use turnpike_limits::Book;

use crate::assemble::Ground;
use crate::audit::{self, Audit};
use crate::decisions::Decisions;
use crate::drain::Drain;
use crate::jwks::IssuersKeys;
use crate::observe::metrics::catalogue::{CERTIFICATE_END, COMPUTATIONS, CONFIG_HASH};
use crate::observe::metrics::{self, Metrics};
use crate::snapshot::Snapshot;
use crate::traces;
use crate::upstream::affinity::Affinity;
use crate::upstream::{Board, Connections};

/// One process.
pub struct Runtime {
    snapshot: ArcSwap<Snapshot>,
    pub connections: Arc<Connections>,
    /// How the credentials stand.
    pub board: Arc<Board>,
    /// Which credentials sessions keep to.
    pub affinity: Affinity,
    /// What survives the process.
    pub store: Arc<dyn Store>,
    /// The names of people who called, for the reports of usage.
    pub names: Names,
    /// The agent tokens there are.
    pub agent_tokens: Arc<TokenBook>,
    signature_checks: Arc<SignatureChecks>,
    /// The keys of the issuers of signed tokens.
    pub issuers_keys: Arc<IssuersKeys>,
    pub metrics: Metrics,
    pub listening: Listening,
    /// Bytes of request bodies held now, over all requests.
    pub buffered: AtomicU64,
    /// What may still be admitted of limits.
    pub limits: Arc<Book>,
    /// Why calls were refused of late.
    pub decisions: Decisions,
    /// What is on record.
    pub audit: Arc<Audit>,
    /// Calls whose spans are to be sent.
    pub spans: traces::Queue,
    /// What callers may have recorded of their traces.
    pub asked_traces: traces::Allowance,
    /// The pages that are not proxied; set once, before the listeners open.
    pub pages: OnceLock<axum::Router>,
    /// Those that people log in by, likewise.
    pub login_pages: OnceLock<axum::Router>,
    /// How serving ends.
    pub drain: Drain,
    usage_is_lost: AtomicBool,
    /// Others have the same store.
    is_fleet: bool,
    /// Why the store cannot be read, while it cannot.
    away: ArcSwapOption<String>,
    hashing: Semaphore,
    name: String,
}

/// What the listeners were started with; a reload does not change it.
#[derive(Clone, Copy, Debug)]
pub struct Listening {
    /// One listener serves the proxy and the admin pages.
    pub shared: bool,
}

impl Runtime {
    pub fn new(
        first: Snapshot,
        ground: &Ground,
        store: Arc<dyn Store>,
        listening: Listening,
    ) -> Self {
        Self {
            snapshot: ArcSwap::from_pointee(first),
            connections: ground.connections.clone(),
            board: ground.board.clone(),
            affinity: Affinity::default(),
            store,
            names: Names::default(),
            agent_tokens: ground.agent_tokens.clone(),
            signature_checks: ground.signature_checks.clone(),
            issuers_keys: ground.issuers_keys.clone(),
            metrics: ground.metrics.clone(),
            listening,
            buffered: AtomicU64::new(0),
            limits: ground.limits.clone(),
            decisions: Decisions::default(),
            audit: ground.audit.clone(),
            spans: traces::Queue::default(),
            asked_traces: traces::Allowance::default(),
            pages: OnceLock::new(),
            login_pages: OnceLock::new(),
            drain: Drain::default(),
            usage_is_lost: AtomicBool::new(false),
            is_fleet: false,
            away: ArcSwapOption::empty(),
            hashing: Semaphore::new(1),
            name: format!("{:016x}", fastrand::u64(..)),
        }
    }

    /// Computes the hash of a new token: one at a time, on a thread that serves nobody.
    pub async fn hash<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, JoinError> {
        // It is never closed.
        let _turn = self.hashing.acquire().await;
        spawn_blocking(work).await
    }

    /// Ends a person's session, and has their tokens stop at once; `None` when there is no such
    /// session.
    pub async fn sign_out(&self, key: &str) -> Result<Option<Session>, SessionError> {
        let store = &*self.store;
        let Some((session, _)) = session::find(store, key).await? else {
            return Ok(None);
        };
        session::sign_out(store, key, self.board.time.now()).await?;
        for token in session::tokens(store, &session).await? {
            // Others hear of it by the store's news.
            self.agent_tokens.read_one(&token.id, store).await?;
        }
        Ok(Some(session))
    }

    /// Notes whether usage could be written down; true when that is news.
    pub fn usage_is_kept(&self, kept: bool) -> bool {
        // Read first: nearly always there is nothing to write, and every call comes here.
        self.usage_is_lost.load(Ordering::Relaxed) == kept
            && self.usage_is_lost.swap(!kept, Ordering::Relaxed) == kept
    }

    /// Whether usage is not written down.
    pub fn usage_is_lost(&self) -> bool {
        self.usage_is_lost.load(Ordering::Relaxed)
    }

    /// One of several that share their store.
    pub fn of_a_fleet(self, is_fleet: bool) -> Self {
        if is_fleet {
            self.affinity.share();
        }
        Self { is_fleet, ..self }
    }

    /// Whether others have the same store, and have to hear of what is learnt here.
    pub fn is_fleet(&self) -> bool {
        self.is_fleet
    }

    /// Notes whether the store can be read, or why not; true when that is news.
    pub fn store_is(&self, away: Option<&StoreError>) -> bool {
        let before = self
            .away
            .swap(away.map(|error| Arc::new(error.to_string())));
        before.is_some() != away.is_some()
    }

    /// Why the store cannot be read, while it cannot.
    pub fn store_is_away(&self) -> Option<Arc<String>> {
        self.away.load_full()
    }

    /// Tells this process from others with the same store.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The exposition text of the metrics.
    pub fn exposition(&self) -> Result<Vec<u8>, prometheus::Error> {
        let now = self.board.time.now();
        let computed = [
            ("agent_token", self.agent_tokens.computed()),
            ("jwt", self.signature_checks.computed()),
        ];
        let computed = computed.map(|(kind, count)| (vec![kind], count as f64));
        let snapshot = self.snapshot();
        let mut told = metrics::standing(&snapshot.roll, now);
        let hash = metrics::told::number(&snapshot.management.configuration());
        told.push(metrics::told::plain(&CONFIG_HASH, hash as f64));
        told.push(metrics::told::told(&COMPUTATIONS, computed));
        let ends = snapshot.tls.iter().flat_map(|tls| &tls.ends);
        let ends = ends.map(|(file, end)| (vec![&**file], *end as f64));
        told.push(metrics::told::told(&CERTIFICATE_END, ends));
        told.extend(metrics::limits(&self.limits));
        if let Some(status) = self.audit.status() {
            told.extend(audit::metrics::families(&status));
        }
        if let Some(status) = self.audit.usage_status() {
            told.extend(audit::metrics::of_usage(&status));
        }
        self.metrics.render(told)
    }

    /// The configuration in force. A request loads it once and sees no other.
    pub fn snapshot(&self) -> Arc<Snapshot> {
        self.snapshot.load_full()
    }

    /// How long a request's head may take, before there is a request to load the snapshot for.
    pub fn header_timeout(&self) -> Duration {
        self.snapshot.load().limits.header_timeout
    }

    /// Puts another configuration in force for requests that begin from now on.
    pub fn swap(&self, next: Snapshot) {
        self.snapshot.store(Arc::new(next));
    }
}
