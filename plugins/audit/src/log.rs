//! The handle: what happens is told here, and threads of its own see to the rest.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use turnpike_api::Clock;

use crate::delivery::{Delivery, Step};
use crate::events::{Damaged, Dropped, RequestAborted};
use crate::spool::{Found, Spool, Terms};
use crate::{Event, Mark, OpenError, SigningKey, Sink, Unavailable};

/// How long a record that nobody waits for stays in memory.
const TICK: Duration = Duration::from_millis(50);

/// How often what was written is brought to the disk itself, and the spool is tidied.
const SYNCED_EVERY: Duration = Duration::from_secs(1);

/// The chain is signed so often, if there was anything, or after so many records.
const SIGNED_EVERY: Duration = Duration::from_secs(60);
const SIGNED_AFTER: u64 = 10_000;

/// A sink looks for records so often at least.
const LOOKED_EVERY: Duration = Duration::from_millis(500);

/// What a log is opened with.
pub struct Settings {
    pub terms: Terms,
    /// The name of a chain, should one begin: hexadecimal digits, unlike those of all others.
    pub chain: String,
    /// What this replica is called in its records.
    pub replica: String,
    pub key: SigningKey,
    pub clock: Arc<dyn Clock>,
}

/// The log of one replica.
pub struct Log {
    shared: Arc<Shared>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

struct Shared {
    spool: Spool,
    key: SigningKey,
    clock: Arc<dyn Clock>,
    /// It was told to stop.
    stopped: AtomicBool,
    /// There will be no more.
    stopping: AtomicBool,
    /// The number of the record that was signed last.
    signed: AtomicU64,
    /// A sink that waits is woken by it.
    bell: (Mutex<()>, Condvar),
    /// How many sinks are served; who stops the log waits for none to be.
    served: (Mutex<usize>, Condvar),
    sinks: Vec<SinkState>,
}

/// How a sink stands.
struct SinkState {
    name: String,
    passed: AtomicU64,
    /// Records of older chains that it was not handed, and the last one of this chain that it was.
    older: AtomicU64,
    seq: AtomicU64,
    missed: AtomicU64,
    rejected: AtomicU64,
    delivered: AtomicU64,
    failures: AtomicU64,
    /// It has all that happened until then; 0 = not known yet.
    reached: AtomicU64,
    is_away: AtomicBool,
}

/// How a log stands, for metrics.
pub struct Status {
    /// The number of the last record that is written.
    pub written: u64,
    /// Bytes of the spool.
    pub bytes: u64,
    /// As many as it may have.
    pub most_bytes: u64,
    /// Records that there was no room for.
    pub lost: u64,
    /// There is no room, and calls are to be refused for it.
    pub refuses: bool,
    pub sinks: Vec<SinkStatus>,
}

pub struct SinkStatus {
    pub name: String,
    /// Records that it was not handed yet.
    pub waiting: u64,
    /// Records it did not get.
    pub missed: u64,
    /// Records that its receiver said it will never take.
    pub rejected: u64,
    /// Records that are its receiver's for good, since the start.
    pub delivered: u64,
    /// How often it did not take a batch, or lost some, since the start.
    pub failures: u64,
    /// For how many milliseconds the oldest record that it does not have has been waiting, at most.
    pub behind: u64,
    /// It takes none now.
    pub is_away: bool,
}

impl Log {
    /// Opens the spool, tells what became of the calls of a process that was killed, and starts the
    /// threads.
    pub fn open(
        settings: Settings,
        sinks: Vec<(String, Box<dyn Sink>)>,
    ) -> Result<Self, OpenError> {
        let (spool, found) = Spool::open(settings.terms, &settings.chain, &settings.replica)?;
        let state = |(name, _): &(String, _)| SinkState {
            name: name.clone(),
            passed: AtomicU64::new(0),
            older: AtomicU64::new(0),
            seq: AtomicU64::new(0),
            missed: AtomicU64::new(0),
            rejected: AtomicU64::new(0),
            delivered: AtomicU64::new(0),
            failures: AtomicU64::new(0),
            reached: AtomicU64::new(0),
            is_away: AtomicBool::new(false),
        };
        let shared = Arc::new(Shared {
            signed: AtomicU64::new(0),
            spool,
            key: settings.key,
            clock: settings.clock,
            stopped: AtomicBool::new(false),
            stopping: AtomicBool::new(false),
            bell: Default::default(),
            served: (Mutex::new(sinks.len()), Condvar::new()),
            sinks: sinks.iter().map(state).collect(),
        });
        shared.tell_found(&found);
        // What a killed process left unsigned is signed before more comes.
        shared.sign();
        let mut threads = vec![spawn("audit", shared.clone(), |shared| shared.tend())?];
        for (nth, (name, sink)) in sinks.into_iter().enumerate() {
            let delivery = Delivery::open(name, sink, shared.spool.directory());
            let deliver = move |shared: &Shared| {
                shared.deliver(nth, delivery);
                shared.ended();
            };
            threads.push(spawn("audit sink", shared.clone(), deliver)?);
        }
        Ok(Self {
            shared,
            threads: Mutex::new(threads),
        })
    }

    /// Notes that something happened: it is written within some 50 ms.
    pub fn note<E: Event + ?Sized>(&self, event: &E) -> Mark {
        let shared = &*self.shared;
        shared.spool.note(event, shared.clock.now())
    }

    /// Has what was noted up to this mark written before it returns. An error is a call that must not
    /// go on.
    pub fn keep(&self, mark: Mark) -> Result<(), Unavailable> {
        self.shared.spool.keep(mark)
    }

    /// Whether there is no room, and calls are to be refused for it.
    pub fn refuses(&self) -> bool {
        self.shared.spool.refuses()
    }

    /// The key that records are signed with, as it is checked by.
    pub fn public_key(&self) -> &str {
        self.shared.key.public()
    }

    pub fn status(&self) -> Status {
        let shared = &*self.shared;
        let (written, now) = (shared.spool.written(), shared.clock.now());
        let sinks = shared.sinks.iter();
        let sinks = sinks.map(|sink| sink.status(written, now));
        Status {
            written,
            bytes: shared.spool.bytes(),
            most_bytes: shared.spool.most(),
            lost: shared.spool.lost(),
            refuses: shared.spool.refuses(),
            sinks: sinks.collect(),
        }
    }

    /// Signs and writes what was noted, and waits for the sinks that take it, but no longer than that.
    /// What they did not take by then is handed to them after the next start.
    pub fn stop(&self, patience: Duration) {
        let shared = &*self.shared;
        if shared.stopped.swap(true, Relaxed) {
            return;
        }
        shared.sign();
        let _ = shared.spool.keep_all();
        shared.spool.sync();
        // A sink that sees this finds the last record written.
        shared.stopping.store(true, Relaxed);
        shared.bell.1.notify_all();
        let (served, ended) = &shared.served;
        let served = served.lock().unwrap_or_else(PoisonError::into_inner);
        let _ = ended.wait_timeout_while(served, patience, |served| *served > 0);
        let mut threads = self.threads.lock().unwrap_or_else(PoisonError::into_inner);
        threads.drain(..).for_each(|one| one.thread().unpark());
    }
}

impl Drop for Log {
    fn drop(&mut self) {
        self.stop(Duration::from_secs(1));
        // What was told after it was stopped.
        self.shared.sign();
        let _ = self.shared.spool.keep_all();
        self.shared.spool.sync();
    }
}

impl SinkState {
    /// Where this record of the chain was written last.
    fn status(&self, written: u64, now: u64) -> SinkStatus {
        let waiting = self.older.load(Relaxed) + written.saturating_sub(self.seq.load(Relaxed));
        SinkStatus {
            name: self.name.clone(),
            waiting,
            missed: self.missed.load(Relaxed),
            rejected: self.rejected.load(Relaxed),
            delivered: self.delivered.load(Relaxed),
            failures: self.failures.load(Relaxed),
            behind: match self.reached.load(Relaxed) {
                0 => 0,
                _ if waiting == 0 => 0,
                reached => now.saturating_sub(reached),
            },
            is_away: self.is_away.load(Relaxed),
        }
    }

    /// As it is after a step, where this is the chain that is written.
    fn note(&self, delivery: &Delivery, chain: &str) {
        let (older, seq) = delivery.place_in(chain);
        self.passed.store(delivery.passed(), Relaxed);
        self.reached.store(delivery.reached(), Relaxed);
        self.failures.store(delivery.failed(), Relaxed);
        self.rejected.store(delivery.rejected(), Relaxed);
        self.delivered.store(delivery.delivered(), Relaxed);
        self.is_away.store(delivery.is_away(), Relaxed);
        self.older.store(older, Relaxed);
        self.seq.store(seq, Relaxed);
    }
}

fn spawn(
    name: &str,
    shared: Arc<Shared>,
    work: impl FnOnce(&Shared) + Send + 'static,
) -> Result<JoinHandle<()>, OpenError> {
    let builder = thread::Builder::new().name(name.to_owned());
    let spawned = builder.spawn(move || work(&shared));
    spawned.map_err(OpenError::Thread)
}

impl Shared {
    fn tell_found(&self, found: &Found) {
        let now = self.clock.now();
        if let Some((bytes, last_seq)) = found.damaged {
            let damaged = Damaged { bytes, last_seq };
            self.spool.note(&damaged, now);
        }
        for (decision, start) in &found.aborted {
            let aborted = RequestAborted {
                request: &start.request,
                decision,
                start_seq: start.seq,
                start_chain: self.not_this(&start.chain),
            };
            self.spool.note(&aborted, now);
        }
        let _ = self.spool.keep_all();
    }

    /// Writes what nobody waits for, signs, syncs, and removes what is handed on.
    fn tend(&self) {
        let (mut synced, mut signed) = (Instant::now(), Instant::now());
        while !self.stopping.load(Relaxed) {
            thread::park_timeout(TICK);
            // Why not was told.
            let _ = self.spool.keep_all();
            let since = self.spool.noted().saturating_sub(self.signed.load(Relaxed));
            if since >= SIGNED_AFTER || (since > 0 && signed.elapsed() >= SIGNED_EVERY) {
                signed = Instant::now();
                self.sign();
            }
            self.bell.1.notify_all();
            if synced.elapsed() >= SYNCED_EVERY {
                synced = Instant::now();
                self.spool.sync();
            }
            self.spool.tidy(self.passed());
        }
    }

    /// Also while the disk takes nothing: what is held meanwhile is to be signed, too.
    fn sign(&self) {
        if self.spool.noted() > self.signed.load(Relaxed) {
            if let Some(seq) = self.spool.sign(&self.key, self.clock.now()) {
                self.signed.store(seq, Relaxed);
            }
            let _ = self.spool.keep_all();
        }
    }

    /// All sinks have passed the segments before this one.
    fn passed(&self) -> u64 {
        let passed = self.sinks.iter().map(|sink| sink.passed.load(Relaxed));
        passed.min().unwrap_or(0)
    }

    /// Hands on to one sink, until the log stops and there is no more, or it takes no more.
    fn deliver(&self, nth: usize, mut delivery: Delivery) {
        let state = &self.sinks[nth];
        loop {
            let stopping = self.stopping.load(Relaxed);
            let now = self.clock.now();
            let step = delivery.step(self.spool.number(), now);
            state.note(&delivery, self.spool.chain());
            match step {
                Ok(Step::Delivered(_)) => continue,
                Ok(Step::Missed { chain, from, count }) => {
                    state.missed.fetch_add(count, Relaxed);
                    let dropped = Dropped {
                        sink: &delivery.name,
                        from_seq: from,
                        from_chain: self.not_this(&chain),
                        count,
                    };
                    self.spool.note(&dropped, now);
                    continue;
                }
                Ok(Step::Idle | Step::Away { .. }) => {}
                Err(error) => {
                    tracing::error!(sink = delivery.name, %error, "the audit spool cannot be read, or a place in it not be saved");
                }
            }
            if stopping {
                break;
            }
            self.wait();
        }
        if let Err(error) = delivery.finish(self.clock.now()) {
            tracing::warn!(sink = delivery.name, %error, "how far an audit sink got was not saved");
        }
        state.note(&delivery, self.spool.chain());
    }

    /// A chain, unless it is the one that is written: records are of that where nothing is said.
    fn not_this<'c>(&self, chain: &'c str) -> Option<&'c str> {
        let is_another = !chain.is_empty() && chain != self.spool.chain();
        is_another.then_some(chain)
    }

    /// One sink is served no more.
    fn ended(&self) {
        let (served, ended) = &self.served;
        *served.lock().unwrap_or_else(PoisonError::into_inner) -= 1;
        ended.notify_all();
    }

    /// Until there is something new, or for a while.
    fn wait(&self) {
        let (mutex, bell) = &self.bell;
        let guard = mutex.lock().unwrap_or_else(PoisonError::into_inner);
        let _ = bell.wait_timeout(guard, LOOKED_EVERY);
    }
}
