//! Tenants have nothing to do with each other.

mod apart;
mod calls;
mod found;
mod login_matrix;
mod logins;
mod matrix;
mod scale;
mod stolen;

use bytes::Bytes;
use http::{Method, Request};
use http_body_util::Full;
use serde_json::Value;
use tokio::net::TcpStream;
use turnpike::clock::Time;
use turnpike_loadtest::{FakeProvider, Options};

use crate::calls::CHAT;
use crate::harness::{Answer, Client, House, Http};

/// In the middle of a day.
const NOON: u64 = 1_800_014_400_000;

/// Keys of callers.
const HOUSE: &str = "key-of-the-house-01";
const ACME: &str = "key-of-acme-0123456";
const UMBRA: &str = "key-of-umbra-012345";

/// Keys of the management API.
const OPS: &str = "ops-of-the-gateway";
const ACME_OPS: &str = "ops-of-acme-012345";
const UMBRA_OPS: &str = "ops-of-umbra-01234";

const ACME_HOST: &str = "acme.example";
const UMBRA_HOST: &str = "umbra.example";

/// Two tenants and the house, with credentials of each of them. Umbra has a provider besides that
/// nobody else may use.
struct Place {
    provider: FakeProvider,
    house: House,
    time: Time,
}

impl Place {
    async fn new() -> Self {
        Self::with("").await
    }

    async fn with(rest: &str) -> Self {
        Self::of(rest, "", "").await
    }

    /// `acme` and `umbra` are what is said of each besides.
    async fn of(rest: &str, acme: &str, umbra: &str) -> Self {
        let provider = FakeProvider::start(Options::default()).await;
        let yaml = yaml(&provider, rest, acme, umbra);
        let time = Time::simulated(NOON);
        let dir = tempfile::tempdir().unwrap();
        let house = House::serve_by(time.clone(), dir, &yaml).await;
        Self {
            provider,
            house,
            time,
        }
    }

    async fn reload(&self, yaml: &str) {
        std::fs::write(&self.house.config, yaml).unwrap();
        self.house.gateway.reloader.reload().unwrap();
    }

    /// At a host of the proxy listener.
    async fn ask(&self, method: &str, host: &str, path: &str, key: &str, body: &str) -> Answer {
        let bearer = format!("Bearer {key}");
        let headers = [("host", host), ("authorization", &*bearer)];
        self.send(self.house.gateway.proxy, method, path, &headers, body)
            .await
    }

    async fn chat(&self, host: &str, key: &str) -> Answer {
        self.ask("POST", host, CHAT.path, key, CHAT.body).await
    }

    /// The status of a call, and the credential that served it.
    async fn served(&self, host: &str, key: &str) -> (u16, String) {
        self.provider.take_calls();
        let status = self.chat(host, key).await.status;
        let call = self.provider.take_calls().pop();
        (status, call.map(|call| call.key).unwrap_or_default())
    }

    /// The names of the models that are listed.
    async fn models(&self, host: &str, key: &str) -> Vec<String> {
        let list = self.ask("GET", host, "/v1/models", key, "").await.json();
        let names = list["data"].as_array().unwrap().iter();
        names
            .map(|one| one["id"].as_str().unwrap().to_owned())
            .collect()
    }

    /// The management API.
    async fn manage(&self, method: &str, path: &str, key: &str, body: &str) -> Answer {
        let path = format!("/v0/management{path}");
        let headers = [("host", "localhost"), ("x-management-key", key)];
        self.send(self.house.gateway.admin, method, &path, &headers, body)
            .await
    }

    async fn send(
        &self,
        to: std::net::SocketAddr,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &str,
    ) -> Answer {
        let mut client = Client::on(TcpStream::connect(to).await.unwrap(), Http::One).await;
        let method: Method = method.parse().unwrap();
        let mut request = Request::builder().method(method).uri(path);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        if !body.is_empty() {
            request = request.header("content-type", "application/json");
        }
        let body = Full::new(Bytes::from(body.to_owned()));
        let answer = client.send(request.body(body).unwrap()).await.unwrap();
        Answer::read(answer).await
    }

    /// A token that the operator makes for a tenant: its id, and what its agent presents.
    async fn token(&self, tenant: Option<&str>, name: &str) -> (String, String) {
        let body = serde_json::json!({"name": name, "tenant": tenant});
        let made = self.manage("POST", "/tokens", OPS, &body.to_string()).await;
        assert_eq!(made.status, 201, "{}", made.text());
        let text = |key: &str| made.json()[key].as_str().unwrap().to_owned();
        (text("id"), text("token"))
    }
}

fn yaml(provider: &FakeProvider, rest: &str, acme: &str, umbra: &str) -> String {
    format!(
        "server: {{port: 0}}\n\
         admin: {{port: 0, keys: [{{key: {OPS}, name: ops}}, {{key: {ACME_OPS}, name: acme, tenant: acme}}, {{key: {UMBRA_OPS}, name: umbra, tenant: umbra}}]}}\n\
         api_keys: [{{key: {HOUSE}, name: house}}, {{key: {ACME}, name: acme, tenant: acme}}, {{key: {UMBRA}, name: umbra, tenant: umbra}}]\n\
         agent_tokens: {{argon2: {{memory_kib: 1024, iterations: 1}}}}\n\
         max_retry_interval: 0\n\
         tenants:\n\
         \x20 acme: {{hosts: [{ACME_HOST}], pools: [acme]{acme}}}\n\
         \x20 umbra: {{hosts: [{UMBRA_HOST}], pools: [umbra]{umbra}}}\n\
         providers:\n\
         \x20 openai: {{base_url: \"{0}/v1\", credentials: [{{api_key: sk-house-1, label: house}}, {{api_key: sk-acme-1, label: acme-1, pool: acme}}, {{api_key: sk-acme-2, label: acme-2, pool: acme}}, {{api_key: sk-umbra-1, label: umbra-1, pool: umbra}}]}}\n\
         \x20 umbras: {{kind: openai-compatible, base_url: \"{0}/v1\", models: [umbras-own], credentials: [{{api_key: sk-umbra-9, label: only, pool: umbra}}]}}\n\
         {rest}\n",
        provider.base_url()
    )
}

/// What there is to tell one answer from another: not what every answer has of its own.
fn told(answer: &Answer) -> (u16, Vec<(String, String)>, String) {
    let of_each = ["date", "request-id", "x-request-id", "x-turnpike-decision"];
    let headers = answer.headers.iter();
    let mut headers: Vec<(String, String)> = headers
        .filter(|(name, _)| !of_each.contains(&name.as_str()))
        .map(|(name, value)| (name.to_string(), value.to_str().unwrap().to_owned()))
        .collect();
    headers.sort();
    let mut text = answer.text().to_owned();
    for name in of_each {
        if let Some(value) = answer.header(name) {
            text = text.replace(value, "…");
        }
    }
    (answer.status, headers, text)
}

/// The entries of a list.
fn entries<'v>(list: &'v Value, of: &str) -> &'v Vec<Value> {
    list[of].as_array().unwrap_or_else(|| panic!("{list}"))
}
