/// Why a header is not an operator's to set on calls of a provider.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reserved {
    /// It belongs to one connection (RFC 9110, section 7.6.1); the gateway writes it itself.
    Connection,
    /// It follows from the request.
    Framing,
    /// It carries a credential.
    Credential,
}

impl Reserved {
    /// Whether a header of this name, in lower case, is reserved.
    ///
    /// ```
    /// use turnpike_api::Reserved;
    /// assert_eq!(Reserved::of("x-api-key"), Some(Reserved::Credential));
    /// assert_eq!(Reserved::of("x-team"), None);
    /// ```
    pub fn of(name: &str) -> Option<Self> {
        Some(match name {
            "connection" | "expect" | "keep-alive" | "proxy-connection" | "te" | "trailer"
            | "transfer-encoding" | "upgrade" => Self::Connection,
            "content-length" | "host" => Self::Framing,
            "api-key"
            | "authorization"
            | "proxy-authenticate"
            | "proxy-authorization"
            | "x-api-key"
            | "x-goog-api-key" => Self::Credential,
            _ => return None,
        })
    }
}
