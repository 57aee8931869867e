//! The command `turnpike audit`: whether what is on record is what happened, and what it says.

use std::fs::{self, File};
use std::io::{self, BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::Timestamp;
use serde::Deserialize;
use thiserror::Error;
use turnpike_audit::delivery::{first_delivered, last_delivered};
use turnpike_audit::sinks::file::Files;
use turnpike_audit::verify::{Before, Beginnings, Fault, First, Found, Summary, Verifier};
use turnpike_config::plan::{AuditFormatPlan, AuditReceiverPlan, AuditSinkPlan};
use turnpike_config::{Environment, Plan, Problems};

use crate::audit::{signing_key, sink_name};
use crate::cli::{AuditCommand, Records, Stream};
use crate::configuration;
use crate::secret_key::{self, SecretKeyError};

/// Why the command has no answer, or not the one that was hoped for.
#[derive(Debug, Error)]
pub enum AuditCommandError {
    #[error(transparent)]
    Configuration(#[from] Problems),
    #[error("no sink of this stream is a file in the format json; name the files")]
    NoFile,
    #[error("{}", path.display())]
    File { path: PathBuf, source: io::Error },
    #[error("the signing key")]
    Key(#[from] SecretKeyError),
    #[error("the records are not what was written: {0} faults")]
    Faults(usize),
}

/// How often a followed file is looked at.
const LOOKED_EVERY: Duration = Duration::from_millis(200);

/// Runs the command, and hands its answer on line by line.
pub fn run(
    command: &AuditCommand,
    environment: &Environment,
    say: impl Fn(&str),
) -> Result<(), AuditCommandError> {
    match command {
        AuditCommand::Verify {
            keys,
            require_signature,
            from,
            records,
        } => verify(keys, *require_signature, from, records, environment, say),
        AuditCommand::Tail {
            lines,
            follow,
            records,
        } => tail(*lines, *follow, records, environment, say),
        AuditCommand::Export {
            since,
            until,
            event,
            records,
        } => {
            let wanted = |line: &str| is_wanted(line, *since, *until, event.as_deref());
            each(sources(records, environment)?.files, |_, line| {
                if wanted(line) {
                    say(line);
                }
            })
        }
    }
}

fn verify(
    keys: &[String],
    require_signature: bool,
    from: &[First],
    records: &Records,
    environment: &Environment,
    say: impl Fn(&str),
) -> Result<(), AuditCommandError> {
    let sources = sources(records, environment)?;
    let mut keys = keys.to_vec();
    if let Some(plan) = &sources.plan {
        keys.extend(public_key(plan)?);
    }
    let mut verifier = Verifier::new(keys).beginning(Beginnings {
        stated: from.to_vec(),
        handed: sources.noted.first,
        is_full: sources.is_full,
    });
    each(sources.files, |place, line| {
        verifier.read(place, line.as_bytes());
    })?;
    verifier.wants_beginnings();
    if let Some((chain, seq)) = sources.noted.last {
        verifier.ends(&chain, seq);
    }
    if require_signature {
        verifier.wants_signatures();
    }
    tell(&verifier, say)
}

/// What was found, and the chains there were.
fn tell(verifier: &Verifier, say: impl Fn(&str)) -> Result<(), AuditCommandError> {
    for found in verifier.found() {
        say(&found.to_string());
    }
    if verifier.found().iter().any(is_of_a_beginning) {
        say(ELSEWHERE);
    }
    for summary in verifier.summaries() {
        say(&shown(&summary));
    }
    match verifier.found().len() {
        0 => {
            say(&format!(
                "{} records, all as they were written",
                verifier.records()
            ));
            Ok(())
        }
        faults => Err(AuditCommandError::Faults(faults)),
    }
}

/// What to do where a chain has no beginning.
const ELSEWHERE: &str = "where the records at a beginning were moved elsewhere, name the files that have them as well, \
    or say with --from CHAIN:SEQ which is the first that has to be here";

fn is_of_a_beginning(found: &Found) -> bool {
    matches!(found.fault, Fault::Headless { .. } | Fault::Gone { .. })
}

fn shown(summary: &Summary) -> String {
    let Summary {
        chain,
        first,
        last,
        before,
        again,
        signed,
    } = summary;
    let before = match before {
        Before::Nothing | Before::Missing { .. } => "",
        Before::Elsewhere => ", those before are elsewhere",
        Before::Older => ", those before are older than the sink",
        Before::Rotated => ", those before were removed by rotation",
    };
    let again = match again {
        0 => String::new(),
        again => format!(", {again} of them twice"),
    };
    let signed = match signed {
        Some((seq, key)) => format!("signed up to {seq} by {key}"),
        None => "not signed".to_owned(),
    };
    format!("chain {chain}: records {first} to {last}{before}{again}, {signed}")
}

#[expect(
    clippy::disallowed_methods,
    reason = "a command serves nobody beside whoever reads it"
)]
fn tail(
    lines: usize,
    follow: bool,
    records: &Records,
    environment: &Environment,
    say: impl Fn(&str),
) -> Result<(), AuditCommandError> {
    let files = sources(records, environment)?.files;
    let newest = files.last().map(|(path, _)| path.clone());
    let mut last = std::collections::VecDeque::new();
    each(files, |_, line| {
        if last.len() == lines {
            last.pop_front();
        }
        last.push_back(line.to_owned());
    })?;
    last.iter().take(lines).for_each(|line| say(line));
    let Some(path) = newest.filter(|_| follow) else {
        return Ok(());
    };
    let mut after = last.back().cloned().unwrap_or_default();
    loop {
        std::thread::sleep(LOOKED_EVERY);
        // It may be another file of the name by now: all of that is new.
        let read = fs::read_to_string(&path).unwrap_or_default();
        let from = match read.rfind(&after) {
            Some(at) if !after.is_empty() => at + after.len(),
            _ => 0,
        };
        let end = read.rfind('\n').unwrap_or(0);
        for line in read.get(from..end).unwrap_or_default().lines() {
            if !line.is_empty() {
                say(line);
                line.clone_into(&mut after);
            }
        }
    }
}

/// What of a record it is chosen by.
#[derive(Deserialize)]
struct Head {
    time: String,
    event: String,
}

fn is_wanted(
    line: &str,
    since: Option<Timestamp>,
    until: Option<Timestamp>,
    event: Option<&str>,
) -> bool {
    // What cannot be read is not kept from whoever looks.
    let Ok(head) = serde_json::from_str::<Head>(line) else {
        return true;
    };
    let Ok(time) = head.time.parse::<Timestamp>() else {
        return true;
    };
    since.is_none_or(|since| time >= since)
        && until.is_none_or(|until| time < until)
        && event.is_none_or(|event| head.event.starts_with(event))
}

/// What is read.
struct Sources {
    /// Oldest first.
    files: Vec<(PathBuf, File)>,
    /// There are as many as the sink keeps: it may have removed older ones.
    is_full: bool,
    noted: Noted,
    /// Where no files were named.
    plan: Option<Plan>,
}

/// What the gateway has noted of the records that it handed to the sink.
#[derive(Default)]
struct Noted {
    first: Option<First>,
    /// The chain and the number.
    last: Option<(String, u64)>,
}

/// The files that are named, or those of the configuration.
fn sources(records: &Records, environment: &Environment) -> Result<Sources, AuditCommandError> {
    if !records.files.is_empty() {
        let open = |path: &PathBuf| match File::open(path) {
            Ok(file) => Ok((path.clone(), file)),
            Err(source) => Err(failed(path, source)),
        };
        let opened: Result<Vec<_>, _> = records.files.iter().map(open).collect();
        return Ok(Sources {
            files: opened?,
            is_full: false,
            noted: Noted::default(),
            plan: None,
        });
    }
    let plan = configuration::load(&records.config.path, environment)?;
    let found = stream(&plan, records.stream);
    let found = found.and_then(|(sinks, spool)| Some((file_sink(sinks)?, spool)));
    let ((path, keep, name), spool) = found.ok_or(AuditCommandError::NoFile)?;
    // Before the files are opened: they have these records by then.
    let noted = Noted::of(spool, &name);
    let files = Files::open(&path, keep).map_err(|source| failed(&path, source))?;
    if files.all.is_empty() {
        return Err(failed(&path, io::ErrorKind::NotFound.into()));
    }
    Ok(Sources {
        files: files.all,
        is_full: files.is_full,
        noted,
        plan: Some(plan),
    })
}

fn failed(path: &Path, source: io::Error) -> AuditCommandError {
    let path = path.to_owned();
    AuditCommandError::File { path, source }
}

impl Noted {
    fn of(spool: &Path, sink: &str) -> Self {
        let first = first_delivered(spool, sink);
        Self {
            first: first.map(|(chain, seq)| First { chain, seq }),
            last: last_delivered(spool, sink),
        }
    }
}

/// The sinks of a stream, and its spool.
fn stream(plan: &Plan, stream: Stream) -> Option<(&[AuditSinkPlan], &Path)> {
    let audit = plan.audit.as_ref()?;
    match stream {
        Stream::Audit => Some((&audit.sinks, &audit.spool)),
        Stream::Usage => {
            let usage = audit.usage.as_ref()?;
            Some((&usage.sinks, &usage.spool))
        }
    }
}

/// The first sink that is a file of the records themselves: its path, how many there are, and its name.
fn file_sink(sinks: &[AuditSinkPlan]) -> Option<(PathBuf, u32, String)> {
    sinks.iter().find_map(|sink| match &sink.to {
        AuditReceiverPlan::File { path, keep, .. } if sink.format == AuditFormatPlan::Json => {
            Some((path.clone(), *keep, sink_name(&sink.to)))
        }
        _ => None,
    })
}

/// The key that the gateway of this configuration signs with. None is made for a look.
fn public_key(plan: &Plan) -> Result<Option<String>, AuditCommandError> {
    let key = match &plan.server.secret_key {
        Some(key) => Some(key.clone()),
        None if key_file(plan).exists() => Some(secret_key::beside(&plan.state.path)?),
        None => None,
    };
    let key = key.and_then(|key| signing_key(&key));
    Ok(key.map(|key| key.public().to_owned()))
}

/// Where the key is that the gateway made for itself.
fn key_file(plan: &Plan) -> PathBuf {
    let mut name = plan.state.path.as_os_str().to_owned();
    name.push(".key");
    name.into()
}

/// Reads the lines of files, each with its place.
fn each(
    files: Vec<(PathBuf, File)>,
    mut read: impl FnMut(&str, &str),
) -> Result<(), AuditCommandError> {
    for (path, file) in files {
        lines(&path, file, &mut read).map_err(|source| failed(&path, source))?;
    }
    Ok(())
}

fn lines(path: &Path, file: File, read: &mut impl FnMut(&str, &str)) -> io::Result<()> {
    let mut file = BufReader::new(file);
    let mut line = Vec::new();
    for number in 1u64.. {
        line.clear();
        file.read_until(b'\n', &mut line)?;
        // One that is being written is no line yet.
        let Some((b'\n', line)) = line.split_last() else {
            return Ok(());
        };
        let place = format!("{}:{number}", path.display());
        read(&place, &String::from_utf8_lossy(line));
    }
    Ok(())
}
