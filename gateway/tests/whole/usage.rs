//! What was used, by whom: to the unit as the provider told it, in every way it is reported.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::future::join_all;
use http::Request;
use http_body_util::Full;
use serde_json::{Value, json};
use tokio::net::TcpStream;
use turnpike::clock::Time;
use turnpike_api::{Clock, Entry, Payer, Usage};
use turnpike_identity::people;
use turnpike_loadtest::{Behaviour, FakeProvider, Options, Totals};

use crate::calls::post_with;
use crate::harness::{Answer, Client, House, Http, KEY};
use crate::jwt::{Issuer, Key};
use crate::pools::{SPEECHES, START, Speech, tokens};

pub(crate) const ADMIN: &str = "CANARY-of-who-reads-usage";

/// A gateway with keys, and people who come with signed tokens.
struct Place {
    time: Time,
    provider: FakeProvider,
    house: House,
    issuer: Issuer,
    signer: Key,
}

/// How a caller shows who they are.
#[derive(Clone)]
struct Shown(String);

impl Place {
    async fn new() -> Self {
        Self::with("").await
    }

    async fn with(rest: &str) -> Self {
        let provider = FakeProvider::start(Options::default()).await;
        let signer = Key::new("k1");
        let issuer = Issuer::publishing(&signer).await;
        let dir = tempfile::tempdir().unwrap();
        let prices = dir.path().join("prices.yaml");
        let list = "version: 1\nprices:\n\
                    \x20 - {model: \"gpt-4o\", input: 2.5, output: 10}\n\
                    \x20 - {model: \"claude-sonnet-4-5\", input: 3, output: 15}\n";
        std::fs::write(&prices, list).unwrap();
        let credentials = |speech: &Speech, more: &str| {
            let keys = [1, 2].map(|n| format!("{{api_key: {}}}", speech.key(n)));
            format!(
                "  {}: {{base_url: \"{}{more}\", credentials: [{}]}}\n",
                speech.provider,
                provider.base_url(),
                keys.join(", ")
            )
        };
        let [openai, claude, google] = SPEECHES;
        let yaml = format!(
            "server: {{port: 0}}\n\
             admin:\n  port: 0\n  keys: [{{name: reader, key: {ADMIN}, scopes: [\"usage:read\"]}}]\n\
             api_keys: [{{key: {KEY}, name: tests}}, {{key: CANARY-of-the-build, name: build}}]\n\
             auth: {{cooldown: {{transient: -1}}}}\n\
             prices: {{file: \"{}\"}}\n\
             jwt: {{issuers: [{{issuer: \"{}\", audience: [turnpike]}}]}}\n{rest}\
             providers:\n{}{}{}",
            prices.display(),
            issuer.url,
            credentials(openai, "/v1"),
            credentials(claude, ""),
            credentials(google, ""),
        );
        let time = Time::simulated(START);
        let house = House::serve_by(time.clone(), dir, &yaml).await;
        Self {
            time,
            provider,
            house,
            issuer,
            signer,
        }
    }

    /// A person, with a token for some days.
    fn person(&self, subject: &str, email: &str, team: Option<&str>) -> Shown {
        let now = self.time.now() / 1000;
        let mut claims = self.issuer.claims();
        claims["sub"] = json!(subject);
        claims["email"] = json!(email);
        claims["iat"] = json!(now);
        claims["exp"] = json!(now + 10 * 24 * 60 * 60);
        if let Some(team) = team {
            claims["team"] = json!(team);
        }
        Shown(self.signer.sign(&claims))
    }

    /// Calls one after another, every second one a stream; answers with the tokens of those that
    /// came whole.
    async fn calls(&self, who: &Shown, speech: &Speech, count: usize) -> u64 {
        let mut client = Client::connect(&self.house, Http::One).await;
        let bearer = format!("Bearer {}", who.0);
        let mut used = 0;
        for n in 0..count {
            let (path, body) = match n % 2 {
                0 => (speech.path, speech.body),
                _ => (speech.stream.path, speech.stream.body),
            };
            let headers = [("authorization", &*bearer)];
            let answer = post_with(&mut client, path, &headers, body).await;
            assert_eq!(answer.status, 200, "{}", answer.text());
            let events = Options::default().events as u64;
            used += turnpike_loadtest::input_tokens(body.len()) + events;
        }
        used
    }

    async fn ask(&self, query: &str) -> Answer {
        ask(&self.house, query, &[]).await
    }

    async fn report(&self, query: &str) -> Value {
        let answer = self.ask(query).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        answer.json()
    }
}

/// Asks a gateway for a report.
pub(crate) async fn ask(house: &House, query: &str, headers: &[(&str, &str)]) -> Answer {
    look(house, &format!("/usage?{query}"), headers).await
}

/// Asks its management API.
pub(crate) async fn look(house: &House, path: &str, headers: &[(&str, &str)]) -> Answer {
    let mut request = Request::get(format!("/v0/management{path}"));
    for (name, value) in [("host", "admin"), ("x-management-key", ADMIN)]
        .iter()
        .chain(headers)
    {
        request = request.header(*name, *value);
    }
    let admin = TcpStream::connect(house.gateway.admin).await.unwrap();
    let mut client = Client::on(admin, Http::One).await;
    let request = request.body(Full::<Bytes>::default()).unwrap();
    Answer::read(client.send(request).await.unwrap()).await
}

/// Input and output of a row.
pub(crate) fn of_row(row: &Value) -> u64 {
    row["input_tokens"].as_u64().unwrap() + row["output_tokens"].as_u64().unwrap()
}

/// The rows by one of their fields.
fn by(report: &Value, field: &str) -> Vec<(String, u64)> {
    let rows = report["rows"].as_array().unwrap().iter();
    let text = |row: &Value| row[field].as_str().unwrap_or("-").to_owned();
    rows.map(|row| (text(row), of_row(row))).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn sums_are_what_the_provider_told_whoever_asks_by_what() {
    const EACH: usize = 100;
    let place = Place::new().await;
    // Some calls fail at one credential, and are made with another.
    for speech in SPEECHES {
        let failing = (0..20).map(|_| Behaviour::status(500));
        place.provider.script(&speech.key(1), failing);
    }
    let ada = place.person("u-1", "ada@example.com", Some("search"));
    let bob = place.person("u-2", "bob@example.com", None);
    let callers = [
        ("key tests", Shown(KEY.into())),
        ("key build", Shown("CANARY-of-the-build".into())),
        ("ada@example.com", ada),
        ("bob@example.com", bob),
    ];
    let mut expected: Vec<(&str, u64)> = callers.iter().map(|(name, _)| (*name, 0)).collect();
    for _ in 0..2 {
        let calls = callers.iter().map(async |(_, who)| {
            let calls = SPEECHES.map(|speech| place.calls(who, speech, EACH));
            join_all(calls).await.into_iter().sum::<u64>()
        });
        for (sum, more) in expected.iter_mut().zip(join_all(calls).await) {
            sum.1 += more;
        }
        place.time.advance(Duration::from_secs(24 * 60 * 60));
    }
    place.house.settled().await;
    turnpike::background::usage::flush(&place.house.gateway.runtime).await;

    let told = place.provider.usage_total();
    let all = place.report("by=").await;
    let total = &all["total"];
    assert_eq!(all["rows"].as_array().unwrap().len(), 1);
    assert_eq!(total["input_tokens"], told.input_tokens);
    assert_eq!(total["output_tokens"], told.output_tokens);
    assert_eq!(total["calls"], told.calls);
    assert_eq!(told.calls, 2 * 4 * 3 * EACH as u64);
    assert_eq!(total["estimated_tokens"], 0);

    let days = by(&place.report("from=2026-02-01").await, "day");
    let half = tokens(told) / 2;
    assert_eq!(
        days,
        [("2026-03-01".into(), half), ("2026-03-02".into(), half)]
    );
    let one_day = place.report("from=2026-03-02&to=2026-03-02").await;
    assert_eq!(of_row(&one_day["total"]), half);

    let people = place.report("by=user").await;
    let mut people = by(&people, "user_name");
    people.sort();
    assert_eq!(
        people[1..],
        expected[2..]
            .iter()
            .map(|(name, sum)| ((*name).into(), *sum))
            .collect::<Vec<_>>()[..]
    );
    let keys = by(&place.report("by=token").await, "token");
    assert_eq!(keys[1], ("key build".into(), expected[1].1));
    assert_eq!(keys[2], ("key tests".into(), expected[0].1));
    assert_eq!(keys.len(), 3, "people have none");
    let teams = by(&place.report("by=team").await, "team");
    assert_eq!(teams[1], ("search".into(), expected[2].1));
    for by_name in ["ada@example.com", "ADA@example.com", "u-1"] {
        let of_ada = place.report(&format!("by=&user={by_name}")).await;
        assert_eq!(of_row(&of_ada["total"]), expected[2].1, "{by_name}");
    }

    let credentials = place.report("by=credential").await;
    let credentials = by(&credentials, "credential");
    assert_eq!(credentials.len(), 6);
    let snapshot = place.house.gateway.runtime.snapshot();
    for speech in SPEECHES {
        for n in [1, 2] {
            let key = speech.key(n);
            let id = snapshot.usable().find(|one| {
                let turnpike::upstream::credential::Source::Fixed(access) = &one.source else {
                    return false;
                };
                access.secret.expose() == key
            });
            let id = id.unwrap().id.to_string();
            let told = tokens(place.provider.usage_of(&key));
            assert!(credentials.contains(&(id, told)), "{key}");
        }
    }

    // By the price list: gemini's model is not in it.
    for row in place.report("by=model").await["rows"].as_array().unwrap() {
        let [input, output, calls, unpriced, cost] = [
            "input_tokens",
            "output_tokens",
            "calls",
            "unpriced_calls",
            "cost_microusd",
        ]
        .map(|name| row[name].as_u64().unwrap());
        match row["model"].as_str().unwrap() {
            "gpt-4o" => assert_cost(cost, input * 25 + output * 100, calls),
            "claude-sonnet-4-5" => assert_cost(cost, input * 30 + output * 150, calls),
            _ => assert_eq!((unpriced, cost), (calls, 0)),
        }
    }

    // Everything apart, as a table, adds up to the same.
    let apart = place
        .ask("by=day,tenant,team,user,token,model,credential&format=csv")
        .await;
    assert_eq!(apart.status, 200);
    let kind = apart.header("content-type").unwrap();
    assert_eq!(kind, "text/csv; charset=utf-8; header=present");
    assert_eq!(sums_of(apart.text()), told);
    let accepted = ask(&place.house, "by=model", &[("accept", "text/csv")]).await;
    assert_eq!(sums_of(accepted.text()), told);
    assert!(accepted.text().starts_with("model,calls,input_tokens,"));
}

/// A call's cost is rounded up once; `tenths` are of a millionth.
fn assert_cost(cost: u64, tenths: u64, calls: u64) {
    let exact = tenths / 10;
    assert!(
        (exact..=exact + calls).contains(&cost),
        "{cost} for {exact}"
    );
}

/// What the rows of a table add up to.
fn sums_of(table: &str) -> Totals {
    let mut lines = table.split("\r\n");
    let head: Vec<&str> = lines.next().unwrap().split(',').collect();
    let mut sums = [0; 3];
    for line in lines.filter(|line| !line.is_empty()) {
        let cells: Vec<&str> = line.split(',').collect();
        assert_eq!(cells.len(), head.len(), "{line}");
        for (sum, name) in sums
            .iter_mut()
            .zip(["calls", "input_tokens", "output_tokens"])
        {
            let at = head.iter().position(|one| *one == name).unwrap();
            *sum += cells[at].parse::<u64>().unwrap();
        }
    }
    let [calls, input_tokens, output_tokens] = sums;
    Totals {
        calls,
        input_tokens,
        output_tokens,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_provider_did_not_say_is_estimated_and_told_apart() {
    let place = Place::new().await;
    let speech = SPEECHES[0];
    let who = Shown(KEY.into());
    place.calls(&who, speech, 10).await;
    let silent = Behaviour::Body {
        content_type: "application/json".to_owned(),
        bytes: r#"{"id":"x","object":"chat.completion","choices":[]}"#.into(),
        chunked: false,
    };
    for n in [1, 2] {
        place
            .provider
            .script(&speech.key(n), [silent.clone(), silent.clone()]);
    }
    let mut client = Client::connect(&place.house, Http::One).await;
    let bearer = format!("Bearer {KEY}");
    for _ in 0..4 {
        let headers = [("authorization", &*bearer)];
        let answer = post_with(&mut client, speech.path, &headers, speech.body).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
    }
    place.house.settled().await;
    let told = place.provider.usage_total();
    let report = place.report("by=token,model").await;
    let row = &report["rows"][0];
    let estimated = row["estimated_tokens"].as_u64().unwrap();
    assert!(estimated > 0);
    assert_eq!(of_row(row), tokens(told) + estimated);
    assert_eq!(row["calls"], 14);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_person_who_is_forgotten_leaves_figures_without_a_name() {
    let place = Place::new().await;
    let ada = place.person("u-1", "ada@example.com", Some("search"));
    let used = place.calls(&ada, SPEECHES[0], 3).await;
    let runtime = &place.house.gateway.runtime;
    turnpike::background::usage::flush(runtime).await;
    let before = place.report("by=user,team").await;
    assert_eq!(before["rows"][0]["user_name"], "ada@example.com");
    let store = &*runtime.store;
    let found = people::find(store, "ada@example.com").await.unwrap();
    assert_eq!(found.len(), 1, "whoever called is found, without a session");
    people::forget(store, &found[0], place.time.now())
        .await
        .unwrap();
    // A name that waited to be written, as another replica may have it, is not written any more.
    let again = place.person("u-1", "ada@example.com", Some("search"));
    let used = used + place.calls(&again, SPEECHES[0], 1).await;
    turnpike::background::usage::flush(runtime).await;
    assert!(people::all(store).await.unwrap().is_empty());
    let after = place.report("by=user,team").await;
    let row = &after["rows"][0];
    assert_eq!((&row["user_name"], of_row(row)), (&Value::Null, used));
    assert_eq!(row["user"], before["rows"][0]["user"]);
    // With the sign: "ada" alone may stand in the digest that is left of her.
    assert!(!after.to_string().contains("ada@"), "{after}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_reported_is_refused() {
    let place = Place::new().await;
    for query in [
        "from=2026-03-02&to=2026-03-01",
        "from=soon",
        "by=colour",
        "format=xml",
        "colour=red",
        "from=2001-01-01",
    ] {
        let answer = place.ask(query).await;
        assert_eq!(answer.status, 400, "{query}: {}", answer.text());
        assert_eq!(answer.json()["error"]["code"], "invalid_request");
    }
    record(&place, 10_001).await;
    let answer = place.ask("by=day,token").await;
    assert_eq!(answer.status, 422, "{}", answer.text());
    assert_eq!(answer.json()["error"]["code"], "too_many_rows");
    let table = place.ask("by=day,token&format=csv").await;
    assert_eq!(table.status, 200);
    assert_eq!(sums_of(table.text()).calls, 10_001);
    assert_eq!(table.text().lines().count(), 10_002);
}

/// Many rows of one day.
async fn record(place: &Place, rows: u64) {
    let store = place.house.gateway.runtime.store.clone();
    let now = place.time.now();
    let recording = tokio::task::spawn_blocking(move || {
        let mut mark = None;
        for row in 0..rows {
            let token = format!("token {row}");
            mark = Some(store.note(&entry(&token, now)));
        }
        mark.map(|mark| store.keep(mark))
    });
    recording.await.unwrap().unwrap().unwrap();
}

fn entry<'a>(token: &'a str, at: u64) -> Entry<'a> {
    Entry {
        payer: Payer {
            token,
            ..Payer::default()
        },
        credential: "openai-1",
        model: "gpt-4o",
        at,
        period: 0,
        usage: Usage::default(),
        cost: None,
        estimated: false,
        calls: 1,
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "a measurement"]
async fn a_million_rows_stall_nobody() {
    let place = Arc::new(Place::new().await);
    for _ in 0..10 {
        record(&place, 100_000).await;
        place.time.advance(Duration::from_secs(24 * 60 * 60));
    }
    let days = place.house.gateway.runtime.store.usage_days(0, u32::MAX);
    assert_eq!(days.await.unwrap().len(), 10);
    let reading = tokio::spawn(lines(place.clone()));
    let (mut longest, mut asked) = (Duration::ZERO, 0);
    while !reading.is_finished() {
        let began = std::time::Instant::now();
        let admin = TcpStream::connect(place.house.gateway.admin).await.unwrap();
        let mut client = Client::on(admin, Http::One).await;
        let ready = crate::calls::get_with(&mut client, "/ready", &[]).await;
        assert_eq!(ready.status, 200);
        longest = longest.max(began.elapsed());
        asked += 1;
    }
    let (lines, took) = reading.await.unwrap();
    assert_eq!(lines, 1_000_001);
    println!("{lines} lines in {took:?}; of {asked} times /ready took {longest:?} at most");
}

/// How many lines a table of everything has, and how long they take.
async fn lines(place: Arc<Place>) -> (usize, Duration) {
    let began = std::time::Instant::now();
    let admin = TcpStream::connect(place.house.gateway.admin).await.unwrap();
    let mut client = Client::on(admin, Http::One).await;
    let request = Request::get("/v0/management/usage?by=day,token,model&format=csv");
    let request = request.header("host", "admin");
    let request = request.header("x-management-key", ADMIN);
    let request = request.body(Full::<Bytes>::default()).unwrap();
    let mut body = client.send(request).await.unwrap().into_body();
    let mut lines = 0;
    while let Some(frame) = http_body_util::BodyExt::frame(&mut body).await {
        let data = frame.unwrap().into_data().unwrap_or_default();
        lines += data.iter().filter(|byte| **byte == b'\n').count();
    }
    (lines, began.elapsed())
}
