//! What becomes of an agent token on one replica becomes of it on all.

use futures::future::join_all;
use turnpike_api::{Clock, Secret};
use turnpike_identity::agent_tokens::revoke;
use turnpike_loadtest::Behaviour;

use super::{Fleet, UPSTREAM};
use crate::harness::until;
use crate::pools::seconds;

/// On this replica.
pub(super) async fn revoked(fleet: &Fleet, at: usize, id: &str) {
    let runtime = &fleet.houses[at].gateway.runtime;
    let now = runtime.board.time.now();
    revoke(&*runtime.store, id, now).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn it_is_made_on_one_and_revoked_on_another() {
    const REPLICAS: usize = 8;
    let fleet = Fleet::of(REPLICAS, "").await;
    let issued = fleet.token(0).await;
    let token: &Secret = &issued.token;
    let all_answer = async |status: u16| {
        let asked = (0..REPLICAS).map(|at| fleet.until_answered(at, token.expose(), status));
        join_all(asked).await
    };
    all_answer(200).await;
    revoked(&fleet, 1, &issued.record.id).await;
    for answer in all_answer(401).await {
        assert!(answer.text().contains("revoked"), "{}", answer.text());
    }
    // For good: no replica goes back to what it knew.
    for at in 0..REPLICAS {
        assert_eq!(fleet.ask(at, token.expose()).await.status, 401);
    }
}

/// Who waits for a credential has been let in already.
#[tokio::test(flavor = "multi_thread")]
async fn who_waits_is_shut_out_too() {
    let fleet = Fleet::of(2, "max_retry_interval: 30").await;
    let issued = fleet.token(0).await;
    let token = issued.token.expose();
    fleet.until_answered(1, token, 200).await;
    let limited = Behaviour::rate_limited(seconds(20));
    fleet.provider.script(UPSTREAM, [limited]);
    let runtime = &fleet.houses[1].gateway.runtime;
    let waiting = fleet.ask(1, token);
    let meanwhile = async {
        until(|| runtime.board.watchers() == 1).await;
        revoked(&fleet, 0, &issued.record.id).await;
        until(|| runtime.agent_tokens.refuses(&issued.record.id).is_some()).await;
        let asked = fleet.billed();
        fleet.time.advance(seconds(20));
        asked
    };
    let (answer, asked) = futures::join!(waiting, meanwhile);
    assert_eq!(answer.status, 401, "{}", answer.text());
    assert!(answer.text().contains("revoked"), "{}", answer.text());
    assert_eq!(fleet.billed(), asked, "nothing more is spent for it");
    assert_eq!(fleet.chat(1).await.status, 200, "the credential is back");
}
