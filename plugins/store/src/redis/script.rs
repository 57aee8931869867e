//! The scripts: each happens as a whole or not at all.

use std::sync::OnceLock;

use redis::{Cmd, ErrorKind, FromRedisValue, RedisResult, ServerErrorKind, ToRedisArgs};

use super::connection::Connection;

pub(super) static PUT: Script = Script::new(include_str!("lua/put.lua"));
pub(super) static REMOVE: Script = Script::new(include_str!("lua/remove.lua"));
pub(super) static LIST: Script = Script::new(include_str!("lua/list.lua"));
pub(super) static CLAIM: Script = Script::new(include_str!("lua/claim.lua"));
pub(super) static RELEASE: Script = Script::new(include_str!("lua/release.lua"));
pub(super) static POST: Script = Script::new(include_str!("lua/post.lua"));
pub(super) static SINCE: Script = Script::new(include_str!("lua/since.lua"));
pub(super) static DRAW: Script = Script::new(include_str!("lua/draw.lua"));
pub(super) static HEARTBEAT: Script = Script::new(include_str!("lua/heartbeat.lua"));
pub(super) static FOLD: Script = Script::new(include_str!("lua/fold.lua"));
pub(super) static LIFE: Script = Script::new(include_str!("lua/life.lua"));
pub(super) static TELL: Script = Script::new(include_str!("lua/tell.lua"));
pub(super) static INFO: Script = Script::new(include_str!("lua/info.lua"));

/// A script's text, and the digest by which a Redis knows it: computed once.
pub(super) struct Script {
    text: &'static str,
    digest: OnceLock<String>,
}

/// A script with what it is to work on.
pub(super) struct Call {
    script: &'static Script,
    keys: Vec<String>,
    args: Vec<Vec<u8>>,
}

impl Script {
    const fn new(text: &'static str) -> Self {
        Self {
            text,
            digest: OnceLock::new(),
        }
    }

    fn digest(&self) -> &str {
        let of_text = || redis::Script::new(self.text).get_hash().to_owned();
        self.digest.get_or_init(of_text)
    }

    pub(super) fn on<const N: usize>(&'static self, keys: [String; N]) -> Call {
        self.over(keys.into())
    }

    /// On as many keys as there are.
    pub(super) fn over(&'static self, keys: Vec<String>) -> Call {
        Call {
            script: self,
            keys,
            args: Vec::new(),
        }
    }
}

impl Call {
    pub(super) fn arg(mut self, value: impl ToRedisArgs) -> Self {
        self.args.extend(value.to_redis_args());
        self
    }

    /// By its digest; and in full where it is not known: a Redis forgets scripts when it starts,
    /// fails over or is told to. It has not run then, so that it may be asked for again.
    pub(super) async fn run<T: FromRedisValue>(self, mut connection: Connection) -> RedisResult<T> {
        let known = self.command("EVALSHA", self.script.digest());
        match known.query_async(&mut connection).await {
            Err(error) if error.kind() == ErrorKind::Server(ServerErrorKind::NoScript) => {
                let full = self.command("EVAL", self.script.text);
                full.query_async(&mut connection).await
            }
            answered => answered,
        }
    }

    fn command(&self, name: &str, script: &str) -> Cmd {
        let mut command = redis::cmd(name);
        command.arg(script).arg(self.keys.len());
        command.arg(&self.keys).arg(&self.args);
        command
    }
}
