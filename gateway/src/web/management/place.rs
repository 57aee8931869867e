//! The directory of credential files, for those who change it: one at a time, and what is written is in
//! force or is not there.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep};
use turnpike_credentials::WriteLock;

use super::access::Actor;
use super::office::Office;
use super::refusal::Refused;
use crate::reload::{NotTaken, Reloader};
use crate::runtime::Runtime;
use crate::snapshot::Snapshot;
use crate::upstream::roll::Enrolled;

/// So long another process is waited for that writes in the same directory.
const PATIENCE: Duration = Duration::from_secs(10);

/// How often it is looked whether it is done.
const LOOK: Duration = Duration::from_millis(20);

/// What somebody is told who is not told why.
const IN_THE_LOG: &str = "the gateway's log says why";

/// Where the files are, and who takes them over.
pub(super) struct Place {
    pub(super) runtime: Arc<Runtime>,
    reloader: Arc<Reloader>,
    pub(super) directory: PathBuf,
}

/// One look or edit at a time, to its end, on a thread that may wait for the disk.
pub(super) async fn looking<T: Send + 'static>(
    office: Arc<Office>,
    look: impl FnOnce(&Place) -> Result<T, Refused> + Send + 'static,
) -> Result<T, Refused> {
    let looking = tokio::spawn(async move {
        let _turn = office.editing.lock().await;
        let place = Place::of(&office)?;
        on_a_thread(move || look(&place)).await
    });
    looking.await.unwrap_or_else(|_| Err(failed()))
}

/// The same, and no other process writes meanwhile that does by the same lock.
pub(super) async fn editing<T: Send + 'static>(
    office: Arc<Office>,
    edit: impl FnOnce(&Place) -> Result<T, Refused> + Send + 'static,
) -> Result<T, Refused> {
    let editing = tokio::spawn(async move {
        let _turn = office.editing.lock().await;
        let place = Arc::new(Place::of(&office)?);
        let lock = place.clone().locked().await?;
        let edited = on_a_thread(move || edit(&place)).await;
        drop(lock);
        edited
    });
    editing.await.unwrap_or_else(|_| Err(failed()))
}

async fn on_a_thread<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Refused> + Send + 'static,
) -> Result<T, Refused> {
    let done = tokio::task::spawn_blocking(work).await;
    done.unwrap_or_else(|_| Err(failed()))
}

impl Place {
    fn of(office: &Office) -> Result<Self, Refused> {
        let runtime = office.runtime()?;
        Ok(Self {
            directory: runtime.snapshot().management.auth_dir.clone(),
            reloader: office.reloader()?,
            runtime,
        })
    }

    async fn locked(self: Arc<Self>) -> Result<WriteLock, Refused> {
        let until = Instant::now() + PATIENCE;
        loop {
            let place = self.clone();
            let tried = on_a_thread(move || match WriteLock::try_take(&place.directory) {
                Ok(lock) => Ok(lock),
                Err(error) => Err(place.failed(&error)),
            });
            match tried.await? {
                Some(lock) => return Ok(lock),
                None if Instant::now() >= until => return Err(Refused::Busy),
                None => sleep(LOOK).await,
            }
        }
    }

    /// Takes over the files as they are now, which the watcher would do a moment later, or says why those
    /// in force stay.
    pub(super) fn take_over(&self, actor: &Actor) -> Result<(), Refused> {
        let taken = self.reloader.take_over_credentials();
        taken.map_err(|problem| match (problem, &actor.tenant) {
            (NotTaken::Store(error), _) => Refused::Store(error),
            (NotTaken::Problem(problem), None) => Refused::NotInForce(problem),
            // What else is wrong with the gateway is no tenant's.
            (NotTaken::Problem(_), Some(_)) => Refused::NotInForce(IN_THE_LOG.into()),
        })
    }

    /// Takes the files over after a change that is never put back: a credential that has leaked goes,
    /// whatever else is wrong. Says why it is not in force yet, where it is not.
    pub(super) fn take_over_kept(
        &self,
        actor: &Actor,
        is_in_force: impl FnOnce(&Snapshot) -> bool,
    ) -> Result<(), Refused> {
        let taken = self.take_over(actor);
        match is_in_force(&self.runtime.snapshot()) {
            true => Ok(()),
            false => Err(match taken {
                Err(refused) => refused.of_what_is_kept(),
                Ok(()) => Refused::NotInForce(IN_THE_LOG.into()).of_what_is_kept(),
            }),
        }
    }

    /// Takes the file over that was just written, and tells of its credential.
    pub(super) fn in_force<T>(
        &self,
        name: &str,
        actor: &Actor,
        tell: impl FnOnce(&Enrolled) -> T,
    ) -> Result<T, Refused> {
        self.take_over(actor)?;
        let snapshot = self.runtime.snapshot();
        let mut roll = snapshot.roll.iter();
        let found = roll.find(|one| one.file.as_deref() == Some(name));
        let gone = || Refused::NotInForce(IN_THE_LOG.into());
        let one = found.ok_or_else(gone)?;
        match &one.problem {
            None => Ok(tell(one)),
            // What the file is called is nothing that somebody who adds one needs to know.
            Some(problem) => {
                let problem = problem.trim_start_matches(name).trim_start_matches(": ");
                Err(Refused::Body(problem.to_owned()))
            }
        }
    }

    pub(super) fn failed(&self, error: &std::io::Error) -> Refused {
        let directory = self.directory.display();
        Refused::Files(format!("{directory}: {error} (`auth.dir`)"))
    }
}

fn failed() -> Refused {
    Refused::Failed("the gateway failed at this; its log says why".into())
}
