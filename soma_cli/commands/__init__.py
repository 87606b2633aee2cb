"""One file per top-level command: parse, wire, call one operation, show.

Each module has `add_to(app)`. The order here is the order of `soma --help`.
"""

from soma_cli.commands import (
    bench,
    config,
    consume,
    delete,
    dlq,
    doctor,
    get,
    history,
    init,
    lag,
    list_,
    produce,
    prune,
    replay,
    schema,
    score,
    search,
    stats,
    store,
    trace,
    update,
    wait,
)

COMMANDS = (
    store,
    get,
    update,
    history,
    list_,
    search,
    stats,
    delete,
    produce,
    consume,
    wait,
    trace,
    lag,
    replay,
    prune,
    score,
    dlq,
    init,
    doctor,
    config,
    schema,
    bench,
)
