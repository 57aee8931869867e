//! Many tenants cost what their credentials cost: nothing is made for each tenant and each
//! credential.

use std::path::Path;
use std::sync::Arc;

use turnpike::assemble::{Ground, assemble, provider_kinds};
use turnpike::clock::Time;
use turnpike::snapshot::Snapshot;
use turnpike_config::{Environment, Kinds};

use super::NOON;

/// So many tenants, each second one with the pool of the one before, and so many credentials a pool,
/// over ten providers with so many models each.
fn snapshot(tenants: usize, credentials: usize, models: usize) -> Snapshot {
    let mut text = String::from("tenants:\n");
    for n in 0..tenants {
        let pool = n / 2;
        text += &format!(
            "  t{n}: {{hosts: [t{n}.example], email_domains: [t{n}.example], pools: [p{pool}]}}\n"
        );
    }
    text += "providers:\n";
    for provider in 0..10 {
        let names: Vec<String> = (0..models).map(|n| format!("m-{provider}-{n}")).collect();
        text += &format!(
            "  v{provider}:\n    kind: openai-compatible\n    base_url: http://127.0.0.1:9/v1\n    models: [{}]\n    credentials:\n",
            names.join(", ")
        );
        for pool in (0..tenants.div_ceil(2)).filter(|pool| pool % 10 == provider) {
            for n in 0..credentials {
                text += &format!(
                    "    - {{api_key: sk-{pool:04}-{n:04}, label: c{pool}-{n}, pool: p{pool}}}\n"
                );
            }
        }
    }
    let kinds = provider_kinds();
    let nothing: [(&str, &str); 0] = [];
    let environment = Environment::from_pairs(nothing);
    let kinds = Kinds { providers: &kinds };
    let plan = turnpike_config::load_str(&text, Path::new("."), &environment, &kinds);
    let plan = plan.unwrap_or_else(|problems| panic!("{problems}"));
    let ground = Ground::new(Time::simulated(NOON), 1).unwrap();
    assemble(&plan, [].iter(), &ground, 1, true).unwrap()
}

#[test]
fn tenants_that_name_the_same_pools_share_what_is_made_of_them() {
    let snapshot = snapshot(60, 3, 20);
    let tenant = |n: usize| snapshot.tenants.find(Some(&format!("t{n}"))).unwrap();
    for n in (0..60).step_by(2) {
        assert!(Arc::ptr_eq(&tenant(n).shelf, &tenant(n + 1).shelf), "{n}");
        assert!(
            !Arc::ptr_eq(&tenant(n).shelf, &tenant((n + 2) % 60).shelf),
            "{n}"
        );
        // Those that nobody has of its own are everybody's.
        assert!(Arc::ptr_eq(
            &tenant(n).authorizers,
            &snapshot.tenants.house.authorizers
        ));
    }
    assert_eq!(snapshot.roll.len(), 30 * 3);
    // Each serves what its own credentials do, and nobody else's.
    for n in [0, 7, 59] {
        let listed = tenant(n).catalogue().listed().count();
        assert_eq!(listed, 20, "{n}");
    }
    assert_eq!(snapshot.tenants.house.catalogue().listed().count(), 0);
}
