//! The one connection, and the thread that keeps it.
//!
//! Callers are futures of whatever runtime; the client needs tokio's. So a thread has a small
//! runtime for itself, in which every call runs and ends by its deadline. A connection that
//! breaks or falls silent is made anew there, off anybody's path; meanwhile calls are refused at
//! once.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use redis::RedisResult;
use tokio::runtime::{Builder, Handle};
use tokio::sync::{oneshot, watch};
use tokio::time::{Instant, sleep, timeout_at};
use turnpike_api::StoreError;

use super::address::{Target, Way};
use super::connection::Connection;
use super::greeting::{Greeted, Greeting};
use super::{Options, SetupError, failure};

/// So many calls in a row without an answer, and the connection is given up.
const STRIKES: u32 = 3;

/// How often one looks whether the connection still is one.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// How long one waits after a connection that could not be made: at first, and at most.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_millis(800);

/// How the rest of the store speaks to Redis.
pub(super) struct Link {
    line: Arc<Line>,
    runtime: Handle,
    end: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

/// What callers and the keeper share.
struct Line {
    way: Way,
    greeting: Greeting,
    host: String,
    deadline: Duration,
    connect_timeout: Duration,
    state: watch::Sender<State>,
}

#[derive(Clone)]
enum State {
    /// A connection is being made, for the first time or after one was lost.
    Trying,
    Up(Up),
    /// It could not be made, for this reason; it is tried again and again.
    Down(String),
}

#[derive(Clone)]
struct Up {
    connection: Connection,
    /// Calls in a row that got no answer. Also tells one connection from another.
    strikes: Arc<AtomicU32>,
}

/// A connection that was just made.
struct Made {
    up: Up,
    /// What to.
    target: Target,
    greeted: Greeted,
}

impl Link {
    pub(super) fn open(options: &Options, greeting: Greeting) -> Result<Self, SetupError> {
        let line = Arc::new(Line::new(options, greeting)?);
        let runtime = Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(SetupError::Thread)?;
        let handle = runtime.handle().clone();
        let (end, ended) = oneshot::channel();
        let keeping = line.clone();
        let thread = std::thread::Builder::new().name("redis".to_owned());
        let thread = thread.spawn(move || {
            runtime.block_on(async move {
                tokio::select! {
                    _ = ended => {}
                    () = keeping.keep() => {}
                }
            });
            // A name that is being looked up keeps nobody.
            runtime.shutdown_background();
        });
        Ok(Self {
            line,
            runtime: handle,
            end: Some(end),
            thread: Some(thread.map_err(SetupError::Thread)?),
        })
    }

    /// Does something with the connection. The answer comes by the deadline; without one it may
    /// or may not have happened.
    pub(super) async fn call<T, F, W>(&self, work: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnOnce(Connection) -> W + Send + 'static,
        W: Future<Output = RedisResult<T>> + Send,
    {
        let deadline = Instant::now() + self.line.deadline;
        let line = self.line.clone();
        let done = self
            .runtime
            .spawn(async move { line.call(deadline, work).await });
        done.await.unwrap_or_else(|_| Err(failure::ended()))
    }

    /// Until it is known whether there is a connection.
    pub(super) async fn settled(&self) {
        // An error is a thread that has ended, which every call is told.
        let _ = self.line.connected().await;
    }

    /// Until there is a connection, however long that takes.
    #[cfg(test)]
    pub(super) async fn up(&self) {
        self.until(true).await;
    }

    /// Until it is known that there is none.
    #[cfg(test)]
    pub(super) async fn down(&self) {
        self.until(false).await;
    }

    #[cfg(test)]
    async fn until(&self, up: bool) {
        let mut states = self.line.state.subscribe();
        let is_so = |state: &State| matches!(state, State::Up(_)) == up;
        assert!(states.wait_for(is_so).await.is_ok(), "the thread has ended");
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.end = None;
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the thread for the Redis ended with a panic");
        }
    }
}

impl Line {
    fn new(options: &Options, greeting: Greeting) -> Result<Self, SetupError> {
        let way = Way::new(options)?;
        Ok(Self {
            greeting,
            host: way.shown(),
            way,
            deadline: options.deadline,
            connect_timeout: options.connect_timeout,
            state: watch::Sender::new(State::Trying),
        })
    }

    async fn call<T, F, W>(&self, deadline: Instant, work: F) -> Result<T, StoreError>
    where
        F: FnOnce(Connection) -> W,
        W: Future<Output = RedisResult<T>>,
    {
        let late = || failure::late(&self.host, self.deadline);
        let up = timeout_at(deadline, self.connected());
        let up = up.await.map_err(|_| late())??;
        match timeout_at(deadline, work(up.connection.clone())).await {
            Ok(Ok(answer)) => {
                up.strikes.store(0, Ordering::Relaxed);
                Ok(answer)
            }
            Ok(Err(error)) => {
                if failure::is_final(&error) {
                    self.lose(&up);
                }
                Err(failure::told(&self.host, &error))
            }
            Err(_) => {
                if up.strikes.fetch_add(1, Ordering::Relaxed) + 1 >= STRIKES {
                    self.lose(&up);
                }
                Err(late())
            }
        }
    }

    /// The connection, once there is one; an error as soon as it is known that there is none.
    async fn connected(&self) -> Result<Up, StoreError> {
        let mut states = self.state.subscribe();
        let known = states.wait_for(|state| !matches!(state, State::Trying));
        match &*known.await.map_err(|_| failure::ended())? {
            State::Up(up) => Ok(up.clone()),
            State::Down(reason) => Err(StoreError::Unavailable(reason.clone())),
            State::Trying => Err(failure::ended()),
        }
    }

    /// Gives a connection up, unless that was done before.
    fn lose(&self, lost: &Up) {
        self.state.send_if_modified(|state| {
            let is_it = matches!(state, State::Up(up) if Arc::ptr_eq(&up.strikes, &lost.strikes));
            if is_it {
                *state = State::Trying;
            }
            is_it
        });
    }

    /// Makes connections for ever, one at a time.
    async fn keep(&self) {
        let mut pause = FIRST_PAUSE;
        let mut known = Greeted::default();
        loop {
            match self.connect().await {
                Ok(made) => {
                    self.tell(&made.greeted, &known);
                    known = made.greeted;
                    pause = FIRST_PAUSE;
                    self.state.send_replace(State::Up(made.up.clone()));
                    let began = Instant::now();
                    self.watch(made.up, &made.target).await;
                    tracing::warn!(host = self.host, "the connection to the Redis was lost");
                    // One that was lost at once will be again: not without a pause.
                    if began.elapsed() > LOOK_EVERY {
                        continue;
                    }
                }
                Err(error) => self.is_down(error),
            }
            sleep(pause).await;
            pause = LONGEST_PAUSE.min(pause * 2);
        }
    }

    /// Once for each life of a server, or when it says something new.
    fn tell(&self, greeted: &Greeted, known: &Greeted) {
        let host = &self.host;
        tracing::info!(host, "connected to the Redis");
        if greeted != known {
            for warning in &greeted.warnings {
                tracing::warn!("redis at {host} {warning}");
            }
        }
    }

    /// Connects, logs in and hears who it is, or is late.
    async fn connect(&self) -> Result<Made, StoreError> {
        let until = Instant::now() + self.connect_timeout;
        let target = self.way.target(self.asking()).await?;
        let connecting = async {
            let connection = target.connect().await?;
            let greeted = self.greeting.say(connection.clone()).await?;
            Ok((connection, greeted))
        };
        match timeout_at(until, connecting).await {
            Ok(Ok((connection, greeted))) => Ok(Made {
                up: Up {
                    connection,
                    strikes: Arc::default(),
                },
                target,
                greeted,
            }),
            Ok(Err(error)) => Err(failure::told(&self.host, &error)),
            Err(_) => Err(failure::late(&self.host, self.connect_timeout)),
        }
    }

    /// How long one waits for a sentinel: the rest is for the server that it names.
    fn asking(&self) -> Duration {
        self.connect_timeout / 2
    }

    fn is_down(&self, error: StoreError) {
        let (StoreError::Unavailable(reason) | StoreError::Unreadable(reason)) = error;
        self.state.send_if_modified(|state| {
            let is_new = !matches!(state, State::Down(before) if *before == reason);
            if is_new {
                tracing::warn!("{reason}");
                *state = State::Down(reason);
            }
            is_new
        });
    }

    /// Until the connection is lost. Nobody may be asking, and it is to be there when somebody does.
    async fn watch(&self, up: Up, target: &Target) {
        let mut states = self.state.subscribe();
        let looking = async {
            loop {
                sleep(LOOK_EVERY).await;
                // What came of it is in the state.
                let until = Instant::now() + self.deadline;
                let look = |connection| self.greeting.look(connection);
                let _ = self.call(until, look).await;
                if self.way.has_moved(target, self.asking()).await {
                    self.lose(&up);
                }
            }
        };
        let is_lost = |state: &State| !matches!(state, State::Up(now) if Arc::ptr_eq(&now.strikes, &up.strikes));
        tokio::select! {
            _ = states.wait_for(is_lost) => {}
            () = looking => {}
        }
    }
}
