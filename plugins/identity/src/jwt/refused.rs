use std::fmt::{self, Display};

use turnpike_api::Rejection;

/// Why a token is refused. The texts say what the token's holder may do about it, and nothing of
/// the token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// Not three parts of base64url with a JSON object in the first two.
    Form,
    TooLong,
    /// Its `typ` says that it is for something else.
    Type,
    /// It asks for extensions that must be understood (`crit`).
    Critical,
    Algorithm,
    Issuer,
    Audience,
    /// Made for several audiences, but not on behalf of one of ours (`azp`).
    AuthorizedParty,
    Subject,
    NoExpiry,
    /// A time that is no number of seconds since 1970.
    Time,
    Expired,
    NotYetValid,
    IssuedInFuture,
    /// No key of the issuer is the one it names.
    UnknownKey,
    Signature,
    /// There are no keys to check it with, and none can be had now.
    NoKeys,
    /// So many are being checked that this one was not.
    Busy,
}

impl Refused {
    /// What to tell the holder.
    pub fn text(self) -> &'static str {
        match self {
            Self::Form => "it is not a JSON Web Token",
            Self::TooLong => "the token is longer than 16 KiB",
            Self::Type => "the token is not an access or ID token (`typ`)",
            Self::Critical => "the token asks for extensions that are not supported (`crit`)",
            Self::Algorithm => "the token's algorithm is not allowed (`alg`)",
            Self::Issuer => "the token is of another issuer (`iss`)",
            Self::Audience => "the token was made for another audience (`aud`)",
            Self::AuthorizedParty => "the token was made for another party (`azp`)",
            Self::Subject => "the token does not say whose it is (`sub`)",
            Self::NoExpiry => "the token does not say when it expires (`exp`)",
            Self::Time => "a time in the token is not a number of seconds (`exp`, `nbf`, `iat`)",
            Self::Expired => "the token has expired: get a new one",
            Self::NotYetValid => "the token is not valid yet (`nbf`)",
            Self::IssuedInFuture => "the token was issued in the future (`iat`)",
            Self::UnknownKey => "the token is signed with a key that its issuer does not publish",
            Self::Signature => "the token's signature is wrong",
            Self::NoKeys => "the issuer's keys cannot be fetched now: try again in half a minute",
            Self::Busy => "too many tokens are being checked: try again in a moment",
        }
    }

    /// A forged token is told nothing; one that its holder can do something about, what is wrong.
    pub(super) fn rejection(self) -> Rejection {
        match self {
            Self::UnknownKey | Self::Signature => Rejection::Unknown,
            Self::NoKeys => Rejection::Unavailable(self.text()),
            Self::Busy => Rejection::Busy,
            Self::Form | Self::TooLong => Rejection::Malformed(self.text()),
            _ => Rejection::NotGood(self.text()),
        }
    }
}

impl Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.text())
    }
}

impl std::error::Error for Refused {}
