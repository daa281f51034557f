"""Examines where a job would run: facts of every rank, findings, each with its cure.

`facts` says what is known of a rank, `observe` and the files beside it look, `examine` does so on
all ranks, `checks` holds what can be found, `report` puts it into words, `attend` sees to it that
there is an answer even where MPI gives none.
"""
