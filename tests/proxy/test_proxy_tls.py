"""TLS by either proxy: certificates, redirects, and to whom browsers are bound for a year."""

import ssl
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from proxy.conftest import Open
from proxy.doors import TIMEOUT_S, Answer, Door, read_answer
from proxy.upstream import SESSION
from websockets.sync.client import connect
from websockets.typing import Origin

pytestmark = pytest.mark.xdist_group("proxy")

OpenTls = Callable[[str, str], Door]
YEAR = "max-age=31536000"


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """A certificate for the names of these tests, signed by itself."""
    folder = tmp_path_factory.mktemp("tls")
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "desk.test")])
    names = [x509.DNSName("localhost"), x509.DNSName("desk.test")]
    today = datetime.now(UTC)
    signed = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(today - timedelta(days=1))
        .not_valid_after(today + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    plain = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    (folder / "key.pem").write_bytes(key.private_bytes(pem, *plain))
    (folder / "certificate.pem").write_bytes(signed.public_bytes(pem))
    return {
        "TLS_CERTIFICATE": str(folder / "certificate.pem"),
        "TLS_KEY": str(folder / "key.pem"),
    }


@pytest.fixture
def open_tls(open_one: Open, certificate: dict[str, str]) -> OpenTls:
    """Start a proxy for a name, with a certificate from a file."""

    def opened(kind: str, name: str) -> Door:
        site = f"https://{name}:TLS_PORT"
        settings = {"SITE_ADDRESS": site, "PUBLIC_URL": site, "TLS_ISSUER": "files", **certificate}
        return open_one(kind, **settings)

    return opened


def ask_tls(door: Door, path: str, *, host: str = "", headers: str = "") -> Answer:
    """Ask over TLS, by default under the name that the proxy has."""
    name = door.host.partition(":")[0]
    request = (
        f"GET {path} HTTP/1.1\r\nHost: {host or door.host}\r\n{headers}Connection: close\r\n\r\n"
    )
    with door.connect_tls(name) as connection:
        connection.sendall(request.encode())
        return read_answer(connection)


def once_certified(door: Door) -> Answer:
    """Ask again until Caddy has made the certificate, which it does beside its start."""
    deadline = time.monotonic() + TIMEOUT_S
    while True:
        try:
            return ask_tls(door, "/api/orders")
        except ssl.SSLError:
            assert time.monotonic() < deadline, door.log
            time.sleep(0.02)


@pytest.mark.parametrize(("name", "bound"), [("localhost", None), ("desk.test", YEAR)])
def test_https_answers_and_only_a_real_name_binds_browsers(
    kind: str, open_tls: OpenTls, name: str, bound: str | None
) -> None:
    door = open_tls(kind, name)
    for path in ("/api/orders", "/static/x", "/"):
        answer = ask_tls(door, path, headers=f"Cookie: {SESSION}\r\n")
        assert (answer.status, answer.sent_on("x-forwarded-proto")) == (200, ["https"])
        assert answer.one("Strict-Transport-Security") == bound
    assert ask_tls(door, "/").status == 401
    assert ask_tls(door, "/metrics").status == 404


def test_without_tls_one_is_led_to_it(kind: str, open_tls: OpenTls) -> None:
    for name in ("localhost", "desk.test"):
        door = open_tls(kind, name)
        for host in (f"{name}:{door.port}", name, "127.0.0.1"):
            answer = door.ask("/Trades?a=b%20c", host=host, Cookie=SESSION)
            assert answer.status == 308
            assert answer.one("Location") == f"{door.url}/Trades?a=b%20c"
        for host in ("evil.test", f"evil.{name}", f"{name}.evil.test", "desk-test"):
            assert door.ask("/", host=host).status == 421
        assert door.ask("/healthz", host="10.1.2.3").status == 200


def test_another_name_gets_no_certificate_and_none_may_be_used_for_another(
    kind: str, open_tls: OpenTls
) -> None:
    door = open_tls(kind, "desk.test")
    with pytest.raises(ssl.SSLError), door.connect_tls("evil.test"):
        pass
    assert ask_tls(door, "/api/orders", host="evil.test").status == 421


def test_http2_is_spoken(kind: str, open_tls: OpenTls) -> None:
    door = open_tls(kind, "desk.test")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.set_alpn_protocols(["h2", "http/1.1"])
    with (
        door.connect_to_tls_port() as plain,
        context.wrap_socket(plain, server_hostname="desk.test") as connection,
    ):
        assert connection.selected_alpn_protocol() == "h2"
        assert connection.version() == "TLSv1.3"


def test_websockets_work_over_tls(kind: str, open_tls: OpenTls) -> None:
    door = open_tls(kind, "localhost")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with connect(
        f"wss://{door.host}/_stcore/stream",
        ssl=context,
        origin=Origin(door.url),
        additional_headers={"Cookie": SESSION},
        proxy=None,
    ) as socket:
        socket.recv(timeout=5)
        socket.send("hello")
        assert socket.recv(timeout=5) == "hello"


def test_caddy_makes_certificates_itself_and_offers_http3_at_the_public_port(
    open_one: Open,
) -> None:
    site = "https://localhost:TLS_PORT"
    door = open_one("caddy", SITE_ADDRESS=site, PUBLIC_URL=site)
    answer = once_certified(door)
    assert answer.status == 200
    assert answer.one("Alt-Svc") == f'h3=":{door.env["HTTPS_PORT"]}"; ma=86400'
    root = next(door.folder.rglob("pki/authorities/local/root.crt"))
    context = ssl.create_default_context(cafile=root)
    with (
        door.connect_to_tls_port() as plain,
        context.wrap_socket(plain, server_hostname="localhost") as connection,
    ):
        assert connection.getpeercert()
    # Whoever opens the same ports from outside knows them by other numbers.
    inside = open_one(
        "caddy",
        SITE_ADDRESS="https://desk.test:TLS_PORT",
        PUBLIC_URL="https://desk.test",
        TLS_ISSUER="internal",
    )
    assert once_certified(inside).one("Alt-Svc") == 'h3=":443"; ma=86400'
    assert inside.ask("/x", host="desk.test").one("Location") == "https://desk.test/x"


def test_our_authority_is_put_into_no_trust_store(open_one: Open) -> None:
    site = "https://localhost:TLS_PORT"
    door = open_one("caddy", SITE_ADDRESS=site, PUBLIC_URL=site)
    once_certified(door)
    root = next(door.folder.rglob("pki/authorities/local/root.crt"))
    body = root.read_text().splitlines()[1]
    stores = [Path("/etc/ssl/certs/ca-certificates.crt"), *Path("/usr/local/share").rglob("*.crt")]
    assert not [path for path in stores if path.is_file() and body in path.read_text()]
