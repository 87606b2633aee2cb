"""Pairs made by hand, for each keyword and for what keywords do to each other; the truth in both directions.

What is said to break is shown with a document; what is said to hold is argued in a comment where it is not plain.
"""

from __future__ import annotations

from tests.compatibility.pair import Case, Row
from tests.compatibility.table.arrays import ARRAYS
from tests.compatibility.table.combinations import COMBINATIONS
from tests.compatibility.table.evolutions import EVOLUTIONS
from tests.compatibility.table.numbers import NUMBERS
from tests.compatibility.table.objects import OBJECTS
from tests.compatibility.table.references import REFERENCES
from tests.compatibility.table.strings import STRINGS
from tests.compatibility.table.values import VALUES

ROWS: list[Row] = [
    *VALUES,
    *NUMBERS,
    *STRINGS,
    *ARRAYS,
    *OBJECTS,
    *COMBINATIONS,
    *REFERENCES,
    *EVOLUTIONS,
]
CASES: list[Case] = [case for row in ROWS for case in row.cases()]
