"""Google's side: an endpoint that gives tokens for signed assertions, and a key file that leads to it."""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from trunkline.upstream.script import Script, json_error

if TYPE_CHECKING:
    from pathlib import Path

    from trunkline.upstream.journal import ReceivedRequest

EMAIL = "router@a-project.iam.gserviceaccount.com"


class TokenEndpoint:
    """Gives `token-1`, `token-2`, ... for assertions that its own key signed, each good for `lifetime_s`.

    `script` answers instead, where it is set. Everything else that reaches it is the model's, and gets `{}`.
    """

    def __init__(self, *, lifetime_s: int = 3600) -> None:
        self.lifetime_s = lifetime_s
        self.given = 0
        self.claims: list[dict[str, Any]] = []
        self.script: Script | None = None
        self._key = rsa.generate_private_key(public_exponent=65537, key_size=2048)

    def write_key_file(self, path: Path, port: int) -> Path:
        """A service account's key file whose tokens come from here."""
        pem = self._key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        account = {
            "type": "service_account",
            "project_id": "a-project",
            "private_key_id": "1",
            "private_key": pem.decode(),
            "client_email": EMAIL,
            "token_uri": f"http://127.0.0.1:{port}/token",
        }
        path.write_text(json.dumps(account))
        return path

    def answer(self, request: ReceivedRequest) -> Script:
        """What a scripted upstream plays."""
        if request.path != "/token":
            return json_error(200, {})
        if self.script is not None:
            return self.script
        self.claims.append(self._verified(parse_qs(request.body.decode())["assertion"][0]))
        self.given += 1
        return json_error(
            200, {"access_token": f"token-{self.given}", "expires_in": self.lifetime_s, "token_type": "Bearer"}
        )

    def _verified(self, assertion: str) -> dict[str, Any]:
        signed, _, signature = assertion.rpartition(".")
        self._key.public_key().verify(_decoded(signature), signed.encode(), padding.PKCS1v15(), hashes.SHA256())
        return json.loads(_decoded(signed.partition(".")[2]))


def _decoded(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
