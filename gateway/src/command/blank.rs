//! A store that holds nothing and keeps nothing: for a look where no gateway ever ran. Opening the
//! real one would create it.

use std::time::Duration;

use futures::future::{FutureExt, ready};
use turnpike_api::{
    Bulletin, Directory, Draw, Drawn, Entry, Expected, Ledger, Mark, News, Record, Spent,
    StoreError, Stored, UsagePage, UsagePlace,
};

pub(super) struct Blank;

fn answer<'a, T: Send + 'a>(value: T) -> Stored<'a, T> {
    ready(Ok(value)).boxed()
}

impl Ledger for Blank {
    fn note(&self, _: &Entry<'_>) -> Mark {
        Mark(0)
    }

    fn keep(&self, _: Mark) -> Result<(), StoreError> {
        Ok(())
    }

    fn spent<'a>(&'a self, _: &'a str, _: u64) -> Stored<'a, Spent> {
        answer(Spent::default())
    }

    fn forget_spent<'a>(&'a self, _: &'a str, _: u64) -> Stored<'a, ()> {
        answer(())
    }

    fn usage_days(&self, _: u32, _: u32) -> Stored<'_, Vec<u32>> {
        answer(Vec::new())
    }

    fn usage_of(&self, _: u32, _: Option<UsagePlace>) -> Stored<'_, UsagePage> {
        answer(UsagePage::default())
    }

    fn share_usage(&self, _: u64, _: Option<u32>) -> Stored<'_, ()> {
        answer(())
    }

    fn forget_usage(&self, _: u32) -> Stored<'_, ()> {
        answer(())
    }

    fn draw<'a>(&'a self, _: &'a str, _: Duration, _: &'a [Draw]) -> Stored<'a, Drawn> {
        answer(Drawn::default())
    }
}

impl Directory for Blank {
    fn get<'a>(&'a self, _: &'static str, _: &'a str) -> Stored<'a, Option<Record>> {
        answer(None)
    }

    fn list(&self, _: &'static str) -> Stored<'_, Vec<(String, Record)>> {
        answer(Vec::new())
    }

    fn put<'a>(
        &'a self,
        _: &'static str,
        _: &'a str,
        _: &'a [u8],
        _: Option<Duration>,
        _: Expected,
    ) -> Stored<'a, Option<u64>> {
        answer(None)
    }

    fn remove<'a>(&'a self, _: &'static str, _: &'a str) -> Stored<'a, bool> {
        answer(false)
    }

    fn claim<'a>(&'a self, _: &'a str, _: &'a str, _: Duration) -> Stored<'a, bool> {
        answer(true)
    }

    fn release<'a>(&'a self, _: &'a str, _: &'a str) -> Stored<'a, ()> {
        answer(())
    }
}

impl Bulletin for Blank {
    fn post<'a>(&'a self, _: &'static str, _: &'a [u8]) -> Stored<'a, u64> {
        answer(0)
    }

    fn since(&self, _: u64) -> Stored<'_, News> {
        answer(News::default())
    }

    fn latest(&self) -> Stored<'_, u64> {
        answer(0)
    }
}
