"""What is done with schemas: checks, differences, versions.

with create_memory_system() as soma:
    report = soma.admin.schemas.check(against="git:main")
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from soma_cli.core.compatibility import Budget, Mode
from soma_cli.core.operations import schema_check
from soma_cli.core.operations.schema_load import LoadedSchema, load_schema
from soma_cli.core.ports import SchemaFiles, SchemaRegistry
from soma_cli.core.schema_results import SchemaCheck
from soma_cli.core.schemas import (
    SchemaFolder,
    find_folder,
    released_versions,
    subject_of,
    working_names,
    working_path,
)
from soma_cli.core.settings import Settings
from soma_cli.core.wiring import Adapters, open_released, open_schema_files, remote_schemas

if TYPE_CHECKING:
    from soma_cli.core.operations.schema_load import Fetch

GIT = "git:"


class Governance:
    """The schemas of one folder: `registry.folder` of the settings, else `./schemas`, else what ships with soma."""

    def __init__(self, settings: Settings, adapters: Adapters, fetch: Fetch | None = None) -> None:
        self._settings, self._adapters, self._fetch = settings, adapters, fetch

    def with_remote(self) -> Governance:
        """The same, where schemas may refer to addresses, which are fetched then."""
        return Governance(self._settings, self._adapters, remote_schemas(self._settings))

    @property
    def folder(self) -> SchemaFolder:
        """Raises UsageError where the one of the settings is none."""
        return find_folder(self._settings.registry.folder)

    @property
    def files(self) -> SchemaFiles:
        """The folder's files as they are."""
        return open_schema_files(self.folder.path)

    @property
    def released(self) -> SchemaRegistry:
        """The versions that are released in the folder."""
        return open_released(self._settings)

    def names(self, *asked: str) -> list[str]:
        """The schemas there are, or those asked for. Raises NotFound."""
        return schema_check.chosen(self.files, asked)

    def subject(self, name: str) -> str:
        """What the configured registry calls a schema."""
        return subject_of(name, self._settings)

    def schema(self, name: str) -> LoadedSchema:
        """The working version. Raises NotFound, UsageError, InputRejected."""
        return load_schema(self.files, working_path(*self.names(name)), self._fetch)

    def check(
        self,
        names: Sequence[str] = (),
        *,
        against: str = "released",
        mode: Mode | None = None,
        budget: Budget = Budget(),  # noqa: B008 - frozen
    ) -> SchemaCheck:
        """Schemas of the folder, all unless named, with their versions: `released`, in the `registry`, or `git:REV`.

        `mode` in place of each schema's own. Raises UsageError, NotFound, InputRejected, ServiceUnavailable.
        """
        files = self.files
        if against.startswith(GIT):
            then = open_schema_files(self.folder.path, against.removeprefix(GIT))
            work = self._work(files, names, working_names(then.paths()), budget)
            found = schema_check.check_revision(work, then, mode)
            return schema_check.together(found, files, against)
        if against == "registry":
            work = self._work(files, names, [], budget)
            found = schema_check.check_registry(work, self._adapters.registry, self.subject, mode)
            return schema_check.together(found, files, against)
        work = self._work(files, names, list(released_versions(files.paths())), budget)
        found = schema_check.check_registry(work, self.released, lambda name: name, mode)
        return schema_check.together(found, files, against)

    def check_file(
        self,
        new: Path,
        old: Path,
        mode: Mode = Mode.BACKWARD,
        budget: Budget = Budget(),  # noqa: B008 - frozen
    ) -> SchemaCheck:
        """Two files, wherever they lie. Raises NotFound, UsageError, InputRejected."""
        found = schema_check.check_files(self.file(new), self.file(old), mode, budget)
        return schema_check.together([found], None, str(old))

    def check_log(self, schema: LoadedSchema, progress: Callable[[int], None] = lambda events: None) -> SchemaCheck:
        """Whether a schema accepts every event that the log holds. `progress` is told how many more were read."""
        from soma_cli.core.operations.schema_log import check_log

        found = check_log(self._adapters.log, schema, progress)
        return schema_check.together([found], None, "log")

    def events_in_log(self) -> int:
        """At most so many events `check_log` reads."""
        from soma_cli.core.operations.schema_log import events_in

        return events_in(self._adapters.log)

    def file(self, path: Path) -> LoadedSchema:
        """A schema from a file of its own."""
        return load_schema(open_schema_files(path.parent), path.name, self._fetch)

    def _work(self, files: SchemaFiles, names: Sequence[str], gone: Sequence[str], budget: Budget) -> schema_check.Work:
        mode_of: Callable[[str], Mode] = self.released.mode
        return schema_check.Work(files, schema_check.chosen(files, names, *gone), mode_of, self._fetch, budget)
