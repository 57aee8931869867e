//! A call from its head to its last byte.

use std::sync::Arc;
use std::time::Instant;

use bytes::{Bytes, BytesMut};
use http::Version;
use http::request::Parts;

use crate::provider::Shared;
use crate::record::{Outcome, Recorded};
use crate::totals::Totals;

const KEPT_BODY: usize = 64 * 1024;

/// Travels from the handler into the answer's body. hyper drops either when
/// its caller goes away, at once and also in the middle of a silence; so a
/// `Call` that is dropped before it was finished is a caller that left.
pub(crate) struct Call {
    pub(crate) id: u64,
    pub(crate) key: String,
    pub(crate) version: Version,
    shared: Arc<Shared>,
    entry: Option<Box<Recorded>>,
    body: Body,
    finished: bool,
}

/// The request's body; copied only when it comes in more than one piece.
enum Body {
    None,
    One(Bytes),
    Many(BytesMut),
}

impl Call {
    pub(crate) fn open(shared: Arc<Shared>, connection_id: u64, key: String, head: &Parts) -> Self {
        let id = shared.next_id();
        shared.running.begins();
        let entry = shared.options.record.then(|| {
            Box::new(Recorded {
                id,
                key: key.clone(),
                method: head.method.clone(),
                path_and_query: head
                    .uri
                    .path_and_query()
                    .map(ToString::to_string)
                    .unwrap_or_default(),
                version: head.version,
                headers: head.headers.clone(),
                body_len: 0,
                body_blake3: String::new(),
                body: Bytes::new(),
                connection_id,
                arrived: Instant::now(),
                outcome: Outcome::Open,
            })
        });
        let version = head.version;
        Self {
            id,
            key,
            version,
            shared,
            entry,
            body: Body::None,
            finished: false,
        }
    }

    pub(crate) fn push(&mut self, piece: Bytes) {
        self.body = match std::mem::replace(&mut self.body, Body::None) {
            Body::None => Body::One(piece),
            Body::One(first) => {
                let mut all = BytesMut::from(first);
                all.extend_from_slice(&piece);
                Body::Many(all)
            }
            Body::Many(mut all) => {
                all.extend_from_slice(&piece);
                Body::Many(all)
            }
        };
    }

    pub(crate) fn body_len(&self) -> usize {
        match &self.body {
            Body::None => 0,
            Body::One(piece) => piece.len(),
            Body::Many(all) => all.len(),
        }
    }

    /// The request is read: files the record and hands out the body.
    pub(crate) fn read(&mut self) -> Bytes {
        let body = match std::mem::replace(&mut self.body, Body::None) {
            Body::None => Bytes::new(),
            Body::One(piece) => piece,
            Body::Many(all) => all.freeze(),
        };
        let Some(mut entry) = self.entry.take() else {
            return body;
        };
        entry.body_len = body.len();
        entry.body_blake3 = blake3::hash(&body).to_hex().to_string();
        if body.len() <= KEPT_BODY || self.shared.options.keep_bodies {
            entry.body = body.clone();
        }
        self.shared.journal.add(*entry);
        body
    }

    /// These bytes of usage are on their way.
    pub(crate) fn tell(&self, told: Totals) {
        self.shared.books.add(&self.key, told);
    }

    pub(crate) fn finish(mut self, outcome: Outcome) {
        self.end(outcome);
    }

    fn end(&mut self, outcome: Outcome) {
        self.finished = true;
        self.shared.running.ends();
        if self.shared.options.record {
            self.read();
            self.shared.journal.close(self.id, outcome);
        }
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        if !self.finished {
            self.end(Outcome::CallerGone { at: Instant::now() });
        }
    }
}
