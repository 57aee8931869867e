"""Nobody has signed in: each SDK reads the answer that says so as any other of a model."""

import os

from anthropic import Anthropic
from google import genai
from google.genai import types
from openai import OpenAI

from test_claude_code import claude

URL = os.environ["SDK_SUITE_LOGIN_URL"]
HELLO = [{"role": "user", "content": "Hello?"}]


def told(text):
    assert text.startswith("Authentication Required\n"), text
    assert f"{URL}/auth/login?token=" in text, text


def openai():
    return OpenAI(base_url=f"{URL}/v1", api_key="put-your-key-here", timeout=20)


def anthropic():
    return Anthropic(base_url=URL, api_key="put-your-key-here", timeout=20)


def google():
    return genai.Client(api_key="put-your-key-here", http_options=types.HttpOptions(base_url=URL, timeout=20_000))


def test_openai_chat():
    answer = openai().chat.completions.create(model="gpt-4o-mini", messages=HELLO)
    told(answer.choices[0].message.content)
    assert answer.choices[0].finish_reason == "stop" and answer.model == "gpt-4o-mini"
    assert answer.usage.total_tokens == 0 and answer.id.startswith("chatcmpl-sandbox-")


def test_openai_chat_streamed():
    asked = {"stream": True, "stream_options": {"include_usage": True}}
    chunks = list(openai().chat.completions.create(model="gpt-4o-mini", messages=HELLO, **asked))
    told("".join(c.choices[0].delta.content or "" for c in chunks if c.choices))
    assert chunks[-1].usage.total_tokens == 0
    plain = list(openai().chat.completions.create(model="gpt-4o-mini", messages=HELLO, stream=True))
    told("".join(c.choices[0].delta.content or "" for c in plain))


def test_openai_responses():
    told(openai().responses.create(model="gpt-5", input="Hello?").output_text)


def test_openai_responses_streamed():
    with openai().responses.stream(model="gpt-5", input="Hello?") as stream:
        for _ in stream:
            pass
        answer = stream.get_final_response()
    told(answer.output_text)
    assert answer.status == "completed" and answer.model == "gpt-5"


def test_anthropic():
    answer = anthropic().messages.create(model="claude-sonnet-4-5", max_tokens=9, messages=HELLO)
    told(answer.content[0].text)
    assert answer.stop_reason == "end_turn" and answer.id.startswith("msg_sandbox_")


def test_anthropic_streamed():
    with anthropic().messages.stream(model="claude-sonnet-4-5", max_tokens=9, messages=HELLO) as stream:
        told("".join(stream.text_stream))
        assert stream.get_final_message().usage.output_tokens == 0


def test_google():
    own = google()
    answer = own.models.generate_content(model="gemini-2.5-flash", contents="Hello?")
    told(answer.text)
    assert answer.candidates[0].finish_reason == types.FinishReason.STOP


def test_google_streamed():
    own = google()
    pieces = own.models.generate_content_stream(model="gemini-2.5-flash", contents="Hello?")
    told("".join(piece.text or "" for piece in pieces))


def test_claude_code_shows_it():
    done, _ = claude("put-your-key-here", ANTHROPIC_BASE_URL=URL)
    assert done.returncode == 0, (done.stdout, done.stderr)
    told(done.stdout.strip())
