"""What the vault runs on in Azure, as templates, and what its operators run."""
