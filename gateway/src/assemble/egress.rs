//! How credentials' calls leave: proxies, trusted roots, allowed hosts.

use std::collections::HashMap;
use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash, Hasher};
use std::path::Path;

use pingora::utils::tls::{WrappedX509, parse_x509};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use turnpike_config::plan::{EgressPlan, Plan, ProxyChoice, ProxyScheme, ProxyUrl};
use url::Url;

use super::Ground;
use crate::upstream::Endpoint;
use crate::upstream::dial::{Dialer, EgressProxy, ProxyProtocol};
use crate::upstream::endpoint::{Roots, Way};

/// Makes the endpoints of one configuration.
#[derive(Clone)]
pub struct Egress {
    plan: EgressPlan,
    way: Way,
    /// One endpoint an origin and way, whichever credentials share it.
    endpoints: HashMap<(String, String), Endpoint>,
}

impl Egress {
    /// With what stands in its way, if anything: the roots that cannot be read.
    pub(super) fn new(plan: &Plan, ground: &Ground) -> (Self, Option<String>) {
        let (roots, problem) = match roots(plan) {
            Ok(roots) => (roots, None),
            Err(problem) => (None, Some(problem)),
        };
        let way = Way {
            resolver: ground.resolver.clone(),
            connect_timeout: plan.server.timeouts.connect,
            allow_private: plan.egress.allow_private,
            roots,
        };
        let egress = Self {
            plan: plan.egress.clone(),
            way,
            endpoints: HashMap::new(),
        };
        (egress, problem)
    }

    /// The endpoint of a URL by the chosen way, if its host may be called.
    pub fn endpoint(&mut self, base_url: &Url, proxy: &ProxyChoice) -> Result<Endpoint, String> {
        self.allowed(base_url)?;
        let proxy = self.proxy(proxy, base_url);
        let way = proxy.as_ref().map_or(String::new(), way_through);
        let key = (base_url.as_str().to_owned(), way);
        Ok(self
            .endpoints
            .entry(key)
            .or_insert_with(|| Endpoint::new(base_url, proxy, &self.way))
            .clone())
    }

    /// The way to a host and a port that speak no HTTP, if it may be called.
    pub fn dialer(&self, address: &Url) -> Result<Dialer, String> {
        self.allowed(address)?;
        let proxy = self.proxy(&ProxyChoice::Inherit, address);
        Ok(Dialer::new(address, proxy, &self.way))
    }

    /// Additional authorities, as they are configured.
    pub fn ca_file(&self) -> Option<&Path> {
        self.plan.ca_file.as_deref()
    }

    fn allowed(&self, base_url: &Url) -> Result<(), String> {
        let allowed = &self.plan.allowed_hosts;
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

    fn proxy(&self, choice: &ProxyChoice, base_url: &Url) -> Option<EgressProxy> {
        let chosen = match choice {
            ProxyChoice::Direct => None,
            ProxyChoice::Url(url) => Some(url),
            ProxyChoice::Inherit if bypasses_proxy(&self.plan.no_proxy, base_url) => None,
            ProxyChoice::Inherit if matches!(base_url.scheme(), "https" | "tls" | "tcp") => {
                self.plan.https_proxy.as_ref()
            }
            ProxyChoice::Inherit => self.plan.http_proxy.as_ref(),
        };
        chosen.map(egress_proxy)
    }
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
