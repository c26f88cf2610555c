"""The refusals and failures of the vault, as a tree.

    VaultError
      InvalidInput                 400  a request that cannot be understood
      Unauthenticated              401  no caller could be established
      AccessDenied                 403  the caller may see the subject but not do this
      NotFound                     404  absent, or not the caller's to see: the two look the same
      Conflict                     409  the subject's state forbids it
        NameTaken
        LeaseLimitReached               carries when the next place frees
        CredentialRevoked
        CredentialExpired
        CredentialNotUsable             suspended, or not yet valid
        CredentialIncomplete            an attribute has no value yet
        CredentialInLocker
        CredentialChanged               someone else changed it at the same time
        LeaseEnded
        VersionLimitReached             too many replaced values are still leased
        VersionRotated                  renewing a lease on a replaced version
        IdempotencyKeyReused
        LastOwner                       a locker always has an owner
        LockerFull
        NotAMember                      of the credential's locker, and so cannot become its owner
        ConfigurationNotUsable          not published, or deprecated
        ConfigurationInUse              credentials live on it
        EndpointUnfit                   a validation endpoint that does not tell right from wrong
        CredentialAmbiguous             several credentials fit a selector equally
        SubscriptionLimitReached
        SubscriptionDisabled
      StaleVersion                 412  the subject changed since the caller read it
      BodyTooLarge                 413
      UnsupportedMediaType         415
      ValueRefused                 422  a value that its type refuses
      PreconditionRequired         428  `If-Match` is missing
      TooSoon                      429  others are called out to at a bounded pace; carries when to try again
      NotSupported                 501  what answers for the vault here cannot do this
      Unavailable                  503  a store cannot answer now; carries when to try again
    StoreConflict                       what a store reports to a service; never reaches a caller
      RowMissing
      RowExists
      RowChanged
      SecretMissing                     absent or deleted
      SecretDisabled
    SealBroken                          a stored document or value is not what the vault wrote there

Every message names the subject and what to do next. None quotes input, a value or a cause.
The HTTP status of each is in one table, `vault_core.api.problems`.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta


@dataclass(frozen=True, slots=True)
class FieldError:
    """One field of the input and what is wrong with it; `field` is a path such as `policy.maxLeases`."""

    field: str
    message: str


class VaultError(Exception):
    """A refusal or failure that a caller is told about; `detail` says what to do next."""

    code = "vault-error"
    title = "The vault refused the request"

    def __init__(self, detail: str) -> None:
        super().__init__(detail)
        self.detail = detail


class InvalidInput(VaultError):
    """A request that cannot be understood; `errors` names each field at fault."""

    code = "invalid-input"
    title = "The request is malformed"

    def __init__(self, detail: str, errors: tuple[FieldError, ...] = ()) -> None:
        super().__init__(detail)
        self.errors = errors


class Unauthenticated(VaultError):
    """No caller could be established from the request's token."""

    code = "unauthenticated"
    title = "A valid token is needed"


class AccessDenied(VaultError):
    """The caller may see the subject but not do this to it."""

    code = "access-denied"
    title = "You may not do this"


class NotFound(VaultError):
    """The subject is absent, or the caller may not know of it."""

    code = "not-found"
    title = "Not found"


class Conflict(VaultError):
    """The state of the subject forbids the operation."""

    code = "conflict"
    title = "The state forbids this"


class NameTaken(Conflict):
    """Another credential, or another locker, of the tenant has this name, regardless of case."""

    code = "name-taken"
    title = "The name is taken"


class LeaseLimitReached(Conflict):
    """All places of the credential's `maxLeases` are taken until `frees_at`."""

    code = "lease-limit-reached"
    title = "The lease limit is reached"

    def __init__(self, detail: str, frees_at: datetime, retry_after: timedelta) -> None:
        super().__init__(detail)
        self.frees_at = frees_at
        self.retry_after = retry_after


class CredentialRevoked(Conflict):
    """The credential was revoked; that is final."""

    code = "credential-revoked"
    title = "The credential is revoked"


class CredentialExpired(Conflict):
    """The credential, or the token or certificate it holds, is past its end."""

    code = "credential-expired"
    title = "The credential has expired"


class CredentialNotUsable(Conflict):
    """The credential is suspended or not yet valid."""

    code = "credential-not-usable"
    title = "The credential cannot be used now"


class CredentialIncomplete(Conflict):
    """An attribute of the credential has no value yet."""

    code = "credential-incomplete"
    title = "The credential has no value yet"


class CredentialInLocker(Conflict):
    """The operation is refused while the credential is in a locker."""

    code = "credential-in-locker"
    title = "The credential is in a locker"


class CredentialChanged(Conflict):
    """Someone else changed the credential at the same time."""

    code = "credential-changed"
    title = "The credential was changed at the same time"


class LeaseEnded(Conflict):
    """The lease has expired or was revoked."""

    code = "lease-ended"
    title = "The lease has ended"


class VersionLimitReached(Conflict):
    """So many replaced values are still leased that the vault keeps no more."""

    code = "version-limit-reached"
    title = "Too many replaced values are still leased"


class VersionRotated(Conflict):
    """The lease is on a version that was replaced; it runs to its end and cannot be renewed."""

    code = "version-rotated"
    title = "The credential was rotated"


class IdempotencyKeyReused(Conflict):
    """The `Idempotency-Key` was used before, for a different request."""

    code = "idempotency-key-reused"
    title = "The idempotency key was used for another request"


class LastOwner(Conflict):
    """The member is the last owner of the locker, which always has one."""

    code = "last-owner"
    title = "A locker needs an owner"


class LockerFull(Conflict):
    """The locker has as many members or consumers as it can have."""

    code = "locker-full"
    title = "The locker is full"


class NotAMember(Conflict):
    """The identity is not a member of the locker that the credential is in."""

    code = "not-a-member"
    title = "Not a member of the locker"


class ConfigurationNotUsable(Conflict):
    """The configuration is not published, or deprecated: nothing new is made from it."""

    code = "configuration-not-usable"
    title = "The configuration cannot be used for this"


class ConfigurationInUse(Conflict):
    """Credentials live on the configuration."""

    code = "configuration-in-use"
    title = "The configuration is in use"


class EndpointUnfit(Conflict):
    """The validation endpoint did not call a wrong value invalid."""

    code = "validation-endpoint-unfit"
    title = "The validation endpoint does not tell right from wrong"


class CredentialAmbiguous(Conflict):
    """Several credentials fit the selector equally well."""

    code = "credential-ambiguous"
    title = "Several credentials fit"


class SubscriptionLimitReached(Conflict):
    """The tenant has as many subscriptions as it can have."""

    code = "subscription-limit-reached"
    title = "There are too many subscriptions"


class SubscriptionDisabled(Conflict):
    """The subscription is disabled: nothing is sent."""

    code = "subscription-disabled"
    title = "The subscription is disabled"


class StaleVersion(VaultError):
    """The subject changed since the caller read it."""

    code = "stale-version"
    title = "It has changed since you read it"


class BodyTooLarge(VaultError):
    """The request's body is over the limit."""

    code = "body-too-large"
    title = "The body is too large"


class UnsupportedMediaType(VaultError):
    """The request's body is not of a media type that the operation reads."""

    code = "unsupported-media-type"
    title = "The media type is not supported"


class ValueRefused(VaultError):
    """A value that its type refuses; `errors` says which field and why, never the value."""

    code = "value-refused"
    title = "The value was refused"

    def __init__(self, detail: str, errors: tuple[FieldError, ...] = ()) -> None:
        super().__init__(detail)
        self.errors = errors


class PreconditionRequired(VaultError):
    """The operation needs `If-Match`, so that nobody's change is overwritten unseen."""

    code = "precondition-required"
    title = "If-Match is needed"


class TooSoon(VaultError):
    """The vault would call out again sooner than it may."""

    code = "too-soon"
    title = "Too soon to ask again"

    def __init__(self, detail: str, retry_after: timedelta) -> None:
        super().__init__(detail)
        self.retry_after = retry_after


class NotSupported(VaultError):
    """The operation is one that this vault, or the identity provider behind it, cannot do."""

    code = "not-supported"
    title = "This is not supported"


class Unavailable(VaultError):
    """A store cannot answer now. Whether a write was applied is unknown; repeating is safe."""

    code = "unavailable"
    title = "The vault cannot answer now"

    def __init__(self, detail: str, retry_after: timedelta = timedelta(seconds=5)) -> None:
        super().__init__(detail)
        self.retry_after = retry_after


class StoreConflict(Exception):
    """What a store reports to a service about one row or secret; `key` names it."""

    def __init__(self, key: str) -> None:
        super().__init__(f"{type(self).__name__}: {key}")
        self.key = key


class RowMissing(StoreConflict):
    """There is no such row."""


class RowExists(StoreConflict):
    """A row with this key is there already."""


class RowChanged(StoreConflict):
    """The row is not as it was read: changed, or gone."""


class SecretMissing(StoreConflict):
    """There is no such secret, or it was deleted."""


class SecretDisabled(StoreConflict):
    """The secret is there but disabled."""


class SealBroken(Exception):
    """A stored document or value is not what the vault wrote at that place; `place` says where."""

    def __init__(self, place: str) -> None:
        super().__init__(f"not what the vault wrote there: {place}")
        self.place = place
