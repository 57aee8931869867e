//! Usage: each replica writes its own totals, by which a day may be told any number of times, and
//! whoever asks adds the replicas up.
//!
//! With a replica's day is written how far its totals were told: up to which of its journals. A Redis
//! that lost something lost that, too, and is told again from there.

use std::collections::BTreeMap;
use std::time::Duration;

use futures::future::try_join_all;
use redis::cmd;
use turnpike_api::{DayUsage, StoreError, Usage, Used};

use super::keys::Keys;
use super::link::Link;
use super::script::TELL;

/// About how many totals are read or written at once: few enough for any deadline.
pub(crate) const PAGE: u32 = 200;

/// As many days are looked at together.
const TOGETHER: usize = 64;

/// The field that says how far a day was told. Keys of totals have tabs.
const TOLD: &str = "told";

/// The longest that anything is kept, some ten years.
const LONGEST: Duration = Duration::from_secs(10 * 366 * 24 * 60 * 60);

/// What replicas told of usage.
#[derive(Clone, Copy)]
pub(crate) struct Told<'r> {
    pub(super) link: &'r Link,
    pub(super) keys: &'r Keys,
}

impl Told<'_> {
    /// The days from `from` to `to` of which somebody told something, and who.
    pub(crate) async fn days(&self, from: u32, to: u32) -> Result<Vec<(u32, String)>, StoreError> {
        let mut days = Vec::new();
        loop {
            let mut command = cmd("ZRANGEBYSCORE");
            command.arg(self.keys.usage_days()).arg(from).arg(to);
            command.arg("LIMIT").arg(days.len()).arg(PAGE);
            let page: Vec<String> = self
                .link
                .call(async move |mut connection| command.query_async(&mut connection).await)
                .await?;
            let is_last = page.len() < PAGE as usize;
            days.extend(page);
            if is_last {
                break;
            }
        }
        let read = |member: String| {
            let (day, replica) = member.split_once(' ')?;
            Some((day.parse().ok()?, replica.to_owned()))
        };
        let mut days: Vec<_> = days.into_iter().filter_map(read).collect();
        days.sort_unstable();
        days.dedup();
        Ok(days)
    }

    /// The totals of a replica's day. A look through a hash may meet a key twice; here it is once.
    pub(crate) async fn of(&self, replica: &str, day: u32) -> Result<Vec<DayUsage>, StoreError> {
        type Page = (String, Vec<(String, String)>);
        let mut totals = BTreeMap::new();
        let mut place = "0".to_owned();
        loop {
            let mut command = cmd("HSCAN");
            command.arg(self.keys.usage(replica, day)).arg(&place);
            command.arg("COUNT").arg(PAGE);
            let (next, page): Page = self
                .link
                .call(async move |mut connection| command.query_async(&mut connection).await)
                .await?;
            totals.extend(page);
            if next == "0" {
                break;
            }
            place = next;
        }
        let rows = totals.iter();
        Ok(rows.filter_map(|(key, of)| total(day, key, of)).collect())
    }

    /// How far each of these days was told, in their order; nothing = 0.
    pub(crate) async fn how_far(
        &self,
        replica: &str,
        days: &[u32],
    ) -> Result<Vec<u64>, StoreError> {
        let ask = |day: &u32| {
            let mut command = cmd("HGET");
            command.arg(self.keys.usage(replica, *day)).arg(TOLD);
            self.link.call(async move |mut connection| {
                let told: Option<u64> = command.query_async(&mut connection).await?;
                Ok(told.unwrap_or(0))
            })
        };
        let mut told = Vec::new();
        for days in days.chunks(TOGETHER) {
            told.extend(try_join_all(days.iter().map(ask)).await?);
        }
        Ok(told)
    }

    /// Has it known that the replica tells of this day.
    pub(crate) async fn begin(&self, replica: &str, day: u32) -> Result<(), StoreError> {
        let mut command = cmd("ZADD");
        command.arg(self.keys.usage_days()).arg(day);
        command.arg(format!("{day} {replica}"));
        let _: u64 = self
            .link
            .call(async move |mut connection| command.query_async(&mut connection).await)
            .await?;
        Ok(())
    }

    /// Writes totals of a replica's day.
    pub(crate) async fn tell(
        &self,
        replica: &str,
        day: u32,
        kept: Option<Duration>,
        rows: &[DayUsage],
    ) -> Result<(), StoreError> {
        let rows = rows.iter().map(|row| (key(row), totals(&row.used)));
        self.write(replica, day, kept, rows.collect()).await
    }

    /// Notes how far a replica's day is told.
    pub(crate) async fn end(
        &self,
        replica: &str,
        day: u32,
        kept: Option<Duration>,
        told: u64,
    ) -> Result<(), StoreError> {
        let told = vec![(TOLD.to_owned(), told.to_string())];
        self.write(replica, day, kept, told).await
    }

    async fn write(
        &self,
        replica: &str,
        day: u32,
        kept: Option<Duration>,
        fields: Vec<(String, String)>,
    ) -> Result<(), StoreError> {
        if fields.is_empty() {
            return Ok(());
        }
        let kept = kept.unwrap_or(LONGEST).min(LONGEST).as_millis();
        let call = TELL.on([self.keys.usage(replica, day)]);
        let call = call.arg(u64::try_from(kept).unwrap_or(u64::MAX));
        let call = fields
            .into_iter()
            .fold(call, |call, (key, of)| call.arg(key).arg(of));
        let _: () = self.link.call(|connection| call.run(connection)).await?;
        Ok(())
    }

    /// Removes the days before this one, whoever told of them.
    pub(crate) async fn forget(&self, before: u32) -> Result<(), StoreError> {
        let Some(last) = before.checked_sub(1) else {
            return Ok(());
        };
        for (day, replica) in self.days(0, last).await? {
            let mut totals = cmd("UNLINK");
            totals.arg(self.keys.usage(&replica, day));
            let mut known = cmd("ZREM");
            known.arg(self.keys.usage_days());
            known.arg(format!("{day} {replica}"));
            // In this order: what is cut short is found again.
            for command in [totals, known] {
                let _: u64 = self
                    .link
                    .call(async move |mut connection| command.query_async(&mut connection).await)
                    .await?;
            }
        }
        Ok(())
    }
}

/// What totals are written under: no text in it has a tab.
fn key(row: &DayUsage) -> String {
    let texts = [
        &row.tenant,
        &row.team,
        &row.user,
        &row.token,
        &row.credential,
        &row.model,
    ];
    texts.map(String::as_str).join("\t")
}

fn totals(used: &Used) -> String {
    let usage = &used.usage;
    let numbers = [
        used.calls,
        usage.input,
        usage.output,
        usage.cache_read,
        usage.cache_write,
        usage.reasoning,
        used.estimated,
        used.cost,
        used.unpriced,
    ];
    numbers.map(|number| number.to_string()).join(" ")
}

/// Of a later release there may be more numbers; what is no total is passed over.
fn total(day: u32, key: &str, totals: &str) -> Option<DayUsage> {
    let mut texts = key.split('\t').map(str::to_owned);
    let mut numbers = totals.split(' ').map(|number| number.parse().ok());
    let mut number = || numbers.next()?;
    let row = DayUsage {
        day,
        tenant: texts.next()?,
        team: texts.next()?,
        user: texts.next()?,
        token: texts.next()?,
        credential: texts.next()?,
        model: texts.next()?,
        used: Used {
            calls: number()?,
            usage: Usage {
                input: number()?,
                output: number()?,
                cache_read: number()?,
                cache_write: number()?,
                reasoning: number()?,
            },
            estimated: number()?,
            cost: number()?,
            unpriced: number()?,
        },
    };
    texts.next().is_none().then_some(row)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn totals_come_back_as_they_were() {
        let row = DayUsage {
            day: 7,
            tenant: "acme".to_owned(),
            user: "3f9a".to_owned(),
            token: "key ci".to_owned(),
            credential: "openai-1".to_owned(),
            model: "gpt 4".to_owned(),
            used: Used {
                calls: 1,
                usage: Usage {
                    input: 2,
                    output: 3,
                    cache_read: 4,
                    cache_write: 5,
                    reasoning: 6,
                },
                estimated: 7,
                cost: u64::MAX,
                unpriced: 8,
            },
            ..DayUsage::default()
        };
        let (key, totals) = (key(&row), totals(&row.used));
        assert_eq!(total(7, &key, &totals), Some(row.clone()));
        assert_eq!(total(7, &key, &format!("{totals} 9")), Some(row));
        for (key, totals) in [
            (TOLD, "12"),
            (&*key, "1 2 3"),
            (&*key, ""),
            (&*format!("{key}\tmore"), &*totals),
        ] {
            assert_eq!(total(7, key, totals), None, "{key:?} {totals:?}");
        }
    }
}
