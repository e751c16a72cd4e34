"""Sinks of Record: a log line and plain integers; a scrape turns the integers of all workers into Prometheus' text."""

from __future__ import annotations

import asyncio
import atexit
import json
import logging
import os
import sys
import time
from bisect import bisect_left
from collections import OrderedDict
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final

import msgspec
import structlog

from trunkline.core.record import Outcome, Record

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from structlog.typing import EventDict

    from trunkline.core.record import Sink

BUCKETS_S: Final = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0)
MAX_SERIES: Final = 1_000
"""Label sets that are kept apart; further models are counted together as `other`."""


def configure_logging(level: str, log_format: str) -> None:
    """Set up the log of this process: pretty on a terminal, one JSON object a line otherwise; to standard error.

    What libraries log, warnings and worse, comes in the same form.
    """
    number = getattr(logging, level.upper())
    is_terminal = sys.stderr.isatty()
    is_pretty = log_format == "pretty" or (log_format == "auto" and is_terminal)
    prepare: list[Any]
    if is_pretty:
        renderer: Any = structlog.dev.ConsoleRenderer(
            sort_keys=False,
            pad_event_to=0,
            colors=is_terminal and not os.environ.get("NO_COLOR"),
            exception_formatter=structlog.dev.plain_traceback,
        )
        prepare = [structlog.processors.add_log_level, structlog.processors.TimeStamper(fmt="%H:%M:%S", utc=False)]
    else:
        renderer = _json_line
        prepare = [_stamped]
    structlog.configure(
        processors=[*prepare, renderer],
        wrapper_class=structlog.make_filtering_bound_logger(number),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr) if is_pretty else _Lines().logger,
        cache_logger_on_first_use=True,
    )
    libraries = logging.StreamHandler(sys.stderr)
    libraries.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[structlog.stdlib.add_logger_name, *prepare],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer],
        )
    )
    logging.basicConfig(level=max(number, logging.WARNING), handlers=[libraries])


def _stamped(_: Any, level: str, event: EventDict) -> EventDict:
    """The event with its level, its time, and the traceback of what was raised."""
    event["level"] = _LEVEL.get(level, level)
    event["timestamp"] = _timestamp()
    return structlog.processors.format_exc_info(_, level, event) if "exc_info" in event else event


_LEVEL: Final = {"exception": "error", "warn": "warning"}


def _timestamp() -> str:
    """The time in UTC, to the millisecond, as ISO 8601 has it."""
    return _iso_of(time.time_ns() // 1_000_000)


@lru_cache(1)
def _iso_of(now_ms: int) -> str:
    second, ms = divmod(now_ms, 1000)
    return f"{_second(second)}.{ms:03}Z"


@lru_cache(1)
def _second(second: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second))


def _json_line(_: Any, __: str, event: EventDict) -> str:
    try:
        return msgspec.json.encode(event, enc_hook=repr).decode()
    except UnicodeEncodeError:  # a file's name, or what was raised, may hold what is no text
        return json.dumps(event, default=repr)


class _Lines:
    """Standard error, line by line; those that are written in one turn of the event loop leave it together."""

    def __init__(self) -> None:
        self._held: list[str] = []
        atexit.register(self._write)

    def logger(self, *_: Any) -> _Lines:
        """What structlog writes to: the same for all loggers, so that lines leave in the order in which they came."""
        return self

    def msg(self, line: str) -> None:
        """Write one line."""
        self._held.append(line)
        if len(self._held) > 1:
            return
        try:
            asyncio.get_running_loop().call_soon(self._write)
        except RuntimeError:
            self._write()

    debug = info = warning = warn = error = exception = critical = fatal = log = msg

    def _write(self) -> None:
        held, self._held = self._held, []
        if not held:
            return
        sys.stderr.write("\n".join(held) + "\n")
        sys.stderr.flush()


class Together:
    """Hands Records to these sinks once a turn of the event loop: one sink after the other takes all that have come.

    Its code and what it keeps are then at hand for all Records but the first: together they take half the time.
    """

    def __init__(self, *sinks: Sink) -> None:
        self._sinks = sinks
        self._held: list[Record] = []

    def accept(self, record: Record) -> None:
        """Take one finished request. Within a running loop only."""
        self._held.append(record)
        if len(self._held) == 1:
            asyncio.get_running_loop().call_soon(self._tell)

    def _tell(self) -> None:
        held, self._held = self._held, []
        for sink in self._sinks:
            for record in held:
                sink.accept(record)


class _Line(msgspec.Struct, omit_defaults=True, gc=False):
    """What the log says of one request, in this order; what is None is not said."""

    id: str
    route: str
    model: str | None = None
    provider: str | None = None
    status: int | None = None
    tokens_in: int | None = None
    tokens_out: int | None = None
    first_token_ms: int | None = None
    total_ms: int | None = None
    problem: str | None = None
    detail: str | None = None
    event: str | None = None
    level: str | None = None
    timestamp: str | None = None


def _line_of(record: Record) -> _Line:
    usage, first_token_ms = record.usage, record.first_token_ms
    return _Line(  # by position: msgspec takes twice as long for so many names
        record.request_id,
        record.route,
        record.model,
        record.provider,
        record.status,
        usage.input_tokens if usage is not None else None,
        usage.output_tokens if usage is not None else None,
        round(first_token_ms) if first_token_ms is not None else None,
        round(record.total_ms),
        record.problem,
        record.detail,
        record.outcome.value,
        "info",
        _timestamp(),
    )


class LogSink:
    """One line a request. No prompt, no key: a Record holds none."""

    def __init__(self) -> None:
        self._log = structlog.get_logger("trunkline").bind()
        self._is_told = self._log.is_enabled_for(logging.INFO)
        config = structlog.get_config()
        self._lines: _Lines | None = config["logger_factory"]() if _json_line in config["processors"] else None

    def accept(self, record: Record) -> None:
        """Write the line of one finished request."""
        if not self._is_told:
            return
        line = _line_of(record)
        if self._lines is not None:
            self._lines.msg(_encoded_json(line).decode())
        else:
            said = msgspec.to_builtins(line)
            del said["level"], said["timestamp"]  # the log gives its own
            self._log.info(said.pop("event"), **said)

    def responded(
        self, request_id: str, method: str, route: str, status: int, total_ms: float, *, is_quiet: bool
    ) -> None:
        """Write the line of a response that no Record tells of."""
        write = self._log.debug if is_quiet else self._log.info
        write("response", id=request_id, method=method[:20], route=route, status=status, total_ms=round(total_ms))


RECENT_RECORDS: Final = 10_000
RECENT_BYTES: Final = 32 * 1024 * 1024


class Recent:
    """The Records of the last requests, for those who ask why. Owns them, as bytes, within both limits.

    A client may choose its request's id, so two users may have chosen the same: each finds its own.
    """

    def __init__(self, *, most: int = RECENT_RECORDS, most_bytes: int = RECENT_BYTES) -> None:
        self._most = most
        self._most_bytes = most_bytes
        self._records: OrderedDict[tuple[str, str], bytes] = OrderedDict()
        self._bytes = 0

    def __len__(self) -> int:
        return len(self._records)

    def accept(self, record: Record) -> None:
        """Keep one finished request; the oldest make room for it."""
        records = self._records
        key = (record.request_id, record.user)
        if key in records:
            self._bytes -= len(records.pop(key))
        data = records[key] = _encoded(record)
        self._bytes += len(data)
        while len(records) > self._most or self._bytes > self._most_bytes:
            self._bytes -= len(records.popitem(last=False)[1])

    def find(self, request_id: str, user: str | None) -> Record | None:
        """The Record of this user's request, of anybody's (the last one of that id) where `user` is None."""
        if user is not None:
            data = self._records.get((request_id, user))
        else:
            data = next((self._records[key] for key in reversed(self._records) if key[0] == request_id), None)
        return None if data is None else _RECORD.decode(data)


_encoded_json: Final = msgspec.json.Encoder().encode
_encoded: Final = msgspec.msgpack.Encoder().encode
_RECORD: Final = msgspec.msgpack.Decoder(Record)


class Series(msgspec.Struct):
    """What one (model, provider) has done. Histograms count what fell into each bucket, the last one without bound."""

    outcomes: dict[str, int] = {}
    input_tokens: int = 0
    output_tokens: int = 0
    cost_nano: int = 0
    unpriced: int = 0
    first_token_sum_s: float = 0.0
    first_token: list[int] = msgspec.field(default_factory=lambda: [0] * (len(BUCKETS_S) + 1))
    duration_sum_s: float = 0.0
    duration: list[int] = msgspec.field(default_factory=lambda: [0] * (len(BUCKETS_S) + 1))


class Snapshot(msgspec.Struct):
    """A worker's numbers at one moment, as they travel between processes."""

    series: dict[str, Series] = {}
    """By `provider<NUL>model`."""
    responses: dict[str, int] = {}
    """By `route<NUL>status`: the responses that no Record tells of."""
    gauges: dict[str, float] = {}
    counters: dict[str, int] = {}


class Meter:
    """Counts Records. Owns the numbers; nothing is formatted until a scrape."""

    def __init__(self) -> None:
        self._series: dict[str, Series] = {}
        self._known: dict[tuple[str | None, str | None], Series] = {}
        """The same by provider and model."""
        self._responses: dict[str, int] = {}

    def accept(self, record: Record) -> None:
        """Count one finished request."""
        series = self._known.get((record.provider, record.model)) or self._series_of(record.provider, record.model)
        outcome, usage = _outcome_key(record.outcome, record.problem), record.usage
        series.outcomes[outcome] = series.outcomes.get(outcome, 0) + 1
        if usage is not None:
            series.input_tokens += usage.input_tokens or 0
            series.output_tokens += usage.output_tokens or 0
            series.unpriced += record.cost_nano is None
        series.cost_nano += record.cost_nano or 0
        total_s = record.total_ms / 1000
        series.duration_sum_s += total_s
        series.duration[bisect_left(BUCKETS_S, total_s)] += 1
        if record.first_token_ms is not None:
            first_s = record.first_token_ms / 1000
            series.first_token_sum_s += first_s
            series.first_token[bisect_left(BUCKETS_S, first_s)] += 1

    def _series_of(self, provider: str | None, model: str | None) -> Series:
        """Where this pair is counted. Past the bound, that is with others, and nothing is kept of the pair."""
        if len(self._known) >= MAX_SERIES:
            return self._series.setdefault(f"{provider or ''}\0other", Series())
        series = self._series.setdefault(f"{provider or ''}\0{model or ''}", Series())
        self._known[provider, model] = series
        return series

    def responded(self, _id: str, _method: str, route: str, status: int, _ms: float, /, *, is_quiet: bool) -> None:  # noqa: ARG002 - quiet ones count, too
        """Count a response that no Record tells of."""
        key = f"{route}\0{status}"
        self._responses[key] = self._responses.get(key, 0) + 1

    def snapshot(self, gauges: Mapping[str, float], counters: Mapping[str, int]) -> Snapshot:
        """The numbers now, with those that others own."""
        return Snapshot(series=self._series, responses=self._responses, gauges=dict(gauges), counters=dict(counters))


@lru_cache(1024)
def _outcome_key(outcome: Outcome, problem: str | None) -> str:
    return f"{outcome.value}\0{problem or ''}"


def render(snapshots: Iterable[Snapshot]) -> bytes:
    """The sum of these snapshots in Prometheus' text format."""
    # The exposition library is read at the first scrape: starting up does not wait for it.
    from prometheus_client import CollectorRegistry  # noqa: PLC0415
    from prometheus_client.exposition import generate_latest  # noqa: PLC0415

    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Collector(list(snapshots)))
    return generate_latest(registry)


class _Collector:
    """Prometheus' view of some snapshots."""

    def __init__(self, snapshots: list[Snapshot]) -> None:
        self._snapshots = snapshots

    def collect(self) -> Iterable[Any]:
        """The metric families."""
        from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily  # noqa: PLC0415

        labels = ("provider", "model")
        requests = CounterMetricFamily(
            "trunkline_requests", "Requests by how they ended.", labels=(*labels, "outcome", "problem")
        )
        tokens = CounterMetricFamily(
            "trunkline_tokens", "Tokens, as upstreams count them or else estimated.", labels=(*labels, "direction")
        )
        cost = CounterMetricFamily(
            "trunkline_cost_nanodollars", "Cost of what was served, where it is known.", labels=labels
        )
        unpriced = CounterMetricFamily(
            "trunkline_unpriced_requests", "Requests that were served at a cost that is not known.", labels=labels
        )
        first = HistogramMetricFamily("trunkline_first_token_seconds", "Arrival to first content.", labels=labels)
        duration = HistogramMetricFamily("trunkline_request_seconds", "Arrival to the last byte.", labels=labels)
        for key, series in self._summed().items():
            pair = tuple(key.split("\0"))
            for outcome, count in series.outcomes.items():
                requests.add_metric((*pair, *outcome.split("\0")), count)
            tokens.add_metric((*pair, "input"), series.input_tokens)
            tokens.add_metric((*pair, "output"), series.output_tokens)
            cost.add_metric(pair, series.cost_nano)
            unpriced.add_metric(pair, series.unpriced)
            first.add_metric(pair, _buckets(series.first_token), series.first_token_sum_s)
            duration.add_metric(pair, _buckets(series.duration), series.duration_sum_s)
        yield from (requests, tokens, cost, unpriced, first, duration)
        responses = CounterMetricFamily(
            "trunkline_responses", "Responses that are no model's answer.", labels=("route", "status")
        )
        for key, count in _total(snapshot.responses for snapshot in self._snapshots).items():
            responses.add_metric(key.split("\0"), count)
        yield responses
        for name, value in _total(snapshot.counters for snapshot in self._snapshots).items():
            yield CounterMetricFamily(f"trunkline_{name}", name.replace("_", " "), value=value)
        for name, level in _total(snapshot.gauges for snapshot in self._snapshots).items():
            yield GaugeMetricFamily(f"trunkline_{name}", name.replace("_", " "), value=level)

    def _summed(self) -> dict[str, Series]:
        summed: dict[str, Series] = {}
        for snapshot in self._snapshots:
            for key, series in snapshot.series.items():
                total = summed.setdefault(key, Series(outcomes={}))
                for outcome, count in series.outcomes.items():
                    total.outcomes[outcome] = total.outcomes.get(outcome, 0) + count
                total.input_tokens += series.input_tokens
                total.output_tokens += series.output_tokens
                total.cost_nano += series.cost_nano
                total.unpriced += series.unpriced
                total.first_token_sum_s += series.first_token_sum_s
                total.duration_sum_s += series.duration_sum_s
                total.first_token = [a + b for a, b in zip(total.first_token, series.first_token, strict=True)]
                total.duration = [a + b for a, b in zip(total.duration, series.duration, strict=True)]
        return summed


def _buckets(counts: list[int]) -> list[tuple[str, float]]:
    running = 0
    buckets: list[tuple[str, float]] = []
    for bound, count in zip((*map(str, BUCKETS_S), "+Inf"), counts, strict=True):
        running += count
        buckets.append((bound, running))
    return buckets


def _total(maps: Iterable[Mapping[str, int] | Mapping[str, float]]) -> dict[str, float]:
    total: dict[str, float] = {}
    for numbers in maps:
        for name, value in numbers.items():
            total[name] = total.get(name, 0) + value
    return total
