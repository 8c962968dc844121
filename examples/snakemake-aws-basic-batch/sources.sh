# What an image would do: put the workflow's sources into the working directory of each job. bash reads this file first (BASH_ENV).
unset BASH_ENV
cp "$EXAMPLES/snakemake-aws-basic-batch/Snakefile" .
