//! Which replicas there are, and by which configuration they serve.

use serde_json::Value;

use super::Fleet;
use crate::harness::{House, PATIENCE, until};
use crate::usage::{ADMIN, look};

async fn listed(house: &House) -> Value {
    let answer = look(house, "/replicas", &[]).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.json()
}

/// Waits until a replica knows of so many.
async fn known(house: &House, replicas: usize) -> Value {
    let knows = async {
        loop {
            let list = listed(house).await;
            if list["replicas"].as_array().unwrap().len() == replicas {
                return list;
            }
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, knows).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn each_is_listed_with_its_configuration_while_it_serves() {
    let admin = format!("remote-management: {{secret-key: {ADMIN}}}\n");
    let fleet = Fleet::of(3, &admin).await;
    let list = known(&fleet.houses[0], 3).await;
    assert_eq!(list["agree"], true, "{list}");
    let told = || fleet.houses[2].metric("turnpike_fleet_replicas");
    until(|| told() == 3.0).await;
    let alike = fleet.houses[2].metric("turnpike_fleet_configurations");
    assert_eq!(alike, 1.0);
    let replicas = list["replicas"].as_array().unwrap();
    let of_this = replicas.iter().filter(|one| one["this"] == true);
    let runtime = &fleet.houses[0].gateway.runtime;
    let names: Vec<&Value> = of_this.map(|one| &one["name"]).collect();
    assert_eq!(names, [runtime.name()]);

    // One has taken over another configuration.
    let house = &fleet.houses[0];
    let yaml = std::fs::read_to_string(&house.config).unwrap();
    std::fs::write(&house.config, format!("{yaml}spent_status: 402\n")).unwrap();
    house.gateway.reloader.reload().unwrap();
    let list = listed(house).await;
    assert_eq!(list["agree"], false, "{list}");
    let replicas = list["replicas"].as_array().unwrap();
    let generation = |this: bool| {
        let found = replicas.iter().find(|one| one["this"] == this);
        found.unwrap()["generation"].as_u64().unwrap()
    };
    assert_eq!((generation(true), generation(false)), (2, 1));
    let hash = |at: usize| fleet.houses[at].metric("turnpike_config_hash");
    assert_eq!(hash(1), hash(2));
    assert_ne!(hash(0), hash(1));

    // One that stops is listed no more.
    fleet.houses[2].gateway.stop().await;
    known(&fleet.houses[0], 2).await;
}
