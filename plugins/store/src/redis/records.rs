//! Records and claims.

use std::collections::BTreeMap;
use std::time::Duration;

use turnpike_api::{Expected, Record, StoreError};

use super::keys::Keys;
use super::link::Link;
use super::script::{CLAIM, LIST, PUT, RELEASE, REMOVE};

/// About how many records a page of a listing has: few enough to be read within a deadline.
const PAGE: u32 = 500;

/// The longest time to live in ms, some 300 years: Redis refuses what it cannot add to the time.
const LONGEST: u64 = 10_000_000_000_000;

pub(super) struct Writing<'a> {
    pub(super) kind: &'static str,
    pub(super) key: &'a str,
    pub(super) value: &'a [u8],
    pub(super) ttl: Option<Duration>,
    pub(super) expected: Expected,
}

pub(super) async fn get(
    link: &Link,
    keys: &Keys,
    kind: &str,
    key: &str,
) -> Result<Option<Record>, StoreError> {
    let mut command = redis::cmd("HMGET");
    command
        .arg(keys.record(kind, key))
        .arg(&["version", "value"]);
    let found: (Option<u64>, Option<Vec<u8>>) = link
        .call(async move |mut connection| command.query_async(&mut connection).await)
        .await?;
    Ok(match found {
        (Some(version), Some(value)) => Some(Record { value, version }),
        _ => None,
    })
}

/// Page by page, each with a deadline of its own. What is put or removed meanwhile may be in it
/// or not.
pub(super) async fn list(
    link: &Link,
    keys: &Keys,
    kind: &str,
) -> Result<Vec<(String, Record)>, StoreError> {
    type Page = (String, Vec<(String, u64, Vec<u8>)>);
    let mut records = BTreeMap::new();
    let mut place = "0".to_owned();
    loop {
        let call = LIST.on([keys.index(kind), keys.record(kind, "")]);
        let call = call.arg(&place).arg(PAGE);
        let (next, page): Page = link.call(|connection| call.run(connection)).await?;
        let page = page.into_iter();
        records.extend(page.map(|(key, version, value)| (key, Record { value, version })));
        if next == "0" {
            return Ok(records.into_iter().collect());
        }
        place = next;
    }
}

pub(super) async fn put(
    link: &Link,
    keys: &Keys,
    writing: Writing<'_>,
) -> Result<Option<u64>, StoreError> {
    let Writing { kind, key, .. } = writing;
    let expected = match writing.expected {
        Expected::Anything => "*".to_owned(),
        Expected::Absent => "-".to_owned(),
        Expected::Version(version) => version.to_string(),
    };
    let ttl = writing.ttl.map_or(String::new(), |ttl| ms(ttl).to_string());
    let call = PUT
        .on([keys.record(kind, key), keys.index(kind), keys.version(kind)])
        .arg(key)
        .arg(writing.value)
        .arg(ttl)
        .arg(expected);
    link.call(|connection| call.run(connection)).await
}

pub(super) async fn remove(
    link: &Link,
    keys: &Keys,
    kind: &str,
    key: &str,
) -> Result<bool, StoreError> {
    let call = REMOVE
        .on([keys.record(kind, key), keys.index(kind)])
        .arg(key);
    link.call(|connection| call.run(connection)).await
}

pub(super) async fn claim(
    link: &Link,
    keys: &Keys,
    name: &str,
    holder: &str,
    ttl: Duration,
) -> Result<bool, StoreError> {
    let call = CLAIM.on([keys.claim(name)]).arg(holder).arg(ms(ttl));
    link.call(|connection| call.run(connection)).await
}

pub(super) async fn release(
    link: &Link,
    keys: &Keys,
    name: &str,
    holder: &str,
) -> Result<(), StoreError> {
    let call = RELEASE.on([keys.claim(name)]).arg(holder);
    let _: u8 = link.call(|connection| call.run(connection)).await?;
    Ok(())
}

/// Upwards: nothing ends before its time.
fn ms(ttl: Duration) -> u64 {
    let ms = ttl.as_nanos().div_ceil(1_000_000);
    u64::try_from(ms).unwrap_or(LONGEST).min(LONGEST)
}
