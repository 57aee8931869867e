//! What a Redis answers instead of what was asked, and what to do about it.
//!
//! Never with the server's own words: it repeats what it did not understand, and that may be a
//! password.

use std::time::Duration;

use redis::{ErrorKind, RedisError};
use turnpike_api::StoreError;

const FORBIDDEN: (&str, &str) = (
    "does not let the user do this",
    "give it the commands and the keys of state.redis.key_prefix",
);

/// Whether the connection is of no more use: it is gone, or to a server that will not write.
pub(super) fn is_final(error: &RedisError) -> bool {
    let code = error.code().unwrap_or_default();
    error.is_io_error()
        || error.is_unrecoverable_error()
        || error.kind() == ErrorKind::AuthenticationFailed
        || matches!(code, "READONLY" | "MASTERDOWN" | "LOADING" | "NOAUTH")
}

pub(super) fn told(host: &str, error: &RedisError) -> StoreError {
    if error.kind() == ErrorKind::AuthenticationFailed {
        return login(host);
    }
    let Some(code) = error.code() else {
        return match error.kind() {
            ErrorKind::Io => unreachable(host, error),
            ErrorKind::UnexpectedReturnType | ErrorKind::Parse => foreign(host),
            _ => unavailable(host, error.category(), "see its log"),
        };
    };
    let detail = error.detail().unwrap_or_default();
    let (what, remedy) = match code {
        "WRONGTYPE" => return foreign(host),
        "NOAUTH" | "WRONGPASS" => return login(host),
        "NOPERM" => FORBIDDEN,
        // A script that may run and may not do what it does.
        "ERR" if detail.contains("user executing the script") => FORBIDDEN,
        "OOM" => ("is out of memory", "raise its maxmemory"),
        "READONLY" => ("is a replica", "set state.redis.url to the master"),
        "MASTERDOWN" => ("has lost its master", "see the master's log"),
        "NOREPLICAS" => ("has too few replicas to write", "start its replicas again"),
        "MISCONF" => (
            "cannot write to its disk",
            "make room on its disk and see its log",
        ),
        "CLUSTERDOWN" => ("lacks some of its nodes", "start them again"),
        "TRYAGAIN" => ("is moving its slots", "try again in a moment"),
        "LOADING" => ("is still loading its data", "wait until it has"),
        "BUSY" => (
            "is busy with a script",
            "wait, or end the script with SCRIPT KILL",
        ),
        other => {
            let what = format!("answered with {other}");
            return unavailable(host, &what, "see its log");
        }
    };
    unavailable(host, what, remedy)
}

pub(super) fn late(host: &str, deadline: Duration) -> StoreError {
    let what = format!("gave no answer within {deadline:?}");
    unavailable(host, &what, "see whether it or the network is overloaded")
}

pub(super) fn ended() -> StoreError {
    StoreError::Unavailable("the thread for the Redis has ended".to_owned())
}

fn unreachable(host: &str, error: &RedisError) -> StoreError {
    let text = error.to_string();
    if text.contains("certificate") {
        let what = format!("is not believed: {text}");
        return unavailable(host, &what, "correct state.redis.url or state.redis.tls");
    }
    let what = match error.is_timeout() {
        true => "gave no answer to a new connection".to_owned(),
        false => format!("cannot be reached: {text}"),
    };
    unavailable(host, &what, "start it, or correct state.redis.url")
}

fn login(host: &str) -> StoreError {
    let what = "does not accept the login";
    let remedy = "correct state.redis.username and state.redis.password";
    unavailable(host, what, remedy)
}

fn foreign(host: &str) -> StoreError {
    StoreError::Unreadable(format!(
        "redis at {host} holds something else under our keys; give the gateways a state.redis.key_prefix of their own"
    ))
}

fn unavailable(host: &str, what: &str, remedy: &str) -> StoreError {
    StoreError::Unavailable(format!("redis at {host} {what}; {remedy}"))
}
