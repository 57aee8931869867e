use std::sync::Arc;

use tokio::sync::Semaphore;

/// Releases the events of [`Gated`](crate::Behaviour::Gated) answers.
#[derive(Debug, Clone)]
pub struct Gate(Arc<Semaphore>);

impl Gate {
    /// Lets `events` more events go, now or when a call comes to them.
    pub fn release(&self, events: usize) {
        self.0.add_permits(events);
    }

    /// Lets every event go, from now on.
    pub fn open(&self) {
        self.0.close();
    }

    pub(crate) async fn pass(self) {
        // An error means the gate is open for good.
        if let Ok(permit) = self.0.acquire().await {
            permit.forget();
        }
    }
}

impl Default for Gate {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(0)))
    }
}
