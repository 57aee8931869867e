//! Splunk's HTTP Event Collector.
//!
//! Its 200 says that it has heard, not that it has indexed. Where acknowledgement is asked for, a batch is
//! Splunk's when its indexers say so: what it has heard is counted as taken, and confirmed before the place
//! is saved.

use std::sync::Arc;
use std::thread;
use std::time::Duration;

use http::Request;
use http::header::{AUTHORIZATION, CONTENT_TYPE};
use serde::{Deserialize, Serialize};
use turnpike_api::{Clock, Secret};

use super::outside::{World, authorization, taken};
use super::{Batch, Sink, SinkError};
use crate::Format;
use crate::formats::Native;
use crate::json::string;

/// Which header names the channel that acknowledgements are of.
const CHANNEL: &str = "x-splunk-request-channel";

/// Batches that may wait for their acknowledgement.
const WAITING: usize = 200;

/// Where it is, and how it knows us.
pub struct Options {
    /// With the path of the endpoint for events.
    pub url: String,
    /// Where acknowledgements are asked for.
    pub acknowledge: Option<Acknowledge>,
    pub token: Secret,
    pub index: Option<String>,
    pub format: Format,
}

/// How it is asked whether it has indexed.
pub struct Acknowledge {
    pub url: String,
    /// A UUID.
    pub channel: String,
    /// How often it is asked, and how long it is left alone in between.
    pub(crate) asked: u32,
    pub(crate) pause: Duration,
}

impl Acknowledge {
    /// Asked for half a minute.
    pub fn new(url: String, channel: String) -> Self {
        Self {
            url,
            channel,
            asked: 60,
            pause: Duration::from_millis(500),
        }
    }
}

/// The collector.
pub struct SplunkHec {
    options: Options,
    world: World,
    clock: Arc<dyn Clock>,
    /// What was heard and is not indexed yet.
    waiting: Vec<u64>,
}

/// What it answers to events.
#[derive(Deserialize)]
struct Heard {
    #[serde(rename = "ackId")]
    ack_id: Option<u64>,
}

/// Which are indexed?
#[derive(Serialize)]
struct Asked<'a> {
    acks: &'a [u64],
}

/// By their numbers.
#[derive(Deserialize)]
struct Acknowledged {
    acks: std::collections::HashMap<String, bool>,
}

impl SplunkHec {
    pub fn new(options: Options, world: World, clock: Arc<dyn Clock>) -> Self {
        Self {
            options,
            world,
            clock,
            waiting: Vec::new(),
        }
    }

    fn post(&self, url: &str, body: Vec<u8>) -> Result<Vec<u8>, SinkError> {
        // What cannot stand in a header is not repeated.
        let failed = |_| SinkError::new("the request cannot be made");
        let token = authorization("Splunk", &self.options.token)
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

    /// Asks which are indexed, and forgets those.
    fn ask(&mut self, url: &str) -> Result<(), SinkError> {
        let asked = Asked {
            acks: &self.waiting,
        };
        let body = serde_json::to_vec(&asked).map_err(std::io::Error::from)?;
        let answer = self.post(url, body)?;
        let answer: Acknowledged = serde_json::from_slice(&answer)
            .map_err(|_| SinkError::new("its answer about acknowledgements is none"))?;
        let is_indexed = |id: &u64| answer.acks.get(&id.to_string()) == Some(&true);
        self.waiting.retain(|id| !is_indexed(id));
        Ok(())
    }
}

impl Sink for SplunkHec {
    fn deliver(&mut self, batch: &Batch) -> Result<(), SinkError> {
        if self.waiting.len() >= WAITING {
            self.confirm().map_err(|error| SinkError {
                is_lost: true,
                ..error
            })?;
        }
        let answer = self.post(&self.options.url, events(batch, &self.options))?;
        if self.options.acknowledge.is_some() {
            let heard: Option<Heard> = serde_json::from_slice(&answer).ok();
            let id = heard.and_then(|heard| heard.ack_id).ok_or_else(|| {
                SinkError::new(
                    "it acknowledges nothing: switch that on for the token, or `acknowledge` off",
                )
            })?;
            self.waiting.push(id);
        }
        Ok(())
    }

    fn confirm(&mut self) -> Result<(), SinkError> {
        let Some(acknowledge) = &self.options.acknowledge else {
            return Ok(());
        };
        let (url, asked, pause) = (
            acknowledge.url.clone(),
            acknowledge.asked,
            acknowledge.pause,
        );
        for nth in 0..asked {
            if self.waiting.is_empty() {
                return Ok(());
            }
            if nth > 0 {
                thread::park_timeout(pause);
            }
            if let Err(error) = self.ask(&url) {
                self.waiting.clear();
                return Err(error);
            }
        }
        // They come again, with numbers of their own.
        match std::mem::take(&mut self.waiting).len() {
            0 => Ok(()),
            left => Err(SinkError::new(format!("it did not index {left} batches"))),
        }
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
