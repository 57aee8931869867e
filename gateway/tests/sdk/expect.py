"""What every SDK's tests expect alike."""

import os
import time
import urllib.request
from contextlib import contextmanager

URL = os.environ["SDK_SUITE_URL"]
KEY = os.environ["SDK_SUITE_KEY"]
NARROW_KEY = os.environ["SDK_SUITE_NARROW_KEY"]
WRONG_KEY = os.environ["SDK_SUITE_WRONG_KEY"]
TEXT = os.environ["SDK_SUITE_TEXT"]


def requests_seen():
    """How many requests the gateway has counted."""
    metrics = urllib.request.urlopen(f"{os.environ['SDK_SUITE_ADMIN']}/metrics", timeout=5)
    lines = metrics.read().decode().splitlines()
    return sum(float(line.rsplit(" ", 1)[1]) for line in lines if line.startswith("turnpike_requests_total{"))


@contextmanager
def refusal(kind, *texts):
    """The SDK raises `kind`, after one request and without a pause, and its text tells a person
    what to do."""
    before, start = requests_seen(), time.monotonic()
    try:
        yield
    except kind as error:
        took = time.monotonic() - start
        for text in texts:
            assert text in str(error), f"{text!r} is not in {error}"
        assert took < 5, f"{took:.1f} s until the refusal showed"
        sent = requests_seen() - before
        assert sent == 1, f"{sent:.0f} requests were sent"
    else:
        raise AssertionError(f"no {kind.__name__} was raised")
