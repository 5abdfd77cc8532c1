"""A stand-in for SuperTokens Core on machines that cannot have its image."""
