# Sourced by ./run: what CI checks, each by the name under which ./run offers it.

# run_checks NAME...: run all of them, also after a failure, and end with a table; fails when one of them does.
run_checks() {
  local name began failed=0 table=""
  for name in "$@"; do
    printf '\n== %s\n' "$name"
    began=$SECONDS
    if "check_$name"; then
      table+="$(printf '%-10s ok      %4d s' "$name" $((SECONDS - began)))"$'\n'
    else
      table+="$(printf '%-10s FAILED  %4d s' "$name" $((SECONDS - began)))"$'\n'
      failed=1
    fi
  done
  printf '\n%s' "$table"
  return $failed
}

check_lint() {
  "$PY" -m ruff check . && "$PY" -m ruff format --check .
}

# The hints of numpy differ between releases and decide what mypy says; Python 3.10 only has an old one.
check_types() {
  if "$PY" -c 'import sys; sys.exit(sys.version_info >= (3, 11))'; then
    say "types are checked from Python 3.11 on"
    return 0
  fi
  "$PY" -m mypy
}

check_layers() {
  "$PY" -c 'from importlinter.cli import lint_imports_command; lint_imports_command()'
}

# Widgets are tested without a screen; tests that open a real window start Xvfb for themselves.
# pytest's exit status 5, "no tests were collected", counts as a failure like any other.
check_tests() {
  QT_QPA_PLATFORM=${QT_QPA_PLATFORM:-offscreen} PYTHONFAULTHANDLER=1 "$PY" -m pytest "$@"
}

check_manifest() {
  "$PY" -m npe2 validate napari_medssl/napari.yaml
}
