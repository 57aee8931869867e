//! The handle that a test holds.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::gate::Gate;
use crate::options::Options;
use crate::record::{Journal, Outcome, Recorded};
use crate::script::{Behaviour, Scripts};
use crate::serve;
use crate::tls::Tls;
use crate::totals::{Books, Running, Totals};

/// A provider on a port of its own. Dropping it stops it.
pub struct FakeProvider {
    addr: SocketAddr,
    ca_pem: String,
    shared: Arc<Shared>,
    accepting: JoinHandle<()>,
}

/// What every connection needs.
pub(crate) struct Shared {
    pub(crate) options: Options,
    pub(crate) scripts: Scripts,
    pub(crate) journal: Journal,
    pub(crate) books: Books,
    pub(crate) running: Running,
    /// Makes the ids of two providers differ.
    pub(crate) port: u16,
    /// Changes when every open connection has to end.
    pub(crate) hangup: watch::Sender<()>,
    calls: AtomicU64,
}

impl Shared {
    pub(crate) fn next_id(&self) -> u64 {
        self.calls.fetch_add(1, Ordering::Relaxed) + 1
    }

    pub(crate) fn accepts(&self, key: &str) -> bool {
        self.options
            .keys
            .as_ref()
            .is_none_or(|keys| keys.iter().any(|known| known == key))
    }
}

impl FakeProvider {
    /// Starts on the current runtime.
    ///
    /// # Panics
    /// When the port cannot be bound; see [`try_start`](Self::try_start).
    pub async fn start(options: impl Into<Options>) -> Self {
        Self::try_start(options)
            .await
            .expect("a test's fake provider gets its port")
    }

    pub async fn try_start(options: impl Into<Options>) -> anyhow::Result<Self> {
        let options = options.into();
        let listener = TcpListener::bind((options.host, options.port)).await?;
        let addr = listener.local_addr()?;
        let tls = options
            .protocol
            .is_tls()
            .then(|| Tls::new(options.protocol))
            .transpose()?;
        let (acceptor, ca_pem) = match tls {
            Some(tls) => (Some(tls.acceptor), tls.ca_pem),
            None => (None, String::new()),
        };
        let shared = Arc::new(Shared {
            options,
            scripts: Scripts::default(),
            journal: Journal::default(),
            books: Books::default(),
            running: Running::default(),
            port: addr.port(),
            hangup: watch::Sender::new(()),
            calls: AtomicU64::new(0),
        });
        let accepting = tokio::spawn(serve::accept(listener, acceptor, shared.clone()));
        Ok(Self {
            addr,
            ca_pem,
            shared,
            accepting,
        })
    }

    /// Stops and waits until the port refuses connections.
    pub async fn stop(mut self) {
        self.accepting.abort();
        let _ = (&mut self.accepting).await;
    }

    /// Closes every open connection without a word, as providers do with idle
    /// ones. New connections are welcome.
    pub fn hang_up(&self) {
        self.shared.hangup.send_replace(());
    }

    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// `http://127.0.0.1:port`, or `https://localhost:port`; no path.
    pub fn base_url(&self) -> String {
        if self.shared.options.protocol.is_tls() {
            return format!("https://localhost:{}", self.addr.port());
        }
        format!("http://{}", self.addr)
    }

    /// The authority to trust; empty in clear text.
    pub fn ca_pem(&self) -> &str {
        &self.ca_pem
    }

    /// Appends to the key's queue: each call takes the next behaviour, and
    /// [`Behaviour::Ok`] (or [`always`](Self::always)) once it is empty.
    pub fn script(&self, key: &str, behaviours: impl IntoIterator<Item = Behaviour>) {
        self.shared.scripts.queue(key, behaviours);
    }

    /// What the key gets whenever its queue is empty.
    pub fn always(&self, key: &str, behaviour: Behaviour) {
        self.shared.scripts.always(key, behaviour);
    }

    /// What the key gets when it asks for the models, whatever other calls get.
    pub fn lists(&self, key: &str, behaviour: Behaviour) {
        self.shared.scripts.lists(key, behaviour);
    }

    /// Forgets the key's queue, its `always` and its `lists`.
    pub fn reset(&self, key: &str) {
        self.shared.scripts.clear(key);
    }

    /// The gate of the key's [`Behaviour::Gated`] answers.
    pub fn gate(&self, key: &str) -> Gate {
        self.shared.scripts.gate(key)
    }

    /// The calls so far, oldest first, those already taken left out.
    pub fn calls(&self) -> Vec<Recorded> {
        self.shared.journal.calls()
    }

    pub fn calls_with(&self, key: &str) -> Vec<Recorded> {
        self.calls()
            .into_iter()
            .filter(|call| call.key == key)
            .collect()
    }

    /// The calls so far; [`count`](Self::count) starts anew at 0.
    pub fn take_calls(&self) -> Vec<Recorded> {
        self.shared.journal.take()
    }

    /// How many [`calls`](Self::calls) there are.
    pub fn count(&self) -> usize {
        self.shared.journal.count()
    }

    /// Until [`count`](Self::count) is at least `calls`.
    pub async fn wait_for_calls(&self, calls: usize) {
        self.shared.journal.until_calls(calls).await;
    }

    /// How the call ended, once it has.
    pub async fn outcome(&self, call_id: u64) -> Outcome {
        self.shared.journal.outcome(call_id).await
    }

    /// When the provider saw the caller of this call go away.
    ///
    /// # Panics
    /// When the call ends in another way.
    pub async fn closed_by_peer(&self, call_id: u64) -> Instant {
        match self.outcome(call_id).await {
            Outcome::CallerGone { at } => at,
            other => panic!("call {call_id} ended as {other:?}, its caller did not leave"),
        }
    }

    /// All usage told to callers: what left in answers, streams cut short
    /// counting as far as they came.
    pub fn usage_total(&self) -> Totals {
        self.shared.books.sum()
    }

    pub fn usage_of(&self, key: &str) -> Totals {
        self.shared.books.of(key)
    }

    /// All calls that came, recorded or not, whatever became of them.
    pub fn arrived(&self) -> u64 {
        self.shared.calls.load(Ordering::Relaxed)
    }

    /// The most calls that ran at a time: from a call's head until its answer is handed to the
    /// connection, or its caller has left.
    pub fn most_at_a_time(&self) -> u64 {
        self.shared.running.most()
    }

    pub fn options(&self) -> &Options {
        &self.shared.options
    }
}

impl Drop for FakeProvider {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}
