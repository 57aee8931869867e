//! How credentials are used, and the state that is kept of them.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use turnpike_api::Secret;

use crate::schedule::Schedule;

use super::{CertificatePlan, SecretKey};

/// Where credentials are, and what becomes of one that fails.
#[derive(Clone, PartialEq)]
pub struct AuthPlan {
    /// Of credential files; it need not exist.
    pub dir: PathBuf,
    pub require_private_files: bool,
    /// How long a session is remembered; `None` = sessions are not told apart.
    pub affinity: Option<Duration>,
    pub cooldown: CooldownPlan,
    pub quota: QuotaPlan,
    pub encryption: EncryptionPlan,
}

/// How secrets are kept.
#[derive(Clone, PartialEq, Eq)]
pub struct EncryptionPlan {
    /// What is written is encrypted; otherwise keys only open what was.
    pub enabled: bool,
    /// Never empty where it is enabled; the first is the one that encrypts.
    pub keys: Vec<SecretKey>,
}

/// `None` = such a failure does not cool.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CooldownPlan {
    /// At most `max`.
    pub base: Duration,
    pub max: Duration,
    /// The most that a provider's hint counts for.
    pub max_hint: Duration,
    pub transient: Option<Duration>,
    pub auth: Option<Duration>,
    pub not_found: Option<Duration>,
    pub probe_interval: Duration,
}

/// When quotas start anew.
#[derive(Clone, Debug, PartialEq)]
pub struct QuotaPlan {
    /// The IANA name of the zone of all schedules.
    pub zone: String,
    /// By the name or the kind of providers.
    pub schedules: BTreeMap<String, Schedule>,
    /// That of all others.
    pub default: Schedule,
}

impl QuotaPlan {
    /// The schedule of `provider`: its own, or that of its kind, or the default.
    pub fn schedule(&self, provider: &str, kind: &str) -> &Schedule {
        let own = self.schedules.get(provider);
        own.or_else(|| self.schedules.get(kind))
            .unwrap_or(&self.default)
    }
}

/// What a request does when a credential's quota is spent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QuotaExceededPlan {
    /// Try the other credentials.
    pub switch_project: bool,
    /// Try the model whose [`ModelPlan::preview_of`] is the requested one.
    pub switch_preview_model: bool,
}

#[derive(Clone, PartialEq, Eq)]
pub struct StatePlan {
    /// The embedded store's file.
    pub path: PathBuf,
    /// What replicas share is kept there; what each counts stays in the file.
    pub redis: Option<RedisPlan>,
    /// How long what is known of tokens counts while the store cannot be read.
    pub max_stale: Duration,
    pub retention: RetentionPlan,
}

/// Where the Redis is, and how long one waits for it.
#[derive(Clone, PartialEq, Eq)]
pub struct RedisPlan {
    /// Without a login.
    pub url: String,
    pub servers: RedisServersPlan,
    /// Empty = Redis' own `default`.
    pub username: String,
    pub password: Option<Secret>,
    /// `None` = the system's authorities.
    pub ca_file: Option<PathBuf>,
    /// What the gateway shows of itself.
    pub client: Option<CertificatePlan>,
    pub key_prefix: String,
    pub deadline: Duration,
    pub connect_timeout: Duration,
}

/// Which servers a Redis is. Nodes are `host:port`, and never none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RedisServersPlan {
    /// That of the URL.
    One,
    /// The one that its sentinels call the master.
    Sentinel {
        nodes: Vec<String>,
        master_name: String,
    },
    /// A cluster of which these are some.
    Cluster { nodes: Vec<String> },
}

/// How many days the store keeps what it need not; `None` = for good.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RetentionPlan {
    /// Of usage.
    pub usage: Option<u32>,
    /// After they were revoked.
    pub revoked_tokens: Option<u32>,
    /// After their last session.
    pub absent_people: Option<u32>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_of_a_provider_comes_before_its_kind() {
        let schedule = |written| Schedule::parse(written, "UTC").unwrap();
        let plan = QuotaPlan {
            zone: "UTC".into(),
            schedules: BTreeMap::from([
                ("work".into(), schedule("weekly")),
                ("openai".into(), schedule("daily")),
            ]),
            default: schedule("monthly"),
        };
        assert_eq!(plan.schedule("work", "openai").to_string(), "weekly");
        assert_eq!(plan.schedule("codex", "openai").to_string(), "daily");
        assert_eq!(plan.schedule("groq", "groq").to_string(), "monthly");
    }
}
