#!/usr/bin/env bash
# Make or refresh .venv from the pinned requirements, with hashes. Idempotent: takes a fraction of
# a second when nothing changed.
#
#   scripts/setup_env.sh          what serving, training and the registry need
#   scripts/setup_env.sh --dev    the same, and the tests and tools
#   scripts/setup_env.sh --bench  .venv-bench: the servers that the benchmark compares with
#   scripts/setup_env.sh --dvc    .venv-dvc: DVC, for the pipelines of dvc.yaml
#   scripts/setup_env.sh --kubernetes  .venv-kubernetes: checkov, for the policies of kubernetes/
#
# PYTHON names the interpreter (3.11 or later). uv is used where it is installed, else pip.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

venv=.venv
case "${1:-}" in
  "") requirements=({training,torchserve,torchserve/front,web}/requirements.txt) kind=serve ;;
  --dev) requirements=(tests/requirements.txt) kind=dev ;;
  --bench) requirements=(benchmarks/requirements.txt) kind=bench venv=.venv-bench ;;
  --dvc) requirements=(training/dvc/requirements.txt) kind=dvc venv=.venv-dvc ;;
  --kubernetes) requirements=(tests/kubernetes/requirements.txt) kind=kubernetes venv=.venv-kubernetes ;;
  *) sed -n '2,11p' "$0" | sed 's/^# \{0,1\}//'; [[ $1 == --help ]] && exit 0 || exit 2 ;;
esac

find_python() {
  local name
  for name in ${PYTHON:-} python3.11 python3 python3.12 python3.13; do
    if "$name" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
      command -v "$name"
      return
    fi
  done
  echo "error: python: expected 3.11 or later on PATH, found none. Install it, or set PYTHON." >&2
  exit 1
}

# The tests' requirements hold those of serving, so either stamp is good for it.
# The place counts too: a copied .venv would import the original's `iqa`.
stamp_of() { { pwd; cat "$@"; } | sha256sum | cut -c1-64; }
dev_stamp=$(stamp_of tests/requirements.txt)
stamp=$(stamp_of "${requirements[@]}")
made=$(cat "$venv/.requirements.sha256" 2>/dev/null || true)
if [[ -x $venv/bin/python && ($made == "$stamp" || ($kind == serve && $made == "$dev_stamp")) ]]; then
  exit 0
fi
if [[ -L $venv ]]; then  # to be made anew it would be emptied, for whoever else uses it
  echo "error: $venv: expected a folder of this checkout, got a link to $(readlink "$venv"). Remove the link." >&2
  exit 1
fi

# Two first starts at once: the second waits, and then finds the work done.
if [[ -z ${IQA_SETUP_LOCKED:-} ]] && command -v flock >/dev/null; then
  export IQA_SETUP_LOCKED=1
  exec flock .gitignore scripts/setup_env.sh "$@"
fi
python=$(find_python)
echo "making the environment in $venv ($kind, $("$python" --version)); the first time takes minutes" >&2
options=()
for file in "${requirements[@]}"; do options+=(-r "$file"); done
if command -v uv >/dev/null; then
  "$venv/bin/python" -c "" 2>/dev/null || uv venv --clear --quiet --python "$python" "$venv"
  # pip compiles what it installs, uv leaves that to the first import. Where Python may not write
  # (as in many containers), each start would compile MLflow again: 6 s more.
  [[ -z ${PYTHONDONTWRITEBYTECODE:-} ]] || options+=(--compile-bytecode)
  uv pip install --quiet --python "$venv/bin/python" --require-hashes "${options[@]}"
else
  # An environment without pip is one that uv made, or that was interrupted.
  "$venv/bin/python" -m pip --version >/dev/null 2>&1 || "$python" -m venv --clear "$venv"
  "$venv/bin/python" -m pip install --quiet --disable-pip-version-check --progress-bar off \
    --require-hashes "${options[@]}"
fi
# `iqa` is imported by that name everywhere; inside a MAR, the MAR's own copy comes first. The
# benchmark's servers must find no other copy than the archive's.
if [[ $kind != bench ]]; then
  "$venv/bin/python" - <<'PY'
import pathlib, sysconfig
path = pathlib.Path(sysconfig.get_paths()["purelib"], "iqa-torchserve.pth")
path.write_text(f"{pathlib.Path('handler').resolve()}\n")
PY
fi
echo "$stamp" >"$venv/.requirements.sha256"
