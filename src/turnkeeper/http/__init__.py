"""The wire: routes, request bodies, answers that last."""
