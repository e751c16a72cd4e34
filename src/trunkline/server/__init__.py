"""An HTTP/1.1 server for ASGI 3 applications: httptools (llhttp) and asyncio protocols, nothing else.

    server = Server(app)
    await server.start(sockets)     # it accepts
    ...
    await server.close(within_s=2)  # the last bytes have left, or the time is over

It speaks HTTP/1.1 and 1.0 without TLS, has no lifespan (who embeds it starts and stops the application), no access log,
and no Server header. Its deadlines and bounds are `ServerLimits`.

# The extension `trunkline.channel`

`scope["extensions"]["trunkline.channel"]` is the request's *Channel*: the same connection as `receive` and `send`, by
methods that do not wait. An application that finds none uses those; a response goes one way or the other.

`start(status: int, headers: Iterable[tuple[bytes, bytes]]) -> None`
    Status and headers; names in lower case. They leave with the first `write` or with `end`, in one piece with it;
    `write(b"")` sends them alone. Without a content-length, a body that is given to `end` alone gets one, and any
    other is chunked. RuntimeError if it comes twice.
`write(data: bytes) -> None`
    A piece of the body. RuntimeError before `start`, after `end`, past the content-length, and where a header holds CR,
    LF or NUL. It is sent when the event loop's turn is over, together with what else is written in it.
`end(data: bytes = b"") -> None`
    The last piece, and the response's end. RuntimeError as for `write`, and short of the content-length.
`is_full: bool`
    Whether more than 64 KiB wait for the client. What is written all the same is kept, so a writer looks here first.
`async writable() -> None`
    Returns when the client has taken enough, or has left.
`take_body() -> bytes | None`
    The whole body, once, if all of it has arrived; otherwise None, and `receive` gives it.
`on_disconnect(callback: Callable[[], None]) -> None`
    The callback is called once, synchronously, when the client leaves before the response has ended; at once if it has
    left already. It takes the place of a task that waits in `receive`.

After the client has left, `start`, `write` and `end` do nothing.

A client has left when its side of the connection has ended, be it by FIN or by RST. HTTP cannot tell a client that shut
down its writing side and still reads from one that closed its socket; so FIN counts as leaving, as it does for nginx
while it waits for an upstream.
"""

from trunkline.server.limits import ServerLimits
from trunkline.server.server import Server

__all__ = ["Server", "ServerLimits"]
