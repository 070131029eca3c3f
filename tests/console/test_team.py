"""The console of a team: keys, logins, roles, limits, proxies and the audit log."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from curio_persistence import (
    ApiKey,
    ConfigurationError,
    ConsoleOptions,
    InMemoryPersistence,
    Persistence,
)
from curio_persistence.clock import Clock
from curio_persistence.console.security.limits import KeyLimits, LoginLimit, kind_of, too_many
from tests.support.console import SAME_ORIGIN, TEAM_URL, bearer, log_in, team_client
from tests.support.hands import Hands


@pytest.fixture
def clock() -> Hands:
    return Hands()


@pytest.fixture
def persistence(clock: Hands) -> Iterator[Persistence]:
    with InMemoryPersistence(clock=Clock(clock)) as persistence:
        yield persistence


# --- keys and logins ------------------------------------------------------------------------------


def test_a_person_is_led_to_the_login_and_back(persistence: Persistence) -> None:
    secret = persistence.keys.create("Ada").secret
    client = team_client(persistence)
    led = client.get("/runs?status=error")
    assert (led.status_code, led.headers["location"]) == (
        303,
        "/login?next=%2Fruns%3Fstatus%3Derror",
    )
    page = client.get(led.headers["location"])
    assert page.status_code == 200
    assert 'value="/runs?status=error"' in page.text
    back = log_in(client, secret, next="/runs?status=error")
    assert (back.status_code, back.headers["location"]) == (303, "/runs?status=error")
    assert client.get("/runs").status_code == 200


def test_a_login_leads_back_to_an_id_of_any_characters(persistence: Persistence) -> None:
    client = team_client(persistence)
    led = client.get("/runs/a%252Fb").headers["location"]
    back = log_in(client, persistence.keys.create("Ada").secret, **httpx.URL(led).params)
    assert back.headers["location"] == "/runs/a%252Fb"


@pytest.mark.parametrize("inner", ["/curio/runs", "/runs"])
def test_a_base_path_is_part_of_each_link(persistence: Persistence, inner: str) -> None:
    """The proxy strips it, or leaves it."""
    secret = persistence.keys.create("Ada").secret
    client = team_client(persistence, base_path="/curio")
    assert client.get(inner).headers["location"] == "/curio/login?next=%2Fruns"
    back = client.post("/login", data={"key": secret, "next": "/runs"}, headers=SAME_ORIGIN)
    assert back.headers["location"] == "/curio/runs"
    assert 'action="/curio/logout"' in client.get(inner).text


def test_the_cookie_is_sent_to_this_host_alone(persistence: Persistence) -> None:
    secret = persistence.keys.create("Ada").secret
    cookie = log_in(team_client(persistence), secret).headers["set-cookie"]
    name, *attributes = cookie.split("; ")
    assert name.startswith("__Host-curio=")
    assert {each.lower() for each in attributes} == {
        *("httponly", "path=/", "samesite=lax", "secure", "max-age=604800")
    }
    assert secret not in cookie


@pytest.mark.parametrize(
    "elsewhere",
    ["//evil.example", "https://evil.example", "/\\evil.example", "javascript:x", "\n/"],
)
def test_a_login_leads_to_no_other_host(persistence: Persistence, elsewhere: str) -> None:
    secret = persistence.keys.create("Ada").secret
    client = team_client(persistence)
    assert elsewhere not in client.get("/login", params={"next": elsewhere}).text
    assert log_in(client, secret, next=elsewhere).headers["location"] == "/"


def test_a_wrong_key_is_refused_and_told(persistence: Persistence) -> None:
    revoked = persistence.keys.create("Bob")
    persistence.keys.revoke(revoked.key.key_id)
    client = team_client(persistence)
    for secret in ("", "curio_x", revoked.secret, "\0", "x" * 10_000):
        answer = log_in(client, secret)
        assert answer.status_code == 401
        assert "This key opens nothing" in answer.text
        assert "set-cookie" not in answer.headers
        assert secret == "" or secret not in answer.text


def test_logging_out_ends_the_session(persistence: Persistence) -> None:
    secret = persistence.keys.create("Ada").secret
    client = team_client(persistence)
    token = log_in(client, secret).cookies["__Host-curio"]
    out = client.post("/logout", headers=SAME_ORIGIN)
    assert (out.status_code, out.headers["location"]) == (303, "/login")
    assert persistence.keys.verify_session(token) is None
    client.cookies.set("__Host-curio", token, domain="curio.example.com")
    assert client.get("/runs").status_code == 303


def test_a_new_login_ends_the_one_before(persistence: Persistence) -> None:
    secret = persistence.keys.create("Ada").secret
    client = team_client(persistence)
    log_in(client, secret)
    log_in(client, secret)
    assert len(persistence.keys.sessions()) == 1


@pytest.mark.parametrize(("every", "times", "last"), [(0, 1, 12), (11, 15, 3)])
def test_a_login_is_over_at_its_time(
    persistence: Persistence, clock: Hands, every: int, times: int, last: int
) -> None:
    """After twelve hours without a request, and after seven days with requests."""
    clock.move()
    client = team_client(persistence)
    log_in(client, persistence.keys.create("Ada").secret)
    for _ in range(times):
        clock.move(hours=every)
        assert client.get("/runs").status_code == 200
    clock.move(hours=last)
    assert client.get("/runs").status_code == 303


def test_a_login_ends_with_its_key(persistence: Persistence) -> None:
    made = persistence.keys.create("Ada")
    client = team_client(persistence)
    log_in(client, made.secret)
    assert client.get("/runs").status_code == 200
    persistence.keys.revoke(made.key.key_id)
    assert client.get("/runs").status_code == 303


def test_a_program_sends_its_key(persistence: Persistence) -> None:
    made = persistence.keys.create("CI")
    client = team_client(persistence)
    assert client.get("/runs", headers=bearer(made.secret)).status_code == 200
    persistence.keys.revoke(made.key.key_id)
    refused = client.get("/runs", headers=bearer(made.secret))
    assert (refused.status_code, refused.headers["www-authenticate"]) == (401, "Bearer")
    assert made.secret not in refused.text


def test_a_wrong_key_is_not_helped_by_a_login(persistence: Persistence) -> None:
    client = team_client(persistence)
    log_in(client, persistence.keys.create("Ada").secret)
    assert client.get("/runs", headers=bearer("x")).status_code == 401


def test_the_api_answers_without_a_key_in_json(persistence: Persistence) -> None:
    answer = team_client(persistence).get("/api/v1/runs")
    assert answer.status_code == 401
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["title"] == "A key is needed"


def test_a_pane_that_is_asked_for_without_a_login_opens_the_login(persistence: Persistence) -> None:
    answer = team_client(persistence).get("/runs", headers={"HX-Request": "true"})
    assert (answer.status_code, answer.headers["hx-redirect"]) == (401, "/login")


def test_a_reader_without_a_key_learns_nothing_of_the_database(persistence: Persistence) -> None:
    persistence.keys.create("Ada")
    client = team_client(persistence)
    for path in ("/runs", "/nowhere", "/login", "/api/v1/runs", "/settings"):
        for method in ("GET", "PUT", "POST"):
            answer = client.request(method, path, headers=SAME_ORIGIN, content=b"%ff")
            assert "memory" not in answer.text, (method, path)


# --- hosts, origins and proxies -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("curio.example.com", 303),
        ("127.0.0.1:7410", 303),
        ("evil.example", 421),
        ("curio.example.com.evil.example", 421),
        ("curio.example.com@evil.example", 421),
        ("", 421),
        ("[", 421),
    ],
)
def test_only_the_public_host_is_answered(persistence: Persistence, host: str, status: int) -> None:
    answer = team_client(persistence).get("/runs", headers={"Host": host})
    assert answer.status_code == status


@pytest.mark.parametrize(("peer", "status"), [("10.0.0.9", 421), ("127.0.0.1", 303)])
def test_a_forwarded_host_counts_from_a_trusted_proxy_alone(
    persistence: Persistence, peer: str, status: int
) -> None:
    client = team_client(persistence, peer=peer, trusted_proxy=("127.0.0.1",))
    headers = {"Host": "inner:7410", "X-Forwarded-Host": "curio.example.com"}
    assert client.get("/runs", headers=headers).status_code == status
    evil = {"Host": "curio.example.com", "X-Forwarded-Host": "evil.example"}
    assert client.get("/runs", headers=evil).status_code == (421 if status == 303 else 303)


@pytest.mark.parametrize(
    ("peer", "forwarded", "address"),
    [
        ("10.0.0.9", "8.8.8.8", "10.0.0.9"),
        ("127.0.0.1", "8.8.8.8", "8.8.8.8"),
        ("127.0.0.1", "1.1.1.1, 8.8.8.8", "8.8.8.8"),
        ("127.0.0.1", "1.1.1.1, 8.8.8.8, 172.16.0.3", "8.8.8.8"),
        ("127.0.0.1", "", "127.0.0.1"),
        ("127.0.0.1", "junk", "127.0.0.1"),
        ("127.0.0.1", "8.8.8.8:4711", "8.8.8.8"),
        ("127.0.0.1", "[2001:db8::1]:443", "2001:db8::1"),
        ("127.0.0.1", "2001:DB8::1", "2001:db8::1"),
        ("::ffff:127.0.0.1", "::ffff:8.8.8.8", "8.8.8.8"),
    ],
)
def test_the_address_is_the_last_that_no_proxy_has(
    persistence: Persistence, peer: str, forwarded: str, address: str
) -> None:
    client = team_client(persistence, peer=peer, trusted_proxy=("127.0.0.1", "172.16.0.0/12"))
    headers = {**SAME_ORIGIN, "X-Forwarded-For": forwarded}
    client.post("/login", data={"key": "x"}, headers=headers)
    [line] = persistence.audit.query(action="failed login")
    assert line.resource == address


@pytest.mark.parametrize(
    ("headers", "passes"),
    [
        ({}, False),
        ({"Origin": TEAM_URL}, True),
        ({"Origin": "https://evil.example"}, False),
        ({"Origin": "null"}, False),
        ({"Origin": "http://["}, False),
        ({"Sec-Fetch-Site": "same-origin"}, True),
        ({"Sec-Fetch-Site": "none"}, True),
        ({"Sec-Fetch-Site": "same-site"}, False),
        ({"Sec-Fetch-Site": "cross-site", "Origin": TEAM_URL}, False),
    ],
)
def test_a_page_of_another_site_changes_nothing(
    persistence: Persistence, headers: dict[str, str], passes: bool
) -> None:
    client = team_client(persistence)
    log_in(client, persistence.keys.create("Ada").secret)
    answer = client.post("/preferences", data={"theme": "dark"}, headers=headers)
    assert answer.status_code == (303 if passes else 403)


def test_the_origin_is_the_public_one_behind_a_proxy_that_changes_the_host(
    persistence: Persistence,
) -> None:
    secret = persistence.keys.create("Ada").secret
    client = team_client(persistence, peer="127.0.0.1", trusted_proxy=("127.0.0.1",))
    headers = {
        "Host": "127.0.0.1:7410",
        "X-Forwarded-Host": "curio.example.com",
        "Origin": TEAM_URL,
    }
    assert client.post("/login", data={"key": secret}, headers=headers).status_code == 303


def test_pages_of_an_allowed_origin_read_with_a_key(persistence: Persistence) -> None:
    secret = persistence.keys.create("CI").secret
    tools = "https://tools.example.com"
    client = team_client(persistence, allow_origin=(tools,))
    asked = client.options(
        "/runs",
        headers={
            "Origin": tools,
            "Access-Control-Request-Method": "GET",
            "Access-Control-Request-Headers": "authorization",
        },
    )
    assert asked.headers["access-control-allow-origin"] == tools
    read = client.get("/runs", headers={"Origin": tools, **bearer(secret)})
    assert read.headers["access-control-allow-origin"] == tools
    assert "access-control-allow-credentials" not in read.headers
    other = client.get("/runs", headers={"Origin": "https://evil.example", **bearer(secret)})
    assert "access-control-allow-origin" not in other.headers


def test_without_allowed_origins_no_page_of_another_site_reads(persistence: Persistence) -> None:
    secret = persistence.keys.create("CI").secret
    headers = {"Origin": "https://tools.example.com", **bearer(secret)}
    answer = team_client(persistence).get("/runs", headers=headers)
    assert not [name for name in answer.headers if name.startswith("access-control")]


# --- limits ---------------------------------------------------------------------------------------


def test_the_sixth_login_of_an_address_in_a_minute_waits(persistence: Persistence) -> None:
    secret = persistence.keys.create("Ada").secret
    client = team_client(persistence)
    for _ in range(5):
        assert log_in(client, "wrong").status_code == 401
    refused = log_in(client, secret)
    assert refused.status_code == 429
    assert 1 <= int(refused.headers["retry-after"]) <= 12
    assert "5 logins a minute" in refused.text
    assert len(list(persistence.audit.query(action="failed login"))) == 5


def test_an_address_may_log_in_again_after_a_while() -> None:
    now = [0.0]
    limit = LoginLimit(lambda: now[0])
    for _ in range(5):
        limit.check("1.1.1.1")
    with pytest.raises(Exception, match="5 logins"):
        limit.check("1.1.1.1")
    limit.check("2.2.2.2")
    now[0] += 12
    limit.check("1.1.1.1")


def test_a_network_of_ipv6_counts_as_one_address() -> None:
    limit = LoginLimit(lambda: 0)
    for number in range(5):
        limit.check(f"2001:db8::{number:x}")
    with pytest.raises(Exception, match="5 logins"):
        limit.check("2001:db8::ffff")
    limit.check("2001:db8:1::1")


def test_addresses_are_forgotten() -> None:
    now = [0.0]
    limit = LoginLimit(lambda: now[0])
    for number in range(3_000):
        now[0] += 1
        limit.check(f"10.0.{number >> 8}.{number & 255}")
    assert len(limit._buckets) <= 1_002


def test_a_key_may_ask_twenty_times_a_second() -> None:
    now = [0.0]
    limits = KeyLimits(lambda: now[0])
    for _ in range(20):
        limits.enter("a", "/runs")()
    with pytest.raises(Exception, match="20 times a second") as refused:
        limits.enter("a", "/runs")
    assert refused.value.headers == {"Retry-After": "1"}  # type: ignore[attr-defined]
    limits.enter("b", "/runs")
    now[0] += 0.05
    limits.enter("a", "/runs")


def test_a_key_has_four_long_requests_and_six_streams_at_once() -> None:
    limits = KeyLimits(lambda: 0)
    leave = [limits.enter("a", "/search") for _ in range(4)]
    with pytest.raises(Exception, match="4 long requests"):
        limits.enter("a", "/costs")
    limits.enter("a", "/runs")
    leave[0]()
    limits.enter("a", "/costs")
    for _ in range(6):
        limits.enter("a", "/api/v1/stream")
    with pytest.raises(Exception, match="6 streams"):
        limits.enter("a", "/api/v1/stream")


def test_all_keys_together_have_64_streams() -> None:
    limits = KeyLimits(lambda: 0)
    opened = [limits.enter(f"k{number // 6}", "/api/v1/stream") for number in range(64)]
    with pytest.raises(Exception, match="All 64 streams"):
        limits.enter("another", "/api/v1/stream")
    opened[0]()
    limits.enter("another", "/api/v1/stream")


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/runs", "light"),
        ("/runs/searching", "light"),
        ("/search", "heavy"),
        ("/api/v1/search", "heavy"),
        ("/api/v1/runs/7/export", "heavy"),
        ("/costs/", "heavy"),
        ("/api/v1/stream", "stream"),
    ],
)
def test_a_path_says_what_a_request_costs(path: str, kind: str) -> None:
    assert kind_of(path) == kind


def test_a_request_too_many_is_told_as_a_page_and_as_json(
    persistence: Persistence, monkeypatch: pytest.MonkeyPatch
) -> None:
    def enter(*_: object) -> None:
        raise too_many(1, "A key may ask 20 times a second.")

    monkeypatch.setattr(KeyLimits, "enter", enter)
    client = team_client(persistence)
    headers = bearer(persistence.keys.create("Ada").secret)
    told = client.get("/api/v1/runs", headers=headers)
    assert (told.status_code, told.headers["retry-after"]) == (429, "1")
    assert told.json()["title"] == "Too many requests"
    page = client.get("/runs", headers=headers)
    assert page.status_code == 429
    assert "Try again" in page.text


# --- the audit log --------------------------------------------------------------------------------


def test_logins_and_failures_stand_in_the_audit_log(persistence: Persistence) -> None:
    key, secret = persistence.keys.create("Ada")
    client = team_client(persistence)
    log_in(client, "curio_wrong")
    log_in(client, secret)
    client.post("/logout", headers=SAME_ORIGIN)
    lines = [
        (line.action, line.resource, line.actor_type, line.actor_id)
        for line in persistence.audit.query(order="oldest")
    ][1:]
    assert lines == [
        ("failed login", "10.0.0.9", "address", "10.0.0.9"),
        ("log in", key.key_id, "address", "10.0.0.9"),
        ("log out", key.key_id, "api key", key.key_id),
    ]
    assert secret not in repr(list(persistence.audit.query()))


def test_opened_runs_stand_in_the_audit_log_if_asked_for(
    persistence: Persistence, clock: Hands
) -> None:
    key, secret = persistence.keys.create("Ada")
    client = team_client(persistence, audit_reads=True)
    clock.move()
    for _ in range(3):
        client.get("/runs/a%252Fb?step=event:7", headers=bearer(secret))
    client.get("/runs", headers=bearer(secret))
    [line] = persistence.audit.query(action="open")
    assert (line.resource, line.run_id, line.actor_id) == ("a/b", "a/b", key.key_id)
    clock.move(minutes=10)
    client.get("/runs/a%252Fb", headers=bearer(secret))
    assert persistence.audit.count(action="open") == 2


def test_opened_runs_are_not_in_the_audit_log_otherwise(persistence: Persistence) -> None:
    headers = bearer(persistence.keys.create("Ada").secret)
    team_client(persistence).get("/runs/7", headers=headers)
    assert persistence.audit.count(action="open") == 0


# --- settings of the server -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"team": True}, "needs its public_url"),
        ({"team": True, "public_url": "http://curio.example.com"}, "begins with https"),
        ({"team": True, "public_url": TEAM_URL, "token": "t"}, "it takes no token"),
        ({"team": True, "public_url": TEAM_URL, "allow_writes": True}, "no allow_writes"),
        ({"trusted_proxy": ("caddy",)}, "trusted_proxy is an address"),
        ({"allow_origin": ("*",)}, "allow_origin is an origin"),
        ({"allow_origin": ("https://a.example/",)}, "allow_origin is an origin"),
        ({"allow_origin": ("null",)}, "allow_origin is an origin"),
    ],
)
def test_wrong_options_are_refused(options: dict[str, Any], told: str) -> None:
    with pytest.raises(ConfigurationError, match=told):
        ConsoleOptions(**options)


def test_a_key_tells_what_it_may(persistence: Persistence) -> None:
    key = persistence.keys.create("Ada", "write").key
    assert isinstance(key, ApiKey)
    assert [role for role in ("read", "write", "admin") if key.may(role)] == ["read", "write"]  # type: ignore[arg-type]
