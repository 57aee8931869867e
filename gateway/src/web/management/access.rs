//! Who may use the management API and the operator's pages, from where, and for what.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use axum::extract::{ConnectInfo, Extension, MatchedPath, Request, State};
use axum::middleware::{Next, from_fn};
use axum::response::{IntoResponse, Response};
use http::header::{AUTHORIZATION, CACHE_CONTROL, X_CONTENT_TYPE_OPTIONS};
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use turnpike_api::{Clock, Keyring, Secret};
use turnpike_audit::Action;
use turnpike_audit::events::ManagementRequest;
use turnpike_config::plan::{Plan, Scope};
use turnpike_identity::agent_tokens::Costs;
use turnpike_identity::sso::Session;

use super::ROOT;
use super::Routes;
use super::attempts::Attempts;
use super::change::{Change, Words};
use super::document;
use super::office::Office;
use super::pages::Entrance;
use super::refusal::{Code, Refused};
use crate::assemble::Ground;
use crate::audit::Audit;
use crate::encryption;
use crate::observe::events::{Managed, ManagementRequested};
use crate::snapshot::Snapshot;
use crate::token_entry;

/// The status nginx made usual for a client that closed its request.
const CLIENT_GONE: u16 = 499;

const KEY_HEADER: HeaderName = HeaderName::from_static("x-management-key");

/// What the configuration in force says of the management API, and what it needs of the rest.
pub struct Terms {
    /// Without any it is not there.
    keys: Vec<AdminKey>,
    digest_key: [u8; 32],
    audit: Arc<Audit>,
    allow_remote: bool,
    /// What is in effect as JSON, every secret blotted out.
    pub(super) effective: Arc<str>,
    /// What the hash of a new token costs.
    pub(super) costs: Costs,
    /// Where the files of credentials are.
    pub(super) auth_dir: PathBuf,
    /// What opens credential files that are encrypted.
    pub(super) keyring: Keyring,
    /// Whether those that are written are.
    pub(super) seals: bool,
    /// How long a token goes on beside the one that took its place.
    pub(super) rotation_overlap: Duration,
    /// How operators come to their pages.
    pub(super) entrance: Entrance,
}

/// A key, by its digest.
struct AdminKey {
    digest: blake3::Hash,
    /// What it is known by in the store, by every process with the same secret key.
    mark: Box<str>,
    actor: Actor,
}

/// Whoever has a key: the evidence that it was checked.
#[derive(Clone)]
pub(in crate::web) struct Actor {
    /// How logs call it.
    pub(super) name: Arc<str>,
    pub(super) scopes: Arc<[Scope]>,
    /// The tenant that they manage; `None` = the whole gateway.
    pub(super) tenant: Option<Arc<str>>,
    /// From where they ask.
    client: Option<IpAddr>,
    /// For what, once they ask for something.
    asked: Option<Arc<Asked>>,
    audit: Arc<Audit>,
}

/// A request of somebody who was let in. Unless it leaves a record of its own it is told when the last who
/// holds it is done: where nobody waits for the answer, that is the task that carries it out, and only then
/// is it known whether anything was changed.
struct Asked {
    actor: Actor,
    method: Method,
    route: Option<String>,
    /// When it came, in milliseconds since 1970.
    at: u64,
    /// Its status, and why it was refused; nothing where nobody waited.
    answer: OnceLock<(u16, Option<&'static str>)>,
    /// It has a record of its own.
    is_told: AtomicBool,
}

impl Actor {
    /// Tells of what they did that changed nothing but where they are.
    pub(super) fn did(&self, action: Action, subject: &str) {
        self.changed(action, subject, Change::default());
    }

    /// As who asks from there.
    pub(super) fn at(self, client: IpAddr) -> Self {
        Self {
            client: Some(client),
            ..self
        }
    }

    /// Tells of a change they made.
    pub(super) fn changed(&self, action: Action, subject: &str, change: Change) {
        if let Some(asked) = &self.asked {
            asked.is_told.store(true, Ordering::Relaxed);
        }
        Managed {
            actor: &self.name,
            tenant: self.tenant.as_deref(),
            client: self.client,
            action,
            subject,
            before: change.before.as_deref(),
            after: change.after.as_deref(),
            audit: &self.audit,
        }
        .tell();
    }
}

impl Terms {
    /// The configuration as it goes on record: the digest is that of the event `configuration`.
    pub(super) fn on_record(&self, generation: u64) -> String {
        let digest = turnpike_audit::sha256(self.effective.as_bytes());
        let words = Words::default().with("generation", generation);
        words.with("digest", digest).into()
    }

    /// A digest of the configuration, without its secrets: the same for the same one.
    pub fn configuration(&self) -> String {
        blake3::hash(self.effective.as_bytes()).to_hex()[..16].to_owned()
    }

    pub fn new(plan: &Plan, ground: &Ground) -> Self {
        let digest_key = ground.digest_key;
        let entrance = Entrance::new(plan, ground);
        let keys = plan.management.keys.iter().map(|key| AdminKey {
            digest: blake3::keyed_hash(&digest_key, key.key.expose().as_bytes()),
            mark: entrance.mark(&key.key),
            actor: Actor {
                name: key.name.as_str().into(),
                scopes: key.scopes.as_slice().into(),
                tenant: key.tenant.as_deref().map(Arc::from),
                client: None,
                asked: None,
                audit: ground.audit.clone(),
            },
        });
        Self {
            keys: keys.collect(),
            digest_key,
            audit: ground.audit.clone(),
            allow_remote: plan.management.allow_remote,
            effective: plan.effective.clone(),
            costs: token_entry::costs(plan.agent_tokens.argon2),
            auth_dir: plan.auth.dir.clone(),
            keyring: encryption::of_files(plan),
            seals: plan.auth.encryption.enabled,
            rotation_overlap: plan.agent_tokens.rotation_overlap,
            entrance,
        }
    }

    /// Whoever asks, if they may.
    fn admit(
        &self,
        peer: Option<IpAddr>,
        headers: &HeaderMap,
        attempts: &Attempts,
        now: u64,
    ) -> Result<Actor, Refused> {
        if self.keys.is_empty() {
            return Err(Refused::NothingHere);
        }
        let peer = self.nearby(peer)?;
        let found = || Ok(self.find(presented(headers)?).map(|key| key.actor.clone()));
        let actor = attempts.judge(peer, now, &self.audit, found)?;
        Ok(actor.at(peer))
    }

    /// Whoever has typed a key, and what the key is known by from then on.
    pub(super) fn admit_typed(
        &self,
        peer: IpAddr,
        typed: &Secret,
        attempts: &Attempts,
        now: u64,
    ) -> Result<(Actor, Box<str>), Refused> {
        let found = || {
            let key = self.find(typed.expose().trim().as_bytes());
            Ok(key.map(|key| (key.actor.clone().at(peer), key.mark.clone())))
        };
        attempts.judge(peer, now, &self.audit, found)
    }

    /// Whoever has the key with this mark, if it is one still.
    pub(super) fn of_mark(&self, mark: &str) -> Option<Actor> {
        let key = self.keys.iter().find(|key| *key.mark == *mark);
        key.map(|key| key.actor.clone())
    }

    /// Whether there is somebody who could sign in to the operator's pages.
    pub(super) fn has_pages(&self) -> bool {
        self.has_keys() || self.entrance.by_login
    }

    /// Whether there is a key.
    pub(super) fn has_keys(&self) -> bool {
        !self.keys.is_empty()
    }

    /// The address of somebody who asks, if they may from there. `peer` is the other end of the
    /// connection: a header says nothing of where somebody is.
    pub(super) fn nearby(&self, peer: Option<IpAddr>) -> Result<IpAddr, Refused> {
        // Nobody knows where a peer without an address is.
        let peer = peer.ok_or(Refused::Remote)?.to_canonical();
        match self.allow_remote || peer.is_loopback() {
            true => Ok(peer),
            false => Err(Refused::Remote),
        }
    }

    /// Where people who log in find the operator's pages; `None` = no role opens them.
    pub(in crate::web) fn pages_of_people(&self) -> Option<&str> {
        let entrance = &self.entrance;
        entrance.by_login.then_some(&*entrance.public_url)
    }

    /// Compares digests, which nobody outside can compute, with each of the keys: its time tells
    /// nothing of them.
    fn find(&self, presented: &[u8]) -> Option<&AdminKey> {
        let digest = blake3::keyed_hash(&self.digest_key, presented);
        let mut found = None;
        for key in &self.keys {
            // `blake3::Hash` is compared in constant time.
            if key.digest == digest {
                found = Some(key);
            }
        }
        found
    }
}

/// The key of a request. The header of its own comes first: a proxy in front may use the other.
fn presented(headers: &HeaderMap) -> Result<&[u8], Refused> {
    let only = |name: &HeaderName| {
        let mut values = headers.get_all(name).iter();
        match (values.next(), values.next()) {
            (_, Some(_)) => Err(Refused::TwoKeys),
            (value, None) => Ok(value.map(HeaderValue::as_bytes)),
        }
    };
    let bearer = |value: &'_ [u8]| -> Option<usize> {
        let is_bearer = value.len() > 7 && value[..7].eq_ignore_ascii_case(b"bearer ");
        is_bearer.then_some(7)
    };
    let own = only(&KEY_HEADER)?;
    let authorization = only(&AUTHORIZATION)?;
    let authorization = authorization.and_then(|value| Some(&value[bearer(value)?..]));
    let key = own.or(authorization).map(<[u8]>::trim_ascii);
    key.filter(|key| !key.is_empty()).ok_or(Refused::NoKey)
}

impl Actor {
    /// A person, if a role of theirs opens something; by the roles that are in force for their tenant.
    pub(in crate::web) fn of_person(session: &Session, snapshot: &Snapshot) -> Option<Self> {
        let tenant = snapshot.tenants.find(session.person.tenant.as_deref())?;
        let roles = tenant.roles.as_ref()?;
        let grants = roles.of(&session.owner().attributes());
        let is_granted = |scope: &Scope| {
            let mut roles = grants.roles.iter();
            roles.any(|role| role.management.iter().any(|name| **name == *scope.as_str()))
        };
        let scopes: Arc<[Scope]> = Scope::ALL.into_iter().filter(is_granted).collect();
        (!scopes.is_empty()).then(|| Self {
            name: session.person.shown().into(),
            scopes,
            tenant: tenant.name.clone(),
            client: None,
            asked: None,
            audit: snapshot.management.audit.clone(),
        })
    }

    /// Whether they manage what is of this tenant, or of none. What they do not is to them as if it
    /// were not there.
    pub(super) fn manages(&self, tenant: Option<&str>) -> bool {
        self.tenant.is_none() || self.tenant.as_deref() == tenant
    }

    pub(super) fn may(&self, scope: Scope) -> Result<(), Refused> {
        if self.tenant.is_some() && is_of_the_process(scope) {
            return Err(Refused::WholeGateway {
                name: self.name.to_string(),
                scope: scope.as_str(),
            });
        }
        match self.scopes.contains(&Scope::All) || self.scopes.contains(&scope) {
            true => Ok(()),
            false => Err(Refused::Scope {
                name: self.name.to_string(),
                scope: scope.as_str(),
            }),
        }
    }
}

/// What no tenant has a part of.
fn is_of_the_process(scope: Scope) -> bool {
    match scope {
        Scope::ConfigRead | Scope::ConfigWrite | Scope::LogsRead | Scope::LogsWrite => true,
        Scope::All
        | Scope::CredentialsRead
        | Scope::CredentialsWrite
        | Scope::TokensRead
        | Scope::TokensWrite
        | Scope::SessionsRead
        | Scope::SessionsWrite
        | Scope::UsageRead => false,
    }
}

/// Lets through who has a key.
pub(super) async fn admit(
    State(office): State<Arc<Office>>,
    mut request: Request,
    next: Next,
) -> Response {
    let runtime = match office.runtime() {
        Ok(runtime) => runtime,
        Err(refused) => return refused.into_response(),
    };
    if let Err(refused) = office.may_still(request.method()) {
        return refused.into_response();
    }
    let connection = request.extensions().get::<ConnectInfo<SocketAddr>>();
    let peer = connection.map(|connection| connection.0.ip());
    let (snapshot, now) = (runtime.snapshot(), runtime.board.time.now());
    let terms = &snapshot.management;
    let admitted = terms.admit(peer, request.headers(), &office.attempts, now);
    drop(snapshot);
    drop(runtime);
    match admitted {
        Ok(actor) => {
            request.extensions_mut().insert(actor);
            next.run(request).await
        }
        Err(refused) => refused.into_response(),
    }
}

/// Puts on record who asks, for what, and what came of it.
pub(super) async fn on_record(
    State(office): State<Arc<Office>>,
    Extension(actor): Extension<Actor>,
    mut request: Request,
    next: Next,
) -> Response {
    let runtime = match office.runtime() {
        Ok(runtime) => runtime,
        Err(refused) => return refused.into_response(),
    };
    let route = request.extensions().get::<MatchedPath>();
    let asked = Arc::new(Asked {
        actor: actor.clone(),
        method: request.method().clone(),
        route: route.map(|route| format!("{ROOT}{}", route.as_str())),
        at: runtime.board.time.now(),
        answer: OnceLock::new(),
        is_told: AtomicBool::new(false),
    });
    drop(runtime);
    request.extensions_mut().insert(Actor {
        asked: Some(asked.clone()),
        ..actor
    });
    let response = next.run(request).await;
    let reason = response.extensions().get().map(|Code(code)| *code);
    // There is one answer.
    let _ = asked.answer.set((response.status().as_u16(), reason));
    response
}

impl Drop for Asked {
    fn drop(&mut self) {
        if self.is_told.load(Ordering::Relaxed) {
            return;
        }
        let answer = self.answer.get().copied();
        let (status, reason) = answer.unwrap_or((CLIENT_GONE, None));
        ManagementRequested {
            request: ManagementRequest {
                actor: &self.actor.name,
                tenant: self.actor.tenant.as_deref(),
                client: self.actor.client,
                method: self.method.as_str(),
                route: self.route.as_deref(),
                status: status.into(),
                reason,
                untold: None,
            },
            now: self.at,
            audit: &self.actor.audit,
        }
        .tell();
    }
}

/// What is answered is nobody else's, and is what it says it is.
pub(super) async fn keep_private(request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

/// Routes for keys with this scope. It stands in their descriptions, too.
pub(super) fn needing(scope: Scope, mut routes: Routes) -> Routes {
    document::describe(routes.get_openapi_mut(), Some(scope));
    routes.route_layer(from_fn(
        move |Extension(actor): Extension<Actor>, request: Request, next: Next| async move {
            match actor.may(scope) {
                Ok(()) => next.run(request).await,
                Err(refused) => refused.into_response(),
            }
        },
    ))
}

/// Routes for whoever has a key.
pub(super) fn open_to_every_key(mut routes: Routes) -> Routes {
    document::describe(routes.get_openapi_mut(), None);
    routes
}

#[cfg(test)]
mod tests {
    use super::*;

    fn terms(keys: &[(&str, &[Scope])], allow_remote: bool) -> Terms {
        let digest_key = [7; 32];
        let keys = keys.iter().map(|(key, scopes)| AdminKey {
            digest: blake3::keyed_hash(&digest_key, key.as_bytes()),
            mark: Box::from(*key),
            actor: Actor {
                name: (*key).into(),
                scopes: (*scopes).into(),
                tenant: None,
                client: None,
                asked: None,
                audit: Arc::default(),
            },
        });
        Terms {
            keys: keys.collect(),
            digest_key,
            allow_remote,
            effective: "{}".into(),
            costs: Costs::default(),
            auth_dir: PathBuf::new(),
            keyring: Keyring::default(),
            seals: false,
            rotation_overlap: Duration::ZERO,
            entrance: Entrance::of_key(&digest_key),
            audit: Arc::default(),
        }
    }

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(*name, HeaderValue::from_static(value));
        }
        headers
    }

    fn admitted(terms: &Terms, peer: &str, pairs: &[(&'static str, &'static str)]) -> String {
        let peer = peer.parse().ok();
        match terms.admit(peer, &headers(pairs), &Attempts::default(), 0) {
            Ok(actor) => actor.name.to_string(),
            Err(refused) => refused.code().to_owned(),
        }
    }

    #[test]
    fn a_key_is_found_wherever_it_may_stand() {
        let terms = terms(&[("one-key", &[]), ("another-key", &[])], false);
        for (pairs, found) in [
            (&[("authorization", "Bearer one-key")][..], "one-key"),
            (&[("authorization", "bEARER   another-key ")], "another-key"),
            (&[("x-management-key", "one-key")], "one-key"),
            (
                &[
                    ("authorization", "Basic abc"),
                    ("x-management-key", "another-key"),
                ],
                "another-key",
            ),
            (&[], "missing_key"),
            (&[("authorization", "one-key")], "missing_key"),
            (&[("authorization", "Bearer ")], "missing_key"),
            (&[("x-api-key", "one-key")], "missing_key"),
            (&[("authorization", "Bearer one-ke")], "invalid_key"),
            (&[("authorization", "Bearer one-key2")], "invalid_key"),
            (
                &[
                    ("x-management-key", "one-key"),
                    ("x-management-key", "one-key"),
                ],
                "invalid_key",
            ),
        ] {
            assert_eq!(admitted(&terms, "127.0.0.1", pairs), found, "{pairs:?}");
        }
    }

    #[test]
    fn other_machines_are_let_in_only_where_that_is_said() {
        let key = &[
            ("x-management-key", "one-key"),
            ("x-forwarded-for", "127.0.0.1"),
        ];
        let local = terms(&[("one-key", &[])], false);
        for peer in ["127.0.0.1", "127.9.9.9", "::1", "::ffff:127.0.0.1"] {
            assert_eq!(admitted(&local, peer, key), "one-key", "{peer}");
        }
        for peer in ["10.0.0.9", "2001:db8::1", "::ffff:10.0.0.9", "nowhere"] {
            let refused = admitted(&local, peer, key);
            assert_eq!(refused, "remote_management_disabled", "{peer}");
        }
        let open = terms(&[("one-key", &[])], true);
        assert_eq!(admitted(&open, "10.0.0.9", key), "one-key");
        let refused = admitted(&open, "nowhere", key);
        assert_eq!(refused, "remote_management_disabled");
    }

    #[test]
    fn without_keys_there_is_nothing() {
        let none = terms(&[], true);
        for pairs in [&[][..], &[("x-management-key", "one-key")]] {
            assert_eq!(admitted(&none, "127.0.0.1", pairs), "not_found");
        }
    }

    #[test]
    fn a_key_may_do_what_its_scopes_say() {
        let actor = |scopes: &[Scope]| Actor {
            name: "ci".into(),
            scopes: scopes.into(),
            tenant: None,
            client: None,
            asked: None,
            audit: Arc::default(),
        };
        for scope in Scope::ALL {
            assert!(actor(&[Scope::All]).may(scope).is_ok());
            assert!(actor(&[scope]).may(scope).is_ok());
        }
        let writes = actor(&[Scope::TokensWrite]);
        let refused = writes.may(Scope::TokensRead).unwrap_err();
        assert!(refused.to_string().contains("`tokens:read`"), "{refused}");
    }

    #[test]
    fn a_tenants_key_does_nothing_to_the_whole_gateway() {
        let theirs = Actor {
            name: "acme".into(),
            scopes: [Scope::All].into(),
            tenant: Some("acme".into()),
            client: None,
            asked: None,
            audit: Arc::default(),
        };
        for scope in Scope::ALL {
            let is_theirs = theirs.may(scope).is_ok();
            assert_eq!(is_theirs, !is_of_the_process(scope), "{}", scope.as_str());
        }
        assert!(theirs.manages(Some("acme")));
        assert!(!theirs.manages(None) && !theirs.manages(Some("umbra")));
    }
}
