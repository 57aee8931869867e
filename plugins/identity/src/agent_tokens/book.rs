//! The agent tokens there are, and which of them were proven lately.
//!
//! All of them are in memory: an id that is not here is refused without a look at the store and
//! without a computation. The store has the truth; what changes there is told by its news.

use std::collections::VecDeque;
use std::hash::BuildHasher;
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::{Duration, Instant};

use arc_swap::ArcSwapOption;
use blake3::Hash;
use hashbrown::{DefaultHashBuilder, HashMap};
use turnpike_api::{
    Clock, Directory, Identity, ModelRules, Presented, Rejection, Secret, StoreError, Verdict,
};

use super::guesses::Guesses;
use super::hashing::{HashError, Hashing};
use super::record::{AgentTokenRecord, KIND, TokenState};
use super::text::Text;

/// Why a token cannot be checked.
pub(super) const AWAY: &str =
    "the gateway's store cannot be read, so agent tokens cannot be checked; try again in a moment";

/// Look-ups of different tokens seldom meet.
const SHARDS: usize = 64;

/// As many wrong secrets of one token are remembered: agents with an old one ask again and again.
const WRONG: usize = 32;

/// The client's address and agent are noted this often.
const NOTED_EVERY: u64 = 60_000;

/// The store was not read yet.
const NEVER: u64 = u64::MAX;

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
    /// Chooses the shard. Nobody who calls has an id put in: the ids are random, and the gateway's.
    hasher: DefaultHashBuilder,
    digest_key: [u8; 32],
    pub(super) hashing: Hashing,
    clock: Arc<dyn Clock>,
    began: Instant,
    /// Held by who reads the store: what was read earlier would otherwise take the place of what was
    /// read later, and undo a revocation or forget a token that was just made.
    reading: async_lock::Mutex<()>,
    /// When the store was read last, in milliseconds since `began`; [`NEVER`].
    read_at: AtomicU64,
    /// Whether the store ever had a token, one that this release cannot read included.
    had_any: AtomicBool,
}

type Shard = RwLock<HashMap<Box<str>, Arc<Token>>>;

struct Token {
    record: AgentTokenRecord,
    hash: Arc<str>,
    identity: Arc<Identity>,
    /// The digest that was proven last; it has to be proven again from its time on.
    proven: ArcSwapOption<Proven>,
    /// Secrets that were wrong, the last one first.
    wrong: Mutex<VecDeque<Proven>>,
    /// Held by the one who computes. It goes round: of `futures`' lock, who comes again at once has
    /// the next turn too, and a few who guess keep all others away.
    checking: async_lock::Mutex<()>,
    /// Likewise, where it was proven before: no guess stands before that.
    renewing: async_lock::Mutex<()>,
    guesses: Guesses,
    /// Outlives the record.
    used: Arc<Used>,
}

/// A presented token's digest, and until when what is known of it counts.
struct Proven {
    digest: Hash,
    until: u64,
}

#[derive(Default)]
struct Used {
    at: AtomicU64,
    /// What is not written down yet.
    noted: Mutex<Option<LastUse>>,
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

impl TokenBook {
    /// An empty one: [`read`](Self::read) fills it.
    pub fn new(digest_key: [u8; 32], at_once: usize, clock: Arc<dyn Clock>) -> Self {
        Self {
            shards: (0..SHARDS).map(|_| Shard::default()).collect(),
            hasher: DefaultHashBuilder::default(),
            digest_key,
            hashing: Hashing::new(at_once),
            clock,
            began: Instant::now(),
            reading: async_lock::Mutex::default(),
            read_at: AtomicU64::new(0),
            had_any: AtomicBool::new(false),
        }
    }

    /// How many there are, revoked ones included.
    pub fn len(&self) -> usize {
        self.shards.iter().map(|shard| read(shard).len()).sum()
    }

    /// Whether there is none at all.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether there ever was one: it does not become untrue again. A gateway that tokens have
    /// closed stays closed, whatever becomes of the store.
    pub fn had_any(&self) -> bool {
        self.had_any.load(Ordering::Acquire)
    }

    /// How many hashes were computed.
    pub fn computed(&self) -> u64 {
        self.hashing.computed()
    }

    /// Takes over what the store has: at the start, and when news were missed.
    pub async fn read(&self, store: &dyn Directory) -> Result<(), StoreError> {
        let _reading = self.reading.lock().await;
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
        for (id, record) in &records {
            self.enter(id, &record.value);
        }
        self.is_fresh();
        Ok(())
    }

    /// At the start, when the store is away. There may be tokens in it: until it is read nothing can be
    /// said of any, and the gateway is not open to everybody.
    pub fn cannot_be_read(&self) {
        self.had_any.store(true, Ordering::Release);
        self.read_at.store(NEVER, Ordering::Relaxed);
    }

    /// Takes over one token that changed.
    pub async fn read_one(&self, id: &str, store: &dyn Directory) -> Result<(), StoreError> {
        let _reading = self.reading.lock().await;
        match store.get(KIND, id).await? {
            Some(record) => self.enter(id, &record.value),
            None => self.forget(id),
        }
        Ok(())
    }

    /// What is known is what the store has, as of now.
    pub fn is_fresh(&self) {
        let at = u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.read_at.store(at, Ordering::Relaxed);
    }

    /// Takes over a record as the store has it. One that cannot be read is of a newer release, which
    /// may have revoked it: its token is not known here any more.
    pub fn enter(&self, id: &str, value: &[u8]) {
        self.had_any.store(true, Ordering::Release);
        let record = serde_json::from_slice::<AgentTokenRecord>(value).ok();
        let Some(record) = record.filter(|record| record.id == id) else {
            return self.forget(id);
        };
        let mut shard = write(self.shard(id));
        let before = shard.remove(id);
        let token = Token::new(record, before.as_deref());
        shard.insert(id.into(), Arc::new(token));
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
            return Some(Verdict::Reject(Rejection::Unavailable(AWAY)));
        }
        let shard = read(self.shard(text.id));
        let Some(token) = shard.get(text.id) else {
            return Some(Verdict::Reject(Rejection::Unknown));
        };
        let (now, digest) = (self.clock.now(), self.digest(text));
        if token.is_proven(&digest, now) {
            return Some(token.verdict(presented, now));
        }
        let is_wrong = token.is_wrong(&digest, now);
        is_wrong.then_some(Verdict::Reject(Rejection::Unknown))
    }

    /// Whose the token of this id is, whatever became of it.
    pub fn identity(&self, id: &str) -> Option<Arc<Identity>> {
        self.find(id).map(|token| token.identity.clone())
    }

    /// Why a token that was good a moment ago is no more; `None` when it still is.
    pub fn refuses(&self, id: &str) -> Option<Rejection> {
        let Some(token) = self.find(id) else {
            return Some(Rejection::Revoked);
        };
        match token.record.state(self.clock.now()) {
            TokenState::Active => None,
            TokenState::Revoked => Some(Rejection::Revoked),
            TokenState::SessionExpired => Some(Rejection::SessionExpired),
        }
    }

    /// Whether there is such a token, and it is of another tenant than this one.
    pub fn is_anothers(&self, id: &str, tenant: Option<&str>) -> bool {
        let shard = read(self.shard(id));
        let token = shard.get(id);
        token.is_some_and(|token| token.identity.attributes.tenant.as_deref() != tenant)
    }

    /// Whether the store has not been read for too long.
    fn is_stale(&self, checks: &Checks) -> bool {
        let read_at = match self.read_at.load(Ordering::Relaxed) {
            NEVER => return true,
            read_at => Duration::from_millis(read_at),
        };
        self.began.elapsed().saturating_sub(read_at) > checks.max_stale
    }

    /// Of the whole token: two that begin alike have nothing in common.
    pub(super) fn digest(&self, text: &Text<'_>) -> Hash {
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
        let (digest, now) = (self.digest(&text), self.clock.now());
        // Who had the right one before is not kept away by those who guess.
        let (_checking, _guess) = match token.was_proven(&digest) {
            true => (token.renewing.lock().await, None),
            false => match token.guesses.wait(digest) {
                None => return Verdict::Reject(Rejection::Busy),
                Some(guess) => (token.checking.lock().await, Some(guess)),
            },
        };
        // Somebody else may have proven it, or it may have been revoked, meanwhile.
        if let Some(verdict) = self.at_once(&text, &presented, &checks) {
            return verdict;
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
                token.note_wrong(Proven { digest, until });
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
                let mut noted = lock(&token.used.noted);
                uses.extend(noted.take().map(|noted| (id.to_string(), noted)));
            }
        }
        uses
    }

    /// Puts back what could not be written, unless there is something newer.
    pub fn put_back(&self, id: &str, last: LastUse) {
        if let Some(token) = self.find(id) {
            lock(&token.used.noted).get_or_insert(last);
        }
    }
}

#[cfg(test)]
impl TokenBook {
    /// As when `cache_ttl` is over.
    pub(super) fn forget_proofs(&self) {
        for shard in &self.shards {
            for token in read(shard).values() {
                let proven = token.proven.load_full();
                let over = proven.map(|proven| Proven {
                    digest: proven.digest,
                    until: 0,
                });
                token.proven.store(over.map(Arc::new));
            }
        }
    }
}

impl Token {
    /// In the place of `before`: what was proven of the same secret stays so.
    fn new(mut record: AgentTokenRecord, before: Option<&Self>) -> Self {
        let same = before.filter(|before| *before.hash == *record.hash);
        let proven = same.and_then(|before| before.proven.load_full());
        let identity = Identity::new(record.name.as_str(), ModelRules::any());
        let identity = identity.with(record.attributes());
        // What is known of them is in the identity: there are many tokens.
        (record.owner, record.tenant) = (None, None);
        Self {
            hash: record.hash.as_str().into(),
            identity: Arc::new(identity),
            proven: ArcSwapOption::new(proven),
            wrong: Mutex::default(),
            checking: async_lock::Mutex::default(),
            renewing: async_lock::Mutex::default(),
            guesses: Guesses::default(),
            used: before.map(|before| before.used.clone()).unwrap_or_default(),
            record,
        }
    }

    fn is_proven(&self, digest: &Hash, now: u64) -> bool {
        let proven = self.proven.load();
        let mut proven = proven.iter();
        proven.any(|proven| now < proven.until && proven.digest == *digest)
    }

    fn was_proven(&self, digest: &Hash) -> bool {
        let proven = self.proven.load();
        proven.iter().any(|proven| proven.digest == *digest)
    }

    fn is_wrong(&self, digest: &Hash, now: u64) -> bool {
        let wrong = lock(&self.wrong);
        // All of them, so that the time does not tell which one it is.
        (wrong.iter()).fold(false, |is_wrong, wrong| {
            is_wrong | (now < wrong.until && wrong.digest == *digest)
        })
    }

    fn note_wrong(&self, proven: Proven) {
        let mut wrong = lock(&self.wrong);
        wrong.truncate(WRONG - 1);
        wrong.push_front(proven);
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
        *lock(&self.noted) = Some(LastUse {
            at: now,
            ip: presented.client,
            user_agent: presented
                .user_agent
                .map(|agent| agent.chars().take(200).collect()),
        });
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn read<T>(lock: &RwLock<T>) -> std::sync::RwLockReadGuard<'_, T> {
    lock.read().unwrap_or_else(PoisonError::into_inner)
}

fn write<T>(lock: &RwLock<T>) -> std::sync::RwLockWriteGuard<'_, T> {
    lock.write().unwrap_or_else(PoisonError::into_inner)
}
