"""Google's GenAI SDK for Python."""

from google import genai
from google.genai import errors, types

from expect import KEY, TEXT, URL, WRONG_KEY, refusal

MODEL = "gemini-2.5-flash"


def client(key=KEY, **options):
    return genai.Client(api_key=key, http_options=types.HttpOptions(base_url=URL, timeout=20_000, **options))


def test_generate_content():
    # The client is named wherever it is used: one that nobody holds closes itself.
    own = client()
    answer = own.models.generate_content(model=MODEL, contents="Hello?")
    assert answer.text == TEXT
    assert answer.candidates[0].finish_reason == types.FinishReason.STOP
    assert answer.usage_metadata.total_token_count > 0


def test_generate_content_without_the_beta():
    own = client(api_version="v1")
    answer = own.models.generate_content(model=MODEL, contents="Hello?")
    assert answer.text == TEXT


def test_streamed_content():
    own = client()
    chunks = list(own.models.generate_content_stream(model=MODEL, contents="Hello?"))
    assert "".join(chunk.text or "" for chunk in chunks) == TEXT
    assert chunks[-1].usage_metadata.candidates_token_count > 0


async def test_asynchronous_content():
    holder = client()
    own = holder.aio
    answer = await own.models.generate_content(model=MODEL, contents="Hello?")
    assert answer.text == TEXT
    text = ""
    async for chunk in await own.models.generate_content_stream(model=MODEL, contents="Hello?"):
        text += chunk.text or ""
    assert text == TEXT
    await own.aclose()


def test_count_tokens():
    own = client()
    assert own.models.count_tokens(model=MODEL, contents="Hello?").total_tokens > 0


def test_embed_content():
    own = client()
    answer = own.models.embed_content(model="gemini-embedding-001", contents=["one", "two"])
    assert len(answer.embeddings) == 2
    assert answer.embeddings[0].values


def test_models():
    own = client()
    names = [model.name for model in own.models.list()]
    assert f"models/{MODEL}" in names, names
    assert all("gemini" in name for name in names), names
    assert own.models.get(model=MODEL).name == f"models/{MODEL}"


def test_a_wrong_key_is_told_at_once():
    own = client(WRONG_KEY)
    with refusal(errors.ClientError, "401", "UNAUTHENTICATED", "key"):
        own.models.generate_content(model=MODEL, contents="Hello?")


def test_an_unknown_model_is_told_at_once():
    own = client()
    with refusal(errors.ClientError, "404", "NOT_FOUND", "no-such-model"):
        own.models.generate_content(model="no-such-model", contents="Hello?")


def test_a_wrong_key_of_a_stream_is_told_at_once():
    own = client(WRONG_KEY)
    with refusal(errors.ClientError, "401", "UNAUTHENTICATED"):
        list(own.models.generate_content_stream(model=MODEL, contents="Hello?"))
