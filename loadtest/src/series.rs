//! As many users, models and paths as one likes: whether they make series of metrics.

use std::collections::BTreeSet;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use http::{Method, Request, header};
use http_body_util::Full;
use ring::rand::SystemRandom;
use ring::signature::EcdsaKeyPair;
use serde_json::json;
use tokio::net::TcpListener;

use crate::drive::{Caller, Curve, Errand, Target, claimed};
use crate::flood::issuer;
use crate::metrics::exposition;
use crate::process::{Gateway, Program};
use crate::{FakeProvider, Options};

/// What is called.
#[derive(Debug, Clone, clap::Args)]
pub struct Plan {
    /// The program.
    #[arg(long)]
    pub gateway: PathBuf,
    /// An empty one, for the gateway's files.
    #[arg(long)]
    pub directory: PathBuf,
    /// Each calls a model and a path of its own.
    #[arg(long, default_value_t = 100_000)]
    pub users: usize,
    /// Connections at once.
    #[arg(long, default_value_t = 16)]
    pub callers: usize,
}

/// So many have called before the series are counted the first time: all that there can be are there
/// then, also those that take what there is no room for.
const FIRST: usize = 1_000;

/// The series before and after.
#[derive(Debug)]
pub struct Report {
    pub users: usize,
    /// Calls that had another answer than they should.
    pub unexpected: Vec<String>,
    pub before: BTreeSet<String>,
    pub after: BTreeSet<String>,
    pub took: Duration,
}

impl Report {
    pub fn is_good(&self) -> bool {
        self.unexpected.is_empty() && self.users > FIRST && self.before == self.after
    }
}

/// Calls with each user, and compares.
pub async fn run(plan: &Plan) -> anyhow::Result<Report> {
    let began = Instant::now();
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let url = format!("http://{}", listener.local_addr()?);
    let (pair, jwk) = issuer::pair(Curve::P256)?;
    tokio::spawn(issuer::publish(listener, vec![jwk]));
    let provider = FakeProvider::start(Options {
        record: false,
        ..Options::default()
    })
    .await;
    let yaml = configuration(&provider.base_url(), &url);
    let program = Program::configured(&plan.gateway, &plan.directory, &yaml)?;
    let gateway = program.start().await?;
    let users = Arc::new(Users { issuer: url, pair });

    let first = FIRST.min(plan.users);
    let mut unexpected = calls(&users, &gateway, plan, 0..first).await?;
    let before = series(&gateway).await?;
    unexpected.extend(calls(&users, &gateway, plan, first..plan.users).await?);
    let after = series(&gateway).await?;
    gateway.stop().await?;
    Ok(Report {
        users: plan.users,
        unexpected,
        before,
        after,
        took: began.elapsed(),
    })
}

/// With a limit of each user, which is a bucket of its own.
fn configuration(base_url: &str, issuer: &str) -> String {
    format!(
        "server: {{port: 0, drain: {{lame_duck: -1}}}}\n\
         admin: {{port: 0}}\n\
         jwt: {{issuers: [{{issuer: \"{issuer}\", audience: [turnpike], algorithms: [ES256]}}]}}\n\
         limits: [{{name: pace, scope: user, measure: requests, window: day, limit: 1000}}]\n\
         providers: {{openai: {{base_url: \"{base_url}/v1\", credentials: [{{api_key: sk-good}}]}}}}\n"
    )
}

/// The names and labels of what is exposed. What the gateway does beside calls, such as asking its
/// store, begins in its own time.
async fn series(gateway: &Gateway) -> anyhow::Result<BTreeSet<String>> {
    let admin = Target::parse(&format!("http://{}", gateway.admin))?;
    let text = tokio::task::spawn_blocking(move || exposition(&admin)).await??;
    let (_head, text) = text.split_once("\r\n\r\n").context("an answer")?;
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    let names = lines.filter_map(|line| Some(line.rsplit_once(' ')?.0.to_owned()));
    let of_calls = names.filter(|name| !name.starts_with("turnpike_store_"));
    Ok(of_calls.collect())
}

/// The calls of these users, by as many callers at once. Answers with those that went another way.
async fn calls(
    users: &Arc<Users>,
    gateway: &Gateway,
    plan: &Plan,
    numbers: std::ops::Range<usize>,
) -> anyhow::Result<Vec<String>> {
    let mut running = Vec::new();
    for nth in 0..plan.callers {
        let (users, numbers) = (users.clone(), numbers.clone());
        let (mut caller, callers) = (Caller::new(gateway.proxy), plan.callers);
        running.push(tokio::spawn(async move {
            let mut unexpected = Vec::new();
            for number in numbers.skip(nth).step_by(callers) {
                for (errand, expected) in users.errands(number) {
                    let answer = caller.call(errand).await;
                    let answer = answer.map_or_else(|why| why, |_| "good".to_owned());
                    if answer != expected {
                        unexpected.push(answer);
                    }
                }
            }
            unexpected
        }));
    }
    let mut unexpected = Vec::new();
    for one in running {
        unexpected.extend(one.await?);
    }
    Ok(unexpected)
}

/// Users whom an issuer vouches for.
struct Users {
    issuer: String,
    pair: EcdsaKeyPair,
}

impl Users {
    fn token(&self, number: usize) -> String {
        let claimed = claimed(&self.issuer, Curve::P256, &format!("user-{number}"));
        let signed = self.pair.sign(&SystemRandom::new(), claimed.as_bytes());
        let signature = signed.expect("there are random numbers");
        claimed + "." + &URL_SAFE_NO_PAD.encode(signature)
    }

    /// What one user calls, and what becomes of it: a model that is served, one that is not, and a path
    /// where there is nothing.
    fn errands(&self, number: usize) -> [(Errand, &'static str); 3] {
        let token = self.token(number);
        let model = |model: String| {
            let question = json!([{"role": "user", "content": "Say hello, please."}]);
            let body = json!({"model": model, "messages": question});
            errand(
                &token,
                Method::POST,
                "/v1/chat/completions",
                &body.to_string(),
            )
        };
        let path = format!("/v1/made-up/{number}");
        [
            (model(format!("gpt-made-up-{number}")), "good"),
            (model(format!("made-up-{number}")), "status 404"),
            (errand(&token, Method::GET, &path, ""), "status 404"),
        ]
    }
}

fn errand(token: &str, method: Method, path: &str, body: &str) -> Errand {
    let request = Request::builder()
        .method(method)
        .uri(path)
        .header(header::HOST, "localhost")
        .header(header::AUTHORIZATION, format!("Bearer {token}"))
        .header(header::CONTENT_TYPE, "application/json")
        .body(Full::new(Bytes::from(body.to_owned())));
    Errand {
        request: request.expect("these always are headers"),
        streams: false,
    }
}

impl fmt::Display for Report {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (users, took) = (self.users, self.took.as_secs());
        writeln!(
            out,
            "  {users} users, each with a model and a path of its own, {took} s"
        )?;
        let (before, after) = (self.before.len(), self.after.len());
        writeln!(
            out,
            "  series after the first {FIRST}: {before}, at the end: {after}"
        )?;
        for name in self.after.symmetric_difference(&self.before).take(20) {
            writeln!(out, "    not in both: {name}")?;
        }
        writeln!(
            out,
            "  calls with another answer than they should have: {}",
            self.unexpected.len()
        )?;
        for answer in self.unexpected.iter().take(5) {
            writeln!(out, "    {answer}")?;
        }
        writeln!(out, "  {}", if self.is_good() { "pass" } else { "FAIL" })
    }
}
