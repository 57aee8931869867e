//! A replica that is frozen for longer than its lease.

use futures::future::join_all;
use turnpike_loadtest::{Behaviour, FakeProvider, Options};

use super::limits::limit;
use super::server::Server;
use super::{openai, yaml};
use crate::binary::Binary;
use crate::calls::post_with;
use crate::harness::{Answer, Http, KEY, PATIENCE};
use crate::pools::OPENAI;

const PLACES: usize = 4;
/// Of each replica's own, so that the provider tells whose calls are there.
const FROZEN: &str = "sk-openai-frozen";
const HEIR: &str = "sk-openai-heir";

/// A process of its own: it is one that is stopped.
async fn replica(redis: &Server, provider: &FakeProvider, key: &str) -> Binary {
    let credential = openai(&format!("{{api_key: {key}}}"));
    let limits = limit("concurrency", "", PLACES as u64, "deny");
    let patient = "deadline: 10s, connect_timeout: 20s";
    let yaml = yaml(redis, provider, patient, &format!("{limits}{credential}"));
    let yaml = yaml.replace("PROVIDER", &provider.base_url());
    Binary::start(&yaml, &[]).await
}

async fn ask(replica: &Binary) -> Answer {
    let mut client = replica.client(Http::One).await;
    let bearer = format!("Bearer {KEY}");
    let headers = [("authorization", &*bearer)];
    post_with(&mut client, OPENAI.path, &headers, OPENAI.body).await
}

async fn until_admitted(replica: &Binary) -> Answer {
    loop {
        let answer = ask(replica).await;
        if answer.status == 200 {
            return answer;
        }
        assert_eq!(answer.status, 429, "{}", answer.text());
    }
}

/// It has a lease of ten seconds, which the test waits for: as long as others are refused its places.
#[tokio::test(flavor = "multi_thread")]
async fn it_admits_nothing_that_it_does_not_hold() {
    let redis = Server::running();
    let provider = FakeProvider::start(Options::default()).await;
    for key in [FROZEN, HEIR] {
        provider.always(key, Behaviour::Gated);
    }
    let frozen = replica(&redis, &provider, FROZEN).await;
    let heir = replica(&redis, &provider, HEIR).await;
    let refused = async |times: usize| {
        for _ in 0..times {
            let answer = tokio::time::timeout(PATIENCE, ask(&frozen)).await;
            let answer = answer.expect("a place that is another's is not admitted to");
            assert_eq!(answer.status, 429, "{}", answer.text());
        }
        assert_eq!(provider.calls_with(FROZEN).len(), 2);
    };

    let its_own = join_all([ask(&frozen), ask(&frozen)]);
    let meanwhile = async {
        provider.wait_for_calls(2).await;
        frozen.signal("-STOP").await;
        let of_heir = join_all((0..PLACES).map(|_| until_admitted(&heir)));
        let beside = async {
            // All four are the heir's once the lease of the frozen one is over.
            provider.wait_for_calls(2 + PLACES).await;
            frozen.signal("-CONT").await;
            refused(20).await;
            // Nor does it have the places of its own calls when these end.
            provider.gate(FROZEN).open();
            refused(20).await;
            provider.gate(HEIR).open();
        };
        let (answers, ()) = futures::join!(of_heir, beside);
        assert!(answers.iter().all(|answer| answer.status == 200));
        let admitted = tokio::time::timeout(PATIENCE, until_admitted(&frozen)).await;
        admitted.expect("there is room for it again");
    };
    let (its_own, ()) = futures::join!(its_own, meanwhile);
    assert!(
        its_own.iter().all(|answer| answer.status == 200),
        "they go on"
    );
    assert_eq!(provider.calls_with(HEIR).len(), PLACES);
}
