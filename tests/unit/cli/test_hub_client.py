"""What a hub, or whatever answers in its place, makes of a call."""

import json
import os
import socket
import ssl
import threading
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import ip_address

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from homeostat.adapters.process_start import process_started
from homeostat.cli.hub_client import HubClient
from homeostat.cli.place import DEFAULT_URL, Place
from homeostat.core import errors
from homeostat.core.error_table import FAMILIES


class Scripted(BaseHTTPRequestHandler):
    def answer(self):
        self.server.seen.append((self.command, self.path, self.headers.get("Authorization")))
        length = int(self.headers.get("Content-Length") or 0)
        self.rfile.read(length)
        status, body = self.server.script
        if status is None:
            self.connection.shutdown(socket.SHUT_RDWR)
            return
        self.send_response(status)
        if 300 <= status < 400:
            self.send_header("Location", "http://127.0.0.1:9/elsewhere")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_GET = do_POST = answer

    def log_message(self, *_):
        pass


@contextmanager
def serving(certificate=None):
    with ThreadingHTTPServer(("127.0.0.1", 0), Scripted) as running:
        running.seen, running.script = [], (200, b"{}")
        running.url = f"http://127.0.0.1:{running.server_port}"
        if certificate is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(certificate)
            running.socket = context.wrap_socket(running.socket, server_side=True)
            running.url = running.url.replace("http:", "https:")
        thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        thread.start()
        yield running
        running.shutdown()
        thread.join(10)


@pytest.fixture
def server():
    with serving() as running:
        yield running


@pytest.fixture
def place(tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "keys").mkdir()
    (tmp_path / "keys" / "owner.token").write_text("hst_owner\n")
    return Place(repository=tmp_path, state_dir=tmp_path)


@pytest.fixture
def client(server, place, monkeypatch):
    monkeypatch.setenv("HOMEOSTAT_HUB_URL", server.url)
    return HubClient(place, timeout_s=5)


def raised(call, *arguments):
    with pytest.raises(errors.HomeostatError) as caught:
        call(*arguments)
    return caught.value


def problem(**fields):
    body = {"ok": False, "error": "x", "details": "y", "title": "some-code", "detail": "why", **fields}
    return json.dumps(body).encode()


@pytest.mark.parametrize("kind", FAMILIES, ids=lambda kind: kind.__name__)
def test_an_error_of_the_hub_comes_back_as_the_same_family(server, client, kind):
    family = FAMILIES[kind]
    server.script = (family.http_status, problem(family=family.label, hint="do this"))
    error = raised(client.get, "/x")
    assert (type(error), error.code, error.message, error.hint) == (kind, "some-code", "why", "do this")


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, errors.InvalidInput),
        (401, errors.NotPermitted),
        (403, errors.NotPermitted),
        (404, errors.NotFound),
        (409, errors.Conflict),
        (413, errors.InvalidInput),
        (429, errors.Unavailable),
        (500, errors.Bug),
        (503, errors.Unavailable),
        (504, errors.OutcomeUnknown),
    ],
)
def test_without_a_family_the_status_decides(server, client, status, kind):
    server.script = (status, problem())
    assert type(raised(client.get, "/x")) is kind
    server.script = (status, b"{}")
    error = raised(client.post, "/x", {})
    assert (type(error), error.code) == (kind, "refused") and str(status) in error.message


@pytest.mark.parametrize(
    ("status", "body"),
    [
        *((200, body) for body in (b"", b"<html>", b"[]", b"null", b"[" * 100_000, b"\xff")),
        *((404, b"not found"), (302, b"{}"), (500, b'"x"'), (418, b"{}")),
    ],
    ids=range(10),
)
def test_what_is_no_hub_is_named_as_such(server, client, status, body):
    server.script = (status, body)
    error = raised(client.get, "/x")
    assert (type(error), error.code) == (errors.Unavailable, "not-a-hub")


@pytest.mark.parametrize("body", [b"", b"[]", b"{}", b'{"ok": false}'], ids=range(4))
def test_a_400_that_is_not_the_contracts_is_no_answer(server, client, body):
    server.script = (400, body)
    assert raised(client.post_contract, "/x", {}).code == "not-a-hub"


def test_a_400_of_the_contract_is_an_answer(server, client):
    server.script = (400, problem())
    assert client.post_contract("/x", {})["error"] == "x"
    server.script = (403, problem())
    assert type(raised(client.post_contract, "/x", {})) is errors.NotPermitted


def test_a_redirect_is_not_followed_with_the_token(server, client):
    server.script = (307, b"{}")
    raised(client.get, "/x")
    assert [path for _, path, _ in server.seen] == ["/x"]


def test_the_token_is_not_sent_to_a_hub_whose_certificate_this_machine_does_not_trust(place, monkeypatch, tmp_path):
    with serving(self_signed(tmp_path / "hub.pem")) as stranger:
        monkeypatch.setenv("HOMEOSTAT_HUB_URL", stranger.url)
        assert raised(HubClient(place, timeout_s=5).get, "/x").code == "hub-down"
        assert stranger.seen == []


def self_signed(path):
    """Write a key, and a certificate of it for 127.0.0.1 that nobody vouches for."""
    key, name = ec.generate_private_key(ec.SECP256R1()), x509.Name([])
    now = datetime.now(UTC)
    unsigned = x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
    unsigned = unsigned.not_valid_before(now - timedelta(days=1)).not_valid_after(now + timedelta(days=1))
    here = x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))])
    certificate = unsigned.add_extension(here, critical=True).sign(key, hashes.SHA256())
    pem = serialization.Encoding.PEM
    private = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    path.write_bytes(private + certificate.public_bytes(pem))
    return path


def test_nobody_there_means_nothing_happened(client, server, place, monkeypatch):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        monkeypatch.setenv("HOMEOSTAT_HUB_URL", f"http://127.0.0.1:{probe.getsockname()[1]}")
        error = raised(HubClient(place).post, "/x", {})
    assert (type(error), error.code) == (errors.Unavailable, "hub-down")


def test_a_broken_connection_leaves_a_change_unknown_and_a_look_harmless(server, client):
    server.script = (None, b"")
    assert type(raised(client.post, "/x", {})) is errors.OutcomeUnknown
    assert type(raised(client.get, "/x")) is errors.Unavailable


def test_so_does_an_answer_that_does_not_come(place, monkeypatch):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        monkeypatch.setenv("HOMEOSTAT_HUB_URL", f"http://127.0.0.1:{silent.getsockname()[1]}")
        client = HubClient(place, timeout_s=0.05)
        assert type(raised(client.post, "/x", {})) is errors.OutcomeUnknown
        assert type(raised(client.get, "/x")) is errors.Unavailable


def test_proxies_of_the_environment_are_not_asked(server, place, monkeypatch):
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    monkeypatch.setenv("HOMEOSTAT_HUB_URL", server.url)
    assert HubClient(place).get("/x") == {}
    assert server.seen == [("GET", "/x", "Bearer hst_owner")]


def test_a_hub_with_too_many_callers_is_told_from_something_that_is_no_hub(server, client):
    server.script = (503, b"Service Unavailable")
    error = raised(client.get, "/x")
    assert (type(error), error.code) == (errors.Unavailable, "hub-busy") and "again" in error.hint
    server.script = (502, b"Bad Gateway")
    assert raised(client.get, "/x").code == "not-a-hub"


# Where the hub is, and whom the owner's token is given to


def write_hub_file(place, **facts):
    pid = facts.get("pid", os.getpid())
    body = {"url": "http://127.0.0.1:4000", "pid": pid, "started": process_started(pid), **facts}
    place.hub_file.write_text(json.dumps(body))


def test_the_running_hubs_own_word_is_taken(place):
    write_hub_file(place)
    assert place.hub_url() == "http://127.0.0.1:4000"


def test_the_environment_goes_first(place, monkeypatch):
    write_hub_file(place)
    monkeypatch.setenv("HOMEOSTAT_HUB_URL", " http://localhost:5000/ ")
    assert place.hub_url() == "http://localhost:5000"


def dead_pid():
    pid = os.fork()
    if pid == 0:
        os._exit(0)
    os.waitpid(pid, 0)
    return pid


@pytest.mark.parametrize("left", ["dead process", "another of its number", "nothing", "garbage", "list", "no pid"])
def test_the_owners_token_is_not_sent_to_whoever_listens_where_a_hub_was(place, server, left):
    """A hub that was killed leaves its file behind; the port may be anybody's by now."""
    if left == "dead process":
        write_hub_file(place, url=server.url, pid=dead_pid())
    elif left == "another of its number":  # as after a start of the machine, which leaves the file too
        write_hub_file(place, url=server.url, started="4711")
    elif left != "nothing":
        place.hub_file.write_text({"garbage": "{", "list": "[]", "no pid": '{"url": "http://127.0.0.1:1"}'}[left])
    assert raised(HubClient, place).code == "hub-down"
    assert server.seen == [] and place.running_hub() is None


def test_a_process_of_another_user_is_not_the_hub(place, server):
    write_hub_file(place, url=server.url, pid=1)
    if os.getuid() == 0:
        os.chown(place.hub_file, 12345, -1)
    assert place.running_hub() is None


def test_a_token_that_was_given_may_go_to_the_default_address(place, monkeypatch):
    monkeypatch.setenv("HOMEOSTAT_TOKEN", "hst_bot")
    assert place.hub_url() == DEFAULT_URL


@pytest.mark.parametrize(
    "url", ["127.0.0.1:3001", "localhost", "ftp://x", "http://", "http://a b", "http://x?y", "http://u:p@x"]
)
def test_an_address_that_is_none_is_refused(place, monkeypatch, url):
    monkeypatch.setenv("HOMEOSTAT_HUB_URL", url)
    error = raised(place.hub_url)
    assert (type(error), error.code) == (errors.InvalidInput, "bad-hub-url") and DEFAULT_URL in error.hint


def test_a_port_that_cannot_be_has_no_hub(place, monkeypatch):
    monkeypatch.setenv("HOMEOSTAT_HUB_URL", "http://127.0.0.1:99999")
    assert raised(lambda: HubClient(place).get("/x")).code == "hub-down"


def test_a_pipe_in_the_place_of_a_file_is_waited_for_by_nobody(place, monkeypatch):
    monkeypatch.delenv("HOMEOSTAT_TOKEN", raising=False)
    token = place.state_dir / "keys" / "owner.token"
    token.unlink()
    for path in (place.hub_file, token):
        os.mkfifo(path)
    assert place.running_hub() is None and raised(place.token).code == "no-token"


@pytest.mark.parametrize("token", ["two words", "line\nbreak", "é", "x" * 5000])
def test_a_token_that_cannot_be_one_is_refused(place, monkeypatch, token):
    monkeypatch.setenv("HOMEOSTAT_TOKEN", token)
    assert raised(place.token).code == "bad-token"


def test_a_token_is_stripped_and_a_missing_one_is_said(place, monkeypatch):
    monkeypatch.setenv("HOMEOSTAT_TOKEN", " hst_x\n")
    assert place.token() == "hst_x"
    monkeypatch.delenv("HOMEOSTAT_TOKEN")
    assert place.token() == "hst_owner"
    (place.state_dir / "keys" / "owner.token").unlink()
    assert raised(place.token).code == "no-token"
