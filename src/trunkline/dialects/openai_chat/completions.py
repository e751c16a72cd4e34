"""OpenAI's older completions, `POST /v1/completions`: the ingress. A prompt is one message of the user's.

Source: https://platform.openai.com/docs/api-reference/completions/create (read 2026-11-25).
"""

from __future__ import annotations

from itertools import accumulate
from typing import TYPE_CHECKING, Any, Final

import msgspec

from trunkline.core.call import Call, Envelope, Facts, Message, Role, Text
from trunkline.core.reply import BlockKind, Delta, Event, Feature, Finish, FinishReason, Head, Start, Usage
from trunkline.dialects import sse
from trunkline.dialects.asked_models import PLANNED, conversation_name, read_models, read_preferences
from trunkline.dialects.dialect import top_level
from trunkline.dialects.json_fields import JsonFields
from trunkline.dialects.openai_chat.ingress import wants_usage
from trunkline.dialects.openai_chat.writer import is_counted, priced, usage_object, write_problem
from trunkline.dialects.scan import Scan

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from trunkline.core.problem import Problem
    from trunkline.core.reply import Logprob, Reply
    from trunkline.dialects.dialect import Opening

NAME: Final = "openai_completions"
DEFAULT_MAX_TOKENS: Final = 16

_SAID: Final = frozenset({BlockKind.TEXT, BlockKind.REFUSAL})


class OpenAICompletionsIngress:
    """The ingress of text completions."""

    name = NAME
    commits_on_reasoning = False
    keep_alive = sse.KEEP_ALIVE
    takes_receipts = True
    unsaid = frozenset({Feature.REASONING, Feature.TOOL_CALLS, Feature.CITATIONS, Feature.STOP_SEQUENCE})
    carries: Mapping[str, bool] = {}

    def peek(self, body: bytes) -> Envelope:
        """The top-level keys that planning needs. Raises Problem INVALID_REQUEST naming the field."""
        keys = top_level(body)
        fields = JsonFields(keys)
        model, fallbacks = read_models(fields)
        _prompt(fields)
        return Envelope(
            model=model,
            fallbacks=fallbacks,
            preferences=read_preferences(fields),
            stream=fields.flag("stream") or False,
            max_tokens=fields.integer("max_tokens", 1) or DEFAULT_MAX_TOKENS,
            wants_usage=wants_usage(fields),
            conversation=conversation_name(fields),
            keys=keys,
        )

    def facts(self, envelope: Envelope) -> Facts:
        """What the request needs: text, and nothing more."""
        scan = Scan()
        scan.add(_prompt(JsonFields(envelope.keys)), is_user=True)
        return scan.facts(())

    def provider_state(self, envelope: Envelope) -> str | None:
        """Nothing here can name what a provider keeps."""
        del envelope

    def provider_tool(self, envelope: Envelope) -> str | None:
        """Nothing here can have a provider run tools."""
        del envelope

    def read_call(self, body: bytes) -> Call:
        """The whole request. Raises Problem INVALID_REQUEST naming the field that a conversation has no place for."""
        fields = JsonFields(top_level(body))
        fields.drop("model", "stream_options", "usage", *PLANNED)
        for name in ("n", "best_of"):
            if (fields.integer(name, 1) or 1) > 1:
                raise fields.wrong(name, "can only be 1 here: one answer at a time is given")
        if fields.flag("echo"):
            raise fields.wrong("echo", "cannot be had from a model that converses: leave it out")
        if fields.text("suffix"):
            raise fields.wrong("suffix", "cannot be had from a model that converses: leave it out")
        limit, asked = fields.integer("max_tokens", 1), fields.integer("logprobs", 0)
        stop = (fields.needed_text("stop"),) if fields.starts_with("stop", b'"') else tuple(fields.texts("stop"))
        return Call(
            messages=(Message(Role.USER, (Text(_prompt(fields)),)),),
            temperature=fields.number("temperature"),
            max_tokens=limit or DEFAULT_MAX_TOKENS,
            defaulted=frozenset() if limit else frozenset({"max_tokens"}),
            stream=fields.flag("stream") or False,
            top_p=fields.number("top_p"),
            top_k=fields.integer("top_k"),
            stop=stop,
            seed=fields.integer("seed"),
            frequency_penalty=fields.number("frequency_penalty"),
            presence_penalty=fields.number("presence_penalty"),
            logprobs=True if asked is not None else None,
            top_logprobs=asked,
            user=fields.text("user"),
            extras=fields.extras(NAME),
        )

    def writer(self, opening: Opening) -> Writer:
        """A writer for one stream."""
        return Writer(opening)

    def write_reply(self, reply: Reply, opening: Opening) -> bytes:
        """A whole answer as a JSON body."""
        finish = reply.finish.reason if reply.finish is not None else None
        tokens = [token for block in reply.blocks if block.kind in _SAID for token in block.logprobs]
        whole = _object(opening, reply.head.model, [_choice(reply.text, finish, _logprobs(tokens, 0))])
        if reply.usage is not None and is_counted(reply.usage):
            whole["usage"] = usage_object(priced(reply.usage, opening))
        return msgspec.json.encode(whole)

    def write_problem(self, problem: Problem, *, as_json: bool = False, request_id: str | None = None) -> bytes:
        """The problem as the last event of a stream, without a `[DONE]` after it, or as a JSON body."""
        del request_id
        return write_problem(problem, as_json=as_json)


def _prompt(fields: JsonFields) -> str:
    """The one text. Several prompts and tokens are refused: they mean something to one kind of model only."""
    if fields.starts_with("prompt", b'"'):
        return fields.needed_text("prompt")
    if not fields.has("prompt"):
        raise fields.wrong("prompt", "is missing")
    try:
        texts = msgspec.json.decode(fields.raw("prompt") or b"", type=list[str])
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        texts = []
    if len(texts) != 1:
        raise fields.wrong("prompt", "must be one text: several prompts, and tokens, cannot be translated")
    return texts[0]


def _object(opening: Opening, model: str | None, choices: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "id": f"cmpl-{opening.id}",
        "object": "text_completion",
        "created": opening.created,
        "model": model or opening.model,
        "choices": choices,
    }


def _choice(text: str, finish: FinishReason | None, logprobs: dict[str, Any] | None = None) -> dict[str, Any]:
    """This dialect knows three ways to end; a call of a tool, which nobody could ask for, is a stop."""
    word = FinishReason.STOP if finish is FinishReason.TOOL_CALLS else finish
    return {"text": text, "index": 0, "logprobs": logprobs, "finish_reason": word}


def _logprobs(tokens: Sequence[Logprob], offset: int) -> dict[str, Any] | None:
    """The tokens in columns, as this dialect has them; `offset` is where the first stands, in characters."""
    if not tokens:
        return None
    ends = list(accumulate((len(token.token) for token in tokens), initial=offset))
    return {
        "tokens": [token.token for token in tokens],
        "token_logprobs": [token.logprob for token in tokens],
        "top_logprobs": [{other.token: other.logprob for other in token.others} for token in tokens],
        "text_offset": ends[:-1],
    }


class Writer:
    """Events -> chunks of text, usage last and only if it was asked for, then `[DONE]`. Thoughts have no place here."""

    def __init__(self, opening: Opening) -> None:
        self._opening = opening
        self._model: str | None = None
        self._said: set[int] = set()
        self._offset = 0
        self._usage: Usage | None = None

    def write_problem(self, problem: Problem) -> bytes:
        """The error event that ends the stream."""
        return write_problem(problem, as_json=False)

    def write(self, events: Iterable[Event]) -> bytes:
        """The bytes that tell these events."""
        out: list[bytes] = []
        for event in events:
            match event:
                case Head(model=model):
                    self._model = model
                case Start(index=index, kind=kind) if kind in _SAID:
                    self._said.add(index)
                case Delta(index=index, text=text, logprobs=tokens) if (text or tokens) and index in self._said:
                    out.append(self._chunk([_choice(text, None, _logprobs(tokens, self._offset))]))
                    self._offset += len(text)
                case Usage():
                    self._usage = event
                case Finish(reason=reason):
                    out.append(self._chunk([_choice("", reason)]))
                    if self._opening.wants_usage and self._usage is not None and is_counted(self._usage):
                        out.append(self._chunk([], usage_object(priced(self._usage, self._opening))))
                    out.append(sse.DONE)
                case _:
                    pass
        return b"".join(out)

    def _chunk(self, choices: list[dict[str, Any]], usage: dict[str, Any] | None = None) -> bytes:
        chunk = _object(self._opening, self._model, choices)
        if self._opening.wants_usage:
            chunk["usage"] = usage
        return sse.event(msgspec.json.encode(chunk))
