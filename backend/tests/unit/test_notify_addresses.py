"""Addresses that users name: what may be one, what is shown of it, and where it may lead."""

from __future__ import annotations

from ipaddress import ip_address

import pytest

from app.services.notify_addresses import AddressRefused, Sealer, hint_of, is_public
from worker.courier import Fence

GOOD = {
    "mailtos://joe:secret@example.com?to=desk@example.org": "mailtos://example.com/...",
    "mailto://joe:secret@mail.example.com:587": "mailto://mail.example.com/...",
    "jsons://user:secret@hooks.example.com/path/token": "jsons://hooks.example.com/...",
    "jsons://93.184.216.34/x": "jsons://93.184.216.34/...",
    "slack://TokenA/TokenB/TokenC/#desk": None,
    "slack://TokenA/TokenB/TokenC": "slack://...",
    "discord://1234567890/secret-token": "discord://...",
    "tgram://123456789:secret/987654": "tgram://...",
    "ntfys://ntfy.example.com/topic?priority=high": "ntfys://ntfy.example.com/...",
}
HOSTILE = [
    "",
    "jsons://",
    "http://example.com",
    "https://example.com/hook",
    "json://example.com/plain",
    "file:///etc/passwd",
    "gopher://example.com",
    "xml://example.com",
    "exec://example.com",
    "syslog://localhost",
    "windows://",
    "dbus://",
    "jsons://localhost/x",
    "jsons://a.localhost/x",
    "jsons://127.0.0.1/x",
    "jsons://127.1/x",
    "jsons://0x7f.0.0.1/x",
    "jsons://0x7f000001/x",
    "jsons://2130706433/x",
    "jsons://0177.0.0.1/x",
    "jsons://10.0.0.5/x",
    "jsons://172.16.0.1/x",
    "jsons://192.168.1.1/x",
    "jsons://169.254.169.254/latest/meta-data",
    "jsons://100.100.100.200/x",
    "jsons://0.0.0.0/x",
    "jsons://224.0.0.1/x",
    "jsons://255.255.255.255/x",
    "jsons://[::1]/x",
    "jsons://[::ffff:127.0.0.1]/x",
    "jsons://[::ffff:10.0.0.1]/x",
    "jsons://[64:ff9b::7f00:1]/x",
    "jsons://[2002:7f00:1::]/x",
    "jsons://[fe80::1]/x",
    "jsons://[fd00::1]/x",
    "jsons://[::]/x",
    "jsons://postgres/x",
    "jsons://postgres:5432/x",
    "jsons://metadata.google.internal/x",
    "jsons://printer.local/x",
    "jsons://example.com:99999/x",
    "jsons://exa mple.com/x",
    "jsons://example.com/x\r\nHost: y",
    "jsons://example.com/x\x00",
    "jsons://exämple.com/x",
    "jsons://example.com/" + "x" * 500,
    "jsons://example.com/x?verify=no",
    "jsons://example.com/x?+Host=internal",
    "jsons://example.com/x?rto=9999",
    "jsons://example.com/x?attach=/etc/passwd",
    "mailtos://a:b@example.com?pgp=yes",
    "mailtos://a:b@example.com?pgpkey=/etc/passwd",
    "mailtos://a:b@example.com?PGPKEY=/etc/passwd",
    "slack://a/b/c?template=/etc/passwd",
    "discord://1/2?template=/run/secrets/webhook_hmac",
    "workflows://example.com:443/a/b?template=/etc/passwd",
]


@pytest.mark.parametrize("url", [url for url, hint in GOOD.items() if hint])
def test_a_good_address_is_taken_and_its_hint_holds_no_secret(url: str) -> None:
    hint = hint_of(url, allow_private=False)
    assert hint == GOOD[url]
    assert "secret" not in hint.lower()


@pytest.mark.parametrize("url", HOSTILE)
def test_a_hostile_address_is_refused_and_not_repeated(url: str) -> None:
    with pytest.raises(AddressRefused) as refusal:
        hint_of(url, allow_private=False)
    named = url.partition("://")[2]
    assert not named or named not in str(refusal.value)


def test_an_operator_may_let_messages_into_the_own_network_yet_not_read_files() -> None:
    assert hint_of("json://127.0.0.1:8080/x", allow_private=True) == "json://127.0.0.1/..."
    for url in ("json://localhost/x?verify=no", "mailto://localhost?pgpkey=/x", "file:///x"):
        with pytest.raises(AddressRefused):
            hint_of(url, allow_private=True)


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1",
        "10.1.2.3",
        "169.254.169.254",
        "::1",
        "::ffff:192.168.0.1",
        "64:ff9b::a00:1",
        "2002:a00:1::",
        "2001:0:53aa:64c:0:1:f5ff:fffe",
        "ff02::1",
        "240.0.0.1",
        "0.0.0.0",  # noqa: S104 - refused, not bound
        "fc00::1",
    ],
)
def test_where_a_name_really_leads_is_looked_at_when_it_connects(address: str) -> None:
    assert not is_public(ip_address(address))
    with pytest.raises(PermissionError):
        Fence(allow_private=False)("socket.connect", (None, (address, 443)))


def test_the_fence_lets_the_public_pass_and_nothing_without_an_address() -> None:
    fence = Fence(allow_private=False)
    fence("socket.connect", (None, ("93.184.216.34", 443)))
    fence("socket.connect", (None, ("2606:2800:220:1:248:1893:25c8:1946", 443, 0, 0)))
    for address in ("/run/postgres.sock", "", None, ("localhost", 80), ("fe80::1%eth0", 80, 0, 2)):
        with pytest.raises(PermissionError):
            fence("socket.connect", (None, address))
    for event in ("subprocess.Popen", "os.system", "socket.bind"):
        with pytest.raises(PermissionError):
            Fence(allow_private=True)(event, ())


def test_a_seal_opens_only_under_its_own_secret() -> None:
    sealer, url = Sealer("one"), "jsons://user:secret@example.com"
    sealed = sealer.seal(url)
    assert sealer.open(sealed) == url
    assert b"secret" not in sealed
    assert sealer.seal(url) != sealed
    assert Sealer("two").open(sealed) is None
    for damaged in (b"", b"x", sealed[:-1], sealed[:5] + b"x" + sealed[6:]):
        assert sealer.open(damaged) is None
    assert sealer.fingerprint(url) == sealer.fingerprint(url)
    assert sealer.fingerprint(url) != Sealer("two").fingerprint(url)
    assert sealer.fingerprint(url) != sealer.fingerprint(url + "x")
