"""All rows of the cluster."""

from __future__ import annotations

from functools import partial

from soma_cli.bench.cluster import consume, kv, landing, reads, rebuild, visible, worker_process, writes
from soma_cli.bench.cluster.sizes import LARGE, SMALL
from soma_cli.bench.comparison import Benchmark

CLUSTER: dict[str, Benchmark] = {
    "produce-0.2k": partial(writes.produce, size=SMALL),
    "produce": writes.produce,
    "produce-10k": partial(writes.produce, size=LARGE),
    "ack": writes.ack,
    "consume-0.2k": partial(consume.consume, size=SMALL),
    "consume": consume.consume,
    "consume-10k": partial(consume.consume, size=LARGE),
    "apply-0.2k": partial(kv.apply, size=SMALL),
    "apply": kv.apply,
    "apply-10k": partial(kv.apply, size=LARGE),
    "one-by-one": kv.one_by_one,
    "follow-0.2k": partial(kv.follow, size=SMALL),
    "follow": kv.follow,
    "follow-10k": partial(kv.follow, size=LARGE),
    "follow-cached": partial(kv.follow, cached=True),
    "landing": landing.landing,
    "visible-500": partial(visible.visible, rate=500),
    "visible-2000": partial(visible.visible, rate=2000, target_ms=50.0),
    "visible-10000": partial(visible.visible, rate=10_000),
    "worker-cost": worker_process.cost,
    "rebuild": rebuild.rebuild,
    "compare": rebuild.compare,
    "cache": reads.cached,
    "by-key": reads.by_key,
}
CLUSTER_LONG: dict[str, Benchmark] = {"memory": worker_process.memory}
