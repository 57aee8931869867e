//! A gateway as a process of its own, which is ended in good order or killed.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};
use tokio::time::timeout;

/// Longer than any start or end takes.
const PATIENCE: Duration = Duration::from_secs(60);

/// The program, and its configuration, whose ports may be 0.
#[derive(Debug, Clone)]
pub struct Program {
    pub path: PathBuf,
    pub config: PathBuf,
}

/// One that serves. It is killed when dropped.
#[derive(Debug)]
pub struct Gateway {
    child: Child,
    pub proxy: SocketAddr,
    pub admin: SocketAddr,
}

impl Program {
    /// Of a configuration that is written into this directory.
    pub fn configured(path: &Path, directory: &Path, yaml: &str) -> anyhow::Result<Self> {
        let config = directory.join("turnpike.yaml");
        std::fs::write(&config, yaml).with_context(|| config.display().to_string())?;
        Ok(Self {
            path: path.to_owned(),
            config,
        })
    }

    /// Starts it, and waits until it serves.
    pub async fn start(&self) -> anyhow::Result<Gateway> {
        let spawned = self.command(&["--log-level", "info"]).spawn();
        let mut child = spawned.with_context(|| self.path.display().to_string())?;
        let said = child.stderr.take().context("its log")?;
        let mut lines = BufReader::new(said).lines();
        let mut log = String::new();
        while !log.contains("configuration in force") {
            let line = timeout(PATIENCE, lines.next_line()).await;
            let line = line.with_context(|| format!("it does not start:\n{log}"))??;
            let line = line.with_context(|| format!("it ended:\n{log}"))?;
            log = log + &line + "\n";
        }
        // What else it says is of no interest, and must not fill the pipe.
        tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
        Ok(Gateway {
            child,
            proxy: address(&log, "proxy")?,
            admin: address(&log, "admin")?,
        })
    }

    /// Of a subcommand, or of one that serves.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.path);
        command
            .args(arguments)
            .arg("--config")
            .arg(&self.config)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        command
    }
}

impl Gateway {
    /// As a machine that fails would end it.
    pub async fn kill(mut self) -> anyhow::Result<()> {
        Ok(self.child.kill().await?)
    }

    /// In good order.
    pub async fn stop(mut self) -> anyhow::Result<()> {
        let id = self.child.id().context("it has ended already")?.to_string();
        let told = Command::new("kill").args(["-TERM", &id]).status().await?;
        ensure!(told.success(), "it cannot be told to end");
        let ended = timeout(PATIENCE, self.child.wait()).await;
        let ended = ended.context("it does not end")??;
        ensure!(ended.success(), "it ended with {ended}");
        Ok(())
    }
}

/// Of the line that tells of the start.
fn address(log: &str, field: &str) -> anyhow::Result<SocketAddr> {
    let found = log.split_once(&format!(" {field}="));
    let word = found.and_then(|(_, rest)| rest.split_whitespace().next());
    let address = word.and_then(|word| word.parse().ok());
    address.with_context(|| format!("it does not say {field}:\n{log}"))
}
