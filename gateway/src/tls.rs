//! The proxy listener's TLS, made anew with each configuration, so that certificates and the
//! rules for client certificates change without a restart.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use pingora::listeners::tls::Acceptor;
use rustls::client::verify_server_name;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::server::{ClientHello, ParsedCertificate, ResolvesServerCert, WebPkiClientVerifier};
use rustls::sign::CertifiedKey;
use rustls::{RootCertStore, ServerConfig};
use turnpike_config::plan::{CertificatePlan, ClientAuth, TlsPlan};
use x509_parser::parse_x509_certificate;

/// The certificates of a configuration, ready to be shown.
pub struct Tls {
    pub acceptor: Acceptor,
    /// Files of certificates, and when what is in them is no longer good, in seconds since 1970.
    pub ends: Vec<(String, i64)>,
}

/// Reads the certificates, or says which file is wrong.
pub fn tls(plan: &TlsPlan) -> Result<Tls, String> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let keys = plan
        .certificates
        .iter()
        .map(certified_key)
        .collect::<Result<Vec<_>, _>>()?;
    let ends = plan.certificates.iter().zip(&keys);
    let ends = ends.filter_map(|(plan, key)| Some((plan.cert.display().to_string(), end(key)?)));
    let ends = ends.collect();
    let builder = ServerConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .map_err(|error| format!("server.tls: {error}"))?;
    let builder = match (&plan.client_ca, plan.client_auth) {
        (_, ClientAuth::Off) | (None, _) => builder.with_no_client_auth(),
        (Some(ca), auth) => {
            let verifier =
                WebPkiClientVerifier::builder_with_provider(Arc::new(roots(ca)?), provider);
            let verifier = match auth {
                ClientAuth::Optional => verifier.allow_unauthenticated(),
                ClientAuth::Off | ClientAuth::Required => verifier,
            };
            let verifier = verifier
                .build()
                .map_err(|error| format!("server.tls.client_ca: {error}"))?;
            builder.with_client_cert_verifier(verifier)
        }
    };
    let mut config = builder.with_cert_resolver(Arc::new(BySni(keys)));
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(Tls {
        acceptor: Acceptor::from_server_config(Arc::new(config)),
        ends,
    })
}

/// When the first of a chain ends. What only rustls can read is served, and has none.
fn end(key: &CertifiedKey) -> Option<i64> {
    let read = key.cert.iter().map(|one| parse_x509_certificate(one));
    let read = read.filter_map(Result::ok);
    read.map(|(_, one)| one.validity().not_after.timestamp())
        .min()
}

fn certified_key(plan: &CertificatePlan) -> Result<Arc<CertifiedKey>, String> {
    let chain = certificates(&plan.cert)?;
    let key = PrivateKeyDer::from_pem_file(&plan.key).map_err(|error| {
        format!(
            "server.tls: {} holds no PEM private key: {error}",
            plan.key.display()
        )
    })?;
    let key = rustls::crypto::ring::sign::any_supported_type(&key)
        .map_err(|error| format!("server.tls: {}: {error}", plan.key.display()))?;
    let certified = CertifiedKey::new(chain, key);
    certified.keys_match().map_err(|error| {
        format!(
            "server.tls: {} is not the key of {}: {error}",
            plan.key.display(),
            plan.cert.display()
        )
    })?;
    Ok(Arc::new(certified))
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let wrong = |why: &dyn fmt::Display| {
        format!(
            "server.tls: {} holds no PEM certificate: {why}",
            path.display()
        )
    };
    let chain: Vec<_> = CertificateDer::pem_file_iter(path)
        .and_then(Iterator::collect)
        .map_err(|error| wrong(&error))?;
    if chain.is_empty() {
        Err(wrong(&"it is empty"))
    } else {
        Ok(chain)
    }
}

fn roots(path: &Path) -> Result<RootCertStore, String> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(path)? {
        roots
            .add(certificate)
            .map_err(|error| format!("server.tls.client_ca: {}: {error}", path.display()))?;
    }
    Ok(roots)
}

/// The first certificate that is valid for the name the client asks for; the first of all for
/// other names and for clients that name none.
#[derive(Debug)]
struct BySni(Vec<Arc<CertifiedKey>>);

impl ResolvesServerCert for BySni {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let name = hello
            .server_name()
            .and_then(|name| ServerName::try_from(name.to_owned()).ok());
        let named = name.and_then(|name| self.0.iter().find(|key| is_valid_for(key, &name)));
        named.or(self.0.first()).cloned()
    }
}

fn is_valid_for(key: &CertifiedKey, name: &ServerName<'_>) -> bool {
    let Some(certificate) = key.cert.first() else {
        return false;
    };
    ParsedCertificate::try_from(certificate)
        .is_ok_and(|parsed| verify_server_name(&parsed, name).is_ok())
}
