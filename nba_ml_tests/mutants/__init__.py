"""Mutation testing: small faults planted in a copy of the package, one at a time, to see which the tests find.

`operators` lists the faults of a module, `areas` says which tests guard which modules, `runner` plants and judges,
`equivalent.toml` names the faults that change nothing. `make mutants AREA=planner` runs a sample.
"""
