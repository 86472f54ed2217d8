"""A strict fake of Google Cloud Storage: it keeps every precondition, counts requests and fails on demand.

It answers as the real service does where emulators are kinder: a media read sends no custom metadata, a wrong
checksum on upload is refused, a generation that does not match is 412 on writes and removals alike.
"""

from __future__ import annotations

import base64
import contextlib
import json
import re
import socket
import struct
import threading
import time
from collections import deque
from dataclasses import dataclass, field
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self
from urllib.parse import parse_qs, unquote, urlsplit

import google_crc32c


@dataclass
class Object:
    """A stored object."""

    data: bytes
    generation: int
    created: float
    metadata: dict[str, str] = field(default_factory=dict)
    content_type: str = ""
    metageneration: int = 1
    updated: float = 0.0
    """When its metadata last changed; 0 for never."""


class StrictServer:
    """One server on 127.0.0.1, as a context manager; its state may be looked at and changed between requests.

    ``faults`` are taken one a request, "ok" for none; ``where`` has faults for requests that hold a text,
    ``always`` is for all others that follow:

    - a status such as "503"; "reset" of the connection; "stall" until ``released``;
    - "lost reply": done, then reset; "slow": the body takes ``slowness`` seconds, in pieces;
    - "truncate": the body ends early; "corrupt": a byte of it differs.
    """

    def __init__(self) -> None:
        """Empty, but for the bucket "bucket"."""
        self.buckets: dict[str, dict[str, Object]] = {"bucket": {}}
        self.requests: list[str] = []
        """What was asked, ``"GET media f/x.json"``, ``"POST multipart f/x.json"``, in order."""
        self.queries: list[dict[str, str]] = []
        self.faults: deque[str] = deque()
        self.where: dict[str, str] = {}
        self.always = "ok"
        self.slowness = 1.0
        self.clock_offset = 0.0
        """Seconds by which the server's clock is ahead."""
        self.page_size = 1000
        self.sends_metadata = False
        """Whether a media read sends the custom metadata, as the emulators do."""
        self.requester_pays = False
        self.one_write_a_second = False
        """Whether an object that is written again within a second is refused, 429."""
        self.denied: set[str] = set()
        """Methods that are answered 403."""
        self.unauthenticated = False
        self.uploads: dict[str, tuple[str, dict[str, Any], bytearray]] = {}
        self.lock = threading.Lock()
        self.released = threading.Event()
        self._server = _Server(("127.0.0.1", 0), _Handler)
        self._server.fake = self
        self.endpoint = f"http://127.0.0.1:{self._server.server_port}"
        """Its URL."""

    def __enter__(self) -> Self:
        """Serving."""
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        """Stopped."""
        self.released.set()
        self._server.shutdown()
        self._server.server_close()

    @property
    def objects(self) -> dict[str, Object]:
        """What is in the bucket "bucket", by name."""
        return self.buckets["bucket"]

    def now(self) -> float:
        """The server's clock."""
        return time.time() + self.clock_offset

    def put(self, bucket: str, name: str, data: bytes, metadata: dict[str, str], content_type: str = "") -> Object:
        """Keep an object under a new generation."""
        now = self.now()
        last = max((each.generation for each in self.buckets[bucket].values()), default=0)
        kept = Object(data, max(int(now * 1e6), last + 1), now, metadata, content_type)
        self.buckets[bucket][name] = kept
        return kept

    def forget(self) -> None:
        """Start counting anew."""
        self.requests.clear()
        self.queries.clear()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 128
    fake: StrictServer

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that went away is no trouble here."""


class _Refusal(Exception):
    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


_MEDIA = re.compile(r"/download/storage/v1/b/([^/]+)/o/([^/]+)")
_UPLOAD = re.compile(r"/upload/storage/v1/b/([^/]+)/o")
_OBJECT = re.compile(r"/storage/v1/b/([^/]+)/o/([^/]+)")
_LIST = re.compile(r"/storage/v1/b/([^/]+)/o")
_BUCKET = re.compile(r"/storage/v1/b/([^/]+)")


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: _Server  # pyright: ignore[reportIncompatibleVariableOverride]

    def log_message(self, format: str, *args: Any) -> None:
        """Silent."""

    def _answer(self) -> None:
        fake = self.server.fake
        url = urlsplit(self.path)
        query = {name: values[0] for name, values in parse_qs(url.query).items()}
        body = self.rfile.read(int(self.headers.get("Content-Length", 0))) or self._chunks()
        with fake.lock:
            request = self._name(url.path, query, body)
            meant = next((fault for part, fault in fake.where.items() if part in request), fake.always)
            fault = fake.faults.popleft() if fake.faults else meant
            fake.requests.append(request)
            fake.queries.append(query)
            if fault == "reset" or fault.isdigit():
                answer: tuple[int, dict[str, str], bytes] = (0, {}, b"")
            else:
                try:
                    answer = self._act(url.path, query, body)
                except _Refusal as refusal:
                    said = {"error": {"code": refusal.status, "message": str(refusal)}}
                    answer = (refusal.status, {"Content-Type": "application/json"}, json.dumps(said).encode())
        if fault == "stall":
            fake.released.wait(60)
        if fault in ("reset", "lost reply"):
            self._reset()
        elif fault.isdigit():
            self._send(int(fault), {}, json.dumps({"error": {"code": int(fault), "message": "injected"}}).encode())
        else:
            self._send(*answer, fault=fault)

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = _answer  # noqa: N815 - the names are the library's

    def _chunks(self) -> bytes:
        whole = bytearray()
        if self.headers.get("Transfer-Encoding") == "chunked":
            while size := int(self.rfile.readline(), 16):
                whole += self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
        return bytes(whole)

    def _name(self, path: str, query: dict[str, str], body: bytes) -> str:
        if found := _MEDIA.fullmatch(path):
            what = f"media {unquote(found[2])}"
        elif _UPLOAD.fullmatch(path):
            name = query.get("name") or ""
            if not name and (told := re.search(rb'"name": ?"([^"]+)"', body)):
                name = told[1].decode()
            what = f"{query.get('uploadType', 'part')} {name}".rstrip()
        elif found := _OBJECT.fullmatch(path):
            what = f"object {unquote(found[2])}"
        elif _LIST.fullmatch(path):
            what = "list"
        else:
            what = "bucket"
        return f"{self.command} {what}"

    def _act(self, path: str, query: dict[str, str], body: bytes) -> tuple[int, dict[str, str], bytes]:
        fake = self.server.fake
        if fake.unauthenticated:
            raise _Refusal(401, "Anonymous caller does not have storage.objects.get access")
        if self.command in fake.denied:
            raise _Refusal(403, "the caller does not have the permission")
        if fake.requester_pays and "userProject" not in query:
            raise _Refusal(400, "Bucket is a requester pays bucket but no user project provided.")
        if found := _UPLOAD.fullmatch(path):
            return self._upload(unquote(found[1]), query, body)
        for pattern, act in ((_MEDIA, self._media), (_OBJECT, self._object), (_LIST, self._list)):
            if found := pattern.fullmatch(path):
                bucket, *name = map(unquote, found.groups())
                if bucket not in fake.buckets:
                    raise _Refusal(404, "The specified bucket does not exist.")
                return act(bucket, name[0] if name else "", query, body)
        raise _Refusal(404, "Not Found")

    def _media(self, bucket: str, name: str, query: dict[str, str], body: bytes) -> tuple[int, dict[str, str], bytes]:
        kept = self._find(bucket, name, query)
        headers = {
            "Content-Type": kept.content_type,
            "X-Goog-Generation": str(kept.generation),
            "X-Goog-Metageneration": str(kept.metageneration),
            "X-Goog-Hash": f"crc32c={_crc32c(kept.data)}",
            "Last-Modified": formatdate(kept.updated or kept.created, usegmt=True),
        }
        if self.server.fake.sends_metadata:
            headers |= {f"X-Goog-Meta-{key}": text for key, text in kept.metadata.items()}
        return 200, headers, kept.data

    def _object(self, bucket: str, name: str, query: dict[str, str], body: bytes) -> tuple[int, dict[str, str], bytes]:
        kept = self._find(bucket, name, query)
        if self.command == "DELETE":
            del self.server.fake.buckets[bucket][name]
            return 204, {}, b""
        if self.command == "PATCH":
            kept.metadata |= json.loads(body).get("metadata", {})
            kept.metageneration += 1
            kept.updated = self.server.fake.now()
        return self._json(_resource(bucket, name, kept))

    def _list(self, bucket: str, _: str, query: dict[str, str], body: bytes) -> tuple[int, dict[str, str], bytes]:
        fake = self.server.fake
        after = query.get("pageToken", "")
        names = sorted(n for n in fake.buckets[bucket] if n.startswith(query.get("prefix", "")) and n > after)
        size = min(int(query.get("maxResults", fake.page_size)), fake.page_size)
        said: dict[str, Any] = {"kind": "storage#objects"}
        if names:
            said["items"] = [_resource(bucket, name, fake.buckets[bucket][name]) for name in names[:size]]
        if len(names) > size:
            said["nextPageToken"] = names[size - 1]
        return self._json(said)

    def _upload(self, bucket: str, query: dict[str, str], body: bytes) -> tuple[int, dict[str, str], bytes]:
        fake = self.server.fake
        if "upload_id" in query:
            return self._part(bucket, query["upload_id"], body)
        if bucket not in fake.buckets:
            raise _Refusal(404, "The specified bucket does not exist.")
        if query.get("uploadType") == "resumable":
            resource = json.loads(body or b"{}")
            self._check(fake.buckets[bucket].get(resource["name"]), query)
            key = str(len(fake.uploads))
            fake.uploads[key] = (bucket, resource, bytearray())
            place = f"{fake.endpoint}/upload/storage/v1/b/{bucket}/o?uploadType=part&upload_id={key}"
            return 200, {"Location": place}, b""
        boundary = re.search(r'boundary="?([^";]+)"?', self.headers["Content-Type"])
        if boundary is None:
            raise _Refusal(400, "no boundary")
        fence = b"--" + boundary[1].encode()
        _, head, rest = body.split(fence, 2)
        resource = json.loads(head.split(b"\r\n\r\n", 1)[1])
        data = rest.split(b"\r\n\r\n", 1)[1]
        end = data.find(b"\r\n" + fence)
        return self._keep(bucket, resource, data[:end], query)

    def _part(self, bucket: str, key: str, body: bytes) -> tuple[int, dict[str, str], bytes]:
        _, resource, so_far = self.server.fake.uploads[key]
        span = re.fullmatch(r"bytes (\d+)-(\d+)/(\d+)", self.headers["Content-Range"])
        if span is None or int(span[1]) != len(so_far):
            raise _Refusal(400, "this part does not follow the former")
        so_far += body
        if len(so_far) < int(span[3]):
            return 308, {"Range": f"bytes=0-{len(so_far) - 1}"}, b""
        return self._keep(bucket, resource, bytes(so_far), {})

    def _keep(
        self, bucket: str, resource: dict[str, Any], data: bytes, query: dict[str, str]
    ) -> tuple[int, dict[str, str], bytes]:
        fake = self.server.fake
        there = fake.buckets[bucket].get(resource["name"])
        self._check(there, query)
        if fake.one_write_a_second and there is not None and fake.now() - there.created < 1:
            raise _Refusal(429, "The object exceeded the rate limit for object mutation operations.")
        if resource.get("crc32c", _crc32c(data)) != _crc32c(data):
            raise _Refusal(400, "the body does not have the checksum that was sent with it")
        metadata = resource.get("metadata", {})
        kept = fake.put(bucket, resource["name"], data, metadata, resource.get("contentType", ""))
        return self._json(_resource(bucket, resource["name"], kept))

    def _find(self, bucket: str, name: str, query: dict[str, str]) -> Object:
        kept = self.server.fake.buckets[bucket].get(name)
        if kept is None:
            raise _Refusal(404, "No such object")
        self._check(kept, query)
        return kept

    def _check(self, kept: Object | None, query: dict[str, str]) -> None:
        wanted = query.get("ifGenerationMatch")
        if wanted is not None and int(wanted) != (kept.generation if kept else 0):
            raise _Refusal(412, "At least one of the pre-conditions you specified did not hold.")

    def _json(self, said: dict[str, Any]) -> tuple[int, dict[str, str], bytes]:
        return 200, {"Content-Type": "application/json"}, json.dumps(said).encode()

    def _send(self, status: int, headers: dict[str, str], body: bytes, fault: str = "ok") -> None:
        self.send_response_only(status)
        self.send_header("Date", formatdate(self.server.fake.now(), usegmt=True))
        self.send_header("Content-Length", str(len(body)))
        for name, text in headers.items():
            self.send_header(name, text)
        self.end_headers()
        if fault == "corrupt" and body:
            body = body[:-1] + bytes([body[-1] ^ 1])
        if fault == "truncate":
            self.close_connection = True
            body = body[: len(body) // 2]
        pieces = 10 if fault == "slow" else 1
        size = -(-len(body) // pieces)
        for start in range(0, len(body), max(1, size)):
            self.wfile.write(body[start : start + size])
            time.sleep(self.server.fake.slowness / pieces if fault == "slow" else 0)

    def _reset(self) -> None:
        self.close_connection = True
        with contextlib.suppress(OSError):
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.connection.close()


def _resource(bucket: str, name: str, kept: Object) -> dict[str, Any]:
    return {
        "kind": "storage#object",
        "bucket": bucket,
        "name": name,
        "size": str(len(kept.data)),
        "generation": str(kept.generation),
        "metageneration": str(kept.metageneration),
        "contentType": kept.content_type,
        "timeCreated": _moment(kept.created),
        "updated": _moment(kept.updated or kept.created),
        "metadata": kept.metadata,
        "crc32c": _crc32c(kept.data),
    }


def _moment(seconds: float) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds)) + f".{int(seconds % 1 * 1e6):06}Z"


def _crc32c(data: bytes) -> str:
    return base64.b64encode(google_crc32c.value(data).to_bytes(4)).decode()
