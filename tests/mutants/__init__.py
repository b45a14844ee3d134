"""Mutation testing: do the tests of a module fail when its code is changed?

    python -m tests.mutants                      every module of the table; writes docs/mutants.md
    python -m tests.mutants frames keepalive     these modules

A mutant is a module with one small change: ``<`` becomes ``<=``, a statement is removed. The tests of the
module kill it if one of them fails. Those that survive and are equivalent, because the change makes no
difference that a user could see, are listed in ``equivalent.toml``, each with the reason. The command fails
if another one survives, if one of the list is killed or does not exist, and if too few are killed.
"""
