"""No pattern in the code can be made to search for ever (T65)."""

from __future__ import annotations

import ast
import importlib
import re
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

import trunkline

if TYPE_CHECKING:
    from collections.abc import Iterator

LENGTH = 100 * 1024
WITHIN_S = 0.05 * 8
"""Eight times the promise, for a busy machine. What backtracks takes minutes."""

ROOT = Path(trunkline.__file__).parent
METHODS = frozenset({"match", "fullmatch", "search", "sub", "subn", "split", "findall", "finditer"})


class Use(NamedTuple):
    """A pattern, and the ways in which the code asks it."""

    pattern: re.Pattern[Any]
    methods: frozenset[str]


def uses() -> Iterator[tuple[str, Use]]:
    """Every pattern in the code, by its place."""
    for path in sorted(ROOT.rglob("*.py")):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        named = {id(node.value): _name(node) for node in ast.walk(tree) if isinstance(node, ast.Assign | ast.AnnAssign)}
        for node in ast.walk(tree):
            if not isinstance(node, ast.Call) or (method := _method(node)) is None:
                continue
            methods = {method} if method != "compile" else _asked(tree, named.get(id(node)))
            yield f"{path.relative_to(ROOT)}:{node.lineno}", Use(_compiled(node, path), frozenset(methods) or METHODS)


def _name(node: ast.Assign | ast.AnnAssign) -> str | None:
    target = node.targets[0] if isinstance(node, ast.Assign) else node.target
    return target.id if isinstance(target, ast.Name) else None


def _method(node: ast.Call) -> str | None:
    """The function of `re` that is called here."""
    match node.func:
        case ast.Attribute(value=ast.Name(id="re"), attr=name) if name in METHODS | {"compile"}:
            return name
        case _:
            return None


def _asked(tree: ast.Module, name: str | None) -> set[str]:
    """How the pattern of this name is asked in its module."""
    return {
        node.attr
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute)
        and isinstance(node.value, ast.Name)
        and node.value.id == name
        and node.attr in METHODS
    }


def _compiled(node: ast.Call, path: Path) -> re.Pattern[Any]:
    """The pattern as the module has it: it may be put together from constants."""
    scope: dict[str, Any] = {"re": re}
    if any(isinstance(inner, ast.Name) and inner.id != "re" for inner in ast.walk(node.args[0])):
        module = ".".join(("trunkline", *path.relative_to(ROOT).with_suffix("").parts))
        scope |= vars(importlib.import_module(module))
    is_compile = isinstance(node.func, ast.Attribute) and node.func.attr == "compile"
    flags = [*(node.args[1:2] if is_compile else ()), *(k.value for k in node.keywords if k.arg == "flags")]
    call = ast.Call(ast.parse("re.compile", mode="eval").body, [node.args[0], *flags], [])
    code = compile(ast.fix_missing_locations(ast.Expression(call)), str(path), "eval")
    return eval(code, scope)  # noqa: S307 - it is our own source


FOUND = dict(uses())


def hostile(pattern: re.Pattern[Any], length: int = LENGTH) -> Iterator[Any]:
    """Texts of this length that this pattern nearly matches: its own pieces again and again, then something else."""
    source = pattern.pattern if isinstance(pattern.pattern, str) else pattern.pattern.decode("latin-1")
    literal = re.sub(r"\\.|[\^$.|?*+()\[\]{}]", "", source)
    pairs = range(len(source) if len(source) < 80 else 0)
    words = {source[place : place + 2] for place in pairs} | set(source) | set("aA0 .:/;,@-_\t\n\r")
    words |= {literal, literal + "a", "a" + literal, "1-", "a.", ";a", " a", "://"} | set(source.split("|"))
    words |= {re.sub(r"\\(.)", r"\1", word) for word in re.split(r"[()|]|\.\*|\[[^]]*\][*+]?", source)}
    for word in sorted(words - {""}):
        for opening in ("", literal[:20]):
            whole = opening + word * (length // len(word)) + "\u00ff"
            yield whole.encode("utf-8", "replace") if isinstance(pattern.pattern, bytes) else whole


def seconds(pattern: re.Pattern[Any], method: str, text: Any) -> float:
    """How long this takes."""
    started = time.process_time()
    match method:
        case "sub" | "subn":
            getattr(pattern, method)(text[:0], text)
        case "finditer":
            list(pattern.finditer(text))
        case _:
            getattr(pattern, method)(text)
    return time.process_time() - started


def test_there_are_patterns_to_try() -> None:
    assert len(FOUND) > 10


@pytest.mark.parametrize("place", FOUND)
def test_a_pattern_takes_no_longer_than_the_text_is_long(place: str) -> None:
    pattern, methods = FOUND[place]
    for text in hostile(pattern):
        for method in methods:
            assert seconds(pattern, method, text) < WITHIN_S, (pattern, method, text[:40])


@pytest.mark.parametrize("slow", [r"\s+$", r"at `(.*)`$"])
def test_a_pattern_that_backtracks_is_found(slow: str) -> None:
    pattern = re.compile(slow)
    assert any(seconds(pattern, "search", text) > 0.1 for text in hostile(pattern, LENGTH // 4))
