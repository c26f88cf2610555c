"""Measurements of the vault: `python -m bench`, which is what `make bench` runs.

    __main__     the command line: chooses, runs, prints and keeps
    processes    each benchmark in a process of its own, with a local cloud of its own when it needs one
    measured     what a benchmark gives back, as a table and as JSON
    overhead     leases through the whole stack against a bare script that makes the same store calls
    bare         that script
    sweep        many leases due at once, and many more that are not
    growth       lease, read and list as a tenant fills
    listing      lists of what is seen through lockers, through both faces
    cold_start   from a new process to the first answer
    first_answer the process that gives it
    cost         store calls of each operation, and what they cost at list prices
    calling      the app's functions, called as the functions host calls them
    population   fills the stores without going through the vault
    azurite      stores on the local cloud's parts

Servers run in other processes than what is measured. Compare figures of one run only, and ratios rather than
times: they hold on another machine.
"""
