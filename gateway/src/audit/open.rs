//! From the plan to a log with its sinks.

use std::sync::Arc;

use thiserror::Error;
use turnpike_audit::sinks::file::{FileSink, Options};
use turnpike_audit::sinks::stdout::Stdout;
use turnpike_audit::spool::{Terms, boot_id};
use turnpike_audit::{Log, OpenError, Settings, SigningKey, Sink, WhenFull};
use turnpike_config::plan::{AuditPlan, AuditSinkPlan, SecretKey};

use super::Audit;
use crate::clock::Time;

/// Why there is no record.
#[derive(Debug, Error)]
pub enum AuditError {
    #[error(transparent)]
    Open(#[from] OpenError),
    #[error("the signing key cannot be made")]
    Key,
    #[error("the system gives no random numbers: {0}")]
    Random(getrandom::Error),
}

impl Audit {
    /// Keeps record from now on.
    pub fn open(&self, plan: &AuditPlan, key: &SecretKey, time: Time) -> Result<(), AuditError> {
        let mut chain = [0; 8];
        getrandom::fill(&mut chain).map_err(AuditError::Random)?;
        let settings = Settings {
            terms: Terms {
                directory: plan.spool.clone(),
                max: plan.max,
                when_full: match plan.refuse {
                    true => WhenFull::Refuse,
                    false => WhenFull::DropOldest,
                },
                boot: boot_id(),
            },
            chain: format!("{:016x}", u64::from_le_bytes(chain)),
            replica: gethostname::gethostname().to_string_lossy().into_owned(),
            key: signing_key(key).ok_or(AuditError::Key)?,
            clock: Arc::new(time),
        };
        let sinks = plan.sinks.iter().map(|sink| (sink_name(sink), build(sink)));
        let log = Log::open(settings, sinks.collect())?;
        // It is opened once.
        let _ = self.log.set(log);
        Ok(())
    }
}

/// What records are signed with: made of the key that links and cookies are sealed with.
pub fn signing_key(key: &SecretKey) -> Option<SigningKey> {
    SigningKey::of(&blake3::derive_key("turnpike audit 1", key.bytes()))
}

/// By what a sink is known, from start to start.
pub fn sink_name(sink: &AuditSinkPlan) -> String {
    match sink {
        // All of it: two files of one name in two folders are two sinks.
        AuditSinkPlan::File { path, .. } => format!("file {}", path.display()),
        AuditSinkPlan::Stdout => "stdout".to_owned(),
    }
}

fn build(sink: &AuditSinkPlan) -> Box<dyn Sink> {
    match sink {
        AuditSinkPlan::File { path, max, keep } => Box::new(FileSink::new(Options {
            path: path.clone(),
            max: *max,
            keep: *keep,
        })),
        AuditSinkPlan::Stdout => Box::new(Stdout),
    }
}
