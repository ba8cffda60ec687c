"""What one client may ask of the server: so many bytes, so many requests at once, so much time."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, MutableMapping
from contextlib import suppress
from typing import Any

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[MutableMapping[str, Any], Receive, Send], Awaitable[None]]

SLACK = 16 * 1024  # bytes that a form may have around its file
DRAINED = 8  # times the largest body: so much of a larger one is read before it is refused


class _TooLarge(Exception):
    pass


class Limits:
    """An ASGI application with limits before another.

    Bodies of more than `most_bytes` (and `SLACK`) get status 413, by their header before they are read, or as soon as
    more has come. Of the requests whose path is in `counted`, those beyond `at_once` get 429, and those that take
    longer than `seconds`, their upload included, 408.
    """

    def __init__(self, app: App, most_bytes: int, at_once: int, seconds: float, counted: frozenset[str]) -> None:
        self._app, self._most, self._at_once, self._seconds = app, most_bytes + SLACK, at_once, seconds
        self._counted, self._now = counted, 0
        self._too_large = f"The request is larger than {most_bytes / 1e6:g} MB: send a smaller picture."

    async def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        """Answer one request, or hand it on."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = dict(scope["headers"])
        answer = _Answer(receive, send, 0 if b"expect" in headers else DRAINED * self._most, self._seconds)
        told = headers.get(b"content-length", b"")
        if told.isdigit() and int(told) > self._most:
            await answer.refuse(413, self._too_large)
        elif scope["path"] not in self._counted:
            await self._measured(scope, answer)
        elif self._now >= self._at_once:
            sentence = f"{self._at_once} requests are being answered already: try again in a moment."
            await answer.refuse(429, sentence, {"retry-after": "1"})
        else:
            self._now += 1
            try:
                await asyncio.wait_for(self._measured(scope, answer), self._seconds)
            except TimeoutError:
                await answer.refuse(408, f"The request took longer than {self._seconds:g} s: send a smaller picture.")
            finally:
                self._now -= 1

    async def _measured(self, scope: MutableMapping[str, Any], answer: _Answer) -> None:
        size = 0

        async def counted() -> Message:
            nonlocal size
            message = await answer.receive()
            size += len(message.get("body", b""))
            if size > self._most:
                await answer.refuse(413, self._too_large)
                raise _TooLarge
            return message

        with suppress(_TooLarge):
            await self._app(scope, counted, answer.send)


class _Answer:
    """What is sent to one client. Once refused, nothing that the application still says of it is sent."""

    def __init__(self, receive: Receive, send: Send, drained: int, seconds: float) -> None:
        """drained, seconds: how many bytes of a refused body are read, to be forgotten, and for how long."""
        self._receive, self._send, self._drained, self._seconds = receive, send, drained, seconds
        self._ended, self._begun, self._refused = False, False, False

    async def receive(self) -> Message:
        message = await self._receive()
        self._ended = not message.get("more_body", False)
        return message

    async def send(self, message: Message) -> None:
        if not self._refused:
            self._begun = True
            await self._send(message)

    async def refuse(self, status: int, sentence: str, headers: dict[str, str] | None = None) -> None:
        """A sentence as JSON, unless an answer has begun; the connection ends, for its body may not be read."""
        self._refused = True
        if self._begun:
            return
        with suppress(TimeoutError):
            await asyncio.wait_for(self._drain(), self._seconds)
        body = json.dumps({"error": sentence}).encode()
        told = {"content-type": "application/json", "content-length": str(len(body)), "connection": "close"}
        raw = [(name.encode(), value.encode()) for name, value in (told | (headers or {})).items()]
        await self._send({"type": "http.response.start", "status": status, "headers": raw})
        await self._send({"type": "http.response.body", "body": body})

    async def _drain(self) -> None:
        """Read on while the client sends: one that is cut off in its upload would not see the answer."""
        while not self._ended and self._drained > 0:
            self._drained -= len((await self.receive()).get("body", b"")) + 1
