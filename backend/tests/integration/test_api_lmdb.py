"""The hot store over HTTP: versions are ETags, roles are kept, limits hold."""

import asyncio
from pathlib import Path

import api_world
from api_world import MakePerson, OpenApi, Person, World, code, needs_hot_store, until
from fixtures_postgres import Database, make_instrument, set_price

pytestmark = needs_hot_store


async def test_what_is_put_is_got_under_a_growing_version(world: World, trader: Person) -> None:
    put = await trader.client.put("/api/lmdb/strategy/mean/state", content=b"\x00one\xff")
    assert put.status_code == 200, put.text
    got = await trader.client.get("/api/lmdb/strategy/mean/state")
    assert (got.status_code, got.content) == (200, b"\x00one\xff")
    assert got.headers["ETag"] == put.headers["ETag"] == f'"{put.json()["version"]}"'
    assert got.headers["content-type"] == "application/octet-stream"
    again = await trader.client.put("/api/lmdb/strategy/mean/state", content=b"two")
    assert int(again.json()["version"]) > int(put.json()["version"])


async def test_a_value_is_replaced_only_in_the_expected_version(
    world: World, trader: Person
) -> None:
    path = "/api/lmdb/strategy/x"
    tag = (await trader.client.put(path, content=b"1")).headers["ETag"]
    statuses = [
        (await trader.client.put(path, content=b"2", headers={"If-Match": tag})).status_code,
        (await trader.client.put(path, content=b"3", headers={"If-Match": tag})).status_code,
        (await trader.client.put(path, content=b"4", headers={"If-Match": "*"})).status_code,
        (await trader.client.delete(path, headers={"If-Match": tag})).status_code,
    ]
    assert statuses == [200, 412, 200, 412]
    assert (await trader.client.get(path)).content == b"4"


async def test_a_value_is_made_once(world: World, trader: Person) -> None:
    path, headers = "/api/lmdb/strategy/once", {"If-None-Match": "*"}
    answers = await asyncio.gather(
        *(trader.client.put(path, content=b"%d" % n, headers=headers) for n in range(10))
    )
    assert sorted(answer.status_code for answer in answers) == [200] + [412] * 9
    lost = next(answer for answer in answers if answer.status_code == 412)
    assert code(lost) == "version_mismatch"


async def test_a_value_that_is_not_there_matches_nothing(world: World, trader: Person) -> None:
    for tag in ("*", '"7"'):
        answer = await trader.client.put(
            "/api/lmdb/strategy/absent", content=b"x", headers={"If-Match": tag}
        )
        assert (answer.status_code, code(answer)) == (412, "version_mismatch")


async def test_an_odd_precondition_is_400(world: World, trader: Person) -> None:
    odd: list[dict[str, str]] = [
        {"If-Match": "7"},
        {"If-Match": '"x"'},
        {"If-Match": '"0"'},
        {"If-Match": '"99999999999999999999"'},
        {"If-None-Match": '"1"'},
        {"If-Match": "*", "If-None-Match": "*"},
    ]
    for headers in odd:
        answer = await trader.client.put("/api/lmdb/strategy/x", content=b"x", headers=headers)
        assert (answer.status_code, code(answer)) == (400, "precondition_invalid"), headers


async def test_a_reader_with_the_version_gets_no_body(world: World, trader: Person) -> None:
    path = "/api/lmdb/strategy/x"
    tag = (await trader.client.put(path, content=b"1")).headers["ETag"]
    answer = await trader.client.get(path, headers={"If-None-Match": tag})
    assert (answer.status_code, answer.content) == (304, b"")


async def test_a_deleted_value_is_gone(world: World, trader: Person) -> None:
    path = "/api/lmdb/strategy/x"
    await trader.client.put(path, content=b"1")
    assert (await trader.client.delete(path)).status_code == 204
    for answer in (await trader.client.get(path), await trader.client.delete(path)):
        assert (answer.status_code, code(answer)) == (404, "key_not_found")


async def test_a_value_expires(world: World, trader: Person) -> None:
    path = "/api/lmdb/strategy/brief"
    await trader.client.put(path, content=b"1", params={"ttl_s": 1})
    assert "X-Expires-At" in (await trader.client.get(path)).headers

    async def gone() -> bool:
        return (await trader.client.get(path)).status_code == 404

    await until(gone)


async def test_an_odd_ttl_is_422(world: World, trader: Person) -> None:
    for ttl_s in ("0", "-1", "x", "1.5", "99999999999"):
        answer = await trader.client.put(
            "/api/lmdb/strategy/x", content=b"1", params={"ttl_s": ttl_s}
        )
        assert answer.status_code == 422, ttl_s


async def test_a_table_has_roles(world: World, make_person: MakePerson) -> None:
    rules = [
        ("viewer", "GET", "quotes", 404),
        ("viewer", "GET", "strategy", 403),
        ("viewer", "PUT", "strategy", 403),
        ("viewer", "DELETE", "strategy", 403),
        ("trader", "GET", "strategy", 404),
        ("trader", "PUT", "quotes", 403),
        ("admin", "PUT", "quotes", 403),
        ("admin", "DELETE", "quotes", 403),
        ("admin", "PUT", "strategy", 200),
        ("admin", "GET", "orders", 404),
        ("admin", "PUT", "orders", 404),
    ]
    people = {role: await make_person(role) for role in ("viewer", "trader", "admin")}
    for role, method, table, status in rules:
        client = people[role].client
        answer = await client.request(method, f"/api/lmdb/{table}/k", content=b"1")
        assert answer.status_code == status, (role, method, table, answer.text)


async def test_a_key_holds_511_bytes_and_a_value_64_kib(world: World, trader: Person) -> None:
    for key, status in (("k" * 511, 200), ("k" * 512, 422), ("ä" * 256, 422), ("", 422)):
        answer = await trader.client.put(f"/api/lmdb/strategy/{key}", content=b"1")
        assert answer.status_code == status, (len(key), answer.text)
    for size, status in ((64 * 1024, 200), (64 * 1024 + 1, 413)):
        answer = await trader.client.put("/api/lmdb/strategy/x", content=b"v" * size)
        assert answer.status_code == status, (size, answer.text)


async def test_the_hot_store_is_refilled_from_postgres_at_start(
    open_api: OpenApi, database: Database, tmp_path: Path
) -> None:
    migrate = await database.connect("app_migrate")
    await make_instrument(migrate, "MSFT")
    await set_price(migrate, "MSFT", "31.25")
    async with open_api(lmdb_dir=tmp_path) as world:
        actor = world.app.state.hot_quotes.actor

        async def there() -> bool:
            return actor.get("quotes", "MSFT") is not None

        await until(there)
        assert b'"31.25"' in actor.get("quotes", "MSFT").value


async def test_without_a_hot_store_the_routes_say_so(open_api: OpenApi) -> None:
    async with open_api(lmdb_dir=None) as world:
        person = await api_world.make_person(world, "trader")
        answer = await person.client.get("/api/lmdb/quotes/AAPL")
        assert (answer.status_code, code(answer)) == (503, "hot_store_unavailable")
        ready = await world.client().get("/api/health/ready")
        assert (ready.status_code, code(ready)) == (503, "hot_store_unavailable")
