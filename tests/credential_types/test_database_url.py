from __future__ import annotations

from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.credential_types.refusals import accept, accepted_or_refused, refusal_of, refusal_to_replace, replace
from vault_core.credential_types import TYPES
from vault_core.errors import ValueRefused

HIDDEN = "hidden-w0rd"
DRIVERS = ["postgresql", "postgres", "mysql", "mongodb", "mongodb+srv", "redis", "rediss", "mssql"]


def details(url: str) -> dict[str, object]:
    return dict(accept("database-url", url=url).details)


def display(url: str) -> str:
    return TYPES["database-url"].display(accept("database-url", url=url).details)


def fault(url: str) -> str:
    faults = refusal_of("database-url", url=url)
    assert list(faults) == ["fields.url"]
    return faults["fields.url"]


# What is accepted and told


def test_the_details_are_the_parts_of_the_url_without_the_password() -> None:
    accepted = accept("database-url", url=f"postgresql://user:{HIDDEN}@DB.Example.com:5432/orders?sslmode=require")
    assert accepted.details == {
        "driver": "postgresql",
        "host": "db.example.com",
        "port": 5432,
        "database": "orders",
        "username": "user",
        "hasPassword": True,
        "ssl": True,
    }
    assert accepted.ends_at is None


def test_what_the_url_leaves_out_is_null() -> None:
    assert details("mysql://db") == {
        "driver": "mysql",
        "host": "db",
        "port": None,
        "database": None,
        "username": None,
        "hasPassword": False,
        "ssl": None,
    }


@pytest.mark.parametrize("driver", DRIVERS)
def test_every_driver_is_known_in_any_case(driver: str) -> None:
    assert details(f"{driver.upper()}://db.example.com/x")["driver"] == driver


@pytest.mark.parametrize(
    ("url", "database"),
    [
        ("sqlite:///orders.db", "orders.db"),
        ("sqlite:////var/lib/orders.db", "/var/lib/orders.db"),
        ("sqlite:///:memory:", ":memory:"),
        ("sqlite://", None),
    ],
)
def test_sqlite_needs_no_host(url: str, database: str | None) -> None:
    found = details(url)
    assert (found["host"], found["port"], found["database"]) == (None, None, database)
    assert display(url) == url


def test_percent_encoding_is_decoded_in_what_is_told() -> None:
    found = details(f"postgresql://d%C3%B6rte%40home:{HIDDEN}@db/a%2Fb%20c")
    assert (found["username"], found["database"]) == ("dörte@home", "a/b c")


@pytest.mark.parametrize(
    ("written", "host"),
    [
        ("[::1]", "::1"),
        ("[2001:DB8:0:0::1]", "2001:db8::1"),
        ("192.0.2.7", "192.0.2.7"),
        ("my_db-1", "my_db-1"),
        ("db.example.com.", "db.example.com."),
        ("xn--bcher-kva.example", "xn--bcher-kva.example"),
    ],
)
def test_hosts_of_every_kind_are_read(written: str, host: str) -> None:
    found = details(f"postgresql://{written}:6543/x")
    assert (found["host"], found["port"]) == (host, 6543)


def test_mongodb_may_name_several_hosts() -> None:
    url = f"mongodb://user:{HIDDEN}@H1:27017,h2,[::1]:27019/orders?replicaSet=rs"
    found = details(url)
    assert (found["host"], found["port"]) == ("h1:27017,h2,[::1]:27019", None)
    assert display(url) == "mongodb://user:••••@h1:27017,h2,[::1]:27019/orders"


@pytest.mark.parametrize(
    ("url", "ssl"),
    [
        *((f"postgresql://db/x?sslmode={mode}", True) for mode in ("require", "verify-ca", "verify-full")),
        ("postgresql://db/x?sslmode=disable", False),
        *((f"postgresql://db/x?sslmode={mode}", None) for mode in ("prefer", "allow", "nonsense", "")),
        ("mysql://db/x?ssl-mode=REQUIRED", True),
        ("mysql://db/x?ssl_mode=VERIFY_IDENTITY", True),
        ("mysql://db/x?ssl-mode=DISABLED", False),
        ("mysql://db/x?tls=skip-verify", True),
        ("mysql://db/x?useSSL=false", False),
        ("mssql://db/x?Encrypt=yes", True),
        ("mssql://db/x?encrypt=strict", True),
        ("mssql://db/x?encrypt=no", False),
        ("mongodb://db/x?tls=true", True),
        ("mongodb://db/x?ssl=false", False),
        ("mongodb+srv://db.example.com/x", True),
        ("mongodb+srv://db.example.com/x?tls=false", False),
        ("redis://db/0", None),
        ("rediss://db/0", True),
        ("postgresql://db/x?ssl=true&sslmode=disable", False),
        ("postgresql://db/x?application_name=ssl", None),
    ],
)
def test_whether_the_connection_is_encrypted_is_told_when_the_url_says(url: str, ssl: bool | None) -> None:
    assert details(url)["ssl"] is ssl


# The password is never shown


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        (f"postgresql://user:{HIDDEN}@host:5432/db", "postgresql://user:••••@host:5432/db"),
        (f"postgresql://user:{HIDDEN}@host/db?password={HIDDEN}", "postgresql://user:••••@host/db"),
        (f"postgresql://user@host/db?password={HIDDEN}", "postgresql://user:••••@host/db"),
        (f"postgresql://host/db?user=u&PassWord={HIDDEN}", "postgresql://:••••@host/db"),
        (f"mysql://user:{HIDDEN}:{HIDDEN}@[::1]:3306/db", "mysql://user:••••@[::1]:3306/db"),
        (f"redis://:{HIDDEN}@host:6379/0", "redis://:••••@host:6379/0"),
        (f"redis://{HIDDEN}@host", "redis://:••••@host"),
        (f"rediss://{HIDDEN}@host", "rediss://:••••@host"),
        ("postgresql://user@host", "postgresql://user@host"),
        ("postgresql://user:@host", "postgresql://user@host"),
        (f"postgresql://us%40er:{HIDDEN}@host/a%2Fb%20c", "postgresql://us%40er:••••@host/a/b%20c"),
    ],
)
def test_the_display_is_the_url_without_password_and_query(url: str, shown: str) -> None:
    assert display(url) == shown
    assert HIDDEN not in str(details(url))
    assert details(url)["hasPassword"] is ("••••" in shown)


@pytest.mark.parametrize("special", ["/", "?", "#", "@", "[", "]", " ", "\\", "%", "é", '"', "<", "\n", "\x00"])
def test_a_password_that_is_not_percent_encoded_is_refused_and_not_shown_in_part(special: str) -> None:
    for url in (
        f"postgresql://user:12{special}{HIDDEN}@host/db",
        f"postgresql://user:{HIDDEN}{special}x4@host/db",
        f"sqlite://user:12{special}{HIDDEN}@host/db",
    ):
        assert HIDDEN not in fault(url)
    encoded = quote(special, safe="")
    assert details(f"postgresql://user:12{encoded}{HIDDEN}@host/db")["host"] == "host"


# What is refused


@pytest.mark.parametrize(
    "url",
    [
        *("nothing", "postgresql:db", "postgresql:/db", "://host", "//host/db", "jdbc:postgresql://host/db"),
        *("postgresql://host/%zz", "postgresql://host/a%2", "postgresql://%ZZ@host", "postgresql://us%FFer@host"),
        *("postgresql://host /db", " postgresql://host", "postgresql://host\n", "postgresql://ho\x7fst", "\tredis://h"),
        *("postgresql://host/db#part", "postgresql://host/d[b", "postgresql://host/db?a[]=1", "postgresql://[::1"),
        *("postgresql://h]:1", "postgresql://[::1]x:5432/db"),
    ],
)
def test_a_url_that_is_not_well_formed_is_refused(url: str) -> None:
    assert fault(url).startswith("is not a well-formed URL")


@pytest.mark.parametrize("url", ["http://host/db", "oracle://host/db", "postgresql+asyncpg://host/db", "x://h"])
def test_an_unknown_scheme_is_refused_with_the_known_ones(url: str) -> None:
    assert fault(url) == (
        "has an unknown scheme; it must be one of postgresql, postgres, mysql, mongodb, mongodb+srv, redis, rediss, "
        "mssql, sqlite"
    )


@pytest.mark.parametrize("driver", DRIVERS)
@pytest.mark.parametrize("rest", ["", "/db", "user:word@/db", ":5432/db", "user@:5432", "::1/db"])
def test_a_host_is_needed(driver: str, rest: str) -> None:
    assert fault(f"{driver}://{rest}") == "names no host"


@pytest.mark.parametrize(
    "port", ["0", "65536", "99999", "123456", "x", "-1", "+1", "05432", "5432x", "1.5", "%35", "5:6"]
)
def test_a_port_that_is_none_is_refused(port: str) -> None:
    assert fault(f"postgresql://host:{port}/db") == "has a port that is no number from 1 to 65535"
    assert fault(f"mongodb://host:1,host:{port}/db") == "has a port that is no number from 1 to 65535"


def test_an_empty_port_is_refused() -> None:
    assert fault("postgresql://host:/db") == "has a port that is no number from 1 to 65535"


@pytest.mark.parametrize("port", [1, 65_535])
def test_the_first_and_the_last_port_are_accepted(port: int) -> None:
    assert details(f"postgresql://host:{port}/db")["port"] == port


@pytest.mark.parametrize("host", ["-host", "host-", ".host", "ho%73t", "ho~st", "h1,h2", "a" * 254, "ho*st", "h(1)"])
def test_a_host_that_is_no_name_is_refused(host: str) -> None:
    assert fault(f"postgresql://{host}/db").startswith("has a host that is no host name")


@pytest.mark.parametrize("host", ["[1]", "[::g]", "[192.0.2.7]", "[v1.x]", "[]", "[::1%25eth0]"])
def test_brackets_hold_an_ipv6_address_or_are_refused(host: str) -> None:
    assert refusal_of("database-url", url=f"postgresql://{host}/db")


@pytest.mark.parametrize("url", ["sqlite://host/file.db", "sqlite://user:word@/file.db", "sqlite://:80/x"])
def test_sqlite_with_a_host_is_refused(url: str) -> None:
    assert fault(url).startswith("is of sqlite, which has no host")


def test_mongodb_srv_names_one_host_and_no_port() -> None:
    assert fault("mongodb+srv://host:27017/db").startswith("is of mongodb+srv, which has no port")
    assert fault("mongodb+srv://h1,h2/db").startswith("has a host that is no host name")


@pytest.mark.parametrize("url", ["mongodb://h1,/db", "mongodb://,h1/db", "mongodb://h1,,h2/db"])
def test_an_empty_place_in_a_list_of_hosts_is_refused(url: str) -> None:
    assert fault(url) == "names no host"


def test_what_is_too_much_is_refused() -> None:
    hosts = [f"h{number}" for number in range(51)]
    assert details(f"mongodb://{','.join(hosts[:50])}/db")["port"] is None
    assert fault(f"mongodb://{','.join(hosts)}/db") == "names more than 50 hosts"
    parameters = "&".join(f"p{number}=1" for number in range(51))
    assert fault(f"mysql://host/db?{parameters}") == "has more than 50 parameters"
    assert fault("mysql://host/" + "d" * 4_096) == "is longer than 4096 characters"


@pytest.mark.parametrize("place", ["us%00er@host/db", "us%0Aer@host/db", "host/d%1Bb", "host/d%E2%80%AEb"])
def test_encoded_control_characters_in_what_is_shown_are_refused(place: str) -> None:
    assert fault(f"mysql://{place}") == "has control characters in the name of the user or the database"


def test_a_path_below_the_database_is_refused() -> None:
    assert fault("postgresql://host/db/more").startswith("has more than one / behind the host")


# Replacement


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("postgresql://a:x@host:5432/db", "postgresql://b:y@HOST:6432/other?sslmode=require"),
        ("postgres://a:x@host/db", "postgresql://a:y@host/db"),
        ("mongodb://a:x@h1:1,h2:2/db", "mongodb://a:y@h2:2,h1:1/db"),
        ("sqlite:///one.db", "sqlite:///two.db"),
        ("redis://:x@[::1]", "redis://:y@[0:0::1]"),
    ],
)
def test_the_same_driver_and_host_may_replace(old: str, new: str) -> None:
    replace("database-url", accept("database-url", url=old), accept("database-url", url=new))


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("postgresql://a:x@host/db", "postgresql://a:y@other/db"),
        ("postgresql://a:x@host/db", "mysql://a:y@host/db"),
        ("redis://:x@host", "rediss://:x@host"),
        ("mongodb://a:x@h1:1,h2:2/db", "mongodb://a:y@h1:1/db"),
        ("sqlite:///one.db", "mysql://host/one.db"),
    ],
)
def test_another_driver_or_host_replaces_only_when_asked_for(old: str, new: str) -> None:
    before, after = accept("database-url", url=old), accept("database-url", url=new)
    assert refusal_to_replace("database-url", before, after) == {
        "fields.url": "names another driver or host; set allowTargetChange to true if that is meant"
    }
    replace("database-url", before, after, allow_target_change=True)


# Properties

NAMES = st.from_regex(r"[a-z]([a-z0-9-]{0,8}[a-z0-9])?", fullmatch=True)
HOSTS = st.lists(NAMES, min_size=1, max_size=3).map(".".join)
PRINTABLE = st.text(st.characters(exclude_categories=("C", "Z")), min_size=1, max_size=12)


@given(
    driver=st.sampled_from(DRIVERS),
    user=PRINTABLE,
    password=st.text(st.characters(exclude_categories=["Cs"]), max_size=20),
    host=HOSTS,
    port=st.none() | st.integers(1, 65_535),
    database=st.none() | PRINTABLE,
)
def test_a_url_put_together_from_its_parts_gives_them_back(
    driver: str, user: str, password: str, host: str, port: int | None, database: str | None
) -> None:
    port = None if driver == "mongodb+srv" else port
    marked = f"{HIDDEN}{password}"
    url = f"{driver}://{quote(user, safe='')}:{quote(marked, safe='')}@{host}"
    url += (f":{port}" if port else "") + (f"/{quote(database, safe='')}" if database else "")
    found = accept("database-url", url=url)
    told = {name: found.details[name] for name in ("driver", "username", "host", "port", "database", "hasPassword")}
    assert told == {
        "driver": driver,
        "username": user,
        "host": host,
        "port": port,
        "database": database,
        "hasPassword": True,
    }
    assert HIDDEN not in TYPES["database-url"].display(found.details) + repr(found)


SHAPED = st.text(alphabet="aé9:/@?#[]%,.&= \n", max_size=24)


@given(st.sampled_from([*DRIVERS, "sqlite", "http"]), SHAPED, SHAPED)
def test_any_text_is_accepted_or_refused_and_never_shown_behind_the_first_colon(
    driver: str, before: str, after: str
) -> None:
    url = f"{driver}://user:{before}{HIDDEN}{after}@host/db"
    outcome = accepted_or_refused(lambda: accept("database-url", url=url))
    if isinstance(outcome, ValueRefused):
        assert HIDDEN not in f"{outcome} {outcome.errors}"
    else:
        assert HIDDEN not in f"{outcome} {TYPES['database-url'].display(outcome.details)}"
