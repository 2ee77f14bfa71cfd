"""The clouds on this machine: emulators, started by fixtures."""
