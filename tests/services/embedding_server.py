"""An embedding service for tests: OpenAI's protocol, vectors without a model, and faults on demand.

    python -m tests.services.embedding_server --port 0      prints its port; ends when its stdin does

POST /embeddings (or /v1/embeddings)   {"model", "input", "dimensions"?}
POST /control                          replaces all faults by those named, see `Faults`
GET  /stats                            {"requests", "texts", "largest_batch", "batches"} since the last POST /control

The embedding is a hashed bag of word stems with signs, L2-normalised: deterministic, near 1 for texts of the same
words and around 0 for texts that share none. It knows no meaning: only words in common bring texts together.
"""

from __future__ import annotations

import argparse
import json
import math
import re
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from hashlib import blake2b
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

from tests.services.web import WebServer

ROOT = Path(__file__).parents[2]
DIMENSION = 64
STOP_WORDS = {"a", "an", "and", "are", "as", "at", "be", "by", "for", "from", "how", "in", "is", "it", "of", "on", "or"}
STOP_WORDS |= {"that", "the", "this", "to", "was", "what", "with"}
DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def embed(text: str, dimension: int = DIMENSION) -> list[float]:
    """The unit vector of the text's words, shape (dimension,). A text without words has that of itself as one word."""
    words = [word for word in re.findall(r"\w+", text.lower()) if word not in STOP_WORDS] or [text]
    vector = [0.0] * dimension
    for word in words:
        number = int.from_bytes(blake2b(_stem(word).encode(), digest_size=8).digest(), "big")
        vector[(number >> 1) % dimension] += 1.0 if number & 1 else -1.0
    length = math.sqrt(sum(x * x for x in vector))
    if length == 0:  # words that cancel each other out
        vector[0] = length = 1.0
    return [x / length for x in vector]


def _stem(word: str) -> str:
    for ending in ("ing", "ed", "es", "s", "e"):
        if word.endswith(ending) and len(word) - len(ending) >= 3:
            return word[: -len(ending)]
    return word


@dataclass
class Faults:
    fail_next: list[int] = field(default_factory=list)  # statuses of the next requests, in this order
    retry_after: str | None = None  # header sent with them
    drop_next: int = 0  # connections closed without an answer
    delay_s: float = 0.0  # before every answer
    trickle_s: float = 0.0  # between the bytes of every answer
    require_key: str | None = None  # else 401
    unknown_model: bool = False  # 404
    max_texts: int | None = None  # 413 above
    refuse_containing: str | None = None  # 400 where a text contains it; "" refuses every text
    fixed_dimension: bool = False  # 400 where the request names dimensions
    spoil_containing: str | None = None  # a vector of `spoil_with` for such a text; "" spoils every one
    spoil_with: str = "nan"  # "nan", "null" or "text"
    wrong_dimension: bool = False  # one number more in every vector
    mixed_dimension: bool = False  # one number more in the last vector
    wrong_count: int = 0  # that many vectors more (or fewer)
    twice_the_same_index: bool = False
    no_index: bool = False
    shuffle: bool = False  # the vectors in reverse order
    body: str | None = None  # the answer instead of JSON


@dataclass
class Stats:
    requests: int = 0
    texts: int = 0
    largest_batch: int = 0
    batches: list[int] = field(default_factory=list)


class EmbeddingServer(WebServer):
    request_queue_size = 128

    def __init__(self, port: int) -> None:
        super().__init__(("127.0.0.1", port), Handler)
        self.lock = threading.Lock()
        self.faults = Faults()
        self.stats = Stats()

    def control(self, faults: dict[str, Any]) -> None:
        with self.lock:
            self.faults, self.stats = Faults(**faults), Stats()

    def admit(self, texts: list[str]) -> int:
        """Count the request; the status that a fault gives it, 0 for a dropped connection, else 200."""
        with self.lock:
            self.stats.requests += 1
            self.stats.texts += len(texts)
            self.stats.batches.append(len(texts))
            self.stats.largest_batch = max(self.stats.largest_batch, len(texts))
            if self.faults.drop_next:
                self.faults.drop_next -= 1
                return 0
            return self.faults.fail_next.pop(0) if self.faults.fail_next else 200


class Handler(BaseHTTPRequestHandler):
    server: EmbeddingServer
    protocol_version = "HTTP/1.1"
    wbufsize = -1  # headers and body in one packet
    disable_nagle_algorithm = True

    def do_GET(self) -> None:
        if self.path != "/stats":
            return self._answer(404, {"error": {"message": f"no {self.path}"}})
        with self.server.lock:
            return self._answer(200, vars(self.server.stats))

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers.get("Content-Length", 0))) or b"{}")
        if self.path == "/control":
            try:
                self.server.control(body)
            except TypeError as error:
                return self._answer(400, {"error": {"message": str(error)}})
            return self._answer(200, {})
        if self.path not in ("/embeddings", "/v1/embeddings"):
            return self._answer(404, {"error": {"message": f"no {self.path}"}})
        return self._embeddings(body)

    def _embeddings(self, body: dict[str, Any]) -> None:
        texts = body["input"] if isinstance(body["input"], list) else [body["input"]]
        faults = self.server.faults
        status = self.server.admit(texts)
        time.sleep(faults.delay_s)
        if status == 0:
            self.close_connection = True
            return None
        if status == 200:
            status, message = self._refusal(faults, texts, body)
        else:
            message = "failing on demand"
        if status != 200:
            return self._answer(status, {"error": {"message": message, "code": status}})
        if faults.body is not None:
            return self._send(200, faults.body.encode())
        vectors = _vectors(faults, texts, body.get("dimensions") or DIMENSION)
        return self._answer(200, {"object": "list", "data": vectors, "model": body["model"]})

    def _refusal(self, faults: Faults, texts: list[str], body: dict[str, Any]) -> tuple[int, str]:
        sent = self.headers.get("Authorization", "")
        if faults.require_key is not None and sent != f"Bearer {faults.require_key}":
            return 401, f"incorrect key: {sent}"
        if faults.unknown_model:
            return 404, f"no model {body['model']}"
        if faults.max_texts is not None and len(texts) > faults.max_texts:
            return 413, f"{len(texts)} texts, at most {faults.max_texts}"
        if faults.fixed_dimension and "dimensions" in body:
            return 400, "this model takes no dimensions"
        if faults.refuse_containing is not None and any(faults.refuse_containing in text for text in texts):
            return 400, "a text is too long"
        return 200, ""

    def _answer(self, status: int, value: Any) -> None:
        self._send(status, json.dumps(value).encode())

    def _send(self, status: int, content: bytes) -> None:
        faults = self.server.faults
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        if status != 200 and faults.retry_after is not None:
            self.send_header("Retry-After", faults.retry_after)
        self.end_headers()
        if faults.trickle_s and self.path.endswith("/embeddings"):
            for place in range(len(content)):
                self.wfile.write(content[place : place + 1])
                self.wfile.flush()
                time.sleep(faults.trickle_s)
        else:
            self.wfile.write(content)

    def log_message(self, format: str, *args: object) -> None:
        pass


def _vectors(faults: Faults, texts: list[str], dimension: int) -> list[dict[str, Any]]:
    items: list[dict[str, Any]] = []
    for index, text in enumerate(texts):
        vector: list[Any] = embed(text, dimension)
        if faults.wrong_dimension or (faults.mixed_dimension and index == len(texts) - 1):
            vector.append(0.0)
        if faults.spoil_containing is not None and faults.spoil_containing in text:
            vector = {"nan": [math.nan] * dimension, "null": [None] * dimension, "text": ["1"]}[faults.spoil_with]
        items.append({"object": "embedding", "index": index, "embedding": vector})
    items += [{**items[0], "index": len(texts) + place} for place in range(faults.wrong_count)]
    if faults.wrong_count < 0:
        del items[faults.wrong_count :]
    for item in items:
        if faults.twice_the_same_index:
            item["index"] = 0
        if faults.no_index:
            del item["index"]
    return items[::-1] if faults.shuffle else items


def control(url: str, **faults: Any) -> None:
    """Replace the server's faults by these (none: it works) and start its counting anew."""
    with DIRECT.open(f"{url}/control", json.dumps(faults).encode(), timeout=10):
        pass


def stats(url: str) -> dict[str, Any]:
    with DIRECT.open(f"{url}/stats", timeout=10) as answer:
        return json.load(answer)


@contextmanager
def running_embedding_server(port: int = 0) -> Iterator[str]:
    """The base URL of a server of its own process, which ends with the block, and with this process in any case."""
    command = [sys.executable, "-m", "tests.services.embedding_server", "--port", str(port)]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            line = process.stdout.readline().strip()
            assert line.isdecimal(), f"the embedding server did not start: {line!r}"
            yield f"http://127.0.0.1:{line}"
        finally:
            process.kill()


def main() -> None:
    parser = argparse.ArgumentParser(description="An embedding service for tests.")
    parser.add_argument("--port", type=int, default=0)
    server = EmbeddingServer(parser.parse_args().port)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    print(server.server_port, flush=True)
    sys.stdin.read()


if __name__ == "__main__":
    main()
