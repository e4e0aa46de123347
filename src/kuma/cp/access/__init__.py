"""Who calls the API, and what that caller may do (spec/auth.md §1, §9).

``identity`` turns a request into a ``User``; ``control`` says whether a ``User`` may act. Both are decided from plain
facts, so that what a caller may do can be tested without a server.
"""
