"""The shop's domain: tables, database and rules, without any web framework."""
