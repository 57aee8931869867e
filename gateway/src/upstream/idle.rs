//! Idle HTTP/1 connections to providers.
//!
//! Pingora watches each of its idle connections with a task of its own, which every request would start,
//! wake and wait for: a tenth of what the path costs. Here nobody watches: a connection is looked at
//! when it is taken, and every second by a [sweep](Idle::sweep).

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use futures::FutureExt;
use hashbrown::HashMap;
use pingora::protocols::Stream;
use tokio::io::AsyncReadExt;
use tokio::task::unconstrained;

use super::endpoint::IDLE;

/// As many are kept, over all providers.
const MOST: usize = 1024;

/// The idle connections, by the hash of where they lead.
#[derive(Default)]
pub(super) struct Idle(Mutex<Kept>);

#[derive(Default)]
struct Kept {
    /// The one that was used last is the last.
    by_hash: HashMap<u64, VecDeque<Resting>>,
    count: usize,
}

struct Resting {
    stream: Stream,
    since: Instant,
}

impl Idle {
    /// One that leads there and is still open: of several, the one that was used last.
    pub(super) fn take(&self, hash: u64) -> Option<Stream> {
        loop {
            let mut taken = self.lock().take(hash)?;
            if is_quiet(&mut taken.stream) {
                return Some(taken.stream);
            }
        }
    }

    /// Keeps one whose last answer was read to its end. Where there are too many, the one that leads
    /// there and has been idle for longest gives way to it.
    pub(super) fn put(&self, hash: u64, stream: Stream) {
        let since = Instant::now();
        // What gives way is closed when nobody waits for the lock any more.
        let _gives_way = self.lock().put(hash, Resting { stream, since });
    }

    /// Closes those that are of no use any more.
    pub(super) fn sweep(&self) {
        let _closed = self.lock().useless();
    }

    fn lock(&self) -> MutexGuard<'_, Kept> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Kept {
    fn take(&mut self, hash: u64) -> Option<Resting> {
        let taken = self.by_hash.get_mut(&hash)?.pop_back()?;
        self.count -= 1;
        Some(taken)
    }

    fn put(&mut self, hash: u64, resting: Resting) -> Option<Resting> {
        let there = self.by_hash.entry(hash).or_default();
        let mut gives_way = None;
        if self.count == MOST {
            gives_way = there.pop_front();
            if gives_way.is_none() {
                return Some(resting);
            }
            self.count -= 1;
        }
        there.push_back(resting);
        self.count += 1;
        gives_way
    }

    /// Takes out those that have been idle for too long, or that the other side has closed.
    fn useless(&mut self) -> Vec<Resting> {
        let mut useless = Vec::new();
        for there in self.by_hash.values_mut() {
            for mut resting in std::mem::take(there) {
                match resting.since.elapsed() < IDLE && is_quiet(&mut resting.stream) {
                    true => there.push_back(resting),
                    false => useless.push(resting),
                }
            }
        }
        self.count -= useless.len();
        self.by_hash.retain(|_, there| !there.is_empty());
        useless
    }
}

/// Whether a connection is open, and nothing came on it that nobody asked for. Costs no system call
/// as long as nothing came.
fn is_quiet(stream: &mut Stream) -> bool {
    let mut byte = [0];
    // However much its task has read by now: it would seem quiet otherwise.
    unconstrained(stream.read(&mut byte))
        .now_or_never()
        .is_none()
}

#[cfg(test)]
mod tests {
    use pingora::protocols::l4::stream::Stream as L4Stream;
    use tokio::io::AsyncWriteExt;
    use tokio::net::{TcpListener, TcpStream};

    use super::*;

    /// A connection, and its other end.
    async fn connection(listener: &TcpListener) -> (Stream, TcpStream) {
        let address = listener.local_addr().unwrap();
        let (ours, theirs) = futures::join!(TcpStream::connect(address), listener.accept());
        let ours = L4Stream::from(ours.unwrap());
        (Box::new(ours), theirs.unwrap().0)
    }

    async fn listener() -> TcpListener {
        TcpListener::bind("127.0.0.1:0").await.unwrap()
    }

    fn count(idle: &Idle) -> (usize, usize) {
        let kept = idle.lock();
        let counted = kept.by_hash.values().map(VecDeque::len).sum();
        (kept.count, counted)
    }

    /// Until our side has heard that the other end has closed.
    async fn heard(idle: &Idle, hash: u64) {
        let mut resting = idle.lock().take(hash).unwrap();
        let read = resting.stream.read(&mut [0]).await;
        assert!(matches!(read, Ok(0)), "{read:?}");
        idle.lock().put(hash, resting);
    }

    #[tokio::test]
    async fn the_one_that_was_used_last_is_taken_first() {
        let (idle, listener) = (Idle::default(), listener().await);
        let (first, _kept_first) = connection(&listener).await;
        let (second, _kept_second) = connection(&listener).await;
        let ids = [first.id(), second.id()];
        idle.put(1, first);
        idle.put(1, second);
        assert!(idle.take(2).is_none());
        let taken = [idle.take(1), idle.take(1)].map(|stream| stream.unwrap().id());
        assert_eq!(taken, [ids[1], ids[0]]);
        assert!(idle.take(1).is_none());
        assert_eq!(count(&idle), (0, 0));
    }

    #[tokio::test]
    async fn one_that_was_closed_or_speaks_unasked_is_not_taken() {
        let (idle, listener) = (Idle::default(), listener().await);
        let (closed, other) = connection(&listener).await;
        idle.put(1, closed);
        drop(other);
        heard(&idle, 1).await;
        assert!(idle.take(1).is_none());

        let (mut spoken_on, mut other) = connection(&listener).await;
        other.write_all(b"HTTP/1.1 408 ").await.unwrap();
        // The rest of it is here when a byte of it can be read.
        spoken_on.read_u8().await.unwrap();
        idle.put(1, spoken_on);
        assert!(idle.take(1).is_none());
        assert_eq!(count(&idle), (0, 0));
    }

    #[tokio::test]
    async fn a_sweep_leaves_what_is_of_use() {
        let (idle, listener) = (Idle::default(), listener().await);
        let (good, _other) = connection(&listener).await;
        let (closed, other) = connection(&listener).await;
        let (old, _its_other) = connection(&listener).await;
        let id = good.id();
        idle.put(1, good);
        idle.put(2, closed);
        drop(other);
        heard(&idle, 2).await;
        let since = Instant::now().checked_sub(IDLE).unwrap();
        idle.lock().put(1, Resting { stream: old, since });
        idle.sweep();
        assert_eq!(count(&idle), (1, 1));
        assert_eq!(idle.take(1).unwrap().id(), id);
    }

    #[tokio::test]
    async fn there_is_a_bound() {
        let (idle, listener) = (Idle::default(), listener().await);
        let (first, _other) = connection(&listener).await;
        idle.put(1, first);
        idle.lock().count = MOST;
        // Of its own kind the oldest gives way, of another kind none.
        let (second, _its_other) = connection(&listener).await;
        let (third, _another) = connection(&listener).await;
        let id = second.id();
        idle.put(1, second);
        idle.put(2, third);
        assert_eq!(count(&idle), (MOST, 1));
        assert_eq!(idle.take(1).unwrap().id(), id);
    }
}
