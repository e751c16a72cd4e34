"""Requests that are no HTTP/1.1, or that two servers might read differently. Each hides a request for `/smuggled`.

Written after RFC 9112, sections 2.2, 3, 5 to 7 and 11.2, and the advisories that the names give; 2026-11-26.
"""

from __future__ import annotations

from typing import Final

_JSON: Final = b'{"message":"Hi"}'


def inner(target: str) -> bytes:
    """The request that must never be answered."""
    head = f"POST {target} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    return head.encode() + b"Content-Length: %d\r\n\r\n" % len(_JSON) + _JSON


def corpus(target: str) -> dict[str, bytes]:
    """Each case's bytes. `target` is where a hidden request would go, and where the open one goes."""
    hidden = inner(target)
    chunked_hidden = b"%x\r\n" % len(hidden) + hidden + b"\r\n0\r\n\r\n"
    line = f"POST {target} HTTP/1.1\r\n".encode()
    host = b"Host: localhost\r\nContent-Type: application/json\r\n"
    head = line + host
    length = b"Content-Length: %d\r\n" % len(_JSON)
    te = b"Transfer-Encoding: chunked\r\n"
    none = b"0\r\n\r\n"

    def with_head(*lines: bytes, body: bytes = hidden) -> bytes:
        return head + b"".join(lines) + b"\r\n" + body

    def chunk(size: bytes, data: bytes = b"abc", end: bytes = b"\r\n") -> bytes:
        return with_head(te, body=size + b"\r\n" + data + end + none + hidden)

    return {
        "length and coding": with_head(b"Content-Length: 5\r\n", te, body=none + hidden),
        "coding and length": with_head(te, b"Content-Length: 5\r\n", body=none + hidden),
        "length of zero and coding": with_head(b"Content-Length: 0\r\n", te, body=chunked_hidden),
        "two equal lengths": with_head(length, length, body=_JSON),
        "two lengths": with_head(b"Content-Length: 0\r\n", b"Content-Length: 16\r\n"),
        "a list of lengths": with_head(b"Content-Length: 16, 16\r\n"),
        "a negative length": with_head(b"Content-Length: -1\r\n"),
        "a length with a sign": with_head(b"Content-Length: +16\r\n"),
        "a length in hex": with_head(b"Content-Length: 0x10\r\n"),
        "a length with a space": with_head(b"Content-Length: 1 6\r\n"),
        "a length with an underscore": with_head(b"Content-Length: 1_6\r\n"),
        "an empty length": with_head(b"Content-Length:\r\n"),
        "a length that overflows": with_head(b"Content-Length: 18446744073709551616\r\n"),
        "a length in other digits": with_head("Content-Length: \u0661\u0666\r\n".encode()),
        "coded twice": with_head(te, te, body=none + hidden),
        "coded, then not": with_head(te, b"Transfer-Encoding: identity\r\n", body=none + hidden),
        "coded by a list": with_head(b"Transfer-Encoding: gzip, chunked\r\n", body=none + hidden),
        "chunked, then gzip": with_head(b"Transfer-Encoding: chunked, gzip\r\n", body=none + hidden),
        "chunked twice in a list": with_head(b"Transfer-Encoding: chunked, chunked\r\n", body=none + hidden),
        "chunked with a parameter": with_head(b"Transfer-Encoding: chunked;q=1\r\n", body=none + hidden),
        "xchunked": with_head(b"Transfer-Encoding: xchunked\r\n", body=none + hidden),
        "quoted chunked": with_head(b'Transfer-Encoding: "chunked"\r\n', body=none + hidden),
        "coding with a vertical tab": with_head(b"Transfer-Encoding:\x0bchunked\r\n", body=none + hidden),
        "coding with a NUL": with_head(b"Transfer-Encoding: chunked\0\r\n", body=none + hidden),
        "identity": with_head(b"Transfer-Encoding: identity\r\n", body=hidden),
        "a space before the colon": with_head(b"Transfer-Encoding : chunked\r\n", body=none + hidden),
        "a tab before the colon": with_head(b"Content-Length\t: 16\r\n"),
        "a space before the name": with_head(b" Content-Length: 16\r\n"),
        "coding folded": with_head(b"Transfer-Encoding:\r\n chunked\r\n", body=none + hidden),
        "length folded": with_head(b"Content-Length: 1\r\n 6\r\n"),
        "any header folded": with_head(b"X-A: b\r\n\tc\r\n", length, body=_JSON),
        "a header without a colon": with_head(b"Content-Length\r\n"),
        "a header without a name": with_head(b": 16\r\n"),
        "a NUL in a name": with_head(b"Content\0-Length: 16\r\n"),
        "a NUL in a value": with_head(b"X-A: b\0c\r\n", length, body=_JSON),
        "a control character in a value": with_head(b"X-A: b\x08c\r\n", length, body=_JSON),
        "a non-ASCII name": with_head("X-\u00e9: b\r\n".encode(), length, body=_JSON),
        "a bare LF after a header": head + b"X-A: b\nContent-Length: 16\r\n\r\n" + _JSON,
        "a bare LF after the line": f"POST {target} HTTP/1.1\n".encode() + host + length + b"\r\n" + _JSON,
        "bare LFs alone": (line + host + length).replace(b"\r\n", b"\n") + b"\n" + _JSON,
        "a bare CR in a value": with_head(b"X-A: b\rContent-Length: 16\r\n"),
        "a bare CR at a header's end": with_head(b"X-A: b\r", length, body=_JSON),
        "two CRs": with_head(b"X-A: b\r\r\n", length, body=_JSON),
        "a chunk with a sign": chunk(b"+3"),
        "a negative chunk": chunk(b"-3"),
        "a chunk with 0x": chunk(b"0x3"),
        "a chunk with a space before": chunk(b" 3"),
        "a chunk with a space after": chunk(b"3 "),
        "a chunk that overflows": chunk(b"10000000000000003"),
        "a chunk without a size": chunk(b""),
        "a chunk ended by LF": with_head(te, body=b"3\nabc\r\n0\r\n\r\n" + hidden),
        "an extension ended by LF (CVE-2025-22871)": with_head(te, body=b"3;a\nabc\r\n0\r\n\r\n" + hidden),
        "an extension with a CR": with_head(te, body=b"3;a\rb\r\nabc\r\n0\r\n\r\n" + hidden),
        "a chunk's data ended by LF": chunk(b"3", end=b"\n"),
        "a chunk's data without an end (CVE-2025-43859)": chunk(b"3", end=b"XX"),
        "a chunk longer than it says": chunk(b"3", data=b"abcdef"),
        "a length in a trailer": with_head(te, body=b"0\r\nContent-Length: 16\r\n\r\n" + hidden),
        "chunked on HTTP/1.0": line.replace(b"1.1", b"1.0") + host + te + b"\r\n" + none + hidden,
        "HTTP/0.9": f"POST {target}\r\n\r\n".encode() + hidden,
        "HTTP/1.2": line.replace(b"1.1", b"1.2") + host + length + b"\r\n" + _JSON,
        "HTTP/2.0": line.replace(b"1.1", b"2.0") + host + length + b"\r\n" + _JSON,
        "HTTP/1.10": line.replace(b"1.1", b"1.10") + host + length + b"\r\n" + _JSON,
        "the preface of HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + hidden,
        "a greeting of TLS": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + hidden,
        "absolute form": f"POST http://localhost{target} HTTP/1.1\r\n".encode() + host + length + b"\r\n" + _JSON,
        "another host by absolute form": f"POST http://evil{target} HTTP/1.1\r\n".encode() + host + length + b"\r\n",
        "CONNECT": b"CONNECT localhost:80 HTTP/1.1\r\n" + host + b"\r\n" + hidden,
        "a fragment": f"POST {target}#a HTTP/1.1\r\n".encode() + host + length + b"\r\n" + _JSON,
        "a target of raw bytes": b"POST /\xff HTTP/1.1\r\n" + host + b"\r\n" + hidden,
        "no target": b"POST HTTP/1.1\r\n" + host + b"\r\n" + hidden,
        "a method in lower case": line.replace(b"POST", b"post") + host + length + b"\r\n" + _JSON,
        "an unknown method": line.replace(b"POST", b"SMUGGLE") + host + length + b"\r\n" + _JSON,
        "a space before the line": b" " + head + length + b"\r\n" + _JSON,
        "100 KB of one header": with_head(b"X-A: " + b"b" * 100_000 + b"\r\n", length, body=_JSON),
        "100 KB of a name": with_head(b"X" * 100_000 + b": b\r\n", length, body=_JSON),
        "100 KB of a target": line.replace(b" HTTP", b"?" + b"b" * 100_000 + b" HTTP")
        + host
        + length
        + b"\r\n"
        + _JSON,
        "10,000 headers": with_head(b"X-A: b\r\n" * 10_000, length, body=_JSON),
        "a body after an upgrade": with_head(
            b"Connection: Upgrade\r\n", b"Upgrade: h2c\r\n", b"Content-Length: %d\r\n" % len(hidden)
        ),
        "an extension of 300 KB": with_head(te, body=b"3;" + b"a" * 300_000 + b"\r\nabc\r\n0\r\n\r\n" + hidden),
        "trailers of 300 KB": with_head(te, body=b"3\r\nabc\r\n0\r\n" + b"X-A: b\r\n" * 40_000 + b"\r\n" + hidden),
    }
