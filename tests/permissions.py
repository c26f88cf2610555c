"""Who may do what with lockers, credentials, values, configurations and subscriptions: the specification, as tables
that tests ask cell by cell.

    yes   it is done                                  403   refused to someone who may know of it
    409   not while inside, or not in this state      404   hidden, as if it were not there

Rows are people, who have nothing but what is said here. Columns are what they try, in the same words for both faces:

    appoint, invite, consumers      make an owner; make a participant; add a role that consumes
    read, write                     the standard value
    own value                       give the user-provided value, which is then one's own
    to member, to outsider          make someone the owner who is, or is not, a member of the locker
    put in, take out                of the locker
    history                         what checks of the value found
    resolve, lease                  by product and environment
    use                             make a credential from the configuration
"""

from __future__ import annotations

import re
from dataclasses import replace

from tests.vaults import ADA, ALICE, DEPLOY_AGENT, LOLA, MALLORY, MONA, OTTO, VIC, person
from tests.vendors import NORA
from vault_core.identities import Caller, Role

CONSUMING_ROLE = "finance-bots"
ALLOWED_BY_POLICY = [
    {"type": "agent", "name": "deploy-*"},
    {"type": "human", "email": "vic@*"},
    {"type": "human", "email": "vera@*"},
]

PEOPLE: dict[str, Caller] = {
    "consumer": replace(person("carl", Role.USER), other_roles=frozenset({CONSUMING_ROLE})),
    "participant": person("pete", Role.USER),
    "manager": person("max", Role.USER),
    "owner": person("olivia", Role.USER),
    "locker admin": LOLA,
    "sole locker admin": person("lucy", Role.LOCKER_ADMIN),  # without the roles of a viewer and user
    "managing viewer": person("vera", Role.VIEWER),  # a manager of the locker, whom the policy allows too
    "stranger": person("simon", Role.USER),  # in the tables of one's own: an owner who is no member of the locker
    "allowed viewer": VIC,
    "allowed agent": DEPLOY_AGENT,
    "vault manager": MONA,
    "vault admin": ADA,
    "foreign tenant": MALLORY,
}

MEMBERS = {"manager": "manage", "participant": "participate", "managing viewer": "manage"}
"""Whom the locker's owner made a member, and what for."""

LOCKER = """
                    see    edit   delete   appoint   invite   consumers
consumer            yes    403    403      403       403      403
participant         yes    403    403      403       403      403
manager             yes    yes    yes      403       yes      yes
owner               yes    yes    yes      yes       yes      yes
locker admin        yes    yes    yes      yes       yes      yes
sole locker admin   yes    yes    yes      yes       yes      yes
managing viewer     yes    yes    yes      403       yes      yes
stranger            404    404    404      404       404      404
allowed viewer      404    404    404      404       404      404
allowed agent       404    404    404      404       404      404
vault manager       404    404    404      404       404      404
vault admin         404    404    404      404       404      404
foreign tenant      404    404    404      404       404      404
"""

INSIDE_OF_OTHERS = """
                    see    read   write   own value   rename   delete   to member   to outsider   take out
consumer            yes    yes    403     yes         403      403      403         403           403
participant         404    404    404     404         404      404      404         404           404
manager             yes    yes    yes     yes         403      403      403         403           yes
owner               yes    yes    yes     yes         403      403      yes         409           yes
locker admin        yes    403    yes     403         403      403      yes         409           yes
sole locker admin   yes    403    yes     403         403      403      yes         409           yes
managing viewer     yes    403    yes     403         403      403      403         403           yes
stranger            404    404    404     404         404      404      404         404           404
allowed viewer      yes    403    403     403         403      403      403         403           404
allowed agent       yes    yes    403     yes         403      403      403         403           404
vault manager       yes    403    yes     403         409      409      403         403           404
vault admin         yes    403    yes     403         409      409      403         403           404
foreign tenant      404    404    404     404         404      404      404         404           404
"""

INSIDE_OF_ONES_OWN = """
                    see    read   write   own value   rename   delete   to member   to outsider   take out
consumer            yes    yes    yes     yes         409      409      yes         409           403
participant         yes    yes    yes     yes         409      409      yes         409           yes
manager             yes    yes    yes     yes         409      409      yes         409           yes
owner               yes    yes    yes     yes         409      409      yes         409           yes
locker admin        yes    yes    yes     yes         409      409      yes         409           yes
sole locker admin   yes    403    yes     403         403      403      yes         409           yes
managing viewer     yes    403    yes     403         409      409      yes         409           yes
stranger            yes    yes    yes     yes         409      409      yes         409           404
allowed viewer      yes    403    yes     403         409      409      yes         409           404
allowed agent       yes    yes    yes     yes         409      409      yes         409           404
vault manager       yes    yes    yes     yes         409      409      yes         409           404
vault admin         yes    yes    yes     yes         409      409      yes         409           404
"""

OUTSIDE_OF_OTHERS = """
                    see    read   write   own value   rename   delete   to member   to outsider   put in
consumer            404    404    404     404         404      404      404         404           404
participant         404    404    404     404         404      404      404         404           404
manager             404    404    404     404         404      404      404         404           404
owner               404    404    404     404         404      404      404         404           404
locker admin        yes    403    yes     403         403      403      yes         yes           yes
sole locker admin   yes    403    yes     403         403      403      yes         yes           yes
managing viewer     yes    403    403     403         403      403      403         403           403
stranger            404    404    404     404         404      404      404         404           404
allowed viewer      yes    403    403     403         403      403      403         403           404
allowed agent       yes    yes    403     yes         403      403      403         403           404
vault manager       yes    403    yes     403         yes      yes      403         403           404
vault admin         yes    403    yes     403         yes      yes      403         403           404
foreign tenant      404    404    404     404         404      404      404         404           404
"""

OUTSIDE_OF_ONES_OWN = """
                    see    read   write   own value   rename   delete   to member   to outsider   put in
consumer            yes    yes    yes     yes         yes      yes      yes         yes           403
participant         yes    yes    yes     yes         yes      yes      yes         yes           yes
manager             yes    yes    yes     yes         yes      yes      yes         yes           yes
owner               yes    yes    yes     yes         yes      yes      yes         yes           yes
locker admin        yes    yes    yes     yes         yes      yes      yes         yes           yes
sole locker admin   yes    403    yes     403         403      403      yes         yes           yes
managing viewer     yes    403    yes     403         yes      yes      yes         yes           yes
stranger            yes    yes    yes     yes         yes      yes      yes         yes           404
allowed viewer      yes    403    yes     403         yes      yes      yes         yes           404
allowed agent       yes    yes    yes     yes         yes      yes      yes         yes           404
vault manager       yes    yes    yes     yes         yes      yes      yes         yes           404
vault admin         yes    yes    yes     yes         yes      yes      yes         yes           404
"""

# Credentials that were made from a vendor's configuration, of which there is a newer version.

FILLED_INSIDE_OF_OTHERS = """
                    see    history   resolve   lease   validate   upgrade
consumer            yes    yes       yes       yes     403        403
participant         404    404       404       404     404        404
manager             yes    yes       yes       yes     403        403
owner               yes    yes       yes       yes     403        403
locker admin        yes    yes       yes       404     403        403
sole locker admin   yes    yes       yes       403     403        403
managing viewer     yes    yes       yes       403     403        403
stranger            404    404       404       404     404        404
allowed viewer      yes    yes       yes       403     403        403
allowed agent       yes    yes       yes       yes     403        403
vault manager       yes    yes       yes       404     yes        403
vault admin         yes    yes       yes       404     yes        403
foreign tenant      404    404       404       404     404        404
"""

FILLED_INSIDE_OF_ONES_OWN = """
                    see    history   resolve   lease   validate   upgrade
consumer            yes    yes       yes       yes     yes        yes
participant         yes    yes       yes       yes     yes        yes
manager             yes    yes       yes       yes     yes        yes
owner               yes    yes       yes       yes     yes        yes
locker admin        yes    yes       yes       yes     yes        yes
sole locker admin   yes    yes       yes       403     403        403
managing viewer     yes    yes       yes       403     yes        yes
stranger            yes    yes       yes       yes     yes        yes
allowed viewer      yes    yes       yes       403     yes        yes
allowed agent       yes    yes       yes       yes     yes        yes
vault manager       yes    yes       yes       yes     yes        yes
vault admin         yes    yes       yes       yes     yes        yes
"""

FILLED_OUTSIDE_OF_OTHERS = """
                    see    history   resolve   lease   validate   upgrade
consumer            404    404       404       404     404        404
participant         404    404       404       404     404        404
manager             404    404       404       404     404        404
owner               404    404       404       404     404        404
locker admin        yes    yes       yes       404     403        403
sole locker admin   yes    yes       yes       403     403        403
managing viewer     yes    yes       yes       403     403        403
stranger            404    404       404       404     404        404
allowed viewer      yes    yes       yes       403     403        403
allowed agent       yes    yes       yes       yes     403        403
vault manager       yes    yes       yes       404     yes        403
vault admin         yes    yes       yes       404     yes        403
foreign tenant      404    404       404       404     404        404
"""

FILLED_OUTSIDE_OF_ONES_OWN = FILLED_INSIDE_OF_ONES_OWN

# Configurations, and who meets one: Northwind made it, Contoso is in its audience or not, Fabrikam is not.

MARKET: dict[str, Caller] = {
    "vendor": NORA,
    "vendor's viewer": person("nina", Role.VIEWER, tenant="northwind"),
    "vendor's user": person("nils", Role.USER, tenant="northwind"),
    "vendor's admin": person("nancy", Role.ADMIN, tenant="northwind"),
    "vendor's auditor": person("noel", Role.AUDITOR, tenant="northwind"),
    "viewer": VIC,
    "user": ALICE,
    "manager": MONA,
    "admin": ADA,
    "auditor": OTTO,
    "another vendor": person("vera", Role.VENDOR),
    "outsider": person("fred", Role.USER, tenant="fabrikam"),
    "outside vendor": person("flora", Role.VENDOR, tenant="fabrikam"),
    "outside everything": person("felix", *Role, tenant="fabrikam"),
}

DRAFTED = """
                     see    versions   use    edit   publish   deprecate   rotate secret   test   delete
vendor               yes    yes        403    yes    yes       409         yes             yes    yes
vendor's viewer      404    404        403    403    403       403         403             403    403
vendor's user        404    404        404    403    403       403         403             403    403
vendor's admin       404    404        404    403    403       403         403             403    403
vendor's auditor     403    403        403    403    403       403         403             403    403
viewer               404    404        403    403    403       403         403             403    403
user                 404    404        404    403    403       403         403             403    403
manager              404    404        404    403    403       403         403             403    403
admin                404    404        404    403    403       403         403             403    403
auditor              403    403        403    403    403       403         403             403    403
another vendor       404    404        403    404    404       404         404             404    404
outsider             404    404        404    403    403       403         403             403    403
outside vendor       404    404        403    404    404       404         404             404    404
outside everything   404    404        404    404    404       404         404             404    404
"""

PUBLISHED_TO_CONTOSO = """
                     see    versions   use    edit   publish   deprecate   rotate secret   test   delete
vendor               yes    yes        403    yes    yes       yes         yes             yes    yes
vendor's viewer      404    404        403    403    403       403         403             403    403
vendor's user        404    404        404    403    403       403         403             403    403
vendor's admin       404    404        404    403    403       403         403             403    403
vendor's auditor     403    403        403    403    403       403         403             403    403
viewer               yes    yes        403    403    403       403         403             403    403
user                 yes    yes        yes    403    403       403         403             403    403
manager              yes    yes        yes    403    403       403         403             403    403
admin                yes    yes        yes    403    403       403         403             403    403
auditor              403    403        403    403    403       403         403             403    403
another vendor       yes    yes        403    403    403       403         403             403    403
outsider             404    404        404    403    403       403         403             403    403
outside vendor       404    404        403    404    404       404         404             404    404
outside everything   404    404        404    404    404       404         404             404    404
"""

PUBLISHED_TO_EVERYONE = """
                     see    versions   use    edit   publish   deprecate   rotate secret   test   delete
vendor               yes    yes        403    yes    yes       yes         yes             yes    yes
vendor's viewer      yes    yes        403    403    403       403         403             403    403
vendor's user        yes    yes        yes    403    403       403         403             403    403
vendor's admin       yes    yes        yes    403    403       403         403             403    403
vendor's auditor     403    403        403    403    403       403         403             403    403
viewer               yes    yes        403    403    403       403         403             403    403
user                 yes    yes        yes    403    403       403         403             403    403
manager              yes    yes        yes    403    403       403         403             403    403
admin                yes    yes        yes    403    403       403         403             403    403
auditor              403    403        403    403    403       403         403             403    403
another vendor       yes    yes        403    403    403       403         403             403    403
outsider             yes    yes        yes    403    403       403         403             403    403
outside vendor       yes    yes        403    403    403       403         403             403    403
outside everything   yes    yes        yes    403    403       403         403             403    403
"""

LIVED_ON = """
                     see    versions   use    edit   publish   deprecate   rotate secret   test   delete
vendor               yes    yes        403    yes    yes       yes         yes             yes    409
user                 yes    yes        yes    403    403       403         403             403    403
"""

# Subscriptions of a tenant. What an administrator of another one makes or lists is that tenant's own.

STAFF: dict[str, Caller] = {
    "viewer": VIC,
    "user": ALICE,
    "manager": MONA,
    "admin": ADA,
    "auditor": OTTO,
    "locker admin": LOLA,
    "vendor": person("vera", Role.VENDOR),
    "foreign admin": MALLORY,
}

SUBSCRIPTIONS = """
                create   list   see    change   delete   test   rotate secret   deliveries   replay
viewer          403      403    403    403      403      403    403             403          403
user            403      403    403    403      403      403    403             403          403
manager         403      403    403    403      403      403    403             403          403
admin           yes      yes    yes    yes      yes      yes    yes             yes          yes
auditor         403      403    403    403      403      403    403             403          403
locker admin    403      403    403    403      403      403    403             403          403
vendor          403      403    403    403      403      403    403             403          403
foreign admin   yes      yes    404    404      404      404    404             404          404
"""

Cells = dict[tuple[str, str], str]
"""What becomes of it, by who tries and what."""


def cells(table: str) -> Cells:
    """Return the cells of a table: columns are set apart by two spaces or more."""
    header, *lines = ([part for part in re.split(" {2,}", line) if part] for line in table.strip("\n").split("\n"))
    return {(who, tried): cell for who, *row in lines for tried, cell in zip(header, row, strict=True)}
