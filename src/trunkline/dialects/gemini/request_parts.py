"""The hub's parts -> the parts of a Gemini request's contents."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from trunkline.core.call import (
    Audio,
    Document,
    Extras,
    Image,
    Inline,
    Media,
    Part,
    Reasoning,
    Refusal,
    Stored,
    Text,
    ToolCall,
    ToolResult,
    Url,
)
from trunkline.core.problem import invalid
from trunkline.dialects.gemini.call_parts import ERROR, OUTPUT, said
from trunkline.dialects.gemini.media import audio_media_type, media_type_of
from trunkline.dialects.gemini.part import NAME, UNPROVEN, is_object, signature_of, whole_part
from trunkline.dialects.gemini.state import is_stored

if TYPE_CHECKING:
    from trunkline.core.call import Message


class PartWriter:
    """Writes the parts of one conversation, message by message. Owns the names of the calls that it has seen."""

    def __init__(self, dropped: list[str]) -> None:
        self._dropped = dropped
        self._names: dict[str, str] = {}
        self._is_first_call = True

    def write(self, message: Message) -> list[object]:
        """The parts of one message; what is empty is left out, since Google refuses it."""
        self._is_first_call = True
        parts: list[object] = []
        for part in message.parts:
            if getattr(part, "is_cached", False):
                self._dropped.append("cache_control")
            if (written := self._part(part)) is not None:
                parts.append(written)
        return parts

    def _part(self, part: Part) -> object | None:
        match part:
            case Text(text=text) | Refusal(text=text):
                extras = part.extras if isinstance(part, Text) else None
                return {"text": text, **self._left(extras, "text")} if text else None
            case Image() | Document() | Audio():
                return self._media(part)
            case ToolCall():
                return self._call(part)
            case ToolResult():
                return self._result(part)
            case Reasoning():
                return self._thought(part)

    def _thought(self, part: Reasoning) -> object | None:
        whole = whole_part(part.opaque)
        if whole is not None:
            return msgspec.Raw(whole)
        signature = signature_of(part.opaque)
        if part.opaque is not None and signature is None:
            self._dropped.append("reasoning.signature")
        if signature is None and not part.text:
            return None
        thought: dict[str, object] = {"text": part.text, "thought": True}
        if signature is not None:
            thought["thoughtSignature"] = signature
        return {**thought, **self._left(part.extras, "reasoning")}

    def _call(self, part: ToolCall) -> object:
        self._names[part.id] = part.name
        arguments = part.arguments
        if not is_object(arguments):
            if arguments.strip():
                self._dropped.append("tool_call.arguments")
            arguments = "{}"
        left = self._left(part.extras, "tool_call")
        call: dict[str, object] = {"id": part.id, "name": part.name, "args": msgspec.Raw(arguments.encode())}
        call.update(_within(left, "functionCall"))
        written: dict[str, object] = {"functionCall": call, **left}
        signature = signature_of(part.opaque)
        if part.opaque is not None and signature is None:
            self._dropped.append("tool_call.signature")
        if signature is not None:
            written["thoughtSignature"] = signature
        elif self._is_first_call:
            written["thoughtSignature"] = UNPROVEN  # the first call of a turn is refused without a proof
        self._is_first_call = False
        return written

    def _result(self, part: ToolResult) -> object:
        name = part.name or self._names.get(part.call_id)
        if name is None:
            raise invalid(f"The result of the tool call {part.call_id[:64]!r} answers no call.", param="messages")
        left = self._left(part.extras, "tool_result")
        words: list[str] = []
        media: list[object] = []
        for inner in part.parts:
            if getattr(inner, "is_cached", False):
                self._dropped.append("cache_control")
            if isinstance(inner, Text):
                words.append(inner.text)
            else:
                media.append(self._media(inner))
        response: dict[str, object] = {
            "id": part.call_id,
            "name": name,
            "response": _response("\n".join(words), is_error=part.is_error),
        }
        if media:
            response["parts"] = media
        response.update(_within(left, "functionResponse"))
        return {"functionResponse": response, **left}

    def _media(self, part: Image | Document | Audio) -> object:
        left = self._left(part.extras, type(part).__name__.lower())
        kind = left.pop("mimeType", None)
        if isinstance(part, Audio):
            sound = {"mimeType": kind or audio_media_type(part.format), "data": part.data}
            return {"inlineData": {**sound, **_within(left, "inlineData")}, **left}
        if isinstance(part, Image) and part.detail not in {None, "auto"}:
            self._dropped.append("image.detail")
        if isinstance(part, Document) and part.name is not None:
            self._dropped.append("document.name")
        name, source = _source(part.media, kind, is_image=isinstance(part, Image))
        return {name: {**source, **_within(left, name)}, **left}

    def _left(self, extras: Extras | None, kind: str) -> dict[str, object]:
        return own_fields(extras, kind, self._dropped)


def own_fields(extras: Extras | None, kind: str, dropped: list[str]) -> dict[str, object]:
    """Our own extras as fields; another dialect's are named in `dropped`, as fields of this kind, and left out."""
    if extras is None:
        return {}
    if extras.dialect != NAME:
        dropped += [f"{kind}.{name}" for name, _ in extras.fields]
        return {}
    return {name: msgspec.Raw(raw) for name, raw in extras.fields}


def _response(words: str, *, is_error: bool) -> object:
    """What a tool gave as the object that Google wants: a JSON object as it is, words under the documented key."""
    if not is_error and is_object(words) and said(words.encode()) == (None, False):
        return msgspec.Raw(words.encode())
    return {ERROR if is_error else OUTPUT: words}


def _within(left: dict[str, object], name: str) -> dict[str, object]:
    """Takes the fields that stood in the object of this name out of what is left."""
    prefix = f"{name}."
    return {key.removeprefix(prefix): left.pop(key) for key in list(left) if key.startswith(prefix)}


def _source(media: Media, kind: object, *, is_image: bool) -> tuple[str, dict[str, object]]:
    """The name of the object that holds it, and that object."""
    match media:
        case Inline(media_type=media_type, data=data):
            return "inlineData", {"mimeType": media_type, "data": data}
        case Url(url=url):
            if is_stored(url):
                raise invalid(
                    "Gemini can be given a public http or https address, or the content itself.", param="messages"
                )
            file: dict[str, object] = {"fileUri": url}
            known = kind or media_type_of(url) or ("image/jpeg" if is_image else None)
            if known is not None:
                file["mimeType"] = known
            return "fileData", file
        case Stored():
            raise invalid("A file that another provider stores cannot be given to Gemini.", param="messages")
