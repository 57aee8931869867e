//! The scripts: each happens as a whole or not at all.

use redis::{Cmd, ErrorKind, FromRedisValue, RedisResult, ServerErrorKind, ToRedisArgs};

use super::connection::Connection;

pub(super) const PUT: Script = Script(include_str!("lua/put.lua"));
pub(super) const REMOVE: Script = Script(include_str!("lua/remove.lua"));
pub(super) const LIST: Script = Script(include_str!("lua/list.lua"));
pub(super) const CLAIM: Script = Script(include_str!("lua/claim.lua"));
pub(super) const RELEASE: Script = Script(include_str!("lua/release.lua"));
pub(super) const POST: Script = Script(include_str!("lua/post.lua"));
pub(super) const SINCE: Script = Script(include_str!("lua/since.lua"));
pub(super) const DRAW: Script = Script(include_str!("lua/draw.lua"));
pub(super) const HEARTBEAT: Script = Script(include_str!("lua/heartbeat.lua"));
pub(super) const FOLD: Script = Script(include_str!("lua/fold.lua"));
pub(super) const LIFE: Script = Script(include_str!("lua/life.lua"));
pub(super) const TELL: Script = Script(include_str!("lua/tell.lua"));
pub(super) const INFO: Script = Script(include_str!("lua/info.lua"));

/// A script's text.
#[derive(Clone, Copy)]
pub(super) struct Script(&'static str);

/// A script with what it is to work on.
pub(super) struct Call {
    script: Script,
    keys: Vec<String>,
    args: Vec<Vec<u8>>,
}

impl Script {
    pub(super) fn on<const N: usize>(self, keys: [String; N]) -> Call {
        self.over(keys.into())
    }

    /// On as many keys as there are.
    pub(super) fn over(self, keys: Vec<String>) -> Call {
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
        let digest = redis::Script::new(self.script.0);
        let known = self.command("EVALSHA", digest.get_hash());
        match known.query_async(&mut connection).await {
            Err(error) if error.kind() == ErrorKind::Server(ServerErrorKind::NoScript) => {
                let full = self.command("EVAL", self.script.0);
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
