use futures::future::BoxFuture;

/// What a seam answers with: at once, or after waiting.
///
/// The hot path (a cached token, a compiled role) answers [`Ready`](Self::Ready) without a future
/// or an allocation; a slow check (a hash, a remote authorization call) answers
/// [`Pending`](Self::Pending) and is awaited.
pub enum Answer<'a, T> {
    /// Known now.
    Ready(T),
    /// Known when the future resolves. Dropping it gives up the check.
    Pending(BoxFuture<'a, T>),
}

impl<T> Answer<'_, T> {
    /// The answer, awaited where it has to be.
    pub async fn get(self) -> T {
        match self {
            Self::Ready(value) => value,
            Self::Pending(future) => future.await,
        }
    }
}
