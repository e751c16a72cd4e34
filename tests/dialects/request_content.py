"""What the messages of a request can hold, in the hub's terms and in each dialect's own.

Sources: https://platform.openai.com/docs/api-reference/chat/create,
https://platform.openai.com/docs/api-reference/responses/create, https://platform.claude.com/docs/en/api/messages,
https://ai.google.dev/api/generate-content; what is OpenRouter's, https://openrouter.ai/docs/api-reference/parameters
(read 2026-11-25).
"""

from __future__ import annotations

from typing import Final

from dialects.every_dialect import ANTHROPIC, GEMINI
from dialects.features import HI, RequestFeature
from dialects.request_native import (
    PAPER,
    PDF,
    PICTURE,
    PNG,
    fields,
    said_by_user,
    user,
)
from trunkline.core.call import (
    Audio,
    Document,
    Image,
    Inline,
    Message,
    Refusal,
    Role,
    Stored,
    Text,
    Url,
)

TEXT = [
    RequestFeature(
        "text", {"messages": (HI,)}, fields(seed={}, chat={}, responses={}, anthropic={}, gemini={}, completions={})
    ),
    RequestFeature(
        "system prompt",
        {"messages": (Message(Role.SYSTEM, (Text("Be kind."),)), HI)},
        fields(
            chat={"messages": [{"role": "system", "content": "Be kind."}, {"role": "user", "content": "Hi"}]},
            responses={"instructions": "Be kind."},
            anthropic={"system": [{"type": "text", "text": "Be kind."}]},
            gemini={"systemInstruction": {"parts": [{"text": "Be kind."}]}},
        ),
    ),
    RequestFeature(
        "a system message within the conversation",
        {"messages": (HI, Message(Role.SYSTEM, (Text("Be brief."),)))},
        fields(
            chat={"messages": [{"role": "user", "content": "Hi"}, {"role": "system", "content": "Be brief."}]},
            responses={
                "input": [
                    {"type": "message", "role": "user", "content": "Hi"},
                    {"type": "message", "role": "system", "content": "Be brief."},
                ]
            },
        ),
        told=fields(
            anthropic={"system": [{"type": "text", "text": "Be brief."}]},
            gemini={"systemInstruction": {"parts": [{"text": "Be brief."}]}},
        ),
    ),
    RequestFeature(
        "several turns",
        {"messages": (HI, Message(Role.ASSISTANT, (Text("Hello."),)), Message(Role.USER, (Text("And?"),)))},
        fields(
            chat={
                "messages": [
                    {"role": "user", "content": "Hi"},
                    {"role": "assistant", "content": "Hello."},
                    {"role": "user", "content": "And?"},
                ]
            },
            responses={
                "input": [
                    {"type": "message", "role": "user", "content": "Hi"},
                    {"type": "message", "role": "assistant", "content": "Hello."},
                    {"type": "message", "role": "user", "content": "And?"},
                ]
            },
            anthropic={
                "messages": [
                    {"role": "user", "content": [{"type": "text", "text": "Hi"}]},
                    {"role": "assistant", "content": [{"type": "text", "text": "Hello."}]},
                    {"role": "user", "content": [{"type": "text", "text": "And?"}]},
                ]
            },
            gemini={
                "contents": [
                    {"role": "user", "parts": [{"text": "Hi"}]},
                    {"role": "model", "parts": [{"text": "Hello."}]},
                    {"role": "user", "parts": [{"text": "And?"}]},
                ]
            },
        ),
    ),
    RequestFeature(
        "names of speakers",
        {"messages": (Message(Role.USER, (Text("Hi"),), "ann"),)},
        fields(chat={"messages": [{"role": "user", "content": "Hi", "name": "ann"}]}),
    ),
    RequestFeature(
        "an earlier refusal",
        {"messages": (HI, Message(Role.ASSISTANT, (Refusal("I cannot."),)))},
        fields(
            chat={"messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "refusal": "I cannot."}]},
            responses={
                "input": [
                    {"type": "message", "role": "user", "content": "Hi"},
                    {"type": "message", "role": "assistant", "content": [{"type": "refusal", "refusal": "I cannot."}]},
                ]
            },
        ),
        told=fields(
            anthropic={
                "messages": [
                    {"role": "user", "content": [{"type": "text", "text": "Hi"}]},
                    {"role": "assistant", "content": [{"type": "text", "text": "I cannot."}]},
                ]
            },
            gemini={
                "contents": [
                    {"role": "user", "parts": [{"text": "Hi"}]},
                    {"role": "model", "parts": [{"text": "I cannot."}]},
                ]
            },
        ),
        notes={f"{ANTHROPIC} out": "as plain text", f"{GEMINI} out": "as plain text"},
    ),
]

MEDIA = [
    RequestFeature(
        "image by URL",
        said_by_user(Image(Url(PICTURE))),
        user(
            chat=[{"type": "image_url", "image_url": {"url": PICTURE}}],
            responses=[{"type": "input_image", "image_url": PICTURE}],
            anthropic=[{"type": "image", "source": {"type": "url", "url": PICTURE}}],
            gemini=[{"fileData": {"fileUri": PICTURE, "mimeType": "image/png"}}],
        ),
    ),
    RequestFeature(
        "image as base64",
        said_by_user(Image(Inline("image/png", PNG))),
        user(
            chat=[{"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PNG}"}}],
            responses=[{"type": "input_image", "image_url": f"data:image/png;base64,{PNG}"}],
            anthropic=[{"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PNG}}],
            gemini=[{"inlineData": {"mimeType": "image/png", "data": PNG}}],
        ),
    ),
    RequestFeature(
        "how closely to look at an image",
        said_by_user(Image(Url(PICTURE), "high")),
        user(
            chat=[{"type": "image_url", "image_url": {"url": PICTURE, "detail": "high"}}],
            responses=[{"type": "input_image", "image_url": PICTURE, "detail": "high"}],
        ),
    ),
    RequestFeature(
        "PDF as base64",
        said_by_user(Document(Inline("application/pdf", PDF))),
        user(
            chat=[{"type": "file", "file": {"file_data": f"data:application/pdf;base64,{PDF}"}}],
            responses=[{"type": "input_file", "file_data": f"data:application/pdf;base64,{PDF}"}],
            anthropic=[
                {"type": "document", "source": {"type": "base64", "media_type": "application/pdf", "data": PDF}}
            ],
            gemini=[{"inlineData": {"mimeType": "application/pdf", "data": PDF}}],
        ),
    ),
    RequestFeature(
        "PDF by URL",
        said_by_user(Document(Url(PAPER))),
        user(
            chat=[{"type": "file", "file": {"file_data": PAPER}}],
            responses=[{"type": "input_file", "file_url": PAPER}],
            anthropic=[{"type": "document", "source": {"type": "url", "url": PAPER}}],
            gemini=[{"fileData": {"fileUri": PAPER, "mimeType": "application/pdf"}}],
        ),
    ),
    RequestFeature(
        "a file's name",
        said_by_user(Document(Inline("application/pdf", PDF), "paper.pdf")),
        user(
            chat=[
                {"type": "file", "file": {"filename": "paper.pdf", "file_data": f"data:application/pdf;base64,{PDF}"}}
            ],
            responses=[
                {"type": "input_file", "filename": "paper.pdf", "file_data": f"data:application/pdf;base64,{PDF}"}
            ],
            anthropic=[
                {
                    "type": "document",
                    "title": "paper.pdf",
                    "source": {"type": "base64", "media_type": "application/pdf", "data": PDF},
                }
            ],
            gemini=[{"inlineData": {"mimeType": "application/pdf", "data": PDF, "displayName": "paper.pdf"}}],
        ),
    ),
    RequestFeature(
        "a file of another type",
        said_by_user(Document(Inline("text/csv", "YSxiCg=="))),
        user(
            chat=[{"type": "file", "file": {"file_data": "data:text/csv;base64,YSxiCg=="}}],
            responses=[{"type": "input_file", "file_data": "data:text/csv;base64,YSxiCg=="}],
            gemini=[{"inlineData": {"mimeType": "text/csv", "data": "YSxiCg=="}}],
        ),
    ),
    RequestFeature(
        "audio",
        said_by_user(Audio("UklGRg==", "wav")),
        user(
            chat=[{"type": "input_audio", "input_audio": {"data": "UklGRg==", "format": "wav"}}],
            responses=[{"type": "input_audio", "input_audio": {"data": "UklGRg==", "format": "wav"}}],
            gemini=[{"inlineData": {"mimeType": "audio/wav", "data": "UklGRg=="}}],
        ),
    ),
    RequestFeature(
        "a file that the provider stores",
        said_by_user(Document(Stored("file-1"))),
        user(
            chat=[{"type": "file", "file": {"file_id": "file-1"}}],
            responses=[{"type": "input_file", "file_id": "file-1"}],
            anthropic=[{"type": "document", "source": {"type": "file", "file_id": "file_1"}}],
            gemini=[{"fileData": {"fileUri": "https://generativelanguage.googleapis.com/v1beta/files/abc"}}],
        ),
    ),
]

CONTENT: Final = (*TEXT, *MEDIA)
