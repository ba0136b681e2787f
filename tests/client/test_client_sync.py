"""The blocking client: every call, its errors, and its use across threads and processes."""

import multiprocessing
import socket
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from datetime import timedelta
from pathlib import Path

import pytest
from fake_node import ADDR, peer
from processes import clean_environment, fake_daemon

from primedht import errors
from primedht.client import Client, PutItem
from primedht.client.locate import locate
from primedht.control_addr import TcpAddr, UnixAddr, parse
from primedht.wire import addrs
from primedht.wire.frames import encode_frame

CID = b"\x01\x55\x12\x20" + b"\xaa" * 32


@pytest.fixture
def client(control: str) -> Client:
    return Client(control)


def test_values(client: Client) -> None:
    result = client.put("k", b"v", ttl=timedelta(hours=1), want_trace=True)
    assert result.key == b"k"
    assert result.holders == (peer(0), peer(1))
    assert (result.refused[0].peer, result.refused[0].code) == (peer(2), "peer_timeout")
    assert (result.degraded, result.sequence, result.expires_unix_s) == (True, 7, 1e9)
    assert result.trace is not None
    assert result.trace.hops == 1
    found = client.get_record(b"k")
    assert (found.value, found.payload, found.authenticated, found.sources) == (b"v", b"v", True, (peer(1),))
    assert (found.sequence, found.writer_unix_ms, found.trace) == (None, 5, None)
    assert client.get("k") == b"v"
    assert client.delete("k").key == b"k"
    assert client.get("k") is None


def test_many_values(client: Client) -> None:
    outcomes = {each.key: each for each in client.put_many([PutItem("a", b"1"), PutItem("", b"2", ttl=5)])}
    assert outcomes[b"a"].result is not None
    assert isinstance(outcomes[b""].error, errors.InvalidKey)
    found = {each.key: each for each in client.get_many(["a", "absent"])}
    assert found[b"a"].result is not None
    assert found[b"a"].result.payload == b"1"
    assert isinstance(found[b"absent"].error, errors.ValueNotFound)


def test_providers(client: Client) -> None:
    assert client.provide(CID).told == (peer(1),)
    text = addrs.format_addr(ADDR)
    assert list(client.find_providers(CID, limit=2)) == [(peer(1), (text,)), (peer(2), (text,))]
    assert client.stop_providing(CID)
    assert not client.stop_providing(CID)
    assert list(client.find_providers(CID)) == []


def test_peers(client: Client) -> None:
    text = addrs.format_addr(ADDR)
    assert client.find_peer(str(peer(1))) == (peer(1), (text,))
    assert [each.id for each in client.closest_peers("k")] == [peer(1), peer(2), peer(3)]
    (known,) = client.peers()
    assert (known.id, known.how, known.in_routing_table, known.addrs) == (peer(1), "bootstrap", True, (text,))
    assert client.connect("host:4101").id == peer(1)
    client.disconnect(peer(1))
    assert client.ping(peer(1)) == 0.0125


def test_the_daemon_itself(client: Client) -> None:
    assert client.identify() == (peer(0), (addrs.format_addr(ADDR),))
    assert client.status()["peer_id"] == str(peer(0))
    assert client.drain().left_over == 0


def test_the_daemons_errors_are_exceptions_of_their_code(client: Client) -> None:
    with pytest.raises(errors.QuorumNotReached) as caught:
        client.put("k", b"v", min_holders=99)
    assert (caught.value.found, caught.value.wanted, caught.value.best) == (2, 99, b"best")
    with pytest.raises(errors.PeerNotFound):
        client.find_peer(peer(9))
    with pytest.raises(errors.PeerUnreachable):
        client.connect("dead:1")
    with pytest.raises(errors.DaemonError):
        client.get("bug")
    with pytest.raises(errors.OperationTimeout):
        client.get("never", timeout=0.05)


def test_a_failed_lookup_can_be_traced(client: Client) -> None:
    with pytest.raises(errors.ValueNotFound) as caught:
        client.get_record("absent", want_trace=True)
    assert caught.value.trace is not None
    first, second = caught.value.trace.asked
    assert (first.peer, first.heard_from) == (peer(1), None)
    assert (second.peer, second.outcome, second.heard_from) == (peer(2), "timeout", peer(1))


def test_events(client: Client, control: str) -> None:
    with closing(client.events(["put"], want_trace=True)) as events:
        Client(control).put("k", b"value")
        client.get("k")
        with suppress(errors.InvalidKey):
            client.put("", b"v")
        first, second = next(events), next(events)
    assert (first.operation, first.key, first.outcome, first.peers) == ("put", b"k", "ok", (peer(0), peer(1)))
    assert first.trace is not None
    assert (second.key, second.outcome) == (b"", "invalid_key")
    with pytest.raises(errors.InvalidArgument, match="no operation is called 'puts'"):
        client.events(["puts"])
    assert client.identify().id == peer(0)


def test_events_end_with_the_daemon(tmp_path: Path) -> None:
    address = f"/unix{tmp_path}/c.sock"
    with fake_daemon(address) as daemon:
        events = Client(address).events()
        daemon.kill()
        with pytest.raises(errors.DaemonUnavailable):
            next(events)


def test_a_code_of_a_newer_daemon_is_kept(control: str) -> None:
    from primedht.client import _decode
    from primedht.pb import p2pd_pb2 as pb

    error = _decode.error(pb.ErrorResponse(msg="what", code="brand_new"))
    assert (error.code, str(error)) == ("brand_new", "what")
    assert isinstance(error, errors.PrimeDhtError)


def test_wrong_arguments_are_refused_before_anything_is_sent() -> None:
    client = Client("/unix/nowhere/c.sock")
    with pytest.raises(errors.InvalidArgument):
        client.get("k", quorum=0)
    with pytest.raises(errors.InvalidArgument):
        client.get("k", timeout=0)
    with pytest.raises(errors.InvalidArgument):
        client.ping("not a peer id")
    with pytest.raises(errors.ValueTooLarge):
        client.put_many([PutItem("k", b"x" * (5 << 20))])
    with pytest.raises(TypeError, match="not str"):
        client.put("k", "text")


def test_a_stream_that_is_left_early_disturbs_no_later_call(client: Client) -> None:
    client.provide(CID)
    for number, _ in enumerate(client.find_providers(CID, limit=20)):
        if number == 1:
            break
    assert client.identify().id == peer(0)


def test_threads_share_a_client(client: Client) -> None:
    client.put("k", b"v")
    with ThreadPoolExecutor(8) as pool:
        assert set(pool.map(lambda _: client.get("k"), range(200))) == {b"v"}


def test_calls_of_several_threads_run_side_by_side(client: Client) -> None:
    """A slow call of one thread does not hold up another's."""
    ended = threading.Event()

    def slow() -> None:
        with suppress(errors.OperationTimeout):
            client.get("never", timeout=2)
        ended.set()

    thread = threading.Thread(target=slow)
    thread.start()
    assert client.identify().id == peer(0)
    assert not ended.is_set()
    thread.join()


def get_in_child(client: Client, results: "multiprocessing.Queue[object]") -> None:
    results.put(client.get("k"))


@pytest.mark.parametrize("method", ["fork", "spawn"])
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
def test_a_client_can_be_used_by_child_processes(control: str, method: str) -> None:
    context = multiprocessing.get_context(method)
    client = Client(control)
    client.put("k", b"v")
    results = context.Queue()
    children = [context.Process(target=get_in_child, args=(client, results)) for _ in range(2)]
    for child in children:
        child.start()
    assert [client.get("k") for _ in range(20)] == [b"v"] * 20
    assert [results.get(timeout=60) for _ in children] == [b"v", b"v"]
    for child in children:
        child.join()


def test_a_restarted_daemon_is_found_again(tmp_path: Path) -> None:
    address = f"/unix{tmp_path}/c.sock"
    with fake_daemon(address):
        client = Client(address)
        assert client.identify().id == peer(0)
    with pytest.raises(errors.DaemonUnavailable, match="no daemon answers"):
        client.identify()
    with fake_daemon(address):
        assert client.identify().id == peer(0)


def listen_once(path: Path, answer: bytes) -> threading.Thread:
    server = socket.socket(socket.AF_UNIX)
    server.bind(str(path))
    server.listen()

    def serve() -> None:
        connection, _ = server.accept()
        with server, connection:
            connection.recv(65536)
            connection.sendall(answer)

    thread = threading.Thread(target=serve)
    thread.start()
    return thread


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"\x05hello",
        b"HTTP/1.1 400 Bad Request\r\n\r\n",
        encode_frame(b""),
        b"\xff" * 10,
        b"\x7f partial",
    ],
)
def test_what_is_no_daemon_is_named(tmp_path: Path, answer: bytes) -> None:
    thread = listen_once(tmp_path / "s", answer)
    with pytest.raises(errors.DaemonUnavailable):
        Client(str(tmp_path / "s")).status()
    thread.join()


# --- where the daemon is ---------------------------------------------------------------------------


def test_the_order_of_places(tmp_path: Path) -> None:
    for name in ("by-option", "by-variable", "xdg/primedht"):
        (tmp_path / name).mkdir(parents=True)
        (tmp_path / name / "control").write_text(f"/unix/{name.replace('/', '-')}\n/ip4/127.0.0.1/tcp/1\n")
    environ = {
        "PRIMEDHT_CONTROL": "/ip4/127.0.0.1/tcp/9",
        "PRIMEDHT_NODE_DATA_DIR": str(tmp_path / "by-variable"),
        "XDG_DATA_HOME": str(tmp_path / "xdg"),
    }
    assert locate("/unix/x", tmp_path / "by-option", environ=environ) == UnixAddr("/x")
    assert locate(None, tmp_path / "by-option", environ=environ) == UnixAddr("/by-option")
    assert locate(environ=environ) == TcpAddr("127.0.0.1", 9)
    del environ["PRIMEDHT_CONTROL"]
    assert locate(environ=environ) == UnixAddr("/by-variable")
    del environ["PRIMEDHT_NODE_DATA_DIR"]
    assert locate(environ=environ) == UnixAddr("/xdg-primedht")
    with pytest.raises(errors.DaemonUnavailable, match="no daemon runs on"):
        locate(None, tmp_path / "absent", environ=environ)


@pytest.mark.parametrize(
    ("text", "addr"),
    [
        ("/unix/run/p2pd.sock", UnixAddr("/run/p2pd.sock")),
        ("/unix/%2Frun%2Fp2pd.sock", UnixAddr("/run/p2pd.sock")),
        ("/run/p2pd.sock", UnixAddr("/run/p2pd.sock")),
        ("/ip4/127.0.0.1/tcp/4102", TcpAddr("127.0.0.1", 4102)),
        ("/ip6/::1/tcp/4102", TcpAddr("::1", 4102)),
    ],
)
def test_control_addresses(text: str, addr: object) -> None:
    assert parse(text) == addr
    assert parse(str(addr)) == addr


@pytest.mark.parametrize(
    "text",
    ["", "p2pd.sock", "/unix/", "/unix", "/ip4/localhost/tcp/1", "/ip4/1.2.3.4/udp/1", "/ip6/::1/tcp/99999"],
)
def test_malformed_control_addresses(text: str) -> None:
    with pytest.raises(errors.InvalidArgument, match="malformed control address"):
        parse(text)


def test_importing_the_client_loads_neither_libp2p_nor_pydantic_nor_trio() -> None:
    program = (
        "import sys, primedht.client\n"
        "print([name for name in ('libp2p', 'pydantic', 'trio', 'multiaddr', 'cryptography') "
        "if name in sys.modules])"
    )
    output = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, env=clean_environment(), check=True
    ).stdout
    assert output == "[]\n"


def test_it_works_beside_p2pclients_messages() -> None:
    """Other projects register a p2pd.proto too; ours has its own package and file name."""
    from google.protobuf import descriptor_pb2, descriptor_pool

    from primedht.pb import p2pd_pb2

    assert p2pd_pb2.DESCRIPTOR.name == "primedht/p2pd.proto"
    assert p2pd_pb2.DESCRIPTOR.package == "primedht.p2pd"
    theirs = descriptor_pb2.FileDescriptorProto(name="p2pd.proto", package="p2pd.pb", syntax="proto2")
    theirs.message_type.add(name="Request")
    descriptor_pool.Default().AddSerializedFile(theirs.SerializeToString())
