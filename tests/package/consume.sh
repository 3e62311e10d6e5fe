#!/bin/sh
# consume.sh <way> <rota source> <rota build> <scratch folder> <compiler>: builds and runs consumer.cpp against rota in
# one way, in an empty folder, and checks that nothing of rota's own development reaches it.
set -eu
way=$1 source=$2 build=$3 scratch=$4 compiler=$5
here=$source/tests/package

fail() {
  echo "package.$way: $*" >&2
  exit 1
}

rm -rf "$scratch"
mkdir -p "$scratch/consumer"
cd "$scratch/consumer"
cp "$here/consumer.cpp" "$here/sign_conversion.cpp" .
cp "$here/CMakeLists.consumer.txt" CMakeLists.txt

case $way in find_package | pkg_config) cmake --install "$build" --prefix "$scratch/installed" >/dev/null ;; esac

if [ "$way" = pkg_config ]; then
  PKG_CONFIG_PATH=$scratch/installed/share/pkgconfig
  export PKG_CONFIG_PATH
  flags=$(pkg-config --cflags --libs rota)
  echo "$flags"
  # shellcheck disable=SC2086 # flags are words
  "$compiler" -std=c++20 -Wall -Wextra -Werror consumer.cpp sign_conversion.cpp -o consumer $flags
  case $flags in *-W* | *-O* | *-std=* | *"$source/include"*) fail "flags of ours in: $flags" ;; esac
  ./consumer
  exit
fi

cmake -S . -B build -G Ninja -D WAY="$way" -D ROTA="$source" -D CMAKE_PREFIX_PATH="$scratch/installed" \
  -D CMAKE_CXX_COMPILER="$compiler" -D CMAKE_EXPORT_COMPILE_COMMANDS=ON
cmake --build build
build/consumer

for flag in -Wconversion -Wshadow -Wpedantic -fsanitize -DNDEBUG; do
  ! grep -e "$flag" build/compile_commands.json || fail "$flag leaked into the consumer"
done
# The two files of the consumer, and none of ours.
[ "$(grep -c '"file":' build/compile_commands.json)" = 2 ] || fail "the consumer compiles files of ours"
ctest --test-dir build -N | grep -q '^Total Tests: 0$' || fail "the consumer has tests of ours"
! grep -e '^ROTA_BUILD_[A-Z]*:BOOL=ON' build/CMakeCache.txt || fail "an option of ours is on in the consumer"
cmake --install build --prefix "$scratch/consumer-installed" >/dev/null
[ ! -e "$scratch/consumer-installed/include/rota" ] || fail "installing the consumer installs rota"
