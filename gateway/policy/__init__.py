"""Who may do what: Casbin's rules, compiled.

`rules` reads and validates the rows, `compiled` decides from them, `cases` runs decisions that must hold.
Only `stock` imports casbin, so a data plane worker, which needs only `rules` and `compiled`, never loads it.
"""
