"""The paper's claims, measured on phantoms: equal budgets, several seeds, cases that nobody has learned from.

    python -m benchmarks.claims -o DIR             everything that is not in DIR yet
    python -m benchmarks.claims -o DIR --report    the same, and docs/claims.md with docs/claims.svg

    rivals    the networks that UniSeg is compared with     transfer  from trained weights to a new task
    settings  what is compared, on which grids, how long    data      phantoms as the networks see them
    runs      one training and its result                   judge     Dice on held-out phantoms
    timing    how long all of it will take                  results   means over structures, tasks and seeds
    report    the page                                      figure    the figure on it

Letters: B batch, F bottleneck features, T tasks, K classes; Z, Y, X window, z, y, x a map of the network.
"""
