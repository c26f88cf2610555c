"""Every operation of the Control Room face. The vault's calls are served under `/v2/credentialvault`, and again under
`/v1/credentialvault`.

A role here is the least that is needed to ask; what a caller may do is decided as for the native API.
"""

from __future__ import annotations

from dataclasses import replace

from vault_core.api.control_room import attribute_values, credentials, lockers, sessions
from vault_core.api.control_room.attribute_values import (
    ChangedValue,
    KeyQuery,
    NewValues,
    PublicKey,
    ValueRows,
    ValuesQuery,
    ValueView,
)
from vault_core.api.control_room.credentials import (
    ChangedCredential,
    CredentialPage,
    CredentialRows,
    CredentialView,
    ListQuery,
    NameQuery,
    NewCredential,
)
from vault_core.api.control_room.face import AnyObject
from vault_core.api.control_room.lockers import (
    ConsumerRows,
    ConsumersBody,
    LockerBody,
    LockerPage,
    LockerView,
    MemberBody,
    MemberRows,
    MemberView,
)
from vault_core.api.control_room.login import LoginAnswer, LoginRequest
from vault_core.api.control_room.sessions import TokenQuery, TokenValidity
from vault_core.api.routing import Open, Route
from vault_core.identities import Role

VIEWER, USER = Role.VIEWER, Role.USER
SEEING = (Role.VIEWER, Role.LOCKER_ADMIN)
ANYONE = Open.ANYONE

VAULT = "/v2/credentialvault"
ALL = VAULT + "/credentials"
ONE = VAULT + "/credentials/{credential}"
VALUES = ONE + "/attributevalues"
LOCKERS = VAULT + "/lockers"
LOCKER = VAULT + "/lockers/{locker}"

# fmt: off
_SESSIONS = (
    Route("POST", "/v2/authentication", sessions.log_in, ANYONE, {200: LoginAnswer}, body=LoginRequest),
    Route("POST", "/v1/authentication", sessions.log_in, ANYONE, {200: LoginAnswer}, body=LoginRequest),
    Route("POST", "/v2/authentication/token", sessions.refresh_token, ANYONE, {}),
    Route("POST", "/v1/authentication/token", sessions.refresh_token, ANYONE, {}),
    Route("GET", "/v1/authentication/token", sessions.check_token, ANYONE, {200: TokenValidity}, query=TokenQuery),
    Route("POST", "/v1/authentication/logout", sessions.log_out, ANYONE, {204: None}),
)

_VAULT = (
    Route("POST", ALL, credentials.create_credential, USER, {201: CredentialView}, body=NewCredential),
    Route("POST", ALL + "/list", credentials.list_credentials, SEEING, {200: CredentialPage}, body=AnyObject,
          query=ListQuery),
    Route("GET", ALL, credentials.find_credentials, SEEING, {200: CredentialRows}, query=NameQuery),
    Route("GET", ONE, credentials.read_credential, SEEING, {200: CredentialView}),
    Route("PUT", ONE, credentials.update_credential, VIEWER, {200: CredentialView}, body=ChangedCredential),
    Route("DELETE", ONE, credentials.delete_credential, VIEWER, {204: None}),
    Route("PUT", ONE + "/owner/{user}", credentials.transfer_credential, SEEING, {200: CredentialView}),

    Route("GET", VALUES, attribute_values.list_attribute_values, SEEING, {200: ValueRows}, query=ValuesQuery),
    Route("POST", VALUES, attribute_values.set_attribute_values, SEEING, {200: ValueRows}, body=NewValues,
          query=KeyQuery),
    Route("PUT", VALUES + "/{value}", attribute_values.replace_attribute_value, SEEING, {200: ValueView},
          body=ChangedValue, query=KeyQuery),
    Route("DELETE", VALUES + "/{value}", attribute_values.delete_attribute_value, SEEING, {204: None}),
    Route("GET", VAULT + "/keys/transport/public", attribute_values.read_transport_key, SEEING, {200: PublicKey}),

    Route("POST", LOCKERS, lockers.create_locker, USER, {201: LockerView}, body=LockerBody),
    Route("POST", LOCKERS + "/list", lockers.list_lockers, SEEING, {200: LockerPage}, body=AnyObject),
    Route("GET", LOCKER, lockers.read_locker, SEEING, {200: LockerView}),
    Route("PUT", LOCKER, lockers.update_locker, SEEING, {200: LockerView}, body=LockerBody),
    Route("DELETE", LOCKER, lockers.delete_locker, SEEING, {204: None}),
    Route("GET", LOCKER + "/credentials", lockers.list_locker_credentials, SEEING, {200: CredentialRows}),
    Route("PUT", LOCKER + "/credentials/{credential}", lockers.assign_credential, SEEING, {200: CredentialView}),
    Route("DELETE", LOCKER + "/credentials/{credential}", lockers.take_credential_out, SEEING, {204: None}),
    Route("GET", LOCKER + "/consumers", lockers.list_consumers, SEEING, {200: ConsumerRows}),
    Route("POST", LOCKER + "/consumers", lockers.add_consumers, SEEING, {201: ConsumerRows}, body=ConsumersBody),
    Route("DELETE", LOCKER + "/consumers/{role}", lockers.remove_consumer, SEEING, {204: None}),
    Route("GET", LOCKER + "/members", lockers.list_members, SEEING, {200: MemberRows}),
    Route("PUT", LOCKER + "/members/{user}", lockers.set_member, SEEING, {200: MemberView}, body=MemberBody),
    Route("DELETE", LOCKER + "/members/{user}", lockers.remove_member, SEEING, {204: None}),
)
# fmt: on


def _named(route: Route) -> Route:
    """Return the route with a function name that no other has: one version of the path, one name."""
    version = "" if route.path.startswith("/v2/") else "v1_"
    return replace(route, prefix=f"control_room_{version}")


def _alias(route: Route) -> Route:
    return replace(route, path=route.path.replace("/v2/", "/v1/", 1))


CONTROL_ROOM_ROUTES = tuple(_named(one) for one in (*_SESSIONS, *_VAULT, *map(_alias, _VAULT)))
