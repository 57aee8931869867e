//! Every credential there is, and how it stands: what an operator is shown.

use std::sync::Arc;

use jiff::Timestamp;
use turnpike_api::Fault;
use turnpike_credentials::Phase;

use super::credential::Credential;

/// A credential, or what is left of one that cannot be used.
pub struct Enrolled {
    pub id: Arc<str>,
    pub provider: Arc<str>,
    /// `api_key`, `oauth` or `service_account`.
    pub kind: &'static str,
    pub label: Option<String>,
    /// The name of the file it is written in; `None` = the configuration.
    pub file: Option<String>,
    pub held: Held,
    /// Why its file as it stands is not used; its last good version may be.
    pub problem: Option<String>,
    /// The tag by which tenants name it.
    pub pool: Option<String>,
    /// The tenant that alone may use it; `None` = it is the house's, or several may.
    pub tenant: Option<Arc<str>>,
}

pub enum Held {
    Usable(Arc<Credential>),
    Disabled,
    /// Its provider is switched off.
    ProviderOff,
    /// Its file cannot be read, and never could.
    Broken,
}

/// How a credential stands, in one word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    Active,
    Cooling,
    Exhausted,
    Expired,
    Disabled,
    Error,
}

impl Status {
    pub const ALL: [Self; 6] = [
        Self::Active,
        Self::Cooling,
        Self::Exhausted,
        Self::Expired,
        Self::Disabled,
        Self::Error,
    ];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Cooling => "cooling",
            Self::Exhausted => "exhausted",
            Self::Expired => "expired",
            Self::Disabled => "disabled",
            Self::Error => "error",
        }
    }
}

/// How it stands, why, and when it is back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    pub status: Status,
    pub message: String,
    /// In milliseconds since 1970, where it comes back by itself.
    pub back: Option<u64>,
}

impl Enrolled {
    pub fn credential(&self) -> Option<&Arc<Credential>> {
        match &self.held {
            Held::Usable(credential) => Some(credential),
            Held::Disabled | Held::ProviderOff | Held::Broken => None,
        }
    }

    /// How it stands now.
    pub fn report(&self, now: u64) -> Report {
        let report = |status, message: String, back| Report {
            status,
            message,
            back,
        };
        if let Some(problem) = &self.problem {
            return report(Status::Error, problem.clone(), None);
        }
        match &self.held {
            Held::Disabled => report(Status::Disabled, "switched off".into(), None),
            Held::ProviderOff => report(
                Status::Disabled,
                "its provider is switched off (`enabled: false`)".into(),
                None,
            ),
            Held::Broken => report(Status::Error, "its file cannot be read".into(), None),
            Held::Usable(credential) => credential.report(now),
        }
    }
}

impl Credential {
    fn report(&self, now: u64) -> Report {
        self.begin_period(now);
        let running = self.standing.allowance.running();
        if now >= self.expires_at {
            return Report {
                status: Status::Expired,
                message: format!("its token was good until {}", time(self.expires_at)),
                back: None,
            };
        }
        if !self.has_quota() {
            let back = (running.end < u64::MAX).then_some(running.end);
            let until = back.map_or("for good".into(), |back| format!("until {}", time(back)));
            return Report {
                status: Status::Exhausted,
                message: format!("its quota is spent {until}"),
                back,
            };
        }
        self.cooling(now)
    }

    fn cooling(&self, now: u64) -> Report {
        let cooldowns = self.standing.cooldowns();
        let whole = cooldowns.whole.iter().map(|cooldown| (None, *cooldown));
        let models = cooldowns.models.iter();
        let models = models.map(|(model, cooldown)| (Some(&**model), *cooldown));
        let mut back: Option<u64> = None;
        let mut reasons = Vec::new();
        for (model, cooldown) in whole.chain(models) {
            let until = match cooldown.phase(now) {
                Phase::Cooling(until) | Phase::Probing(until) => until,
                Phase::Due => continue,
            };
            back = Some(back.unwrap_or(u64::MAX).min(until));
            let what = model.map_or(String::new(), |model| format!("{model}: "));
            let why = cause(cooldown.fault);
            reasons.push(format!("{what}{why}, until {}", time(until)));
        }
        Report {
            status: match back {
                Some(_) => Status::Cooling,
                None => Status::Active,
            },
            message: reasons.join("; "),
            back,
        }
    }
}

/// Why somebody is left alone for a while, in words that stand behind "is" and "are".
pub fn cause(fault: Fault) -> &'static str {
    match fault {
        Fault::RateLimited => "rate limited",
        Fault::Unauthorized => "refused by the provider (401)",
        Fault::PaymentRequired => "out of credit at the provider (402)",
        Fault::Forbidden => "forbidden by the provider (403)",
        Fault::ModelNotFound => "without this model (404)",
        Fault::Overloaded => "overloaded",
        Fault::Timeout => "not answering in time",
        Fault::ServerError => "failing at the provider (5xx)",
        Fault::Unreachable => "unreachable",
    }
}

/// RFC 3339, in whole seconds, rounded up.
pub fn time(millis: u64) -> String {
    let seconds = i64::try_from(millis.div_ceil(1000)).unwrap_or(i64::MAX);
    Timestamp::from_second(seconds)
        .unwrap_or(Timestamp::MAX)
        .to_string()
}
