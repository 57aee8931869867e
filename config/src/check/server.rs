//! The sections `server` and `admin`: two listeners and what they allow.

use std::net::IpAddr;

use ::url::Url;
use ipnet::IpNet;

use crate::document::{Admin, Limits, Server};
use crate::locate::Path;
use crate::plan::{LimitsPlan, ListenAddr, ServerPlan, TimeoutsPlan, TlsPlan};

use super::secret_key::secret_key;
use super::{Context, tls, url};

pub(super) fn server(written: &Server, context: &mut Context<'_>) -> Option<ServerPlan> {
    let section = Path::default().field("server");
    let listen = address(&written.host, written.port, &section, context);
    let tls_section = section.field("tls");
    let tls = written
        .tls
        .as_ref()
        .and_then(|tls| tls::tls(tls, &tls_section, context));
    let public_url = public_url(written, &listen, tls.as_ref(), &section, context);
    Some(ServerPlan {
        trusted_proxies: networks(
            &written.trusted_proxies,
            &section.field("trusted_proxies"),
            context,
        ),
        allowed_origins: origins(written, &section.field("cors"), context),
        limits: limits(&written.limits, &section.field("limits"), context),
        timeouts: TimeoutsPlan {
            connect: written.timeouts.connect.0,
            first_byte: written.timeouts.first_byte.0,
            idle: written.timeouts.idle.0,
            total: written.timeouts.total.0,
        },
        threads: threads(written.threads),
        public_url: public_url?,
        secret_key: written
            .secret_key
            .as_ref()
            .and_then(|key| secret_key(&key.0, &section.field("secret_key"), context)),
        listen,
        tls,
    })
}

/// The admin listener, which must be the server's or clear of it.
pub(super) fn admin(written: &Admin, server: &Server, context: &mut Context<'_>) -> ListenAddr {
    let section = Path::default().field("admin");
    let admin = address(&written.host, written.port, &section, context);
    let clients = ListenAddr {
        host: bare(&server.host),
        port: server.port,
    };
    if admin != clients && overlap(&admin, &clients) {
        let message = format!(
            "{admin} overlaps the server's {clients}; write equal addresses for one listener that \
             serves both, or another port"
        );
        context.report.at(&section.field("port"), message);
    }
    if !admin.is_loopback() {
        let message = "other machines can reach the admin listener, which asks for no key for \
                       health and metrics; bind it to 127.0.0.1 or keep the port behind a firewall";
        context.warn(&section.field("host"), message);
    }
    admin
}

fn address(host: &str, port: u16, section: &Path, context: &mut Context<'_>) -> ListenAddr {
    let host = bare(host);
    let is_name = |host: &str| {
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_');
        !host.is_empty() && host.chars().all(plain)
    };
    if host.parse::<IpAddr>().is_err() && !is_name(&host) {
        let message =
            "expected an address or a host name without scheme and port, such as 127.0.0.1";
        context.report.at(&section.field("host"), message);
    }
    ListenAddr { host, port }
}

/// `[::1]` is `::1`.
fn bare(host: &str) -> String {
    let inner = host
        .strip_prefix('[')
        .and_then(|host| host.strip_suffix(']'));
    inner.unwrap_or(host).to_owned()
}

/// Whether two different addresses cannot both be bound. Port 0 is a port of its own each time.
fn overlap(one: &ListenAddr, other: &ListenAddr) -> bool {
    let any = |at: &ListenAddr| {
        at.host
            .parse::<IpAddr>()
            .is_ok_and(|ip| ip.is_unspecified())
    };
    let same_host = one.host.eq_ignore_ascii_case(&other.host)
        || match (one.host.parse::<IpAddr>(), other.host.parse::<IpAddr>()) {
            (Ok(one), Ok(other)) => one.to_canonical() == other.to_canonical(),
            // `localhost` is one of the loopback addresses.
            _ => one.is_loopback() && other.is_loopback(),
        };
    one.port == other.port && one.port != 0 && (same_host || any(one) || any(other))
}

fn public_url(
    written: &Server,
    listen: &ListenAddr,
    tls: Option<&TlsPlan>,
    section: &Path,
    context: &mut Context<'_>,
) -> Option<Url> {
    let key = section.field("public_url");
    let scheme = if tls.is_some() { "https" } else { "http" };
    let text = written
        .public_url
        .clone()
        .unwrap_or_else(|| format!("{scheme}://{listen}"));
    if written.public_url.is_none() && !listen.is_loopback() {
        let message = format!("not set; clients are told {text}, which they may not reach");
        context.warn(&key, message);
    }
    match url::base(&text) {
        Ok(url) => Some(url),
        // Made of a bad host, which is reported as such.
        Err(_) if written.public_url.is_none() => None,
        Err(message) => {
            context.report.at(&key, message);
            None
        }
    }
}

fn origins(written: &Server, section: &Path, context: &mut Context<'_>) -> Vec<String> {
    let key = section.field("allowed_origins");
    let mut origins = Vec::new();
    for (index, text) in written.cors.allowed_origins.iter().enumerate() {
        let url = Url::parse(text).ok();
        let origin = url.map(|url| url.origin().ascii_serialization());
        let message = match origin {
            // As it is written is as browsers send it: no path, no slash at its end.
            Some(origin) if origin == *text && text.starts_with("http") => {
                if !origins.contains(&origin) {
                    origins.push(origin);
                }
                continue;
            }
            _ if text == "*" => {
                "name each origin: any page could spend what its visitors' keys may"
            }
            _ => {
                "expected an origin such as https://chat.example.com, in lower case, without a path"
            }
        };
        context.report.at(&key.item(index), message);
    }
    origins
}

pub(super) fn networks(written: &[String], key: &Path, context: &mut Context<'_>) -> Vec<IpNet> {
    let mut networks = Vec::new();
    for (index, text) in written.iter().enumerate() {
        let network = text
            .parse()
            .or_else(|_| text.parse::<IpAddr>().map(IpNet::from));
        match network {
            Ok(network) => networks.push(network),
            Err(_) => {
                let message = "expected a network such as 10.0.0.0/8, or an address";
                context.report.at(&key.item(index), message);
            }
        }
    }
    networks
}

fn limits(written: &Limits, section: &Path, context: &mut Context<'_>) -> LimitsPlan {
    let (body, buffered) = (written.max_body, written.max_buffered);
    if body.0 == 0 {
        context.report.at(
            &section.field("max_body"),
            "expected a size larger than zero",
        );
    } else if buffered < body {
        let message = format!("{buffered} is less than `max_body`, {body}: no such body would fit");
        context.report.at(&section.field("max_buffered"), message);
    }
    LimitsPlan {
        max_body: body.0,
        max_buffered: buffered.0,
        body_timeout: written.body_timeout.0,
        header_timeout: written.header_timeout.0,
        max_connections: written.max_connections as usize,
    }
}

fn threads(written: u16) -> usize {
    match usize::from(written) {
        0 => std::thread::available_parallelism().map_or(1, Into::into),
        threads => threads,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_that_cannot_both_be_bound() {
        let at = |host: &str, port| ListenAddr {
            host: host.into(),
            port,
        };
        assert!(overlap(&at("0.0.0.0", 80), &at("127.0.0.1", 80)));
        assert!(overlap(&at("::", 80), &at("127.0.0.1", 80)));
        assert!(overlap(&at("localhost", 80), &at("127.0.0.1", 80)));
        assert!(!overlap(&at("127.0.0.2", 80), &at("127.0.0.1", 80)));
        assert!(!overlap(&at("0.0.0.0", 80), &at("127.0.0.1", 81)));
        assert!(!overlap(&at("0.0.0.0", 0), &at("127.0.0.1", 0)));
    }
}
