"""A vendor that speaks generateContent, as Google does.

Source: https://ai.google.dev/api/generate-content, https://ai.google.dev/gemini-api/docs/thought-signatures (the types
of google-genai 3.4.0), read 2026-11-24.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import msgspec

from acceptance.sdk.talk import Called
from acceptance.sdk.vendors.vendor import Told, json_script
from trunkline.dialects import sse
from trunkline.dialects.gemini.fields import camel
from trunkline.upstream.script import Script

if TYPE_CHECKING:
    from acceptance.sdk.vendors.vendor import Answer
    from trunkline.upstream.journal import ReceivedRequest

_REFUSALS = {400: "INVALID_ARGUMENT", 401: "UNAUTHENTICATED", 429: "RESOURCE_EXHAUSTED", 500: "INTERNAL"}
_FINISH = {"stop": "STOP", "tools": "STOP", "length": "MAX_TOKENS"}
_BLOBS = {"inlineData", "inline_data", "fileData", "file_data"}
_NONE = {"", "skip/thought/signature/validator", "c2tpcF90aG91Z2h0X3NpZ25hdHVyZV92YWxpZGF0b3I="}
"""No proof, in Google's own word for that too, which its client takes for bytes (here in the other alphabet)."""

Part = dict[str, Any]


class Gemini:
    """Google."""

    name = "gemini"
    broken = "gemini/google-midstream-error.sse"

    def streams(self, request: ReceivedRequest) -> bool:
        return request.path.endswith(":streamGenerateContent")

    def stream(self, answer: Answer) -> Script:
        parts = _parts(answer, answer.thoughts, answer.text)
        chunks = [_chunk([part]) for part in parts]
        if answer.finish is not None:
            last = chunks.pop() if chunks else _chunk([{"text": ""}])
            last["candidates"][0]["finishReason"] = _FINISH[answer.finish]
            chunks.append({**last, "usageMetadata": _usage(answer)})
        return Script(body=tuple(sse.event(msgspec.json.encode(chunk)) for chunk in chunks))

    def whole(self, answer: Answer) -> Script:
        thoughts = ("".join(answer.thoughts),) if answer.thoughts else ()
        text = ("".join(answer.text),) if answer.text else ()
        chunk = _chunk(_parts(answer, thoughts, text))
        chunk["candidates"][0]["finishReason"] = _FINISH[answer.finish or "stop"]
        return json_script({**chunk, "usageMetadata": _usage(answer)})

    def refusal(self, status: int, message: str) -> dict[str, Any]:
        return {"error": {"code": status, "message": message, "status": _REFUSALS[status]}}

    def told(self, request: ReceivedRequest) -> Told:
        body = request.json()
        contents: list[dict[str, Any]] = body["contents"]
        parts = [(one.get("role"), _camel(part)) for one in contents for part in one["parts"]]
        calls = [part["functionCall"] for _, part in parts if "functionCall" in part]
        results = [part["functionResponse"] for _, part in parts if "functionResponse" in part]
        config = body.get("generationConfig") or {}
        thinking = _camel(_field(config, "thinkingConfig") or {})
        declared = [tool for entry in body.get("tools", ()) for tool in entry.get("functionDeclarations", ())]
        level = thinking.get("thinkingLevel")
        return Told(
            stream=self.streams(request),
            system="".join(part["text"] for part in (body.get("systemInstruction") or {}).get("parts", ())),
            texts=tuple(part["text"] for role, part in parts if role == "user" and "text" in part),
            tools={tool["name"]: _field(tool, "parametersJsonSchema") or tool["parameters"] for tool in declared},
            calls=tuple(Called(call["name"], call["args"], call.get("id") or call["name"]) for call in calls),
            results=tuple((it.get("id") or it["name"], _said(it["response"])) for it in results),
            schema=_field(config, "responseJsonSchema") or _field(config, "responseSchema"),
            pictures=tuple(_address(part) for _, part in parts if "inlineData" in part or "fileData" in part),
            effort=level.lower() if level else None,
            budget=thinking.get("thinkingBudget"),
            thoughts=tuple(part["text"] for _, part in parts if part.get("thought") and part.get("text")),
            temperature=config.get("temperature"),
            stop=tuple(_field(config, "stopSequences") or ()),
            seed=config.get("seed"),
            proofs=tuple(
                proof for _, part in parts if (proof := _base64(part.get("thoughtSignature", ""))) not in _NONE
            ),
        )


def _field(fields: dict[str, Any], name: str) -> Any:
    """A field under either of its spellings: Google takes both, and its own SDK sends both."""
    return fields.get(name, fields.get(re.sub("[A-Z]", lambda found: f"_{found[0].lower()}", name)))


def _camel(fields: dict[str, Any]) -> dict[str, Any]:
    """The fields of a part, and of what is right in it, in camel case."""
    return {
        camel(name): {camel(key): inner for key, inner in value.items()} if name in _BLOBS else value
        for name, value in fields.items()
    }


def _said(response: dict[str, Any]) -> str:
    return str(next(iter(response.values())))


def _address(part: Part) -> str:
    if "fileData" in part:
        return part["fileData"]["fileUri"]
    blob = part["inlineData"]
    return f"data:{blob['mimeType']};base64,{_base64(blob['data'])}"


def _base64(data: str) -> str:
    """Google takes both alphabets of base64."""
    return data.replace("-", "+").replace("_", "/")


def _parts(answer: Answer, thoughts: tuple[str, ...], text: tuple[str, ...]) -> list[Part]:
    """The proof stands on the first call; without calls, on the last of the text."""
    parts: list[Part] = [{"text": piece, "thought": True} for piece in thoughts]
    parts += [{"text": piece} for piece in text]
    first_call = len(parts)
    for call in answer.calls:
        given = {"id": call.id} if call.id else {}  # models before the third generation give none
        parts.append({"functionCall": {**given, "name": call.name, "args": call.arguments}})
    if answer.proof is not None:
        parts[first_call if answer.calls else -1]["thoughtSignature"] = answer.proof
    return parts


def _chunk(parts: list[Part]) -> dict[str, Any]:
    content = {"role": "model", "parts": parts}
    return {
        "candidates": [{"index": 0, "content": content}],
        "modelVersion": "vendor-1",
        "responseId": "Il0taoSYJ5CezLUP_6mOkQ4",
    }


def _usage(answer: Answer) -> dict[str, int]:
    """Google counts thoughts apart from the rest of the output."""
    spent = answer.spent
    thought = spent.reasoning or 0
    usage = {
        "promptTokenCount": spent.input,
        "candidatesTokenCount": spent.output - thought,
        "totalTokenCount": spent.input + spent.output,
    }
    if spent.reasoning is not None:
        usage["thoughtsTokenCount"] = spent.reasoning
    if spent.cached is not None:
        usage["cachedContentTokenCount"] = spent.cached
    return usage
