"""The command line: one module per verb, each with `main(argv) -> exit status`.

It holds no rule of time and no protocol: verbs call the rooms below and print. Nothing is imported here, so that `now`,
`status` and `sources` start fast.
"""
