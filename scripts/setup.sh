# Sourced by ./run: brings a fresh Debian or Ubuntu machine to where the package runs.
# Everything is checked before it is installed, so a second call does nothing, also without a network.

PY=.venv/bin/python

# What a Qt window and its software OpenGL need, as "what must be there|Debian package that brings it".
SYSTEM_NEEDS=(
  "libEGL.so.1|libegl1"
  "libGL.so.1|libgl1"
  "libOpenGL.so.0|libopengl0"
  "libglib-2.0.so.0|libglib2.0-0"
  "libfontconfig.so.1|libfontconfig1"
  "libdbus-1.so.3|libdbus-1-3"
  "libxkbcommon-x11.so.0|libxkbcommon-x11-0"
  "libxcb-cursor.so.0|libxcb-cursor0"
  "libxcb-icccm.so.4|libxcb-icccm4"
  "libxcb-image.so.0|libxcb-image0"
  "libxcb-keysyms.so.1|libxcb-keysyms1"
  "libxcb-randr.so.0|libxcb-randr0"
  "libxcb-render-util.so.0|libxcb-render-util0"
  "libxcb-shape.so.0|libxcb-shape0"
  "libxcb-xinerama.so.0|libxcb-xinerama0"
  "/usr/lib/*/dri/*_dri.so|libgl1-mesa-dri"
  "xvfb-run|xvfb"
  "xauth|xauth"
)

# set_up EXTRAS: system packages, .venv and the package with EXTRAS ("all" or "all,test").
set_up() {
  local python
  python=$(find_python) || install_packages "Python 3.11 or newer with venv" python3 python3-venv
  python=${python:-$(find_python)} || fail "no Python of version 3.11 or newer with the venv module; install one, or name one: PYTHON=... ./run"
  [[ $1 == *test* ]] && install_missing_libraries
  make_environment "$python" "$1"
}

say() { printf '%s\n' "-- $*" >&2; }
fail() { printf '%s\n' "error: $*" >&2 && exit 1; }

find_python() {
  local name
  for name in ${PYTHON:-python3 python3.13 python3.12 python3.11}; do
    "$name" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && command -v "$name" && return
  done
  return 1
}

install_missing_libraries() {
  [ "$(uname -s)" = Linux ] || return 0
  local known need missing=()
  known=$(PATH=$PATH:/sbin:/usr/sbin ldconfig -p 2>/dev/null || true)
  for need in "${SYSTEM_NEEDS[@]}"; do
    is_there "${need%|*}" "$known" || missing+=("${need#*|}")
  done
  [ ${#missing[@]} -eq 0 ] || install_packages "the tests that open windows" "${missing[@]}"
}

# is_there WHAT KNOWN_LIBRARIES: WHAT is a library, a path pattern or a command.
is_there() {
  case $1 in
    /*) compgen -G "$1" >/dev/null ;;
    *.so.*) [[ $2 == *"$1 "* ]] ;;
    *) command -v "$1" >/dev/null ;;
  esac
}

# install_packages WHAT_FOR PACKAGE...: by apt, as root or by sudo; where that cannot be, says so and goes on.
install_packages() {
  local what=$1 as_root=()
  shift
  if ! command -v apt-get >/dev/null; then
    say "needed for $what, and there is no apt-get to install it: $*. Install the like by hand if something fails."
    return 0
  fi
  if [ "$(id -u)" -ne 0 ]; then
    if ! command -v sudo >/dev/null; then
      say "needed for $what, and there is no sudo. As root: apt-get install $*"
      return 0
    fi
    as_root=(sudo)
    [ -t 0 ] || as_root=(sudo -n) # nobody could type a password
  fi
  say "installing for $what: $*"
  ${as_root[@]+"${as_root[@]}"} apt-get update -qq >&2 || say "apt-get update failed; going on with the lists at hand"
  ${as_root[@]+"${as_root[@]}"} env DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends "$@" >&2 ||
    say "apt-get could not install all of: $*. Going on; what needs them will say so."
}

# make_environment PYTHON EXTRAS: .venv with the package, editable. A stamp remembers for which files it was made.
make_environment() {
  local python=$1 extras=$2 wanted
  wanted=$(cat <(pwd) pyproject.toml constraints.txt | cksum)
  if is_current "$extras" "$wanted"; then
    return 0
  fi
  "$PY" -c '' 2>/dev/null || { say "making .venv with $python" && rm -rf .venv && "$python" -m venv .venv; }
  say "installing napari-medssl[$extras] into .venv (a few minutes the first time)"
  rm -f .venv/ready-*
  # torch first and by itself: the build without CUDA is a tenth of the download, where an index offers it.
  has_nvidia || pip_install --no-deps "torch==$(pinned torch)+cpu" 2>/dev/null || true
  pip_install -c constraints.txt torch
  pip_install -c constraints.txt -e ".[$extras]"
  printf '%s\n' "$wanted" >".venv/ready-$extras"
}

# is_current EXTRAS WANTED: whether .venv already holds EXTRAS (or more) for the present files.
is_current() {
  local stamp
  for stamp in .venv/ready-*; do
    [[ -f $stamp && ${stamp#.venv/ready-} == "$1"* && $(<"$stamp") == "$2" ]] && "$PY" -c '' 2>/dev/null && return
  done
  return 1
}

has_nvidia() { command -v nvidia-smi >/dev/null; }
pinned() { sed -n "s/^$1==//p" constraints.txt; }
pip_install() { "$PY" -m pip install --quiet --disable-pip-version-check "$@"; }
