"""Values that a change of structure must not change, and how they are compared and accepted.

`python -m tests.pinned [NAME…]` compares and says in one line per pin what differs;
`python -m tests.pinned --accept [NAME…]` stores what is computed now: on purpose only.
"""
