"""What the settings of the brokers must say is asked before any client is made: no server is needed to be told."""

import pytest

from soma_cli.core.adapters.event_log.kafka_client import KafkaClient
from soma_cli.core.errors import ConfigurationError
from soma_cli.core.settings import LogSettings, SecuritySettings


@pytest.mark.parametrize("protocol", ["SASL_PLAINTEXT", "SASL_SSL"])
def test_a_login_needs_a_mechanism(protocol: str) -> None:
    security = SecuritySettings(protocol, username="u", password="hidden")  # type: ignore[arg-type]
    with pytest.raises(ConfigurationError) as caught:
        KafkaClient(LogSettings(kind="kafka", bootstrap_servers="localhost:9092", security=security))
    assert caught.value.code == "log_security"
    assert caught.value.message == f"log.security.protocol is {protocol}, but there is no log.security.mechanism"
    assert "SOMA_LOG__SECURITY__MECHANISM" in caught.value.hint
    assert "hidden" not in caught.value.message + caught.value.hint
