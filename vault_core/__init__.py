"""The vault. The map of its modules is written here once they all stand."""
