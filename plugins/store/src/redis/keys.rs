//! The names of what is kept.
//!
//! ```text
//! turnpike:1:{session}:record:<key>   a hash of value and version, with the record's TTL
//! turnpike:1:{session}:index          a sorted set of the kind's keys by their end in ms
//! turnpike:1:{session}:version        the kind's last version
//! turnpike:1:claim:<name>             the holder
//! turnpike:1:{news}:notices           the stream
//! turnpike:1:{news}:floor             no notice at or below this id is kept
//! turnpike:1:{news}:life              which server holds the news: its run id
//! turnpike:1:{draws.<tenant>}:<start>:<bucket>
//!                                     a hash of what replicas drew of a bucket in the period that
//!                                     began then: their entries, and the sums of these
//! turnpike:1:{usage}:days             a sorted set of `day replica` by day
//! turnpike:1:{usage.<replica>}:<day>  a hash of what a replica counted on a day: totals by their
//!                                     key, and under `told` how far it has told them
//! turnpike:1:{fleet}:replicas         a sorted set of replicas by when they were last heard of
//! turnpike:1:{fleet}:life             a hash: by its id, a Redis that lost all it knew is told
//! ```
//!
//! What one script touches has the same word in braces, and so is on the same node of a cluster.

/// Of what is written under a name. What reads or writes anything else gets a number of its own,
/// so that two releases may share a Redis.
const LAYOUT: u32 = 1;

pub(super) struct Keys {
    prefix: String,
}

impl Keys {
    /// `None` when the prefix has anything but plain characters.
    pub(super) fn new(prefix: &str) -> Option<Self> {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.:".contains(&byte);
        (!prefix.is_empty() && prefix.bytes().all(plain)).then(|| Self {
            prefix: format!("{prefix}:{LAYOUT}"),
        })
    }

    pub(super) fn record(&self, kind: &str, key: &str) -> String {
        format!("{}:{{{kind}}}:record:{key}", self.prefix)
    }

    pub(super) fn index(&self, kind: &str) -> String {
        format!("{}:{{{kind}}}:index", self.prefix)
    }

    pub(super) fn version(&self, kind: &str) -> String {
        format!("{}:{{{kind}}}:version", self.prefix)
    }

    pub(super) fn claim(&self, name: &str) -> String {
        format!("{}:claim:{name}", self.prefix)
    }

    pub(super) fn notices(&self) -> String {
        format!("{}:{{news}}:notices", self.prefix)
    }

    pub(super) fn floor(&self) -> String {
        format!("{}:{{news}}:floor", self.prefix)
    }

    pub(super) fn draws(&self, tenant: &str, start: u64, bucket: &str) -> String {
        format!("{}:{{draws.{tenant}}}:{start}:{bucket}", self.prefix)
    }

    pub(super) fn usage_days(&self) -> String {
        format!("{}:{{usage}}:days", self.prefix)
    }

    pub(super) fn usage(&self, replica: &str, day: u32) -> String {
        format!("{}:{{usage.{replica}}}:{day}", self.prefix)
    }

    pub(super) fn replicas(&self) -> String {
        format!("{}:{{fleet}}:replicas", self.prefix)
    }

    pub(super) fn fleet_life(&self) -> String {
        format!("{}:{{fleet}}:life", self.prefix)
    }

    pub(super) fn life(&self) -> String {
        format!("{}:{{news}}:life", self.prefix)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_is_plain() {
        for prefix in ["turnpike", "tp1", "a:b-c_d.e"] {
            assert!(Keys::new(prefix).is_some(), "{prefix}");
        }
        for prefix in ["", "a b", "{a}", "a}", "ü", "a\n", "a*"] {
            assert!(Keys::new(prefix).is_none(), "{prefix}");
        }
    }
}
