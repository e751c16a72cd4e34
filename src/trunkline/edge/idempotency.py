"""`Idempotency-Key`: a request is answered once, and whoever asks again is given the same answer.

The semantics are Stripe's: https://docs.stripe.com/api/idempotent_requests. What of them is our own choice stands in
`docs/reliability.md`.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from hashlib import sha256
from typing import TYPE_CHECKING, Final, Protocol
from uuid import uuid4

import structlog

from trunkline.core.problem import Kind, Problem
from trunkline.core.saved_answer import SavedAnswer
from trunkline.gateway.off_loop import SHALLOW_BYTES, off_loop

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Collection

    from trunkline.edge.request import Answer, Message, Request
    from trunkline.gateway.exchange import Exchange

MAX_ANSWER_BYTES: Final = 4 * 1024 * 1024
"""A larger answer is not kept."""

MAX_TAPED_BYTES: Final = 256 * 1024 * 1024
"""What a worker holds at most of answers that have not ended. What would go beyond is not kept."""

RENEW_S: Final = 15.0
PRUNE_S: Final = 1800.0
PRUNE_BYTES: Final = 64 * 1024 * 1024
PRUNE_ANSWERS: Final = 1_000

SAVED_HEADERS: Final = frozenset({b"content-type", b"cache-control", b"x-accel-buffering", b"x-session-id"})
OURS: Final = b"x-trunkline-"
REPLAYED: Final = (b"idempotent-replayed", b"true")


class Store(Protocol):
    """Where claims and answers are (`trunkline.store.saved_answers`)."""

    async def prepare(self) -> None:
        """Make it ready. Raises Problem UNAVAILABLE, as all of these do."""
        ...

    async def claim(self, name: bytes, request: bytes, claim: str, /) -> SavedAnswer | None:
        """The answer saved under this name; None where the name is the caller's now. Raises Problem."""
        ...

    async def renew(self, claims: Collection[str], /) -> None:
        """Say that these claims live."""
        ...

    async def save(self, claim: str, answer: SavedAnswer, /) -> bool:
        """Keep the answer in place of the claim; whether that still stood."""
        ...

    async def release(self, claim: str, /) -> None:
        """Give the name free."""
        ...

    async def prune(self) -> int:
        """Forget what has expired, and what is beyond the bounds; how many of these."""
        ...

    async def aclose(self) -> None:
        """Close it."""
        ...


class Idempotency:
    """Answers each key's request once. Owns the claims of this process and the tasks that settle and renew them.

    The store is opened, in a thread, for the first request that has a key, or by `start`.
    """

    def __init__(self, open_store: Callable[[], Store]) -> None:
        self._open = open_store
        self._opening = asyncio.Lock()
        self._store: Store | None = None
        self._claims: set[str] = set()
        self._settling: set[asyncio.Task[None]] = set()
        self._keeper: asyncio.Task[None] | None = None
        self._is_closing = asyncio.Event()
        self._unpruned = [0, 0]
        """How many answers, and bytes, were saved since the last pruning."""
        self._log = structlog.get_logger("trunkline.idempotency")
        self.taped_bytes = 0

    async def start(self) -> None:
        """Open the store, so that what it holds expires even if no key comes. Who sends one is told of a failure."""
        try:
            await self._opened()
        except Problem as problem:
            self._log.warning("answers cannot be kept", problem=problem.message, detail=problem.detail)

    async def answer(
        self,
        key: str,
        request: Request,
        exchange: Exchange,
        answer: Answer,
        walk: Callable[[], Awaitable[None]],
    ) -> None:
        """Have `walk` answer, unless it did before: then say the same again.

        Raises Problem where a request with this key is under way, or was another one, or where nobody can know; nothing
        was asked then.
        """
        user, body = exchange.caller.user, exchange.body
        store = await self._opened()
        name = sha256(f"{len(user)} {user} {key}".encode()).digest()
        digest = await off_loop(len(body) >= SHALLOW_BYTES, _digest, request, body)
        claim = uuid4().hex
        try:
            saved = await store.claim(name, digest, claim)
        except Problem as problem:
            if problem.kind is Kind.UNAVAILABLE:
                # It may have been taken all the same.
                self._log.warning("a claim could not be made", detail=problem.detail)
                self._settle(store.release(claim))
            raise
        except asyncio.CancelledError:
            self._settle(store.release(claim))
            raise
        if saved is not None:
            await replay(saved, answer)
            return
        self._claims.add(claim)
        tape = Tape(self, claim, exchange, answer)
        has_returned = False
        try:
            await walk()
            has_returned = True
        except asyncio.CancelledError:
            has_returned = True
            raise
        finally:
            if has_returned or answer.status is not None:
                tape.drop()
            # What else was raised is still to be told, through the tape; the lease lasts for that.
            self._claims.discard(claim)

    def settle(self, claim: str, answer: SavedAnswer | None) -> asyncio.Task[None]:
        """Save this answer in place of the claim, or give the name free, whoever waits for it."""
        assert self._store is not None  # noqa: S101 - the claim is there
        return self._settle(self._store.release(claim) if answer is None else self._save(self._store, claim, answer))

    async def aclose(self, timeout_s: float) -> None:
        """Settle what is under way, for a bounded time, and close the store."""
        if self._settling:
            await asyncio.wait(tuple(self._settling), timeout=timeout_s)
        self._is_closing.set()
        if self._keeper is not None:
            await asyncio.wait((self._keeper,), timeout=timeout_s)
            self._keeper.cancel()
        if self._store is not None:
            await self._store.aclose()

    async def _opened(self) -> Store:
        async with self._opening:
            if self._store is None:
                store = await asyncio.to_thread(self._open)
                try:
                    await store.prepare()
                except BaseException:
                    await store.aclose()
                    raise
                self._store = store
                self._keeper = asyncio.create_task(self._keep(store))
            return self._store

    def _settle(self, work: Awaitable[None]) -> asyncio.Task[None]:
        async def settle() -> None:
            try:
                await work
            except Problem as problem:
                # The claim ends with its lease; a retry before that is told to wait.
                self._log.warning("an answer could not be kept", problem=problem.message, detail=problem.detail)

        task = asyncio.create_task(settle())
        self._settling.add(task)
        task.add_done_callback(self._settling.discard)
        return task

    async def _save(self, store: Store, claim: str, answer: SavedAnswer) -> None:
        if not await store.save(claim, answer):
            self._log.warning("an answer came after its claim had expired, and is not kept")
        self._unpruned[0] += 1
        self._unpruned[1] += len(answer.body)

    async def _keep(self, store: Store) -> None:
        """Renew this process's claims, and forget what is old."""
        clock = asyncio.get_running_loop().time
        prune_at = clock()
        while not self._is_closing.is_set():
            try:
                if clock() >= prune_at or self._unpruned[0] >= PRUNE_ANSWERS or self._unpruned[1] >= PRUNE_BYTES:
                    prune_at, self._unpruned = clock() + PRUNE_S, [0, 0]
                    if forgotten := await store.prune():
                        self._log.warning(
                            "answers were forgotten before their time: too many are kept", count=forgotten
                        )
                if self._claims:
                    await store.renew(tuple(self._claims))
            except Problem as problem:
                self._log.warning("kept answers cannot be looked after", problem=problem.message, detail=problem.detail)
            with suppress(TimeoutError):
                await asyncio.wait_for(self._is_closing.wait(), RENEW_S)


class Tape:
    """Copies an answer on its way to the client, and has it saved before its end leaves: whoever has it can ask again.

    It takes the place of the answer's way out. Owns what it has copied.
    """

    def __init__(self, idempotency: Idempotency, claim: str, exchange: Exchange, answer: Answer) -> None:
        self._idempotency = idempotency
        self._claim = claim
        self._exchange = exchange
        self._send = answer.raw
        self._status = 0
        self._headers: tuple[tuple[str, str], ...] = ()
        self._pieces: list[bytes] = []
        self._size = 0
        self._is_running = True
        self._is_settled = False
        # Not through the server's channel, which does not wait: the last piece has to.
        answer.raw, answer.channel = self.send, None

    async def send(self, message: Message) -> None:
        """An ASGI send."""
        if message["type"] == "http.response.start":
            self._status = message["status"]
            self._headers = tuple(
                (name.decode("latin-1"), value.decode("latin-1"))
                for name, value in message["headers"]
                if name in SAVED_HEADERS or name.startswith(OURS)
            )
        else:
            self._copy(message.get("body", b""))
            if not message.get("more_body", False) and not self._is_settled:
                await self._ended()
        await self._send(message)

    async def _ended(self) -> None:
        """Have it saved, or its name given free, before its end leaves."""
        try:
            await asyncio.shield(self._settle(self._saved()))
        except asyncio.CancelledError:
            # What waits is only the end, and it is settled whoever waits: the router that cuts it now comes too late.
            task = asyncio.current_task()
            if self._exchange.interruption is None or task is None:
                raise
            task.uncancel()

    def drop(self) -> None:
        """Give the name free, unless the answer has ended."""
        if not self._is_settled:
            self._settle(None)

    def _saved(self) -> SavedAnswer | None:
        has_run = bool(self._exchange.tries) and self._exchange.interruption is None
        # 429 says to come again later, and means it.
        if not self._is_running or not has_run or self._status == 429:
            return None
        return SavedAnswer(self._status, self._headers, b"".join(self._pieces))

    def _copy(self, piece: bytes) -> None:
        if not self._is_running or not piece:
            return
        self._size += len(piece)
        self._idempotency.taped_bytes += len(piece)
        if self._size > MAX_ANSWER_BYTES or self._idempotency.taped_bytes > MAX_TAPED_BYTES:
            self._stop()
        else:
            self._pieces.append(piece)

    def _stop(self) -> None:
        self._is_running = False
        self._pieces.clear()
        self._idempotency.taped_bytes -= self._size
        self._size = 0

    def _settle(self, saved: SavedAnswer | None) -> asyncio.Task[None]:
        self._is_settled = True
        self._stop()
        return self._idempotency.settle(self._claim, saved)


async def replay(saved: SavedAnswer, answer: Answer) -> None:
    """Say the same again. SDKs are told not to retry an error: with this key it is what there is."""
    headers = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in saved.headers]
    headers.append(REPLAYED)
    if saved.status >= 400:
        headers.append((b"x-should-retry", b"false"))
    if dict(saved.headers).get("content-type") == "text/event-stream":
        await answer.start(saved.status, headers)
        await answer.write(saved.body)
        await answer.end()
        return
    headers.append((b"content-length", str(len(saved.body)).encode()))
    await answer.start(saved.status, headers)
    await answer.end(saved.body)


def _digest(request: Request, body: bytes) -> bytes:
    """What makes a request the same: its method, path, query and body."""
    query: bytes = request.scope.get("query_string", b"")
    head = f"{request.method} {request.path}?".encode("utf-8", "surrogatepass")
    return sha256(b"%d %b%b\n%b" % (len(head), head, query, body)).digest()
