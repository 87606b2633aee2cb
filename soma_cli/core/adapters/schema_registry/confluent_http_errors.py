"""What a schema registry answers and what its client says, in soma's words: which server, which setting to look at."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import orjson

from soma_cli.core.adapters.bounded_http import Answer
from soma_cli.core.adapters.http_address import without_secrets
from soma_cli.core.adapters.schema_registry.confluent_http_access import checked
from soma_cli.core.errors import ConfigurationError, InputRejected, ServiceUnavailable, SomaError
from soma_cli.core.settings import RegistrySettings

if TYPE_CHECKING:
    import httpx

_CHECK_URL = (
    "check registry.url: it is what stands before /subjects, for example http://host:8081, or with Apicurio "
    "http://host:8080/apis/ccompat/v7"
)
_TLS = {
    "CERTIFICATE_VERIFY_FAILED": ("has a certificate that is not trusted", "set registry.ca_file to the authority's"),
    "CERTIFICATE_REQUIRED": ("asks for a client's certificate", "set registry.cert_file and registry.key_file"),
    "UNKNOWN_CA": ("does not trust the client's certificate", "set registry.cert_file to one that it trusts"),
    "BAD_CERTIFICATE": ("does not accept the client's certificate", "check registry.cert_file"),
    "WRONG_VERSION_NUMBER": ("does not speak TLS", "write http:// in registry.url, or name the port that speaks TLS"),
    "record layer failure": ("does not speak TLS", "write http:// in registry.url, or name the port that speaks TLS"),
}
"""What OpenSSL says, and what it means here."""
_READ_ONLY = 42205
"""The registry's own number for what its present mode does not allow."""


class Absent(Exception):
    """The registry knows no such subject or version."""


class Server:
    """One registry as messages name it, and the errors that it is the reason of."""

    def __init__(self, settings: RegistrySettings) -> None:
        self._settings = settings
        self.endpoint = checked(settings)
        self.where = without_secrets(self.endpoint)

    def accepted(self, answer: Answer) -> Any:
        """The JSON of a good answer. Raises what the answer means otherwise."""
        status = answer.status
        if 200 <= status < 300:
            return self._json(answer) if answer.content else None
        body, said = _json_or_none(answer.content), f"HTTP {status}{self._said(answer)}"
        if status == 404 and isinstance(body, dict) and str(body.get("error_code", "")).startswith("404"):
            raise Absent
        if status in (408, 425, 429) or status >= 500:
            raise self.unavailable(said)
        if status == 409:
            raise self._refused(said, "registry_incompatible")
        if status == 403 or (isinstance(body, dict) and body.get("error_code") == _READ_ONLY):
            hint = "give the user or token of the settings this right at the registry, or name another one"
            raise self.misconfigured(f"does not allow this: {said}", hint, "registry_forbidden")
        if status in (413, 422):
            raise self._refused(said, "schema_refused")
        raise self._unusable(answer, said)

    def failed(self, error: httpx.RequestError) -> SomaError:
        """The error that says why there was no answer."""
        import httpx

        if isinstance(error, httpx.UnsupportedProtocol | httpx.LocalProtocolError):
            return self.misconfigured(f"cannot be asked: {self._clean(str(error))}")
        if isinstance(error, httpx.TimeoutException):
            return self.unavailable(f"no answer within {self._settings.timeout_s:g} s")
        words = self._clean(str(error)) or type(error).__name__
        for sign, (what, hint) in _TLS.items():
            if sign in words:
                return self.misconfigured(f"{what}: {words}", hint)
        return self.unavailable(words)

    def unavailable(self, what: str) -> ServiceUnavailable:
        return ServiceUnavailable(
            f"the schema registry {self.where} is not available: {what}",
            hint="check that it runs and answers at registry.url, then try again",
            code="registry_unavailable",
            details={"url": self.where},
        )

    def misconfigured(
        self, what: str, hint: str = _CHECK_URL, code: str = "registry_misconfigured"
    ) -> ConfigurationError:
        message = f"the schema registry {self.where} {what}"
        return ConfigurationError(message, hint=hint, code=code, details={"url": self.where})

    def _unusable(self, answer: Answer, said: str) -> SomaError:
        status = answer.status
        if 300 <= status < 400:
            to = f" to {without_secrets(answer.location)}" if answer.location else ""
            return self.misconfigured(f"sends soma elsewhere{to} (HTTP {status})", "set registry.url to where it is")
        if status == 401:
            return self.misconfigured(f"does not let soma in: {said}", self._credentials_hint(), "registry_forbidden")
        if status == 407:
            return self.misconfigured(
                f"is behind a proxy that asks who soma is: {said}", "set HTTPS_PROXY, or NO_PROXY"
            )
        if status in (404, 405):
            return self.misconfigured(f"has no such path: {said}")
        return self.misconfigured(f"does not answer as a schema registry does: {said}")

    def _credentials_hint(self) -> str:
        if self._settings.token:
            return "check registry.token"
        if self._settings.username:
            return "check registry.username and registry.password"
        return "set registry.username and registry.password, or registry.token"

    def _refused(self, said: str, code: str) -> InputRejected:
        return InputRejected(
            f"the schema registry {self.where} refuses the schema: {said}", code=code, details={"url": self.where}
        )

    def _json(self, answer: Answer) -> Any:
        try:
            return orjson.loads(answer.content)
        except ValueError as error:
            kind = answer.kind.partition(";")[0] or "no JSON"
            raise self.misconfigured(f"does not answer as a schema registry does, but with {kind}") from error

    def _said(self, answer: Answer) -> str:
        """What the server says about an error, cut and cleaned for one line; "" where it says nothing readable."""
        body = _json_or_none(answer.content)
        if isinstance(body, dict):
            words = body.get("message") or body.get("detail") or body.get("title") or ""
            return f": {self._clean(str(words))}" if words else ""
        kind = answer.kind.partition(";")[0]
        if kind.startswith("text/plain"):
            return f": {self._clean(answer.content[:1000].decode(errors='replace'))}"
        return f" with {kind}" if kind and answer.content else ""

    def _clean(self, text: str) -> str:
        for secret in (self._settings.password, self._settings.token, urlsplit(self.endpoint).password):
            if secret:
                text = text.replace(secret, "***")
        return "".join(letter for letter in " ".join(text.split()) if letter.isprintable())[:400]


def _json_or_none(content: bytes) -> Any:
    try:
        return orjson.loads(content)
    except ValueError:
        return None
