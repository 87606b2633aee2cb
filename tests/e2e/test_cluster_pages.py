"""What the pages show of a cluster, on real servers with workers.

The line that starts the servers is not run: it needs a container engine, and none runs here. The settings are those of
the pages, with the addresses of the tests' own servers, a prefix, and the index in process: no package carries a Qdrant
server. Everything after that is run as it stands, and compared.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.console import ROOT, blocks_of, differences
from tests.e2e.test_runbooks import Cluster
from tests.services import kafka_address, postgres_dsn

PAGES = [name for name in ("README.md", "docs/operations.md") if blocks_of((ROOT / name).read_text(), cluster=True)]


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    """Topics, tables and collection are there, as after the compose file; the page's `soma init` finds them."""
    cluster = Cluster(tmp_path, kafka_address(), postgres_dsn())
    cluster.init()
    try:
        cluster.start_all()
        yield cluster
    finally:
        cluster.close()


@pytest.mark.parametrize("name", PAGES)
def test_the_commands_of_a_page_print_what_it_says_of_a_cluster(name: str, cluster: Cluster, tmp_path: Path) -> None:
    wrong = list(differences((ROOT / name).read_text(encoding="utf-8"), tmp_path / "alice", cluster.settings))
    assert not wrong, f"\n{'=' * 80}\n".join(["", *wrong])


def test_the_readme_has_a_quick_start_of_the_cluster() -> None:
    assert "README.md" in PAGES
