"""The promises of the port Embedder, for every adapter; then what the HTTP adapter adds to them."""

from __future__ import annotations

import math
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import pytest

from soma_cli.core.adapters.embedder.openai_http import OpenAIHttpEmbedder
from soma_cli.core.errors import ConfigurationError, ServiceUnavailable, ValueRefused
from soma_cli.core.ports import Embedder
from soma_cli.core.settings import EmbedderSettings
from tests.services.embedding_server import control, running_embedding_server, stats

ROOT = Path(__file__).parents[2]
TEXTS = [f"memory {word}" for word in ("apple", "bridge", "candle", "desert", "engine", "forest", "garden")]
KEY = "sk-top-secret-key"


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    with running_embedding_server() as url:
        yield url


@pytest.fixture
def url(server: str) -> str:
    control(server)
    return server


@pytest.fixture
def make(url: str) -> Iterator[Callable[..., OpenAIHttpEmbedder]]:
    """An embedder for the server, `changes` being fields of its settings; closed after the test."""
    with ExitStack() as stack:

        def build(**changes: Any) -> OpenAIHttpEmbedder:
            settings = EmbedderSettings(kind="openai_http", model="words", url=url, timeout_s=10.0)
            embedder = OpenAIHttpEmbedder(replace(settings, **changes))
            stack.callback(embedder.close)
            return embedder

        yield build


def unused_address() -> str:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{taken.getsockname()[1]}"


def cosine(a: list[float], b: list[float]) -> float:
    return sum(x * y for x, y in zip(a, b, strict=True)) / math.hypot(*a) / math.hypot(*b)


# --- the promises, for every adapter -----------------------------------------------------------------------------


class HttpBench:
    """How the promises are put to the test on one adapter; another adapter brings a bench of its own."""

    def __init__(self, url: str, make: Callable[..., OpenAIHttpEmbedder]) -> None:
        self.url, self.make = url, make

    def working(self) -> Embedder:
        return self.make(batch_size=3)

    def out_of_service(self) -> Embedder:
        return self.make(url=unused_address())

    def misconfigured(self) -> Embedder:
        control(self.url, unknown_model=True)
        return self.make(model="no-such-model")

    def refusing(self, word: str) -> Embedder:
        control(self.url, refuse_containing=word)
        return self.make(batch_size=3)


@pytest.fixture(params=[pytest.param(HttpBench, id="openai_http")])
def bench(request: pytest.FixtureRequest, url: str, make: Callable[..., OpenAIHttpEmbedder]) -> HttpBench:
    return request.param(url, make)


def test_order_is_kept(bench: HttpBench) -> None:
    embedder = bench.working()
    alone = [embedder.embed([text])[0] for text in TEXTS]
    together = embedder.embed(TEXTS)
    assert len(together) == len(TEXTS)
    for index, vector in enumerate(together):
        nearest = max(range(len(TEXTS)), key=lambda other: cosine(vector, alone[other]))
        assert nearest == index
    assert len({len(vector) for vector in together}) == 1
    assert all(type(x) is float and math.isfinite(x) for vector in together for x in vector)
    assert embedder.embed([]) == []


def test_texts_that_share_words_are_near(bench: HttpBench) -> None:
    query, same, other = bench.working().embed(["a bridge of steel", "steel bridges", "the garden in winter"])
    assert cosine(query, same) > cosine(query, other) + 0.3


def test_transient_or_not_service_away(bench: HttpBench) -> None:
    with pytest.raises(ServiceUnavailable) as caught:
        bench.out_of_service().embed(TEXTS)
    assert caught.value.hint


def test_transient_or_not_configuration(bench: HttpBench) -> None:
    with pytest.raises(ConfigurationError) as caught:
        bench.misconfigured().embed(TEXTS)
    assert "no-such-model" in caught.value.message


def test_transient_or_not_one_text_refused(bench: HttpBench) -> None:
    with pytest.raises(ValueRefused) as caught:
        bench.refusing("engine").embed(TEXTS)
    assert caught.value.details["index"] == 4


def test_progress_is_told(bench: HttpBench) -> None:
    told: list[None] = []
    bench.working().embed(TEXTS, lambda: told.append(None))
    assert len(told) >= 3
    del told[:]
    with pytest.raises(ValueRefused):
        bench.refusing("engine").embed(TEXTS, lambda: told.append(None))
    assert len(told) > 3, "an answer that refuses is one too"


def test_the_model_revision_is_a_name(bench: HttpBench) -> None:
    revision = bench.working().model_revision
    assert revision
    assert revision == bench.working().model_revision


# --- requests ----------------------------------------------------------------------------------------------------


def test_batches_have_the_size_set(url: str, make: Callable[..., OpenAIHttpEmbedder]) -> None:
    make(batch_size=3).embed(TEXTS)
    assert stats(url)["batches"] == [3, 3, 1]


def test_no_texts_need_no_request(url: str, make: Callable[..., OpenAIHttpEmbedder]) -> None:
    assert make().embed([]) == []
    assert stats(url)["requests"] == 0


@pytest.mark.parametrize("fault", ["shuffle", "no_index"])
def test_vectors_are_put_in_order(url: str, make: Callable[..., OpenAIHttpEmbedder], fault: str) -> None:
    expected = make().embed(TEXTS)
    control(url, **{fault: True})
    assert make().embed(TEXTS) == expected


@pytest.mark.parametrize("suffix", ["", "/", "/v1", "/v1/"])
def test_the_path_is_added_to_the_address(make: Callable[..., OpenAIHttpEmbedder], url: str, suffix: str) -> None:
    assert make(url=url + suffix).embed(["one"])


def test_the_dimension_is_asked_for(make: Callable[..., OpenAIHttpEmbedder]) -> None:
    assert [len(vector) for vector in make(dimension=24).embed(TEXTS[:2])] == [24, 24]


def test_the_key_is_sent(url: str, make: Callable[..., OpenAIHttpEmbedder]) -> None:
    control(url, require_key=KEY)
    assert make(api_key=KEY).embed(["one"])


def test_no_proxy_stands_before_the_loopback(
    make: Callable[..., OpenAIHttpEmbedder], monkeypatch: pytest.MonkeyPatch, url: str
) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, unused_address())
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    assert make().embed(["one"])
    assert make(url=url.replace("127.0.0.1", "localhost")).embed(["one"])


def test_a_proxy_that_cannot_be_used_is_a_configuration_error(
    make: Callable[..., OpenAIHttpEmbedder], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ALL_PROXY", "gopher://127.0.0.1:1")
    with pytest.raises(ConfigurationError, match="cannot be asked"):
        make(url="http://embeddings.invalid").embed(["one"])


def test_threads_share_one_embedder(make: Callable[..., OpenAIHttpEmbedder]) -> None:
    embedder = make(batch_size=2)
    expected = embedder.embed(TEXTS)
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(lambda _: embedder.embed(TEXTS), range(24))) == [expected] * 24


def test_close_closes_the_connections(make: Callable[..., OpenAIHttpEmbedder]) -> None:
    embedder = make()
    embedder.close()
    embedder.embed(["one"])
    client = embedder._client
    assert client is not None
    embedder.close()
    embedder.close()
    assert client.is_closed


def test_making_an_embedder_imports_no_client() -> None:
    done = run_python(
        "import sys\n"
        "from soma_cli.core.adapters.embedder.openai_http import OpenAIHttpEmbedder\n"
        "from soma_cli.core.settings import EmbedderSettings\n"
        "embedder = OpenAIHttpEmbedder(EmbedderSettings(model='m', url='http://localhost'))\n"
        "print(embedder.model_revision, {'httpx', 'stamina'} & set(sys.modules))"
    )
    assert done.stdout == "m set()\n", done.stderr


# --- retries -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [429, 500, 503])
def test_a_passing_fault_is_retried(url: str, make: Callable[..., OpenAIHttpEmbedder], status: int) -> None:
    control(url, fail_next=[status, status])
    assert len(make().embed(TEXTS)) == len(TEXTS)
    assert stats(url)["requests"] == 3


def test_a_dropped_connection_is_retried(url: str, make: Callable[..., OpenAIHttpEmbedder]) -> None:
    control(url, drop_next=1)
    assert make().embed(["one"])
    assert stats(url)["requests"] == 2


def test_a_lasting_fault_is_given_up(url: str, make: Callable[..., OpenAIHttpEmbedder]) -> None:
    control(url, fail_next=[503] * 10)
    with pytest.raises(ServiceUnavailable, match="HTTP 503: failing on demand") as caught:
        make().embed(TEXTS)
    assert stats(url)["requests"] == 3
    assert caught.value.code == "embedder_unavailable"


def test_a_server_that_is_gone_is_named(make: Callable[..., OpenAIHttpEmbedder]) -> None:
    address = unused_address()
    with pytest.raises(ServiceUnavailable) as caught:
        make(url=address, api_key=KEY).embed(TEXTS)
    assert address in caught.value.message
    assert "words" in caught.value.message
    assert caught.value.code == "embedder_unavailable"
    assert KEY not in f"{caught.value.message}{caught.value.details}"


@pytest.mark.parametrize("slow", [{"delay_s": 5.0}, {"trickle_s": 0.05}])
def test_a_slow_answer_is_given_up_in_time(
    url: str, make: Callable[..., OpenAIHttpEmbedder], slow: dict[str, float]
) -> None:
    control(url, **slow)
    began = time.monotonic()
    with pytest.raises(ServiceUnavailable, match="within"):
        make(timeout_s=0.5).embed(["one"])
    assert time.monotonic() - began < 4.5


def in_two_seconds() -> str:
    return format_datetime(datetime.now(UTC) + timedelta(seconds=2), usegmt=True)


@pytest.mark.parametrize("retry_after", [lambda: "1", in_two_seconds])
def test_retry_after_is_kept(url: str, make: Callable[..., OpenAIHttpEmbedder], retry_after: Callable[[], str]) -> None:
    began = time.monotonic()
    control(url, fail_next=[429], retry_after=retry_after())
    assert make().embed(["one"])
    assert 0.9 < time.monotonic() - began < 10


def test_retry_after_is_no_longer_than_the_timeout(url: str, make: Callable[..., OpenAIHttpEmbedder]) -> None:
    control(url, fail_next=[429], retry_after="3600")
    began = time.monotonic()
    with pytest.raises(ServiceUnavailable, match="HTTP 429"):
        make(timeout_s=4.5).embed(["one"])
    assert time.monotonic() - began < 4.0


def test_retry_after_is_capped(
    url: str, make: Callable[..., OpenAIHttpEmbedder], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("soma_cli.core.adapters.embedder.openai_http.RETRY_AFTER_MAX_S", 0.2)
    control(url, fail_next=[429], retry_after="3600")
    assert make().embed(["one"])


@pytest.mark.parametrize("retry_after", ["0", "-1", "soon", "Wed, 21 Oct 2015 07:28:00 GMT"])
def test_a_retry_after_that_has_passed_or_makes_no_sense(
    url: str, make: Callable[..., OpenAIHttpEmbedder], retry_after: str
) -> None:
    control(url, fail_next=[429], retry_after=retry_after)
    assert make().embed(["one"])


QUIETLY = """
import stamina
from stamina.instrumentation import set_on_retry_hooks
from soma_cli.core.adapters.embedder.openai_http import OpenAIHttpEmbedder
from soma_cli.core.errors import ServiceUnavailable
from soma_cli.core.settings import EmbedderSettings

{before}
embedder = OpenAIHttpEmbedder(EmbedderSettings(model="m", url="{url}"))
try:
    embedder.embed(["one"])
except ServiceUnavailable:
    embedder.close()
for attempt in stamina.retry_context(on=KeyError, attempts=2, wait_initial=0.01, wait_jitter=0):
    with attempt:
        if {fail} and attempt.num == 1:
            raise KeyError
"""


def test_retries_print_nothing() -> None:
    done = run_python(QUIETLY.format(before="", url=unused_address(), fail=False))
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_the_retries_of_others_are_still_reported() -> None:
    hook = "set_on_retry_hooks([lambda details: print('retried', details.caused_by.__class__.__name__)])"
    done = run_python(QUIETLY.format(before=hook, url=unused_address(), fail=True))
    assert (done.returncode, done.stdout, done.stderr) == (0, "retried KeyError\n", "")


def run_python(script: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, timeout=60)


# --- settings that cannot work -----------------------------------------------------------------------------------


@pytest.mark.parametrize("changes", [{"url": None}, {"model": None}, {"url": "http://[::1"}])
def test_what_is_missing_is_named(make: Callable[..., OpenAIHttpEmbedder], changes: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError, match=f"embedder.{next(iter(changes))}"):
        make(**changes)


@pytest.mark.parametrize("key", [f"{KEY}\n", f"{KEY} ", f"{KEY}é"])
def test_a_key_that_no_header_holds_is_not_shown(make: Callable[..., OpenAIHttpEmbedder], key: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        make(api_key=key)
    assert KEY not in caught.value.message


def test_a_refused_key_is_a_configuration_error(url: str, make: Callable[..., OpenAIHttpEmbedder]) -> None:
    control(url, require_key="another")
    with pytest.raises(ConfigurationError, match=r"refuses the key: HTTP 401: incorrect key: Bearer \*\*\*") as caught:
        make(api_key=KEY).embed(TEXTS)
    assert stats(url)["requests"] == 1
    assert "embedder.api_key" in caught.value.hint
    assert KEY not in f"{caught.value.message}{caught.value.details}"


REFUSALS = {403: "refuses the key", 404: "does not know the model or the path"}
REFUSALS |= dict.fromkeys((301, 405, 410), "does not answer as an embedding service does")


@pytest.mark.parametrize("status", REFUSALS)
def test_other_refusals_are_configuration_errors(
    url: str, make: Callable[..., OpenAIHttpEmbedder], status: int
) -> None:
    control(url, fail_next=[status])
    with pytest.raises(ConfigurationError, match=f"{REFUSALS[status]}: HTTP {status}"):
        make().embed(TEXTS)
    assert stats(url)["requests"] == 1


def test_an_address_of_another_scheme_is_a_configuration_error(make: Callable[..., OpenAIHttpEmbedder]) -> None:
    with pytest.raises(ConfigurationError, match="cannot be asked"):
        make(url="ftp://127.0.0.1/v1").embed(["one"])


def test_secrets_of_the_address_are_not_shown(make: Callable[..., OpenAIHttpEmbedder]) -> None:
    address = unused_address()
    secret = address.replace("http://", "http://user:pass-word@") + "?token=to-ken"
    with pytest.raises(ServiceUnavailable) as caught:
        make(url=secret).embed(["one"])
    shown = f"{caught.value.message}{caught.value.details}"
    assert address in shown
    assert "pass-word" not in shown
    assert "to-ken" not in shown


# --- texts that are refused --------------------------------------------------------------------------------------


def test_every_refused_text_is_found(url: str, make: Callable[..., OpenAIHttpEmbedder]) -> None:
    texts = [f"{'long' if number in (2, 3, 17) else 'short'} {number}" for number in range(20)]
    control(url, refuse_containing="long")
    with pytest.raises(ValueRefused, match=r"index 2 \(and 2 more\): HTTP 400: a text is too long") as caught:
        make(batch_size=8).embed(texts)
    assert caught.value.details["index"] == 2
    assert [refused["index"] for refused in caught.value.details["refused"]] == [2, 3, 17]
    assert "HTTP 400" in caught.value.details["refused"][2]["message"]
    probe = 1  # is any text taken? asked once
    assert stats(url)["batches"] == [8, 4, 2, 2, 1, probe, 1, 4, 8, 4, 2, 1, 1, 2]
    others = [text for index, text in enumerate(texts) if index not in (2, 3, 17)]
    assert len(make(batch_size=8).embed(others)) == 17


@pytest.mark.parametrize("status", [400, 413, 422])
def test_a_batch_refused_for_its_size_is_halved(url: str, make: Callable[..., OpenAIHttpEmbedder], status: int) -> None:
    expected = make().embed(TEXTS)
    control(url, fail_next=[status], max_texts=2)
    assert make().embed(TEXTS) == expected
    assert stats(url)["batches"] == [7, 3, 1, 2, 4, 2, 2]


def test_a_service_that_refuses_every_text_blames_no_text(url: str, make: Callable[..., OpenAIHttpEmbedder]) -> None:
    control(url, fixed_dimension=True)
    with pytest.raises(ConfigurationError, match="refuses every text: HTTP 400: this model takes no dim") as caught:
        make(dimension=64).embed(TEXTS)
    assert "embedder.dimension" in caught.value.hint
    assert stats(url)["requests"] <= 4


def test_a_text_that_is_not_unicode_is_refused(make: Callable[..., OpenAIHttpEmbedder]) -> None:
    with pytest.raises(ValueRefused, match="index 1: the text is not valid Unicode"):
        make().embed(["one", "\ud800", "three"])


@pytest.mark.parametrize("kind", ["nan", "null", "text"])
def test_a_text_without_a_usable_vector_is_refused(
    url: str, make: Callable[..., OpenAIHttpEmbedder], kind: str
) -> None:
    control(url, spoil_containing="forest", spoil_with=kind)
    with pytest.raises(ValueRefused, match=r"index 5: .*no finite numbers") as caught:
        make().embed(TEXTS)
    assert len(caught.value.details["refused"]) == 1


# --- answers that are none ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["nan", "null", "text"])
def test_a_service_without_usable_vectors_is_out_of_order(
    url: str, make: Callable[..., OpenAIHttpEmbedder], kind: str
) -> None:
    control(url, spoil_containing="", spoil_with=kind)
    with pytest.raises(ServiceUnavailable, match="no finite numbers"):
        make().embed(TEXTS)


@pytest.mark.parametrize("more", [1, -1])
def test_a_wrong_count_is_no_answer(url: str, make: Callable[..., OpenAIHttpEmbedder], more: int) -> None:
    control(url, wrong_count=more)
    with pytest.raises(ServiceUnavailable, match=f"{7 + more} vectors for 7 texts") as caught:
        make().embed(TEXTS)
    assert caught.value.code == "embedder_unavailable"


def test_two_vectors_for_one_text_are_no_answer(url: str, make: Callable[..., OpenAIHttpEmbedder]) -> None:
    control(url, twice_the_same_index=True)
    with pytest.raises(ServiceUnavailable, match="not that of an embedding service"):
        make().embed(TEXTS)


def test_another_dimension_than_the_one_set_is_a_configuration_error(
    url: str, make: Callable[..., OpenAIHttpEmbedder]
) -> None:
    control(url, wrong_dimension=True)
    with pytest.raises(ConfigurationError, match=r"dimension 33; embedder\.dimension is 32") as caught:
        make(dimension=32).embed(TEXTS)
    assert caught.value.code == "embedder_dimension"


def test_vectors_of_two_dimensions_are_no_answer(url: str, make: Callable[..., OpenAIHttpEmbedder]) -> None:
    control(url, mixed_dimension=True)
    with pytest.raises(ServiceUnavailable, match="64, 65"):
        make().embed(TEXTS)


BODIES = ["", "<html>hello</html>", "[]", "{}", '{"data": 3}', '{"data": [1, 2]}', '{"data": [{"index": []}, {}]}']


@pytest.mark.parametrize("body", [*BODIES, pytest.param("[" * 100_000, id="deep")])
def test_a_body_of_another_kind_is_no_answer(url: str, make: Callable[..., OpenAIHttpEmbedder], body: str) -> None:
    control(url, body=body)
    with pytest.raises(ServiceUnavailable, match="not that of an embedding service"):
        make().embed(TEXTS[:2])


@pytest.mark.parametrize("value", ["1e400", "-1e39", "1" + "0" * 39, "true", '"1"', "NaN", "-Infinity"])
def test_only_numbers_of_single_precision_are_taken(
    url: str, make: Callable[..., OpenAIHttpEmbedder], value: str
) -> None:
    control(url, body=f'{{"data": [{{"index": 0, "embedding": [0, {value}]}}]}}')
    with pytest.raises(ServiceUnavailable, match="no finite numbers"):
        make().embed(["one"])
    control(url, body='{"data": [{"index": 0, "embedding": [0, 3.4e38]}]}')
    vectors = make().embed(["one"])
    assert vectors == [[0.0, 3.4e38]]
    assert type(vectors[0][0]) is float
