//! The command `turnpike login`: the device's side of a device login (RFC 8628), from a laptop or a
//! server. It is what any program could do: nothing of the gateway's own is used but its addresses.

mod client;
mod kept;
mod set_up;

use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use thiserror::Error;
use turnpike_api::Clock;
use turnpike_config::Environment;
use url::{Host, Url};

use crate::agents::Agent;
use crate::cli::Login;
use crate::clock::Time;
use client::{Asked, Client, ClientError, Given, Polled};
use kept::{Kept, KeptError};
use set_up::{SetUp, SetUpError};

/// Where the command is seen.
pub struct Screen<'s> {
    /// What was asked for.
    pub say: &'s dyn Fn(&str),
    /// What a person may like to know meanwhile.
    pub hint: &'s dyn Fn(&str),
    /// A line that takes the place of the one before, where a person sees that.
    pub progress: Option<&'s dyn Fn(&str)>,
}

/// Why nobody is logged in.
#[derive(Debug, Error)]
pub enum LoginError {
    #[error("`{0}` is not a gateway's address; it looks like https://llm.example.com")]
    Url(String),
    #[error(
        "{0} is reached without TLS, so whoever is on the way can read the token; use https://, or --allow-http if the network is yours alone"
    )]
    Plain(Url),
    #[error(transparent)]
    Client(#[from] ClientError),
    #[error("the request was refused: somebody who was asked said no")]
    Denied,
    #[error("nobody answered in time; run the command again for another code")]
    Expired,
    #[error(transparent)]
    Kept(#[from] KeptError),
    #[error(transparent)]
    SetUp(#[from] SetUpError),
    #[error(
        "the token was made but not kept, so it is of no use: revoke `{name}` at {url}/auth/tokens"
    )]
    Lost {
        name: String,
        url: String,
        source: KeptError,
    },
}

/// Logs in.
pub async fn run(
    flags: &Login,
    environment: &Environment,
    time: &Time,
    screen: &Screen<'_>,
) -> Result<(), LoginError> {
    let url = address(flags)?;
    // What could go wrong here should do so before somebody has been asked to say yes.
    let kept = Kept::open(environment)?;
    let files = match flags.write {
        true => SetUp::plan(flags.agent, environment, &url)?,
        false => SetUp::nothing(),
    };
    let client = Client::new(flags.ca_file.as_deref(), is_here(&url))?;
    let found = client.discover(&url)?;
    let name = flags.name.clone().unwrap_or_else(|| name(flags.agent));
    let asked = client.ask(&found, &name)?;
    show(&asked, flags.json, screen);
    let given = wait(&client, &found, &asked, time, screen).await?;
    let file = kept.keep(&url, flags.agent.id(), &given, time.now());
    let file = file.map_err(|source| LoginError::Lost {
        name: given.name.clone(),
        url: url.clone(),
        source,
    })?;
    let written = files.write(&given.token).inspect_err(|_| {
        let file = file.display();
        (screen.hint)(&format!("You are logged in; the token is kept in {file}."));
    })?;
    tell(flags, &url, &given, &file, &written, screen);
    Ok(())
}

/// The gateway's address, without a slash at its end.
fn address(flags: &Login) -> Result<String, LoginError> {
    // Not a password, should there be one.
    let typed = flags.url.rsplit('@').next().unwrap_or_default();
    let wrong = || LoginError::Url(typed.to_owned());
    let url = Url::parse(&flags.url).map_err(|_| wrong())?;
    let text = url.as_str().trim_end_matches('/');
    // Nothing but a host: no path, no query, and nobody's password.
    if url.origin().ascii_serialization() != text {
        return Err(wrong());
    }
    match url.scheme() {
        "https" => Ok(text.to_owned()),
        "http" if is_here(text) || flags.allow_http => Ok(text.to_owned()),
        "http" => Err(LoginError::Plain(url.clone())),
        _ => Err(wrong()),
    }
}

/// Whether the gateway is on this machine.
fn is_here(url: &str) -> bool {
    let url = Url::parse(url).ok();
    match url.as_ref().and_then(Url::host) {
        Some(Host::Domain(name)) => name == "localhost" || name.ends_with(".localhost"),
        Some(Host::Ipv4(ip)) => ip.is_loopback(),
        Some(Host::Ipv6(ip)) => ip.is_loopback(),
        None => false,
    }
}

/// What the token is called, unless the person says otherwise.
fn name(agent: Agent) -> String {
    let machine = gethostname::gethostname().to_string_lossy().into_owned();
    let plain = |c: &char| !c.is_control();
    let machine: String = machine.chars().filter(plain).take(60).collect();
    match agent {
        Agent::Env => machine,
        agent => format!("{} on {machine}", agent.id()),
    }
}

fn show(asked: &Asked, as_json: bool, screen: &Screen<'_>) {
    if as_json {
        let line = json!({
            "user_code": asked.user_code,
            "verification_uri": asked.verification_uri,
            "verification_uri_complete": asked.verification_uri_complete,
            "expires_in": asked.expires_in,
        });
        return (screen.say)(&line.to_string());
    }
    (screen.say)(&format!(
        "Open {} in a browser, here or on another device, and type this code:\n\n    {}\n",
        asked.verification_uri, asked.user_code
    ));
    if let Some(link) = &asked.verification_uri_complete {
        (screen.say)(&format!(
            "Or open this link, and compare the code:\n\n    {link}\n"
        ));
    }
}

/// Asks until there is an answer.
async fn wait(
    client: &Client,
    found: &client::Found,
    asked: &Asked,
    time: &Time,
    screen: &Screen<'_>,
) -> Result<Given, LoginError> {
    let until = time
        .now()
        .saturating_add(asked.expires_in.saturating_mul(1000));
    let mut interval = asked.interval.clamp(1, SLOWEST);
    let minutes = asked.expires_in.div_ceil(60);
    (screen.hint)(&format!(
        "Waiting for the answer; the code is good for {minutes} minutes."
    ));
    loop {
        let next = time.now().saturating_add(interval * 1000);
        sleep(next, until, time, screen).await;
        if time.now() >= until {
            return Err(LoginError::Expired);
        }
        match client.poll(found, asked) {
            Ok(Polled::Given(given)) => return Ok(given),
            Ok(Polled::Pending) => {}
            Ok(Polled::SlowDown) => interval = (interval + 5).min(SLOWEST),
            Ok(Polled::Denied) => return Err(LoginError::Denied),
            Ok(Polled::Expired) => return Err(LoginError::Expired),
            // RFC 8628, 3.5: it may be back, and is asked less often.
            Ok(Polled::Later(seconds)) => {
                interval = seconds.unwrap_or(interval * 2).clamp(interval, SLOWEST);
                (screen.hint)("The gateway cannot answer now. Trying again.");
            }
            Err(error) if error.may_pass() => {
                interval = (interval * 2).min(SLOWEST);
                (screen.hint)(&format!("{error}. Trying again."));
            }
            Err(error) => return Err(error.into()),
        }
    }
}

/// Up to that time; a person sees the rest of theirs pass.
async fn sleep(next: u64, until: u64, time: &Time, screen: &Screen<'_>) {
    let Some(progress) = screen.progress else {
        return time.sleep_until(next).await;
    };
    while time.now() < next {
        let seconds = until.saturating_sub(time.now()) / 1000;
        progress(&format!(
            "Waiting; {}:{:02} left",
            seconds / 60,
            seconds % 60
        ));
        time.sleep_until(next.min(time.now() + 1000)).await;
    }
    progress("");
}

/// Seconds. No less often is asked than so.
const SLOWEST: u64 = 60;

/// What came of it. The token is shown only where somebody has to copy it.
fn tell(
    flags: &Login,
    url: &str,
    given: &Given,
    file: &Path,
    written: &[PathBuf],
    screen: &Screen<'_>,
) {
    let token = given.token.expose();
    let by_hand = || {
        let parts = flags.agent.parts(url, token).into_iter();
        parts.filter(|part| written.is_empty() || part.edit.is_none())
    };
    if flags.json {
        let by_hand = by_hand().map(|part| json!({"place": part.place, "text": part.text}));
        let line = json!({
            "url": url,
            "agent": flags.agent.id(),
            "person": given.person,
            "token_id": given.id,
            "token_name": given.name,
            "session_expires_at": given.session_expires_at,
            "credentials_file": file,
            "written": written,
            "to_do": by_hand.collect::<Vec<Value>>(),
        });
        return (screen.say)(&line.to_string());
    }
    let person = given.person.as_deref().unwrap_or("the person who said yes");
    (screen.say)(&format!(
        "Logged in as {person}. The token `{}` is kept in {}.",
        given.name,
        file.display()
    ));
    if let Some(until) = &given.session_expires_at {
        (screen.say)(&format!(
            "It works until {until}, and again whenever {person} logs in at {url}/auth/login after that."
        ));
    }
    for path in written {
        let label = flags.agent.label();
        (screen.say)(&format!("{label} is set up in {}.", path.display()));
    }
    for part in by_hand() {
        (screen.say)(&format!(
            "\n{}: {}\n\n{}",
            flags.agent.label(),
            part.place,
            part.text
        ));
    }
}
