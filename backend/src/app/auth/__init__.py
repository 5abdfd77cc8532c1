"""Who may call: the SuperTokens wiring and the role checks."""
