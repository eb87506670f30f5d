"""The guardrail's decisions: figures and time come in as values, verdicts and moves go out.

`analysis` tells whether native is as good as legacy, `burst` whether it is failing right now,
`walk` where the canary goes next. Without I/O: who counts, who keeps the walk and who applies a
move is the controller's business.
"""
