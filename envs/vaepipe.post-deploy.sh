#!python -m pip install --quiet --no-deps --no-build-isolation -e "$VAEPIPE_SOURCE" #
# Installs vaepipe, from the folder of its Snakefile, into a new conda environment. Snakemake runs the first line with the
# path of this file after it, unquoted; the # at its end leaves that path out, which may hold blanks.
