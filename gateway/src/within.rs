//! A wait with a bound, which costs nothing where there is nothing to wait for.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::task::Poll;
use std::time::Duration;

use pingora::time::sleep;

/// A timer of Pingora's: it is set without a lock that all share, and fires up to 10 ms late.
type Timer = Pin<Box<dyn Future<Output = ()> + Send + Sync>>;

/// Waits for `work`, for so long; `None` when it took longer. Pingora's own `timeout` looks after its
/// timers before it knows whether there will be one, for each of the waits of a request.
pub async fn within<T>(patience: Duration, work: impl Future<Output = T>) -> Option<T> {
    let mut work = pin!(work);
    let mut over: Option<Timer> = None;
    poll_fn(|context| {
        if let Poll::Ready(done) = work.as_mut().poll(context) {
            return Poll::Ready(Some(done));
        }
        let over = over.get_or_insert_with(|| Box::pin(sleep(patience)));
        over.as_mut().poll(context).map(|()| None)
    })
    .await
}

#[cfg(test)]
mod tests {
    use std::future::{pending, ready};

    use super::*;

    #[tokio::test]
    async fn what_is_done_is_had_and_nothing_else_is_waited_for() {
        assert_eq!(within(Duration::ZERO, ready(1)).await, Some(1));
        let never = within(Duration::from_millis(20), pending::<()>());
        assert_eq!(never.await, None);
    }
}
