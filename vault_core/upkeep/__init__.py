"""What the timers do. None of it decides anything: expiry and revocation hold when they are read.

    expiry.py       expire_leases, and forgetting leases that ended long ago
    notices.py      check_rotations
    value_checks.py check_credentials
    deliveries.py   deliver_events
    reconciler.py   reconcile: finishes or undoes what a crash left half-done
    outlook.py      what is due, only looked at: for metrics, and for recovery mode, in which nothing else happens

Each run is bounded in time and number, can be cut short anywhere, and may run twice at once. One failure does not
stop the rest: what fails is put off, and counted in the run's report. Cost follows what is due, not what is kept.
"""
