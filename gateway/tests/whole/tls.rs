//! The proxy port in TLS: which protocol, which certificate, and whose.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tempfile::TempDir;
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use turnpike_identity::agent_tokens::{self, Binding, Costs, NewToken};
use turnpike_loadtest::{FakeProvider, Options, Protocol};

use crate::calls::post_with;
use crate::harness::{Client, House, Http, PATIENCE, chat, config, until};
use crate::wire::Wire;

const CHAT: &str = "/v1/chat/completions";

#[tokio::test]
async fn both_http_versions_are_spoken_as_the_client_asks() {
    let bench = Bench::new("").await;
    for (offered, spoken, http) in [
        (&["h2"][..], Some("h2"), Http::Two),
        (&["http/1.1"], Some("http/1.1"), Http::One),
        (&["h2", "http/1.1"], Some("h2"), Http::Two),
        (&["http/1.1", "h2"], Some("h2"), Http::Two),
        (&[], None, Http::One),
    ] {
        let tls = bench.connect("one.test", offered, None).await.unwrap();
        let alpn = tls.get_ref().1.alpn_protocol();
        assert_eq!(alpn, spoken.map(str::as_bytes), "{offered:?}");
        let mut client = Client::on(tls, http).await;
        for _ in 0..2 {
            assert_eq!(
                client.post(CHAT, chat("gpt-4o")).await.status,
                200,
                "{offered:?}"
            );
        }
    }
    let unknown = bench.connect("one.test", &["spdy/3"], None).await;
    assert!(unknown.is_err(), "no protocol in common");
}

#[tokio::test]
async fn the_name_a_client_asks_for_picks_the_certificate() {
    let bench = Bench::new("").await;
    for (name, serial) in [
        ("one.test", 1),
        ("two.test", 2),
        ("a.three.test", 3),
        ("TWO.TEST", 2),
        ("unknown.test", 1),
        ("a.b.three.test", 1),
    ] {
        assert_eq!(bench.serial(name).await, serial, "{name}");
    }
    // No name is sent for an address.
    assert_eq!(bench.serial("127.0.0.1").await, 1);
}

#[tokio::test]
async fn client_certificates_are_not_asked_for_unless_told() {
    let bench = Bench::new("").await;
    assert!(bench.is_served(None).await);
    assert!(bench.is_served(Some(&bench.ca.client())).await);
}

#[tokio::test]
async fn client_certificates_may_be_optional() {
    let bench = Bench::new("client_ca: ca.crt, client_auth: optional, ").await;
    assert!(bench.is_served(None).await);
    assert!(bench.is_served(Some(&bench.ca.client())).await);
    let stranger = Authority::new().client();
    assert!(
        !bench.is_served(Some(&stranger)).await,
        "shown by a stranger"
    );
    assert!(bench.is_served(None).await);
}

#[tokio::test]
async fn client_certificates_may_be_required() {
    let bench = Bench::new("client_ca: ca.crt, client_auth: required, ").await;
    assert!(!bench.is_served(None).await);
    assert!(bench.is_served(Some(&bench.ca.client())).await);
    let stranger = Authority::new().client();
    assert!(
        !bench.is_served(Some(&stranger)).await,
        "shown by a stranger"
    );
    assert_eq!(bench.provider.count(), 1);
}

#[tokio::test]
async fn a_token_may_be_bound_to_a_client_certificate() {
    let bench = Bench::new("client_ca: ca.crt, client_auth: optional, ").await;
    let (bound, other) = (bench.ca.client(), bench.ca.client());
    let digest = ring::digest::digest(&ring::digest::SHA256, &bound.chain[0]);
    let digits = digest.as_ref().iter().map(|byte| format!("{byte:02x}"));
    let new = NewToken {
        name: "agent".into(),
        binding: Binding {
            certificates: vec![digits.collect()],
            ..Binding::default()
        },
        ..NewToken::default()
    };
    let runtime = &bench.house.gateway.runtime;
    let costs = Costs {
        memory_kib: 1024,
        iterations: 1,
        parallelism: 1,
    };
    let issued = agent_tokens::issue(&*runtime.store, new, costs, 1).await;
    let bearer = format!("Bearer {}", issued.unwrap().token.expose());
    until(|| runtime.agent_tokens.len() == 1).await;
    for (http, alpn) in [(Http::One, "http/1.1"), (Http::Two, "h2")] {
        for (identity, status) in [(Some(&bound), 200), (Some(&other), 401), (None, 401)] {
            let tls = bench.connect("one.test", &[alpn], identity).await.unwrap();
            let mut client = Client::on(tls, http).await;
            let headers = [("authorization", &*bearer)];
            let answer = post_with(&mut client, CHAT, &headers, chat("gpt-4o")).await;
            assert_eq!(answer.status, status, "{alpn}: {}", answer.text());
        }
    }
}

#[tokio::test]
async fn a_certificate_is_swapped_under_load_without_a_failure() {
    let bench = Arc::new(Bench::new("").await);
    let stop = Arc::new(AtomicBool::new(false));
    let load: Vec<_> = [Http::One, Http::Two]
        .map(|http| {
            let (bench, stop) = (bench.clone(), stop.clone());
            tokio::spawn(async move {
                let mut kept = bench.client(http).await;
                let mut served = 0;
                while !stop.load(Ordering::Relaxed) {
                    for client in [&mut kept, &mut bench.client(http).await] {
                        assert_eq!(client.post(CHAT, chat("gpt-4o")).await.status, 200);
                        served += 1;
                    }
                }
                served
            })
        })
        .into();
    for serial in 10..20 {
        bench
            .ca
            .write(bench.house.dir.path(), "one", &["one.test"], serial);
        bench.house.gateway.reloader.reload().unwrap();
        assert_eq!(bench.serial("one.test").await, serial);
    }
    stop.store(true, Ordering::Relaxed);
    for task in load {
        assert!(task.await.unwrap() > 0);
    }
    bench.house.settled().await;
}

#[tokio::test]
async fn a_bad_certificate_at_reload_leaves_the_old_one() {
    let bench = Bench::new("").await;
    let dir = bench.house.dir.path();
    let other_key = KeyPair::generate().unwrap().serialize_pem();
    let good: Vec<String> = ["one.crt", "one.key"]
        .map(|file| std::fs::read_to_string(dir.join(file)).unwrap())
        .into();
    for (file, content, says) in [
        ("one.crt", "not PEM", "one.crt"),
        ("one.crt", "", "one.crt"),
        (
            "one.crt",
            "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
            "one.crt",
        ),
        ("one.key", "not PEM", "one.key"),
        ("one.key", &other_key, "one.key is not the key of"),
    ] {
        std::fs::write(dir.join(file), content).unwrap();
        let problems = bench.house.gateway.reloader.reload().unwrap_err();
        assert!(problems.contains(says), "{problems}");
        assert!(!problems.contains("PRIVATE"), "{problems}");
        assert_eq!(bench.serial("one.test").await, 1);
        assert!(bench.is_served(None).await, "{file}: {content}");
        std::fs::write(dir.join("one.crt"), &good[0]).unwrap();
        std::fs::write(dir.join("one.key"), &good[1]).unwrap();
    }
    std::fs::remove_file(dir.join("one.crt")).unwrap();
    let problems = bench.house.gateway.reloader.reload().unwrap_err();
    assert!(problems.contains("one.crt"), "{problems}");
    assert_eq!(bench.serial("one.test").await, 1);
}

#[tokio::test]
async fn when_certificates_end_is_told_of_those_in_force() {
    let bench = Bench::new("").await;
    let dir = bench.house.dir.path();
    let end = |file: &str| {
        let file = dir.join(file);
        bench.house.metric(&format!(
            "turnpike_tls_certificate_expiry_timestamp_seconds{{certificate=\"{}\"}}",
            file.display()
        ))
    };
    // 2030-01-01 and 2031-01-01.
    let (earlier, later) = (1_893_456_000.0, 1_924_992_000.0);
    for file in ["one.crt", "two.crt", "three.crt"] {
        assert!(end(file) > later, "{file}");
    }
    bench.ca.write_until(dir, "one", 2031);
    bench.house.gateway.reloader.reload().unwrap();
    assert_eq!(end("one.crt"), later);
    assert!(end("two.crt") > later);
    // A chain is good as long as all of it is.
    bench.ca.write_until(dir, "between", 2030);
    let chain =
        ["one.crt", "between.crt"].map(|one| std::fs::read_to_string(dir.join(one)).unwrap());
    std::fs::write(dir.join("one.crt"), chain.concat()).unwrap();
    bench.house.gateway.reloader.reload().unwrap();
    assert_eq!(end("one.crt"), earlier);
    // One that is not taken over is not told of.
    bench.ca.write_until(dir, "one", 2031);
    std::fs::write(dir.join("one.key"), "not PEM").unwrap();
    bench.house.gateway.reloader.reload().unwrap_err();
    assert_eq!(end("one.crt"), earlier);
}

/// HTTP/2's preface has the same deadline as a head.
#[tokio::test]
async fn a_connection_that_says_nothing_is_closed() {
    let bench = Bench::new("").await;
    for offered in [&["h2"][..], &["http/1.1"]] {
        let mut tls = bench.connect("one.test", offered, None).await.unwrap();
        let mut byte = [0];
        let closed = tokio::time::timeout(PATIENCE, tls.read(&mut byte)).await;
        assert!(
            matches!(closed, Ok(Ok(0) | Err(_))),
            "{offered:?}: {closed:?}"
        );
    }
}

#[tokio::test]
async fn clear_text_on_a_tls_port_harms_nobody() {
    let bench = Bench::new("").await;
    for bytes in [
        &b"GET /health HTTP/1.1\r\nHost: g\r\n\r\n"[..],
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0",
        // A record that begins a handshake and is not one.
        b"\x16\x03\x01\x00\x05hello",
    ] {
        let mut tcp = TcpStream::connect(bench.house.gateway.proxy).await.unwrap();
        tokio::io::AsyncWriteExt::write_all(&mut tcp, bytes)
            .await
            .unwrap();
        let mut answer = Vec::new();
        let _ = AsyncReadExt::read_to_end(&mut tcp, &mut answer).await;
        assert!(
            !answer.starts_with(b"HTTP"),
            "{bytes:?} was answered in clear text"
        );
        assert!(bench.is_served(None).await);
    }
    // One that says nothing keeps nobody waiting.
    let _silent = Wire::connect(&bench.house).await;
    assert!(bench.is_served(None).await);
}

/// A gateway in TLS, with certificates for `one.test`, `two.test` and `*.three.test`.
struct Bench {
    ca: Authority,
    provider: FakeProvider,
    house: House,
}

impl Bench {
    /// With more keys of the section `server.tls`.
    async fn new(tls: &str) -> Self {
        let ca = Authority::new();
        let dir = tempfile::tempdir().unwrap();
        ca.write(dir.path(), "one", &["one.test", "localhost"], 1);
        ca.write(dir.path(), "two", &["two.test"], 2);
        ca.write(dir.path(), "three", &["*.three.test"], 3);
        std::fs::write(dir.path().join("ca.crt"), ca.issuer.pem()).unwrap();
        let provider = FakeProvider::start(Options::new(Protocol::Http1)).await;
        let section = format!(
            "server: {{port: 0, tls: {{{tls}cert: one.crt, key: one.key, certificates: [{{cert: two.crt, key: two.key}}, {{cert: three.crt, key: three.key}}]}}}}"
        );
        let yaml = config(&provider.base_url(), 1).replace("server: {port: 0}", &section);
        let house = serve(dir, &yaml).await;
        Self {
            ca,
            provider,
            house,
        }
    }

    async fn connect(
        &self,
        name: &str,
        alpn: &[&str],
        identity: Option<&Certified>,
    ) -> std::io::Result<TlsStream<TcpStream>> {
        let tcp = TcpStream::connect(self.house.gateway.proxy).await.unwrap();
        let connector = TlsConnector::from(Arc::new(self.ca.client_config(alpn, identity)));
        connector
            .connect(ServerName::try_from(name.to_owned()).unwrap(), tcp)
            .await
    }

    async fn client(&self, http: Http) -> Client {
        let alpn = match http {
            Http::One => "http/1.1",
            Http::Two => "h2",
        };
        Client::on(self.connect("one.test", &[alpn], None).await.unwrap(), http).await
    }

    /// Whether a request gets an answer. In TLS 1.3 a client is refused after its handshake.
    async fn is_served(&self, identity: Option<&Certified>) -> bool {
        let Ok(tls) = self.connect("one.test", &["http/1.1"], identity).await else {
            return false;
        };
        let mut client = Client::on(tls, Http::One).await;
        let request = client.request(CHAT, chat("gpt-4o"));
        client
            .send(request)
            .await
            .is_ok_and(|response| response.status() == 200)
    }

    /// The serial number of the certificate that a client sees who asks for `name`.
    async fn serial(&self, name: &str) -> u8 {
        let tcp = TcpStream::connect(self.house.gateway.proxy).await.unwrap();
        let mut config = self.ca.client_config(&["http/1.1"], None);
        // The certificate is looked at here, whosever it is.
        config
            .dangerous()
            .set_certificate_verifier(Arc::new(AnyName(self.ca.verifier())));
        let connector = TlsConnector::from(Arc::new(config));
        let tls = connector
            .connect(ServerName::try_from(name.to_owned()).unwrap(), tcp)
            .await
            .unwrap();
        let certificate = &tls.get_ref().1.peer_certificates().unwrap()[0];
        serial(certificate)
    }
}

async fn serve(dir: TempDir, yaml: &str) -> House {
    House::serve_in(dir, yaml).await
}

/// Serials here are one byte; it follows the version in the DER (RFC 5280, section 4.1).
fn serial(certificate: &CertificateDer<'_>) -> u8 {
    let version = [0xa0, 3, 2, 1, 2, 2, 1];
    let at = certificate
        .windows(version.len())
        .position(|window| window == version)
        .unwrap();
    certificate[at + version.len()]
}

/// A certificate and its key.
struct Certified {
    chain: Vec<CertificateDer<'static>>,
    key: KeyPair,
}

/// An authority that both sides trust.
pub(crate) struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
}

impl Authority {
    pub(crate) fn new() -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params
            .distinguished_name
            .push(DnType::CommonName, "turnpike test CA");
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        Self { issuer }
    }

    pub(crate) fn certificate(&self) -> CertificateDer<'static> {
        self.issuer.der().clone()
    }

    pub(crate) fn pem(&self) -> String {
        self.issuer.pem()
    }

    /// Writes `{file}.crt` and `{file}.key`.
    pub(crate) fn write(&self, dir: &Path, file: &str, names: &[&str], serial: u8) {
        let mut params = CertificateParams::new(
            names
                .iter()
                .map(|name| (*name).to_owned())
                .collect::<Vec<_>>(),
        )
        .unwrap();
        params.serial_number = Some(vec![serial].into());
        self.write_of(params, dir, file);
    }

    /// The same; it ends with the year before this one.
    fn write_until(&self, dir: &Path, file: &str, year: i32) {
        let mut params = CertificateParams::new(vec![format!("{file}.test")]).unwrap();
        params.not_after = rcgen::date_time_ymd(year, 1, 1);
        self.write_of(params, dir, file);
    }

    fn write_of(&self, params: CertificateParams, dir: &Path, file: &str) {
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        std::fs::write(dir.join(format!("{file}.crt")), certificate.pem()).unwrap();
        std::fs::write(dir.join(format!("{file}.key")), key.serialize_pem()).unwrap();
    }

    fn client(&self) -> Certified {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec!["agent.test".to_owned()]).unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        Certified {
            chain: vec![certificate.der().clone()],
            key,
        }
    }

    fn roots(&self) -> Arc<RootCertStore> {
        let mut roots = RootCertStore::empty();
        roots.add(self.issuer.der().clone()).unwrap();
        Arc::new(roots)
    }

    fn verifier(&self) -> Arc<rustls::client::WebPkiServerVerifier> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        rustls::client::WebPkiServerVerifier::builder_with_provider(self.roots(), provider)
            .build()
            .unwrap()
    }

    fn client_config(&self, alpn: &[&str], identity: Option<&Certified>) -> ClientConfig {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(self.roots());
        let mut config = match identity {
            None => builder.with_no_client_auth(),
            Some(own) => {
                let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(own.key.serialize_der()));
                builder
                    .with_client_auth_cert(own.chain.clone(), key)
                    .unwrap()
            }
        };
        config.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
        config
    }
}

/// Checks the chain and takes any name.
#[derive(Debug)]
struct AnyName(Arc<rustls::client::WebPkiServerVerifier>);

impl rustls::client::danger::ServerCertVerifier for AnyName {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: rustls::pki_types::UnixTime,
    ) -> Result<rustls::client::danger::ServerCertVerified, rustls::Error> {
        use rustls::CertificateError::{NotValidForName, NotValidForNameContext};
        match self
            .0
            .verify_server_cert(end_entity, intermediates, name, ocsp, now)
        {
            Err(rustls::Error::InvalidCertificate(
                NotValidForName | NotValidForNameContext { .. },
            )) => Ok(rustls::client::danger::ServerCertVerified::assertion()),
            verified => verified,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &rustls::DigitallySignedStruct,
    ) -> Result<rustls::client::danger::HandshakeSignatureValid, rustls::Error> {
        self.0
            .verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &rustls::DigitallySignedStruct,
    ) -> Result<rustls::client::danger::HandshakeSignatureValid, rustls::Error> {
        self.0
            .verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<rustls::SignatureScheme> {
        self.0.supported_verify_schemes()
    }
}
