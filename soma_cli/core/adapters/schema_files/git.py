"""Schema files of a folder as they were in a revision of the git repository that it lies in."""

from __future__ import annotations

import os
import posixpath
import subprocess
from pathlib import Path

from soma_cli.core.adapters.schema_files.folder import too_large
from soma_cli.core.errors import ConfigurationError, InputRejected, NotFound, UsageError
from soma_cli.core.ports.schema_files import MAX_SCHEMA_BYTES

_HEAD = "HEAD"
_LOCAL = frozenset(
    {"GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_PREFIX", "GIT_COMMON_DIR", "GIT_OBJECT_DIRECTORY"}
)
"""What git tells its hooks of the repository that they run in: the folder may lie in another."""


class RevisionFiles:
    """`SchemaFiles` of a revision. `REV...` means where the work in hand left REV: their merge base.

    Raises UsageError where the folder lies in no repository, or the revision is not there. HEAD of a repository
    without a commit has no files.
    """

    def __init__(self, folder: Path, revision: str) -> None:
        self._shown_folder, self._revision = folder, revision
        self._folder = folder.resolve()
        self._prefix = self._ask("rev-parse", "--show-prefix").strip().rstrip("/")
        self._commit = self._resolved(revision)
        self._blobs: dict[str, tuple[str, int]] | None = None

    @property
    def label(self) -> str:
        return f"git:{self._revision}"

    def paths(self) -> list[str]:
        below = self._prefix and f"{self._prefix}/"
        inside = (path.removeprefix(below) for path in self._tree() if path.startswith(below))
        return sorted(path for path in inside if path.endswith(".json"))

    def read(self, path: str) -> bytes:
        shown = self.shown(path)
        found = self._tree().get(posixpath.normpath(posixpath.join(self._prefix, path)))
        if found is None:
            raise NotFound(f"there is no file {shown}", hint="check the path", code="no_such_file")
        blob, size = found
        if size > MAX_SCHEMA_BYTES:
            raise too_large(shown)
        return self._run("cat-file", "blob", blob)

    def shown(self, path: str) -> str:
        return f"{self._revision}:{posixpath.normpath(posixpath.join(self._prefix, path))}"

    def _tree(self) -> dict[str, tuple[str, int]]:
        """Object and size of each file of the revision, by its path from the top: references may lead anywhere."""
        if self._blobs is None:
            listed = "" if self._commit is None else self._ask("ls-tree", "-r", "-z", "-l", "--full-tree", self._commit)
            self._blobs = {}
            for entry in filter(None, listed.split("\0")):
                about, path = entry.split("\t", 1)
                mode, kind, blob, size = about.split()
                if kind == "blob" and mode != "120000":
                    self._blobs[path] = blob, int(size)
        return self._blobs

    def _resolved(self, revision: str) -> str | None:
        """The commit; None for HEAD before the first one."""
        name, since = revision.removesuffix("..."), revision.endswith("...")
        try:
            commit = self._ask("rev-parse", "--verify", "--quiet", "--end-of-options", f"{name}^{{commit}}").strip()
        except _GitRefused as refused:
            if name == _HEAD and not self._answers("rev-parse", "--verify", "--quiet", "--end-of-options", name):
                return None
            raise _unknown(name, str(self._shown_folder)) from refused
        if not since:
            return commit
        try:
            return self._ask("merge-base", commit, _HEAD).strip()
        except _GitRefused as refused:
            raise InputRejected(
                f"{name} and HEAD have no commit in common",
                hint="a shallow clone lacks their history: fetch it, or name the revision without `...`",
                code="no_merge_base",
            ) from refused

    def _answers(self, *arguments: str) -> bool:
        try:
            self._run(*arguments)
        except _GitRefused:
            return False
        return True

    def _ask(self, *arguments: str) -> str:
        return self._run(*arguments).decode(errors="surrogateescape")

    def _run(self, *arguments: str) -> bytes:
        command = ["git", "--no-optional-locks", "-C", str(self._folder), *arguments]
        try:
            done = subprocess.run(command, capture_output=True, check=False, env=_environment())
        except FileNotFoundError as error:
            raise ConfigurationError(
                "git is not installed", hint="install it, or compare two files", code="no_git"
            ) from error
        if done.returncode == 0:
            return done.stdout
        said = done.stderr.decode(errors="replace").strip()
        if "not a git repository" in said:
            raise UsageError(
                f"{self._shown_folder} lies in no git repository",
                hint="run it in a clone, or give two files: soma schema check NEW.json --against OLD.json",
            )
        if "dubious ownership" in said:
            raise UsageError(
                f"git does not trust {self._shown_folder}: another user owns it", hint=said.splitlines()[-1].strip()
            )
        raise _GitRefused(said)


def _environment() -> dict[str, str]:
    """Answers in English, which are read here, and no questions on a terminal."""
    others = {name: value for name, value in os.environ.items() if name not in _LOCAL}
    return {**others, "LC_ALL": "C", "GIT_TERMINAL_PROMPT": "0"}


class _GitRefused(ConfigurationError):
    """git answered with an error of its own, which is the message."""

    default_code = "git"

    def __init__(self, said: str) -> None:
        super().__init__(f"git: {said}", hint="try the same with git itself")


def _unknown(name: str, folder: str) -> UsageError:
    return UsageError(
        f"git knows no revision {name!r} in the repository of {folder}",
        hint="name a branch, a tag or a commit; a shallow clone has to fetch it first: git fetch origin BRANCH",
    )
