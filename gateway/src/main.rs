//! Flags, then boot. The only exit code and the only `anyhow`.

use std::panic::resume_unwind;
use std::path::Path;
use std::process::ExitCode;
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, Result};
use clap::Parser;
use turnpike::boot::{self, Signals, Source};
use turnpike::cli::{
    AuditCommand, Cli, Command, ConfigCommand, CredentialsCommand, Level, Login, PersonCommand,
    Serve, TokenCommand,
};
use turnpike::clock::Time;
use turnpike::observe::logging;
use turnpike::sockets::Sockets;
use turnpike::web::management;
use turnpike::{assemble, configuration};
use turnpike_config::plan::{LogLevel, LoggingPlan};
use turnpike_config::{Environment, Plan, Problems};

#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    let cli = Cli::parse();
    let done = match cli.command {
        None => return served(&cli.serve),
        Some(Command::Serve(flags)) => return served(&flags),
        Some(Command::Config(command)) => config(&command),
        Some(Command::Login(flags)) => login(&flags),
        Some(Command::Token(command)) => token(&command),
        Some(Command::Credentials(command)) => credentials(&command),
        Some(Command::Person(command)) => person(&command),
        Some(Command::Audit(command)) => audit(&command),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => failed(&error),
    }
}

fn failed(error: &anyhow::Error) -> ExitCode {
    complain(&format!("{error:#}"));
    ExitCode::FAILURE
}

/// Serves until it is told to end. Requests that were cut then are told in the log, and by the exit code.
fn served(flags: &Serve) -> ExitCode {
    match serve(flags) {
        Ok(0) => ExitCode::SUCCESS,
        Ok(_) => ExitCode::FAILURE,
        Err(error) => failed(&error),
    }
}

/// Answers with how many requests were cut.
fn serve(flags: &Serve) -> Result<u64> {
    let environment = Environment::from_process();
    let plan = read(&flags.config.path, &environment)?;
    if flags.validate_only {
        let found = assemble::check(&plan)?;
        for warning in plan.warnings.iter().chain(&found) {
            complain(&format!("warning: {warning}"));
        }
        say(&format!("{} is valid", flags.config.path.display()));
        for (whose, uri) in assemble::redirect_uris(&plan) {
            say(&format!(
                "register this redirect URI with each identity provider{whose}: {uri}"
            ));
        }
        return Ok(0);
    }
    let sockets = Sockets::handed_over()?;
    let logging = logging::start(&overridden(&plan.logging, flags))?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(plan.server.threads)
        .enable_all()
        .build()
        .context("cannot start the worker threads")?;
    let source = Source {
        path: flags.config.path.clone(),
        environment,
    };
    let ended = runtime.block_on(async {
        let signals = Signals::catch()?;
        // A level given on the command line is not the file's to change.
        let logging = match flags.log_level {
            Some(_) => logging.pinned(),
            None => logging,
        };
        let time = Time::system();
        let gateway = boot::start_on(sockets, plan, source, Some(logging), time).await?;
        Ok(gateway.run(signals).await)
    });
    // A name that is being looked up must not hold the process.
    runtime.shutdown_timeout(Duration::from_secs(1));
    ended
}

/// Reads the configuration on a thread of its own: what the allocator keeps of reading a large one
/// is given back when the thread ends.
fn read(config: &Path, environment: &Environment) -> Result<Plan, Problems> {
    thread::scope(|scope| {
        let reading = scope.spawn(|| configuration::load(config, environment));
        reading.join().unwrap_or_else(|panic| resume_unwind(panic))
    })
}

/// As the configuration has it, but for what the command line says. The plan stays what is in the file: what
/// it says later is compared with it.
fn overridden(logging: &LoggingPlan, flags: &Serve) -> LoggingPlan {
    let level = flags.log_level.map(|level| match level {
        Level::Error => LogLevel::Error,
        Level::Warn => LogLevel::Warn,
        Level::Info => LogLevel::Info,
        Level::Debug => LogLevel::Debug,
        Level::Trace => LogLevel::Trace,
    });
    LoggingPlan {
        level: level.unwrap_or(logging.level),
        file: flags.log_file.clone().or_else(|| logging.file.clone()),
        ..logging.clone()
    }
}

fn config(command: &ConfigCommand) -> Result<()> {
    match command {
        ConfigCommand::Print { config, redact: _ } => {
            say(configuration::redacted(&config.path, &Environment::from_process())?.trim_end());
        }
        ConfigCommand::Openapi => say(&serde_json::to_string_pretty(&management::document())?),
        ConfigCommand::Schema => say(&serde_json::to_string_pretty(&turnpike_config::schema())?),
    }
    Ok(())
}

fn credentials(command: &CredentialsCommand) -> Result<()> {
    let environment = Environment::from_process();
    on_this_thread()?.block_on(turnpike::command::credentials::run(
        command,
        &environment,
        say,
    ))?;
    Ok(())
}

fn login(flags: &Login) -> Result<()> {
    use std::io::IsTerminal as _;
    let environment = Environment::from_process();
    let is_seen = std::io::stderr().is_terminal();
    let screen = turnpike::command::login::Screen {
        say: &say,
        hint: &complain,
        progress: is_seen.then_some(&progress),
    };
    let time = Time::system();
    let done = turnpike::command::login::run(flags, &environment, &time, &screen);
    on_this_thread()?.block_on(done)?;
    Ok(())
}

fn token(command: &TokenCommand) -> Result<()> {
    let environment = Environment::from_process();
    on_this_thread()?.block_on(turnpike::command::tokens::run(command, &environment, say))?;
    Ok(())
}

fn person(command: &PersonCommand) -> Result<()> {
    let environment = Environment::from_process();
    on_this_thread()?.block_on(turnpike::command::person::run(command, &environment, say))?;
    Ok(())
}

fn audit(command: &AuditCommand) -> Result<()> {
    let environment = Environment::from_process();
    turnpike::command::audit::run(command, &environment, say)?;
    Ok(())
}

/// For a command: one thread is enough.
fn on_this_thread() -> Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot start a worker thread")
}

/// A reader that has seen enough (`head`) is no failure.
fn say(text: &str) {
    use std::io::Write as _;
    let _ = writeln!(std::io::stdout(), "{text}");
}

/// Over what stood in the line before.
#[expect(clippy::print_stderr, reason = "what a person waits for")]
fn progress(text: &str) {
    eprint!("\r{text}\x1b[K");
}

#[expect(clippy::print_stderr, reason = "a command's failure")]
fn complain(text: &str) {
    eprintln!("{text}");
}
