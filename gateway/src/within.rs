//! A wait with a bound, which costs nothing where there is nothing to wait for.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::task::Poll;
use std::time::Duration;

use tokio::time::{Sleep, sleep};

/// Waits for `work`, for so long; `None` when it took longer. Pingora's own `timeout` looks after its
/// timers before it knows whether there will be one, for each of the waits of a request, and a timer of
/// its own takes twice what one of Tokio's does. Pinned where it was made: each hand that it went
/// through would copy it.
pub async fn within<T>(
    patience: Duration,
    mut work: Pin<&mut impl Future<Output = T>>,
) -> Option<T> {
    let mut over = pin!(None::<Sleep>);
    poll_fn(|context| {
        if let Poll::Ready(done) = work.as_mut().poll(context) {
            return Poll::Ready(Some(done));
        }
        if over.is_none() {
            over.set(Some(sleep(patience)));
        }
        let over = over.as_mut().as_pin_mut();
        over.map_or(Poll::Pending, |over| over.poll(context).map(|()| None))
    })
    .await
}

#[cfg(test)]
mod tests {
    use std::future::{pending, ready};

    use super::*;

    #[tokio::test]
    async fn what_is_done_is_had_and_nothing_else_is_waited_for() {
        assert_eq!(within(Duration::ZERO, pin!(ready(1))).await, Some(1));
        let mut never = pin!(pending::<()>());
        assert_eq!(
            within(Duration::from_millis(20), never.as_mut()).await,
            None
        );
    }
}
