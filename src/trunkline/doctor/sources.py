"""The settings, and the file they come from: every mistake in them, and what can still be read."""

from __future__ import annotations

import contextlib
import io
import re
import stat
from typing import TYPE_CHECKING, Final

import msgspec
from dotenv.parser import parse_stream

from trunkline.doctor.finding import Finding, failed, ok, warning
from trunkline.settings.reading import SettingsError, load, presets
from trunkline.settings.values import Settings
from trunkline.settings.variables import PLACEHOLDERS, VARIABLES

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

MAX_LINES: Final = 5
"""How many lines of `.env` that cannot be read are named."""

_MEND: Final = "Correct it where it is written: environment, .env or trunkline.toml. docs/configuration.md lists all."
_SECRET_NAME: Final = re.compile(r"(?:KEY|SECRET|TOKEN|PASSWORD)$", re.ASCII | re.IGNORECASE)
_WITH_PASSWORD: Final = re.compile(r"https?://[^\s/@:]*:[^\s@]*@", re.ASCII)
_WORD: Final = re.compile(r"[^\s'\"]+")
_KEY_SHAPED: Final = re.compile(r"\b(?:sk|gsk|xai|pk|rk)[-_][\w*-]{6,}", re.ASCII)


class Reading(msgspec.Struct, frozen=True, kw_only=True):
    """The settings as far as they can be read. `wrong`: the variables that were left out because they are wrong.

    `settings` is None where nothing can be relied on.
    """

    settings: Settings | None
    wrong: frozenset[str] = frozenset()
    findings: tuple[Finding, ...] = ()

    def knows(self, *names: str) -> Settings | None:
        """The settings for a check that needs these variables; None where one of them is wrong."""
        return self.settings if self.wrong.isdisjoint(names) else None


def read_settings(
    environment: Mapping[str, str], directory: Path, flags: Mapping[str, str], config: Path | None
) -> Reading:
    """The settings, and a finding for each mistake; what is wrong is left out, so that the rest can be checked."""
    wrong: frozenset[str] = frozenset()
    mistakes: list[str] = []
    settings: Settings | None = None
    try:
        settings = load(environment, directory, flags=flags, config=config)
    except SettingsError as error:
        mistakes = error.mistakes
        wrong = _blamed(mistakes)
        # Mistakes of trunkline.toml, and of .env as a whole, cannot be left out: then this fails as well.
        with contextlib.suppress(SettingsError):
            settings = load(environment, directory, flags={**flags, **dict.fromkeys(wrong, "")}, config=config)
    found = [failed("settings", _legible(mistake), _MEND) for mistake in mistakes]
    warnings = settings.warnings if settings is not None else ()
    # What was left out is empty by our own doing.
    found += [warning("settings", _legible(one), _MEND) for one in warnings if one.partition(" ")[0] not in wrong]
    if not found:
        found = [ok("settings", "Every setting can be read.")]
    return Reading(settings=settings, wrong=wrong, findings=tuple(found))


def _blamed(mistakes: Sequence[str]) -> frozenset[str]:
    """The variables that the mistakes begin with."""
    rows = presets().values()
    names = {variable.name for variable in VARIABLES}
    names |= {name for row in rows for name in row.variables}
    wrong = names & {mistake.partition(" ")[0] for mistake in mistakes}
    # Where an address is wrong its key is left out too: it must not be sent to another one.
    return frozenset(wrong.union(*(row.key_variables for row in rows if row.base_url_variable in wrong)))


def _legible(sentence: str) -> str:
    """Settings quote what they cannot read, and people paste keys into the wrong line."""
    return _KEY_SHAPED.sub("***", _WORD.sub(_without_user, sentence))


def _without_user(word: re.Match[str]) -> str:
    """A word, less the user and the password where it is a URL: up to its last `@`, as a password may hold one."""
    scheme, colon, rest = word[0].partition("://")
    _, at, host = rest.rpartition("@")
    return f"{scheme}{colon}***@{host}" if at else word[0]


def check_env_file(directory: Path, *, has_provider: bool) -> list[Finding]:
    """Whether `.env` is there, can be read, and keeps its keys to its owner."""
    check, path = "env file", directory / ".env"
    try:
        mode = path.stat().st_mode
        if not stat.S_ISREG(mode):
            return [warning(check, ".env is not a plain file, so it is not read.", "Put a text file in its place.")]
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        if has_provider:
            return [ok(check, "There is no .env; the environment gives what is needed.")]
        example = "cp .env.example .env" if (directory / ".env.example").exists() else f"Write {path}"
        return [warning(check, f"There is no .env in {directory}.", f"{example}, and put your key in it.")]
    except OSError as error:
        return [
            failed(
                check,
                f".env cannot be read: {error.strerror}.",
                "Make it a file that you may read: chmod 600 .env, as its owner.",
            )
        ]
    except UnicodeDecodeError as error:
        return [failed(check, f".env is not UTF-8 text (byte {error.start}).", "Save it as UTF-8.")]
    return _judge_env_file(check, mode, text) or [ok(check, ".env can be read.")]


def _judge_env_file(check: str, mode: int, text: str) -> list[Finding]:
    found: list[Finding] = []
    bindings = list(parse_stream(io.StringIO(text)))
    for line in [binding.original.line for binding in bindings if binding.error][:MAX_LINES]:
        says = f"Line {line} of .env is not NAME=value, so it is not read."
        found.append(warning(check, says, "Correct the line, or take it out."))
    secrets = sorted({one.key for one in bindings if one.key and _is_secret(one.key, one.value)})
    if secrets and mode & stat.S_IROTH:
        says = f"Every user of this machine may read .env, which holds {', '.join(secrets)}."
        found.append(warning(check, says, "chmod 600 .env"))
    return found


def _is_secret(name: str, value: str | None) -> bool:
    value = (value or "").strip()
    if not value or value.lower() in PLACEHOLDERS or value.startswith("sqlite:"):
        return False
    is_known = any(variable.name == name and variable.is_secret for variable in VARIABLES)
    return is_known or holds_secret(name) or _WITH_PASSWORD.match(value) is not None


def holds_secret(name: str) -> bool:
    """Whether a variable of this name is one for a secret."""
    return _SECRET_NAME.search(name) is not None
