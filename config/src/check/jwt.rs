//! The section `jwt`.

use std::collections::HashMap;

use crate::document::{Jwt, JwtIssuer};
use crate::locate::Path;
use crate::plan::{ClaimNamesPlan, JwtIssuerPlan};

use super::{Context, url};

/// What a signature may be made with. With `HS*` everybody who can check a token can make one.
const ALGORITHMS: &[&str] = &[
    "RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "EdDSA",
];

pub(super) fn issuers(written: &Jwt, context: &mut Context<'_>) -> Vec<JwtIssuerPlan> {
    let section = Path::default().field("jwt").field("issuers");
    let mut seen: HashMap<&str, Path> = HashMap::new();
    let mut issuers = Vec::new();
    for (index, written) in written.issuers.iter().enumerate() {
        let at = section.item(index);
        if let Some(twin) = seen.insert(&written.issuer, at.clone()) {
            let place = context.report.whereabouts(&twin);
            let message = format!("{place} is the same issuer; a token is taken on one's terms");
            context.report.at(&at.field("issuer"), message);
        }
        issuers.extend(issuer(written, &at, context));
    }
    issuers
}

fn issuer(written: &JwtIssuer, at: &Path, context: &mut Context<'_>) -> Option<JwtIssuerPlan> {
    let mut address = |text: &str, key: &'static str| {
        let found = url::issuer(text);
        found
            .map_err(|why| context.report.at(&at.field(key), why))
            .ok()
    };
    let url = address(&written.issuer, "issuer");
    let jwks_url = written
        .jwks_url
        .as_deref()
        .map(|text| address(text, "jwks_url"));
    if written.audience.is_empty() || written.audience.iter().any(String::is_empty) {
        let message =
            "name who its tokens are made for; without, tokens made for others would be taken";
        context.report.at(&at.field("audience"), message);
    }
    if written.algorithms.is_empty() {
        let message = "empty; name one at least, or leave the key out";
        context.report.at(&at.field("algorithms"), message);
    }
    for (index, algorithm) in written.algorithms.iter().enumerate() {
        if !ALGORITHMS.contains(&&**algorithm) {
            let key = at.field("algorithms").item(index);
            let message = format!("expected one of {}", ALGORITHMS.join(", "));
            context.report.at(&key, message);
        }
    }
    let names = &written.claims;
    Some(JwtIssuerPlan {
        issuer: written.issuer.clone(),
        url: url?,
        audience: written.audience.clone(),
        jwks_url: match jwks_url {
            None => None,
            Some(found) => Some(found?),
        },
        algorithms: written.algorithms.clone(),
        claims: ClaimNamesPlan {
            groups: names.groups.clone(),
            scopes: names.scopes.clone(),
            email: names.email.clone(),
            team: names.team.clone(),
        },
        tenant: written.tenant.clone(),
    })
}
