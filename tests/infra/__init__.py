"""Tests of the templates that the vault is deployed with, and of the workflows."""
