"""The engine: lookups, values, providers and maintenance as trio tasks over ports."""
