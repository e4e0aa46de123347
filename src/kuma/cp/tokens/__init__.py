"""Dataplane, zone and user tokens: issuing, verifying, revoking, and the keys behind them.

``SigningKeys`` holds what the store says (keys and revocation lists, kept current by the store's changes);
``TokenIssuer`` writes tokens and ``TokenVerifier`` reads them. Facts: spec/auth.md §3-§5.
"""
