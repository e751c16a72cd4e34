"""The head of a request as bytes: the one place where names and values become lines of HTTP/1.1."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from trunkline.core.problem import invalid

if TYPE_CHECKING:
    from trunkline.core.catalog import Origin
    from trunkline.core.problem import Problem
    from trunkline.dialects.dialect import WireRequest

_START: Final = re.compile(r"[A-Z]+ /[!-~]* HTTP/1\.1\r\nhost: [!-~]+\r\n")
_FIELD: Final = r"[!#$%&'*+.^_`|~0-9A-Za-z-]++: [\t -~\x80-\xff]*+\r\n"
_FIELDS: Final = re.compile(f"(?:{_FIELD})*+")
"""Source: https://www.rfc-editor.org/rfc/rfc9110#section-5.5. Possessive, so its time is linear."""

_OURS: Final = frozenset(
    {
        "connection",
        "content-length",
        "expect",
        "host",
        "keep-alive",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    }
)
"""The fields that frame a message or speak of the connection: they are the client's to write."""

MAX_KNOWN: Final = 256

_WITH_BODY: Final = frozenset({"POST", "PUT", "PATCH"})


class Heads:
    """Writes heads. Owns those that were written lately: what a provider is sent seldom differs but for its length."""

    def __init__(self) -> None:
        self._known: dict[tuple[str, Origin, str, tuple[tuple[str, str], ...]], bytes] = {}

    def write(self, request: WireRequest) -> bytes:
        """The request line and all header fields, with the empty line that ends them. Raises as `write_fields` does."""
        key = (request.method, request.origin, request.path, request.headers)
        fields = self._known.get(key)
        if fields is None:
            fields = write_fields(request)
            if len(self._known) >= MAX_KNOWN:
                self._known.clear()
            self._known[key] = fields
        if request.body or request.method in _WITH_BODY:
            return b"%bcontent-length: %d\r\n\r\n" % (fields, len(request.body))
        return fields + b"\r\n"


def write_fields(request: WireRequest) -> bytes:
    """The request line and the header fields, but for that which tells the length.

    Host is added; so is `accept-encoding: identity` where none is given. Raises Problem
    INVALID_REQUEST that names the header (never its value) where CR, LF, NUL or another character could break
    a line, or where a field is the client's own.
    """
    start = f"{request.method} {request.path} HTTP/1.1\r\nhost: {request.origin.authority}\r\n"
    if _START.fullmatch(start) is None:
        raise invalid("The method, the host or the path of the request holds a character that HTTP does not allow.")
    fields = "".join([f"{name}: {value}\r\n" for name, value in request.headers])
    if _FIELDS.fullmatch(fields) is None or fields.count("\n") != len(request.headers):
        raise _refusal(request)
    is_encoding_given = False
    for name, _ in request.headers:
        lower = name.lower()
        if ":" in name:
            raise _refusal(request)
        if lower in _OURS:
            raise invalid(f"The header {lower} is set by the router itself.")
        if lower == "accept-encoding":
            is_encoding_given = True
    if not is_encoding_given:
        fields += "accept-encoding: identity\r\n"
    return f"{start}{fields}".encode("latin-1")


def _refusal(request: WireRequest) -> Problem:
    """Which of the headers it is."""
    wrong = next(
        name for name, value in request.headers if ":" in name or re.fullmatch(_FIELD, f"{name}: {value}\r\n") is None
    )
    return invalid(f"The header {wrong[:64]!a} holds a character that HTTP does not allow.")
