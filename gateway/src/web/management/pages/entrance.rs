//! How operators come to their pages, as one configuration has it.

use turnpike_api::Secret;
use turnpike_config::plan::{Plan, SecretKey};
use turnpike_identity::sso::{Purpose, Seals};
use url::Url;

use crate::assemble::Ground;

pub(in crate::web::management) struct Entrance {
    /// Of forms, and of what a key is known by.
    pub(super) seals: Seals,
    /// Where the admin listener is reached; without a slash at its end.
    pub(in crate::web::management) public_url: String,
    /// Browsers reach it over TLS.
    pub(super) is_secure: bool,
    /// A role opens the pages to people who log in.
    pub(in crate::web::management) by_login: bool,
}

impl Entrance {
    pub(in crate::web::management) fn new(plan: &Plan, ground: &Ground) -> Self {
        let kept = plan.server.secret_key.as_ref().or(ground.kept_key.get());
        // Without one, what is sealed is good for this process.
        let key = kept.map_or(&ground.digest_key, SecretKey::bytes);
        let url = &plan.management.public_url;
        let own = plan
            .tenants
            .iter()
            .filter_map(|tenant| tenant.access.as_ref());
        let mut roles = plan
            .roles
            .iter()
            .chain(own.flat_map(|access| &access.roles));
        let logins = plan.tenants.iter().any(|tenant| tenant.sso.is_some()) || plan.sso.is_some();
        Self {
            seals: Seals::new(key),
            public_url: url.as_str().trim_end_matches('/').to_owned(),
            is_secure: url.scheme() == "https",
            by_login: logins && roles.any(|role| !role.management.is_empty()),
        }
    }

    #[cfg(test)]
    pub(in crate::web::management) fn of_key(key: &[u8; 32]) -> Self {
        Self {
            seals: Seals::new(key),
            public_url: "http://localhost".into(),
            is_secure: false,
            by_login: false,
        }
    }

    /// What a key is known by in the store: nobody makes it who has the store alone.
    pub(in crate::web::management) fn mark(&self, key: &Secret) -> Box<str> {
        self.seals.seal(Purpose::ManagementKey, key.expose()).into()
    }

    /// Whether this is where browsers come back to. `host` is what the browser calls us.
    pub(super) fn is_at(&self, host: &str) -> bool {
        let scheme = if self.is_secure { "https" } else { "http" };
        let here = Url::parse(&format!("{scheme}://{host}"));
        let home = Url::parse(&self.public_url);
        matches!((here, home), (Ok(here), Ok(home)) if here.origin() == home.origin())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_place_is_written_in_several_ways() {
        let at = |public_url: &str, host: &str| {
            let is_secure = public_url.starts_with("https");
            let entrance = Entrance {
                public_url: public_url.into(),
                is_secure,
                ..Entrance::of_key(&[1; 32])
            };
            entrance.is_at(host)
        };
        assert!(at("http://localhost:8317", "localhost:8317"));
        assert!(at("http://localhost:8317", "LOCALHOST:8317"));
        assert!(at("https://ops.example.com", "ops.example.com:443"));
        assert!(at("http://[::1]:8317", "[::1]:8317"));
        for elsewhere in [
            "127.0.0.1:8317",
            "localhost",
            "localhost:8318",
            "",
            "evil@localhost:8",
        ] {
            assert!(!at("http://localhost:8317", elsewhere), "{elsewhere}");
        }
    }
}
