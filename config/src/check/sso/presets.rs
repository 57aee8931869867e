//! Where well-known identity providers are.

use ::url::Url;

use crate::document::{Preset, ReferenceText, SsoProvider};
use crate::locate::Path;
use crate::plan::{LoginWayPlan, OfflinePlan};

use super::{Context, text};

/// What Microsoft calls all directories, and with `common` the accounts of private people too.
const MANY: [&str; 2] = ["organizations", "common"];

/// What a preset says; what is written comes first.
#[derive(Default)]
pub(super) struct Filled {
    pub(super) label: Option<&'static str>,
    /// OpenID Connect, found by discovery.
    pub(super) issuer: Option<String>,
    pub(super) scopes: Option<&'static [&'static str]>,
    pub(super) authorize: Option<String>,
    pub(super) token: Option<String>,
    pub(super) userinfo: Option<String>,
    pub(super) emails: Option<String>,
}

/// The preset that a provider's name is.
pub(super) fn named(name: &str) -> Option<Preset> {
    Some(match name {
        "google" => Preset::Google,
        "microsoft" => Preset::Microsoft,
        "azure" => Preset::Azure,
        "okta" => Preset::Okta,
        "auth0" => Preset::Auth0,
        "github" => Preset::Github,
        "gitlab" => Preset::Gitlab,
        "onelogin" => Preset::Onelogin,
        "aws" => Preset::Aws,
        _ => return None,
    })
}

/// `None` when what it needs is not written, which is reported.
pub(super) fn fill(
    preset: Preset,
    written: &SsoProvider,
    at: &Path,
    context: &mut Context<'_>,
) -> Option<Filled> {
    // Who writes addresses needs none of the preset's.
    let written_out = written.discovery_url.is_some()
        || written.authorize_url.is_some()
        || written.authorization_endpoint.is_some();
    let mut need = |key: &'static str, value: &Option<ReferenceText>| {
        let found = text(value).map(host).filter(|text| !text.is_empty());
        if found.is_none() && !written_out {
            let message = "missing; this preset needs it, or a `discovery_url`";
            context.report.at(&at.field(key), message);
        }
        found.map(str::to_owned)
    };
    let (label, issuer) = match preset {
        Preset::Github => return Some(github(written)),
        _ if written_out => (label(preset), None),
        Preset::Google => ("Google", Some("https://accounts.google.com".into())),
        Preset::Microsoft | Preset::Azure => {
            let tenant = need("tenant", &written.tenant)?;
            // A directory's tokens name its id, whatever else it is called.
            if !is_directory_id(&tenant) && !MANY.contains(&&*tenant) {
                let message = "expected the directory's id, such as \
                               9188040d-6c67-4c5b-b112-36a304b66dad, or `organizations` or `common`";
                context.report.at(&at.field("tenant"), message);
                return None;
            }
            let issuer = format!("https://login.microsoftonline.com/{tenant}/v2.0");
            ("Microsoft", Some(issuer))
        }
        Preset::Okta => (
            "Okta",
            Some(format!("https://{}", need("domain", &written.domain)?)),
        ),
        Preset::Auth0 => (
            "Auth0",
            Some(format!("https://{}", need("domain", &written.domain)?)),
        ),
        Preset::Onelogin => {
            let domain = need("domain", &written.domain)?;
            ("OneLogin", Some(format!("https://{domain}/oidc/2")))
        }
        Preset::Gitlab => {
            let domain = text(&written.domain).map_or("gitlab.com", host);
            ("GitLab", Some(format!("https://{domain}")))
        }
        Preset::Aws => {
            let region = need("region", &written.region);
            let pool = need("user_pool_id", &written.user_pool_id);
            let issuer = format!("https://cognito-idp.{}.amazonaws.com/{}", region?, pool?);
            ("AWS", Some(issuer))
        }
    };
    Some(Filled {
        label: Some(label),
        issuer,
        scopes: Some(&["openid", "email", "profile"]),
        ..Filled::default()
    })
}

/// By the standard a refresh token takes the person's consent. Those that give one without are
/// not asked to have it: Microsoft's directories may not let people consent.
pub(super) fn offline(preset: Option<Preset>, is_openid: bool) -> OfflinePlan {
    match preset {
        Some(Preset::Google) => OfflinePlan::AccessType,
        None if is_openid => OfflinePlan::Consent,
        Some(_) | None => OfflinePlan::Scope,
    }
}

/// Where Microsoft is that of many directories, each of them is an issuer of its own.
pub(super) fn of_tenants(
    preset: Option<Preset>,
    way: Option<LoginWayPlan>,
    written: &SsoProvider,
    at: &Path,
    context: &mut Context<'_>,
) -> Option<LoginWayPlan> {
    let allowed = &written.allowed_tenants;
    let key = at.field("allowed_tenants");
    if !allowed.iter().all(|id| is_directory_id(id)) {
        let message = "expected ids of directories, such as 9188040d-6c67-4c5b-b112-36a304b66dad";
        context.report.at(&key, message);
    }
    let is_microsoft = matches!(preset, Some(Preset::Microsoft | Preset::Azure));
    match way {
        Some(LoginWayPlan::Discovered { issuer, .. }) if is_microsoft && is_of_many(&issuer) => {
            if allowed.is_empty() {
                let message = "people of every directory can log in; write `allowed_tenants`";
                context.warn(&at.field("tenant"), message);
            }
            let tenants = Some(allowed.clone());
            Some(LoginWayPlan::Discovered { issuer, tenants })
        }
        way => {
            if way.is_some() && !allowed.is_empty() {
                let message = "is for the preset `microsoft` with the tenant `organizations` or \
                               `common`: here there is one";
                context.report.at(&key, message);
            }
            way
        }
    }
}

fn is_of_many(issuer: &Url) -> bool {
    let first = issuer.path_segments().and_then(|mut path| path.next());
    first.is_some_and(|first| MANY.contains(&first))
}

fn label(preset: Preset) -> &'static str {
    match preset {
        Preset::Google => "Google",
        Preset::Microsoft | Preset::Azure => "Microsoft",
        Preset::Okta => "Okta",
        Preset::Auth0 => "Auth0",
        Preset::Github => "GitHub",
        Preset::Gitlab => "GitLab",
        Preset::Onelogin => "OneLogin",
        Preset::Aws => "AWS",
    }
}

/// GitHub has no ID tokens for people.
fn github(written: &SsoProvider) -> Filled {
    let domain = text(&written.domain).map_or("github.com", host);
    let api = match domain {
        "github.com" => "https://api.github.com".to_owned(),
        own => format!("https://{own}/api/v3"),
    };
    // Elsewhere than where the preset says, the addresses are not where it says either.
    let emails = written.userinfo_url.as_ref().map_or_else(
        || format!("{api}/user/emails"),
        |user| format!("{}/emails", user.0.trim_end_matches('/')),
    );
    Filled {
        label: Some("GitHub"),
        issuer: None,
        scopes: Some(&["read:user", "user:email"]),
        authorize: Some(format!("https://{domain}/login/oauth/authorize")),
        token: Some(format!("https://{domain}/login/oauth/access_token")),
        userinfo: Some(format!("{api}/user")),
        emails: Some(emails),
    }
}

/// `https://example.okta.com/` is `example.okta.com`.
fn host(text: &str) -> &str {
    let text = text.trim();
    text.strip_prefix("https://")
        .unwrap_or(text)
        .trim_end_matches('/')
}

fn is_directory_id(text: &str) -> bool {
    let dashes = [8, 13, 18, 23];
    text.len() == 36
        && text
            .bytes()
            .enumerate()
            .all(|(at, byte)| match dashes.contains(&at) {
                true => byte == b'-',
                false => byte.is_ascii_hexdigit(),
            })
}
