#!/usr/bin/env bash
# COCO 2017 and the pinned checkpoints, resumable and proven. All options are those of
# `harness download`; see: bash scripts/download_coco.sh --help
set -euo pipefail

project="$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.." && pwd)"

if [[ -x "$project/.venv/bin/harness" ]]; then
    harness="$project/.venv/bin/harness"
elif ! harness="$(command -v harness)"; then
    echo "error: harness is not installed; run: make -C \"$project\" setup" >&2
    exit 3
fi

# A relative --root is meant from where the user stands; without one, data goes into this project.
case " $* " in
    *" --root "* | *" --root="*) exec "$harness" download "$@" ;;
    *) exec "$harness" download --root "$project/datasets" "$@" ;;
esac
