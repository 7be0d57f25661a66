"""A folder or a list of cases to a folder of answers, on this machine or on a Dask cluster.

    cases, manifest   which cases there are         process, child   one process that holds the model, and who owns it
    request           what is asked for             work             one case: look, compute, once more after a crash
    folder            where answers and failures lie                 local, cluster   many cases at once
    summary           the table                     run              all of it

It stands here rather than in the method, because it does to each case what ``commands.segment`` does to one image: nothing is
written a second time. Only ``cluster`` knows Dask. The unit is one case. Its folder appears whole or not at all, and a case whose
folder is there is not computed again, so running again is resuming and a task that a scheduler repeats does no harm. Each
case is computed in a process that may die, because with a case that takes its worker along Dask blames innocent cases and may hang.
"""
