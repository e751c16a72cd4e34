"""Settings and `.env`: every mistake is a finding, and what is right is still checked."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from trunkline.doctor.finding import State
from trunkline.doctor.sources import check_env_file, read_settings

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from trunkline.doctor.finding import Finding
    from trunkline.doctor.sources import Reading

KEY = "sk-or-v1-canary-of-the-doctor"


def read(environment: Mapping[str, str], directory: Path, flags: Mapping[str, str] | None = None) -> Reading:
    return read_settings(environment, directory, flags or {}, None)


def env_file(directory: Path, text: str | bytes, mode: int = 0o600) -> list[Finding]:
    path = directory / ".env"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    path.chmod(mode)
    return check_env_file(directory, has_provider=True)


def test_settings_that_can_be_read_are_one_finding(tmp_path: Path) -> None:
    (finding,) = read({"OPENROUTER_API_KEY": KEY}, tmp_path).findings
    assert finding.state is State.OK


def test_every_mistake_is_a_finding_and_the_rest_is_still_read(tmp_path: Path) -> None:
    reading = read({"PORT": "many", "LOG_LEVEL": "loud", "OPENROUTER_API_KEY": KEY}, tmp_path)
    assert [finding.state for finding in reading.findings] == [State.FAILED, State.FAILED]
    assert {finding.says.partition(" ")[0] for finding in reading.findings} == {"PORT", "LOG_LEVEL"}
    assert reading.wrong == {"PORT", "LOG_LEVEL"}
    assert reading.knows("PORT") is None
    settings = reading.knows("CHAT_DATABASE_URL")
    assert settings is not None
    assert [provider.name for provider in settings.providers] == ["openrouter"]


def test_a_flag_that_is_wrong_is_left_out_as_a_variable_is(tmp_path: Path) -> None:
    reading = read({}, tmp_path, {"PORT": "99999"})
    assert reading.wrong == {"PORT"}
    assert reading.settings is not None


def test_a_key_is_not_kept_for_another_address_than_its_own(tmp_path: Path) -> None:
    reading = read({"OPENROUTER_BASE_URL": "ftp://gateway.example", "OPENROUTER_API_KEY": KEY}, tmp_path)
    assert reading.settings is not None
    assert reading.settings.providers == ()
    assert reading.knows("OPENROUTER_API_KEY") is None


def test_a_file_of_settings_that_is_wrong_leaves_nothing_to_rely_on(tmp_path: Path) -> None:
    (tmp_path / "trunkline.toml").write_text("[server]\nprot = 3001\n")
    reading = read({"OPENROUTER_API_KEY": KEY}, tmp_path)
    assert reading.settings is None
    assert "server.prot" in reading.findings[0].says


def test_the_placeholder_of_the_example_is_a_warning(tmp_path: Path) -> None:
    (finding,) = read({"OPENROUTER_API_KEY": "your_api_key_here"}, tmp_path).findings
    assert finding.state is State.WARNING
    assert finding.says.startswith("OPENROUTER_API_KEY still has its placeholder")


@pytest.mark.parametrize(
    "environment",
    [
        {"PORT": KEY},
        {"OPENROUTER_BASE_URL": f"https://someone:{KEY}@gateway.example/v1", "OPENROUTER_API_KEY": KEY},
        {"FRONTEND_URL": "https://someone:canary@page.example"},
        {"CHAT_DATABASE_URL": "mysql://someone:canary@db.example/chat"},
        {"TRUNKLINE_ADMIN_SECRET": "canary"},
    ],
    ids=lambda environment: next(iter(environment)),
)
def test_a_secret_in_the_wrong_place_is_not_quoted(tmp_path: Path, environment: dict[str, str]) -> None:
    reading = read(environment, tmp_path)
    assert reading.findings[0].state is State.FAILED
    assert "canary" not in repr(reading.findings)


def test_no_env_file_is_fine_where_the_environment_gives_a_key(tmp_path: Path) -> None:
    (finding,) = check_env_file(tmp_path, has_provider=True)
    assert finding.state is State.OK


def test_no_env_file_and_no_key_says_how_to_make_one(tmp_path: Path) -> None:
    (finding,) = check_env_file(tmp_path, has_provider=False)
    assert finding.state is State.WARNING
    assert finding.fix == f"Write {tmp_path / '.env'}, and put your key in it."
    (tmp_path / ".env.example").touch()
    (finding,) = check_env_file(tmp_path, has_provider=False)
    assert finding.fix == "cp .env.example .env, and put your key in it."


def test_an_env_file_of_its_owner_is_right(tmp_path: Path) -> None:
    (finding,) = env_file(tmp_path, f"OPENROUTER_API_KEY={KEY}\nPORT=3001\n")
    assert finding.state is State.OK


def test_a_key_that_every_user_may_read_is_a_warning_that_names_it_only(tmp_path: Path) -> None:
    (finding,) = env_file(tmp_path, f"export OPENROUTER_API_KEY='{KEY}'\nMY_TOKEN=canary-token\n", 0o644)
    assert finding.state is State.WARNING
    assert "MY_TOKEN, OPENROUTER_API_KEY" in finding.says
    assert "canary" not in repr(finding)
    assert finding.fix == "chmod 600 .env"


def test_a_proxys_password_that_every_user_may_read_is_one_too(tmp_path: Path) -> None:
    (finding,) = env_file(tmp_path, "WAY_OUT=http://me:canary@proxy.test:3128\n", 0o644)
    assert finding.state is State.WARNING
    assert "which holds WAY_OUT." in finding.says


@pytest.mark.parametrize(
    "text",
    [
        "PORT=3001\n",
        "OPENROUTER_API_KEY=your_api_key_here\n",
        "OPENROUTER_API_KEY=\n",
        "CHAT_DATABASE_URL=sqlite:///x\n",
        "WAY_OUT=http://proxy.test:3128\n",
    ],
)
def test_every_user_may_read_a_file_that_holds_no_secret(tmp_path: Path, text: str) -> None:
    (finding,) = env_file(tmp_path, text, 0o644)
    assert finding.state is State.OK


def test_a_line_that_is_not_read_is_named_by_its_number(tmp_path: Path) -> None:
    (finding,) = env_file(tmp_path, f"PORT=3001\nOPENROUTER_API_KEY='{KEY}\n")
    assert finding.state is State.WARNING
    assert finding.says.startswith("Line 2 of .env")
    assert "canary" not in repr(finding)


def test_an_env_file_in_another_encoding_is_told(tmp_path: Path) -> None:
    (finding,) = env_file(tmp_path, "PORT=3001\n".encode("utf-16"))
    assert finding.state is State.FAILED
    assert "not UTF-8" in finding.says


def test_a_folder_in_place_of_the_env_file_is_told(tmp_path: Path) -> None:
    (tmp_path / ".env").mkdir()
    (finding,) = check_env_file(tmp_path, has_provider=True)
    assert finding.state is State.WARNING


def test_an_env_file_that_cannot_be_opened_is_told(tmp_path: Path) -> None:
    (tmp_path / ".env").symlink_to(tmp_path / ".env")
    (finding,) = check_env_file(tmp_path, has_provider=True)
    assert finding.state is State.FAILED
    assert finding.says == ".env cannot be read: Too many levels of symbolic links."
