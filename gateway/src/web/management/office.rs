//! What the handlers share.

use std::sync::{Arc, Weak};

use http::Method;
use tokio::sync::Mutex;
use utoipa::openapi::OpenApi;

use super::attempts::Attempts;
use super::refusal::Refused;
use super::replay::Replays;
use crate::reload::Reloader;
use crate::runtime::Runtime;

/// The runtime holds the router, and so this must not hold the runtime.
pub(super) struct Office {
    runtime: Weak<Runtime>,
    reloader: Weak<Reloader>,
    pub(super) attempts: Attempts,
    pub(super) replays: Replays,
    /// One edit of the credentials' files at a time.
    pub(super) editing: Mutex<()>,
    /// The OpenAPI document as it is sent.
    pub(super) document: Arc<str>,
}

impl Office {
    pub(super) fn new(
        runtime: &Arc<Runtime>,
        reloader: &Arc<Reloader>,
        document: &OpenApi,
    ) -> Self {
        Self {
            runtime: Arc::downgrade(runtime),
            reloader: Arc::downgrade(reloader),
            attempts: Attempts::default(),
            replays: Replays::default(),
            editing: Mutex::default(),
            document: document.to_json().unwrap_or_default().into(),
        }
    }

    pub(super) fn runtime(&self) -> Result<Arc<Runtime>, Refused> {
        self.runtime.upgrade().ok_or(Refused::Stopped)
    }

    /// Nothing is changed that could not be told any more: at the end, the audit's last records are handed on
    /// while the admin listener still answers.
    pub(super) fn may_still(&self, method: &Method) -> Result<(), Refused> {
        match method.is_safe() || !self.runtime()?.drain.is_left() {
            true => Ok(()),
            false => Err(Refused::Stopped),
        }
    }

    pub(super) fn reloader(&self) -> Result<Arc<Reloader>, Refused> {
        self.reloader.upgrade().ok_or(Refused::Stopped)
    }
}
