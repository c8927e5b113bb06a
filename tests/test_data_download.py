"""download against a server on this machine that breaks off, lies, ignores Range, or is not there."""
import hashlib
import http.server
import os
import threading
import time

import pytest

from minitorch_alex.data.download import download, md5_of
from minitorch_alex.errors import DataError, DiskError

CONTENT = bytes(i * 7 % 251 for i in range(300_000))
MD5 = hashlib.md5(CONTENT).hexdigest()


class Handler(http.server.BaseHTTPRequestHandler):
    """good, plain (knows no Range), cut and plain-cut (hang up after 100,000 bytes), slow, wrong, missing."""

    def do_GET(self):
        path, asked = self.path.strip("/"), self.headers.get("Range")
        self.server.log.append((path, asked))
        if path == "missing":
            return self.send_error(404)
        body, start = CONTENT[::-1] if path == "wrong" else CONTENT, 0
        if asked and not path.startswith("plain"):
            start = int(asked.removeprefix("bytes=").removesuffix("-"))
            if start >= len(body):
                return self.send_error(416)
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {start}-{len(body) - 1}/{len(body)}")
        else:
            self.send_response(200)
        self.send_header("Content-Length", str(len(body) - start))
        self.end_headers()
        if path == "slow":
            time.sleep(0.4)
        stop = start + 100_000 if path.endswith("cut") else len(body)
        self.wfile.write(body[start:stop])

    def log_message(self, *_):
        pass


@pytest.fixture(scope="module")
def server():
    httpd = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    httpd.log = []
    thread = threading.Thread(target=httpd.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield httpd
    httpd.shutdown()
    httpd.server_close()
    thread.join()


@pytest.fixture
def get(server, tmp_path, monkeypatch):
    """get("cut", "good") downloads to tmp_path/file from these paths of the server, in this order."""
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    server.log.clear()
    base = f"http://127.0.0.1:{server.server_port}/"

    def call(*paths, timeout=5.0):
        return download([base + p for p in paths], tmp_path / "file", MD5, timeout)

    call.log, call.path, call.part = server.log, tmp_path / "file", tmp_path / "file.part"
    return call


def whole(get):
    return get.path.read_bytes() == CONTENT and not get.part.exists()


def test_plain_download(get):
    assert get("good") == get.path and whole(get) and get.log == [("good", None)]


def test_what_is_there_is_not_fetched_again(get):
    get.path.write_bytes(CONTENT)
    get("good")
    assert get.log == []


def test_a_wrong_file_that_is_there_is_replaced(get):
    get.path.write_bytes(b"old")
    get("good")
    assert whole(get)


def test_an_interrupted_transfer_goes_on_where_it_broke_off(get):
    get("cut")
    assert whole(get)
    assert get.log == [("cut", None), ("cut", "bytes=100000-"), ("cut", "bytes=200000-")]


def test_a_later_call_goes_on_where_an_earlier_one_stopped(get):
    get.part.write_bytes(CONTENT[:123_456])
    get("good")
    assert whole(get) and get.log == [("good", "bytes=123456-")]


def test_a_part_that_is_already_complete(get):
    get.part.write_bytes(CONTENT)
    get("good")
    assert whole(get) and get.log == [("good", f"bytes={len(CONTENT)}-")]


def test_a_server_that_ignores_range(get):
    get.part.write_bytes(CONTENT[:123_456])
    get("plain")
    assert whole(get)


def test_a_wrong_file_is_thrown_away_and_the_next_source_tried(get):
    get("wrong", "good")
    assert whole(get) and get.log == [("wrong", None), ("good", None)]


def test_a_bad_old_part_costs_one_more_request(get):
    get.part.write_bytes(b"x" * 5000)
    get("good")
    assert whole(get) and get.log == [("good", "bytes=5000-"), ("good", None)]


def test_only_wrong_files(get):
    get.path.write_bytes(b"old")
    with pytest.raises(DataError, match=rf"wrong file: md5 [0-9a-f]{{32}}, expected {MD5}"):
        get("wrong")
    assert get.path.read_bytes() == b"old" and not get.part.exists()


def test_all_sources_are_named_when_none_delivers(get):
    with pytest.raises(DataError) as caught:
        get("missing", "wrong")
    message = str(caught.value)
    for part in ("could not download file", "/missing\n    HTTP 404", "/wrong\n    wrong file"):
        assert part in message
    assert not get.path.exists()


def test_a_source_that_gets_no_further_is_given_up_and_its_part_kept(get):
    with pytest.raises(DataError, match="connection closed after 100,000 of 300,000 bytes"):
        get("plain-cut")
    assert get.log == [("plain-cut", None), ("plain-cut", "bytes=100000-")]
    assert get.part.read_bytes() == CONTENT[:100_000] and not get.path.exists()
    get("good")
    assert whole(get) and get.log[-1] == ("good", "bytes=100000-")


def test_a_source_that_says_nothing_is_left_after_the_timeout(get):
    get("slow", "good", timeout=0.1)
    assert whole(get) and [path for path, _ in get.log] == ["slow", "good"]


def test_nobody_there(get):
    with pytest.raises(DataError, match="Connection refused"):
        download(["http://127.0.0.1:9/"], get.path, MD5)
    assert not get.path.exists() and not get.part.exists()


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")
def test_a_full_disk(get):
    get.part.symlink_to("/dev/full")
    with pytest.raises(DiskError, match="cannot write .*file.part: No space left on device; free some room"):
        get("good")
    assert not get.path.exists() and not get.part.is_symlink()


def test_a_folder_that_cannot_be_made(get, tmp_path):
    get.path.write_bytes(b"a file in the way")
    with pytest.raises(DiskError, match="cannot write"):
        download(["http://127.0.0.1:9/"], get.path / "inside", MD5)


def test_md5(tmp_path):
    (tmp_path / "x").write_bytes(b"abc")
    assert md5_of(tmp_path / "x") == "900150983cd24fb0d6963f7d28e17f72"  # RFC 1321, section A.5
