"""What of new settings a running process can take over, and what waits for a new one or for a restart."""

from __future__ import annotations

import msgspec
import pytest

from trunkline.core.caller import Secret
from trunkline.core.catalog import Timeouts
from trunkline.core.resilience import RetryLimits
from trunkline.settings.values import Server, Settings
from trunkline.settings.waiting import BUILT_IN, RESTART, Waiting, waiting_of, with_catalogue_of

OLD = Settings()


@pytest.mark.parametrize(
    "new",
    [
        Settings(aliases=(("fast", "groq/llama"),)),
        Settings(default_model="groq/llama"),
        Settings(timeouts=Timeouts(connect_s=1.0)),
        Settings(warnings=("a warning",)),
    ],
)
def test_the_catalogue_waits_for_nothing(new: Settings) -> None:
    assert waiting_of(OLD, new) == Waiting()


@pytest.mark.parametrize(
    ("new", "names"),
    [
        (Settings(server=Server(admin_secret=Secret("s" * 32))), ("server.admin_secret",)),
        (Settings(server=Server(max_body_bytes=1, log_level="debug")), ("server.log_level", "server.max_body_bytes")),
        (Settings(retries=RetryLimits(attempts=9)), ("retries",)),
        (Settings(chat_database_url=Secret("sqlite:///x")), ("chat_database_url",)),
    ],
)
def test_what_a_worker_is_built_with_waits_for_a_new_one(new: Settings, names: tuple[str, ...]) -> None:
    assert waiting_of(OLD, new) == Waiting(new_worker=names)


def test_what_is_the_parents_waits_for_a_restart() -> None:
    new = Settings(server=Server(host="::1", port=4000, workers=2, data_dir="/elsewhere", drain_s=1.0))
    assert waiting_of(OLD, new) == Waiting(
        restart=("server.host", "server.port", "server.workers", "server.drain_s", "server.data_dir")
    )


def test_what_could_not_be_taken_is_named_again_at_the_next_reload() -> None:
    new = Settings(server=Server(port=4000), default_model="groq/llama", retries=RetryLimits(attempts=9))
    taken = with_catalogue_of(OLD, new)
    assert (taken.default_model, taken.server, taken.retries) == ("groq/llama", OLD.server, OLD.retries)
    assert waiting_of(taken, new) == waiting_of(OLD, new)


def test_every_name_is_that_of_a_setting() -> None:
    fields = {field.name for field in msgspec.structs.fields(Settings)}
    server = {f"server.{field.name}" for field in msgspec.structs.fields(Server)}
    assert set(BUILT_IN) <= fields
    assert server >= RESTART
