"""What every other layer stands on: settings, logging, errors, the actor of a request."""
