"""The control plane's database: SQLite by default, PostgreSQL by URL. Nothing on the request path imports it."""
