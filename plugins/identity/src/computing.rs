//! Computations by a bounded number of threads of their own.
//!
//! Whoever presents made-up credentials must not be able to have more of them computed at once than
//! that number, nor on the threads that serve requests.

use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::thread;

use futures::channel::oneshot;
use thiserror::Error;

/// As many may wait for a computation. Those beyond are told to come back.
const QUEUE: usize = 512;

type Work = Box<dyn FnOnce() + Send>;

/// The threads begin with the first computation, and end with this.
pub(crate) struct Pool {
    name: &'static str,
    at_once: usize,
    queue: OnceLock<SyncSender<Work>>,
}

/// Why nothing was computed.
#[derive(Debug, Error, PartialEq, Eq)]
pub(crate) enum PoolError {
    #[error("too many wait for a computation")]
    Busy,
    #[error("the thread that computed it is gone")]
    Gone,
}

impl Pool {
    /// At most `at_once` at a time, and at least one.
    pub(crate) fn new(name: &'static str, at_once: usize) -> Self {
        Self {
            name,
            at_once: at_once.max(1),
            queue: OnceLock::new(),
        }
    }

    /// What `work` comes to, when its turn has come.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, PoolError> {
        let (tell, told) = oneshot::channel();
        let work = move || {
            // Nobody may be waiting for it any more.
            let _ = tell.send(work());
        };
        let queue = self.queue.get_or_init(|| self.start());
        match queue.try_send(Box::new(work)) {
            Ok(()) => told.await.map_err(|_| PoolError::Gone),
            Err(TrySendError::Full(_)) => Err(PoolError::Busy),
            Err(TrySendError::Disconnected(_)) => Err(PoolError::Gone),
        }
    }

    fn start(&self) -> SyncSender<Work> {
        let (sender, receiver) = sync_channel::<Work>(QUEUE);
        let receiver = Arc::new(Mutex::new(receiver));
        for nth in 0..self.at_once {
            let receiver = receiver.clone();
            let thread = thread::Builder::new().name(format!("{}-{nth}", self.name));
            if let Err(error) = thread.spawn(move || work_off(&receiver)) {
                // With none at all, the channel is closed and each check is told so.
                tracing::error!(%error, "a thread that checks credentials cannot be started");
            }
        }
        sender
    }
}

/// Until nobody can give it any work.
fn work_off(receiver: &Mutex<Receiver<Work>>) {
    step_back();
    loop {
        let next = {
            let receiver = receiver.lock().unwrap_or_else(PoisonError::into_inner);
            receiver.recv()
        };
        match next {
            Ok(work) => work(),
            Err(_) => return,
        }
    }
}

/// Lets the threads that serve requests go first: where all cores are busy they have nine tenths of
/// each. It is a wish; where it is not granted, all are alike.
fn step_back() {
    // Elsewhere it would be the whole process that steps back.
    #[cfg(target_os = "linux")]
    let _ = rustix::process::nice(10);
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use futures::executor::block_on;
    use futures::future::join_all;

    use super::*;

    #[test]
    fn no_more_are_computed_at_once_and_no_more_wait_than_was_said() {
        let pool = Pool::new("test", 2);
        let (running, most) = (Arc::<AtomicUsize>::default(), Arc::<AtomicUsize>::default());
        let work = || {
            let (running, most) = (running.clone(), most.clone());
            pool.run(move || {
                most.fetch_max(running.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                thread::yield_now();
                running.fetch_sub(1, Ordering::SeqCst);
            })
        };
        for _ in 0..20 {
            let done = block_on(join_all((0..500).map(|_| work())));
            assert!(done.iter().all(Result::is_ok));
        }
        assert!(most.load(Ordering::SeqCst) <= 2);
    }

    #[test]
    fn those_beyond_the_queue_are_told_to_come_back() {
        let pool = Pool::new("test", 1);
        // The one thread waits here until all have asked.
        let gate = Arc::new(Mutex::new(()));
        let shut = gate.lock().unwrap();
        let wait = || {
            let gate = gate.clone();
            Box::pin(pool.run(move || drop(gate.lock())))
        };
        let mut asked: Vec<_> = (0..QUEUE + 100).map(|_| wait()).collect();
        let told = asked.iter_mut().map(|asked| {
            let now = futures::FutureExt::now_or_never(asked);
            matches!(now, Some(Err(PoolError::Busy)))
        });
        // The thread may have taken one out of the queue already.
        let told = told.filter(|told| *told).count();
        assert!((99..=100).contains(&told), "{told}");
        drop(shut);
    }
}
