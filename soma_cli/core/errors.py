"""Every error that soma raises on purpose, in one tree.

Each class carries the exit code of the command line and a stable machine-readable code; the message says what
happened and to which object, the hint says what to do next.

    SomaError                     1  a defect in soma itself
    +-- UsageError                2  malformed option or argument, missing file
    +-- ConfigurationError        3  settings that cannot work
    |   +-- DataFolderError       3  corrupt, newer or foreign data folder
    |   +-- LogReplaced           3  the log is not the one that the projections were made from
    |   +-- LogBehind             3  the log ends before what a projection has passed
    +-- ServiceUnavailable        4  transient: try again (the only errors that workers retry)
    |   +-- OutOfSpace            4
    +-- InputRejected             5  permanent: the input will never be accepted
    |   +-- NotJson               5  also a ValueError
    |   +-- EventRejected         5
    |   +-- ValueRefused          5  a store or an index cannot hold this value
    |   +-- IdempotencyConflict   5
    +-- NotFound                  6
    +-- CheckFailed               7  a check found a problem
        +-- WaitTimedOut          7
        +-- TooManyRejects        7
"""

from __future__ import annotations

from typing import Any, ClassVar


class SomaError(Exception):
    """Root of the tree. `message` is one sentence, `hint` what to do next, `details` JSON values for machines."""

    exit_code: ClassVar[int] = 1
    default_code: ClassVar[str] = "internal"

    def __init__(self, message: str, *, hint: str = "", code: str = "", details: dict[str, Any] | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.code = code or self.default_code
        self.details = details or {}


class UsageError(SomaError):
    exit_code = 2
    default_code = "usage"


class ConfigurationError(SomaError):
    exit_code = 3
    default_code = "configuration"


class DataFolderError(ConfigurationError):
    default_code = "data_folder"


class LogReplaced(ConfigurationError):
    default_code = "log_replaced"


class LogBehind(ConfigurationError):
    default_code = "log_behind"


class ServiceUnavailable(SomaError):
    exit_code = 4
    default_code = "unavailable"


class OutOfSpace(ServiceUnavailable):
    default_code = "out_of_space"


class InputRejected(SomaError):
    """`pointer` is the JSON pointer (RFC 6901) to the offending value, or None where there is none."""

    exit_code = 5
    default_code = "rejected"

    def __init__(
        self,
        message: str,
        *,
        pointer: str | None = None,
        hint: str = "",
        code: str = "",
        details: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(message, hint=hint, code=code, details=details)
        self.pointer = pointer
        if pointer is not None:
            self.details.setdefault("pointer", pointer)


class NotJson(InputRejected, ValueError):
    default_code = "not_json"


class EventRejected(InputRejected):
    default_code = "event_rejected"


class ValueRefused(InputRejected):
    default_code = "value_refused"


class IdempotencyConflict(InputRejected):
    default_code = "idempotency_conflict"


class NotFound(SomaError):
    exit_code = 6
    default_code = "not_found"


class CheckFailed(SomaError):
    exit_code = 7
    default_code = "check_failed"


class WaitTimedOut(CheckFailed):
    default_code = "wait_timed_out"


class TooManyRejects(CheckFailed):
    default_code = "too_many_rejects"
