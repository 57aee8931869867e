use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures::FutureExt;
use futures::future::{BoxFuture, Shared};
use thiserror::Error;
use turnpike_api::Clock;

use super::key_set::{KeySet, KeySetError};

/// Between the starts of two fetches, whatever asks for them: an issuer's time-out, a stranger who
/// makes up key ids.
pub const BETWEEN_FETCHES: Duration = Duration::from_secs(30);

/// Keys older than this are fetched again before they are used.
pub const MAX_AGE: Duration = Duration::from_secs(60 * 60);

/// Keys older than this are not used, even if no newer ones can be had.
pub const MAX_STALE: Duration = Duration::from_secs(24 * 60 * 60);

/// Gets an issuer's key set from where it publishes it. Ends in good time by itself.
pub trait FetchKeys: Send + Sync {
    /// The document, unparsed.
    fn fetch(&self) -> BoxFuture<'_, Result<Vec<u8>, FetchError>>;
}

/// Why a key set could not be fetched, in words for the log.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("{0}")]
pub struct FetchError(pub Box<str>);

/// Why there are no keys, or no newer ones.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum KeysError {
    #[error("the keys could not be fetched: {0}")]
    Fetch(#[from] FetchError),
    #[error(transparent)]
    Set(#[from] KeySetError),
    #[error("fetching the keys panicked")]
    Panicked,
    #[error("the keys are being fetched, or the last try is too fresh")]
    Waiting,
}

/// How an issuer's keys are, for metrics and the operator.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KeysStatus {
    /// When the keys that are in use were fetched; milliseconds since 1970.
    pub fetched_at: Option<u64>,
    /// How many of them are of use.
    pub keys: usize,
    /// Fetches begun.
    pub fetches: u64,
    /// Why the last fetch failed, if it did.
    pub failure: Option<KeysError>,
}

/// The keys of one issuer. All who need newer ones at the same time wait for the same fetch.
///
/// Nothing here runs by itself: who waits for a fetch drives it, and a background service may call
/// [`keep_fresh`](Self::keep_fresh), so that no request has to.
pub struct KeyCache {
    fetcher: Arc<dyn FetchKeys>,
    clock: Arc<dyn Clock>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    held: Option<Held>,
    flight: Option<Flight>,
    tried_at: Option<u64>,
    fetches: u64,
    failure: Option<KeysError>,
}

struct Held {
    keys: Arc<KeySet>,
    fetched_at: u64,
    /// Of the fetch that brought them: one that was given up may still end after a later one.
    number: u64,
}

#[derive(Clone)]
struct Flight {
    number: u64,
    since: u64,
    outcome: Shared<BoxFuture<'static, Result<Arc<KeySet>, KeysError>>>,
}

enum Step {
    Have(Arc<KeySet>),
    /// For newer ones; those of before, if they will do meanwhile.
    Wait(Flight, Option<Arc<KeySet>>),
    Without(KeysError),
}

impl KeyCache {
    /// Empty: the first who needs keys fetches them.
    pub fn new(fetcher: Arc<dyn FetchKeys>, clock: Arc<dyn Clock>) -> Self {
        Self {
            fetcher,
            clock,
            state: Mutex::default(),
        }
    }

    /// The keys: those at hand while they are fresh, else newer ones, else, for a day, the old.
    pub async fn keys(&self) -> Result<Arc<KeySet>, KeysError> {
        // A statement of its own: the lock is not held while waiting.
        let step = self.step();
        match step {
            Step::Have(keys) => Ok(keys),
            Step::Without(error) => Err(error),
            Step::Wait(flight, stale) => match self.land(flight).await {
                Err(error) => stale.ok_or(error),
                newer => newer,
            },
        }
    }

    /// Keys newer than `seen`, for a token whose key is not among those; `None` if there are none,
    /// or it is too early to ask again.
    pub async fn newer_than(&self, seen: &Arc<KeySet>) -> Option<Arc<KeySet>> {
        let flight = {
            let mut state = self.state();
            match &state.held {
                Some(held) if !Arc::ptr_eq(&held.keys, seen) => return Some(held.keys.clone()),
                _ => self.join(&mut state)?,
            }
        };
        self.land(flight).await.ok()
    }

    /// Fetches the keys when half their time is over. For a background service, every minute or
    /// so: it says what to log, and requests never wait for keys that have grown old.
    pub async fn keep_fresh(&self) -> Result<(), KeysError> {
        let flight = {
            let mut state = self.state();
            match &state.held {
                Some(held) if within(self.clock.now(), held.fetched_at, MAX_AGE / 2) => {
                    return Ok(());
                }
                _ => self.join(&mut state),
            }
        };
        match flight {
            Some(flight) => self.land(flight).await.map(drop),
            None => Ok(()),
        }
    }

    /// How the keys are.
    pub fn status(&self) -> KeysStatus {
        let state = self.state();
        KeysStatus {
            fetched_at: state.held.as_ref().map(|held| held.fetched_at),
            keys: state.held.as_ref().map_or(0, |held| held.keys.len()),
            fetches: state.fetches,
            failure: state.failure.clone(),
        }
    }

    fn step(&self) -> Step {
        let mut state = self.state();
        let now = self.clock.now();
        let held = state.held.as_ref();
        let held = held.filter(|held| within(now, held.fetched_at, MAX_STALE));
        match held.map(|held| (held.keys.clone(), held.fetched_at)) {
            Some((keys, fetched_at)) if within(now, fetched_at, MAX_AGE) => Step::Have(keys),
            // One request waits for newer keys; that need not hold up the others.
            Some((keys, _)) => match self.begin(&mut state) {
                Some(flight) => Step::Wait(flight, Some(keys)),
                None => Step::Have(keys),
            },
            None => match self.join(&mut state) {
                Some(flight) => Step::Wait(flight, None),
                None => Step::Without(state.failure.clone().unwrap_or(KeysError::Waiting)),
            },
        }
    }

    /// The fetch that is under way, or a new one; `None` when it is too early for that.
    fn join(&self, state: &mut State) -> Option<Flight> {
        self.begin(state).or_else(|| state.flight.clone())
    }

    /// A new fetch, unless the last was begun a moment ago. One that is still under way after that
    /// moment has been left by all who waited for it, or hangs: it is given up.
    fn begin(&self, state: &mut State) -> Option<Flight> {
        let now = self.clock.now();
        if state
            .tried_at
            .is_some_and(|at| within(now, at, BETWEEN_FETCHES))
        {
            return None;
        }
        state.tried_at = Some(now);
        state.fetches += 1;
        let outcome = fetch(self.fetcher.clone()).boxed().shared();
        let flight = Flight {
            number: state.fetches,
            since: now,
            outcome,
        };
        state.flight = Some(flight.clone());
        Some(flight)
    }

    /// Waits for a fetch, and keeps what it brings. The first of those who wait does, the others
    /// find it done.
    async fn land(&self, flight: Flight) -> Result<Arc<KeySet>, KeysError> {
        let outcome = flight.outcome.await;
        let mut state = self.state();
        if (state.flight.as_ref()).is_some_and(|current| current.number == flight.number) {
            state.flight = None;
            state.failure = outcome.as_ref().err().cloned();
        }
        let newer = (state.held.as_ref()).is_none_or(|held| held.number < flight.number);
        if let (Ok(keys), true) = (&outcome, newer) {
            state.held = Some(Held {
                keys: keys.clone(),
                fetched_at: flight.since,
                number: flight.number,
            });
        }
        outcome
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A fetch that panics would panic in all who wait for it, and for ever.
async fn fetch(fetcher: Arc<dyn FetchKeys>) -> Result<Arc<KeySet>, KeysError> {
    let document = AssertUnwindSafe(async { fetcher.fetch().await }).catch_unwind();
    let document = document.await.map_err(|_| KeysError::Panicked)??;
    Ok(Arc::new(KeySet::parse(&document)?))
}

/// Whether less than `limit` has gone by since `then`. A time that is yet to come was told by a
/// clock that was wrong.
fn within(now: u64, then: u64, limit: Duration) -> bool {
    (now.checked_sub(then)).is_some_and(|age| u128::from(age) < limit.as_millis())
}
