"""The command line: parse, call the project, print. Errors become exit codes here and nowhere else."""
