"""What an upstream's error means: who is at fault, and whether another attempt could help. One table for every egress.

Sources: https://openrouter.ai/docs/api-reference/errors (read 2026-08-22), https://platform.openai.com/docs/guides/error-codes.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

import msgspec

from trunkline.core.problem import Kind, Problem, Retry, Source
from trunkline.dialects.retry_after import clamp, read_reset, read_retry_after

if TYPE_CHECKING:
    from collections.abc import Mapping

    from trunkline.core.catalog import Target

MAX_UPSTREAM_WORDS: Final = 300
MAX_READ_WORDS: Final = 4096
"""Characters of an upstream's message that are looked at; the masks run over no more."""

_SECRET_SHAPED = re.compile(
    r"\b(?:sk|gsk|xai|pk|rk|key|org|proj|tl)[-_][\w*-]{6,}"  # keys with the field's usual prefixes, also half masked
    r"|\b(?:AIza|AKIA|ASIA|eyJ|ghp_|hf_|r8_)[\w.-]{8,}"  # Google, AWS, a signed token, GitHub, Hugging Face, Replicate
    r"|\bBearer +\S+"
    r"|(?<=://)[^\s/@]+@"  # the user and password of an address
    r"|(?<=[?&]key=)[^\s&]+"
    r"|\b(?=[A-Za-z]*[0-9])(?=[0-9]*[A-Za-z])[A-Za-z0-9]{32,}",  # long, letters and digits: nobody's words
    re.ASCII,
)

_MEDIA_TYPES: Final = frozenset(
    {"", "application/json", "text/event-stream", "text/html", "text/plain", "application/octet-stream"}
)

_WORD = re.compile(r"[a-z_]{1,60}")
"""What a provider's error type looks like, and a key does not. Anything else stays out of the log."""

_STATUS = re.compile(r"[45][0-9]{2}")


_SAYS_CONTEXT: Final = "maximum context length"
"""In these words OpenRouter, DeepSeek, Mistral and vLLM say it, with no code that does."""

_READ_FOR_CONTEXT: Final = 1000


class _Metadata(msgspec.Struct):
    """`flagged_input` is what OpenRouter's moderation did not let pass, with status 403."""

    error_type: str | None = None
    flagged_input: Any = None


class _Availability(msgspec.Struct):
    retry_after: float | None = None


class UpstreamError(msgspec.Struct):
    """Numbers and words both occur as `code`; OpenRouter has `metadata.error_type`, others `type`."""

    message: str | None = None
    code: int | str | None = None
    type: str | None = None
    error_type: str | None = None
    http_status: int | None = None
    metadata: _Metadata | None = None
    availability: _Availability | None = None


_FIELDS: Final = msgspec.structs.fields(UpstreamError)


class _ErrorBody(msgspec.Struct):
    """Mistral and vLLM have the fields of the error beside `"object":"error"`."""

    error: Any = None
    object: Any = None
    message: Any = None
    type: Any = None
    code: Any = None


_ERROR_BODY: msgspec.json.Decoder[_ErrorBody | list[_ErrorBody]] = msgspec.json.Decoder(_ErrorBody | list[_ErrorBody])


def parse_error_body(body: bytes) -> object:
    """The `error` of a JSON body, whatever its shape; None where there is none."""
    try:
        decoded = _ERROR_BODY.decode(body)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        return None
    # Google's endpoint for OpenAI's clients has it in a list.
    said = decoded if isinstance(decoded, _ErrorBody) else next(iter(decoded), _ErrorBody())
    if said.error is None and said.object == "error":
        return {"message": said.message, "type": said.type, "code": said.code}
    return said.error


def read_error(error: object) -> UpstreamError:
    """An error object, or a bare string, as far as it can be read."""
    if isinstance(error, str):
        return UpstreamError(message=error)
    try:
        said = msgspec.convert(error, dict[str, Any])
    except msgspec.ValidationError:
        return UpstreamError()
    read: dict[str, Any] = {}
    for field in _FIELDS:
        try:
            read[field.name] = msgspec.convert(said.get(field.name), field.type)
        except msgspec.ValidationError:
            continue  # one odd field does not hide the others
    return UpstreamError(**read)


def invalid_answer(target: Target, detail: str) -> Problem:
    """The upstream sent something that is no answer; `detail` says in our words what."""
    return Problem(
        Kind.UPSTREAM_INVALID,
        f"{target.provider.label} sent something that is not an answer. Try again, or try another model.",
        source=Source.UPSTREAM,
        retry=Retry.ELSEWHERE,
        detail=detail,
    )


def cut_short(target: Target, detail: str) -> Problem:
    """The stream ended, and the answer had not; `detail` says in our words what was missing."""
    return Problem(
        Kind.TRUNCATED,
        f"{target.provider.label} ended its answer in the middle. Try again.",
        source=Source.UPSTREAM,
        retry=Retry.ELSEWHERE,
        detail=detail,
    )


def no_answer(target: Target, status: int, headers: Mapping[str, str], body: bytes) -> Problem:
    """The Problem of a whole body that is no answer: its status, media type and length go into the log.

    Only known media types do: whatever an upstream writes there is its own words.
    """
    media_type = headers.get("content-type", "").partition(";")[0].strip().lower()
    shown = media_type if media_type in _MEDIA_TYPES else "another media type"
    return invalid_answer(target, f"status {status}, {shown}, {len(body)} bytes")


_CONTEXT = frozenset(
    {
        "context_length_exceeded",
        "exceed_context_size_error",
        "max_tokens_exceeded",
        "token_limit_exceeded",
        "string_too_long",
    }
)
_FILTERED = frozenset(
    {
        "content_policy_violation",
        "content_filter",
        "moderation",
        "refusal",
        "image_content_policy_violation",
        "bio_policy",
        "cyber_policy",
        "misalignment_policy_violation",
    }
)
_KEY = frozenset({"invalid_api_key", "permission_denied"})
"""The router's credential is refused, whatever the status says: Google says 400."""
_UNPAID = frozenset({"insufficient_quota"})
"""Nothing is left to pay with: OpenAI says so with 429, though no waiting helps."""
_TYPE_STATUS: Final[Mapping[str, int]] = {
    "authentication": 401,
    "authentication_error": 401,
    "invalid_api_key": 401,
    "permission_denied": 403,
    "permission_error": 403,
    "billing_error": 402,
    "payment_required": 402,
    "insufficient_quota": 402,
    "rate_limit_exceeded": 429,
    "rate_limit_error": 429,
    "provider_overloaded": 503,
    "overloaded_error": 503,
    "provider_unavailable": 502,
    "invalid_request": 400,
    "invalid_request_error": 400,
    "invalid_prompt": 400,
    "invalid_image": 400,
    "image_too_large": 400,
    "image_too_small": 400,
    "unsupported_image_format": 400,
    "image_not_found": 400,
    "image_download_failed": 400,
    "invalid_image_format": 400,
    "invalid_base64_image": 400,
    "invalid_image_url": 400,
    "invalid_image_mode": 400,
    "image_parse_error": 400,
    "image_file_too_large": 400,
    "unsupported_image_media_type": 400,
    "empty_image_file": 400,
    "failed_to_download_image": 400,
    "image_file_not_found": 400,
    "data_residency_mismatch": 400,
    "slow_down": 503,
    "server_is_overloaded": 503,
    "vector_store_timeout": 504,
    "precondition_failed": 412,
    "not_found": 404,
    "not_found_error": 404,
    "model_not_found": 404,
    "payload_too_large": 413,
    "request_too_large": 413,
    "unprocessable": 422,
    "invalid_argument": 400,
    "failed_precondition": 400,
    "out_of_range": 400,
    "unauthenticated": 401,
    "aborted": 409,
    "resource_exhausted": 429,
    "internal": 500,
    "unavailable": 503,
    "deadline_exceeded": 504,
    "server": 500,
    "server_error": 500,
    "timeout": 504,
    "timeout_error": 504,
}
"""What an error inside a 200 would have been as a status: the types of OpenRouter, OpenAI, Anthropic and Google."""


def _effective_status(status: int, error: UpstreamError) -> int:
    """The status that the error itself names, where the HTTP status does not tell."""
    if status >= 400:
        return status
    if isinstance(error.code, int) and 400 <= error.code <= 599:
        return error.code
    if error.http_status is not None and 400 <= error.http_status <= 599:
        return error.http_status
    for word in _words(error):
        if word in _TYPE_STATUS:
            return _TYPE_STATUS[word]
        if _STATUS.fullmatch(word):
            return int(word)
    return 500


def _words(error: UpstreamError) -> list[str]:
    words = [
        error.metadata.error_type if error.metadata else None,
        error.error_type,
        error.code if isinstance(error.code, str) else None,
        error.type,
        "moderation" if error.metadata and error.metadata.flagged_input is not None else None,
    ]
    return [word for word in words if word]


_BY_STATUS: Final[Mapping[int, Kind]] = {
    401: Kind.KEY_REFUSED,
    402: Kind.KEY_REFUSED,
    403: Kind.KEY_REFUSED,
    404: Kind.NOT_FOUND,
    408: Kind.UPSTREAM_FAILED,
    409: Kind.UPSTREAM_FAILED,
    413: Kind.TOO_LARGE,
    429: Kind.RATE_LIMITED,
}

_BLAME: Final[Mapping[Kind, tuple[Source, Retry]]] = {
    Kind.CONTEXT_TOO_LONG: (Source.CALLER, Retry.ELSEWHERE),
    Kind.CONTENT_FILTERED: (Source.CALLER, Retry.NEVER),
    Kind.KEY_REFUSED: (Source.ROUTER, Retry.ELSEWHERE),
    Kind.NOT_FOUND: (Source.CALLER, Retry.ELSEWHERE),
    Kind.TOO_LARGE: (Source.CALLER, Retry.NEVER),
    Kind.RATE_LIMITED: (Source.UPSTREAM, Retry.ELSEWHERE),
    Kind.INVALID_REQUEST: (Source.CALLER, Retry.NEVER),
    Kind.UPSTREAM_FAILED: (Source.UPSTREAM, Retry.ELSEWHERE),
}

_SENTENCE: Final[Mapping[Kind, str]] = {
    Kind.CONTEXT_TOO_LONG: "The conversation is longer than {target} can take.{said}",
    Kind.CONTENT_FILTERED: "{label} refused this message by its content policy. Rephrase it and try again.",
    Kind.KEY_REFUSED: "The router's key for {label} {why}. Whoever runs the router must check it (`trunkline doctor`).",
    Kind.NOT_FOUND: "{label} does not serve the model {model!r}.{said}",
    Kind.TOO_LARGE: "{label} finds the request too large.",
    Kind.RATE_LIMITED: "{label} limits how often {model} may be asked. Wait a little and try again.",
    Kind.INVALID_REQUEST: "{label} refused the request as invalid.{said}",
    Kind.UPSTREAM_FAILED: "{label} has a problem of its own (status {status}). Try again, or try another model.",
}


def _kind(status: int, words: list[str]) -> Kind:
    """Failure modes F08, F23 and F24 of the field: whose fault it is follows from this."""
    if _CONTEXT.intersection(words):
        return Kind.CONTEXT_TOO_LONG
    if _FILTERED.intersection(words):
        return Kind.CONTENT_FILTERED
    if _KEY.intersection(words):
        return Kind.KEY_REFUSED
    if status in _BY_STATUS:
        return _BY_STATUS[status]
    return Kind.INVALID_REQUEST if 400 <= status < 500 else Kind.UPSTREAM_FAILED


def classify(target: Target, http_status: int, headers: Mapping[str, str], error: UpstreamError) -> Problem:
    """Who is at fault, and whether another attempt could help."""
    if 300 <= http_status < 400:
        return invalid_answer(target, f"status {http_status}: a redirect, which is not followed")
    status = _effective_status(http_status, error)
    words = _words(error)
    kind = _kind(status, words)
    if kind is Kind.INVALID_REQUEST and _SAYS_CONTEXT in (error.message or "")[:_READ_FOR_CONTEXT]:
        kind = Kind.CONTEXT_TOO_LONG
    source, retry = _BLAME[kind]
    detail = f"status {http_status}"
    if status != http_status:
        detail += f", error {status}"
    if words and _WORD.fullmatch(words[0]):
        detail += f", {words[0]}"
    is_unpaid = status == 402 or not _UNPAID.isdisjoint(words)
    message = _SENTENCE[Kind.KEY_REFUSED if is_unpaid and kind is Kind.RATE_LIMITED else kind].format(
        label=target.provider.label,
        model=target.model.id,
        target=target.name,
        status=status,
        why="has no credit left" if is_unpaid else "was refused",
        said=_said(error, target),
    )
    return Problem(
        kind,
        message,
        source=source,
        retry=retry,
        retry_after_s=_retry_after(kind, headers, error),
        upstream_status=http_status,
        detail=detail,
    )


def _retry_after(kind: Kind, headers: Mapping[str, str], error: UpstreamError) -> float | None:
    seconds = read_retry_after(headers)
    if seconds is not None:
        return seconds
    if error.availability is not None and error.availability.retry_after is not None:
        return clamp(error.availability.retry_after)
    return read_reset(headers) if kind is Kind.RATE_LIMITED else None


def _said(error: UpstreamError, target: Target) -> str:
    """The provider's own sentence, for a caller who has something to mend: short, one line, no secret in it."""
    words = error.message or ""
    if len(words) > MAX_READ_WORDS:
        words = words[:MAX_READ_WORDS].rpartition(" ")[0]  # less the last word: a half secret would pass the masks
    words = "".join(character for character in words if character.isprintable() or character.isspace())
    words = _masked(" ".join(words.split()), target)
    if len(words) > MAX_UPSTREAM_WORDS:
        words = words[:MAX_UPSTREAM_WORDS] + "..."
    return f" It says: {words}" if words else ""


def _masked(words: str, target: Target) -> str:
    if target.provider.credential is not None:
        words = words.replace(target.provider.credential.reveal(), "***")
    return _SECRET_SHAPED.sub("***", words)
