//! The authorization API (F25, `enterprise`): what it is asked, and what its answer means.
//! Anything but a clear yes is a no.

use serde::{Deserialize, Serialize};

/// The longest answer that is read.
const LONGEST: usize = 64 << 10;

/// What it is asked.
#[derive(Clone, Debug, Serialize)]
pub struct Question<'q> {
    /// As the provider gave it.
    pub user_email: Option<&'q str>,
    pub user_id: &'q str,
    pub client_ip: String,
    pub provider: &'q str,
    /// RFC 3339.
    pub timestamp: String,
}

/// A yes, and what comes with it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Granted {
    pub roles: Vec<String>,
    pub tenant: Option<String>,
}

/// A no, and why: the person reads it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Denied {
    /// It said so, with these words of its own.
    Refused(String),
    /// It did not answer as it should.
    Broken(&'static str),
}

impl Denied {
    /// Why.
    pub fn text(&self) -> &str {
        match self {
            Self::Refused(reason) => reason,
            Self::Broken(text) => text,
        }
    }
}

/// It did not answer in time.
pub const TIMEOUT: Denied = Denied::Broken("Authorization API timeout");
/// It could not be reached.
pub const UNREACHABLE: Denied = Denied::Broken("Failed to connect to authorization API");
/// What it answered is no answer.
pub const ERROR: Denied = Denied::Broken("Authorization API error");

#[derive(Deserialize)]
struct Answer {
    authorized: bool,
    reason: Option<String>,
    #[serde(default)]
    roles: Option<Vec<String>>,
    #[serde(default)]
    tenant: Option<String>,
}

/// What an answer means.
pub fn judge(status: u16, body: &[u8]) -> Result<Granted, Denied> {
    if status != 200 || body.len() > LONGEST {
        return Err(ERROR);
    }
    let answer: Answer = serde_json::from_slice(body).map_err(|_| ERROR)?;
    if answer.authorized {
        return Ok(Granted {
            roles: answer.roles.unwrap_or_default(),
            tenant: answer.tenant,
        });
    }
    let reason = answer.reason.unwrap_or_default();
    let reason = reason.chars().filter(|c| !c.is_control()).take(500);
    Err(Denied::Refused(reason.collect()))
}

/// What a log may have of an answer.
pub fn excerpt(body: &[u8]) -> String {
    String::from_utf8_lossy(body).chars().take(200).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_clear_yes_is_one() {
        let yes = judge(
            200,
            br#"{"authorized":true,"roles":["dev"],"tenant":"acme","x":1}"#,
        );
        let granted = Granted {
            roles: vec!["dev".into()],
            tenant: Some("acme".into()),
        };
        assert_eq!(yes, Ok(granted));
        assert_eq!(
            judge(200, br#"{"authorized":true}"#),
            Ok(Granted::default())
        );
        let no = judge(
            200,
            br#"{"authorized":false,"reason":"not in the team\u0007"}"#,
        );
        assert_eq!(no, Err(Denied::Refused("not in the team".into())));
        let long = format!(
            r#"{{"authorized":true,"reason":"{}"}}"#,
            "x".repeat(LONGEST)
        );
        for (status, body) in [
            (200, ""),
            (200, "yes"),
            (200, "true"),
            (200, "{}"),
            (200, r#"{"authorized":"true"}"#),
            (200, r#"{"authorized":1}"#),
            (200, r#"{"authorized":null}"#),
            (200, r#"{"authorized":true"#),
            (200, r#"[{"authorized":true}]"#),
            (200, r#"{"authorized":true,"roles":"admin"}"#),
            (200, r#"{"authorized":false,"authorized":true}"#),
            (201, r#"{"authorized":true}"#),
            (204, ""),
            (302, r#"{"authorized":true}"#),
            (403, r#"{"authorized":true}"#),
            (500, r#"{"authorized":true}"#),
            (200, &*long),
        ] {
            assert_eq!(
                judge(status, body.as_bytes()),
                Err(ERROR),
                "{status} {body:.80}"
            );
        }
    }
}
