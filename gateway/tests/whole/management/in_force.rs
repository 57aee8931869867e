//! What is answered to be done is in force, and what cannot be leaves the files as they were.

use std::path::PathBuf;

use rcgen::{CertificateParams, KeyPair};
use turnpike_credentials::WriteLock;

use super::*;

/// A gateway whose proxy port speaks TLS, with a credential in a file: its name and id.
async fn with_a_file() -> (Place, String, String) {
    let provider = FakeProvider::start(Options::default()).await;
    let dir = tempfile::tempdir().unwrap();
    let key = KeyPair::generate().unwrap();
    let certificate = CertificateParams::new(vec!["one.test".to_owned()]).unwrap();
    let certificate = certificate.self_signed(&key).unwrap();
    std::fs::write(dir.path().join("one.crt"), certificate.pem()).unwrap();
    std::fs::write(dir.path().join("one.key"), key.serialize_pem()).unwrap();
    let tls = "server: {port: 0, tls: {certificates: [{cert: one.crt, key: one.key}]}}";
    let yaml = yaml(&provider, &keys()).replace("server: {port: 0}", tls);
    let time = Time::simulated(NOON);
    let house = House::serve_by(time.clone(), dir, &yaml).await;
    let place = Place {
        provider,
        house,
        time,
    };
    let added = place.post("/auths", &key_named("CANARY-kept-1")).await;
    assert_eq!(added.status, 201, "{}", added.text());
    let text = |key: &str| added.json()[key].as_str().unwrap().to_owned();
    (place, text("file"), text("id"))
}

fn key_named(token: &str) -> String {
    json!({"provider": "openai", "type": "api_key", "token": token, "weight": 3}).to_string()
}

impl Place {
    async fn put(&self, path: &str, more: &[(&str, &str)], body: &str) -> Answer {
        let headers = [&[("x-management-key", ALL)], more].concat();
        self.ask(Method::PUT, path, &headers, body).await
    }

    fn auths(&self) -> PathBuf {
        self.house.dir.path().join("auths")
    }

    /// The names and contents of the credentials' files.
    fn files(&self) -> Vec<(String, String)> {
        let files = std::fs::read_dir(self.auths()).unwrap();
        let paths = files.map(|file| file.unwrap().path());
        let paths = paths.filter(|path| path.extension().is_some_and(|end| end == "json"));
        let read = |path: PathBuf| {
            let name = path.file_name().unwrap().to_str().unwrap().to_owned();
            (name, std::fs::read_to_string(path).unwrap())
        };
        let mut files: Vec<_> = paths.map(read).collect();
        files.sort();
        files
    }

    async fn weight_of(&self, id: &str) -> Value {
        let listed = self.get("/auths").await.json();
        let mut entries = listed["auths"].as_array().unwrap().iter();
        entries.find(|one| one["id"] == *id).unwrap()["weight"].clone()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_put_in_force_is_refused_and_changes_no_file() {
    let (place, _, id) = with_a_file().await;
    let (auth, before) = (format!("/auths/openai?id={id}"), place.files());
    // Nothing can be assembled while the certificate's key is none.
    let key = place.house.dir.path().join("one.key");
    let good = std::fs::read_to_string(&key).unwrap();
    replace(&key, "none");
    let headers = [("x-management-key", ALL)];
    for (method, path, body) in [
        (Method::PUT, &*auth, r#"{"weight":9}"#),
        (
            Method::PUT,
            &*format!("/auths/openai/quota?id={id}"),
            r#"{"limit":9}"#,
        ),
        (Method::POST, "/auths", &key_named("CANARY-added-1")),
    ] {
        let answer = place.ask(method.clone(), path, &headers, body).await;
        refused(&answer, 422, "not_in_force");
        let text = answer.text();
        assert!(text.contains("one.key holds no PEM private key"), "{text}");
        assert_eq!(place.files(), before, "{method} {path}");
        assert_eq!(place.weight_of(&id).await, 3, "{method} {path}");
    }
    replace(&key, &good);
    let changed = place.put(&auth, &[], r#"{"weight":9}"#).await;
    assert_eq!(changed.status, 200, "{}", changed.text());
    assert_eq!(place.weight_of(&id).await, 9);
    let removed = place.ask(Method::DELETE, &auth, &headers, "").await;
    assert_eq!(removed.status, 204, "{}", removed.text());
    assert!(place.files().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_has_leaked_goes_whatever_else_is_wrong() {
    let (place, _, id) = with_a_file().await;
    let auth = format!("/auths/openai?id={id}");
    let key = place.house.dir.path().join("one.key");
    let good = std::fs::read_to_string(&key).unwrap();
    replace(&key, "none");
    let off = place.put(&auth, &[], r#"{"disabled":true}"#).await;
    refused(&off, 503, "not_yet_in_force");
    let text = off.text();
    assert!(text.contains("one.key holds no PEM private key"), "{text}");
    let (_, file) = &place.files()[0];
    assert!(file.contains(r#""disabled":true"#), "{file}");
    let headers = [("x-management-key", ALL)];
    for _ in 0..2 {
        let removed = place.ask(Method::DELETE, &auth, &headers, "").await;
        refused(&removed, 503, "not_yet_in_force");
        assert!(place.files().is_empty());
    }
    replace(&key, &good);
    let removed = place.ask(Method::DELETE, &auth, &headers, "").await;
    assert_eq!(removed.status, 404, "{}", removed.text());
}

#[tokio::test(flavor = "multi_thread")]
async fn another_file_that_is_broken_is_in_nobodys_way() {
    let (place, file, id) = with_a_file().await;
    let auth = format!("/auths/openai?id={id}");
    std::fs::write(place.auths().join("broken.json"), "{").unwrap();
    let off = place.put(&auth, &[], r#"{"disabled":true}"#).await;
    assert_eq!(off.status, 200, "{}", off.text());
    let headers = [("x-management-key", ALL)];
    let removed = place.ask(Method::DELETE, &auth, &headers, "").await;
    assert_eq!(removed.status, 204, "{}", removed.text());
    assert!(!place.auths().join(file).exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn who_shares_the_directory_writes_after_the_other_is_done() {
    let (place, file, id) = with_a_file().await;
    let auth = format!("/auths/openai?id={id}");
    let seen = place.get(&format!("/auths/openai/quota?id={id}")).await;
    let tag = seen.header("etag").unwrap().to_owned();
    // Another replica has the lock, and has read the file.
    let lock = WriteLock::try_take(&place.auths()).unwrap();
    assert!(lock.is_some());
    let tagged = [("if-match", &*tag)];
    let changing = place.put(&auth, &tagged, r#"{"weight":9}"#);
    tokio::pin!(changing);
    let early = tokio::time::timeout(Duration::from_millis(300), &mut changing).await;
    assert!(early.is_err(), "it waits: {early:?}");
    let path = place.auths().join(file);
    let theirs = std::fs::read_to_string(&path).unwrap();
    replace(&path, &theirs.replace("\"weight\":3", "\"weight\":5"));
    drop(lock);
    refused(&changing.await, 412, "changed");
    assert_eq!(place.weight_of(&id).await, 5, "theirs is not lost");
    let changed = place.put(&auth, &[], r#"{"label":"mine"}"#).await;
    assert_eq!(changed.json()["weight"], 5, "{}", changed.text());
}
