"""What the number of agent tokens costs: a request with one that is known, in instructions."""

from .counts import of_example
from .machine import say

SIZES = [1, 1_000, 100_000]
# Enough that what differs between two starts does not show.
REQUESTS = (20_000, 1_020_000)


def tokens(bench):
    found = {size: of_example(bench, "authenticate", [size], REQUESTS) for size in SIZES}
    said = ", ".join(f"{each:,.0f} of {size:,}" for size, each in found.items())
    say(f"  {said} tokens: instructions an authentication")
    return found
