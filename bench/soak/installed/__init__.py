"""The Django app of a soak: its schemas, its access policies, its verification rules. Everything is switched on."""
