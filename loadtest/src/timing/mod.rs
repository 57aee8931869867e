//! Whether the time of a refusal tells how much of a secret was right.
//!
//! Calls follow one another on one connection, in an order that is drawn anew for each round, so
//! that whatever else the machine does falls on all classes alike.

mod line;
mod statistics;

use std::fmt;
use std::io;

pub use statistics::{Comparison, LIMIT};

use crate::drive::{Forgery, SECRET, Target, secret};
use crate::ids::Random;
use crate::metrics::Computed;
use line::Line;
use statistics::percentile;

/// What is timed.
#[derive(Debug, Clone, clap::Args)]
pub struct Timing {
    #[arg(long, value_parser = Target::parse)]
    pub target: Target,
    #[arg(long, value_parser = Target::parse)]
    pub admin: Target,
    /// The agent token whose secret is guessed.
    #[arg(long, env = "LOADTEST_TOKEN", hide_env_values = true)]
    pub token: String,
    /// Calls of each class.
    #[arg(long, default_value_t = 10_000)]
    pub samples: usize,
}

/// Whether the gateway has seen the credentials before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sight {
    First,
    Again,
}

/// How a made-up credential differs from the right one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// In the secret, from that character on.
    From(usize),
    /// In its id.
    UnknownId,
}

/// What was timed.
#[derive(Debug)]
pub struct Timed {
    pub sight: Sight,
    /// Sorted, in nanoseconds.
    times: Vec<(Class, Vec<u64>)>,
    pub computed: Computed,
}

/// The first, a middle and the last character of a secret.
const POSITIONS: [usize; 3] = [0, 21, 42];

/// Times refusals of credentials that are seen for the first time, and again.
pub fn run(timing: &Timing) -> io::Result<[Timed; 2]> {
    let time = |sight| Run::new(timing, sight)?.run(timing);
    Ok([time(Sight::First)?, time(Sight::Again)?])
}

struct Run {
    sight: Sight,
    line: Line,
    id: String,
    right: String,
    random: Random,
    /// Of those that are seen again.
    fixed: Vec<String>,
}

impl Run {
    fn new(timing: &Timing, sight: Sight) -> io::Result<Self> {
        let token = timing.token.trim_start_matches("tp-").split_once('.');
        let (id, right) = token.ok_or_else(|| io::Error::other("that is no agent token"))?;
        let mut run = Self {
            sight,
            line: Line::connect(&timing.target)?,
            id: id.to_owned(),
            right: right.to_owned(),
            random: Random::new(sight as u64),
            fixed: Vec::new(),
        };
        run.fixed = Class::ALL.map(|class| run.made_up(class, 0)).to_vec();
        // The connection is warm, and what is to be seen again was seen.
        for token in run.fixed.clone() {
            run.line.time(&token)?;
        }
        Ok(run)
    }

    fn run(mut self, timing: &Timing) -> io::Result<Timed> {
        let before = Computed::read(&timing.admin)?;
        let mut times = Class::ALL.map(|class| (class, Vec::with_capacity(timing.samples)));
        for round in 1..=timing.samples {
            let mut order = [0, 1, 2, 3];
            for last in (1..order.len()).rev() {
                order.swap(last, self.random.below(last + 1));
            }
            for at in order {
                let token = match self.sight {
                    Sight::First => self.made_up(Class::ALL[at], round),
                    Sight::Again => self.fixed[at].clone(),
                };
                times[at].1.push(self.line.time(&token)?);
            }
        }
        times
            .iter_mut()
            .for_each(|(_, times)| times.sort_unstable());
        Ok(Timed {
            sight: self.sight,
            times: times.into(),
            computed: Computed::read(&timing.admin)?.since(before),
        })
    }

    /// Another one each round. Of the last character there are 63 others: they come around when the
    /// gateway, which remembers 32 wrong secrets of a token, has forgotten them.
    fn made_up(&mut self, class: Class, round: usize) -> String {
        let Class::From(position) = class else {
            return Forgery::UnknownId.nth(self.random.number());
        };
        let right = self.right.as_bytes()[position];
        let others = SECRET.iter().filter(|&&letter| letter != right);
        let other = others.copied().nth(round % (SECRET.len() - 1));
        let mut made_up = self.right[..position].to_owned();
        made_up.extend(other.map(char::from));
        let rest = secret(&mut self.random);
        made_up.push_str(&rest[position + 1..]);
        format!("tp-{}.{made_up}", self.id)
    }
}

impl Class {
    const ALL: [Self; 4] = [
        Self::From(POSITIONS[0]),
        Self::From(POSITIONS[1]),
        Self::From(POSITIONS[2]),
        Self::UnknownId,
    ];
}

impl Timed {
    /// How the wrong secrets compare, one position with another.
    pub fn positions(&self) -> impl Iterator<Item = (Class, Class, Comparison)> {
        let pairs = [(0, 1), (0, 2), (1, 2)].into_iter();
        pairs.map(|(one, other)| self.compare(one, other))
    }

    /// How an unknown id compares with a wrong secret.
    pub fn ids(&self) -> (Class, Class, Comparison) {
        self.compare(0, 3)
    }

    fn compare(&self, one: usize, other: usize) -> (Class, Class, Comparison) {
        let ((one, times), (other, others)) = (&self.times[one], &self.times[other]);
        (*one, *other, Comparison::of(times, others))
    }
}

impl fmt::Display for Class {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::From(position) => write!(out, "wrong from {}", position + 1),
            Self::UnknownId => out.write_str("unknown id"),
        }
    }
}

impl fmt::Display for Timed {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sight = match self.sight {
            Sight::First => "seen for the first time",
            Sight::Again => "seen again",
        };
        let hashes = self.computed.hashes;
        writeln!(out, "{sight}: {hashes} hashes computed")?;
        for (class, times) in &self.times {
            let us = |share| percentile(times, share) as f64 / 1000.0;
            let (count, p10, p50, p90) = (times.len(), us(0.1), us(0.5), us(0.9));
            let class = class.to_string();
            writeln!(
                out,
                "  {class:<14} {count} calls, p10 {p10:.1} us, p50 {p50:.1} us, p90 {p90:.1} us"
            )?;
        }
        for (one, other, compared) in self.positions().chain([self.ids()]) {
            let told = if compared.differ() {
                "told apart"
            } else {
                "not told apart"
            };
            let (pair, Comparison { t, z }) = (format!("{one} / {other}"), compared);
            writeln!(out, "  {pair:<32} t {t:>8.2}, z {z:>8.2}: {told}")?;
        }
        Ok(())
    }
}
