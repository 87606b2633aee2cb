"""The stored position is the truth: workers go on there when Postgres was put back, or the group has forgotten all."""

from __future__ import annotations

from pathlib import Path

from confluent_kafka.admin import AdminClient

from tests.e2e.cluster.end_state import check_everything
from tests.e2e.cluster.installation import Cluster, ends, kv_positions, wait_until_kv_is_at_the_end
from tests.e2e.cluster.load import Stream, append
from tests.e2e.conftest import wait_until
from tests.services import PostgresServer, kafka_address, new_database

WORKERS = ("kv", "vector", "audit", "latest")


def test_workers_go_on_from_the_position_of_a_postgres_that_was_put_back(tmp_path: Path) -> None:
    with (
        PostgresServer() as postgres,
        Cluster(tmp_path, kafka_address(), new_database(postgres.address)) as cluster,
        cluster.library() as system,
    ):
        stream = Stream(11)
        append(system, stream, 2000)
        cluster.run_to_end()
        then = kv_positions(system)
        postgres.stop()
        backup = postgres.backup()
        postgres.start()
        system.close()
        workers = [cluster.consume(name) for name in WORKERS]
        append(system, stream, 2000)
        wait_until_kv_is_at_the_end(system, workers[0])
        postgres.stop()
        postgres.put_back(backup)
        postgres.start()
        system.close()
        wait_until_kv_is_at_the_end(system, workers[0])
        append(system, stream, 500)
        wait_until_kv_is_at_the_end(system, workers[0])
        for worker in workers:
            assert worker.terminated() == 0, worker.stderr
        cluster.run_to_end()
        assert all(end > then[number] for number, end in ends(system).items())
        check_everything(system)


def test_workers_whose_group_offsets_are_gone_go_on_from_the_stored_positions(cluster: Cluster) -> None:
    admin = AdminClient({"bootstrap.servers": kafka_address()})
    with cluster.library() as system:
        stream = Stream(12)
        append(system, stream, 2000)
        cluster.run_to_end()
        append(system, stream, 1000)
        # Half of the workers have passed the rest as well, half have not.
        for name in ("kv", "audit"):
            done = cluster.run("consume", name, "--until-end")
            assert done.returncode == 0, done.stderr
        groups = [cluster.group(name) for name in WORKERS]
        wait_until(lambda: not any(map(system.adapters.log.members, groups)), "groups without members")
        for deleted in admin.delete_consumer_groups(groups).values():
            deleted.result()
        assert not any(system.adapters.log.committed(group, "memory.events") for group in groups)
        append(system, stream, 1000)
        cluster.run_to_end()
        check_everything(system)
