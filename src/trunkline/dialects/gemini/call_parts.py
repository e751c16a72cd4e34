"""The parts of a Gemini request's contents -> the hub's parts."""

from __future__ import annotations

from collections import Counter, defaultdict, deque
from typing import TYPE_CHECKING, Final

import msgspec

from trunkline.core.call import (
    Audio,
    Document,
    Extras,
    Image,
    Inline,
    Opaque,
    Part,
    Reasoning,
    Text,
    ToolCall,
    ToolResult,
    Url,
)
from trunkline.dialects.gemini.media import audio_format, audio_media_type, media_type_of, standard_base64
from trunkline.dialects.gemini.part import NAME, OWN_PARTS, read_signature

if TYPE_CHECKING:
    from trunkline.dialects.gemini.fields import Fields

OUTPUT: Final = "output"
ERROR: Final = "error"
"""The two keys that Google documents for what a function gave."""


class Parts:
    """Reads the parts of one conversation, content by content. Owns the calls that wait for their result.

    `_waiting` counts them by their id. `_called` has the ids by the function's name, also of those that wait no more.
    """

    def __init__(self) -> None:
        self._made = 0
        self._waiting: Counter[str] = Counter()
        self._called: defaultdict[str | None, deque[str]] = defaultdict(deque)

    def read(self, content: Fields) -> tuple[Part, ...]:
        """The parts of one content, in order. Raises Problem INVALID_REQUEST naming the field."""
        parts: list[Part] = []
        for fields in content.items("parts"):
            self._part(fields, parts)
        return tuple(parts)

    def _part(self, fields: Fields, parts: list[Part]) -> None:
        if fields.has("text"):
            _text(fields, parts)
        elif fields.has("functionCall"):
            parts.append(self._call(fields))
        elif fields.has("functionResponse"):
            parts.append(self._result(fields))
        elif fields.has("inlineData") and not fields.has("thoughtSignature"):
            parts.append(_inline(fields))
        elif fields.has("fileData"):
            parts.append(_file(fields))
        elif any(fields.has(name) for name in OWN_PARTS):
            parts.append(Reasoning("", Opaque(NAME, msgspec.json.encode(fields.left()))))
        elif fields.has("thoughtSignature"):
            opaque = read_signature(fields.text("thoughtSignature"))
            if opaque is not None:
                parts.append(Reasoning("", opaque))
        else:
            known = "text, inlineData, fileData, functionCall or functionResponse"
            raise fields.wrong("text", f"is missing: a part holds one of {known}")

    def _call(self, fields: Fields) -> ToolCall:
        signature = fields.text("thoughtSignature")
        call = fields.inner("functionCall")
        if call is None:
            raise fields.wrong("functionCall", "is missing")
        name = call.needed_text("name")
        args = call.raw_object("args")
        call_id = call.text("id")
        if not call_id:
            call_id = f"call_{self._made}"
        self._made += 1
        self._waiting[call_id] += 1
        self._called[name].append(call_id)
        fields.drop("thought")
        return ToolCall(
            call_id,
            name,
            "{}" if args is None else args.decode(),
            opaque=read_signature(signature),
            extras=fields.extras_within("functionCall", call, NAME),
        )

    def _result(self, fields: Fields) -> ToolResult:
        result = fields.inner("functionResponse")
        if result is None:
            raise fields.wrong("functionResponse", "is missing")
        name = result.text("name")
        call_id = self._answered(result.text("id"), name)
        if call_id is None:
            raise result.wrong("name", "answers no function call before it: give its id, or the name of the function")
        raw = result.raw_object("response") or b"{}"
        text, is_error = said(raw)
        if text is None:
            text = raw.decode()
        parts: list[Text | Image | Document] = [Text(text)] if text else []
        for piece in result.items("parts"):
            one = _inline(piece) if piece.has("inlineData") else _file(piece)
            if isinstance(one, Audio):
                raise piece.wrong("inlineData", "cannot be sound in a function's response")
            parts.append(one)
        extras = fields.extras_within("functionResponse", result, NAME)
        return ToolResult(call_id, tuple(parts), name=name, is_error=is_error, extras=extras)

    def _answered(self, call_id: str | None, name: str | None) -> str | None:
        """The call that this result answers: the one it names, else the first of its name that waits."""
        called = deque((call_id,)) if call_id else self._called[name]
        while called:
            found = called.popleft()
            if self._waiting[found]:
                self._waiting[found] -= 1
                return found
        return call_id or None


def _text(fields: Fields, parts: list[Part]) -> None:
    text = fields.needed_text("text")
    is_thought = fields.flag("thought")
    opaque = read_signature(fields.text("thoughtSignature")) if fields.has("thoughtSignature") else None
    if is_thought:
        _thought(Reasoning(text, opaque, extras=fields.extras(NAME)), parts)
        return
    extras = fields.extras(NAME)
    if opaque is not None and opaque.dialect == NAME:
        if text:
            proof = ("thoughtSignature", opaque.raw)
            extras = Extras(NAME, (*(extras.fields if extras else ()), proof))
        else:
            whole = {"text": "", "thoughtSignature": msgspec.Raw(opaque.raw)}
            opaque = Opaque(NAME, msgspec.json.encode(whole))
    if text:
        parts.append(Text(text, extras=extras))
    if opaque is not None and (not text or opaque.dialect != NAME):
        parts.append(Reasoning("", opaque))


def _thought(thought: Reasoning, parts: list[Part]) -> None:
    """What clients put together from a stream has a part for each piece of a thought, the proof on the last one."""
    before = parts[-1] if parts else None
    if isinstance(before, Reasoning) and before.opaque is None and before.extras is None:
        parts[-1] = msgspec.structs.replace(thought, text=before.text + thought.text)
    else:
        parts.append(thought)


def _inline(fields: Fields) -> Image | Document | Audio:
    blob = fields.inner("inlineData")
    if blob is None:
        raise fields.wrong("inlineData", "is missing")
    kind = blob.needed_text("mimeType")
    data = standard_base64(blob.needed_text("data"))
    fields.drop("thought")
    if kind.startswith("image/"):
        return Image(Inline(kind, data), extras=fields.extras_within("inlineData", blob, NAME))
    if kind.startswith("audio/"):
        sound = audio_format(kind)
        extras = fields.extras_within("inlineData", blob, NAME)
        if audio_media_type(sound) != kind:
            extras = _with(extras, "mimeType", kind)
        return Audio(data, sound, extras=extras)
    name = blob.text("displayName")
    return Document(Inline(kind, data), name, extras=fields.extras_within("inlineData", blob, NAME))


def _file(fields: Fields) -> Image | Document:
    file = fields.inner("fileData")
    if file is None:
        raise fields.wrong("inlineData", "is missing")
    url = file.needed_text("fileUri")
    kind = file.text("mimeType")
    guessed = media_type_of(url)
    fields.drop("thought")
    is_image = (kind or guessed or "").startswith("image/")
    name = None if is_image else file.text("displayName")
    extras = fields.extras_within("fileData", file, NAME)
    if kind is not None and kind != (guessed or ("image/jpeg" if is_image else None)):
        extras = _with(extras, "mimeType", kind)
    return Image(Url(url), extras=extras) if is_image else Document(Url(url), name, extras=extras)


def _with(extras: Extras | None, name: str, value: str) -> Extras:
    return Extras(NAME, (*(extras.fields if extras else ()), (name, msgspec.json.encode(value))))


def said(raw: bytes) -> tuple[str | None, bool]:
    """The words of `{"output": "..."}` or `{"error": "..."}`, and whether it is an error; None for anything else."""
    try:
        words = msgspec.json.decode(raw, type=dict[str, str])
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        return None, False
    if set(words) == {OUTPUT}:
        return words[OUTPUT], False
    if set(words) == {ERROR}:
        return words[ERROR], True
    return None, False
