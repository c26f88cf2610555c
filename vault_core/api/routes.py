"""Every operation of the vault's own API. From this table come the functions, the OpenAPI document, the role checks
and the tests' list of operations.

A role here is the least that is needed to ask; what a caller may do to a credential is decided by
`vault_core.policies`.
"""

from __future__ import annotations

from vault_core.api import (
    audit,
    configurations,
    credentials,
    health,
    leases,
    lockers,
    portability,
    subscriptions,
    summary,
    tenant,
    upkeep,
)
from vault_core.api.audit import AuditEventList, AuditFilter
from vault_core.api.configurations import (
    ConfigurationList,
    ConfigurationQuery,
    ConfigurationVersionList,
    ConfigurationView,
    IssuedConfiguration,
    OutcomeView,
    TryConfiguration,
)
from vault_core.api.credential_views import (
    CheckedView,
    CheckList,
    CompromiseReport,
    CredentialList,
    CredentialView,
    OwnValuesView,
    VersionList,
)
from vault_core.api.description import described
from vault_core.api.health import HealthView
from vault_core.api.leases import CreateLease, GrantedLease, LeaseList, LeaseQuery, LeaseView, RenewLease
from vault_core.api.lockers import LockerList, LockerQuery, LockerView, SetMember
from vault_core.api.portability import ExportQuery, ImportResult
from vault_core.api.routing import BodyLimits, Open, Route
from vault_core.api.subscriptions import (
    DeliveryList,
    DeliveryQuery,
    IssuedSubscription,
    ReplayDeliveries,
    ReplayResult,
    SubscriptionItems,
    SubscriptionView,
    TrialResult,
)
from vault_core.api.summary import SummaryView
from vault_core.api.tenant import DataKeyView, MeView, TenantView
from vault_core.api.upkeep import UpkeepView
from vault_core.configuration import Definition
from vault_core.credential_listing import CredentialQuery
from vault_core.credential_requests import (
    CreateCredential,
    RotateCredential,
    SetOwnValues,
    UpdateCredential,
    UpgradeCredential,
    ValidateQuery,
    WithReason,
)
from vault_core.errors import (
    ConfigurationInUse,
    ConfigurationNotUsable,
    CredentialAmbiguous,
    CredentialChanged,
    CredentialExpired,
    CredentialIncomplete,
    CredentialInLocker,
    CredentialNotUsable,
    CredentialRevoked,
    EndpointUnfit,
    LastOwner,
    LeaseEnded,
    LeaseLimitReached,
    LockerFull,
    NameTaken,
    NotAMember,
    NotFound,
    PreconditionRequired,
    StaleVersion,
    SubscriptionDisabled,
    SubscriptionLimitReached,
    TooSoon,
    ValueRefused,
    VersionLimitReached,
    VersionRotated,
)
from vault_core.identities import Role
from vault_core.locker import DefineLocker
from vault_core.portable import MAX_BYTES, MAX_PARTS, TenantPage
from vault_core.resolution import Selector
from vault_core.subscription import CreateSubscription, UpdateSubscription
from vault_core.tenants import ReplaceTenantRules

VIEWER, USER = Role.VIEWER, Role.USER
ADMIN = Role.ADMIN
AUDITORS = (Role.ADMIN, Role.AUDITOR)
SEEING = (Role.VIEWER, Role.LOCKER_ADMIN)
VENDOR = Role.VENDOR
OFFERED = (Role.VIEWER, Role.VENDOR)

UNLEASABLE = (CredentialRevoked, CredentialExpired, CredentialNotUsable, CredentialIncomplete)
CHANGING = (CredentialRevoked, CredentialChanged)

ALL = "/api/v1/credentials"
ONE = "/api/v1/credentials/{credential}"
LOCKERS = "/api/v1/lockers"
LOCKER = "/api/v1/lockers/{locker}"
SUBSCRIPTIONS = "/api/v1/subscriptions"
SUBSCRIPTION = "/api/v1/subscriptions/{subscription}"
CONFIGURATIONS = "/api/v1/configurations"
CONFIGURATION = "/api/v1/configurations/{configuration}"
LEASES = "/api/v1/leases"
LEASE = "/api/v1/leases/{lease}"

ONE_SHOWN = {200: CredentialView}

# fmt: off
ROUTES = described(
    Route("POST", ALL, credentials.create_credential, USER, {201: CredentialView}, body=CreateCredential,
          query=ValidateQuery, problems=(NameTaken, NotFound, ValueRefused, ConfigurationNotUsable, TooSoon)),
    Route("GET", ALL + "/resolve", credentials.resolve_credential, SEEING, ONE_SHOWN, query=Selector,
          problems=(NotFound, CredentialAmbiguous)),
    Route("GET", ALL, credentials.list_credentials, SEEING, {200: CredentialList}, query=CredentialQuery),
    Route("GET", ONE, credentials.read_credential, SEEING, {200: CredentialView, 304: None}),
    Route("PATCH", ONE, credentials.update_credential, VIEWER, ONE_SHOWN, body=UpdateCredential,
          problems=(StaleVersion, PreconditionRequired, NameTaken, CredentialInLocker, *CHANGING)),
    Route("DELETE", ONE, credentials.delete_credential, VIEWER, {204: None},
          problems=(StaleVersion, CredentialInLocker, CredentialChanged)),
    Route("POST", ONE + "/rotate", credentials.rotate_credential, SEEING, ONE_SHOWN, body=RotateCredential,
          query=ValidateQuery,
          problems=(StaleVersion, ValueRefused, VersionLimitReached, ConfigurationNotUsable, TooSoon, *CHANGING)),
    Route("POST", ONE + "/upgrade", credentials.upgrade_credential, VIEWER, ONE_SHOWN, body=UpgradeCredential,
          problems=(StaleVersion, ValueRefused, VersionLimitReached, ConfigurationNotUsable, TooSoon, *CHANGING)),
    Route("POST", ONE + "/validate", credentials.validate_credential, VIEWER, {200: CheckedView},
          problems=(ConfigurationNotUsable, CredentialNotUsable, TooSoon, *CHANGING)),
    Route("GET", ONE + "/validations", credentials.list_validations, SEEING, {200: CheckList}),
    Route("POST", ONE + "/revoke", credentials.revoke_credential, VIEWER, ONE_SHOWN, body=WithReason,
          problems=(CredentialChanged,)),
    Route("POST", ONE + "/suspend", credentials.suspend_credential, VIEWER, ONE_SHOWN, body=WithReason,
          problems=CHANGING),
    Route("POST", ONE + "/resume", credentials.resume_credential, VIEWER, ONE_SHOWN, body=WithReason,
          problems=(CredentialNotUsable, *CHANGING)),
    Route("POST", ONE + "/compromised", credentials.report_compromised, VIEWER, {200: CompromiseReport},
          body=WithReason, problems=(CredentialChanged,)),
    Route("PUT", ONE + "/owner/{owner}", credentials.transfer_credential, SEEING, ONE_SHOWN,
          problems=(CredentialChanged, NotAMember)),
    Route("GET", ONE + "/versions", credentials.list_versions, SEEING, {200: VersionList}),

    Route("PUT", ONE + "/own-values", credentials.set_own_values, USER, {200: OwnValuesView}, body=SetOwnValues,
          problems=(ValueRefused, *CHANGING)),
    Route("DELETE", ONE + "/own-values", credentials.remove_own_values, USER, {204: None},
          problems=(CredentialChanged,)),

    Route("POST", CONFIGURATIONS, configurations.create_configuration, VENDOR, {201: IssuedConfiguration},
          body=Definition, problems=(NotFound,)),
    Route("GET", CONFIGURATIONS, configurations.list_configurations, OFFERED, {200: ConfigurationList},
          query=ConfigurationQuery),
    Route("GET", CONFIGURATION, configurations.read_configuration, OFFERED, {200: ConfigurationView, 304: None}),
    Route("PUT", CONFIGURATION, configurations.replace_configuration, VENDOR, {200: ConfigurationView}, body=Definition,
          problems=(StaleVersion, PreconditionRequired)),
    Route("DELETE", CONFIGURATION, configurations.delete_configuration, VENDOR, {204: None},
          problems=(StaleVersion, ConfigurationInUse)),
    Route("POST", CONFIGURATION + "/publish", configurations.publish_configuration, VENDOR, {200: ConfigurationView},
          problems=(StaleVersion, ConfigurationNotUsable, EndpointUnfit, TooSoon)),
    Route("POST", CONFIGURATION + "/deprecate", configurations.deprecate_configuration, VENDOR,
          {200: ConfigurationView}, problems=(StaleVersion, ConfigurationNotUsable)),
    Route("POST", CONFIGURATION + "/rotate-secret", configurations.rotate_configuration_secret, VENDOR,
          {200: IssuedConfiguration}, problems=(StaleVersion,)),
    Route("POST", CONFIGURATION + "/test", configurations.try_configuration, VENDOR, {200: OutcomeView},
          body=TryConfiguration, problems=(ValueRefused, ConfigurationNotUsable, TooSoon)),
    Route("GET", CONFIGURATION + "/versions", configurations.list_configuration_versions, OFFERED,
          {200: ConfigurationVersionList}),

    Route("POST", LOCKERS, lockers.create_locker, USER, {201: LockerView}, body=DefineLocker,
          problems=(NameTaken, NotFound)),
    Route("GET", LOCKERS, lockers.list_lockers, SEEING, {200: LockerList}, query=LockerQuery),
    Route("GET", LOCKER, lockers.read_locker, SEEING, {200: LockerView, 304: None}),
    Route("PUT", LOCKER, lockers.replace_locker, SEEING, {200: LockerView}, body=DefineLocker,
          problems=(StaleVersion, PreconditionRequired, NameTaken, CredentialChanged)),
    Route("DELETE", LOCKER, lockers.delete_locker, SEEING, {204: None}, problems=(StaleVersion, CredentialChanged)),
    Route("PUT", LOCKER + "/members/{member}", lockers.set_locker_member, SEEING, {200: LockerView}, body=SetMember,
          problems=(LastOwner, LockerFull, CredentialChanged)),
    Route("DELETE", LOCKER + "/members/{member}", lockers.remove_locker_member, SEEING, {204: None},
          problems=(LastOwner, CredentialChanged)),
    Route("PUT", LOCKER + "/consumers/{role}", lockers.add_locker_consumer, SEEING, {200: LockerView},
          problems=(LockerFull, CredentialChanged)),
    Route("DELETE", LOCKER + "/consumers/{role}", lockers.remove_locker_consumer, SEEING, {204: None},
          problems=(CredentialChanged,)),
    Route("GET", LOCKER + "/credentials", lockers.list_locker_credentials, SEEING, {200: CredentialList}),
    Route("PUT", LOCKER + "/credentials/{credential}", lockers.assign_credential, SEEING, ONE_SHOWN,
          problems=(CredentialInLocker, CredentialChanged)),
    Route("DELETE", LOCKER + "/credentials/{credential}", lockers.take_credential_out, SEEING, {204: None},
          problems=(CredentialChanged,)),

    Route("POST", LEASES, leases.create_lease, USER, {201: GrantedLease}, body=CreateLease,
          problems=(NotFound, LeaseLimitReached, LeaseEnded, CredentialAmbiguous, *UNLEASABLE)),
    Route("GET", LEASES, leases.list_leases, USER, {200: LeaseList}, query=LeaseQuery, problems=(NotFound,)),
    Route("GET", LEASE, leases.read_lease, USER, {200: LeaseView}),
    Route("POST", LEASE + "/renew", leases.renew_lease, USER, {200: LeaseView}, body=RenewLease,
          problems=(LeaseEnded, VersionRotated, *UNLEASABLE)),
    Route("DELETE", LEASE, leases.revoke_lease, USER, {204: None}),

    Route("POST", SUBSCRIPTIONS, subscriptions.create_subscription, ADMIN, {201: IssuedSubscription},
          body=CreateSubscription, problems=(NotFound, SubscriptionLimitReached)),
    Route("GET", SUBSCRIPTIONS, subscriptions.list_subscriptions, ADMIN, {200: SubscriptionItems}),
    Route("GET", SUBSCRIPTION, subscriptions.read_subscription, ADMIN, {200: SubscriptionView, 304: None}),
    Route("PATCH", SUBSCRIPTION, subscriptions.update_subscription, ADMIN, {200: SubscriptionView},
          body=UpdateSubscription, problems=(StaleVersion, PreconditionRequired)),
    Route("DELETE", SUBSCRIPTION, subscriptions.delete_subscription, ADMIN, {204: None}, problems=(StaleVersion,)),
    Route("POST", SUBSCRIPTION + "/test", subscriptions.try_subscription, ADMIN, {200: TrialResult},
          problems=(TooSoon,)),
    Route("POST", SUBSCRIPTION + "/rotate-secret", subscriptions.rotate_subscription_secret, ADMIN,
          {200: IssuedSubscription}),
    Route("GET", SUBSCRIPTION + "/deliveries", subscriptions.list_deliveries, ADMIN, {200: DeliveryList},
          query=DeliveryQuery),
    Route("POST", SUBSCRIPTION + "/replay", subscriptions.replay_deliveries, ADMIN, {200: ReplayResult},
          body=ReplayDeliveries, problems=(SubscriptionDisabled,)),

    Route("GET", "/api/v1/summary", summary.read_summary, SEEING, {200: SummaryView}),
    Route("GET", "/api/v1/audit", audit.list_audit_events, AUDITORS, {200: AuditEventList}, query=AuditFilter,
          problems=(NotFound,)),
    Route("GET", "/api/v1/tenant", tenant.read_tenant, Role.ADMIN, {200: TenantView, 304: None}),
    Route("PUT", "/api/v1/tenant", tenant.replace_tenant, Role.ADMIN, {200: TenantView}, body=ReplaceTenantRules,
          problems=(StaleVersion,)),
    Route("GET", "/api/v1/tenant/export", portability.export_tenant, Role.ADMIN, {200: TenantPage}, query=ExportQuery),
    Route("POST", "/api/v1/tenant/import", portability.import_tenant, Role.ADMIN, {200: ImportResult}, body=TenantPage,
          limits=BodyLimits(MAX_BYTES, MAX_PARTS)),
    Route("GET", "/api/v1/tenant/data-key", tenant.read_data_key, Role.ADMIN, {200: DataKeyView}),
    Route("POST", "/api/v1/tenant/rotate-data-key", tenant.rotate_data_key, Role.ADMIN, {200: DataKeyView}),
    Route("GET", "/api/v1/upkeep", upkeep.read_upkeep, AUDITORS, {200: UpkeepView}),
    Route("GET", "/api/v1/me", tenant.read_me, Open.ANY_CALLER, {200: MeView}),
    Route("GET", "/api/v1/health", health.read_health, Open.ANYONE, {200: HealthView, 503: HealthView}),
)
# fmt: on
