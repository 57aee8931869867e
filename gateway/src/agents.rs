//! How each coding agent is told of the gateway and of its token. The page that shows a new token and
//! `turnpike login` have it from here.

pub mod merge;

use clap::ValueEnum;

use merge::{Format, Value};

/// An agent that people use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Agent {
    ClaudeCode,
    Codex,
    GeminiCli,
    Opencode,
    Aider,
    Continue,
    Cline,
    Cursor,
    Cody,
    /// Anything else: the variables that OpenAI's SDKs read.
    Env,
}

/// What an agent is told at one place.
pub struct Part {
    pub place: &'static str,
    pub text: String,
    /// How the place is a file that can be written.
    pub edit: Option<Edit>,
}

/// Values that a file is to hold, whatever else it holds.
pub struct Edit {
    pub file: FileOf,
    pub format: Format,
    pub values: Vec<Value>,
}

/// A file of an agent.
#[derive(Clone, Copy)]
pub struct FileOf {
    /// A variable that says where the agent's folder is, or the folder above it.
    pub variable: Option<&'static str>,
    /// Below what the variable says.
    pub below: &'static str,
    /// Below the home directory, without the variable.
    pub home: &'static str,
    pub name: &'static str,
}

impl Agent {
    pub const ALL: [Self; 10] = [
        Self::ClaudeCode,
        Self::Codex,
        Self::GeminiCli,
        Self::Opencode,
        Self::Aider,
        Self::Continue,
        Self::Cline,
        Self::Cursor,
        Self::Cody,
        Self::Env,
    ];

    /// As people call it.
    pub fn label(self) -> &'static str {
        match self {
            Self::ClaudeCode => "Claude Code",
            Self::Codex => "Codex",
            Self::GeminiCli => "Gemini CLI",
            Self::Opencode => "opencode",
            Self::Aider => "Aider",
            Self::Continue => "Continue",
            Self::Cline => "Cline",
            Self::Cursor => "Cursor",
            Self::Cody => "Cody",
            Self::Env => "Anything else that speaks as OpenAI does",
        }
    }

    /// As it is called on the command line.
    pub fn id(self) -> &'static str {
        match self {
            Self::ClaudeCode => "claude-code",
            Self::Codex => "codex",
            Self::GeminiCli => "gemini-cli",
            Self::Opencode => "opencode",
            Self::Aider => "aider",
            Self::Continue => "continue",
            Self::Cline => "cline",
            Self::Cursor => "cursor",
            Self::Cody => "cody",
            Self::Env => "env",
        }
    }

    /// What to tell it, in the order in which it is done.
    pub fn parts(self, url: &str, token: &str) -> Vec<Part> {
        let v1 = &*format!("{url}/v1");
        match self {
            Self::ClaudeCode => vec![file(
                "~/.claude/settings.json",
                (Some("CLAUDE_CONFIG_DIR"), "", ".claude", "settings.json"),
                Format::Json,
                &[
                    (&["env", "ANTHROPIC_BASE_URL"], url),
                    (&["env", "ANTHROPIC_AUTH_TOKEN"], token),
                ],
            )],
            Self::Codex => codex(v1, token),
            Self::GeminiCli => gemini_cli(url, token),
            Self::Opencode => vec![file(
                "~/.config/opencode/opencode.json",
                (
                    Some("XDG_CONFIG_HOME"),
                    "opencode",
                    ".config/opencode",
                    "opencode.json",
                ),
                Format::Json,
                &[
                    (&["provider", "anthropic", "options", "baseURL"], v1),
                    (&["provider", "anthropic", "options", "apiKey"], token),
                    (&["provider", "openai", "options", "baseURL"], v1),
                    (&["provider", "openai", "options", "apiKey"], token),
                ],
            )],
            Self::Aider => vec![file(
                "~/.aider.conf.yml",
                (None, "", "", ".aider.conf.yml"),
                Format::Yaml,
                &[(&["openai-api-base"], v1), (&["openai-api-key"], token)],
            )],
            Self::Continue => vec![by_hand(
                "~/.continue/config.yaml, below “models:”; put a model of the gateway in place of MODEL",
                format!(
                    "  - name: MODEL by Turnpike\n    provider: openai\n    model: MODEL\n    apiBase: {v1}\n    apiKey: {token}\n    roles: [chat, edit, apply]"
                ),
            )],
            Self::Cline => vec![by_hand(
                "Cline’s settings, with “OpenAI Compatible” as API Provider",
                format!("Base URL  {v1}\nAPI key   {token}"),
            )],
            Self::Cursor => vec![by_hand(
                "Cursor’s settings, Models, API Keys: “Override OpenAI Base URL”. Cursor calls from its own servers, which must reach the gateway",
                format!("Base URL  {v1}\nAPI key   {token}"),
            )],
            Self::Cody => vec![by_hand(
                "VS Code’s settings.json; put a model of the gateway in place of MODEL. With Sourcegraph Enterprise, its administrator sets models up instead",
                format!(
                    "\"cody.dev.models\": [{{\n  \"provider\": \"openaicompatible\",\n  \"model\": \"MODEL\",\n  \"apiEndpoint\": \"{v1}/chat/completions\",\n  \"apiKey\": \"{token}\"\n}}]"
                ),
            )],
            Self::Env => vec![by_hand(
                "Shell",
                format!("export OPENAI_BASE_URL={v1}\nexport OPENAI_API_KEY={token}"),
            )],
        }
    }
}

/// Its token is in a file of its own, which it reads into its environment.
fn codex(v1: &str, token: &str) -> Vec<Part> {
    let folder = (Some("CODEX_HOME"), "", ".codex");
    vec![
        file(
            "~/.codex/config.toml",
            (folder.0, folder.1, folder.2, "config.toml"),
            Format::Toml,
            &[
                (&["model_provider"], "turnpike"),
                (&["model_providers", "turnpike", "name"], "Turnpike"),
                (&["model_providers", "turnpike", "base_url"], v1),
                (
                    &["model_providers", "turnpike", "env_key"],
                    "TURNPIKE_TOKEN",
                ),
                (&["model_providers", "turnpike", "wire_api"], "responses"),
            ],
        ),
        file(
            "~/.codex/.env",
            (folder.0, folder.1, folder.2, ".env"),
            Format::Variables,
            &[(&["TURNPIKE_TOKEN"], token)],
        ),
    ]
}

fn gemini_cli(url: &str, token: &str) -> Vec<Part> {
    vec![
        file(
            "~/.gemini/.env",
            (None, "", ".gemini", ".env"),
            Format::Variables,
            &[
                (&["GOOGLE_GEMINI_BASE_URL"], url),
                (&["GEMINI_API_KEY"], token),
            ],
        ),
        file(
            "~/.gemini/settings.json",
            (None, "", ".gemini", "settings.json"),
            Format::Json,
            &[(&["security", "auth", "selectedType"], "gemini-api-key")],
        ),
    ]
}

type Folder = (
    Option<&'static str>,
    &'static str,
    &'static str,
    &'static str,
);

/// What is shown of a file is what it would hold, had it held nothing.
fn file(
    place: &'static str,
    (variable, below, home, name): Folder,
    format: Format,
    values: &[(&'static [&'static str], &str)],
) -> Part {
    let values: Vec<Value> = values
        .iter()
        .map(|(path, text)| Value {
            path,
            text: (*text).to_owned(),
        })
        .collect();
    let text = merge::merge(format, "", &values).unwrap_or_default();
    Part {
        place,
        text: text.trim_end().to_owned(),
        edit: Some(Edit {
            file: FileOf {
                variable,
                below,
                home,
                name,
            },
            format,
            values,
        }),
    }
}

fn by_hand(place: &'static str, text: String) -> Part {
    Part {
        place,
        text,
        edit: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_agent_is_told_the_address_and_the_token() {
        for agent in Agent::ALL {
            let parts = agent.parts("https://llm.example.com", "tp-abc.def");
            let all: String = parts.iter().map(|part| part.text.as_str()).collect();
            assert!(all.contains("https://llm.example.com"), "{all}");
            assert!(all.contains("tp-abc.def"), "{all}");
            let value = agent.to_possible_value().unwrap();
            assert_eq!(value.get_name(), agent.id());
        }
        let shown = Agent::ClaudeCode.parts("https://llm.example.com", "tp-abc.def");
        assert_eq!(
            shown[0].text,
            "{\n  \"env\": {\n    \"ANTHROPIC_BASE_URL\": \"https://llm.example.com\",\n    \"ANTHROPIC_AUTH_TOKEN\": \"tp-abc.def\"\n  }\n}"
        );
        let shown = Agent::Codex.parts("https://llm.example.com", "tp-abc.def");
        assert_eq!(
            shown[0].text,
            "model_provider = \"turnpike\"\n\n[model_providers.turnpike]\nname = \"Turnpike\"\nbase_url = \"https://llm.example.com/v1\"\nenv_key = \"TURNPIKE_TOKEN\"\nwire_api = \"responses\""
        );
    }
}
