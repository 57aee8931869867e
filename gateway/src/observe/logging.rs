//! Where log lines go, and in which form.

use std::fs::{File, OpenOptions};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use thiserror::Error;
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer, Registry, fmt, reload};
use turnpike_config::plan::{LogFormat, LogLevel, LoggingPlan};

#[derive(Debug, Error)]
pub enum LoggingError {
    #[error("cannot open the log file {path}; create its directory or change `logging.file`")]
    Open {
        path: PathBuf,
        source: std::io::Error,
    },
    #[error("logging is set up already")]
    Twice,
}

/// Changes the level while the process runs.
pub struct Handle {
    filter: reload::Handle<EnvFilter, Registry>,
    level: Mutex<LogLevel>,
    /// Whether the configuration says which level it is.
    follows: bool,
}

impl Handle {
    /// One whose level is not the configuration's to change: the command line named it.
    pub fn pinned(self) -> Self {
        Self {
            follows: false,
            ..self
        }
    }

    /// The configuration says so.
    pub fn follow(&self, level: LogLevel) {
        if self.follows {
            self.set_level(level);
        }
    }

    /// An operator says so.
    pub fn set_level(&self, level: LogLevel) {
        *self.level.lock().unwrap_or_else(PoisonError::into_inner) = level;
        // It fails only when logging is gone, and then there is nobody to tell.
        let _ = self.filter.reload(filter(level));
    }

    /// The one in force.
    pub fn level(&self) -> LogLevel {
        *self.level.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Sets logging up for the process: to the file, or to standard error.
pub fn start(plan: &LoggingPlan) -> Result<Handle, LoggingError> {
    let (filter, handle) = reload::Layer::new(filter(plan.level));
    let layer = match &plan.file {
        Some(path) => formatted(plan.format, Mutex::new(open(path)?)),
        None => formatted(plan.format, std::io::stderr),
    };
    tracing_subscriber::registry()
        .with(layer.with_filter(filter))
        .try_init()
        .map_err(|_| LoggingError::Twice)?;
    Ok(Handle {
        filter: handle,
        level: Mutex::new(plan.level),
        follows: true,
    })
}

fn open(path: &Path) -> Result<File, LoggingError> {
    OpenOptions::new()
        .create(true)
        .append(true)
        .open(path)
        .map_err(|source| LoggingError::Open {
            path: path.to_owned(),
            source,
        })
}

/// Lines of this form, to this writer.
pub fn formatted<S, W>(format: LogFormat, writer: W) -> Box<dyn Layer<S> + Send + Sync>
where
    S: tracing::Subscriber + for<'span> tracing_subscriber::registry::LookupSpan<'span>,
    W: for<'writer> fmt::MakeWriter<'writer> + Send + Sync + 'static,
{
    match format {
        LogFormat::Text => fmt::layer().with_ansi(false).with_writer(writer).boxed(),
        LogFormat::Json => fmt::layer()
            .json()
            .flatten_event(true)
            .with_writer(writer)
            .boxed(),
    }
}

/// Our own lines at the level asked for; libraries' no lower than warnings, because their lower
/// ones print request heads.
pub fn filter(level: LogLevel) -> EnvFilter {
    let level = match level {
        LogLevel::Error => LevelFilter::ERROR,
        LogLevel::Warn => LevelFilter::WARN,
        LogLevel::Info => LevelFilter::INFO,
        LogLevel::Debug => LevelFilter::DEBUG,
        LogLevel::Trace => LevelFilter::TRACE,
    };
    let libraries = level.min(LevelFilter::WARN);
    // Pingora logs each client that leaves mid-request as an error; the gateway tells it better.
    EnvFilter::new(format!(
        "{libraries},pingora_core=off,pingora_proxy=off,turnpike={level}"
    ))
}
