//! The section `server.tls`.

use crate::document::{ClientAuth, Tls};
use crate::locate::Path;
use crate::plan::{self, CertificatePlan, TlsPlan};

use super::Context;

pub(super) fn tls(written: &Tls, section: &Path, context: &mut Context<'_>) -> Option<TlsPlan> {
    let certificates = certificates(written, section, context);
    let client_ca = written.client_ca.as_ref();
    let client_ca = client_ca.map(|file| context.readable(&section.field("client_ca"), file));
    let client_auth = match written.client_auth {
        ClientAuth::Off => plan::ClientAuth::Off,
        ClientAuth::Optional => plan::ClientAuth::Optional,
        ClientAuth::Required => plan::ClientAuth::Required,
    };
    if client_ca.is_none() && client_auth != plan::ClientAuth::Off {
        let message = "needs `client_ca`, the authorities of client certificates";
        context.report.at(&section.field("client_auth"), message);
    }
    if client_ca.is_some() && client_auth == plan::ClientAuth::Off {
        let message = "has no effect while `client_auth` is off";
        context.warn(&section.field("client_ca"), message);
    }
    (!certificates.is_empty()).then_some(TlsPlan {
        certificates,
        client_ca,
        client_auth,
    })
}

fn certificates(written: &Tls, section: &Path, context: &mut Context<'_>) -> Vec<CertificatePlan> {
    let mut pairs = Vec::new();
    match (&written.cert, &written.key) {
        (Some(cert), Some(key)) => pairs.push((section.clone(), cert, key)),
        (Some(_), None) => context
            .report
            .at(&section.field("cert"), "needs `key` beside it"),
        (None, Some(_)) => context
            .report
            .at(&section.field("key"), "needs `cert` beside it"),
        (None, None) if written.certificates.is_empty() => {
            if !context.report.is_broken(section) && context.report.is_written(section) {
                let message = "needs `cert` and `key`, or `certificates`; leave `tls` out for none";
                context.report.at(section, message);
            }
        }
        (None, None) => {}
    }
    for (index, pair) in written.certificates.iter().enumerate() {
        pairs.push((
            section.field("certificates").item(index),
            &pair.cert,
            &pair.key,
        ));
    }
    let read = |(at, cert, key): (Path, &String, &String)| CertificatePlan {
        cert: context.readable(&at.field("cert"), cert),
        key: context.readable(&at.field("key"), key),
    };
    pairs.into_iter().map(read).collect()
}
