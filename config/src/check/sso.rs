//! The sections `sso` and `authorization`.

mod presets;

use std::collections::BTreeMap;
use std::time::Duration;

use ::url::Url;

use crate::document::{
    Authorization, Document, LoginMode, ReferenceText, SilentRenewal, Sso, SsoKind, SsoProvider,
    Tenant, TenantAuthorization, Unauthenticated,
};
use crate::locate::Path;
use crate::plan::{
    AuthorizationPlan, LoginModePlan, LoginRatePlan, LoginWayPlan, RemotePlan, SsoClaimsPlan,
    SsoPlan, SsoProviderPlan, TenantSsoPlan, is_loopback_host,
};

use super::{Context, url};
use presets::Filled;

/// Switches single sign-on on or off, for those who move here from a proxy that knows it.
const VARIABLE: &str = "SSO_ENABLED";

/// Hours that a session lasts, unless said.
const LIFETIME: u32 = 24;

const DISCOVERY: &str = "/.well-known/openid-configuration";

/// The logins of the top level, and what they have in common with those of tenants.
pub(super) struct Logins {
    /// `None` when they are switched off, or nothing good is written there.
    pub(super) top: Option<SsoPlan>,
    /// Without providers; `None` when something of it is not good.
    common: Option<SsoPlan>,
    /// Who is asked about callers who have no login, whether people log in or not.
    pub(super) remote: Option<RemotePlan>,
}

/// Those of a tenant.
pub(super) struct TenantLogins {
    /// `None` when they are those of the top level.
    pub(super) sso: Option<TenantSsoPlan>,
    pub(super) remote: Option<RemotePlan>,
}

pub(super) fn logins(document: &Document, context: &mut Context<'_>) -> Logins {
    let written = &document.sso;
    let lifetime = lifetime(written, &document.authorization, context);
    let section = Path::default().field("authorization");
    let authorization = authorized(&document.authorization, &section, context);
    let unauthenticated = document.unauthenticated_response;
    let is_enabled = is_enabled(written, context);
    let of_tenants = document.tenants.values().any(has_own_providers);
    if !is_enabled && !of_tenants && unauthenticated == Some(Unauthenticated::Sandbox) {
        let message = "there is no page to sign in at: enable sso, or choose `unauthorized`";
        let at = Path::default().field("unauthenticated_response");
        context.report.at(&at, message);
    }
    let renewal_lead = match is_enabled || of_tenants {
        true => renewal_lead(&written.silent_renewal, lifetime, context),
        false => None,
    };
    let remote = authorization.as_ref();
    let remote = remote.and_then(|authorization| self::remote(authorization, lifetime));
    let common = authorization.map(|authorization| SsoPlan {
        providers: Vec::new(),
        session_lifetime: lifetime,
        renewal_lead,
        claims: SsoClaimsPlan {
            groups: written.claims.groups.clone(),
            team: written.claims.team.clone(),
        },
        authorization,
        sandbox: unauthenticated != Some(Unauthenticated::Unauthorized),
    });
    let top = match is_enabled {
        true => sso(document, common.as_ref(), context),
        false => None,
    };
    Logins {
        top,
        common,
        remote,
    }
}

/// Those of the top level, which are switched on.
fn sso(
    document: &Document,
    common: Option<&SsoPlan>,
    context: &mut Context<'_>,
) -> Option<SsoPlan> {
    let authorization = &document.authorization;
    let (mode, has_no_api) = (authorization.mode, authorization.api_url.is_none());
    let section = Path::default().field("sso");
    let written = &document.sso.providers;
    let providers = providers(written, &section.field("providers"), context);
    if !written.values().any(|one| one.enabled) {
        let message = "single sign-on is enabled, and no provider is; add one";
        context.report.at(&section.field("providers"), message);
    }
    if mode == LoginMode::Enterprise && has_no_api {
        let message = "everybody whom a provider knows is let in: there is no `api_url` to ask";
        context.warn(
            &Path::default().field("authorization").field("mode"),
            message,
        );
    }
    Some(SsoPlan {
        providers: providers?,
        ..common?.clone()
    })
}

pub(super) fn of_tenant(
    name: &str,
    written: &Tenant,
    document: &Document,
    logins: &Logins,
    context: &mut Context<'_>,
) -> TenantLogins {
    let at = Path::default().field("tenants").entry(name);
    let has_own_providers = has_own_providers(written);
    let own = &written.authorization;
    if has_own_providers && written.hosts.is_empty() {
        let message = "are offered at the tenant's hosts, and it has none";
        context
            .report
            .at(&at.field("sso").field("providers"), message);
    }
    let mut written_providers = written.sso.providers.values();
    if has_own_providers && !written_providers.any(|one| one.enabled) {
        let message = "none is enabled: nobody of the tenant could log in";
        context
            .report
            .at(&at.field("sso").field("providers"), message);
    }
    if !has_own_providers && !own.says_something() {
        let remote = logins.remote.clone();
        return TenantLogins { sso: None, remote };
    }
    let providers = match has_own_providers {
        true => {
            let key = at.field("sso").field("providers");
            providers(&written.sso.providers, &key, context)
        }
        // Without any nobody logs in, whatever is said of who may.
        false => logins.top.as_ref().map(|top| top.providers.clone()),
    };
    let key = at.field("authorization");
    let authorization = authorized(&merged(own, &document.authorization), &key, context);
    // Where one of them is missing, that is reported.
    let both = authorization.zip(logins.common.as_ref());
    let Some((authorization, common)) = both else {
        let (sso, remote) = (None, None);
        return TenantLogins { sso, remote };
    };
    let hours = own.session_lifetime_hours;
    let lifetime = hours.map(|hours| Duration::from_secs(u64::from(hours) * 3600));
    let lifetime = lifetime.unwrap_or(common.session_lifetime);
    let logs_in = has_own_providers || logins.top.is_some();
    if logs_in && common.renewal_lead.is_some_and(|lead| lead >= lifetime) {
        let message =
            "must be longer than `sso.silent_renewal.lead`: sessions would be renewed without end";
        context
            .report
            .at(&key.field("session_lifetime_hours"), message);
    }
    let remote = remote(&authorization, lifetime);
    let sso = providers.map(|providers| TenantSsoPlan {
        sso: SsoPlan {
            providers,
            session_lifetime: lifetime,
            authorization,
            ..common.clone()
        },
        has_own_providers,
    });
    TenantLogins { sso, remote }
}

/// Whom such rules ask.
fn remote(authorization: &AuthorizationPlan, lifetime: Duration) -> Option<RemotePlan> {
    match &authorization.mode {
        LoginModePlan::Enterprise {
            api: Some(api),
            timeout,
        } => Some(RemotePlan {
            api: api.clone(),
            timeout: *timeout,
            lifetime,
        }),
        LoginModePlan::SingleUser { .. } | LoginModePlan::Enterprise { api: None, .. } => None,
    }
}

/// Also where all are switched off: nobody must come in by others' meanwhile.
fn has_own_providers(tenant: &Tenant) -> bool {
    !tenant.sso.providers.is_empty()
}

/// What a tenant says, and for the rest what the top level does.
fn merged(own: &TenantAuthorization, top: &Authorization) -> Authorization {
    let code = own.confirmation_code_expiry_minutes;
    let attempts = own.max_confirmation_attempts;
    Authorization {
        mode: own.mode.unwrap_or(top.mode),
        session_lifetime_hours: None,
        api_url: own.api_url.clone().or_else(|| top.api_url.clone()),
        api_timeout_seconds: own.api_timeout_seconds.unwrap_or(top.api_timeout_seconds),
        confirmation_code_expiry_minutes: code.unwrap_or(top.confirmation_code_expiry_minutes),
        max_confirmation_attempts: attempts.unwrap_or(top.max_confirmation_attempts),
        rate_limit: top.rate_limit,
    }
}

/// Those that are enabled; `None` when one of them is not good.
fn providers(
    written: &BTreeMap<String, SsoProvider>,
    section: &Path,
    context: &mut Context<'_>,
) -> Option<Vec<SsoProviderPlan>> {
    let enabled = written.iter().filter(|(_, one)| one.enabled);
    let providers: Vec<_> = enabled
        .map(|(name, one)| provider(name, one, &section.entry(name), context))
        .collect();
    providers.into_iter().collect()
}

/// A `__Host-` cookie is of a whole host, and so are the pages.
pub(super) fn at_the_root(public_url: &Url, context: &mut Context<'_>) {
    if public_url.path() != "/" {
        let key = Path::default().field("server").field("public_url");
        let message = "has a path; people log in at the root of a host of the gateway's own";
        context.report.at(&key, message);
    }
}

fn is_enabled(written: &Sso, context: &mut Context<'_>) -> bool {
    let Some((_, value)) = context.environment.first(&[VARIABLE]) else {
        return written.enabled;
    };
    match value.trim().to_lowercase().as_str() {
        "true" | "1" | "yes" | "on" => true,
        "" | "false" | "0" | "no" | "off" => false,
        _ => {
            context.report.variable(VARIABLE, "expected true or false");
            false
        }
    }
}

fn lifetime(written: &Sso, authorization: &Authorization, context: &mut Context<'_>) -> Duration {
    let key = |section: &'static str| {
        Path::default()
            .field(section)
            .field("session_lifetime_hours")
    };
    let hours = context.either(
        (&key("sso"), written.session_lifetime_hours),
        (&key("authorization"), authorization.session_lifetime_hours),
    );
    let hours = hours.map_or(LIFETIME, |(_, hours)| hours);
    Duration::from_secs(u64::from(hours) * 3600)
}

/// `None` when sessions are not renewed.
fn renewal_lead(
    written: &SilentRenewal,
    lifetime: Duration,
    context: &mut Context<'_>,
) -> Option<Duration> {
    if !written.enabled {
        return None;
    }
    if written.lead.0 >= lifetime {
        let hours = lifetime.as_secs() / 3600;
        let message = format!(
            "must be shorter than a session, which lasts {hours} h: it would be renewed without end"
        );
        let section = Path::default().field("sso").field("silent_renewal");
        context.report.at(&section.field("lead"), message);
    }
    Some(written.lead.0)
}

fn authorized(
    written: &Authorization,
    section: &Path,
    context: &mut Context<'_>,
) -> Option<AuthorizationPlan> {
    let api = match text(&written.api_url) {
        None => None,
        Some(text) => Some(api(text, &section.field("api_url"), context)?),
    };
    let mode = match written.mode {
        LoginMode::SingleUser => LoginModePlan::SingleUser {
            expiry: Duration::from_secs(u64::from(written.confirmation_code_expiry_minutes) * 60),
            attempts: written.max_confirmation_attempts,
        },
        LoginMode::Enterprise => LoginModePlan::Enterprise {
            api,
            timeout: Duration::from_secs(written.api_timeout_seconds.into()),
        },
    };
    let rate = &written.rate_limit;
    Some(AuthorizationPlan {
        mode,
        rate: LoginRatePlan {
            attempts: rate.max_attempts,
            multiplier: rate.backoff_multiplier,
            max: Duration::from_secs(rate.max_backoff_seconds.into()),
        },
    })
}

fn api(text: &str, key: &Path, context: &mut Context<'_>) -> Option<Url> {
    let found = with_query(text, url::base);
    let found = found.map_err(|why| context.report.at(key, why)).ok()?;
    let is_here = found.host_str().is_some_and(is_loopback_host);
    if found.scheme() == "http" && !is_here {
        let message = "asked in clear text: whoever is on the way can let anybody in";
        context.warn(key, message);
    }
    Some(found)
}

fn provider(
    name: &str,
    written: &SsoProvider,
    at: &Path,
    context: &mut Context<'_>,
) -> Option<SsoProviderPlan> {
    let plain = |byte: u8| {
        byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-' || byte == b'_'
    };
    if name.is_empty() || name.len() > 50 || !name.bytes().all(plain) {
        let message = "a provider's name has 1 to 50 lower-case letters, digits, - and _";
        context.report.at(at, message);
    }
    let preset = written.preset.or_else(|| presets::named(name));
    let filled = preset.map(|preset| presets::fill(preset, written, at, context));
    let (filled, is_filled) = match filled {
        None => (Filled::default(), true),
        Some(Some(filled)) => (filled, true),
        Some(None) => (Filled::default(), false),
    };
    let client_id = required(&written.client_id, "client_id", at, context);
    if written.client_secret.is_none() {
        missing("client_secret", at, context);
    }
    let way = if is_filled {
        let way = way(written, &filled, at, context);
        presets::of_tenants(preset, way, written, at, context)
    } else {
        None
    };
    let label = written.label.clone().or(filled.label.map(str::to_owned));
    let discovered = matches!(
        way,
        Some(LoginWayPlan::Discovered { .. } | LoginWayPlan::Written { .. })
    );
    let usual: &[&str] = if discovered {
        &["openid", "email", "profile"]
    } else {
        &[]
    };
    let usual = filled.scopes.unwrap_or(usual);
    let mut scopes = written
        .scopes
        .clone()
        .unwrap_or_else(|| usual.iter().map(|&scope| scope.to_owned()).collect());
    if discovered && !scopes.iter().any(|scope| scope == "openid") {
        // Without it there is no ID token.
        scopes.insert(0, "openid".into());
    }
    if scopes
        .iter()
        .any(|scope| scope.is_empty() || scope.contains(char::is_whitespace))
    {
        let message = "a scope is a word without blanks; write a list of them";
        context.report.at(&at.field("scopes"), message);
    }
    Some(SsoProviderPlan {
        name: name.to_owned(),
        label: label.unwrap_or_else(|| name.to_owned()),
        client_id: client_id?,
        client_secret: written.client_secret.as_ref()?.0.clone(),
        scopes,
        offline: presets::offline(preset, discovered),
        way: way?,
    })
}

fn way(
    written: &SsoProvider,
    filled: &Filled,
    at: &Path,
    context: &mut Context<'_>,
) -> Option<LoginWayPlan> {
    if let Some(text) = text(&written.discovery_url).or(filled.issuer.as_deref()) {
        let issuer = text.strip_suffix(DISCOVERY).unwrap_or(text);
        let found = url::issuer(issuer);
        let found = found.map_err(|why| context.report.at(&at.field("discovery_url"), why));
        return Some(LoginWayPlan::Discovered {
            issuer: found.ok()?,
            tenants: None,
        });
    }
    let mut endpoint = |names: Spellings<'_>, filled: &Option<String>| {
        let [(key, text), (alias, other)] = names;
        let (key, alias) = (at.field(key), at.field(alias));
        let found = context.either((&key, self::text(text)), (&alias, self::text(other)));
        let found = found.or_else(|| Some((key.clone(), filled.as_deref()?)));
        let Some((key, text)) = found else {
            context
                .report
                .at(&key, "missing; it is required without `discovery_url`");
            return None;
        };
        called(text)
            .map_err(|why| context.report.at(&key, why))
            .ok()
    };
    let authorize = endpoint(
        [
            ("authorize_url", &written.authorize_url),
            ("authorization_endpoint", &written.authorization_endpoint),
        ],
        &filled.authorize,
    );
    let token = endpoint(
        [
            ("token_url", &written.token_url),
            ("token_endpoint", &written.token_endpoint),
        ],
        &filled.token,
    );
    if written.kind == Some(SsoKind::Oidc) {
        let names = [
            ("jwks_url", &written.jwks_url),
            ("jwks_url", &written.jwks_url),
        ];
        let jwks = endpoint(names, &None);
        let issuer = required(&written.issuer, "issuer", at, context);
        if let Some(Err(why)) = issuer.as_deref().map(called) {
            context.report.at(&at.field("issuer"), why);
        }
        return Some(LoginWayPlan::Written {
            issuer: issuer?,
            authorize: authorize?,
            token: token?,
            jwks: jwks?,
        });
    }
    let names = [
        ("userinfo_url", &written.userinfo_url),
        ("userinfo_url", &written.userinfo_url),
    ];
    let userinfo = endpoint(names, &filled.userinfo);
    Some(LoginWayPlan::OAuth2 {
        authorize: authorize?,
        token: token?,
        userinfo: userinfo?,
        emails: filled.emails.as_deref().and_then(|text| called(text).ok()),
    })
}

fn required(
    value: &Option<ReferenceText>,
    key: &'static str,
    at: &Path,
    context: &mut Context<'_>,
) -> Option<String> {
    let found = text(value).filter(|text| !text.trim().is_empty());
    if found.is_none() {
        missing(key, at, context);
    }
    found.map(str::to_owned)
}

/// A setting that has two names, and what is written under each.
type Spellings<'w> = [(&'static str, &'w Option<ReferenceText>); 2];

fn text(written: &Option<ReferenceText>) -> Option<&str> {
    written.as_ref().map(|written| &*written.0)
}

fn missing(key: &'static str, at: &Path, context: &mut Context<'_>) {
    context
        .report
        .at(&at.field(key), "missing; this key is required");
}

/// Who a person is comes from there: in clear text on this machine only. A query is kept.
fn called(text: &str) -> Result<Url, &'static str> {
    with_query(text, url::issuer)
}

fn with_query(
    text: &str,
    read: impl Fn(&str) -> Result<Url, &'static str>,
) -> Result<Url, &'static str> {
    let (bare, query) = match text.split_once('?') {
        Some((bare, query)) => (bare, Some(query)),
        None => (text, None),
    };
    let mut url = read(bare)?;
    url.set_query(query);
    Ok(url)
}
