//! Plan and plugin tables to a snapshot. Pure but for reading certificates: it neither connects
//! nor spawns, so a configuration that fails here leaves nothing behind.

use std::collections::HashMap;
use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use http::{HeaderName, HeaderValue};
use pingora::utils::tls::{WrappedX509, parse_x509};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use turnpike_api::{Identity, ModelRules, Selector, find};
use turnpike_config::plan::{
    CredentialPlan, Plan, ProviderPlan, ProxyChoice, ProxyScheme, ProxyUrl, Selection,
};
use turnpike_credentials::SELECTORS;
use turnpike_identity::{AUTHENTICATORS, Settings};
use turnpike_providers::PROVIDERS;
use url::Url;
use zeroize::Zeroizing;

use crate::boot::BootError;
use crate::observe::metrics::Metrics;
use crate::snapshot::Snapshot;
use crate::tls;
use crate::upstream::catalogue::{Offer, Vendor};
use crate::upstream::dial::{EgressProxy, ProxyProtocol};
use crate::upstream::endpoint::{Roots, Way};
use crate::upstream::resolve::Resolver;
use crate::upstream::{Catalogue, Credential, Endpoint};

/// What snapshots are made on: the handles that outlive them.
#[derive(Clone)]
pub struct Ground {
    pub metrics: Metrics,
    pub resolver: Arc<Resolver>,
    pub digest_key: [u8; 32],
}

impl Ground {
    /// For one process.
    pub fn new() -> Result<Self, BootError> {
        let mut digest_key = [0; 32];
        getrandom::fill(&mut digest_key).map_err(BootError::Random)?;
        Ok(Self {
            metrics: Metrics::new()?,
            resolver: Arc::default(),
            digest_key,
        })
    }
}

/// Makes the snapshot, or says everything that stands in its way.
///
/// `may_open` is whether a configuration without client keys opens the gateway: at start, and
/// when it was open before. A reload never opens a gateway that was closed.
pub fn assemble(
    plan: &Plan,
    ground: &Ground,
    generation: u64,
    may_open: bool,
) -> Result<Snapshot, Vec<String>> {
    let mut assembly = Assembly::new(plan, ground);
    let acceptor = plan.server.tls.as_ref().map(tls::acceptor).transpose();
    let acceptor = acceptor.unwrap_or_else(|problem| {
        assembly.problems.push(problem);
        None
    });
    let offers = assembly.offers();
    let default_selector = assembly.selector(plan.selection);
    if !assembly.problems.is_empty() {
        return Err(assembly.problems);
    }
    let settings = Settings {
        api_keys: client_keys(plan),
        digest_key: ground.digest_key,
    };
    Ok(Snapshot {
        generation,
        authenticators: AUTHENTICATORS
            .iter()
            .map(|row| (row.build)(&settings))
            .collect(),
        authorizers: turnpike_access::AUTHORIZERS
            .iter()
            .map(|row| (row.build)(&()))
            .collect(),
        open: may_open && plan.client_keys.is_empty() && plan.server.listen.is_loopback(),
        catalogue: Catalogue::new(
            offers,
            plan.force_model_prefix,
            default_selector,
            ground.metrics.clone(),
        ),
        acceptor,
        max_attempts: plan.max_retry_credentials.max(1),
        limits: plan.server.limits.clone(),
        timeouts: plan.server.timeouts.clone(),
        trusted_proxies: plan.server.trusted_proxies.clone(),
        public_url: plan
            .server
            .public_url
            .as_str()
            .trim_end_matches('/')
            .to_owned(),
    })
}

/// Makes a snapshot only to see whether one can be made.
pub fn check(plan: &Plan) -> Result<(), BootError> {
    assemble(plan, &Ground::new()?, 0, true)
        .map(drop)
        .map_err(BootError::Assemble)
}

/// The provider kinds there are, and whether each knows its own base URL.
pub fn provider_kinds() -> Vec<(&'static str, bool)> {
    PROVIDERS
        .iter()
        .map(|row| (row.kind, (row.build)(&()).default_base_url().is_some()))
        .collect()
}

fn client_keys(plan: &Plan) -> Vec<(turnpike_api::Secret, Arc<Identity>)> {
    plan.client_keys
        .iter()
        .map(|key| {
            let models = key
                .models
                .as_ref()
                .map_or_else(ModelRules::any, ModelRules::new);
            (
                key.key.clone(),
                Arc::new(Identity {
                    name: key.name.as_str().into(),
                    models,
                }),
            )
        })
        .collect()
}

/// The system's roots and `egress.ca_file`; `None` when the system's alone will do, which the
/// connector has loaded already.
fn roots(plan: &Plan) -> Result<Option<Roots>, String> {
    let Some(path) = &plan.egress.ca_file else {
        return Ok(None);
    };
    let own = CertificateDer::pem_file_iter(path)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|error| {
            format!(
                "egress.ca_file: {} holds no PEM certificates: {error}",
                path.display()
            )
        })?;
    let system = rustls_native_certs::load_native_certs().certs;
    let mut hasher = DefaultHasher::new();
    own.iter()
        .for_each(|certificate| certificate.as_ref().hash(&mut hasher));
    let certificates: Vec<WrappedX509> = system
        .into_iter()
        .chain(own)
        .map(|certificate| WrappedX509::new(certificate.as_ref().to_vec(), parse_x509))
        .collect();
    Ok(Some(Roots {
        certificates: certificates.into(),
        digest: hasher.finish(),
    }))
}

struct Assembly<'a> {
    plan: &'a Plan,
    ground: &'a Ground,
    way: Way,
    /// One endpoint an origin and way, whichever credentials share it.
    endpoints: HashMap<(String, String), Endpoint>,
    problems: Vec<String>,
}

impl<'a> Assembly<'a> {
    fn new(plan: &'a Plan, ground: &'a Ground) -> Self {
        let (roots, problems) = match roots(plan) {
            Ok(roots) => (roots, Vec::new()),
            Err(problem) => (None, vec![problem]),
        };
        let way = Way {
            resolver: ground.resolver.clone(),
            connect_timeout: plan.server.timeouts.connect,
            allow_private: plan.egress.allow_private,
            roots,
        };
        Self {
            plan,
            ground,
            way,
            endpoints: HashMap::new(),
            problems,
        }
    }

    fn offers(&mut self) -> Vec<(Offer, Arc<Credential>)> {
        let mut offers = Vec::new();
        for provider in &self.plan.providers {
            let Some(vendor) = self.vendor(provider) else {
                continue;
            };
            for credential in &provider.credentials {
                let offer = Offer {
                    vendor: vendor.name.clone(),
                    prefix: credential.prefix.clone(),
                    models: credential
                        .models
                        .iter()
                        .map(|m| (m.name.clone(), m.alias.clone()))
                        .collect(),
                    excluded: credential.excluded_models.clone(),
                };
                match self.credential(&vendor, credential) {
                    Ok(credential) => offers.push((offer, Arc::new(credential))),
                    Err(problem) => self.problems.push(problem),
                }
            }
        }
        offers
    }

    fn vendor(&mut self, provider: &ProviderPlan) -> Option<Arc<Vendor>> {
        let plugin = match find(PROVIDERS, &provider.kind) {
            Ok(row) => (row.build)(&()),
            Err(unknown) => {
                self.problems
                    .push(format!("providers.{}.kind: {unknown}", provider.name));
                return None;
            }
        };
        let selector = self.selector(provider.selection.unwrap_or(self.plan.selection));
        Some(Arc::new(Vendor {
            name: provider.name.as_str().into(),
            plugin,
            selector,
        }))
    }

    fn selector(&mut self, selection: Selection) -> Arc<dyn Selector> {
        match find(SELECTORS, selection.as_str()) {
            Ok(row) => (row.build)(&()),
            Err(unknown) => {
                self.problems
                    .push(format!("auth.selection_strategy: {unknown}"));
                Arc::new(turnpike_credentials::RoundRobin)
            }
        }
    }

    fn credential(
        &mut self,
        vendor: &Arc<Vendor>,
        plan: &CredentialPlan,
    ) -> Result<Credential, String> {
        let named = |what: &str| format!("credential {}: {what}", plan.id);
        let secret_headers = vendor
            .plugin
            .credential_headers(&plan.secret)
            .ok_or_else(|| named("its key has characters that a header cannot hold"))?;
        let base_url = match &plan.base_url {
            Some(url) => url.clone(),
            None => vendor
                .plugin
                .default_base_url()
                .and_then(|url| Url::parse(url).ok())
                .ok_or_else(|| {
                    named("its provider's kind has no address of its own; set `base_url`")
                })?,
        };
        let headers = operator_headers(&plan.headers).map_err(|problem| named(&problem))?;
        let proxy = self.proxy(plan, &base_url);
        self.allowed(&base_url).map_err(|problem| named(&problem))?;
        let endpoint = self.endpoint(&base_url, proxy);

        let id: Arc<str> = plan.id.as_str().into();
        Ok(Credential {
            lines: lines(&endpoint, &secret_headers, &headers),
            metrics: self.ground.metrics.credential(&vendor.name, &id),
            id,
            vendor: vendor.clone(),
            endpoint,
            secret: plan.secret.clone(),
            priority: plan.priority,
            disabled: plan.disabled,
            headers,
        })
    }

    fn allowed(&self, base_url: &Url) -> Result<(), String> {
        let allowed = &self.plan.egress.allowed_hosts;
        let host = base_url.host_str().unwrap_or_default();
        let matches = |glob: &String| turnpike_api::glob_matches(&glob.to_ascii_lowercase(), host);
        if allowed.is_empty() || allowed.iter().any(matches) {
            Ok(())
        } else {
            Err(format!(
                "its host {host} is not among `egress.allowed_hosts`"
            ))
        }
    }

    fn proxy(&self, plan: &CredentialPlan, base_url: &Url) -> Option<EgressProxy> {
        let egress = &self.plan.egress;
        let chosen = match &plan.proxy {
            ProxyChoice::Direct => None,
            ProxyChoice::Url(url) => Some(url),
            ProxyChoice::Inherit if bypasses_proxy(&egress.no_proxy, base_url) => None,
            ProxyChoice::Inherit if base_url.scheme() == "https" => egress.https_proxy.as_ref(),
            ProxyChoice::Inherit => egress.http_proxy.as_ref(),
        };
        chosen.map(egress_proxy)
    }

    fn endpoint(&mut self, base_url: &Url, proxy: Option<EgressProxy>) -> Endpoint {
        let way = proxy.as_ref().map_or(String::new(), way_through);
        let key = (base_url.as_str().to_owned(), way);
        self.endpoints
            .entry(key)
            .or_insert_with(|| Endpoint::new(base_url, proxy, &self.way))
            .clone()
    }
}

/// Tells one way through a proxy from another, without showing the password.
fn way_through(proxy: &EgressProxy) -> String {
    let login = proxy.credentials.as_ref().map(|(user, password)| {
        let digest = blake3::hash(password.expose().as_bytes());
        format!("{user} {}", digest.to_hex())
    });
    format!(
        "{:?} {login:?} {}:{}",
        proxy.protocol, proxy.host, proxy.port
    )
}

fn egress_proxy(url: &ProxyUrl) -> EgressProxy {
    let protocol = match url.scheme {
        ProxyScheme::Http => ProxyProtocol::Http,
        ProxyScheme::Socks5 => ProxyProtocol::Socks5,
    };
    EgressProxy {
        protocol,
        host: url.host.clone(),
        port: url.port,
        credentials: url.credentials.clone(),
    }
}

/// `NO_PROXY`'s usual meaning: `*`, a host, a domain with or without its dot, or a network; with
/// a port, that port of it only.
fn bypasses_proxy(no_proxy: &[String], base_url: &Url) -> bool {
    let host = base_url.host_str().unwrap_or_default();
    let host = bare(host).to_ascii_lowercase();
    let port = base_url.port_or_known_default().unwrap_or(80);
    no_proxy.iter().any(|entry| {
        let entry = entry.trim().to_ascii_lowercase();
        let (named, only) = split_port(&entry);
        only.is_none_or(|only| only == port) && names_host(bare(named), &host)
    })
}

fn bare(host: &str) -> &str {
    host.trim_matches(['[', ']'])
}

/// An IPv6 address has a port only behind brackets.
fn split_port(entry: &str) -> (&str, Option<u16>) {
    match entry.rsplit_once(':') {
        Some((host, port)) if !host.contains(':') || host.ends_with(']') => match port.parse() {
            Ok(port) => (host, Some(port)),
            Err(_) => (entry, None),
        },
        _ => (entry, None),
    }
}

fn names_host(entry: &str, host: &str) -> bool {
    if entry == "*" || entry == host {
        return true;
    }
    if let (Ok(network), Ok(ip)) = (
        entry.parse::<ipnet::IpNet>(),
        host.parse::<std::net::IpAddr>(),
    ) {
        return network.contains(&ip);
    }
    let domain = entry.trim_start_matches("*.").trim_start_matches('.');
    !domain.is_empty()
        && host
            .strip_suffix(domain)
            .is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
}

fn operator_headers(
    headers: &[(String, String)],
) -> Result<Vec<(HeaderName, HeaderValue)>, String> {
    headers
        .iter()
        .map(|(name, value)| {
            let header = HeaderName::try_from(name.as_str())
                .map_err(|_| format!("`{name}` is no header's name"))?;
            let value = HeaderValue::try_from(value.as_str()).map_err(|_| {
                format!("the value of header `{name}` has characters that a header cannot hold")
            })?;
            Ok((header, value))
        })
        .collect()
}

/// The header lines that are the same in every HTTP/1 call with the credential.
fn lines(
    endpoint: &Endpoint,
    secret_headers: &[(HeaderName, HeaderValue)],
    headers: &[(HeaderName, HeaderValue)],
) -> Zeroizing<Vec<u8>> {
    let mut lines = Zeroizing::new(Vec::with_capacity(256));
    let mut line = |name: &str, value: &[u8]| {
        for part in [name.as_bytes(), b": ", value, b"\r\n"] {
            lines.extend_from_slice(part);
        }
    };
    line("host", endpoint.host().as_bytes());
    for (name, value) in secret_headers.iter().chain(headers) {
        line(name.as_str(), value.as_bytes());
    }
    // A compressed answer could not be metered; nothing is lost inside a data centre.
    line("accept-encoding", b"identity");
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_proxy_means_what_it_usually_means() {
        let no_proxy: Vec<String> = [
            "localhost",
            ".corp.example",
            "internal.test",
            "10.0.0.0/8",
            "::1",
            "fd00::/8",
            "ported.test:8080",
            "tls.test:443",
            "192.0.2.1:81",
            "[2001:db8::1]:81",
            "[2001:db8::2]",
        ]
        .map(String::from)
        .into();
        for (url, bypassed) in [
            ("http://localhost", true),
            ("http://LOCALHOST:1", true),
            ("https://api.corp.example", true),
            ("https://corp.example", true),
            ("https://notcorp.example", false),
            ("https://a.internal.test", true),
            ("http://10.1.2.3", true),
            ("http://11.1.2.3", false),
            ("http://[::1]", true),
            ("http://[fd00::1]", true),
            ("https://api.openai.com", false),
            ("http://ported.test:8080", true),
            ("h2c://a.ported.test:8080", true),
            ("http://ported.test", false),
            ("https://tls.test/v1", true),
            ("http://tls.test", false),
            ("http://192.0.2.1:81", true),
            ("http://192.0.2.1", false),
            ("http://[2001:db8::1]:81", true),
            ("http://[2001:db8::1]", false),
            ("http://[2001:db8::2]:9", true),
        ] {
            let parsed = Url::parse(url).unwrap();
            assert_eq!(bypasses_proxy(&no_proxy, &parsed), bypassed, "{url}");
        }
        let any = Url::parse("https://anything").unwrap();
        assert!(bypasses_proxy(&["*".into()], &any));
    }

    #[test]
    fn ways_differ_by_the_password_and_do_not_show_it() {
        let way = |credentials: Option<(&str, &str)>| {
            way_through(&EgressProxy {
                protocol: ProxyProtocol::Http,
                host: "proxy".into(),
                port: 1,
                credentials: credentials
                    .map(|(user, password)| (user.into(), turnpike_api::Secret::new(password))),
            })
        };
        assert_eq!(way(Some(("u", "one"))), way(Some(("u", "one"))));
        assert_ne!(way(Some(("u", "one"))), way(Some(("u", "two"))));
        assert_ne!(way(Some(("u", ""))), way(None));
        assert!(!way(Some(("u", "CANARY"))).contains("CANARY"));
    }
}
