"""The limits of a request: bytes, requests at once, time."""

import asyncio
import json

import pytest

from emodo.serving.limits import DRAINED, SLACK, Limits

MOST = 1000


class Client:
    """What one client sends and gets. pieces: of its body, after `pause` seconds each."""

    def __init__(self, *pieces, path="/predict", headers=(), pause=0.0):
        self.scope = {"type": "http", "path": path, "headers": [(k.encode(), v.encode()) for k, v in headers]}
        self.pieces, self.pause, self.got, self.asked = list(pieces), pause, [], 0

    async def receive(self):
        await asyncio.sleep(self.pause)
        self.asked += 1
        if not self.pieces:
            await asyncio.sleep(99)  # as a server does while its client waits for the answer
        body = self.pieces.pop(0)
        return {"type": "http.request", "body": body, "more_body": bool(self.pieces)}

    async def send(self, message):
        self.got.append(message)

    @property
    def status(self):
        assert [message["type"] for message in self.got] == ["http.response.start", "http.response.body"]
        return self.got[0]["status"]

    @property
    def error(self):
        return json.loads(self.got[1]["body"])["error"]


async def echo(scope, receive, send):
    """An application that reads all and tells how much it was; it makes 500 of any error, as frameworks do."""
    size = 0
    try:
        while True:
            message = await receive()
            size += len(message["body"])
            if not message["more_body"]:
                break
        status, body = 200, str(size).encode()
    except Exception:
        status, body = 500, b"{}"
    await send({"type": "http.response.start", "status": status, "headers": []})
    await send({"type": "http.response.body", "body": body})


def limited(app=echo, at_once=2, seconds=5.0):
    return Limits(app, MOST, at_once, seconds, frozenset({"/predict"}))


def ask(app, *clients):
    async def all_of_them():
        await asyncio.gather(*(app(client.scope, client.receive, client.send) for client in clients))

    asyncio.run(all_of_them())


def test_what_is_within_the_limits_is_handed_on():
    client = Client(b"a" * MOST, b"b" * SLACK, headers=[("content-length", str(MOST + SLACK))])
    ask(limited(), client)
    assert client.status == 200
    assert client.got[1]["body"] == str(MOST + SLACK).encode()


def test_a_header_that_names_too_many_bytes_is_enough():
    client = Client(b"a", b"b", headers=[("content-length", str(MOST + SLACK + 1))])
    ask(limited(app=None), client)
    assert client.status == 413
    assert client.error == "The request is larger than 0.001 MB: send a smaller picture."
    assert (b"connection", b"close") in client.got[0]["headers"]
    assert client.pieces == []  # a client that is cut off in its upload would not see the answer


def test_who_asks_before_sending_is_refused_before_sending():
    client = Client(b"a", headers=[("content-length", "99999"), ("expect", "100-continue")])
    ask(limited(app=None), client)
    assert client.status == 413
    assert client.asked == 0


def test_an_endless_body_is_not_read_to_its_end():
    client = Client(*[b"a" * SLACK] * 1000, headers=[("content-length", str(1000 * SLACK))])
    ask(limited(app=None), client)
    assert client.status == 413
    assert client.asked == DRAINED * (MOST + SLACK) // SLACK + 1
    slow = Client(*[b"a"] * 1000, headers=[("content-length", "99999")], pause=0.05)
    ask(limited(app=None, seconds=0.2), slow)
    assert slow.status == 413
    assert slow.asked < 10


@pytest.mark.parametrize("path", ["/predict", "/gradio_api/upload"])
def test_a_body_without_a_length_is_stopped_where_it_is_too_long(path):
    for rest in ((b"c", b"d"), (b"c",)):
        client = Client(b"a" * SLACK, b"b" * MOST, *rest, path=path)
        ask(limited(), client)
        assert client.status == 413
        assert client.pieces == []
        assert client.asked == 2 + len(rest)


def test_requests_beyond_those_at_once_are_told_to_come_again():
    clients = [Client(b"a", pause=0.05) for _ in range(3)]
    other = Client(b"a", pause=0.05, path="/")
    app = limited()
    ask(app, *clients, other)
    assert [client.status for client in clients] == [200, 200, 429]
    assert other.status == 200
    assert clients[2].error == "2 requests are being answered already: try again in a moment."
    assert (b"retry-after", b"1") in clients[2].got[0]["headers"]
    later = Client(b"a")
    ask(app, later)
    assert later.status == 200


def test_a_slow_upload_is_ended():
    slow, page = Client(b"a", b"b", b"c", pause=0.2), Client(b"a", b"b", pause=0.2, path="/gradio_api/queue/data")
    app = limited(seconds=0.3)
    ask(app, slow, page)
    assert slow.status == 408
    assert slow.error == "The request took longer than 0.3 s: send a smaller picture."
    assert page.status == 200
    again = Client(b"a")
    ask(app, again)
    assert again.status == 200


def test_a_slow_answer_is_ended():
    async def slow(scope, receive, send):
        await receive()
        await asyncio.sleep(9)

    client = Client(b"a")
    ask(limited(slow, seconds=0.1), client)
    assert client.status == 408
    assert client.asked == 1  # its body has ended: nothing more is waited for


def test_an_answer_that_has_begun_is_not_begun_again():
    async def long(scope, receive, send):
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await asyncio.sleep(5)

    client = Client()
    ask(limited(long, seconds=0.05), client)
    assert [message["type"] for message in client.got] == ["http.response.start"]


def test_other_traffic_is_none_of_its_business():
    seen = []

    async def app(scope, receive, send):
        seen.append(scope["type"])

    asyncio.run(limited(app)({"type": "lifespan"}, None, None))
    assert seen == ["lifespan"]
