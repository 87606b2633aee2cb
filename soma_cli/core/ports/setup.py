"""What setting up a server or a folder says."""

from __future__ import annotations

from typing import NamedTuple

from soma_cli.core.results import Finding


class Provisioned(NamedTuple):
    """What setting up made and found, by name; `differing` tells what is not as it should be, and the command that
    would mend it. That is never changed behind the operator's back."""

    created: list[str]
    existing: list[str]
    differing: list[Finding]
