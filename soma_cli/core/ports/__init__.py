"""The roles that servers and files play, and what each promises.

Offsets: `start` and `end` of a range follow the Kafka habit: `start` is the first offset in it, `end` the first one
behind it. A *stored position* is such an end: the next offset that a projection has not passed. Instants are
microseconds since the epoch. Every method may raise ServiceUnavailable (try again) and ConfigurationError (do not);
what else it raises is said with it.

Each promise below has a contract test that carries its name and runs against every adapter.
"""

from soma_cli.core.ports.cache import Cache
from soma_cli.core.ports.embedder import Embedder
from soma_cli.core.ports.index import (
    Hit,
    IndexIdentity,
    IndexPoint,
    IndexQuery,
    IndexShadow,
    PartitionOf,
    PointSummary,
    SearchMode,
    VectorIndex,
)
from soma_cli.core.ports.log import (
    Appended,
    Assigned,
    Bounds,
    Committed,
    Consumer,
    Copier,
    EventLog,
    Fenced,
    HeldBack,
    PositionMismatch,
    Revoked,
    Run,
    nothing_to_do,
)
from soma_cli.core.ports.registry import (
    DEFAULT_MODE,
    Opinion,
    RegisteredSchema,
    SchemaRegistry,
    VersionsChanged,
    same_schema,
)
from soma_cli.core.ports.schema_files import SchemaFiles
from soma_cli.core.ports.setup import Provisioned
from soma_cli.core.ports.store import (
    Access,
    Applied,
    Batch,
    CanonicalTables,
    Difference,
    EntryRun,
    JournalEntry,
    MemoryStore,
    StoreShadow,
)

__all__ = [
    "DEFAULT_MODE",
    "Access",
    "Appended",
    "Applied",
    "Assigned",
    "Batch",
    "Bounds",
    "Cache",
    "CanonicalTables",
    "Committed",
    "Consumer",
    "Copier",
    "Difference",
    "Embedder",
    "EntryRun",
    "EventLog",
    "Fenced",
    "HeldBack",
    "Hit",
    "IndexIdentity",
    "IndexPoint",
    "IndexQuery",
    "IndexShadow",
    "JournalEntry",
    "MemoryStore",
    "Opinion",
    "PartitionOf",
    "PointSummary",
    "PositionMismatch",
    "Provisioned",
    "RegisteredSchema",
    "Revoked",
    "Run",
    "SchemaFiles",
    "SchemaRegistry",
    "SearchMode",
    "StoreShadow",
    "VectorIndex",
    "VersionsChanged",
    "nothing_to_do",
    "same_schema",
]
