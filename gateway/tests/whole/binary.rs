//! The real binary, for what is of the whole process: its signals and what it writes.

use std::fs::File;
use std::net::{SocketAddr, TcpListener as StdListener};
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::sync::{Arc, Mutex};

use command_fds::{CommandFdExt, FdMapping};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, BufReader};
use tokio::net::TcpStream;
use tokio::process::{Child, Command};
use tokio::task::JoinHandle;

use crate::calls::get_with;
use crate::canary;
use crate::harness::{Client, Http, PATIENCE, until};
use crate::pools::copy_files;

/// The release that is tested.
pub(crate) const THIS: &str = env!("CARGO_BIN_EXE_turnpike");

/// How one is started.
#[derive(Clone, Copy)]
pub(crate) struct Launch<'a> {
    pub(crate) release: &'a Path,
    pub(crate) yaml: &'a str,
    pub(crate) flags: &'a [&'a str],
    /// Copied to beside its configuration.
    pub(crate) files: Option<&'a Path>,
    /// Handed over as systemd does.
    pub(crate) sockets: &'a [&'a StdListener],
    /// Where systemd would be told how it stands.
    pub(crate) supervisor: Option<&'a Path>,
    /// A network namespace that is not this process' own.
    pub(crate) network: Option<&'a Path>,
    /// Where its standard output goes; nowhere, unless this is said.
    pub(crate) stdout: Option<&'a File>,
}

impl<'a> Launch<'a> {
    pub(crate) fn of(yaml: &'a str) -> Self {
        Self {
            release: THIS.as_ref(),
            yaml,
            flags: &[],
            files: None,
            sockets: &[],
            supervisor: None,
            network: None,
            stdout: None,
        }
    }

    /// Without its flags.
    pub(crate) fn command(&self) -> Command {
        let mut command = match self.network {
            Some(network) => {
                let mut command = Command::new("/usr/bin/nsenter");
                command.arg(format!("--net={}", network.display()));
                command.arg(self.release);
                command
            }
            None => Command::new(self.release),
        };
        command.env_clear();
        if !self.sockets.is_empty() {
            command.env("LISTEN_FDS", self.sockets.len().to_string());
        }
        if let Some(supervisor) = self.supervisor {
            command.env("NOTIFY_SOCKET", supervisor);
        }
        let sockets = self.sockets.iter().zip(3..);
        let mappings = sockets.map(|(socket, child_fd)| FdMapping {
            parent_fd: socket.try_clone().unwrap().into(),
            child_fd,
        });
        command.fd_mappings(mappings.collect()).unwrap();
        command
    }
}

/// A running gateway. It is killed when dropped.
pub(crate) struct Binary {
    pub(crate) proxy: SocketAddr,
    pub(crate) admin: SocketAddr,
    pub(crate) config: PathBuf,
    child: Child,
    log: Arc<Mutex<String>>,
    reading: JoinHandle<()>,
    _dir: TempDir,
}

impl Binary {
    /// Starts it with this configuration and waits until it serves.
    pub(crate) async fn start(yaml: &str, flags: &[&str]) -> Self {
        Self::launch(Launch {
            flags,
            ..Launch::of(yaml)
        })
        .await
    }

    /// Another release.
    pub(crate) async fn start_other(release: &Path, yaml: &str) -> Self {
        Self::launch(Launch {
            release,
            ..Launch::of(yaml)
        })
        .await
    }

    /// The same with the files of one before, which are copied.
    pub(crate) async fn start_after(yaml: &str, files: &Path) -> Self {
        Self::launch(Launch {
            files: Some(files),
            ..Launch::of(yaml)
        })
        .await
    }

    pub(crate) async fn launch(launch: Launch<'_>) -> Self {
        let Launch { yaml, flags, .. } = launch;
        let dir = tempfile::tempdir().unwrap();
        if let Some(files) = launch.files {
            copy_files(files, dir.path());
        }
        let config = dir.path().join("turnpike.yaml");
        std::fs::write(&config, yaml).unwrap();
        canary::know_all(yaml, dir.path());
        // All that is ever logged is searched for secrets.
        let level: &[&str] = match flags.contains(&"--log-level") {
            true => &[],
            false => &["--log-level", "trace"],
        };
        let mut child = launch
            .command()
            .arg("--config")
            .arg(&config)
            .args(flags)
            .args(level)
            .stdin(Stdio::null())
            .stdout(match launch.stdout {
                Some(file) => file.try_clone().unwrap().into(),
                None => Stdio::null(),
            })
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let log = Arc::new(Mutex::new(String::new()));
        let reading = tokio::spawn(collect(child.stderr.take().unwrap(), log.clone()));
        until(|| log.lock().unwrap().contains("configuration in force")).await;
        let started = log.lock().unwrap().clone();
        Self {
            proxy: address(&started, "proxy"),
            admin: address(&started, "admin"),
            config,
            child,
            log,
            reading,
            _dir: dir,
        }
    }

    pub(crate) async fn client(&self, http: Http) -> Client {
        Client::on(TcpStream::connect(self.proxy).await.unwrap(), http).await
    }

    /// What it has written so far.
    pub(crate) fn log(&self) -> String {
        self.log.lock().unwrap().clone()
    }

    /// Sends a signal, such as `-HUP`.
    pub(crate) async fn signal(&self, signal: &str) {
        let id = self.child.id().unwrap().to_string();
        let sent = Command::new("kill").args([signal, &id]).status().await;
        assert!(sent.unwrap().success());
    }

    pub(crate) async fn metrics(&self) -> String {
        let admin = TcpStream::connect(self.admin).await.unwrap();
        let mut client = Client::on(admin, Http::One).await;
        get_with(&mut client, "/metrics", &[])
            .await
            .text()
            .to_owned()
    }

    /// What its store holds, whatever the files are.
    pub(crate) fn kept(&self) -> String {
        let files = std::fs::read_dir(self.config.parent().unwrap()).unwrap();
        let paths = files.map(|file| file.unwrap().path());
        let is_secret = |path: &PathBuf| path.extension().is_some_and(|end| end == "key");
        let paths = paths.filter(|path| !is_secret(path));
        let kept = ["turnpike.db", "audit.jsonl"];
        let is_kept = |path: &PathBuf| {
            kept.iter()
                .any(|name| path.to_str().unwrap().contains(name))
        };
        let of_the_store = paths.filter(is_kept);
        // The store may fold a journal, and remove it, while it is read.
        let contents = of_the_store.filter_map(|path| std::fs::read(path).ok());
        contents
            .map(|content| String::from_utf8_lossy(&content).into_owned())
            .collect()
    }

    /// The bytes of memory it holds.
    pub(crate) fn memory(&self) -> u64 {
        let statm = PathBuf::from(format!("/proc/{}/statm", self.child.id().unwrap()));
        let pages = std::fs::read_to_string(statm).unwrap();
        let resident = pages.split(' ').nth(1).unwrap();
        resident.parse::<u64>().unwrap() * 4096
    }

    /// Ends it as a machine that fails would.
    pub(crate) async fn kill(&mut self) {
        self.child.kill().await.unwrap();
    }

    /// Waits until it has ended by itself.
    pub(crate) async fn ended(&mut self) -> ExitStatus {
        let exit = tokio::time::timeout(PATIENCE, self.child.wait()).await;
        let exit = exit.expect("it ends").unwrap();
        (&mut self.reading).await.unwrap();
        exit
    }

    /// Stops it in good order and returns all that it wrote.
    pub(crate) async fn stop(mut self) -> String {
        self.stop_in_place().await
    }

    /// The same; its files stay.
    pub(crate) async fn stop_in_place(&mut self) -> String {
        // There is nobody who would have to be told to send no more.
        self.signal("-INT").await;
        assert!(self.ended().await.success());
        self.log()
    }
}

impl Drop for Binary {
    fn drop(&mut self) {
        canary::left("a log", self.log().as_bytes());
        canary::left("the store", self.kept().as_bytes());
    }
}

/// Puts a file in place of another at once.
pub(crate) fn replace(path: &Path, content: &str) {
    let beside = path.with_extension("new");
    std::fs::write(&beside, content).unwrap();
    std::fs::rename(beside, path).unwrap();
}

async fn collect(stderr: tokio::process::ChildStderr, log: Arc<Mutex<String>>) {
    let mut reader = BufReader::new(stderr);
    let mut piece = [0; 8192];
    while let Ok(len @ 1..) = reader.read(&mut piece).await {
        log.lock()
            .unwrap()
            .push_str(&String::from_utf8_lossy(&piece[..len]));
    }
}

/// Of a field of the line that tells of the start, in text or JSON.
fn address(log: &str, field: &str) -> SocketAddr {
    let at = [format!(" {field}="), format!("\"{field}\":\"")]
        .iter()
        .find_map(|before| Some(log.find(before.as_str())? + before.len()))
        .unwrap_or_else(|| panic!("no {field} in {log}"));
    let end = log[at..].find([' ', '"', '\n']).unwrap();
    log[at..at + end].parse().unwrap()
}
