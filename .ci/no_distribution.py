"""The build backend of the repository's root, which is no distribution: it says what to install instead."""

raise SystemExit(
    "The root of this repository is no distribution, so there is nothing to install here.\n"
    "Install the folders: pip install ./perscache-core ./perscache-yaml\n"
    "or, to work on them: pip install -r requirements-dev.txt"
)
