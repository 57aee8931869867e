"""The OpenAI SDK for Python."""

import io

import openai
from openai import AsyncOpenAI, OpenAI

from expect import KEY, NARROW_KEY, TEXT, URL, WRONG_KEY, refusal

HELLO = [{"role": "user", "content": "Hello?"}]


def client(key=KEY):
    return OpenAI(base_url=f"{URL}/v1", api_key=key, timeout=20)


def test_chat():
    answer = client().chat.completions.create(model="gpt-4o-mini", messages=HELLO)
    assert answer.choices[0].message.content == TEXT
    assert answer.choices[0].finish_reason == "stop"
    assert answer.model == "gpt-4o-mini"
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + answer.usage.completion_tokens > 0


def test_chat_has_a_request_id():
    answer = client().chat.completions.with_raw_response.create(
        model="gpt-4o-mini", messages=HELLO, extra_headers={"x-request-id": "sdk-suite-1"}
    )
    assert answer.request_id == "sdk-suite-1"


def test_streamed_chat():
    stream = client().chat.completions.create(
        model="gpt-4o-mini", messages=HELLO, stream=True, stream_options={"include_usage": True}
    )
    chunks = list(stream)
    assert "".join(c.choices[0].delta.content or "" for c in chunks if c.choices) == TEXT
    assert chunks[-1].usage.completion_tokens > 0


async def test_asynchronous_chat_and_stream():
    async with AsyncOpenAI(base_url=f"{URL}/v1", api_key=KEY, timeout=20) as own:
        answer = await own.chat.completions.create(model="gpt-4o-mini", messages=HELLO)
        assert answer.choices[0].message.content == TEXT
        async with own.chat.completions.stream(model="gpt-4o-mini", messages=HELLO) as stream:
            final = await stream.get_final_completion()
        assert final.choices[0].message.content == TEXT


def test_a_stream_left_early_leaves_the_client_usable():
    own = client()
    with own.chat.completions.create(model="gpt-4o-mini", messages=HELLO, stream=True) as stream:
        next(iter(stream))
    test = own.chat.completions.create(model="gpt-4o-mini", messages=HELLO)
    assert test.choices[0].message.content == TEXT


def test_responses():
    answer = client().responses.create(model="gpt-4o-mini", input="Hello?")
    assert answer.output_text == TEXT
    assert answer.status == "completed"
    assert answer.usage.output_tokens > 0


def test_streamed_responses():
    with client().responses.stream(model="gpt-4o-mini", input="Hello?") as stream:
        text = "".join(e.delta for e in stream if e.type == "response.output_text.delta")
        final = stream.get_final_response()
    assert text == final.output_text == TEXT


def test_completions():
    answer = client().completions.create(model="gpt-3.5-turbo-instruct", prompt="Hello?")
    assert answer.choices[0].text == TEXT


def test_embeddings():
    answer = client().embeddings.create(model="text-embedding-3-small", input=["one", "two"])
    assert [e.index for e in answer.data] == [0, 1]
    assert all(isinstance(x, float) for x in answer.data[0].embedding)


def test_moderation():
    answer = client().moderations.create(model="omni-moderation-latest", input="Hello?")
    assert answer.results[0].flagged is False


def test_images():
    answer = client().images.generate(model="gpt-image-1", prompt="a toll booth")
    assert answer.data[0].b64_json or answer.data[0].url


def test_speech():
    answer = client().audio.speech.create(model="tts-1", voice="alloy", input="Hello.")
    assert len(answer.content) > 0


def test_transcription():
    file = ("hello.wav", io.BytesIO(b"RIFF" + bytes(2048)), "audio/wav")
    answer = client().audio.transcriptions.create(model="whisper-1", file=file)
    assert answer.text


def test_a_call_without_a_model_needs_one_provider_alone():
    with refusal(openai.BadRequestError, "one provider alone"):
        client().files.create(file=("a.jsonl", io.BytesIO(b"{}\n")), purpose="batch")


def test_models():
    own = client()
    names = [model.id for model in own.models.list()]
    assert "gpt-4o" in names and "broken" in names, names
    assert not any(name.startswith(("claude", "gemini")) for name in names), names
    assert own.models.retrieve("gpt-4o").owned_by == "openai"


def test_models_of_a_narrow_key():
    assert [model.id for model in client(NARROW_KEY).models.list()] == ["gpt-4o-mini"]


def test_a_wrong_key_is_told_at_once():
    with refusal(openai.AuthenticationError, "401", "key"):
        client(WRONG_KEY).chat.completions.create(model="gpt-4o-mini", messages=HELLO)


def test_an_unknown_model_is_told_at_once():
    with refusal(openai.NotFoundError, "no-such-model", "/v1/models") as _:
        client().chat.completions.create(model="no-such-model", messages=HELLO)


def test_a_denied_model_is_told_at_once():
    with refusal(openai.PermissionDeniedError, "gpt-4o"):
        client(NARROW_KEY).chat.completions.create(model="gpt-4o", messages=HELLO)


def test_another_dialects_model_names_its_path():
    with refusal(openai.BadRequestError, "claude-haiku-4-5", "/v1/messages"):
        client().chat.completions.create(model="claude-haiku-4-5", messages=HELLO)


def test_a_body_that_is_not_json_is_a_bad_request():
    with refusal(openai.BadRequestError, "400"):
        client().post("/chat/completions", cast_to=object, content=b"{", options={"headers": {"content-type": "application/json"}})


def test_a_provider_that_fails_is_a_server_error():
    own = client().with_options(max_retries=0)
    with refusal(openai.InternalServerError):
        own.chat.completions.create(model="broken", messages=HELLO)


def test_a_stream_that_breaks_off_is_an_error():
    stream = client().chat.completions.create(model="cutting", messages=HELLO, stream=True)
    text = ""
    try:
        for chunk in stream:
            text += chunk.choices[0].delta.content or ""
    except openai.APIError as error:
        assert TEXT.startswith(text)
        assert "provider" in error.message or "upstream" in error.message, error.message
        return
    raise AssertionError("a stream that broke off looked whole")
