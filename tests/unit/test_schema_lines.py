"""On which line a pointer's value begins."""

from __future__ import annotations

import json

import pytest

from soma_cli.core.operations.schema_lines import line_of

TEXT = r"""{
  "title": "a \"quoted\" { brace",
  "properties": {
    "a/b": {"type": "string"}, "c~d": {
      "enum": [
        1, [2, {"x": 3}],
        "\u0041"
      ]
    },
    "": {
      "x" : 1 }
  }
}
"""


@pytest.mark.parametrize(
    ("pointer", "line"),
    [
        ("", 1),
        ("/title", 2),
        ("/properties", 3),
        ("/properties/a~1b/type", 4),
        ("/properties/c~0d", 4),
        ("/properties/c~0d/enum", 5),
        ("/properties/c~0d/enum/1/1/x", 6),
        ("/properties/c~0d/enum/2", 7),
        ("/properties//x", 11),
        ("/properties/nowhere/type", 3),
        ("/title/below", 2),
        ("/definitions/elsewhere", 1),
        ("/properties/c~0d/enum/7", 5),
        ("/properties/c~0d/enum/x", 5),
    ],
)
def test_the_line_of_a_pointer(pointer: str, line: int) -> None:
    json.loads(TEXT)
    assert line_of(TEXT, pointer) == line


def test_a_text_of_one_line_and_one_without_members() -> None:
    assert line_of('{"a": {}}', "/a/b") == 1
    assert line_of("\n\ntrue", "/a") == 3
    assert line_of("\n[]", "/0") == 2
