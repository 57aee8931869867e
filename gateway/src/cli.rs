//! The command line.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};
use ipnet::IpNet;
use jiff::Timestamp;
use turnpike_audit::verify::First;

use crate::agents::Agent;

/// Turnpike, an LLM edge gateway.
#[derive(Debug, Parser)]
#[command(version, about, args_conflicts_with_subcommands = true)]
pub struct Cli {
    #[command(subcommand)]
    pub command: Option<Command>,
    #[command(flatten)]
    pub serve: Serve,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Serve requests (the default).
    Serve(Serve),
    /// Look at configuration.
    #[command(subcommand)]
    Config(ConfigCommand),
    /// Look at upstream credentials: what each can serve, how it stands and why, when it is back.
    #[command(subcommand)]
    Credentials(CredentialsCommand),
    /// Log in to a gateway from this machine, through a browser here or elsewhere: its agent gets a
    /// token of yours.
    Login(Login),
    /// Make, look at and end agent tokens: what agents and devices present instead of a key. A
    /// running gateway follows within a second.
    #[command(subcommand)]
    Token(TokenCommand),
    /// Look at what is kept of people who log in, and remove it.
    #[command(subcommand)]
    Person(PersonCommand),
    /// Look at what is on record, and whether it is what was written.
    #[command(subcommand)]
    Audit(AuditCommand),
}

#[derive(Debug, Subcommand)]
pub enum AuditCommand {
    /// Check that no record was changed, removed, moved or cut off, and who signed them. Exits with 1
    /// and names each that was.
    Verify {
        /// A public key that checkpoints may be signed by, in hexadecimal digits, beside that of the
        /// configuration; may be repeated.
        #[arg(long = "key", value_name = "HEX")]
        keys: Vec<String>,
        /// A chain that no checkpoint signs is a fault: nobody can tell that its last records are there,
        /// or who wrote it.
        #[arg(long)]
        require_signature: bool,
        /// The number of the first record that has to be there, where those before it are elsewhere: of the
        /// chain that is read first, or CHAIN:SEQ of another; may be repeated. Chains begin with 1.
        #[arg(long, value_name = "SEQ")]
        from: Vec<First>,
        #[command(flatten)]
        records: Records,
    },
    /// Print the last records.
    Tail {
        /// How many.
        #[arg(short = 'n', long, default_value_t = 20)]
        lines: usize,
        /// Go on with those that come.
        #[arg(short, long)]
        follow: bool,
        #[command(flatten)]
        records: Records,
    },
    /// Print records of some time or kind.
    Export {
        /// From this time on, such as 2026-11-21T00:00:00Z.
        #[arg(long, value_name = "TIME")]
        since: Option<Timestamp>,
        /// Before this time.
        #[arg(long, value_name = "TIME")]
        until: Option<Timestamp>,
        /// Whose event begins so: `request.end`, or `request.` for all of calls.
        #[arg(long)]
        event: Option<String>,
        #[command(flatten)]
        records: Records,
    },
}

#[derive(Debug, Clone, Args)]
pub struct ConfigFile {
    /// The configuration file.
    #[arg(
        long = "config",
        alias = "sso-config",
        env = "TURNPIKE_CONFIG",
        default_value = "turnpike.yaml",
        value_name = "FILE"
    )]
    pub path: PathBuf,
}

#[derive(Debug, Clone, Args)]
pub struct Records {
    #[command(flatten)]
    pub config: ConfigFile,
    /// Which of the configuration's sinks: those of what happened, or of what each call used.
    #[arg(long, value_enum, default_value = "audit")]
    pub stream: Stream,
    /// Files of records, oldest first; none = those of the configuration's first sink that is a file.
    pub files: Vec<PathBuf>,
}

/// Which records.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub enum Stream {
    Audit,
    Usage,
}

#[derive(Debug, Subcommand)]
pub enum PersonCommand {
    /// List everybody of whom something is kept.
    List {
        #[command(flatten)]
        asked: Asked,
    },
    /// Show everything that is kept of somebody, in JSON.
    Show {
        /// An e-mail address, the provider's subject, or the key that `list` shows.
        who: String,
        #[command(flatten)]
        asked: Asked,
    },
    /// Remove everything that is kept of somebody who leaves: the session, what it is renewed with,
    /// and their agent tokens, which end at once. End their account at the identity provider
    /// first.
    Forget {
        /// As `show` takes it; of an address that is several people's, the key.
        who: String,
        #[command(flatten)]
        asked: Asked,
    },
}

#[derive(Debug, Clone, Args)]
pub struct Login {
    /// The gateway's address, such as https://llm.example.com.
    pub url: String,
    /// The agent that is to use it: how to set it up is printed.
    #[arg(long, value_enum, value_name = "AGENT", default_value = "env")]
    pub agent: Agent,
    /// What the token is called [default: the agent's name and this machine's].
    #[arg(long)]
    pub name: Option<String>,
    /// Set the agent up in its own files instead of printing how. What else they hold stays.
    #[arg(long)]
    pub write: bool,
    /// Trust the certificates in this PEM file, too.
    #[arg(long, value_name = "FILE")]
    pub ca_file: Option<PathBuf>,
    /// Allow http:// to another machine: whoever is on the way can read the token.
    #[arg(long)]
    pub allow_http: bool,
    /// Print a line of JSON with the code to type, and one with what came of it.
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Subcommand)]
pub enum TokenCommand {
    /// Make one, of a service account that belongs to no person. It is shown once.
    Create {
        /// The agent's or device's name.
        #[arg(long)]
        name: String,
        /// Accept it only from this network, such as 10.0.0.0/8; may be repeated.
        #[arg(long, value_name = "CIDR")]
        cidr: Vec<IpNet>,
        /// Accept it only with the client certificate of this SHA-256, in hexadecimal digits;
        /// may be repeated.
        #[arg(long, value_name = "SHA256", value_parser = fingerprint)]
        certificate: Vec<String>,
        /// The tenant that it acts for [default: none].
        #[arg(long, value_name = "TENANT")]
        tenant: Option<String>,
        #[command(flatten)]
        asked: Asked,
    },
    /// List all of them.
    List {
        #[command(flatten)]
        asked: Asked,
    },
    /// Show one.
    Show {
        /// As `list` shows it.
        id: String,
        #[command(flatten)]
        asked: Asked,
    },
    /// Make one that takes the place of another, which goes on for a while. It is shown once.
    Rotate {
        /// As `list` shows it.
        id: String,
        /// How long the old one goes on [default: agent_tokens.rotation_overlap].
        #[arg(long, value_name = "DURATION", value_parser = humantime::parse_duration)]
        overlap: Option<Duration>,
        #[command(flatten)]
        asked: Asked,
    },
    /// End one, for good.
    Revoke {
        /// As `list` shows it.
        id: String,
        #[command(flatten)]
        asked: Asked,
    },
}

/// `openssl x509 -fingerprint -sha256` separates the bytes by colons.
pub fn fingerprint(text: &str) -> Result<String, &'static str> {
    let digits = text.replace(':', "").to_ascii_lowercase();
    let is_digest = digits.len() == 64 && digits.bytes().all(|byte| byte.is_ascii_hexdigit());
    is_digest
        .then_some(digits)
        .ok_or("expected the 64 hexadecimal digits of a SHA-256")
}

#[derive(Debug, Subcommand)]
pub enum CredentialsCommand {
    /// List all of them.
    List {
        #[command(flatten)]
        asked: Asked,
    },
    /// Show one, with the models it serves.
    Show {
        /// As `list` shows it: `openai/main`.
        id: String,
        #[command(flatten)]
        asked: Asked,
    },
    /// Call the provider with one, or with all, without cost: list its models. A running gateway
    /// uses those again that are well.
    Test {
        /// As `list` shows it; none = all.
        id: Option<String>,
        #[command(flatten)]
        asked: Asked,
    },
    /// Write every file of auth.dir anew, as auth.encryption says: encrypted with its key, or not
    /// at all. The files then need no previous key; refresh tokens in the store do for as long as
    /// a session lasts.
    Rewrite {
        #[command(flatten)]
        asked: Asked,
    },
}

#[derive(Debug, Clone, Args)]
pub struct Asked {
    #[command(flatten)]
    pub config: ConfigFile,
    /// Answer in JSON.
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Clone, Args)]
pub struct Serve {
    #[command(flatten)]
    pub config: ConfigFile,
    /// Check the configuration, say every error with its key and line, and exit: 0 when it is
    /// good, 1 when it is not. Nothing listens.
    #[arg(long)]
    pub validate_only: bool,
    /// Log lines at least this severe; wins over the file and the environment.
    #[arg(long, value_enum)]
    pub log_level: Option<Level>,
    /// Append log lines to this file instead of standard error.
    #[arg(long, value_name = "FILE")]
    pub log_file: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
pub enum ConfigCommand {
    /// Print the configuration in effect.
    Print {
        #[command(flatten)]
        config: ConfigFile,
        /// Blot out secrets. It is always done; the flag is accepted so that scripts can say it.
        #[arg(long)]
        redact: bool,
    },
    /// Print the JSON schema of the configuration file.
    Schema,
    /// Print the OpenAPI document of the management API.
    Openapi,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
pub enum Level {
    Error,
    Warn,
    Info,
    Debug,
    Trace,
}
