"""Standard streams as the caller left them: closed ones (`<&-`, `>&-`), and output that cannot be written."""

from __future__ import annotations

import errno
import io
import os
import sys
from typing import BinaryIO

from soma_cli.core.errors import OutOfSpace, ServiceUnavailable, SomaError, UsageError

_NO_SPACE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


class ClosedInput(io.StringIO):
    """Stands for a closed standard input: to ask for its bytes is a mistake of the caller's, no defect."""

    @property
    def buffer(self) -> BinaryIO:
        raise UsageError("standard input is closed", hint="pipe something into it, or name a file")


def open_missing() -> None:
    """Give closed streams a stand-in, before a database gets the number of one and takes what is printed to it.

    What goes to a closed output is dropped, as by a pipe that its reader closed.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # gets the lowest number that is free: this one
    if sys.stdin is None:
        sys.stdin = ClosedInput()
    if sys.stdout is None:
        sys.stdout = open(1, "w", encoding="utf-8", closefd=False)  # noqa: SIM115 - for as long as we run
    if sys.stderr is None:
        sys.stderr = open(2, "w", encoding="utf-8", closefd=False)  # noqa: SIM115


def drop_output() -> None:
    """What is still to be printed goes nowhere, so that closing standard output at exit does not fail again."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def output_lost(error: OSError) -> SomaError:
    """An output that could not be written, in soma's words."""
    hint = "the command may have done its work before: look, before you run it again"
    if error.errno in _NO_SPACE:
        return OutOfSpace("no space left to write the output", hint=hint)
    return ServiceUnavailable(f"the output cannot be written: {error.strerror or error}", hint=hint, code="io_error")


def is_output_lost(error: Exception) -> bool:
    """Whether it is the disk's or the terminal's error; those of soma's own files were translated further down."""
    return isinstance(error, OSError) and error.filename is None and error.errno in (*_NO_SPACE, errno.EIO)
