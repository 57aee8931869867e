//! Taking over a changed configuration, or keeping the one in force and saying why.

use std::collections::BTreeSet;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use futures::executor::block_on;
use notify::{RecommendedWatcher, RecursiveMode, Watcher};
use thiserror::Error;
use tokio::signal::unix::Signal;
use tokio::sync::Notify;
use tokio::time::{MissedTickBehavior, interval};
use tracing::{error, warn};
use turnpike_api::{Clock, StoreError};
use turnpike_config::plan::{AuditPlan, AuditReceiverPlan, AuthPlan};
use turnpike_config::{Environment, Plan};
use turnpike_credentials::{CredentialDirectory, Scan};

use crate::assemble::{Ground, assemble, credential_directory, open_to_others};
use crate::background::cooldowns;
use crate::configuration;
use crate::observe::events::{ConfigurationRead, CredentialFilesRead};
use crate::observe::logging;
use crate::runtime::Runtime;
use crate::snapshot::Snapshot;

mod renewed;
mod stays;

pub(crate) use renewed::carry_over;

/// Editors and kubelets write in several steps; the last one counts.
const DEBOUNCE: Duration = Duration::from_millis(100);

/// File events get lost (network file systems, inotify's limits); contents do not.
const POLL: Duration = Duration::from_secs(5);

/// Reads the configuration again, and takes it over when it is good.
pub struct Reloader {
    pub path: PathBuf,
    pub environment: Environment,
    pub ground: Ground,
    pub runtime: Arc<Runtime>,
    pub logging: Option<logging::Handle>,
    state: Mutex<State>,
    /// Beside the rest, which is locked for as long as files are read.
    last_read: ArcSwap<LastRead>,
}

/// What came of reading the configuration.
pub struct LastRead {
    /// Milliseconds since 1970.
    pub at: u64,
    /// Why it is not in force; `None` = it is.
    pub problem: Option<String>,
}

/// What was read last.
struct State {
    plan: Plan,
    /// Of the sources as they were read, whether or not they were taken over.
    digest: blake3::Hash,
    /// Why it was not taken over.
    problems: Option<String>,
    /// The credential files, as they were last good.
    directory: CredentialDirectory,
    /// Why it could not be listed.
    directory_problem: Option<String>,
    /// It holds something else than what is in force.
    directory_is_ahead: bool,
    /// Why what it holds could not be taken over.
    credentials_problem: Option<NotTaken>,
}

/// Why what was read could not be taken over.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum NotTaken {
    #[error("{0}")]
    Problem(String),
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// A configuration that was read and may be taken over.
struct Read {
    plan: Plan,
    snapshot: Snapshot,
    /// The credential files, where they are others than those in force.
    moved: Option<(CredentialDirectory, Scan)>,
}

impl State {
    fn scan(&mut self) -> Scan {
        let scan = self.directory.scan();
        self.directory_is_ahead |= scan.changed || scan.problem != self.directory_problem;
        self.directory_problem.clone_from(&scan.problem);
        scan
    }
}

impl Reloader {
    pub fn new(
        path: PathBuf,
        environment: Environment,
        ground: Ground,
        runtime: Arc<Runtime>,
        logging: Option<logging::Handle>,
        plan: Plan,
        directory: CredentialDirectory,
    ) -> Self {
        let digest = digest(&path, &plan);
        let last_read = LastRead {
            at: runtime.board.time.now(),
            problem: None,
        };
        Self {
            last_read: ArcSwap::from_pointee(last_read),
            path,
            environment,
            ground,
            runtime,
            logging,
            state: Mutex::new(State {
                plan,
                digest,
                problems: None,
                directory,
                directory_problem: None,
                directory_is_ahead: false,
                credentials_problem: None,
            }),
        }
    }

    /// What came of reading the configuration the last time.
    pub fn last_read(&self) -> Arc<LastRead> {
        self.last_read.load_full()
    }

    /// Takes over what stands in the files now. The error is for people, and has been logged.
    pub fn reload(&self) -> Result<u64, String> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.digest = digest(&self.path, &state.plan);
        let in_force = self.runtime.snapshot();
        let next = in_force.generation + 1;
        let (generation, result) = match self.read_steadily(&mut state, next, in_force.open) {
            Ok((read, digest)) => {
                let Read {
                    plan,
                    snapshot,
                    moved,
                } = read;
                for keys in stays::changed(&state.plan, &plan) {
                    warn!("a change of {keys} counts from the next start on");
                }
                plan.warnings.iter().for_each(|warning| warn!("{warning}"));
                if let Some(logging) = &self.logging {
                    logging.follow(plan.logging.level);
                }
                self.take_over(snapshot);
                if let Some(audit) = &plan.audit {
                    self.runtime.audit.show(audit);
                }
                if let Some((directory, scan)) = moved {
                    state.directory = directory;
                    state.directory_problem = scan.problem;
                }
                state.directory_is_ahead = false;
                state.credentials_problem = None;
                state.digest = digest;
                state.plan = plan;
                (next, Ok(next))
            }
            Err(problems) => (in_force.generation, Err(problems)),
        };
        state.problems = result.as_ref().err().cloned();
        self.last_read.store(Arc::new(LastRead {
            at: self.runtime.board.time.now(),
            problem: state.problems.clone(),
        }));
        let problems = state.problems.as_deref();
        ConfigurationRead {
            generation,
            problems,
            effective: &state.plan.effective,
            metrics: &self.runtime.metrics,
            audit: &self.runtime.audit,
        }
        .tell();
        if result.is_ok() {
            // What becomes of a file depends on the configuration, too.
            self.tell_of_files(&state);
        }
        result
    }

    /// Reads with a digest that was taken before: a change while the files are read differs from it,
    /// and is read next. The digest at hand is of the files that there were; where it turns out that
    /// there are others now, they are read once more.
    fn read_steadily(
        &self,
        state: &mut State,
        generation: u64,
        may_open: bool,
    ) -> Result<(Read, blake3::Hash), String> {
        let read = self.read(state, generation, may_open)?;
        if read.plan.sources == state.plan.sources {
            return Ok((read, state.digest));
        }
        let digest = digest(&self.path, &read.plan);
        let read = self.read(state, generation, may_open)?;
        Ok((read, digest))
    }

    fn read(&self, state: &mut State, generation: u64, may_open: bool) -> Result<Read, String> {
        // An empty file is a configuration at start; here it is one that is being written.
        if std::fs::read_to_string(&self.path).is_ok_and(|text| text.trim().is_empty()) {
            return Err(format!("{} is empty", self.path.display()));
        }
        let plan = configuration::load(&self.path, &self.environment)
            .map_err(|problems| problems.to_string())?;
        let moved = reads_otherwise(&plan.auth, &state.plan.auth);
        // The directory in force stays the one that is watched until the plan is taken over.
        let moved = moved.then(|| {
            let mut directory = credential_directory(&plan);
            let scan = directory.scan();
            (directory, scan)
        });
        if moved.is_none() {
            state.scan();
        }
        let directory = moved.as_ref().map_or(&state.directory, |(moved, _)| moved);
        let snapshot = self
            .assemble(&plan, directory, generation, may_open)
            .map_err(|problem| problem.to_string())?;
        Ok(Read {
            plan,
            snapshot,
            moved,
        })
    }

    /// A snapshot that may be used at once: what is known of its credentials is known.
    fn assemble(
        &self,
        plan: &Plan,
        directory: &CredentialDirectory,
        generation: u64,
        may_open: bool,
    ) -> Result<Snapshot, NotTaken> {
        let files = directory.entries();
        let snapshot = assemble(plan, files, &self.ground, generation, may_open)
            .map_err(|all| NotTaken::Problem(all.join("\n")))?;
        let (board, store) = (&self.runtime.board, &*self.runtime.store);
        // This is a thread of its own: it may wait.
        block_on(cooldowns::open_accounts(snapshot.usable(), board, store))?;
        Ok(snapshot)
    }

    fn take_over(&self, snapshot: Snapshot) {
        let (board, metrics) = (&self.runtime.board, &self.runtime.metrics);
        let audit = &self.runtime.audit;
        carry_over(&snapshot, board, metrics, audit);
        renewed::tell_who_came(&self.runtime.snapshot(), &snapshot, audit);
        self.ground.last_good.set(snapshot.good_files.clone());
        self.runtime.swap(snapshot);
        board.changed();
        self.runtime.board.sweep();
        self.ground.tokens.sweep();
        self.ground.issuers_keys.sweep();
    }

    /// Takes over what has changed in the files since they were read last. True when some file is
    /// just being written and should be looked at again soon.
    pub fn reload_if_changed(&self) -> bool {
        if self.configuration_changed() {
            // The failure was told where it happened.
            let _ = self.reload();
        }
        self.reread_credentials()
    }

    /// Takes over the credential files as they are now, or says why those in force stay. One that is just
    /// being written is looked at again.
    pub fn take_over_credentials(&self) -> Result<(), NotTaken> {
        let is_settled = (0..3).any(|_| !self.reload_if_changed());
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let of_directory = state.directory_problem.clone().map(NotTaken::Problem);
        match of_directory.or_else(|| state.credentials_problem.clone()) {
            Some(problem) => Err(problem),
            None if is_settled => Ok(()),
            None => {
                let unsettled = "a file is being written just now; try again in a moment";
                Err(NotTaken::Problem(unsettled.into()))
            }
        }
    }

    /// Whether a source's content is another one than was read last.
    ///
    /// What the sources are of a configuration that was not taken over is not known: it may wait
    /// for a secret that is mounted later. It is tried again, and told only if it says something
    /// new, for the log may lie in a directory that is watched.
    fn configuration_changed(&self) -> bool {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let in_force = self.runtime.snapshot();
        if digest(&self.path, &state.plan) != state.digest {
            return true;
        }
        let Some(before) = state.problems.clone() else {
            return false;
        };
        let read = self.read(&mut state, in_force.generation + 1, in_force.open);
        read.err() != Some(before)
    }

    /// The credential files alone: the configuration in force goes on with what they hold now.
    fn reread_credentials(&self) -> bool {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let scan = state.scan();
        if !state.directory_is_ahead {
            return scan.unsettled;
        }
        let in_force = self.runtime.snapshot();
        let (generation, open) = (in_force.generation, in_force.open);
        match self.assemble(&state.plan, &state.directory, generation, open) {
            Ok(snapshot) => {
                self.take_over(snapshot);
                state.directory_is_ahead = false;
                state.credentials_problem = None;
                self.tell_of_files(&state);
            }
            // It is tried again with the next look, and told once.
            Err(problems) => {
                if state.credentials_problem.as_ref() != Some(&problems) {
                    error!(
                        %problems,
                        "credential files not taken over; those read before stay"
                    );
                }
                state.credentials_problem = Some(problems);
            }
        }
        scan.unsettled
    }

    fn tell_of_files(&self, state: &State) {
        CredentialFilesRead {
            roll: &self.runtime.snapshot().roll,
            open_to_others: open_to_others(&state.directory),
            problem: state.directory_problem.as_deref(),
            metrics: &self.runtime.metrics,
        }
        .tell();
    }

    /// What is written beside the configuration again and again, by how the names of files begin.
    fn written(&self) -> Vec<PathBuf> {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let sinks = state.plan.audit.iter().flat_map(AuditPlan::all_sinks);
        let records = sinks.filter_map(|sink| match &sink.to {
            AuditReceiverPlan::File { path, .. } => Some(path.clone()),
            _ => None,
        });
        records.chain([state.plan.state.path.clone()]).collect()
    }

    fn directories(&self) -> BTreeSet<PathBuf> {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let sources = state.plan.sources.iter().chain([&self.path]);
        let of_sources = sources.map(|source| match source.parent() {
            Some(directory) if directory != Path::new("") => directory.to_owned(),
            _ => PathBuf::from("."),
        });
        // One that does not exist yet is found by looking.
        let credentials = Some(state.plan.auth.dir.clone()).filter(|directory| directory.is_dir());
        of_sources.chain(credentials).collect()
    }
}

/// Of every source's content. A source that cannot be read counts as empty: it may be in the
/// middle of being replaced.
fn digest(path: &Path, plan: &Plan) -> blake3::Hash {
    let mut hasher = blake3::Hasher::new();
    let sources: BTreeSet<&Path> = plan
        .sources
        .iter()
        .map(PathBuf::as_path)
        .chain([path])
        .collect();
    for source in sources {
        let content = std::fs::read(source).unwrap_or_default();
        hasher.update(&(content.len() as u64).to_le_bytes());
        hasher.update(&content);
    }
    hasher.finalize()
}

/// Waits for changed files and for `hangup`, and reloads. The signal is caught by who starts this,
/// before the start is told: one that is sent then must not be lost.
pub async fn watch(reloader: Arc<Reloader>, mut hangup: Signal) {
    let woken = Arc::new(Notify::new());
    let mut watched = Watched::new(&woken, reloader.written());
    let mut poll = interval(POLL);
    poll.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        watched.follow(reloader.directories());
        let asked = tokio::select! {
            () = woken.notified() => { tokio::time::sleep(DEBOUNCE).await; false }
            _ = poll.tick() => false,
            _ = hangup.recv() => true,
        };
        let reloader = reloader.clone();
        // Reading files, and with a large configuration compiling it, is no work for a thread
        // that serves requests.
        let reloading = tokio::task::spawn_blocking(move || {
            if asked {
                drop(reloader.reload());
            }
            reloader.reload_if_changed()
        });
        match reloading.await {
            Ok(false) => {}
            // A file is being written: its last word may come without an event.
            Ok(true) => woken.notify_one(),
            Err(error) => {
                warn!(%error, "reading the configuration failed inside the gateway; the one in force stays");
            }
        }
    }
}

/// The directories that wake the loop up. Directories, not files: a file that is replaced, or
/// reached through a `..data` symlink that is swapped, has no events of its own.
struct Watched {
    watcher: Option<RecommendedWatcher>,
    directories: BTreeSet<WatchedDirectory>,
}

/// By its path, and which one it is: a directory that was replaced is not the one that is watched.
type WatchedDirectory = (PathBuf, Option<(u64, u64)>);

impl Watched {
    /// `written` lies beside the configuration, and is written every second.
    fn new(woken: &Arc<Notify>, written: Vec<PathBuf>) -> Self {
        let woken = woken.clone();
        let watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
            // Reading a file is an event too, and would wake us up to read it again.
            let concerns_us = |event: notify::Event| {
                let mut paths = event.paths.iter();
                let is_ours = |path: &PathBuf| written.iter().any(|ours| is_one_of(path, ours));
                let is_elsewhere = event.paths.is_empty() || paths.any(|path| !is_ours(path));
                is_elsewhere && !event.kind.is_access()
            };
            if event.is_ok_and(concerns_us) {
                woken.notify_one();
            }
        });
        if let Err(error) = &watcher {
            warn!(%error, "files cannot be watched; changes are found by looking every 5 s");
        }
        Self {
            watcher: watcher.ok(),
            directories: BTreeSet::new(),
        }
    }

    fn follow(&mut self, directories: BTreeSet<PathBuf>) {
        let Some(watcher) = &mut self.watcher else {
            return;
        };
        let identified = |path: PathBuf| {
            let identity = std::fs::metadata(&path).map(|found| (found.dev(), found.ino()));
            (path, identity.ok())
        };
        let directories: BTreeSet<WatchedDirectory> =
            directories.into_iter().map(identified).collect();
        for (gone, _) in self.directories.difference(&directories) {
            let _ = watcher.unwatch(gone);
        }
        for (new, _) in directories.difference(&self.directories) {
            if let Err(error) = watcher.watch(new, RecursiveMode::NonRecursive) {
                warn!(%error, directory = %new.display(), "cannot watch; changes are found by looking every 5 s");
            }
        }
        self.directories = directories;
    }
}

/// Whether the credential files are other ones, or are read in another way.
fn reads_otherwise(new: &AuthPlan, old: &AuthPlan) -> bool {
    let reads = |plan: &AuthPlan| (plan.dir.clone(), plan.require_private_files);
    reads(new) != reads(old) || new.encryption.keys != old.encryption.keys
}

/// Whether a file is the database or an audit file, or one beside it whose name begins with its.
fn is_one_of(path: &Path, ours: &Path) -> bool {
    let (Some(file), Some(database)) = (path.file_name(), ours.file_name()) else {
        return false;
    };
    file.as_encoded_bytes()
        .starts_with(database.as_encoded_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_stores_files_are_told_by_their_names() {
        let store = Path::new("state/turnpike.db");
        for file in ["turnpike.db", "turnpike.db-wal", "turnpike.db.usage"] {
            assert!(is_one_of(&Path::new("/etc").join(file), store), "{file}");
        }
        for file in ["turnpike.yaml", "my-turnpike.db", "turnpike.d"] {
            assert!(!is_one_of(Path::new(file), store), "{file}");
        }
    }
}
