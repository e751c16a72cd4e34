"""Amazon's side of a signature, written from its description and nothing else.

Source: https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html (read 2026-11-25).
"""

from __future__ import annotations

import hashlib
import hmac
import re
from typing import TYPE_CHECKING
from urllib.parse import quote

import msgspec

if TYPE_CHECKING:
    from collections.abc import Mapping

_AUTHORIZATION = re.compile(
    r"AWS4-HMAC-SHA256 Credential=([^/]+)/([^,]+), SignedHeaders=([a-z0-9;-]+), Signature=([0-9a-f]{64})"
)


class Claim(msgspec.Struct, frozen=True):
    """What an Authorization header says."""

    key_id: str
    scope: str
    signed_headers: tuple[str, ...]
    signature: str


def claim_of(authorization: str) -> Claim:
    """The claim of a header. Raises ValueError where it is none."""
    match = _AUTHORIZATION.fullmatch(authorization)
    if match is None:
        raise ValueError(authorization)
    key_id, scope, names, signature = match.groups()
    return Claim(key_id, scope, tuple(names.split(";")), signature)


def signature_of(
    secret: str, claim: Claim, *, method: str, path: str, query: str = "", headers: Mapping[str, str], body: bytes
) -> str:
    """The signature that the holder of this secret would make over what arrived. Header names are in lower case."""
    canonical = "\n".join(
        [
            method,
            quote(path, safe="/~"),
            "&".join(sorted(query.split("&"))),
            *(f"{name}:{' '.join(headers[name].split())}" for name in claim.signed_headers),
            "",
            ";".join(claim.signed_headers),
            hashlib.sha256(body).hexdigest(),
        ]
    )
    digest = hashlib.sha256(canonical.encode()).hexdigest()
    to_sign = "\n".join(["AWS4-HMAC-SHA256", headers["x-amz-date"], claim.scope, digest])
    key = f"AWS4{secret}".encode()
    for part in claim.scope.split("/"):
        key = hmac.digest(key, part.encode(), "sha256")
    return hmac.digest(key, to_sign.encode(), "sha256").hex()
