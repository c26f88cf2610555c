"""`database-url`: where a database is and who signs in there, as a strict RFC 3986 URL."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from ipaddress import IPv6Address
from urllib.parse import parse_qsl, quote, unquote

from vault_core.credential_types.given import BULLETS, Fault, Faults, PrimaryValue, read_fields, refused
from vault_core.credential_types.shape import Accepted, CredentialType, Details, Field, Fields
from vault_core.errors import FieldError

DRIVERS = ("postgresql", "postgres", "mysql", "mongodb", "mongodb+srv", "redis", "rediss", "mssql", "sqlite")
MAX_CHARACTERS = 4_096
MAX_HOSTS = 50
MAX_PARAMETERS = 50

_ALLOWED = re.compile(r"(?:[A-Za-z0-9._~!$&'()*+,;=:@/?\[\]-]|%[0-9A-Fa-f]{2})*")
_URL = re.compile(
    r"(?P<scheme>[a-z][a-z0-9+.-]*)://(?P<authority>[^/?]*)(?P<path>/[^?]*)?(?:\?(?P<query>.*))?",
    re.IGNORECASE,
)
_NAMED_HOST = re.compile(r"[a-z0-9_](?:[a-z0-9._-]{0,251}[a-z0-9_])?\.?", re.IGNORECASE)
_HOST_AND_PORT = re.compile(r"(?P<host>\[[0-9A-Fa-f:.]+\]|[^:\[\]]+)(?::(?P<port>.*))?")
_PORT = re.compile(r"[1-9][0-9]{0,4}")
_PASSWORD_PARAMETERS = {"password", "passwd", "pass", "pwd"}
_TLS_PARAMETERS = {"sslmode", "ssl", "tls", "encrypt", "usessl", "requiressl"}
_TLS_ON = {
    "true",
    "yes",
    "on",
    "1",
    "require",
    "required",
    "verifyca",
    "verifyfull",
    "verifyidentity",
    "strict",
}
_TLS_ON |= {"mandatory", "skipverify"}
_TLS_OFF = {"false", "no", "off", "0", "disable", "disabled"}

_ILL_FORMED = (
    "is not a well-formed URL such as postgresql://user:password@host:5432/database; percent-encode every "
    "other character, above all / ? # @ : % in the user and the password"
)


@dataclass(frozen=True, slots=True)
class _Address:
    """A URL in its parts; the user information and the query may hold the password."""

    driver: str
    userinfo: str | None = field(repr=False)
    hosts: Sequence[tuple[str, int | None]]
    database: str | None
    query: Sequence[tuple[str, str]] = field(repr=False)


class DatabaseUrl(PrimaryValue):
    """The URL of a database of a known kind."""

    name = "database-url"
    fields: tuple[Field, ...] = (Field("url", "The URL, with the password in it"),)

    def accept(self, fields: Fields, now: datetime) -> Accepted:
        """Accept a well-formed URL of a known driver, of at most 4096 characters; sqlite alone has no host.

        Only mongodb may name several hosts: then `host` lists them as given, ports included, and `port` is
        null. `ssl` is null when the URL does not say. In a URL of redis, user information without a colon is
        the password, as its own command line reads it, and so it is never shown.
        """
        text = read_fields(self.name, self.fields, fields)["url"]
        faults = Faults(self.name)
        details = faults.attempt("url", lambda: _details(_read(text)))
        faults.refuse_any()
        assert details is not None
        return Accepted(fields, details)

    def display(self, details: Details) -> str:
        """Return the URL without its query and with bullets for the password."""
        host = details["host"] or ""
        if ":" in host and "," not in host:
            host = f"[{host}]"
        user = quote(details["username"] or "", safe="")
        secret = f":{BULLETS}" if details["hasPassword"] else ""
        userinfo = f"{user}{secret}@" if user or secret else ""
        port = f":{details['port']}" if details["port"] else ""
        database = f"/{quote(details['database'], safe='/:')}" if details["database"] else ""
        return f"{details['driver']}://{userinfo}{host}{port}{database}"

    def check_replacement(self, old: Details, new: Details, *, allow_target_change: bool) -> None:
        """Accept a URL of the same driver and host, in any order of hosts, unless another target is meant.

        `postgres` and `postgresql` are one driver.
        """
        if not allow_target_change and _target(old) != _target(new):
            message = "names another driver or host; set allowTargetChange to true if that is meant"
            raise refused(self.name, FieldError("fields.url", message))


def _target(details: Details) -> tuple[str, frozenset[str]]:
    driver = "postgresql" if details["driver"] == "postgres" else details["driver"]
    return driver, frozenset((details["host"] or "").split(","))


def _details(address: _Address) -> dict[str, object]:
    username, password = _sign_in(address)
    in_query = any(name.lower() in _PASSWORD_PARAMETERS and text for name, text in address.query)
    host, port = _host_and_port(address.hosts)
    return {
        "driver": address.driver,
        "host": host,
        "port": port,
        "database": address.database,
        "username": _decoded(username) if username else None,
        "hasPassword": bool(password) or in_query,
        "ssl": _ssl(address),
    }


def _host_and_port(hosts: Sequence[tuple[str, int | None]]) -> tuple[str | None, int | None]:
    if not hosts:
        return None, None
    if len(hosts) == 1:
        return hosts[0][0].strip("[]"), hosts[0][1]
    return ",".join(f"{host}:{port}" if port else host for host, port in hosts), None


def _sign_in(address: _Address) -> tuple[str, str]:
    username, colon, password = (address.userinfo or "").partition(":")
    if not colon and address.driver in ("redis", "rediss"):
        return "", username
    return username, password


def _ssl(address: _Address) -> bool | None:
    given = {
        re.sub(r"[_-]", "", text.lower())
        for name, text in address.query
        if re.sub(r"[_-]", "", name.lower()) in _TLS_PARAMETERS
    }
    if address.driver == "rediss":
        return True
    if given & _TLS_OFF:
        return False
    return True if given & _TLS_ON or address.driver == "mongodb+srv" else None


def _read(text: str) -> _Address:
    if len(text) > MAX_CHARACTERS:
        raise Fault(f"is longer than {MAX_CHARACTERS} characters")
    parts = _URL.fullmatch(text) if _ALLOWED.fullmatch(text) else None
    if parts is None:
        raise Fault(_ILL_FORMED)
    driver = parts["scheme"].lower()
    if driver not in DRIVERS:
        raise Fault("has an unknown scheme; it must be one of " + ", ".join(DRIVERS))
    path, query = parts["path"] or "", parts["query"] or ""
    # An @ behind the authority means that a / or ? in the password has cut it short: the rest would be shown.
    if "@" in path or "@" in query or "[" in path or "[" in query:
        raise Fault(_ILL_FORMED)
    userinfo, hosts = _authority(driver, parts["authority"])
    return _Address(driver, userinfo, hosts, _database(driver, path), _parameters(query))


def _authority(driver: str, authority: str) -> tuple[str | None, list[tuple[str, int | None]]]:
    userinfo, at, location = authority.rpartition("@")
    if driver == "sqlite":
        if authority:
            raise Fault("is of sqlite, which has no host: write sqlite:/// and the path of the file")
        return None, []
    if "@" in userinfo or "[" in userinfo or "]" in userinfo:
        raise Fault(_ILL_FORMED)
    names = location.split(",", MAX_HOSTS) if driver == "mongodb" else [location]
    if len(names) > MAX_HOSTS:
        raise Fault(f"names more than {MAX_HOSTS} hosts")
    hosts = [_host(name) for name in names]
    if driver == "mongodb+srv" and hosts[0][1] is not None:
        raise Fault("is of mongodb+srv, which has no port: the name service tells it")
    return (userinfo if at else None), hosts


def _host(text: str) -> tuple[str, int | None]:
    if not text or text.startswith(":"):
        raise Fault("names no host")
    parts = _HOST_AND_PORT.fullmatch(text)
    if parts is None:
        raise Fault(_ILL_FORMED)
    return _host_name(parts["host"]), _port_number(parts["port"])


def _host_name(text: str) -> str:
    if text.startswith("["):
        try:
            return f"[{IPv6Address(text[1:-1])}]"
        except ValueError:
            raise Fault("has square brackets around something other than an IPv6 address") from None
    if not _NAMED_HOST.fullmatch(text):
        raise Fault("has a host that is no host name; write an international one in its ASCII form")
    return text.lower()


def _port_number(text: str | None) -> int | None:
    if text is None:
        return None
    if not _PORT.fullmatch(text) or int(text) > 65_535:
        raise Fault("has a port that is no number from 1 to 65535")
    return int(text)


def _database(driver: str, path: str) -> str | None:
    name = path[1:]
    if driver != "sqlite" and "/" in name:
        raise Fault("has more than one / behind the host; percent-encode those in the name of the database")
    return _decoded(name) if name else None


def _decoded(text: str) -> str:
    try:
        plain = unquote(text, errors="strict")
    except UnicodeDecodeError:
        raise Fault(_ILL_FORMED) from None
    if not plain.isprintable():
        raise Fault("has control characters in the name of the user or the database")
    return plain


def _parameters(query: str) -> list[tuple[str, str]]:
    try:
        return parse_qsl(query, keep_blank_values=True, max_num_fields=MAX_PARAMETERS)
    except ValueError:
        raise Fault(f"has more than {MAX_PARAMETERS} parameters") from None


TYPE: CredentialType = DatabaseUrl()
