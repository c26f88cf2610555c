"""A multi-tenant vault for credentials. The map:

    vault.py               the services, wired to the stores: begin here

    credential.py          a credential and the rules of its life
    credentials.py         what callers do with credentials; beside it: _requests, _changes, _rows, _writes, _listing
    new_values.py          a value on its way into a credential; pending_values.py: written ahead of its transaction
    credential_types/      the six types: what they accept, show, and may be rotated to
    attributes.py          the named parts of a credential: a type's fields, or its own
    attribute_values.py    what callers do with single values; own_values.py: those that consumers give for themselves
    redefinitions.py       another name, description and attributes
    locker.py              a locker, who has which part in it, and the rules of its life
    lockers.py             what callers do with lockers; beside it: locker_rows.py
    lease.py               a lease and the rules of its life
    grants.py, leases.py   how a lease is granted; what callers do with it; beside: lease_rows.py, lease_events.py
    endings.py             what follows a revocation, deletion or rotation
    compromises.py         values that others may know: frozen, and who was given them
    rotation.py            when a credential must be looked at again
    tenants.py             a tenant's defaults, notice period, retention
    portable.py            a tenant's metadata outside of the vault; exports.py, imports.py, imported_credentials.py
    configuration.py       what a vendor defines: fields, endpoint, products; _fields, field_kinds, field_patterns
    configurations.py      what vendors do with them; beside it: _rows, _removal, trials.py, signing_secrets.py
    contracts.py           the version that a credential is made from; creations.py, upgrades.py: made, and moved on
    placement.py           where a credential can be used; resolution.py: which one is meant
    validation.py          what is known of whether a value works; validations.py: asked on demand
    checks.py              how a vendor is asked; beside it: vendor_calls.py, vendor_answers.py, paces.py
    summary.py             how a tenant's credentials stand
    subscription.py        where a tenant wants to be told of events, and the rules of that
    subscriptions.py       what administrators do with subscriptions
    deliveries.py          events on their way to subscribers; courier.py: how they are brought

    identities.py          callers, roles, identity patterns
    policies.py            who may do what, and the guard
    admission.py           the way to a credential: find it, look into its locker, ask the guard
    audit.py               who did what
    repeats.py             what an Idempotency-Key promises
    agenda.py, upkeep/     what must be looked at later, and the timers that do; timed_runs.py: how these run
    sealing.py, values.py  what the stores hold is opened only here
    key_ring.py            the tenants' keys; data_keys.py: what was sealed under one, sealed anew under another
    outbound.py            the port for calls out; probe.py: what opens the socket; destinations.py: what may be called
    webhooks.py            signs what goes out; echoes.py: finds values in what comes back
    transport.py           values under an RSA key on their way; transport_keys.py: the tenants' keys
    stores/                the ports, and their adapters: memory, Azure Tables, Key Vault; observed.py: measured
    health.py              do the stores answer, do the timers run
    telemetry.py           every metric and span; open_telemetry.py, azure_monitor.py: where they go, when that is set

    api/                   edge.py and dialects.py (decode, identify, encode), routes.py (every operation), handlers
    api/control_room/      the second face: its own routes.py, dialect.py and handlers, over the same services
    timers.py              the timer-triggered functions
    errors.py              every refusal, as a tree
    settings.py            what an operator decides
    wire.py, records.py    what goes over the wire, what is stored
    names.py, durations.py, cursors.py, concurrency.py

A request goes edge → handler → service → stores and back. Who imports whom, never back:

    function_app → api, timers → vault → the nouns → policies, audit → stores (ports), identities → errors
"""
