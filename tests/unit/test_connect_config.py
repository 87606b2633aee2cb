"""The connector's configuration from files and settings, and what is told of it."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from soma_cli.core.adapters.memory_store.postgres_jdbc import jdbc_target
from soma_cli.core.errors import ConfigurationError, UsageError
from soma_cli.core.operations.connect import _cause
from soma_cli.core.operations.connect_config import changes, read_config, shipped_file, wanted_config
from soma_cli.core.settings import ConnectSettings, LogSettings, Settings

SETTINGS = Settings(log=LogSettings(topic_prefix="t.", replication_factor=2), connect=ConnectSettings())
TARGET = {"jdbc_url": "jdbc:postgresql://h:5432/db", "user": "u", "password": "p$ss", "schema": "public"}


def test_nothing_is_left_to_fill_in() -> None:
    config = wanted_config(SETTINGS, "the-id", TARGET, read_config())
    assert not [key for key, value in config.items() if "${" in value]
    assert config["topics"] == "t.memory.events"
    assert config["collection.name.format"] == "public.memory_landing"
    assert config["connection.password"] == "p$ss"
    assert config["transforms.source.static.value"] == "the-id"
    assert config["errors.deadletterqueue.topic.name"] == "t.memory.connect.dlq"
    assert config["errors.deadletterqueue.topic.replication.factor"] == "2"


def test_what_nothing_works_without_is_in_the_file() -> None:
    config = json.loads(shipped_file().read_text(encoding="utf-8"))
    assert config["consumer.override.isolation.level"] == "read_committed"
    assert config["insert.mode"] == "upsert"
    assert config["primary.key.mode"] == "kafka"
    assert config["errors.deadletterqueue.context.headers.enable"] == "true"
    converters = {value.rpartition(".")[2] for key, value in config.items() if key.endswith(".converter")}
    assert converters == {"ByteArrayConverter"}


def test_changes_are_told_by_key_and_passwords_are_hidden() -> None:
    before = {"name": "x", "a": "1", "connection.password": "old", "gone": "y"}
    found = changes(before, {"a": "2", "connection.password": "new", "b": "3"})
    assert [(one.key, one.before, one.after) for one in found] == [
        ("a", "1", "2"), ("b", None, "3"), ("connection.password", "***", "***"), ("gone", "y", None),
    ]  # fmt: skip
    assert changes(before, before) == []


@pytest.mark.parametrize(
    ("key", "value", "shown"),
    [
        ("consumer.override.sasl.jaas.config", 'x required username="u" password="s3cret";', "***"),
        ("producer.override.ssl.keystore.key", "-----BEGIN s3cret", "***"),
        ("value.converter.schema.registry.basic.auth.user.info", "u:s3cret", "***"),
        ("transforms.x.api.key", "s3cret", "***"),
        ("my.access_token", "s3cret", "***"),
        ("sasl.oauthbearer.client.Secret", "s3cret", "***"),
        ("connection.url", "jdbc:postgresql://h/db?password=s3cret&ssl=true", "jdbc:postgresql://h/db?password=***&ssl=true"),
        ("connection.url", "jdbc:x://h;pwd=s3cret;a=b", "jdbc:x://h;pwd=***;a=b"),
        ("some.url", "http://u:s3cret@h/x", "http://u:***@h/x"),
        ("some.options", "a=1 client_secret = s3cret", "a=1 client_secret = ***"),
        ("primary.key.mode", "kafka", "kafka"),
        ("key.converter", "a.B", "a.B"),
        ("transforms.key.field", "key", "key"),
    ],
)  # fmt: skip
def test_what_may_be_a_secret_is_not_shown(key: str, value: str, shown: str) -> None:
    [before], [after] = changes({key: value}, {}), changes({}, {key: value})
    assert (before.before, after.after) == (shown, shown)


@pytest.mark.parametrize("text", ["no json", "[]", '{"a": 1}'])
def test_a_file_that_is_no_configuration_is_named(text: str, tmp_path: Path) -> None:
    file = tmp_path / "mine.json"
    file.write_text(text)
    with pytest.raises(UsageError, match=r"mine\.json"):
        read_config(file)


def test_a_connection_string_is_told_to_java() -> None:
    found = jdbc_target("postgresql://us%40er:p%2Fw@db1,db2:5433/my%20db?sslmode=require", "store.dsn")
    assert found["jdbc_url"].startswith("jdbc:postgresql://db1:5432,db2:5433/my%20db?")
    assert "sslmode=require" in found["jdbc_url"]
    assert (found["user"], found["password"]) == ("us@er", "p/w")
    assert "p/w" not in found["jdbc_url"]
    assert "//[::1]:5432/" in jdbc_target("host=::1 dbname=d", "store.dsn")["jdbc_url"]


@pytest.mark.parametrize("dsn", ["", "host=/run/postgresql dbname=d", "host=h", "not a ; dsn"])
def test_a_connection_string_that_connect_cannot_use_is_refused_without_quoting_it(dsn: str) -> None:
    with pytest.raises(ConfigurationError, match=r"store\.dsn") as refused:
        jdbc_target(dsn, "store.dsn")
    assert "connect.store_dsn" in refused.value.hint


def test_the_cause_of_a_trace_is_its_last_one() -> None:
    trace = (
        "org.apache.kafka.connect.errors.ConnectException: Exiting\n\tat x.Y(Z.java:1)\n"
        "Caused by: a.b.First: one\n\t... 2 more\nCaused by: java.sql.SQLException: no table\n\t... 3 more\n"
    )
    assert _cause(trace) == "SQLException: no table"
    assert _cause("a.b.Oops\n\tat c") == "Oops"
    assert _cause(None) is None


def test_the_group_is_connects_name_for_it() -> None:
    from soma_cli.core.operations.connect_landing import sink_group

    assert sink_group(replace(SETTINGS, connect=ConnectSettings(connector="mine"))) == "connect-mine"
