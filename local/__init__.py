"""A whole local cloud in one process and two children, started by `python -m local up`.

    __main__        the command line: up, demo, token
    cloud           starts every part, knows the settings the app gets, stops what it started
    running         what runs where, for other commands to find
    ports           the ports, and a clear word when one is taken
    state           the state folder: private files, one cloud at a time
    certificates    the certificate authority of this run
    child           a child process that ends with its parent
    serving         an aiohttp application on a loopback port
    identities      the known people and agents
    identity        the OpenID provider and the managed-identity endpoint; signing holds its keys
    vendor          the sample vendor: checks values, receives event webhooks
    key_vault/      the secrets REST API of Key Vault, kept sealed
    azurite         the Tables emulator and its tables
    functions_host/ serves what a function_app.py registers

The vault's app cannot tell this cloud from Azure: it gets the same settings and runs the same code.
Nothing here imports the app.
"""
