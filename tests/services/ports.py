"""Free ports on loopback that stay reserved: no two servers of any test process get the same one, down or up.

A port lies below the range that the kernel takes for outgoing connections, so that none of these takes it while a
server restarts. The reservation is an abstract Unix socket of the port's name; it ends with the process that holds it.
"""

from __future__ import annotations

import random
import socket

_RANGE = range(15_000, 32_000)
_TRIES = 1000
_reserved: dict[int, socket.socket] = {}


def free_port() -> int:
    """A port that nobody listens on and no other test process has reserved. Call `give_back` when done with it."""
    for port in random.sample(_RANGE, _TRIES):
        if _reserve(port):
            if _is_free(port):
                return port
            give_back(port)
    raise RuntimeError(f"no free port found in {_TRIES} tries between {_RANGE.start} and {_RANGE.stop}")


def give_back(port: int | None) -> None:
    """Let others have the port. Does nothing when it is not reserved here."""
    held = _reserved.pop(port, None) if port is not None else None
    if held is not None:
        held.close()


def _reserve(port: int) -> bool:
    holder = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        holder.bind(f"\0soma-tests-port-{port}")
    except OSError:
        holder.close()
        return False
    _reserved[port] = holder
    return True


def _is_free(port: int) -> bool:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
