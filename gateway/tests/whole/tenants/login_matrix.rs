//! Every route that people log in by × everything of another tenant's that a request can bring along,
//! wherever in it that can stand: it is as if it were not there, and nothing of it changes. The routes
//! are those of the router: one without a row here fails.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;
use turnpike::clock::Time;
use turnpike::sso::Sso;
use turnpike_api::Store;
use turnpike_identity::sso::confirmation::Waiting;
use turnpike_identity::sso::session::{self, Login};
use turnpike_identity::sso::{Errand, Person, Purpose, digest};
use url::form_urlencoded;

use super::logins::{Place, id_of, make, test};
use super::{ACME_HOST, NOON, UMBRA_HOST, told};
use crate::harness::Answer;
use crate::sso::browser::{Browser, field};
use crate::sso::provider::Idp;

const HOUR: Duration = Duration::from_secs(3600);

const METADATA: &str = "/.well-known/oauth-authorization-server";
const GRANT: &str = "urn:ietf:params:oauth:grant-type:device_code";

/// Cookies, and the header of a bearer: places that every request has.
const SESSION: &str = "turnpike-session";
const BROWSER: &str = "turnpike-login";
const BEARER: &str = "authorization";

const HTML: &str = "text/html,application/xhtml+xml";
const JSON: &str = "application/json";

/// What somebody has, by what it is called here.
type Things = BTreeMap<&'static str, String>;

/// A place in a request: its name, which of somebody's things belongs there, and what is written there
/// for want of one. Nothing is left out.
type Slot = (&'static str, &'static str, &'static str);

/// A route, and where it takes what.
struct Row {
    method: &'static str,
    path: &'static str,
    fields: &'static [Slot],
    /// By which of somebody's browsers it is asked.
    browser: &'static str,
    /// What umbra's own person is answered at umbra's host.
    theirs: (u16, &'static str),
}

const fn get(path: &'static str, fields: &'static [Slot], theirs: (u16, &'static str)) -> Row {
    Row {
        method: "GET",
        path,
        fields,
        browser: "login cookie",
        theirs,
    }
}

const fn post(path: &'static str, fields: &'static [Slot], theirs: (u16, &'static str)) -> Row {
    Row {
        method: "POST",
        ..get(path, fields, theirs)
    }
}

impl Row {
    const fn by(self, browser: &'static str) -> Self {
        Self { browser, ..self }
    }

    fn slots(&self) -> impl Iterator<Item = Slot> {
        let of_all = [
            (SESSION, "session", ""),
            (BROWSER, self.browser, ""),
            (BEARER, "token", ""),
        ];
        of_all.into_iter().chain(self.fields.iter().copied())
    }
}

const CSRF: Slot = ("csrf", "form seal", "");
const USER_CODE: Slot = ("user_code", "user code", "");
const CLIENT: Slot = ("client_id", "", "turnpike-login");

const RETURNED: &[Slot] = &[
    ("code", "code", "a-code"),
    ("state", "state", "a-state"),
    ("iss", "issuer", ""),
    ("error", "", ""),
    ("error_description", "", ""),
];

/// In an order in which one person can do all of it.
const ROWS: [Row; 27] = [
    get("/", &[], (303, "/auth/login")),
    get("/auth", &[], (303, "/auth/login")),
    get("/auth/style.css", &[], (200, "")),
    get("/auth/icon.svg", &[], (200, "")),
    get(METADATA, &[], (200, "http://umbra.example")),
    get("/auth/login", &[("token", "link", "")], (303, "?token=")),
    get(
        "/auth/login",
        &[("for", "", "device"), USER_CODE],
        (303, "user_code="),
    ),
    get(
        "/auth/login",
        &[("for", "", "operator"), ("challenge", "challenge", "")],
        (303, "challenge="),
    ),
    get(
        "/auth/login/{provider}",
        &[
            ("{provider}", "provider", "test"),
            ("token", "link", ""),
            ("for", "", "device"),
            USER_CODE,
            ("challenge", "challenge", ""),
        ],
        (303, "/authorize?"),
    ),
    post("/auth/callback", RETURNED, (303, "/auth/callback?code=")),
    get("/auth/callback", RETURNED, (303, "/auth/confirm")),
    get("/auth/confirm", &[], (200, "Confirm it is you")).by("confirmation cookie"),
    post(
        "/auth/confirm",
        &[
            ("csrf", "browser seal", ""),
            ("code", "confirmation code", "a-code"),
        ],
        (303, "/auth/success"),
    )
    .by("confirmation cookie"),
    get("/auth/success", &[("link", "", "")], (200, "umbras-ada")),
    post(
        "/auth/success",
        &[CSRF, ("name", "", "box")],
        (200, "value=\"tp-"),
    ),
    get("/auth/tokens", &[], (200, "laptop")),
    get("/auth/device", &[USER_CODE], (200, "umbras box")),
    post("/auth/device", &[CSRF, USER_CODE], (200, "umbras box")),
    post(
        "/auth/device",
        &[
            CSRF,
            ("user_code", "user code of another", ""),
            ("decision", "", "deny"),
        ],
        (200, "Refused"),
    ),
    post(
        "/auth/device",
        &[
            CSRF,
            USER_CODE,
            ("name", "", "box"),
            ("decision", "", "allow"),
        ],
        (200, "Your device is connected"),
    ),
    post(
        "/oauth/device_authorization",
        &[CLIENT, ("agent", "", "box")],
        (200, "device_code"),
    ),
    post(
        "/oauth/token",
        &[
            ("grant_type", "", GRANT),
            CLIENT,
            ("device_code", "device code", ""),
        ],
        (200, "access_token"),
    ),
    post(
        "/oauth/token",
        &[
            ("grant_type", "", GRANT),
            CLIENT,
            ("device_code", "device code that was allowed", ""),
        ],
        (200, "access_token"),
    ),
    get(
        "/auth/operator",
        &[("challenge", "challenge", "")],
        (200, "ticket="),
    ),
    post(
        "/auth/tokens/revoke",
        &[CSRF, ("id", "token id", "")],
        (303, "/auth/tokens"),
    ),
    get("/auth/logout", &[], (200, "name=\"csrf\"")),
    post("/auth/logout", &[CSRF], (200, "signed out")),
];

/// The routes, as the router's source has them.
fn routes() -> BTreeSet<(String, &'static str)> {
    let source = include_str!("../../../src/web/login.rs");
    let (router, _) = source.split_once(".fallback(").unwrap();
    let mut routes = BTreeSet::new();
    for route in router.split(".route(").skip(1) {
        let (path, handlers) = route.split_once(',').unwrap();
        let path = match path.trim() {
            "oauth::METADATA" => METADATA,
            path => path.trim_matches('"'),
        };
        let methods = ["get", "post", "put", "patch", "delete"];
        let has = |method: &&str| handlers.contains(&format!("{method}("));
        let found: Vec<_> = methods.into_iter().filter(has).collect();
        assert!(!found.is_empty(), "the methods of {path} cannot be read");
        routes.extend(found.iter().map(|method| (method.to_uppercase(), path)));
    }
    routes
}

#[test]
fn each_route_has_a_row() {
    let rows = ROWS.iter().map(|row| (row.method.to_owned(), row.path));
    assert_eq!(rows.collect::<BTreeSet<_>>(), routes());
}

/// As whom acme's host is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Whom {
    /// Somebody of acme's who is signed in there.
    Acme,
    Nobody,
    /// Somebody who has all that umbra's person has.
    Umbra,
}

/// What of umbra's is put where.
#[derive(Debug)]
struct Cell {
    whom: Whom,
    accept: &'static str,
    /// A slot, and the thing that is put there; `None` = everything is where it belongs.
    put: Option<(&'static str, &'static str)>,
}

/// The slot of what a browser or a program carries along by itself: both cookies, and the bearer.
const CARRIED: &str = "carried";

fn cells(row: &Row, things: &Things) -> Vec<Cell> {
    let mut cells = Vec::new();
    for whom in [Whom::Acme, Whom::Nobody, Whom::Umbra] {
        for accept in [HTML, JSON] {
            let put = None;
            cells.push(Cell { whom, accept, put });
        }
    }
    let mut put = |whom, slot| {
        for thing in things.keys().filter(|thing| may_stand(slot, thing)) {
            let put = Some((slot, *thing));
            let accept = HTML;
            cells.push(Cell { whom, accept, put });
        }
    };
    put(Whom::Nobody, CARRIED);
    for (slot, ..) in row.fields {
        put(Whom::Acme, slot);
        put(Whom::Nobody, slot);
    }
    cells
}

/// What anybody may know: nobody presents it for a secret or a code.
const NAMES: [&str; 6] = ["email", "issuer", "person", "provider", "subject", "tenant"];

/// Where there is one of their form already, it stands for them everywhere else.
const ALIKE: [&str; 4] = [
    "browser seal",
    "device code that was allowed",
    "user code that was allowed",
    "user code of another",
];

fn may_stand(slot: &str, thing: &str) -> bool {
    match slot {
        // Anything but a word of the protocol is nothing there.
        "for" | "decision" | "grant_type" => false,
        // It is kept as it is written: a secret would get out by the hand of who wrote it there.
        "name" | "agent" | "client_id" => NAMES.contains(&thing) || thing == "token id",
        "{provider}" | "iss" | "error" | "error_description" => true,
        _ if NAMES.contains(&thing) => false,
        "csrf" | "user_code" | "device_code" => true,
        // The canaries take any code for a secret from then on; the store has these, as they are none.
        "code" if ["challenge", "link", "token id"].contains(&thing) => false,
        _ => !ALIKE.contains(&thing),
    }
}

impl Cell {
    /// What stands where, when `of` are umbra's things, or nobody's in their place.
    fn given(&self, row: &Row, own: &Things, of: &Things) -> Vec<(&'static str, String)> {
        let given = row.slots().map(|(slot, thing, plain)| {
            let is_carried = [SESSION, BROWSER, BEARER].contains(&slot);
            let theirs = match self.put {
                Some((put, thing)) if put == slot || is_carried && put == CARRIED => of.get(thing),
                None if !(is_carried && self.whom == Whom::Nobody) => of.get(thing),
                _ => None,
            };
            // Who asks has a session, and the seals of it, of their own.
            let found = match self.put {
                Some(_) => theirs.or(own.get(thing)),
                None => own.get(thing).or(theirs),
            };
            (slot, found.cloned().unwrap_or_else(|| plain.to_owned()))
        });
        given.filter(|(_, value)| !value.is_empty()).collect()
    }

    /// What acme's host answers.
    async fn told(&self, place: &Place, nth: usize, row: &Row, of: &Things) -> Told {
        let own = match self.whom {
            Whom::Acme => of_acme(place, nth).await,
            Whom::Nobody | Whom::Umbra => Things::new(),
        };
        let given = self.given(row, &own, of);
        let answer = ask(place, (ACME_HOST, self.accept, nth), row, &given).await;
        Told::of(&answer, given)
    }
}

/// An answer, without what was sent.
struct Told {
    status: u16,
    headers: Vec<String>,
    /// The headers' values, and the body.
    text: String,
    sent: Vec<(&'static str, String)>,
}

impl Told {
    fn of(answer: &Answer, sent: Vec<(&'static str, String)>) -> Self {
        let (status, mut headers, mut text) = told(answer);
        headers.retain(|(name, _)| name != "content-length");
        for (_, value) in &headers {
            text = format!("{value}\n{text}");
        }
        Self {
            status,
            headers: headers.into_iter().map(|(name, _)| name).collect(),
            text: without(text, &sent),
            sent,
        }
    }

    /// What there is to tell it from another one.
    fn bare(&self) -> (u16, &[String], String) {
        (self.status, &self.headers, masked(&self.text))
    }

    /// What of umbra's it names that was not sent.
    fn named<'w>(&self, words: &'w BTreeSet<String>) -> Vec<&'w String> {
        let is_sent = |word: &str| self.sent.iter().any(|(_, value)| value.contains(word));
        let words = words.iter();
        words
            .filter(|word| self.text.contains(&**word) && !is_sent(word))
            .collect()
    }
}

/// Asks at a host, from an address that nobody else asks from.
async fn ask(
    place: &Place,
    (host, accept, nth): (&'static str, &'static str, usize),
    row: &Row,
    given: &[(&'static str, String)],
) -> Answer {
    let mut browser = place.at(host);
    browser.accept = accept;
    let mut path = row.path.to_owned();
    let mut fields = form_urlencoded::Serializer::new(String::new());
    for (slot, value) in given {
        match *slot {
            SESSION | BROWSER => {
                browser.cookies.insert((*slot).to_owned(), value.clone());
            }
            BEARER => browser.bearer = Some(value.clone()),
            "{provider}" => path = path.replace(slot, &encoded(value)),
            field => {
                fields.append_pair(field, value);
            }
        }
    }
    let (address, fields) = (format!("10.0.{}.{}", nth / 256, nth % 256), fields.finish());
    let mut headers = vec![("x-forwarded-for", &*address)];
    let mut body = Vec::new();
    match row.method {
        "GET" => path = format!("{path}?{fields}"),
        _ => {
            headers.push(("content-type", "application/x-www-form-urlencoded"));
            body = fields.into_bytes();
        }
    }
    browser.send_as(row.method, &path, &headers, body).await
}

fn encoded(text: &str) -> String {
    form_urlencoded::byte_serialize(text.as_bytes()).collect()
}

/// A thing of the same form that nobody has.
fn made_up(theirs: &str) -> String {
    let other = |first: char| match first {
        '0' => '1',
        '1'..='9' => '0',
        'B' => 'C',
        'A'..='Z' => 'B',
        'b' => 'c',
        _ => 'b',
    };
    let pieces = theirs.split_inclusive(|c: char| !c.is_ascii_alphanumeric());
    let changed = pieces.map(|piece| match piece.chars().next() {
        // What is short says of what form it is.
        Some(first) if piece.len() > 4 => format!("{}{}", other(first), &piece[1..]),
        _ => piece.to_owned(),
    });
    let nobodys: String = changed.collect();
    assert_ne!(nobodys, theirs);
    nobodys
}

fn sso(place: &Place) -> Arc<Sso> {
    let snapshot = place.house.gateway.runtime.snapshot();
    snapshot.tenants.house.sso.clone().unwrap()
}

/// Somebody of acme's who has just signed in, and has done nothing yet.
async fn of_acme(place: &Place, nth: usize) -> Things {
    let person = Person {
        issuer: "https://idp.example".into(),
        subject: format!("acmes-person-{nth}"),
        tenant: Some("acme".into()),
        ..Person::default()
    };
    let login = Login {
        person,
        provider: "test".into(),
        provider_of: None,
        roles: Vec::new(),
    };
    let (sso, store) = (sso(place), &*place.house.gateway.runtime.store);
    let session = session::sign_in(store, &login, HOUR, NOON).await.unwrap();
    let (session, browser) = (session.cookie(&sso.seals), format!("{nth:a>43}"));
    let seal = |of: &str| sso.seals.seal(Purpose::Form, of);
    Things::from([
        ("form seal", seal(&session)),
        ("browser seal", seal(&known_as(&browser, "acme"))),
        ("session", session),
        ("login cookie", browser.clone()),
        ("confirmation cookie", browser),
    ])
}

/// What a browser with this cookie is known by at a tenant's host.
fn known_as(cookie: &str, tenant: &str) -> String {
    format!("{cookie}\0{tenant}")
}

/// What stands behind a word, up to the end of the attribute or the query's field.
fn after<'t>(text: &'t str, word: &str) -> &'t str {
    let (_, rest) = text.split_once(word).unwrap_or_else(|| panic!("{text}"));
    rest.split(['"', '&']).next().unwrap()
}

/// Umbra with everything that there is; and the browser of its operator, who waits at the other listener.
async fn furnished(place: &Place) -> (Things, Browser) {
    let mut ada = place.at(UMBRA_HOST);
    let back = ada.visit_provider("/auth/login/umbras-own").await;
    let done = ada.get(&back).await;
    assert_eq!(done.header("location"), Some("/auth/success"));
    let token = make(&mut ada).await;
    let csrf = field(&ada.get("/auth/tokens").await, "csrf");
    let (sso, store) = (sso(place), &*place.house.gateway.runtime.store);
    let link = sso.links.mint(Some(id_of(&token)), NOON).unwrap();
    let (_, session) = session::all(store).await.unwrap().remove(0);
    let person = session.person;
    let (mut things, operator) = operators(place, &mut ada).await;
    things.extend(devices(place, &mut ada, &csrf).await);
    things.extend([
        ("session", ada.cookies[SESSION].clone()),
        ("form seal", csrf),
        ("token id", id_of(&token).to_owned()),
        ("token", token),
        ("link", after(&link, "token=").to_owned()),
        ("person", person.key()),
        ("subject", person.subject.clone()),
        ("email", person.email.clone().unwrap()),
        ("issuer", person.issuer.clone()),
        ("tenant", "umbra".to_owned()),
        ("provider", "umbras-own".to_owned()),
    ]);
    things.extend(under_way(place, person).await);
    (things, operator)
}

/// An operator on the way to their pages, with a ticket.
async fn operators(place: &Place, ada: &mut Browser) -> (Things, Browser) {
    let mut operator = Browser::of(place.house.gateway.admin);
    operator.host = "admin.example";
    let sent = operator.get("/admin/sign-in/login?tenant=umbra").await;
    let challenge = after(sent.header("location").unwrap(), "challenge=").to_owned();
    let path = format!("/auth/operator?challenge={challenge}");
    let ticket = after(ada.get(&path).await.text(), "ticket=").to_owned();
    let things = Things::from([("challenge", challenge), ("ticket", ticket)]);
    (things, operator)
}

/// Two devices that wait for an answer, and one that was allowed and has not fetched its token.
async fn devices(place: &Place, ada: &mut Browser, csrf: &str) -> Things {
    let waits = device(place).await;
    let allowed = device(place).await;
    let another = device(place).await;
    let yes = [
        ("csrf", csrf),
        ("user_code", &allowed.1),
        ("name", "box"),
        ("decision", "allow"),
    ];
    assert_eq!(ada.post("/auth/device", &yes).await.status, 200);
    Things::from([
        ("device code", waits.0),
        ("user code", waits.1),
        ("device code that was allowed", allowed.0),
        ("user code that was allowed", allowed.1),
        ("user code of another", another.1),
    ])
}

/// A device that asks at umbra's host: its code, and what is to be typed.
async fn device(place: &Place) -> (String, String) {
    let fields = [("client_id", "turnpike-login"), ("agent", "umbras box")];
    let mut program = place.at(UMBRA_HOST);
    let asked = program.post("/oauth/device_authorization", &fields).await;
    let codes = asked.json();
    let text = |name: &str| codes[name].as_str().unwrap().to_owned();
    (text("device_code"), text("user_code"))
}

/// Logins that are not done: one is at its provider, the other waits for the code in the log.
async fn under_way(place: &Place, person: Person) -> Things {
    let text = std::fs::read_to_string(&place.house.config).unwrap();
    let by_code = "pools: [umbra], authorization: {mode: single_user}";
    std::fs::write(&place.house.config, text.replace("pools: [umbra]", by_code)).unwrap();
    place.house.gateway.reloader.reload().unwrap();
    let mut begun = place.at(UMBRA_HOST);
    let back = begun.visit_provider("/auth/login/umbras-own").await;

    let mut waits = place.at(UMBRA_HOST);
    let path = waits.visit_provider("/auth/login/umbras-own").await;
    let done = waits.get(&path).await;
    assert_eq!(done.header("location"), Some("/auth/confirm"));
    let csrf = field(&waits.get("/auth/confirm").await, "csrf");
    let login = Login {
        person,
        provider: "umbras-own".into(),
        provider_of: Some("umbra".into()),
        roles: Vec::new(),
    };
    // Once more in the same browser: the code of before is in the log alone.
    let (sso, store) = (sso(place), &*place.house.gateway.runtime.store);
    let login = (login, Errand::default(), None);
    let browser = digest(&known_as(&waits.cookies[BROWSER], "umbra"));
    let code = Waiting::begin(login, &browser, HOUR, &sso.seals, store, NOON);
    Things::from([
        ("login cookie", begun.cookies[BROWSER].clone()),
        ("code", after(&back, "code=").to_owned()),
        ("state", after(&back, "state=").to_owned()),
        ("confirmation cookie", waits.cookies[BROWSER].clone()),
        ("browser seal", csrf),
        ("confirmation code", code.await.unwrap()),
    ])
}

/// The kinds of records that logins leave.
const KINDS: [&str; 9] = [
    "agent_token",
    "confirmation",
    "device_login",
    "login",
    "login_link",
    "login_rate",
    "operator_ticket",
    "session",
    "session_renewal",
];

/// What the store has, by kind and key.
type Kept = BTreeMap<(&'static str, String), Option<(u64, Vec<u8>)>>;

async fn kept(store: &dyn Store) -> Kept {
    let mut kept = Kept::new();
    for kind in KINDS {
        for (key, record) in store.list(kind).await.unwrap() {
            kept.insert((kind, key), Some((record.version, record.value)));
        }
    }
    kept
}

/// The same records as they are now.
async fn now(store: &dyn Store, before: &Kept) -> Kept {
    let records = before.keys().map(async |(kind, key)| {
        let record = store.get(kind, key).await.unwrap();
        let record = record.map(|record| (record.version, record.value));
        ((*kind, key.clone()), record)
    });
    join_all(records).await.into_iter().collect()
}

/// A text without what was sent, the longest first: one may be a part of another.
fn without(mut text: String, sent: &[(&'static str, String)]) -> String {
    let mut sent: Vec<&str> = sent.iter().map(|(_, value)| &**value).collect();
    sent.sort_by_key(|value| std::cmp::Reverse(value.len()));
    for sent in sent {
        // A link says itself that it is one: whoever has it takes it along.
        for form in [&*format!("?token={sent}"), sent, &encoded(sent)] {
            if text.contains(form) {
                text = text.replace(form, if form.starts_with('?') { "" } else { "…" });
            }
        }
    }
    text
}

/// A text without long words, some of which are made anew for each answer.
fn masked(text: &str) -> String {
    let ends = |c: char| !c.is_ascii_alphanumeric() && !"._-".contains(c);
    let words = text.split_inclusive(ends);
    let masked = words.map(|word| match word.trim_end_matches(ends) {
        long if long.len() >= 9 => word.replace(long, "…"),
        _ => word.to_owned(),
    });
    masked.collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_a_login_is_asked_of_another_tenants_is_as_if_it_were_not_there() {
    let own = Idp::start(Time::simulated(NOON)).await;
    let place = place(&own).await;
    let (theirs, operator) = furnished(&place).await;
    let nobodys = theirs.iter().map(|(thing, value)| (*thing, made_up(value)));
    let nobodys: Things = nobodys.collect();
    let mut words: BTreeSet<String> = theirs.values().cloned().collect();
    words.extend(theirs.values().map(|word| word.replace('-', "")));
    let store = &*place.house.gateway.runtime.store;
    let before = kept(store).await;
    let mut asked = 0;
    for row in &ROWS {
        for cell in cells(row, &theirs) {
            asked += 2;
            let (theirs, nobodys) = tokio::join!(
                cell.told(&place, asked, row, &theirs),
                cell.told(&place, asked + 1, row, &nobodys),
            );
            let what = format!("{} {} {cell:?}", row.method, row.path);
            assert_eq!(theirs.bare(), nobodys.bare(), "{what}");
            assert_eq!(theirs.named(&words), [""; 0], "{what}");
            assert_eq!(now(store, &before).await, before, "{what}");
        }
    }
    is_all_there(&place, &theirs, operator).await;
}

/// A gateway where umbra has a provider of its own, and everybody is an operator of their tenant.
async fn place(own: &Idp) -> Place {
    *own.subject.lock().unwrap() = "umbras-ada".into();
    let provider = test(own).replace("test:", "umbras-own:");
    let umbra = format!(", sso: {{providers: {{{provider}}}}}");
    let rest = "authorization: {mode: enterprise, rate_limit: {max_attempts: 1000}}\n\
                roles: {operator: {models: [\"*\"], permissions: [\"admin:*\", \"llm:read\", \"llm:write\"]}}\n\
                role_bindings: [{role: operator, everyone: true}]";
    Place::of(rest, "", &umbra).await
}

/// Umbra's own person does with it what it is for. Each row is about something, therefore.
async fn is_all_there(place: &Place, theirs: &Things, mut operator: Browser) {
    let served = place.served(UMBRA_HOST, &theirs["token"]).await;
    assert_eq!(served, (200, "sk-umbra-1".into()));
    let path = format!("/admin/sign-in/return?ticket={}", theirs["ticket"]);
    assert_eq!(operator.get(&path).await.status, 200);
    let cell = Cell {
        whom: Whom::Umbra,
        accept: HTML,
        put: None,
    };
    for row in &ROWS {
        let given = cell.given(row, &Things::new(), theirs);
        let answer = ask(place, (UMBRA_HOST, HTML, 0), row, &given).await;
        let what = format!("{} {}: {answer:?}", row.method, row.path);
        let told = format!("{:?} {}", answer.headers, answer.text());
        let (status, word) = row.theirs;
        assert!(answer.status == status && told.contains(word), "{what}");
    }
}
