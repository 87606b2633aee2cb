"""What is known of formats, beyond asking the validator about one text."""

from __future__ import annotations

import json


def _key(name: str) -> str:
    return json.dumps({"format": name})


_DATE = r"\d{4}-\d{2}-\d{2}"
_TIME = r"\d{2}:\d{2}:\d{2}(\.\d+)?([zZ]|[+-]\d{2}:\d{2})"

FORMAT_PATTERNS = {
    _key("date"): f"^{_DATE}$",
    _key("time"): f"^{_TIME}$",
    _key("date-time"): f"^{_DATE}[tT]{_TIME}$",
    _key("ipv4"): r"^\d{1,3}\.\d{1,3}\.\d{1,3}\.\d{1,3}$",
    _key("ipv6"): r"^[0-9a-fA-F:.]{2,45}$",
    _key("email"): "^[^]*@".replace("[^]*", r"[\s\S]+") + r"[\s\S]+$",
    _key("hostname"): r"^[0-9a-zA-Z.-]{1,253}$",
    _key("uri"): r"^[a-zA-Z][a-zA-Z0-9+.-]*:[!-~]*$",
    _key("uri-reference"): r"^[!-~]*$",
    _key("json-pointer"): r"^(/[\s\S]*)?$",
    _key("relative-json-pointer"): r"^\d+(#|/[\s\S]*)?$",
}
"""Patterns that match every text of a format, and more: they prove that there is none, never that there is one."""

NARROWER = {
    (_key(narrow), _key(wide))
    for narrow, wide in (
        ("uri", "uri-reference"),
        ("uri", "iri"),
        ("iri", "iri-reference"),
        ("uri", "iri-reference"),
        ("uri-reference", "iri-reference"),
    )
}
"""(narrow, wide): every text of the first format is one of the second."""

_TEXTS = {
    "date": ["2000-01-01", "2024-02-29", "1970-01-01"],
    "time": ["00:00:00Z", "12:30:00+01:00", "00:00:00.5Z"],
    "date-time": ["2000-01-01T00:00:00Z", "2000-01-01T00:00:00.5Z", "1970-01-01T12:30:00+01:00"],
    "email": ["a@b.c", "a@b", "someone@example.com"],
    "idn-email": ["a@b.c", "é@b.c", "someone@example.com"],
    "hostname": ["a", "example.com", "a.b"],
    "idn-hostname": ["a", "example.com", "é.com"],
    "ipv4": ["127.0.0.1", "1.1.1.1", "255.255.255.255"],
    "ipv6": ["::", "::1", "2001:db8::1"],
    "uri": ["a:", "http://example.com/", "urn:a:b", "https://example.com/a?b=c#d"],
    "uri-reference": ["", "a", "/a", "http://example.com/"],
    "iri": ["a:", "http://example.com/", "http://example.com/é"],
    "iri-reference": ["", "a", "é", "http://example.com/"],
    "uri-template": ["", "a", "{a}", "http://example.com/{a}"],
    "json-pointer": ["", "/a", "/a/0"],
    "relative-json-pointer": ["0", "0#", "1/a"],
    "regex": ["", "a", "^a$", "[a-z]+"],
}
EXAMPLES = {
    **{_key(name): texts for name, texts in _TEXTS.items()},
    json.dumps({"contentEncoding": "base64"}): ["", "YQ==", "YWI="],
    json.dumps({"contentMediaType": "application/json"}): ["{}", "1", '"a"'],
    json.dumps({"contentEncoding": "base64", "contentMediaType": "application/json"}): ["MQ==", "e30="],
}
"""Texts to try first."""
