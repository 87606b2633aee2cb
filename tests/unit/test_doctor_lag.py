"""What doctor says of a projection that workers move on: whose words to look at."""

from __future__ import annotations

import pytest

from soma_cli.core.operations.doctor import STUCK_S, _worked_lag
from soma_cli.core.results import GroupLag


@pytest.mark.parametrize("worker", ["kv", "landing"])
def test_the_worker_at_work_is_the_one_to_look_at(worker: str) -> None:
    stuck = GroupLag("soma-kv", "active", 3, STUCK_S + 1, None, None, [])
    found = _worked_lag(stuck, "kv", worker)
    assert (found.check, found.status) == ("kv", "warning")
    assert f"`soma consume {worker}`" in found.hint
