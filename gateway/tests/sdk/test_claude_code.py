"""Claude Code, the command-line agent, without a network beyond this machine."""

import os
import subprocess
import tempfile
import time
from pathlib import Path

from expect import KEY, TEXT, URL, WRONG_KEY

CLAUDE = Path(__file__).parent / "node_modules" / ".bin" / "claude"


def claude(key, *arguments, **more):
    with tempfile.TemporaryDirectory(prefix="turnpike-claude-") as home:
        environment = {
            **os.environ,
            "HOME": home,
            "ANTHROPIC_BASE_URL": URL,
            "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
            "DISABLE_AUTOUPDATER": "1",
            "DISABLE_TELEMETRY": "1",
            **({"ANTHROPIC_AUTH_TOKEN": key} if key else {}),
            **more,
        }
        start = time.monotonic()
        done = subprocess.run(
            [CLAUDE, *arguments, "-p", "Say hello."],
            cwd=home,
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=60,
        )
        return done, time.monotonic() - start


def test_a_prompt_is_answered():
    done, _ = claude(KEY)
    assert done.returncode == 0 and TEXT in done.stdout, (done.stdout, done.stderr)


def test_a_prompt_is_answered_with_an_api_key():
    done, _ = claude(None, ANTHROPIC_API_KEY=KEY)
    assert done.returncode == 0 and TEXT in done.stdout, (done.stdout, done.stderr)


def test_a_wrong_key_is_told_at_once():
    done, took = claude(WRONG_KEY)
    assert done.returncode != 0, done.stdout
    assert "401" in done.stdout + done.stderr and "key" in done.stdout + done.stderr, (done.stdout, done.stderr)
    # A plain 401 is repeated in silence for 40 s.
    assert took < 20, f"{took:.1f} s until the refusal showed"
