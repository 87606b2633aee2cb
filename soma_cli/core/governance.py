"""What is done with schemas: checks, differences, versions.

with create_memory_system() as soma:
    report = soma.admin.schemas.check(against="git:main")
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from soma_cli.core.compatibility import Budget, Mode
from soma_cli.core.errors import NotFound, UsageError
from soma_cli.core.operations import schema_check
from soma_cli.core.operations.schema_load import LoadedSchema, load_schema
from soma_cli.core.operations.schema_promote import Place, plan_promotion, promote
from soma_cli.core.operations.schema_register import Rules, modes, register
from soma_cli.core.ports import DEFAULT_MODE, RegisteredSchema, SchemaFiles, SchemaRegistry
from soma_cli.core.schema_results import (
    PromotionPlan,
    RegisteredSubject,
    RegisterResult,
    SchemaCheck,
    SchemaDiff,
    SchemaSummary,
    SubjectCheck,
    SubjectMode,
)
from soma_cli.core.schemas import (
    EVENT_SCHEMA,
    SchemaFolder,
    find_folder,
    no_own_folder,
    released_versions,
    repository_of,
    schemas_folder,
    stray,
    subject_of,
    working_names,
    working_path,
)
from soma_cli.core.settings import Settings
from soma_cli.core.wiring import Adapters, open_released, open_schema_files, remote_schemas

if TYPE_CHECKING:
    from soma_cli.core.operations.schema_check import Version
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

    def refuse_wrong_place(self, names: Sequence[str]) -> None:
        """A step of a CI that began in the wrong folder must not pass by what ships with soma. Raises UsageError where
        nothing is named in a repository without a folder of schemas."""
        if not names and self.folder.origin == "shipped" and repository_of(Path.cwd()) is not None:
            raise no_own_folder()

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

    def has(self, name: str) -> bool:
        """Whether the folder has such a schema."""
        return name in working_names(self.files.paths())

    def subject(self, name: str) -> str:
        """What the configured registry calls a schema."""
        return subject_of(name, self._settings)

    def path(self, name: str) -> Path:
        """Where the working version of a schema lies."""
        return self.folder.path / working_path(name)

    def schema(self, name: str) -> LoadedSchema:
        """The working version. Raises NotFound, UsageError, InputRejected."""
        return load_schema(self.files, working_path(*self.names(name)), self._fetch)

    def event_schema(self) -> LoadedSchema:
        """That of the events, which ships with soma where the folder has none."""
        files = self.files
        if not self.has(EVENT_SCHEMA):
            files = open_schema_files(schemas_folder())
        return load_schema(files, working_path(EVENT_SCHEMA), self._fetch)

    def check(
        self,
        names: Sequence[str] = (),
        *,
        against: str = "released",
        mode: Mode | None = None,
        budget: Budget = Budget(),
    ) -> SchemaCheck:
        """Schemas of the folder, all unless named, with their versions: `released`, in the `registry`, or `git:REV`.

        `mode` in place of each schema's own. Of several schemas those that are none are `refused` in the result.
        Raises UsageError, NotFound, InputRejected, ServiceUnavailable.
        """
        if against.startswith(GIT):
            folder = self.folder
            if folder.origin == "shipped":
                raise no_own_folder()
            files, then = (open_schema_files(folder.path, of) for of in (None, against.removeprefix(GIT)))
            work = self._work(files, names, working_names(then.paths()), budget)
            return self._report(work, schema_check.check_revision(work, then, mode), folder, against, names)
        files = self.files
        if against == "registry":
            work = self._work(files, names, [], budget)
            found = schema_check.check_registry(work, self._adapters.registry, self.subject, mode)
        else:
            work = self._work(files, names, list(released_versions(files.paths())), budget)
            found = schema_check.check_registry(work, self.released, lambda name: name, mode)
        return self._report(work, found, self.folder, against, names)

    def _report(
        self,
        work: schema_check.Work,
        found: Iterable[SubjectCheck],
        folder: SchemaFolder,
        against: str,
        names: Sequence[str],
    ) -> SchemaCheck:
        report = schema_check.together(found, folder, against, work.refused)
        paths = () if names else work.files.paths()
        report.ignored = [work.files.shown(path) for path in stray(paths) if path not in work.used]
        if against == "registry" and not report.compared:
            # A schema that is named may be the first of its name; all of them at once are rather another registry.
            known = self.released.subjects() if names else work.names
            report.missing = [name for name in work.names if name in known]
        return report

    def nameless(self) -> list[str]:
        """Files right in the folder that have no schema's name."""
        files = self.files
        return [files.shown(path) for path in stray(files.paths()) if "/" not in path]

    def check_file(
        self,
        new: Path,
        old: Path,
        mode: Mode | None = None,
        budget: Budget = Budget(),
    ) -> SchemaCheck:
        """Two files, wherever they lie. Raises UsageError, InputRejected."""
        found = schema_check.check_files(self.file(new), self.file(old), mode or DEFAULT_MODE, budget)
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
        """A schema from a file of its own. Raises UsageError where there is none, or it cannot be read."""
        try:
            return load_schema(open_schema_files(path.parent), path.name, self._fetch)
        except NotFound as error:
            raise UsageError(error.message, hint=error.hint) from error

    def diff(self, old: Version, new: Version, progress: Callable[[int], None] = lambda changes: None) -> SchemaDiff:
        """What changed, and which way each change breaks. `progress` is told how many more changes were looked at."""
        from soma_cli.core.operations.schema_diff import diff

        return diff(old, new, progress)

    def version(self, name: str, *, version: int | None = None, registered: bool = False) -> RegisteredSchema:
        """A released version of a schema, or a registered one; the last unless numbered. Raises NotFound."""
        from soma_cli.core.operations.schema_list import version_of_schema

        if not registered:
            return version_of_schema(self.released, name, version)
        return version_of_schema(self._adapters.registry, self.subject(name), version)

    def summaries(self) -> list[SchemaSummary]:
        """The schemas of the folder, with their last released versions."""
        from soma_cli.core.operations.schema_list import summaries

        return summaries(self.files, self.released, self._fetch)

    # --- the registry ---

    def registered(self) -> list[RegisteredSubject]:
        """The subjects of the registry, with their last versions."""
        from soma_cli.core.operations.schema_list import registered

        return registered(self._adapters.registry)

    def register(self, names: Sequence[str] = (), rules: Rules = Rules()) -> RegisterResult:
        """Register schemas of the folder, all unless named; none where any is refused. What is there stays as it is.

        Raises NotFound, UsageError, InputRejected, CheckFailed, ServiceUnavailable.
        """
        schemas = [self.schema(name) for name in self.names(*names)]
        return register(self._adapters.registry, schemas, self.subject, rules)

    def modes(self, names: Sequence[str] = ()) -> list[SubjectMode]:
        """The compatibility modes of schemas, all of the folder unless named."""
        return modes(self._adapters.registry, names or self.names(), self.subject)

    def set_mode(self, name: str, mode: Mode) -> SubjectMode:
        """Set the mode of one schema, which the registry need not know yet."""
        self._adapters.registry.set_mode(self.subject(name), mode)
        return self.modes([name])[0]

    def plan_promotion(
        self,
        target: Governance,
        names: Sequence[str] = (),
        rules: Rules = Rules(),
    ) -> PromotionPlan:
        """Which versions of this registry the other lacks, and whether they may be copied there; changes nothing.

        All schemas of the folder that are in this registry, unless named. Raises NotFound, UsageError where both are
        the same registry.
        """
        source = self._place
        known = names or [name for name in self.names() if source.registry.latest(self.subject(name)) is not None]
        return plan_promotion(source, target._place, known, rules)

    def promote(
        self, target: Governance, plan: PromotionPlan, copied: Callable[[int], None] = lambda versions: None
    ) -> PromotionPlan:
        """Carry out a plan. `copied` is told how many more versions are there."""
        return promote(self._place, target._place, plan, copied)

    @property
    def _place(self) -> Place:
        return Place(self._adapters.registry, self.subject)

    def _work(self, files: SchemaFiles, names: Sequence[str], gone: Sequence[str], budget: Budget) -> schema_check.Work:
        mode_of: Callable[[str], Mode] = self.released.mode
        return schema_check.Work(files, schema_check.chosen(files, names, *gone), mode_of, self._fetch, budget)
