//! What a person's session record remembers.

use serde_json::Value;
use turnpike_api::Directory;
use turnpike_identity::agent_tokens;
use turnpike_identity::sso::session::{KIND, sign_out};

use super::{HOUR, NOW, Place, make};

fn id(token: &str) -> &str {
    token[3..].split('.').next().unwrap()
}

/// The ids of the tokens that the only record names; `None` when there is no record.
async fn remembered(place: &Place) -> Option<Vec<String>> {
    let store: &dyn Directory = &*place.house.gateway.runtime.store;
    let (_, record) = store.list(KIND).await.unwrap().pop()?;
    let session: Value = serde_json::from_slice(&record.value).unwrap();
    let ids = session["tokens"].as_array().unwrap().iter();
    Some(ids.map(|id| id.as_str().unwrap().to_owned()).collect())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_login_and_a_logout_forget_the_tokens_that_are_revoked() {
    let place = Place::new().await;
    let mut browser = place.signed_in().await;
    let (_, first) = make(&mut browser, "first").await;
    let (_, second) = make(&mut browser, "second").await;
    let ids = [id(&first), id(&second)];
    let store = &*place.house.gateway.runtime.store;
    let costs = place
        .house
        .gateway
        .runtime
        .snapshot()
        .tenants
        .house
        .sso
        .clone();
    let costs = costs.unwrap().costs;
    // One that ends in an hour, and the one in its place.
    let successor = agent_tokens::rotate(store, ids[1], HOUR, costs, NOW);
    let successor = successor.await.unwrap().record.id;
    agent_tokens::revoke(store, ids[0], NOW).await.unwrap();
    assert_eq!(remembered(&place).await.unwrap(), ids);

    place.signed_in().await;
    let both = remembered(&place).await.unwrap();
    assert_eq!(both.len(), 2);
    assert!(both.contains(&ids[1].to_owned()) && both.contains(&successor));

    place.time.advance(HOUR * 2);
    place.signed_in().await;
    assert_eq!(remembered(&place).await.unwrap(), [&*successor]);
    assert_eq!(place.status(&second).await, 401);

    agent_tokens::revoke(store, &successor, NOW).await.unwrap();
    let directory: &dyn Directory = store;
    let (key, _) = directory.list(KIND).await.unwrap().pop().unwrap();
    sign_out(store, &key, NOW + 2 * 3_600_000).await.unwrap();
    assert_eq!(remembered(&place).await.unwrap(), [""; 0]);
    // Nothing keeps the record any more.
    place.time.advance(HOUR * 25);
    assert_eq!(remembered(&place).await, None);
}
