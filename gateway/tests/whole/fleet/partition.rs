//! Some replicas are cut off from the Redis that the others reach.

use std::path::{Path, PathBuf};
use std::time::Duration;

use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::watch;

use super::limits::limit;
use super::{Fleet, Server, yaml_at};
use crate::harness::{House, PATIENCE, until};

/// By the clock of both, between two calls.
const A_WHILE: Duration = Duration::from_millis(10);

/// What lies between one replica and the Redis.
struct Wire {
    directory: TempDir,
    is_whole: watch::Sender<bool>,
}

impl Wire {
    fn to(server: PathBuf) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let listener = UnixListener::bind(directory.path().join("wire.sock")).unwrap();
        let (is_whole, cut) = watch::channel(true);
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(carry(client, server.clone(), cut.clone()));
            }
        });
        Self {
            directory,
            is_whole,
        }
    }

    fn url(&self) -> String {
        format!(
            "unix://{}",
            self.directory.path().join("wire.sock").display()
        )
    }

    /// Nothing that is sent arrives, as in a network that loses everything.
    fn cut(&self) {
        self.is_whole.send_replace(false);
    }

    fn mend(&self) {
        self.is_whole.send_replace(true);
    }
}

async fn carry(client: UnixStream, server: impl AsRef<Path>, cut: watch::Receiver<bool>) {
    let server = UnixStream::connect(server).await.unwrap();
    let ((from_client, to_client), (from_server, to_server)) =
        (client.into_split(), server.into_split());
    tokio::spawn(pump(from_client, to_server, cut.clone()));
    pump(from_server, to_client, cut).await;
}

async fn pump(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, mut cut: watch::Receiver<bool>) {
    let mut buffer = [0; 16 * 1024];
    while let Ok(length @ 1..) = from.read(&mut buffer).await {
        let is_over = cut.wait_for(|is_whole| *is_whole).await.is_err();
        if is_over || to.write_all(&buffer[..length]).await.is_err() {
            return;
        }
    }
}

/// A fleet of two, of which the second one's wire may be cut. Both know of each other.
async fn with_a_wire(away: &str, most: u64) -> (Fleet, Wire) {
    let rest = limit("requests", "window: total, ", most, away);
    let mut fleet = Fleet::hasty(1, Server::running(), &rest).await;
    let wire = Wire::to(fleet.redis.socket());
    let yaml = yaml_at(&wire.url(), &fleet.provider, "deadline: 50ms", &rest);
    let directory = tempfile::tempdir().unwrap();
    let house = House::serve_by(fleet.time.clone(), directory, &yaml).await;
    fleet.houses.push(house);
    for at in [0, 1] {
        while fleet.chat(at).await.status != 200 {
            tokio::task::yield_now().await;
        }
    }
    let knows = |house: &House| house.gateway.runtime.limits.replicas() == 2;
    until(|| fleet.houses.iter().all(knows)).await;
    (fleet, wire)
}

impl Fleet {
    /// Calls until it is refused; answers with how many were not, and the status of the refusal. What it
    /// does not hold it may be granted a moment later, and what a call that is over has not used comes
    /// free a moment after its answer.
    async fn until_refused(&self, at: usize) -> (usize, u16) {
        let (mut admitted, mut refused) = (0, 0);
        loop {
            let answer = self.chat(at).await;
            match answer.status {
                200 => (admitted, refused) = (admitted + 1, 0),
                status if refused == 5 => return (admitted, status),
                403 | 503 => refused += 1,
                429 => tokio::task::yield_now().await,
                _ => panic!("{}", answer.text()),
            }
        }
    }

    /// Calls until a replica shows all that the provider may bill: who does not draw does not hear
    /// of it, and who found nothing draws no more for a while.
    async fn until_all_is_known(&self, at: usize) {
        let asked = async {
            while self.used(at) != self.billed() as u64 {
                self.chat(at).await;
                self.time.advance(A_WHILE);
            }
        };
        let known = tokio::time::timeout(PATIENCE, asked).await;
        let (used, billed) = (self.used(at), self.billed());
        known.unwrap_or_else(|_| panic!("replica {at} knows {used} of {billed}"));
    }

    /// What a replica shows of the one limit.
    fn used(&self, at: usize) -> u64 {
        let mut used = 0;
        let limits = &self.houses[at].gateway.runtime.limits;
        limits.each(|rule, _, account| {
            if rule.contains("|shared|") {
                used = account.used();
            }
        });
        used
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_cut_off_spends_what_it_holds_or_its_share() {
    for (away, most_admitted) in [("deny", 200), ("local_share", 200 + 200 / 2)] {
        let (fleet, wire) = with_a_wire(away, 200).await;
        wire.cut();
        let (cut_off, status) = fleet.until_refused(1).await;
        let (reached, spent) = fleet.until_refused(0).await;
        assert_eq!(spent, 403, "it was asked, and is spent");
        assert_eq!(status, if away == "deny" { 503 } else { 403 });
        assert!(reached >= 90, "the other one goes on: {reached}");
        let admitted = fleet.billed();
        assert!(
            admitted <= most_admitted,
            "{away}: {cut_off} and {reached} in all {admitted}"
        );

        // Afterwards both know what all used, without anybody's help.
        wire.mend();
        fleet.until_degraded(1, |why| why.is_none()).await;
        for at in [1, 0, 1] {
            fleet.until_all_is_known(at).await;
        }
        assert!(fleet.billed() <= most_admitted);
    }
}
