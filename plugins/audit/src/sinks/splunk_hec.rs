//! Splunk's HTTP Event Collector.
//!
//! Its 200 says that it has heard, not that it has indexed. Where acknowledgement is asked for, a batch is
//! confirmed when its indexers say that they have it. That may take minutes where they are busy: it is asked
//! about again and again meanwhile, and sent again only when it took too long, as what an indexer has lost is
//! never acknowledged.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use http::Request;
use http::header::{AUTHORIZATION, CONTENT_TYPE};
use serde::{Deserialize, Serialize};
use turnpike_api::{Clock, Secret};

use super::evenly::Evenly;
use super::outside::{Renewable, World, authorization, taken};
use super::{Batch, Sink, SinkError};
use crate::Format;
use crate::formats::Native;
use crate::json::string;

/// Which header names the channel that acknowledgements are of.
const CHANNEL: &str = "x-splunk-request-channel";

/// Batches that may wait for their acknowledgement.
const WAITING: usize = 1_000;

/// How often Splunk is asked about them, and how long they may take, in milliseconds.
const ASKED_EVERY: u64 = 1_000;
const LONGEST: u64 = 300_000;

/// As much is believed to have passed from one look at the clock to the next, in milliseconds: more than it
/// is left alone for when it does not answer.
const LEAP: u64 = 60_000;

/// Where it is, and how it knows us.
pub struct Options {
    /// With the path of the endpoint for events.
    pub url: String,
    /// Where acknowledgements are asked for.
    pub acknowledge: Option<Acknowledge>,
    /// With another one the collector may not know the acknowledgements that it owes: those batches come again.
    pub token: Renewable<Secret>,
    pub index: Option<String>,
    pub format: Format,
}

/// How it is asked whether it has indexed.
pub struct Acknowledge {
    pub url: String,
    /// A UUID.
    pub channel: String,
    /// How often it is asked at the end, and how long it is left alone in between.
    pub(crate) at_the_end: u32,
    pub(crate) pause: Duration,
}

impl Acknowledge {
    /// Asked for some four seconds at the end.
    pub fn new(url: String, channel: String) -> Self {
        Self {
            url,
            channel,
            at_the_end: 8,
            pause: Duration::from_millis(500),
        }
    }
}

/// The collector.
pub struct SplunkHec {
    options: Options,
    world: World,
    clock: Arc<dyn Clock>,
    time: Evenly,
    /// What was heard and is not confirmed.
    waiting: VecDeque<Waiting>,
    /// When it was asked about them last.
    asked: u64,
}

/// A batch that was heard.
struct Waiting {
    id: u64,
    /// When it was heard.
    since: u64,
    /// It is said once: Splunk forgets what it has said.
    is_indexed: bool,
}

/// What it answers to events.
#[derive(Deserialize)]
struct Heard {
    #[serde(rename = "ackId")]
    ack_id: Option<u64>,
}

/// Which are indexed?
#[derive(Serialize)]
struct Asked {
    acks: Vec<u64>,
}

/// By their numbers.
#[derive(Deserialize)]
struct Acknowledged {
    acks: HashMap<String, bool>,
}

impl SplunkHec {
    pub fn new(options: Options, world: World, clock: Arc<dyn Clock>) -> Self {
        Self {
            options,
            world,
            time: Evenly::new(clock.now(), LEAP),
            clock,
            waiting: VecDeque::new(),
            asked: 0,
        }
    }

    fn post(&self, url: &str, body: Vec<u8>) -> Result<Vec<u8>, SinkError> {
        // What cannot stand in a header is not repeated.
        let failed = |_| SinkError::new("the request cannot be made");
        let token = authorization("Splunk", &self.options.token.get())
            .map_err(|_| SinkError::new("the token cannot stand in a header"))?;
        let mut request = Request::post(url)
            .header(CONTENT_TYPE, "application/json")
            .header(AUTHORIZATION, token);
        if let Some(acknowledge) = &self.options.acknowledge {
            request = request.header(CHANNEL, &acknowledge.channel);
        }
        let request = request.body(body).map_err(failed)?;
        let answer = self.world.call(request)?;
        taken(&answer, self.clock.now())?;
        Ok(answer.into_body())
    }

    /// Asks which are indexed, and forgets those with none before them that is not.
    fn ask(&mut self, url: &str) -> Result<(), SinkError> {
        let open = self.waiting.iter().filter(|one| !one.is_indexed);
        let asked = Asked {
            acks: open.map(|one| one.id).collect(),
        };
        if !asked.acks.is_empty() {
            let body = serde_json::to_vec(&asked).map_err(std::io::Error::from)?;
            let answer = self.post(url, body)?;
            let answer: Acknowledged = serde_json::from_slice(&answer)
                .map_err(|_| SinkError::new("its answer about acknowledgements is none"))?;
            for one in &mut self.waiting {
                one.is_indexed |= answer.acks.get(&one.id.to_string()) == Some(&true);
            }
        }
        while self.waiting.front().is_some_and(|one| one.is_indexed) {
            self.waiting.pop_front();
        }
        Ok(())
    }

    /// All of it comes again, with numbers of its own, where the first has waited for too long.
    fn give_up(&mut self, now: u64) -> Result<(), SinkError> {
        let now = self.time.look(now);
        match self.waiting.front() {
            Some(first) if now - first.since >= LONGEST => {
                let batches = std::mem::take(&mut self.waiting).len();
                let why = format!("it did not index {batches} batches within five minutes");
                Err(SinkError::lost(why))
            }
            _ => Ok(()),
        }
    }
}

impl Sink for SplunkHec {
    fn has_room(&self) -> bool {
        self.waiting.len() < WAITING
    }

    fn deliver(&mut self, batch: &Batch) -> Result<(), SinkError> {
        let answer = self.post(&self.options.url, events(batch, &self.options))?;
        if self.options.acknowledge.is_some() {
            let heard: Option<Heard> = serde_json::from_slice(&answer).ok();
            let id = heard.and_then(|heard| heard.ack_id).ok_or_else(|| {
                SinkError::new(
                    "it acknowledges nothing: switch that on for the token, or `acknowledge` off",
                )
            })?;
            self.waiting.push_back(Waiting {
                id,
                since: self.time.look(self.clock.now()),
                is_indexed: false,
            });
        }
        Ok(())
    }

    /// That it has not indexed yet is no failure.
    fn confirm(&mut self) -> Result<usize, SinkError> {
        let now = self.clock.now();
        if let Some(acknowledge) = &self.options.acknowledge
            && !self.waiting.is_empty()
            && now.abs_diff(self.asked) >= ASKED_EVERY
        {
            let url = acknowledge.url.clone();
            self.asked = now;
            let asked = self.ask(&url);
            // Also where it does not answer.
            self.give_up(now)?;
            asked?;
        }
        Ok(self.waiting.len())
    }

    fn finish(&mut self) -> Result<usize, SinkError> {
        let Some(acknowledge) = &self.options.acknowledge else {
            return Ok(0);
        };
        let (url, pause) = (acknowledge.url.clone(), acknowledge.pause);
        for nth in 0..acknowledge.at_the_end {
            if self.waiting.is_empty() {
                break;
            }
            if nth > 0 {
                thread::park_timeout(pause);
            }
            self.ask(&url)?;
        }
        Ok(self.waiting.len())
    }
}

/// An object a record, one behind the other.
fn events(batch: &Batch, options: &Options) -> Vec<u8> {
    let mut body = Vec::with_capacity(batch.bytes() + 200 * batch.len());
    for (record, _) in batch.records() {
        let native = Native::read(record).unwrap_or_default();
        body.extend_from_slice(b"{\"sourcetype\":\"turnpike:audit\",\"source\":\"turnpike\"");
        if let Some(time) = native.milliseconds() {
            let (seconds, rest) = (time / 1000, time % 1000);
            body.extend_from_slice(format!(",\"time\":{seconds}.{rest:03}").as_bytes());
        }
        for (name, value) in [("host", &native.replica), ("index", &options.index)] {
            if let Some(value) = value {
                body.extend_from_slice(format!(",\"{name}\":").as_bytes());
                string(value, &mut body);
            }
        }
        body.extend_from_slice(b",\"event\":");
        options.format.write_json(record, &mut body);
        body.push(b'}');
    }
    body
}
