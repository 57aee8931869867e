use std::cell::Cell;
use std::collections::{BTreeMap, HashSet};
use std::future::ready;
use std::sync::Mutex;
use std::time::Duration;

use futures::FutureExt;
use futures::future::{join, join_all};
use tokio::sync::Semaphore;
use turnpike_api::{Directory, Expected, Record, Secret, Stored, testing};

use super::*;

/// The least that Argon2 takes: what is proven here does not depend on what it costs.
const CHEAP: Costs = Costs {
    memory_kib: 8,
    iterations: 1,
    parallelism: 1,
};

const CHECKS: Checks = Checks {
    cache_ttl: Duration::from_secs(300),
    max_stale: Duration::from_secs(60),
};

/// A token that is in the book.
struct Known {
    record: AgentTokenRecord,
    token: Secret,
}

fn new_token(change: impl FnOnce(&mut AgentTokenRecord)) -> Known {
    let new = NewToken {
        name: "laptop".into(),
        ..NewToken::default()
    };
    let Issued { mut record, token } = new.make(CHEAP, 0).unwrap();
    change(&mut record);
    Known { record, token }
}

fn authenticator(known: &[&Known]) -> AgentTokens {
    let settings = Settings {
        checks: CHECKS,
        ..Settings::none()
    };
    for one in known {
        put(&settings.agent_tokens, &one.record);
    }
    AgentTokens::new(&settings)
}

fn put(book: &TokenBook, record: &AgentTokenRecord) {
    book.enter(&record.id, &serde_json::to_vec(record).unwrap());
}

async fn verdict(tokens: &AgentTokens, token: &str) -> Verdict {
    tokens.authenticate(Presented::new(token)).get().await
}

fn is_known(verdict: &Verdict) -> bool {
    matches!(verdict, Verdict::Known(identity) if &*identity.name == "laptop")
}

#[tokio::test]
async fn a_token_is_proven_once_however_many_present_it_at_once() {
    let known = new_token(|_| {});
    let tokens = authenticator(&[&known]);
    let token = known.token.expose();
    let tolerated = format!("sk-{token}");
    let asked = (0..1000).map(|n| match n % 4 {
        0 => verdict(&tokens, token),
        _ => verdict(&tokens, &tolerated),
    });
    assert!(join_all(asked).await.iter().all(is_known));
    assert_eq!(tokens.book.computed(), 1);
    let at_once = tokens.authenticate(Presented::new(token));
    assert!(matches!(at_once, Answer::Ready(verdict) if is_known(&verdict)));
}

#[tokio::test]
async fn what_nobody_has_costs_no_computation_and_what_is_wrong_costs_one() {
    let known = new_token(|_| {});
    let tokens = authenticator(&[&known]);
    let unknown = Verdict::Reject(Rejection::Unknown);
    let stranger = new_token(|_| {});
    for _ in 0..3 {
        assert_eq!(verdict(&tokens, stranger.token.expose()).await, unknown);
    }
    assert_eq!(tokens.book.computed(), 0);
    let wrong = format!("tp-{}.{}", known.record.id, "A".repeat(43));
    for _ in 0..3 {
        assert_eq!(verdict(&tokens, &wrong).await, unknown);
    }
    assert_eq!(tokens.book.computed(), 1);
    // The right one is not kept from being proven by that.
    assert!(is_known(&verdict(&tokens, known.token.expose()).await));
    assert_eq!(tokens.book.computed(), 2);
}

#[tokio::test]
async fn a_crowd_of_guesses_of_one_token_is_told_to_come_back() {
    let known = new_token(|_| {});
    let tokens = authenticator(&[&known]);
    let wrong: Vec<String> = (0..100)
        .map(|n| format!("tp-{}.{n:A>43}", known.record.id))
        .collect();
    // No check is done before the last of them has come.
    let (done, gate) = std::sync::mpsc::channel();
    let mut held = Box::pin(tokens.book.hashing.hold(gate));
    assert!((&mut held).now_or_never().is_none());
    let (mut waiting, mut busy) = (Vec::new(), 0);
    for wrong in &wrong {
        let mut asked = Box::pin(verdict(&tokens, wrong));
        match (&mut asked).now_or_never() {
            None => waiting.push(asked),
            Some(verdict) => {
                assert_eq!(verdict, Verdict::Reject(Rejection::Busy));
                busy += 1;
            }
        }
    }
    assert_eq!((waiting.len(), busy), (16, 100 - 16));
    drop(done);
    held.await;
    join_all(waiting).await;
    assert_eq!(tokens.book.computed(), 16);
}

#[tokio::test]
async fn a_proven_token_proves_no_other() {
    let known = new_token(|_| {});
    let tokens = authenticator(&[&known]);
    let token = known.token.expose();
    assert!(is_known(&verdict(&tokens, token).await));
    // Each differs in one character, wherever it stands; and from the others in more.
    let letters = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let secret_at = token.len() - 43;
    let mut other = token.as_bytes().to_vec();
    let mut at_once = 0;
    for n in 0..1_000_000_usize {
        let at = secret_at + n % 43;
        let before = std::mem::replace(&mut other[at], letters[(n / 43) % letters.len()]);
        let presented = std::str::from_utf8(&other).unwrap();
        let answer = tokens.authenticate(Presented::new(presented));
        let is_let_in = matches!(answer, Answer::Ready(Verdict::Known(_)));
        at_once += usize::from(is_let_in && presented != token);
        drop(answer);
        if n % 7 > 0 {
            other[at] = before;
        }
    }
    assert_eq!(at_once, 0);
    assert_eq!(tokens.book.computed(), 1);
}

/// What is known of a token is found by its digest.
#[test]
fn no_two_of_a_million_tokens_share_an_entry() {
    let book = Settings::none().agent_tokens;
    let mut digests = HashSet::with_capacity(1_000_000);
    let mut keep = |whole: &str| {
        let (id, secret) = (&whole[3..19], &whole[20..]);
        digests.insert(book.digest(&Text { whole, id, secret }));
    };
    for n in 0..500_000_usize {
        // The digits of a digest look random: 16 of an id, a dot, 43 of a secret.
        let random = blake3::hash(&n.to_le_bytes()).to_hex();
        let mut whole = format!("tp-{}.{}", &random[..16], &random[16..59]);
        keep(&whole);
        // And one that differs in one letter, whose place moves through the secret.
        let at = 20 + n % 43;
        whole.replace_range(at..=at, "_");
        keep(&whole);
    }
    assert_eq!(digests.len(), 1_000_000);
}

#[test]
fn no_two_tokens_are_the_same() {
    let tokens: HashSet<String> = (0..10_000)
        .map(|_| {
            let (id, secret) = text::generate().unwrap();
            text::whole(&id, &secret).expose().to_owned()
        })
        .collect();
    assert_eq!(tokens.len(), 10_000);
}

#[tokio::test]
async fn what_changes_in_the_store_counts_at_once() {
    let mut known = new_token(|_| {});
    let tokens = authenticator(&[&known]);
    let (book, token) = (tokens.book.clone(), known.token.expose().to_owned());
    assert!(is_known(&verdict(&tokens, &token).await));
    known.record.auth_expires_at = Some(1);
    put(&book, &known.record);
    let expired = Verdict::Reject(Rejection::SessionExpired);
    assert_eq!(verdict(&tokens, &token).await, expired);
    // The owner has logged in again: the same token works again.
    known.record.auth_expires_at = Some(u64::MAX);
    put(&book, &known.record);
    assert!(is_known(&verdict(&tokens, &token).await));
    known.record.revoked_at = Some(1);
    put(&book, &known.record);
    assert_eq!(
        verdict(&tokens, &token).await,
        Verdict::Reject(Rejection::Revoked)
    );
    // None of it took another computation.
    assert_eq!(book.computed(), 1);
    // Who does not have its secret is told nothing of how it stands.
    let wrong = format!("tp-{}.{}", known.record.id, "A".repeat(43));
    assert_eq!(
        verdict(&tokens, &wrong).await,
        Verdict::Reject(Rejection::Unknown)
    );
}

/// Reading many takes a while: what changed meanwhile is not undone by what was there before.
#[tokio::test]
async fn what_was_read_earlier_does_not_count_for_more() {
    let (mut revoked, made) = (new_token(|_| {}), new_token(|_| {}));
    let tokens = authenticator(&[&revoked]);
    let (book, store) = (&tokens.book, SlowList::default());
    store.write(&revoked.record);
    let mut reading = Box::pin(book.read(&store));
    assert!((&mut reading).now_or_never().is_none());
    revoked.record.revoked_at = Some(1);
    for known in [&revoked, &made] {
        store.write(&known.record);
    }
    let ids = [&*revoked.record.id, &made.record.id];
    let changed = join_all(ids.map(|id| book.read_one(id, &store)));
    let mut changed = Box::pin(changed);
    assert!((&mut changed).now_or_never().is_none());
    store.gate.add_permits(1);
    let (read, changed) = join(reading, changed).await;
    assert!(read.is_ok() && changed.iter().all(Result::is_ok));
    let refused = Verdict::Reject(Rejection::Revoked);
    assert_eq!(verdict(&tokens, revoked.token.expose()).await, refused);
    assert!(is_known(&verdict(&tokens, made.token.expose()).await));
}

/// Answers lists with what there was when it was asked, and not before it may.
struct SlowList {
    records: Mutex<BTreeMap<String, Record>>,
    gate: Semaphore,
}

impl Default for SlowList {
    fn default() -> Self {
        Self {
            records: Mutex::default(),
            gate: Semaphore::new(0),
        }
    }
}

impl SlowList {
    fn write(&self, record: &AgentTokenRecord) {
        let value = serde_json::to_vec(record).unwrap();
        let written = Record { value, version: 1 };
        let mut records = self.records.lock().unwrap();
        records.insert(record.id.clone(), written);
    }
}

impl Directory for SlowList {
    fn get<'a>(&'a self, _: &'static str, key: &'a str) -> Stored<'a, Option<Record>> {
        let found = self.records.lock().unwrap().get(key).cloned();
        Box::pin(ready(Ok(found)))
    }

    fn list(&self, _: &'static str) -> Stored<'_, Vec<(String, Record)>> {
        let all = self.records.lock().unwrap().clone();
        Box::pin(async move {
            self.gate.acquire().await.unwrap().forget();
            Ok(all.into_iter().collect())
        })
    }

    fn put<'a>(
        &'a self,
        _: &'static str,
        _: &'a str,
        _: &'a [u8],
        _: Option<Duration>,
        _: Expected,
    ) -> Stored<'a, Option<u64>> {
        unreachable!("a book writes nothing")
    }

    fn remove<'a>(&'a self, _: &'static str, _: &'a str) -> Stored<'a, bool> {
        unreachable!("a book writes nothing")
    }

    fn claim<'a>(&'a self, _: &'a str, _: &'a str, _: Duration) -> Stored<'a, bool> {
        unreachable!("a book writes nothing")
    }

    fn release<'a>(&'a self, _: &'a str, _: &'a str) -> Stored<'a, ()> {
        unreachable!("a book writes nothing")
    }
}

#[tokio::test]
async fn a_token_that_is_bound_is_refused_elsewhere() {
    let known = new_token(|record| record.binding.cidrs = vec!["10.0.0.0/8".parse().unwrap()]);
    let tokens = authenticator(&[&known]);
    let from = |ip: &str| Presented {
        client: ip.parse().unwrap(),
        ..Presented::new(known.token.expose())
    };
    for _ in 0..2 {
        let elsewhere = tokens.authenticate(from("192.0.2.1")).get().await;
        assert_eq!(elsewhere, Verdict::Reject(Rejection::Elsewhere));
        assert!(is_known(&tokens.authenticate(from("10.1.2.3")).get().await));
    }
}

#[tokio::test]
async fn who_presented_it_last_is_noted_once_a_minute() {
    let known = new_token(|_| {});
    let tokens = authenticator(&[&known]);
    let presented = Presented {
        user_agent: Some("agent/1"),
        ..Presented::new(known.token.expose())
    };
    for _ in 0..3 {
        tokens.authenticate(presented).get().await;
    }
    let uses = tokens.book.take_uses();
    assert_eq!(uses.len(), 1);
    let (id, last) = &uses[0];
    assert_eq!(
        (id, last.user_agent.as_deref()),
        (&known.record.id, Some("agent/1"))
    );
    tokens.authenticate(presented).get().await;
    assert_eq!(tokens.book.take_uses(), []);
}

#[tokio::test]
async fn a_store_that_cannot_be_read_for_too_long_is_told() {
    let known = new_token(|_| {});
    let mut tokens = authenticator(&[&known]);
    tokens.checks.max_stale = Duration::ZERO;
    let away = Verdict::Reject(Rejection::Unavailable(book::AWAY));
    assert_eq!(verdict(&tokens, known.token.expose()).await, away);
}

#[test]
fn conforms() {
    let known = [new_token(|_| {}), new_token(|_| {})];
    let tokens = authenticator(&[&known[0], &known[1]]);
    testing::conforming_authenticator(&tokens, &[known[0].token.expose(), known[1].token.expose()]);
}

/// It may have been revoked by that release.
#[tokio::test]
async fn a_token_whose_record_cannot_be_read_any_more_is_not_known() {
    let known = new_token(|_| {});
    let tokens = authenticator(&[&known]);
    assert!(is_known(&verdict(&tokens, known.token.expose()).await));
    let newer = br#"{"id":"x","name":"n","hash":{"new":"shape"},"created_at":1}"#;
    tokens.book.enter(&known.record.id, newer);
    let unknown = Verdict::Reject(Rejection::Unknown);
    assert_eq!(verdict(&tokens, known.token.expose()).await, unknown);
    // And a gateway that it has closed stays closed.
    assert!(tokens.book.is_empty() && tokens.book.had_any());
}

/// Whoever knows the id, which is no secret, does not keep the holder away.
#[tokio::test]
async fn a_crowd_that_guesses_does_not_keep_the_holder_away() {
    let known = new_token(|_| {});
    let mut tokens = authenticator(&[&known]);
    assert!(is_known(&verdict(&tokens, known.token.expose()).await));
    // As after five minutes.
    tokens.checks.cache_ttl = Duration::ZERO;
    put(&tokens.book, &known.record);
    tokens.book.forget_proofs();
    let wrong: Vec<String> = (0..100)
        .map(|n| format!("tp-{}.{n:A>43}", known.record.id))
        .collect();
    let guesses = join_all(wrong.iter().map(|wrong| verdict(&tokens, wrong)));
    let holders = verdict(&tokens, known.token.expose());
    let (_, holders) = join(guesses, holders).await;
    assert!(is_known(&holders), "{holders:?}");
}

/// Nor do a few who guess, each as soon as the guess before was refused.
#[tokio::test]
async fn who_guesses_without_end_does_not_keep_the_holder_waiting() {
    for was_proven in [false, true] {
        let known = new_token(|_| {});
        let tokens = authenticator(&[&known]);
        if was_proven {
            assert!(is_known(&verdict(&tokens, known.token.expose()).await));
            tokens.book.forget_proofs();
        }
        let is_done = Cell::new(false);
        let guess = async |who: usize| {
            for n in 0..1_000 {
                if !is_done.get() {
                    let guess = format!("tp-{}.{who}{n:A>42}", known.record.id);
                    verdict(&tokens, &guess).await;
                }
            }
        };
        let holder = async {
            // After those who guess have begun.
            tokio::task::yield_now().await;
            assert!(is_known(&verdict(&tokens, known.token.expose()).await));
            is_done.set(true);
        };
        join(join_all((0..8).map(guess)), holder).await;
        let computed = tokens.book.computed();
        assert!(
            computed < 1_000,
            "{computed} before it was the holder's turn"
        );
    }
}

#[tokio::test]
async fn a_use_that_was_not_written_yet_outlives_a_change() {
    let mut known = new_token(|_| {});
    let tokens = authenticator(&[&known]);
    verdict(&tokens, known.token.expose()).await;
    known.record.revoked_at = Some(1);
    put(&tokens.book, &known.record);
    let uses = tokens.book.take_uses();
    assert_eq!(uses.len(), 1);
    let (id, last) = uses.into_iter().next().unwrap();
    assert!(tokens.book.take_uses().is_empty());
    tokens.book.put_back(&id, last.clone());
    assert_eq!(tokens.book.take_uses(), [(id, last)]);
}
