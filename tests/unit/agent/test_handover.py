"""The program's side of a restart: what it listens on, what it claims, and how it is parked."""

import asyncio
import contextlib
import os
import selectors
import socket
import socketserver
import subprocess
import sys
import threading
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
from agents_harness import wait_for
from homeostat_agent.handover.claims import Claims
from homeostat_agent.handover.member import Member
from homeostat_agent.handover.retiring import Retirement
from homeostat_agent.handover.sockets import connections, listeners, watched
from homeostat_agent.handover.wire import HandoverError, close_all, connect, packet_socket, receive, send

LOOPBACK = ("127.0.0.1", 0)


@pytest.fixture
def stack():
    with ExitStack() as stack:
        yield stack


def listening(stack, address=LOOPBACK, family=socket.AF_INET):
    made = stack.enter_context(socket.socket(family, socket.SOCK_STREAM))
    made.bind(address)
    made.listen()
    return made


def inode(one):
    return os.fstat(one.fileno()).st_ino


def found(one):
    return [item for item in listeners() if item.inode == inode(one)]


class Door:
    """A supervisor's door that offers sockets by address, and notes what was asked."""

    def __init__(self, folder, stack):
        self.path = str(folder / "door.sock")
        self.offers = {}
        self.asked = []
        self.hello = {"successor": True, "keep": []}
        self.lines = []
        self._listener = stack.enter_context(packet_socket())
        self._listener.bind(self.path)
        self._listener.listen()
        serving = threading.Thread(target=self._serve)
        serving.start()
        stack.callback(lambda: [line.close() for line in self.lines])
        stack.callback(serving.join)
        stack.callback(self._listener.shutdown, socket.SHUT_RDWR)  # wakes the one that waits in accept

    def _serve(self):
        while True:
            try:
                caller, _ = self._listener.accept()
            except OSError:
                return
            with contextlib.suppress(OSError, HandoverError):  # it went away
                if self._answer(caller):
                    self.lines.append(caller)
                    continue
            caller.close()

    def _answer(self, caller):
        """Answer one; whether it stays on the line."""
        message, _ = receive(caller, timeout_s=5)
        self.asked.append(message)
        if message["role"] == "agent":
            send(caller, self.hello)
            return True
        key = message["address"], message.get("port")
        offered = self.offers.get(key)
        send(caller, {}, () if offered is None else (offered.fileno(),))
        return False


@pytest.fixture
def door(tmp_path, stack):
    return Door(tmp_path, stack)


@pytest.fixture
def claims(door):
    claims = Claims(door.path, "l")
    claims.install()
    yield claims
    claims.uninstall()


# What it listens on


def test_a_listener_is_found_with_its_address_and_a_socket_that_does_not_listen_is_not(stack):
    one = listening(stack)
    (item,) = found(one)
    assert (item.family, item.address) == ("inet", one.getsockname())
    bound = stack.enter_context(socket.socket())
    bound.bind(LOOPBACK)
    assert found(bound) == []
    assert one.fileno() >= 0 and bound.fileno() >= 0, "looking closed a descriptor of the program"


def test_listeners_of_ipv6_and_unix_are_found_too(stack, tmp_path, monkeypatch):
    six = listening(stack, ("::1", 0), socket.AF_INET6)
    assert found(six)[0].family == "inet6" and found(six)[0].address[0] == "::1"
    monkeypatch.chdir(tmp_path)
    unix = listening(stack, "web.sock", socket.AF_UNIX)
    assert found(unix)[0].address == str(tmp_path / "web.sock")


def test_who_waits_in_an_epoll_is_seen_whoever_put_it_there(stack):
    one = listening(stack)
    assert inode(one) not in watched()
    waiting = stack.enter_context(selectors.EpollSelector())
    waiting.register(one, selectors.EVENT_READ)
    assert inode(one) in watched()


def test_a_connection_is_busy_until_its_answer_was_sent_a_while_ago(stack):
    one = listening(stack)
    client = stack.enter_context(socket.create_connection(one.getsockname()))
    served = stack.enter_context(one.accept()[0])
    at = {("inet", one.getsockname())}

    def seen():
        (item,) = [item for item in connections(at) if item.peer == "{} {}".format(*client.getsockname())]
        return item

    client.sendall(b"hello")
    wait_for(lambda: seen().unread)
    assert not seen().idle
    served.recv(5)
    assert not seen().unread and not seen().idle
    served.sendall(b"well")
    wait_for(lambda: seen().idle, timeout_s=10)
    client.close()
    served.close()
    assert connections(at) == []


# Parking


@pytest.fixture
def retirement(tmp_path):
    one = Retirement(str(tmp_path))
    yield one
    one.close()


def test_a_parked_process_takes_nothing_and_whoever_shares_the_socket_takes_everything(stack, retirement):
    one = listening(stack)
    one.setblocking(False)
    shared = stack.enter_context(socket.socket(fileno=os.dup(one.fileno())))
    waiting = stack.enter_context(selectors.DefaultSelector())
    waiting.register(one, selectors.EVENT_READ)
    address = one.getsockname()
    (mine,) = [item for item in found(one) if item.descriptor == one.fileno()]
    assert retirement.park([mine]) == 1
    stack.enter_context(socket.create_connection(address))
    assert waiting.select(0.05) == []
    with pytest.raises(BlockingIOError):
        one.accept()
    shared.settimeout(5)
    stack.enter_context(shared.accept()[0])
    waiting.unregister(one)
    one.close()


def test_an_asyncio_server_answers_whom_it_had_accepted_takes_nobody_more_and_closes_well(stack, retirement):
    async def play():
        accepted = []
        arrived = asyncio.Event()

        async def answer(reader, writer):
            accepted.append(writer.get_extra_info("peername"))
            arrived.set()
            writer.write(await reader.read(5))
            await writer.drain()
            writer.close()

        server = await asyncio.start_server(answer, *LOOPBACK)
        own = server.sockets[0]
        address = own.getsockname()
        shared = stack.enter_context(socket.socket(fileno=os.dup(own.fileno())))
        reader, writer = await asyncio.open_connection(*address)
        await asyncio.wait_for(arrived.wait(), 10)
        retirement.park([item for item in listeners() if item.descriptor == own.fileno()])
        late = stack.enter_context(socket.create_connection(address))
        writer.write(b"hello")
        assert await asyncio.wait_for(reader.read(5), 10) == b"hello"
        assert accepted == [writer.get_extra_info("sockname")]
        shared.settimeout(5)
        taken, peer = shared.accept()
        assert peer == late.getsockname()
        taken.close()
        server.close()
        await server.wait_closed()
        writer.close()

    asyncio.run(play())


def test_a_parked_unix_listener_still_has_a_file_of_its_own_to_remove(stack, tmp_path, retirement):
    one = listening(stack, str(tmp_path / "web.sock"), socket.AF_UNIX)
    retirement.park(found(one))
    name = one.getsockname()
    assert name != str(tmp_path / "web.sock") and Path(name).is_socket()
    Path(name).unlink()
    assert (tmp_path / "web.sock").is_socket()


# Claiming


def test_a_successor_binds_the_socket_that_was_handed_over(stack, door, claims):
    old = listening(stack)
    host, port = old.getsockname()
    door.offers[host, port] = old
    claims.begin([])
    new = stack.enter_context(socket.socket())
    new.bind(("localhost", port))
    assert inode(new) == inode(old) and not new.get_inheritable()
    new.listen()
    assert claims.seen(inode(new)) == "listen"


def test_a_program_that_looks_first_whether_the_port_is_free_gets_it_all_the_same(stack, door, claims):
    old = listening(stack)
    door.offers[old.getsockname()] = old
    claims.begin([])
    for _ in range(2):
        with socket.socket() as new:
            new.bind(old.getsockname())
            assert inode(new) == inode(old)


def test_a_port_that_the_system_chose_is_noted_and_asked_for_as_0_again(stack, door, claims):
    first = listening(stack)
    assert inode(first) in claims.any_port
    door.offers["127.0.0.1", 0] = first
    claims.begin([])
    new = stack.enter_context(socket.socket())
    new.bind(LOOPBACK)
    assert inode(new) == inode(first) and inode(new) in claims.any_port


def test_what_was_not_handed_over_is_bound_as_ever(stack, door, claims):
    claims.begin([])
    new = listening(stack)
    assert new.getsockname()[1] > 0 and door.asked[-1]["port"] == 0
    with pytest.raises(OSError):
        stack.enter_context(socket.socket()).bind(new.getsockname())


def test_without_a_supervisor_that_answers_the_program_binds_as_ever(tmp_path, stack):
    claims = Claims(str(tmp_path / "nobody.sock"), "l")
    claims.install()
    try:
        claims.begin([])
        assert listening(stack).getsockname()[1] > 0
    finally:
        claims.uninstall()


def test_the_first_process_of_a_launch_asks_nobody(stack, door, claims):
    listening(stack)
    assert door.asked == []


def test_datagrams_are_none_of_our_business(stack, door, claims):
    claims.begin([])
    stack.enter_context(socket.socket(type=socket.SOCK_DGRAM)).bind(LOOPBACK)
    assert door.asked == []


def test_the_file_of_a_socket_that_is_handed_over_is_not_removed(stack, door, claims, tmp_path):
    path = tmp_path / "web.sock"
    old = listening(stack, str(path), socket.AF_UNIX)
    door.offers[str(path), None] = old
    claims.begin([str(path)])
    other = tmp_path / "other"
    other.touch()
    os.remove(path)  # noqa: PTH107 - what servers call
    path.unlink()
    other.unlink()
    assert path.is_socket() and not other.exists()
    new = stack.enter_context(socket.socket(socket.AF_UNIX))
    new.bind(str(path))
    assert inode(new) == inode(old)
    claims.settle()
    path.unlink()
    assert not path.exists()


def test_nothing_is_left_of_the_hooks_when_they_are_taken_out(door):
    before = (vars(socket.socket).get("bind"), socket.socket.accept, os.remove, socketserver.BaseServer.serve_forever)
    claims = Claims(door.path, "l")
    claims.install()
    claims.begin(["/nowhere"])
    claims.uninstall()
    after = (vars(socket.socket).get("bind"), socket.socket.accept, os.remove, socketserver.BaseServer.serve_forever)
    assert after == before


def test_a_program_that_the_program_runs_gets_no_descriptor_of_ours(stack, door, claims):
    old = listening(stack)
    door.offers[old.getsockname()] = old
    claims.begin([])
    new = stack.enter_context(socket.socket())
    new.bind(old.getsockname())
    code = """if True:
        import os
        for number in range(256):
            try:
                print(os.fstat(number).st_ino)
            except OSError:
                pass
    """
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, close_fds=False, check=True)
    assert str(inode(new)) not in done.stdout.split()
    new.set_inheritable(True)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, close_fds=False, check=True)
    assert str(inode(new)) in done.stdout.split(), "this test would not see it"


def test_a_server_of_socketserver_is_not_stuck_when_another_process_was_faster(stack, claims):
    server = stack.enter_context(socketserver.TCPServer(LOOPBACK, socketserver.BaseRequestHandler))
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    wait_for(lambda: not os.get_blocking(server.fileno()), what="the socket not to block")
    server.shutdown()
    thread.join(10)
    assert not thread.is_alive()


# The line to the supervisor


@contextmanager
def member(door):
    one = Member(door.path, "l", connected=lambda: True)
    one.start()
    try:
        yield one
    finally:
        one.close()


def ask(line, **question):
    send(line, question)
    answer, given = receive(line, timeout_s=10)
    return answer, given


def test_a_member_says_hello_and_hands_over_what_it_listens_on(stack, door):
    one = listening(stack)
    with member(door):
        line = wait_for(lambda: door.lines and door.lines[0])
        assert door.asked[0] == {"role": "agent", "launch": "l", "pid": os.getpid(), "ppid": os.getppid()}
        answer, given = ask(line, do="hand-over")
        told = {item["inode"]: descriptor for item, descriptor in zip(answer["listeners"], given, strict=True)}
        assert os.fstat(told[inode(one)]).st_ino == inode(one)
        close_all(given)
        assert "error" in ask(line, do="what is this")[0]


def test_a_member_whose_supervisor_was_killed_calls_the_next_one(door):
    with member(door):
        wait_for(lambda: len(door.lines) == 1)
        door.lines[0].close()
        wait_for(lambda: len(door.lines) == 2, what="another hello", timeout_s=20)
        assert ask(door.lines[1], do="look")[0]["connected"] is True


def test_another_users_door_is_not_spoken_to(tmp_path, stack, monkeypatch):
    listener = stack.enter_context(packet_socket())
    listener.bind(str(tmp_path / "door.sock"))
    listener.listen()
    if os.getuid() != 0:
        monkeypatch.setattr(os, "geteuid", lambda: os.getuid() + 1)
        with pytest.raises(HandoverError):
            connect(str(tmp_path / "door.sock"))
    else:
        connect(str(tmp_path / "door.sock")).close()
