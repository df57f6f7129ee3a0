"""What a command says once and is done: what a recording holds, what a machine lacks, what revisions are known."""
