//! A browser: it keeps cookies and sends forms. It goes where it is sent only when a test says so.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use bytes::Bytes;
use http::Request;
use http_body_util::Full;
use tokio::net::TcpStream;
use url::Url;

use crate::harness::{Answer, Client, Http};

#[derive(Clone)]
pub(crate) struct Browser {
    gateway: SocketAddr,
    pub(crate) cookies: BTreeMap<String, String>,
    pub(crate) accept: &'static str,
    /// As a trusted proxy tells it.
    pub(crate) address: Option<&'static str>,
    /// A credential, as a program presents it.
    pub(crate) bearer: Option<String>,
    /// What it calls the gateway.
    pub(crate) host: &'static str,
}

impl Browser {
    pub(crate) fn of(gateway: SocketAddr) -> Self {
        Self {
            gateway,
            cookies: BTreeMap::new(),
            accept: "text/html,application/xhtml+xml",
            address: None,
            bearer: None,
            host: "localhost",
        }
    }

    /// The same one, whose next visits are to another replica.
    pub(crate) fn at(&mut self, gateway: SocketAddr) -> &mut Self {
        self.gateway = gateway;
        self
    }

    pub(crate) async fn get(&mut self, path: &str) -> Answer {
        self.send("GET", path, String::new()).await
    }

    pub(crate) async fn post(&mut self, path: &str, fields: &[(&str, &str)]) -> Answer {
        let form = url::form_urlencoded::Serializer::new(String::new())
            .extend_pairs(fields)
            .finish();
        self.send("POST", path, form).await
    }

    async fn send(&mut self, method: &str, path: &str, body: String) -> Answer {
        let form = ("content-type", "application/x-www-form-urlencoded");
        let headers: &[_] = if method == "POST" { &[form] } else { &[] };
        self.send_as(method, path, headers, body.into_bytes()).await
    }

    /// Sends what no browser would, also.
    pub(crate) async fn send_as(
        &mut self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: Vec<u8>,
    ) -> Answer {
        let mut client =
            Client::on(TcpStream::connect(self.gateway).await.unwrap(), Http::One).await;
        let mut request = Request::builder()
            .method(method)
            .uri(path)
            .header("host", self.host)
            .header("accept", self.accept);
        if !self.cookies.is_empty() {
            let cookies: Vec<_> = self
                .cookies
                .iter()
                .map(|(k, v)| format!("{k}={v}"))
                .collect();
            request = request.header("cookie", cookies.join("; "));
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        if let Some(bearer) = &self.bearer {
            request = request.header("authorization", format!("Bearer {bearer}"));
        }
        if let Some(address) = self.address {
            request = request.header("x-forwarded-for", address);
        }
        let request = request.body(Full::new(Bytes::from(body))).unwrap();
        let answer = Answer::read(client.send(request).await.unwrap()).await;
        self.keep(&answer);
        answer
    }

    fn keep(&mut self, answer: &Answer) {
        for cookie in answer.headers.get_all("set-cookie") {
            let cookie = cookie.to_str().unwrap();
            let site = match cookie.contains("turnpike-operator=") {
                true => "SameSite=Strict",
                false => "SameSite=Lax",
            };
            let is_ours = cookie.contains("HttpOnly") && cookie.contains(site);
            assert!(is_ours, "{cookie}");
            let (name, value) = cookie.split(';').next().unwrap().split_once('=').unwrap();
            match value {
                "" => self.cookies.remove(name),
                value => self.cookies.insert(name.to_owned(), value.to_owned()),
            };
        }
    }

    /// To the provider and up to its sending back: where the browser would come back to.
    pub(crate) async fn visit_provider(&mut self, path: &str) -> String {
        let begun = self.get(path).await;
        assert_eq!(begun.status, 303, "{}", begun.text());
        back_of(begun.header("location").unwrap()).await
    }

    /// A whole login, up to what the gateway says when the browser is back.
    pub(crate) async fn log_in(&mut self) -> Answer {
        let back = self.visit_provider("/auth/login/test").await;
        self.get(&back).await
    }
}

/// What the provider does with a browser that is sent to this address: where it sends it.
pub(crate) async fn back_of(url: &str) -> String {
    let url = Url::parse(url).unwrap();
    let address = (url.host_str().unwrap(), url.port().unwrap());
    let mut client = Client::on(TcpStream::connect(address).await.unwrap(), Http::One).await;
    let path = format!("{}?{}", url.path(), url.query().unwrap());
    let request = Request::get(path)
        .header("host", "idp")
        .body(Full::default())
        .unwrap();
    let answer = Answer::read(client.send(request).await.unwrap()).await;
    assert_eq!(answer.status, 302, "{}", answer.text());
    let back = Url::parse(answer.header("location").unwrap()).unwrap();
    // The port is of the configuration, which says 0.
    format!("{}?{}", back.path(), back.query().unwrap())
}

/// The value of a page's hidden field.
pub(crate) fn field(answer: &Answer, name: &str) -> String {
    let text = answer.text();
    let at = text
        .find(&format!("name=\"{name}\" value=\""))
        .unwrap_or_else(|| panic!("{text}"));
    let value = &text[at..].split("value=\"").nth(1).unwrap();
    value.split('"').next().unwrap().to_owned()
}
