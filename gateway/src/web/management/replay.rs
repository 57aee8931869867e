//! A request that is sent twice with one `Idempotency-Key` is done once.
//!
//! That it was done is kept in the store, so that it counts after a restart, too. The answer is
//! kept in memory only, for an hour, because a secret is in it. Where it is not there any more, who
//! asks again is told what was made.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::response::{IntoResponse, Response};
use http::header::CONTENT_TYPE;
use http::{HeaderMap, StatusCode};
use serde::{Deserialize, Serialize};
use turnpike_api::{Directory, Expected, Store};
use zeroize::Zeroizing;

use super::access::Actor;
use super::refusal::Refused;

/// The kind of record that says what was done for a key; its own key is a digest.
const KIND: &str = "idempotency";

const HEADER: &str = "idempotency-key";

/// So long a key stands for one request.
const KEPT: Duration = Duration::from_secs(24 * 60 * 60);

/// So long the answer is there, in milliseconds.
const ANSWERED: u64 = 60 * 60_000;

/// As many answers are.
const ANSWERS: usize = 256;

/// A request that is to be done once.
pub(super) struct Claim {
    /// Of the key, and whose it is.
    key: String,
    /// Of what is asked for.
    request: String,
}

/// A token was made, and this is what is answered.
#[derive(Clone)]
pub(super) struct Answer {
    /// The token's id.
    made: String,
    body: Zeroizing<Vec<u8>>,
}

/// What is kept in the store.
#[derive(Serialize, Deserialize)]
struct Kept {
    request: String,
    /// The id of the token; `None` while it is made.
    made: Option<String>,
}

/// The answers that are there.
#[derive(Default)]
pub(super) struct Replays(Mutex<HashMap<String, Replay>>);

struct Replay {
    request: String,
    answer: Answer,
    /// In milliseconds since 1970.
    until: u64,
}

impl Claim {
    /// `None` when the request may be done each time.
    pub(super) fn of(
        headers: &HeaderMap,
        actor: &Actor,
        action: &str,
        body: &impl Serialize,
    ) -> Result<Option<Self>, Refused> {
        let mut keys = headers.get_all(HEADER).iter();
        let Some(key) = keys.next() else {
            return Ok(None);
        };
        let key = key.as_bytes();
        let is_plain = key.iter().all(|byte| matches!(byte, b' '..=b'~'));
        if keys.next().is_some() || !is_plain || !(1..=255).contains(&key.len()) {
            return Err(Refused::BadIdempotencyKey);
        }
        let body = serde_json::to_vec(body);
        let body = body.map_err(|error| Refused::Failed(error.to_string()))?;
        Ok(Some(Self {
            key: match actor.tenant.as_deref() {
                None => digest([actor.name.as_bytes(), key]),
                Some(tenant) => digest([tenant.as_bytes(), actor.name.as_bytes(), key]),
            },
            request: digest([action.as_bytes(), &body]),
        }))
    }
}

impl Answer {
    pub(super) fn new(made: String, body: Vec<u8>) -> Self {
        let body = Zeroizing::new(body);
        Self { made, body }
    }

    pub(super) fn first(self) -> Response {
        let kind = [(CONTENT_TYPE, "application/json")];
        (StatusCode::CREATED, kind, self.body.to_vec()).into_response()
    }

    pub(super) fn again(self) -> Response {
        ([("idempotency-replayed", "true")], self.first()).into_response()
    }
}

impl Replays {
    /// The answer of a request that was done; `None` when this one is to be done, and is the only
    /// one from now on.
    pub(super) async fn begin(
        &self,
        store: &dyn Store,
        claim: &Claim,
        now: u64,
    ) -> Result<Option<Answer>, Refused> {
        if let Some(answer) = self.find(claim, now)? {
            return Ok(Some(answer));
        }
        if keep(store, claim, None, Expected::Absent).await? {
            return Ok(None);
        }
        let kept = Directory::get(store, KIND, &claim.key).await?;
        let kept = kept.and_then(|kept| serde_json::from_slice::<Kept>(&kept.value).ok());
        match kept {
            Some(kept) if kept.request != claim.request => Err(Refused::KeyReused),
            Some(Kept {
                made: Some(made), ..
            }) => Err(Refused::DoneBefore(made)),
            Some(Kept { made: None, .. }) | None => Err(Refused::UnderWay),
        }
    }

    /// It was done.
    pub(super) async fn done(&self, store: &dyn Store, claim: Claim, answer: &Answer, now: u64) {
        let made = Some(answer.made.clone());
        // Where it cannot be written, it counts as under way until its time is over.
        let _ = keep(store, &claim, made, Expected::Anything).await;
        let mut all = self.lock();
        all.retain(|_, replay| now < replay.until);
        if all.len() < ANSWERS {
            let replay = Replay {
                request: claim.request,
                answer: answer.clone(),
                until: now.saturating_add(ANSWERED),
            };
            all.insert(claim.key, replay);
        }
    }

    /// It was not: the key may be used again.
    pub(super) async fn failed(&self, store: &dyn Store, claim: &Claim) {
        // Where it cannot be removed, it counts as under way until its time is over.
        let _ = store.remove(KIND, &claim.key).await;
    }

    fn find(&self, claim: &Claim, now: u64) -> Result<Option<Answer>, Refused> {
        let all = self.lock();
        let found = all.get(&claim.key).filter(|replay| now < replay.until);
        match found {
            None => Ok(None),
            Some(replay) if replay.request != claim.request => Err(Refused::KeyReused),
            Some(replay) => Ok(Some(replay.answer.clone())),
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Replay>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// False when it is not as expected.
async fn keep(
    store: &dyn Store,
    claim: &Claim,
    made: Option<String>,
    expected: Expected,
) -> Result<bool, Refused> {
    let kept = Kept {
        request: claim.request.clone(),
        made,
    };
    let value = serde_json::to_vec(&kept);
    let value = value.map_err(|error| Refused::Failed(error.to_string()))?;
    let written = store.put(KIND, &claim.key, &value, Some(KEPT), expected);
    Ok(written.await?.is_some())
}

fn digest<const N: usize>(parts: [&[u8]; N]) -> String {
    let mut hasher = blake3::Hasher::new_derive_key("turnpike 2026 idempotency of management");
    for part in parts {
        hasher.update(&(part.len() as u64).to_le_bytes());
        hasher.update(part);
    }
    hasher.finalize().to_hex().to_string()
}
