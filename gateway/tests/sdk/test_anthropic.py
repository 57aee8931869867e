"""Anthropic's SDK for Python."""

import anthropic
from anthropic import Anthropic, AsyncAnthropic

from expect import KEY, TEXT, URL, WRONG_KEY, refusal

HELLO = [{"role": "user", "content": "Hello?"}]
MODEL = "claude-haiku-4-5"


def client(key=KEY):
    return Anthropic(base_url=URL, api_key=key, timeout=20)


def test_messages():
    answer = client().messages.create(model=MODEL, max_tokens=64, messages=HELLO)
    assert answer.content[0].text == TEXT
    assert answer.stop_reason == "end_turn"
    assert answer.model == MODEL
    assert answer.usage.output_tokens > 0


def test_messages_with_a_bearer_token():
    own = Anthropic(base_url=URL, auth_token=KEY, api_key=None, timeout=20)
    answer = own.messages.create(model=MODEL, max_tokens=64, messages=HELLO)
    assert answer.content[0].text == TEXT


def test_beta_messages():
    answer = client().beta.messages.create(
        model=MODEL, max_tokens=64, messages=HELLO, betas=["context-1m-2025-08-07"]
    )
    assert answer.content[0].text == TEXT


def test_streamed_messages():
    with client().messages.stream(model=MODEL, max_tokens=64, messages=HELLO) as stream:
        text = "".join(stream.text_stream)
        final = stream.get_final_message()
    assert text == TEXT == final.content[0].text
    assert final.stop_reason == "end_turn"
    assert final.usage.output_tokens > 0


async def test_asynchronous_messages():
    async with AsyncAnthropic(base_url=URL, api_key=KEY, timeout=20) as own:
        async with own.messages.stream(model=MODEL, max_tokens=64, messages=HELLO) as stream:
            final = await stream.get_final_message()
    assert final.content[0].text == TEXT


def test_count_tokens():
    assert client().messages.count_tokens(model=MODEL, messages=HELLO).input_tokens > 0


def test_models():
    own = client()
    names = [model.id for model in own.models.list()]
    assert MODEL in names, names
    assert all(name.startswith("claude") for name in names), names
    assert own.models.retrieve(MODEL).id == MODEL


def test_a_wrong_key_is_told_at_once():
    with refusal(anthropic.AuthenticationError, "authentication_error", "key"):
        client(WRONG_KEY).messages.create(model=MODEL, max_tokens=64, messages=HELLO)


def test_an_unknown_model_is_told_at_once():
    with refusal(anthropic.NotFoundError, "no-such-model"):
        client().messages.create(model="no-such-model", max_tokens=64, messages=HELLO)


def test_another_dialects_model_names_its_path():
    with refusal(anthropic.BadRequestError, "gpt-4o", "/v1/chat/completions"):
        client().messages.create(model="gpt-4o", max_tokens=64, messages=HELLO)
