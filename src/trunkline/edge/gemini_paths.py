"""Gemini's paths: the model and the action stand in them, `models/{model}:{action}`, split at the last colon."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Protocol
from urllib.parse import unquote

from trunkline.core.call import Operation
from trunkline.core.problem import Kind, invalid
from trunkline.dialects.asked_models import MAX_MODEL_CHARACTERS

if TYPE_CHECKING:
    from trunkline.core.caller import Caller
    from trunkline.core.problem import Problem
    from trunkline.dialects.dialect import Ingress
    from trunkline.edge.inference import Inference
    from trunkline.edge.models import Models
    from trunkline.edge.request import Answer, Receive, Request

GENERATIONS: Final = {
    "generateContent": (Operation.GENERATE, False),
    "streamGenerateContent": (Operation.GENERATE, True),
    "countTokens": (Operation.COUNT, False),
}
EMBEDDINGS: Final = {"embedContent": False, "batchEmbedContents": True}
"""Whether they take many texts."""


class PathIngress(Protocol):
    """A dialect whose requests say in their path what they want."""

    def write_problem(self, problem: Problem, *, as_json: bool = False, request_id: str | None = None) -> bytes:
        """The problem, for a client of this dialect."""
        ...

    def at(self, model: str, *, stream: bool, operation: Operation, is_sse: bool) -> Ingress:
        """The ingress of one path."""
        ...

    def embedding(self, model: str, *, takes_many: bool) -> Ingress:
        """The ingress of one path that embeds."""
        ...


class ModelPaths:
    """Everything under `.../models/`: GET describes one model, POST runs an action on it."""

    def __init__(self, prefix: str, ingress: PathIngress, inference: Inference, models: Models) -> None:
        self._prefix = prefix
        self._ingress = ingress
        self._inference = inference
        self._models = models

    async def answer(self, request: Request, caller: Caller | None, receive: Receive, answer: Answer) -> None:
        """Answer one request. Raises Problem where nothing has been sent yet."""
        rest = request.path[len(self._prefix) :]
        assert caller is not None  # noqa: S101 - the route wants one
        if request.method in {"GET", "HEAD"}:
            await self._models.one(rest, request, caller, answer)
            return
        request.write_problem = self._ingress.write_problem
        is_sse = request.query("alt") == "sse"
        await self._inference.answer(ingress_at(self._ingress, rest, is_sse=is_sse), request, caller, receive, answer)


def ingress_at(ingress: PathIngress, rest: str, *, is_sse: bool) -> Ingress:
    """The ingress of one path, by what of it comes after `models/`. Raises Problem NOT_FOUND or INVALID_REQUEST."""
    name, _, action = rest.rpartition(":")
    if not name or (action not in GENERATIONS and action not in EMBEDDINGS):
        names = ", ".join((*GENERATIONS, *EMBEDDINGS))
        raise invalid(f"The path must be models/{{model}}:{{action}}, with one of {names}.", kind=Kind.NOT_FOUND)
    model = unquote(name)
    if len(model) > MAX_MODEL_CHARACTERS or not model.isprintable():
        message = f"The model in the path must be a name of 1 to {MAX_MODEL_CHARACTERS} printable characters."
        raise invalid(message, param="model")
    if action in EMBEDDINGS:
        return ingress.embedding(model, takes_many=EMBEDDINGS[action])
    operation, stream = GENERATIONS[action]
    return ingress.at(model, stream=stream, operation=operation, is_sse=is_sse)
