"""`gateway prove`: who is turned away must be the same on both sides, shown by asking both.

The way of one run: `cases` reads what the user has written, `planning` makes the requests, `asking`
sends each as each identity to both apps, `judging` says what the answers prove, `reporting` writes
it down. `fence` and `databases` see to it that nothing but the test environment is touched.
"""
