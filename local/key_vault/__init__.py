"""A local Key Vault: the secrets REST API over TLS, as the genuine clients call it.

server      the routes, the challenge, the answers
secrets     the rules: versions, soft delete, what is refused and how
bodies      what a request and a kept secret look like
journal     keeps every change sealed in a file
faults      throttling, outages and lost answers on demand
"""

from local.key_vault.faults import Fault, Faults
from local.key_vault.server import KeyVault

__all__ = ["Fault", "Faults", "KeyVault"]
