//! The thread that works on the database, and how it is asked.
//!
//! Callers are futures of whatever runtime; SQLite blocks. So one thread has the connection, takes
//! requests from a bounded queue, and does all that are waiting in one transaction: a commit
//! waits for the disk once, however many asked.

use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake};
use std::thread::{JoinHandle, Thread};
use std::time::Instant;
use std::{io, thread};

use futures::channel::{mpsc, oneshot};
use futures::lock::Mutex;
use futures::{SinkExt, Stream};
use rusqlite::Connection;
use turnpike_api::StoreError;

use super::database::Intent;
use super::failure::Failure;
use super::sums::Sums;
use super::worker::Worker;

/// How many may wait in the queue. Further ones wait before it.
const QUEUE: usize = 256;

/// How many are done in one transaction at most.
const BATCH: usize = 256;

/// Where callers ask.
pub(super) struct Desk {
    /// Cloning a sender would make room for one more each time.
    queue: Option<Mutex<mpsc::Sender<Request>>>,
    thread: Option<JoinHandle<Result<(), StoreError>>>,
}

/// What a request is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct About {
    pub(super) intent: Intent,
    /// It reads or changes what was recorded, which is partly in journals.
    pub(super) counters: bool,
}

/// What a request has to work with.
pub(super) struct View<'a> {
    pub(super) db: &'a Connection,
    /// Milliseconds since 1970.
    pub(super) now: u64,
    /// What was recorded and is not in the tables.
    pub(super) unfolded: &'a Sums,
}

/// Something to do in a transaction, and to answer once that is committed.
pub(super) trait Asked: Send {
    fn about(&self) -> About;
    fn run(&mut self, view: &View<'_>) -> Result<(), Failure>;
    fn answer(self: Box<Self>, outcome: &Result<(), StoreError>);
}

pub(super) type Request = Box<dyn Asked>;

struct Asking<T, F> {
    about: About,
    work: Option<F>,
    value: Option<T>,
    reply: oneshot::Sender<Result<T, StoreError>>,
}

impl Desk {
    pub(super) fn open(worker: Worker) -> io::Result<Self> {
        let (sender, receiver) = mpsc::channel(QUEUE);
        let thread = thread::Builder::new().name("store".to_owned());
        let thread = thread.spawn(move || serve(worker, receiver))?;
        Ok(Self {
            queue: Some(Mutex::new(sender)),
            thread: Some(thread),
        })
    }

    pub(super) async fn ask<T, F>(&self, about: About, work: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnOnce(&View<'_>) -> Result<T, Failure> + Send + 'static,
    {
        let (reply, answer) = oneshot::channel();
        let asking = Asking {
            about,
            work: Some(work),
            value: None,
            reply,
        };
        if let Some(queue) = &self.queue {
            // A queue without a reader drops what it is given, which the answer then tells.
            let _ = queue.lock().await.send(Box::new(asking)).await;
        }
        answer.await.unwrap_or_else(|_| Err(ended()))
    }

    /// Does what is still waiting, folds, and gives the files back.
    pub(super) fn close(&mut self) -> Result<(), StoreError> {
        self.queue = None;
        match self.thread.take() {
            Some(thread) => thread.join().unwrap_or_else(|_| Err(ended())),
            None => Ok(()),
        }
    }
}

impl<T, F> Asked for Asking<T, F>
where
    T: Send,
    F: FnOnce(&View<'_>) -> Result<T, Failure> + Send,
{
    fn about(&self) -> About {
        self.about
    }

    fn run(&mut self, view: &View<'_>) -> Result<(), Failure> {
        if let Some(work) = self.work.take() {
            self.value = Some(work(view)?);
        }
        Ok(())
    }

    fn answer(self: Box<Self>, outcome: &Result<(), StoreError>) {
        let answer = match outcome {
            Ok(()) => self.value.ok_or_else(ended),
            Err(error) => Err(error.clone()),
        };
        // Whoever asked may have gone.
        let _ = self.reply.send(answer);
    }
}

fn ended() -> StoreError {
    StoreError::Unavailable("its thread has ended".to_owned())
}

fn serve(mut worker: Worker, queue: mpsc::Receiver<Request>) -> Result<(), StoreError> {
    let mut queue = pin!(queue);
    let waker = Arc::new(Unpark(thread::current())).into();
    let mut context = Context::from_waker(&waker);
    loop {
        if worker.is_due() {
            worker.tick();
        }
        let mut batch = Vec::new();
        let open = loop {
            match queue.as_mut().poll_next(&mut context) {
                Poll::Ready(Some(request)) => batch.push(request),
                Poll::Ready(None) => break false,
                Poll::Pending => break true,
            }
            if batch.len() == BATCH {
                break true;
            }
        };
        match batch.is_empty() {
            false => worker.serve(batch),
            true if open => wait(worker.due()),
            true => return worker.end(),
        }
    }
}

/// Until somebody asks, or `due`.
fn wait(due: Option<Instant>) {
    match due {
        Some(due) => thread::park_timeout(due.saturating_duration_since(Instant::now())),
        None => thread::park(),
    }
}

/// Wakes the thread when its queue has something.
struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}
