"""Answers over HTTP, bounded in time and in size, whoever answers: a client's own timeout is of the next bytes only."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    import httpx

LARGEST_ANSWER = 32 << 20
"""Bytes."""
UNCOMPRESSED = {"Accept-Encoding": "identity"}
"""What is compressed is of no size that could be bounded."""


class Slow(Exception):
    """The answer was not all there in time."""


class Unwelcome(Exception):
    """The answer is larger than any should be, or compressed. The text goes on from "it answers "."""


class Answer(NamedTuple):
    status: int
    kind: str
    location: str
    content: bytes

    @property
    def is_success(self) -> bool:
        return 200 <= self.status < 300


def answer_of(
    client: httpx.Client,
    method: str,
    url: str,
    body: bytes | None,
    timeout_s: float,
    largest: int | None = None,
) -> Answer:
    """`largest` in bytes, `LARGEST_ANSWER` unless given; `client` has the headers `UNCOMPRESSED`.

    Raises Slow, Unwelcome, and what httpx raises.
    """
    bound = LARGEST_ANSWER if largest is None else largest
    deadline = time.monotonic() + timeout_s
    content = bytearray()
    with client.stream(method, url, content=body, timeout=timeout_s) as response:
        if (encoding := response.headers.get("content-encoding", "identity")) != "identity":
            raise Unwelcome(f"in {encoding[:20]!r}, which it was asked not to")
        for chunk in response.iter_raw():
            content += chunk
            if len(content) > bound:
                raise Unwelcome(f"with more than {bound >> 20} MB")
            if time.monotonic() > deadline:
                raise Slow(f"no whole answer within {timeout_s:g} s")
        headers = response.headers
        return Answer(
            response.status_code, headers.get("content-type", ""), headers.get("location", ""), bytes(content)
        )
