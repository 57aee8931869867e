//! Providers with many tenants, each an issuer of its own, as Microsoft's directories are.
//!
//! The document of them all names an issuer with a place for a tenant's id. A token names its
//! tenant beside its issuer, and the two must agree.

use openidconnect::IssuerUrl;
use serde_json::{Map, Value};
use thiserror::Error;
use url::Url;

/// Where the id of a tenant stands in the issuer of them all.
const PLACE: &str = "{tenantid}";

/// Where Microsoft says that the address in a token is of a domain that its tenant owns.
const VOUCHED: &str = "xms_edov";

/// Whose tokens are taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tenants {
    allowed: Vec<String>,
}

/// Why a tenant's token is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub(super) enum TenantRefused {
    #[error("what it names is no tenant (`tid`)")]
    Id,
    #[error("its tenant is not among those that may log in here (`tid`)")]
    NotAllowed,
}

impl Tenants {
    /// Those of these ids; without any, all.
    pub fn new(allowed: Vec<String>) -> Self {
        Self { allowed }
    }

    /// What the document of all tenants at `issuer` has to name: its first segment is their place.
    pub(super) fn issuer_of_all(issuer: &Url) -> String {
        let path = issuer.path().trim_start_matches('/');
        let rest = path.split_once('/').map_or("", |(_, rest)| rest);
        let host = issuer.origin().ascii_serialization();
        format!("{host}/{PLACE}/{rest}")
    }

    /// The issuer that a tenant is.
    pub(super) fn issuer_of(
        &self,
        all: &IssuerUrl,
        tenant: &str,
    ) -> Result<IssuerUrl, TenantRefused> {
        if !is_id(tenant) {
            return Err(TenantRefused::Id);
        }
        let is_it = |allowed: &String| allowed.eq_ignore_ascii_case(tenant);
        if !self.allowed.is_empty() && !self.allowed.iter().any(is_it) {
            return Err(TenantRefused::NotAllowed);
        }
        IssuerUrl::new(all.replace(PLACE, tenant)).map_err(|_| TenantRefused::Id)
    }

    /// Whether the provider vouches for the address in a token. Anybody may have a tenant, and write
    /// anybody's address into it.
    pub(super) fn vouch_for(said: &Map<String, Value>) -> bool {
        match said.get(VOUCHED) {
            Some(Value::Bool(vouched)) => *vouched,
            Some(Value::Number(number)) => number.as_u64() == Some(1),
            Some(Value::String(word)) => word == "1" || word == "true",
            _ => false,
        }
    }

    /// Whether an issuer is that of one of them.
    pub(super) fn have(&self, all: &IssuerUrl, issuer: &str) -> bool {
        let around = all.split_once(PLACE);
        let tenant = around.and_then(|(before, after)| {
            let rest = issuer.strip_prefix(before)?;
            rest.strip_suffix(after)
        });
        tenant.is_some_and(|tenant| self.issuer_of(all, tenant).is_ok())
    }
}

/// A GUID as it is written everywhere.
fn is_id(text: &str) -> bool {
    let groups: Vec<_> = text.split('-').map(str::len).collect();
    let is_plain = |byte: u8| byte.is_ascii_hexdigit() || byte == b'-';
    groups == [8, 4, 4, 4, 12] && text.bytes().all(is_plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: &str = "9188040d-6c67-4c5b-b112-36a304b66dad";
    const OTHER: &str = "72f988bf-86f1-41af-91ab-2d7cd011db47";

    #[test]
    fn a_tenants_issuer_is_made_of_its_id_and_of_nothing_else() {
        let url = Url::parse("https://login.microsoftonline.com/common/v2.0").unwrap();
        let all = Tenants::issuer_of_all(&url);
        assert_eq!(all, "https://login.microsoftonline.com/{tenantid}/v2.0");
        let all = IssuerUrl::new(all).unwrap();
        let anybody = Tenants::new(Vec::new());
        let issuer = anybody.issuer_of(&all, ONE).unwrap();
        let expected = format!("https://login.microsoftonline.com/{ONE}/v2.0");
        assert_eq!(*issuer, expected);
        for id in [
            "",
            "common",
            "{tenantid}",
            "../9188040d",
            &ONE[1..],
            &ONE.replace('-', ""),
            &ONE.replace('9', "/"),
            &format!("{ONE}/"),
            &ONE.replace("9188040d", "9188040\u{e9}"),
        ] {
            assert_eq!(
                anybody.issuer_of(&all, id).unwrap_err(),
                TenantRefused::Id,
                "{id}"
            );
        }

        let one = Tenants::new(vec![ONE.to_uppercase()]);
        assert!(one.issuer_of(&all, ONE).is_ok());
        let refused = one.issuer_of(&all, OTHER).unwrap_err();
        assert_eq!(refused, TenantRefused::NotAllowed);

        assert!(one.have(&all, &expected) && anybody.have(&all, &expected));
        assert!(!one.have(&all, &expected.replace(ONE, OTHER)));
        assert!(!anybody.have(&all, &all));
        assert!(!anybody.have(&all, &expected.replace("microsoft", "evil")));
    }
}
