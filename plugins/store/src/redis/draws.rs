//! Limits: what each replica was granted, and has used of it.
//!
//! Every round is one round trip: that the replica is alive, and its draws, up to [`BATCH`] buckets
//! of a tenant to a script. `lua/draw.lua` has the rules.
//!
//! A Redis that lost what it knew begins another *life*, whose id is the epoch. Replicas hear of it
//! with their next round, and tell everything again. Until they have, what they were granted is not
//! known: once somebody was heard who knows an earlier life, nobody is granted anything for three
//! seconds after this one began. So what can be granted twice is
//!
//! - what replicas that knew no earlier life drew before one was heard that did, which takes a
//!   reconnect and a heartbeat, and one round more;
//! - what replicas have that are not heard within the three seconds, or have ended.
//!
//! A Redis that lost its last writes alone, as by a fail-over, has the same id: each of its buckets
//! is put right by the next draw of who said what was lost.

use std::collections::BTreeMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use futures::future::try_join_all;

use redis::{RedisResult, cmd};
use tokio::time::timeout;
use turnpike_api::{Draw, Drawn, Grant, StoreError};

use super::connection::Connection;
use super::keys::Keys;
use super::link::Link;
use super::script::{Call, DRAW, FOLD, HEARTBEAT};

/// So many buckets in one script: at some ten microseconds each, it keeps nobody waiting for as much
/// as a millisecond.
const BATCH: usize = 64;

/// The most there is of anything: the scripts' numbers are whole up to here.
const MOST: u64 = 1 << 53;

/// How long what has ended may take to be removed. Nobody waits for it.
const FOLDING: Duration = Duration::from_secs(1);

/// What was heard of the fleet with the last round.
#[derive(Default)]
pub(super) struct Fleet {
    /// None yet is 0.
    replicas: AtomicU32,
    /// The life of the Redis; none yet is 0.
    epoch: AtomicU64,
    /// Nothing is granted yet.
    settles: AtomicBool,
}

/// What a heartbeat answers: the time, the replicas, the life, and whether nothing is granted yet.
type Heard = (u64, u32, u64, bool);

/// What draws of one tenant answer: three numbers of each, and what has many entries.
type Granted = (Vec<u64>, Vec<String>);

pub(super) async fn draw(
    link: &Link,
    keys: &Keys,
    fleet: &Fleet,
    round: (&str, Duration, &[Draw]),
) -> Result<Drawn, StoreError> {
    let (replica, lease, draws) = round;
    let known = fleet.epoch.load(Ordering::Acquire);
    let heartbeat = heartbeat(keys, replica, lease, known);
    let batches = batches(draws);
    let calls: Vec<_> = batches
        .iter()
        .map(|batch| batch_call(keys, fleet, round, batch))
        .collect();
    let living = keys.replicas();
    let asked = move |connection| exchange(connection, heartbeat, calls, living);
    let ((now, replicas, epoch, settles), answers) = link.call(asked).await?;

    fleet.replicas.store(replicas, Ordering::Release);
    fleet.epoch.store(epoch, Ordering::Release);
    fleet.settles.store(settles, Ordering::Release);
    // Of a life that the replica did not know, it was asked too early. It says all it has again, and
    // so, that it does not have this.
    let is_void = settles && epoch != known;
    Ok(Drawn {
        grants: in_order(draws.len(), &batches, &answers, is_void),
        now,
        replicas,
        epoch,
    })
}

/// All at once: they go one after another over the one connection, the heartbeat first.
async fn exchange(
    connection: Connection,
    heartbeat: Call,
    draws: Vec<Call>,
    living: String,
) -> RedisResult<(Heard, Vec<Vec<u64>>)> {
    let draws = draws.into_iter().map(|call| call.run(connection.clone()));
    let (heard, granted) = futures::future::try_join(
        heartbeat.run::<Heard>(connection.clone()),
        try_join_all(draws),
    )
    .await?;
    let (answers, crowded): (Vec<_>, Vec<_>) = granted.into_iter().map(|of: Granted| of).unzip();
    let crowded = crowded.concat();
    if !crowded.is_empty() {
        tokio::spawn(timeout(FOLDING, fold(connection, living, crowded)));
    }
    Ok((heard, answers))
}

/// What failed of it is done when there is the next entry too many.
async fn fold(mut connection: Connection, living: String, crowded: Vec<String>) {
    let living = cmd("ZRANGE").arg(living).arg(0).arg(-1).to_owned();
    let living: RedisResult<Vec<String>> = living.query_async(&mut connection).await;
    let folded: RedisResult<u64> = match living {
        Ok(living) => FOLD.over(crowded).arg(living).run(connection).await,
        Err(error) => Err(error),
    };
    match folded {
        Ok(removed) => tracing::debug!(removed, "forgot replicas that have ended"),
        Err(error) => tracing::debug!(kind = ?error.kind(), "replicas that have ended are kept"),
    }
}

fn heartbeat(keys: &Keys, replica: &str, lease: Duration, known: u64) -> Call {
    let known = match known {
        0 => String::new(),
        epoch => epoch.to_string(),
    };
    // Never 0. As random as the keys of a hash map.
    let another = RandomState::new().hash_one(replica) >> 1 | 1;
    HEARTBEAT
        .on([keys.replicas(), keys.fleet_life()])
        .arg(replica)
        .arg(ms(lease))
        .arg(known)
        .arg(another)
}

/// The places of draws of one tenant, at most [`BATCH`] together.
fn batches(draws: &[Draw]) -> Vec<Vec<usize>> {
    let mut tenants: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
    for (at, draw) in draws.iter().enumerate() {
        tenants.entry(tenant(draw)).or_default().push(at);
    }
    let batches = tenants.values().flat_map(|all| all.chunks(BATCH));
    batches.map(<[usize]>::to_vec).collect()
}

fn batch_call(
    keys: &Keys,
    fleet: &Fleet,
    (replica, lease, draws): (&str, Duration, &[Draw]),
    batch: &[usize],
) -> Call {
    let draws = || batch.iter().map(|at| &draws[*at]);
    let names = draws().map(|draw| keys.draws(tenant(draw), draw.period.start, &draw.bucket));
    let call = DRAW
        .over(names.collect())
        .arg(replica)
        .arg(ms(lease))
        .arg(fleet.replicas.load(Ordering::Acquire));
    let settles = fleet.settles.load(Ordering::Acquire);
    draws().fold(call, |call, draw| call.arg(numbers(draw, settles)))
}

fn numbers(draw: &Draw, settles: bool) -> Vec<u64> {
    let (need, want) = match settles {
        true => (0, 0),
        false => (draw.need, draw.want),
    };
    let numbers = [
        draw.period.start,
        draw.period.end,
        u64::from(draw.returns),
        draw.most,
        draw.turn,
        draw.total,
        draw.used,
        draw.least,
        need,
        want,
    ];
    numbers.map(|number| number.min(MOST)).to_vec()
}

/// The part of the bucket's name that is the tenant's.
fn tenant(draw: &Draw) -> &str {
    draw.bucket.split('|').next().unwrap_or_default()
}

/// The grants as they were asked for.
fn in_order(
    count: usize,
    batches: &[Vec<usize>],
    answers: &[Vec<u64>],
    is_void: bool,
) -> Vec<Grant> {
    let mut grants = vec![Grant::default(); count];
    for (batch, answer) in batches.iter().zip(answers) {
        for (at, of) in batch.iter().zip(answer.chunks_exact(3)) {
            let units = match is_void {
                true => 0,
                false => of[0],
            };
            let (left, used) = (of[1], of[2]);
            grants[*at] = Grant { units, left, used };
        }
    }
    grants
}

/// Upwards: nothing ends before its time.
fn ms(lease: Duration) -> u64 {
    let ms = lease.as_nanos().div_ceil(1_000_000);
    u64::try_from(ms).unwrap_or(MOST).min(MOST)
}
