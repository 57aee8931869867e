//! What operators do: the words that are on record of it, and what they come to for who watches.

/// What it is, whatever it is done to. A format says it in its own terms.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    LoggedOn,
    LoggedOff,
    Made,
    Changed,
    Removed,
    /// Somebody may try again who had to wait.
    Unlocked,
    /// What somebody was let in with is over.
    SessionEnded,
}

macro_rules! actions {
    ($( $( #[$meta:meta] )* $action:ident = $words:literal => $kind:ident, )*) => {
        /// Something that an operator did, over the management API or on the pages that use it.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[cfg_attr(test, derive(Default))]
        pub enum Action {
            $( $( #[$meta] )* $action, )*
        }

        impl Action {
            pub const ALL: &[Self] = &[$( Self::$action, )*];

            /// As it is on record.
            pub const fn words(self) -> &'static str {
                match self {
                    $( Self::$action => $words, )*
                }
            }

            pub const fn kind(self) -> Kind {
                match self {
                    $( Self::$action => Kind::$kind, )*
                }
            }
        }
    };
}

actions! {
    SignedInWithKey = "signed in with a key" => LoggedOn,
    SignedInThroughLogin = "signed in through a login" => LoggedOn,
    #[cfg_attr(test, default)]
    SignedOut = "signed out" => LoggedOff,
    AddedCredential = "added a credential" => Made,
    ChangedCredential = "changed a credential" => Changed,
    RemovedCredential = "removed a credential" => Removed,
    ClearedQuota = "cleared quota and cooldowns" => Changed,
    MadeToken = "made an agent token" => Made,
    RotatedToken = "rotated an agent token" => Changed,
    RevokedToken = "revoked an agent token" => Removed,
    EndedSession = "ended a session" => SessionEnded,
    ClearedLoginLimit = "cleared a login rate limit" => Unlocked,
    ClearedLoginLimits = "cleared login rate limits" => Unlocked,
    ReadConfiguration = "read the configuration again" => Changed,
    SetLogLevel = "set the level of the log" => Changed,
}

impl Action {
    /// Of which these are the words. A spool may have words of another version.
    pub(crate) fn of(words: &str) -> Option<Self> {
        let mut all = Self::ALL.iter().copied();
        all.find(|action| action.words() == words)
    }
}
