//! The agent tokens there are, and which of them were proven lately.
//!
//! All of them are in memory: an id that is not here is refused without a look at the store and
//! without a computation. The store has the truth; what changes there is told by its news.

use std::collections::{HashMap, VecDeque};
use std::hash::{BuildHasher, RandomState};
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::{Duration, Instant};

use arc_swap::ArcSwapOption;
use blake3::Hash;
use turnpike_api::{
    Clock, Directory, Identity, ModelRules, Presented, Rejection, Secret, StoreError, Verdict,
};

use super::hashing::{HashError, Hashing};
use super::record::{AgentTokenRecord, KIND, TokenState};
use super::text::Text;

/// Look-ups of different tokens seldom meet.
const SHARDS: usize = 64;

/// As many requests may wait for one token's check.
const WAITING: usize = 16;

/// As many wrong secrets of one token are remembered: an agent with an old one asks again and again.
const WRONG: usize = 4;

/// The client's address and agent are noted this often.
const NOTED_EVERY: u64 = 60_000;

/// How tokens are checked; a reload may change it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Checks {
    /// So long a token that was proven is known without another computation.
    pub cache_ttl: Duration,
    /// So long tokens stay valid while the store cannot be read.
    pub max_stale: Duration,
}

/// The agent tokens of one process.
pub struct TokenBook {
    shards: Box<[Shard]>,
    /// Chooses the shard.
    hasher: RandomState,
    digest_key: [u8; 32],
    hashing: Hashing,
    clock: Arc<dyn Clock>,
    began: Instant,
    /// When the store was read last, in milliseconds since `began`.
    read_at: AtomicU64,
}

type Shard = RwLock<HashMap<Box<str>, Arc<Token>>>;

struct Token {
    record: AgentTokenRecord,
    hash: Arc<str>,
    identity: Arc<Identity>,
    proven: ArcSwapOption<Proven>,
    /// Held by the one who computes; the digests of secrets that were wrong.
    checking: tokio::sync::Mutex<VecDeque<Proven>>,
    waiting: AtomicUsize,
    used: Used,
}

/// A presented token's digest, and until when what is known of it counts.
struct Proven {
    digest: Hash,
    until: u64,
}

#[derive(Default)]
struct Used {
    at: AtomicU64,
    noted: Mutex<Option<LastUse>>,
    is_new: AtomicUsize,
}

/// Who presented a token last.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct LastUse {
    /// In milliseconds since 1970.
    pub at: u64,
    pub ip: IpAddr,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user_agent: Option<String>,
}

/// Counts a request that waits for a token's check.
struct Waiting<'t>(&'t AtomicUsize);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl TokenBook {
    /// An empty one: [`read`](Self::read) fills it.
    pub fn new(digest_key: [u8; 32], at_once: usize, clock: Arc<dyn Clock>) -> Self {
        Self {
            shards: (0..SHARDS).map(|_| Shard::default()).collect(),
            hasher: RandomState::new(),
            digest_key,
            hashing: Hashing::new(at_once),
            clock,
            began: Instant::now(),
            read_at: AtomicU64::new(0),
        }
    }

    /// How many there are, revoked ones included.
    pub fn len(&self) -> usize {
        self.shards.iter().map(|shard| read(shard).len()).sum()
    }

    /// Whether there is none at all.
    pub fn is_empty(&self) -> bool {
        let is_empty = |shard: &Shard| read(shard).is_empty();
        self.shards.iter().all(is_empty)
    }

    /// How many hashes were computed.
    pub fn computed(&self) -> u64 {
        self.hashing.computed()
    }

    /// Takes over what the store has: at the start, and when news were missed.
    pub async fn read(&self, store: &dyn Directory) -> Result<(), StoreError> {
        let records = store.list(KIND).await?;
        let mut gone: Vec<Box<str>> = Vec::new();
        let kept: HashMap<&str, ()> = records.iter().map(|(id, _)| (&**id, ())).collect();
        for shard in &self.shards {
            gone.extend(
                read(shard)
                    .keys()
                    .filter(|id| !kept.contains_key(&***id))
                    .cloned(),
            );
        }
        gone.iter().for_each(|id| self.forget(id));
        for (_, record) in &records {
            self.enter(&record.value);
        }
        self.is_fresh();
        Ok(())
    }

    /// Takes over one token that changed.
    pub async fn read_one(&self, id: &str, store: &dyn Directory) -> Result<(), StoreError> {
        match store.get(KIND, id).await? {
            Some(record) => self.enter(&record.value),
            None => self.forget(id),
        }
        Ok(())
    }

    /// What is known is what the store has, as of now.
    pub fn is_fresh(&self) {
        let at = u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.read_at.store(at, Ordering::Relaxed);
    }

    /// Takes over a record as the store has it. One that cannot be read is of a newer release: its
    /// token is not known here.
    pub fn enter(&self, value: &[u8]) {
        let Ok(record) = serde_json::from_slice::<AgentTokenRecord>(value) else {
            return;
        };
        let mut shard = write(self.shard(&record.id));
        let before = shard.remove(&*record.id);
        let token = Token::new(record, before.as_deref());
        shard.insert(token.record.id.as_str().into(), Arc::new(token));
    }

    fn forget(&self, id: &str) {
        write(self.shard(id)).remove(id);
    }

    fn find(&self, id: &str) -> Option<Arc<Token>> {
        read(self.shard(id)).get(id).cloned()
    }

    fn shard(&self, id: &str) -> &Shard {
        let hash = self.hasher.hash_one(id);
        &self.shards[hash as usize % SHARDS]
    }

    /// The verdict that can be given at once: of a token that nobody has, and of one that was
    /// proven lately.
    pub(super) fn at_once(
        &self,
        text: &Text<'_>,
        presented: &Presented<'_>,
        checks: &Checks,
    ) -> Option<Verdict> {
        if self.is_stale(checks) {
            return Some(Verdict::Reject(Rejection::Unavailable));
        }
        let shard = read(self.shard(text.id));
        let Some(token) = shard.get(text.id) else {
            return Some(Verdict::Reject(Rejection::Unknown));
        };
        let now = self.clock.now();
        let proven = token.proven.load();
        let proven = proven.as_ref().filter(|proven| now < proven.until)?;
        (proven.digest == self.digest(text)).then(|| token.verdict(presented, now))
    }

    /// Whether the store has not been read for too long.
    fn is_stale(&self, checks: &Checks) -> bool {
        let read_at = Duration::from_millis(self.read_at.load(Ordering::Relaxed));
        self.began.elapsed().saturating_sub(read_at) > checks.max_stale
    }

    /// Of the whole token: two that begin alike have nothing in common.
    fn digest(&self, text: &Text<'_>) -> Hash {
        blake3::keyed_hash(&self.digest_key, text.whole.as_bytes())
    }

    /// Proves a token by a computation: one for a token that is presented for the first time,
    /// however many requests present it at once.
    pub(super) async fn prove(
        &self,
        text: Text<'_>,
        presented: Presented<'_>,
        checks: Checks,
    ) -> Verdict {
        let Some(token) = self.find(text.id) else {
            return Verdict::Reject(Rejection::Unknown);
        };
        if token.waiting.fetch_add(1, Ordering::Relaxed) >= WAITING {
            token.waiting.fetch_sub(1, Ordering::Relaxed);
            return Verdict::Reject(Rejection::Busy);
        }
        let _waiting = Waiting(&token.waiting);
        let mut wrong = token.checking.lock().await;
        // Somebody else may have proven it, or it may have been revoked, meanwhile.
        if let Some(verdict) = self.at_once(&text, &presented, &checks) {
            return verdict;
        }
        let digest = self.digest(&text);
        let now = self.clock.now();
        wrong.retain(|wrong| now < wrong.until);
        if wrong.iter().any(|wrong| wrong.digest == digest) {
            return Verdict::Reject(Rejection::Unknown);
        }
        let until = now.saturating_add(millis(checks.cache_ttl));
        let computed = self
            .hashing
            .verify(Secret::new(text.secret), token.hash.clone());
        match computed.await {
            Ok(true) => {
                let proven = Arc::new(Proven { digest, until });
                token.proven.store(Some(proven.clone()));
                // It may have changed while it was computed: what is in the book counts.
                match self.find(text.id) {
                    Some(current) if current.hash == token.hash => {
                        current.proven.store(Some(proven));
                        current.verdict(&presented, self.clock.now())
                    }
                    _ => Verdict::Reject(Rejection::Unknown),
                }
            }
            Ok(false) => {
                wrong.truncate(WRONG - 1);
                wrong.push_front(Proven { digest, until });
                Verdict::Reject(Rejection::Unknown)
            }
            Err(HashError::Busy | HashError::Gone | HashError::Costs(_)) => {
                Verdict::Reject(Rejection::Busy)
            }
        }
    }

    /// Who presented which token last, of those that are not written down yet.
    pub fn take_uses(&self) -> Vec<(String, LastUse)> {
        let mut uses = Vec::new();
        for shard in &self.shards {
            for (id, token) in &*read(shard) {
                if token.used.is_new.swap(0, Ordering::AcqRel) == 1 {
                    let noted = token.used.noted.lock();
                    let noted = noted.unwrap_or_else(PoisonError::into_inner).clone();
                    uses.extend(noted.map(|noted| (id.to_string(), noted)));
                }
            }
        }
        uses
    }
}

impl Token {
    /// In the place of `before`: what was proven of the same secret stays so.
    fn new(record: AgentTokenRecord, before: Option<&Self>) -> Self {
        let same = before.filter(|before| *before.hash == *record.hash);
        let proven = same.and_then(|before| before.proven.load_full());
        let identity = Identity {
            name: record.name.as_str().into(),
            models: ModelRules::any(),
        };
        Self {
            hash: record.hash.as_str().into(),
            identity: Arc::new(identity),
            proven: ArcSwapOption::new(proven),
            checking: tokio::sync::Mutex::default(),
            waiting: AtomicUsize::new(0),
            used: Used::default(),
            record,
        }
    }

    /// Of a token whose secret is proven.
    fn verdict(&self, presented: &Presented<'_>, now: u64) -> Verdict {
        match self.record.state(now) {
            TokenState::Revoked => Verdict::Reject(Rejection::Revoked),
            TokenState::SessionExpired => Verdict::Reject(Rejection::SessionExpired),
            TokenState::Active if !self.record.binding.admits(presented) => {
                Verdict::Reject(Rejection::Elsewhere)
            }
            TokenState::Active => {
                self.used.note(presented, now);
                Verdict::Known(self.identity.clone())
            }
        }
    }
}

impl Used {
    /// Once a minute: what a request pays otherwise is one look.
    fn note(&self, presented: &Presented<'_>, now: u64) {
        if now.saturating_sub(self.at.load(Ordering::Relaxed)) < NOTED_EVERY {
            return;
        }
        self.at.store(now, Ordering::Relaxed);
        let mut noted = self.noted.lock().unwrap_or_else(PoisonError::into_inner);
        *noted = Some(LastUse {
            at: now,
            ip: presented.client,
            user_agent: presented
                .user_agent
                .map(|agent| agent.chars().take(200).collect()),
        });
        self.is_new.store(1, Ordering::Release);
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

fn read<T>(lock: &RwLock<T>) -> std::sync::RwLockReadGuard<'_, T> {
    lock.read().unwrap_or_else(PoisonError::into_inner)
}

fn write<T>(lock: &RwLock<T>) -> std::sync::RwLockWriteGuard<'_, T> {
    lock.write().unwrap_or_else(PoisonError::into_inner)
}
