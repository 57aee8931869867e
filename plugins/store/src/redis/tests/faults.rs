//! What happens to the store while something happens to the server.

use futures::FutureExt;

use super::*;

/// What was said, when nothing was done.
fn refused<T: std::fmt::Debug>(answer: Result<T, StoreError>) -> String {
    match answer {
        Err(StoreError::Unavailable(reason)) => reason,
        other => panic!("{other:?}"),
    }
}

/// Whether it works again, once it has a connection. Calls of before may still be late.
fn recovers(store: &Redis) {
    block_on(async {
        loop {
            store.link.up().await;
            if store.get("kind", "k").await.is_ok() {
                break;
            }
        }
    });
}

#[test]
fn absent_at_the_start() {
    let mut server = Server::absent();
    let store = server.store();
    let reason = refused(put(&store, "k", None));
    assert!(reason.contains("cannot be reached"), "{reason}");
    assert!(reason.contains("redis.sock"), "{reason}");
    assert!(reason.contains("state.redis.url"), "{reason}");
    server.start();
    block_on(store.link.up());
    assert!(put(&store, "k", None).unwrap().is_some());
}

#[test]
fn frozen() {
    let server = Server::running();
    let store = server.hasty();
    recovers(&store);
    server.signal("STOP");
    let mut reasons = Vec::new();
    for _ in 0..20 {
        reasons.push(refused(put(&store, "k", None)));
    }
    assert!(
        reasons
            .iter()
            .all(|reason| reason.contains("gave no answer")),
        "{reasons:?}"
    );
    assert!(reasons[0].contains("within 50ms"), "{reasons:?}");
    server.signal("CONT");
    recovers(&store);
}

#[test]
fn killed_and_started_empty() {
    let mut server = Server::running();
    let store = server.store();
    let version = put(&store, "k", None).unwrap().unwrap();
    let place = block_on(store.post("topic", b"")).unwrap();
    server.end();
    refused(put(&store, "k", None));
    server.start();
    recovers(&store);

    assert_eq!(block_on(store.get("kind", "k")), Ok(None));
    block_on(store.post("topic", b"")).unwrap();
    let news = block_on(store.since(place)).unwrap();
    assert!(news.gap, "what was posted in its earlier life may be lost");
    let next = put(&store, "k", None).unwrap().unwrap();
    assert!(next > version, "no version twice");
}

/// As after a fail-over to a replica that had not heard everything: the ids go on.
#[test]
fn restarted_without_its_last_notices() {
    let mut server = Server::running();
    let store = server.store();
    let place = block_on(store.post("topic", b"first")).unwrap();
    let () = server.ask(&["SAVE"]);
    block_on(store.post("topic", b"lost")).unwrap();
    server.end();
    server.start();
    recovers(&store);
    assert!(block_on(store.latest()).unwrap() > place);

    block_on(store.post("topic", b"second")).unwrap();
    let news = block_on(store.since(place)).unwrap();
    let told: Vec<&[u8]> = news.notices.iter().map(|notice| &*notice.body).collect();
    assert_eq!(told, [b"second"]);
    assert!(news.gap, "one is lost");
    assert!(!block_on(store.since(news.next)).unwrap().gap, "once");
    // Who comes to the same server again brings no gap.
    let other = server.store();
    block_on(other.link.up());
    assert!(!block_on(store.since(news.next)).unwrap().gap);
}

#[test]
fn made_a_replica() {
    let server = Server::running();
    let store = server.store();
    put(&store, "k", None).unwrap();
    let () = server.ask(&["REPLICAOF", "127.0.0.1", "1"]);
    // Reading alone would not tell.
    block_on(store.link.down());
    let reason = refused(block_on(store.get("kind", "k")));
    assert!(reason.contains("is a replica"), "{reason}");
    let () = server.ask(&["REPLICAOF", "NO", "ONE"]);
    recovers(&store);
    assert!(put(&store, "k", None).unwrap().is_some());
}

/// It can be used, and who it is is not known.
#[test]
fn a_user_who_may_not_ask_how_it_is_set_up() {
    let server = Server::running();
    let () = server.ask(&["CONFIG", "SET", "requirepass", "right"]);
    let rights = "~turnpike:* -@all +@read +@write +@connection -@dangerous +eval +evalsha +time";
    let user = ["ACL", "SETUSER", "gateway", "on", ">right"];
    let allow = |rights: &str| {
        let words: Vec<&str> = user.into_iter().chain(rights.split(' ')).collect();
        // As the one who may.
        let client = redis::Client::open(server.options().url).unwrap();
        let mut connection = client.get_connection().unwrap();
        let () = redis::cmd("AUTH")
            .arg("right")
            .query(&mut connection)
            .unwrap();
        let () = redis::cmd(words[0])
            .arg(&words[1..])
            .query(&mut connection)
            .unwrap();
    };
    let all_of_it = || {
        let options = Options {
            username: "gateway".to_owned(),
            password: Some(turnpike_api::Secret::new("right")),
            ..server.options()
        };
        let store = Redis::open(&options).unwrap();
        assert!(put(&store, "k", Some(100)).unwrap().is_some());
        assert!(block_on(store.get("kind", "k")).unwrap().is_some());
        assert_eq!(block_on(store.list("kind")).unwrap().len(), 1);
        assert_eq!(block_on(store.remove("kind", "k")), Ok(true));
        let claimed = store.claim("c", "x", Duration::from_secs(9));
        assert_eq!(block_on(claimed), Ok(true));
        assert_eq!(block_on(store.release("c", "x")), Ok(()));
        let id = block_on(store.post("topic", b"")).unwrap();
        assert_eq!(block_on(store.since(id)).unwrap().next, id);
    };
    allow(rights);
    all_of_it();
    // As docs/store.md has it.
    allow(&format!("{rights} +info"));
    all_of_it();
}

#[test]
fn broken_while_nobody_asks() {
    let mut server = Server::running();
    let store = server.store();
    put(&store, "k", None).unwrap();
    server.end();
    block_on(store.link.down());
    server.start();
    block_on(store.link.up());
    assert!(put(&store, "k", None).unwrap().is_some(), "the first call");
}

/// A store that is closed waits for nobody, a call that is under way least of all.
#[test]
fn closed_while_the_server_is_frozen() {
    let server = Server::running();
    let store = server.store();
    put(&store, "k", None).unwrap();
    server.signal("STOP");
    let waiting = store.get("kind", "k").now_or_never();
    assert!(waiting.is_none(), "{waiting:?}");
    drop(store);
}

#[test]
fn scripts_are_forgotten() {
    let server = Server::running();
    let store = server.store();
    for _ in 0..3 {
        put(&store, "k", None).unwrap();
        block_on(store.post("topic", b"")).unwrap();
        let () = server.ask(&["SCRIPT", "FLUSH"]);
    }
    assert_eq!(block_on(store.list("kind")).unwrap().len(), 1);
}

#[test]
fn a_wrong_password() {
    let server = Server::running();
    // Its own connection is not asked again: it may go on.
    let () = server.ask(&["ACL", "SETUSER", "gateway", "on", ">right", "~*", "+@all"]);
    let store = |password: &str| {
        let options = Options {
            username: "gateway".to_owned(),
            password: Some(turnpike_api::Secret::new(password)),
            ..server.options()
        };
        Redis::open(&options).unwrap()
    };
    let reason = refused(put(&store("wrong-secret"), "k", None));
    assert!(reason.contains("does not accept the login"), "{reason}");
    assert!(reason.contains("state.redis.password"), "{reason}");
    assert!(!reason.contains("wrong-secret"), "{reason}");
    assert!(put(&store("right"), "k", None).unwrap().is_some());

    let () = server.ask(&["ACL", "SETUSER", "gateway", "-@write"]);
    let reason = refused(put(&store("right"), "k", None));
    assert!(reason.contains("does not let the user do this"), "{reason}");
}

#[test]
fn no_password_where_one_is_needed() {
    let server = Server::running();
    let () = server.ask(&["CONFIG", "SET", "requirepass", "right"]);
    let reason = refused(put(&server.store(), "k", None));
    assert!(reason.contains("does not accept the login"), "{reason}");
    let store = server.with_password("right");
    assert!(put(&store, "k", None).unwrap().is_some());
}

#[test]
fn paused() {
    let server = Server::running();
    let store = server.hasty();
    recovers(&store);
    let () = server.ask(&["CLIENT", "PAUSE", "3000", "ALL"]);
    for _ in 0..5 {
        let reason = refused(put(&store, "k", None));
        assert!(reason.contains("gave no answer"), "{reason}");
    }
    recovers(&store);
}

#[test]
fn out_of_memory() {
    let server = Server::running();
    let store = server.store();
    let version = put(&store, "k", None).unwrap();
    assert_eq!(
        block_on(store.claim("c", "x", Duration::from_secs(100))),
        Ok(true)
    );
    let place = block_on(store.post("topic", b"")).unwrap();
    let () = server.ask(&["CONFIG", "SET", "maxmemory", "1"]);

    let reason = refused(put(&store, "k", None));
    assert!(
        reason.contains("out of memory; raise its maxmemory"),
        "{reason}"
    );
    refused(block_on(store.post("topic", b"")));
    refused(block_on(store.claim("d", "x", Duration::from_secs(100))));
    let read = block_on(store.get("kind", "k")).unwrap();
    assert_eq!(
        read.map(|record| record.version),
        version,
        "nothing is changed"
    );
    assert_eq!(block_on(store.latest()), Ok(place));
    assert_eq!(
        block_on(store.release("c", "x")),
        Ok(()),
        "what makes room is done"
    );
    assert_eq!(block_on(store.remove("kind", "k")), Ok(true));

    let () = server.ask(&["CONFIG", "SET", "maxmemory", "0"]);
    assert!(put(&store, "k", None).unwrap().is_some());
}

#[test]
fn another_programs_keys() {
    let server = Server::running();
    let () = server.ask(&["SET", "turnpike:1:{kind}:record:k", "mine"]);
    let store = server.store();
    let read = block_on(store.get("kind", "k"));
    assert!(matches!(read, Err(StoreError::Unreadable(_))), "{read:?}");
}

/// A certificate and its key.
fn signed(name: &str) -> (String, String) {
    let made = rcgen::generate_simple_self_signed([name.to_owned()]).unwrap();
    (made.cert.pem(), made.signing_key.serialize_pem())
}

#[test]
fn who_has_to_show_a_certificate_of_its_own() {
    let (certificate, key) = signed("localhost");
    let (own, own_key) = signed("gateway");
    let mut server = Server::absent();
    let port = server.start_with_tls(&certificate, &key, Some(&own));
    let shows = |client: Option<(&str, &str)>| Options {
        url: format!("rediss://localhost:{port}"),
        authorities: Some(certificate.as_bytes().to_vec()),
        client: client.map(|(certificate, key)| ClientCertificate {
            certificate: certificate.as_bytes().to_vec(),
            key: turnpike_api::Secret::new(key),
        }),
        ..server.options()
    };
    let known = Redis::open(&shows(Some((&own, &own_key)))).unwrap();
    assert!(put(&known, "k", None).unwrap().is_some());
    let (other, other_key) = signed("gateway");
    for options in [shows(None), shows(Some((&other, &other_key)))] {
        refused(put(&Redis::open(&options).unwrap(), "k", None));
    }
    for (certificate, key) in [("none", &*own_key), (&*own, "none")] {
        let refused = Redis::open(&shows(Some((certificate, key)))).err();
        assert!(matches!(refused, Some(SetupError::Client)));
    }
}

#[test]
fn over_tls() {
    let (certificate, key) = signed("localhost");
    let mut server = Server::absent();
    let port = server.start_with_tls(&certificate, &key, None);
    let open = |host: &str, authority: &str| {
        let options = Options {
            url: format!("rediss://{host}:{port}"),
            authorities: Some(authority.as_bytes().to_vec()),
            ..server.options()
        };
        Redis::open(&options)
    };
    let believed = open("localhost", &certificate).unwrap();
    assert!(put(&believed, "k", None).unwrap().is_some());

    let elsewhere = open("127.0.0.1", &certificate).unwrap();
    let stranger = open("localhost", &signed("localhost").0).unwrap();
    for store in [elsewhere, stranger] {
        let reason = refused(put(&store, "k", None));
        assert!(reason.contains("is not believed"), "{reason}");
        assert!(reason.contains("state.redis.tls"), "{reason}");
    }
    assert!(matches!(
        open("localhost", "none").err(),
        Some(SetupError::Authorities)
    ));
    let unchecked = Redis::open(&Options::at("rediss://localhost/#insecure"));
    assert!(matches!(unchecked.err(), Some(SetupError::Url)));
}
