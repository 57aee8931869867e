//! Notices: a stream, whose ids are the time of Redis in microseconds.

use turnpike_api::{News, Notice, StoreError};

use super::keys::Keys;
use super::link::Link;
use super::script::{POST, SINCE};

/// How many a reader gets at once.
const PAGE: u32 = 1000;

/// How many are kept, however old.
const KEPT: u32 = 10_000;

/// How long one is kept, however many there are, in microseconds.
const KEPT_FOR: u64 = 60_000_000;

/// What the script answers: where to read on, whether something is gone, the notices.
type Page = (u64, bool, Vec<(u64, String, Vec<u8>)>);

pub(super) async fn post(
    link: &Link,
    keys: &Keys,
    topic: &str,
    body: &[u8],
) -> Result<u64, StoreError> {
    let call = POST
        .on([keys.notices(), keys.floor()])
        .arg(topic)
        .arg(body)
        .arg(KEPT)
        .arg(KEPT_FOR);
    link.call(|connection| call.run(connection)).await
}

pub(super) async fn since(link: &Link, keys: &Keys, after: u64) -> Result<News, StoreError> {
    let call = SINCE
        .on([keys.notices(), keys.floor()])
        .arg(after)
        .arg(PAGE);
    let (next, gap, notices): Page = link.call(|connection| call.run(connection)).await?;
    let notices = notices.into_iter();
    Ok(News {
        notices: notices
            .map(|(id, topic, body)| Notice { id, topic, body })
            .collect(),
        next,
        gap,
    })
}

pub(super) async fn latest(link: &Link, keys: &Keys) -> Result<u64, StoreError> {
    // Who asks for what comes after everything is told where that is.
    Ok(since(link, keys, u64::MAX).await?.next)
}
