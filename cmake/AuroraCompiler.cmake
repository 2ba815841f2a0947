# Warnings and sanitizers: `aurora_warnings` is linked by our own C and never by third-party C.
add_library(aurora_warnings INTERFACE)
target_compile_options(aurora_warnings INTERFACE -Wall -Wextra -Wconversion -Wshadow -Wstrict-prototypes -Wvla)
if(AURORA_WERROR)
  target_compile_options(aurora_warnings INTERFACE -Werror)
endif()

# Flags of every C file of ours. A frame pointer costs little and makes every profile and report readable.
add_library(aurora_flags INTERFACE)
target_compile_definitions(aurora_flags INTERFACE _GNU_SOURCE)
target_compile_options(aurora_flags INTERFACE -fno-omit-frame-pointer)
if(AURORA_PLANTED_BUGS)
  target_compile_definitions(aurora_flags INTERFACE AURORA_PLANTED_BUGS)
endif()

# Third-party C is instrumented too, where it finds our mistakes (a wrong capacity given to zstd, a buffer that another
# thread writes), but not by the undefined-behaviour checks, which would find only its own.
set(AURORA_SANITIZE_FLAGS "")
set(AURORA_SANITIZE_FLAGS_THIRD_PARTY "")
if(AURORA_SANITIZE)
  set(AURORA_SANITIZE_FLAGS "-fsanitize=${AURORA_SANITIZE}" -fno-sanitize-recover=all)
  if(AURORA_SANITIZE MATCHES "(address|thread)")
    set(AURORA_SANITIZE_FLAGS_THIRD_PARTY "-fsanitize=${CMAKE_MATCH_1}")
  endif()
  target_compile_options(aurora_flags INTERFACE ${AURORA_SANITIZE_FLAGS})
  add_link_options(${AURORA_SANITIZE_FLAGS})
  if(AURORA_SANITIZE MATCHES "thread" AND CMAKE_C_COMPILER_ID STREQUAL "GNU")
    # gcc warns that TSan does not model fences; the code keeps to atomic operations with an order.
    target_compile_options(aurora_warnings INTERFACE -Wno-tsan)
  endif()
endif()
if(AURORA_FUZZ)
  if(NOT CMAKE_C_COMPILER_ID MATCHES "Clang")
    message(FATAL_ERROR "AURORA_FUZZ needs clang (libFuzzer): configure with --preset fuzz or -DCMAKE_C_COMPILER=clang.")
  endif()
  target_compile_options(aurora_flags INTERFACE -fsanitize=fuzzer-no-link)
endif()
