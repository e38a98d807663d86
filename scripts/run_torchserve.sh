#!/usr/bin/env bash
# Serve what the registry's alias `staging` names. On a fresh machine this needs Python 3.11+ and
# Java 17+ and nothing else; --help lists the options. What it does: scripts/serve.py.
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
# The package `scripts` is found from the root, wherever this is called from.
export PYTHONPATH=$root

check_java() {
  local java=java version
  [[ -n "${JAVA_HOME:-}" ]] && java=$JAVA_HOME/bin/java
  if ! version=$("$java" -version 2>&1); then
    echo "error: java: expected 17 or later, found none. Install it (Debian: openjdk-17-jre-headless)," \
      "or set JAVA_HOME." >&2
    exit 1
  fi
  version=$(sed -n 's/.*version "\([0-9]*\).*/\1/p' <<<"$version" | head -n 1)
  if [[ ! $version =~ ^[0-9]+$ ]] || ((version < 17)); then
    echo "error: java: expected 17 or later, found ${version:-an unknown version}. Install it, or set JAVA_HOME." >&2
    exit 1
  fi
}

for argument in "$@"; do
  case $argument in
    # These start nothing: no Java is needed, and no environment is made for them.
    --stop | --status)
      [[ -f $root/.venv/.requirements.sha256 ]] || { echo "not running"; [[ $argument == --stop ]]; exit; }
      exec "$root/.venv/bin/python" -m scripts.serve "$@"
      ;;
    # Java and packages are in the images; any Python 3 will do.
    --docker)
      words=()
      for word in "$@"; do [[ $word == --docker ]] || words+=("$word"); done
      exec "${PYTHON:-python3}" -m scripts.docker_up ${words[@]+"${words[@]}"}
      ;;
  esac
done
[[ " $* " == *" --help "* || " $* " == *" -h "* ]] || check_java
"$root/scripts/setup_env.sh"
exec "$root/.venv/bin/python" -m scripts.serve "$@"
