# The only file that names a third-party library. It defines the targets
#   aurora::zstd      zstd.h, and the compiled library
#   aurora::xxhash    xxhash.h, header-only: who includes it defines XXH_INLINE_ALL first
#   aurora::uring     liburing, only if it was found; AURORA_HAVE_URING tells
find_package(Threads REQUIRED)
find_package(PkgConfig QUIET)

if(AURORA_SYSTEM_DEPS)
  if(NOT PkgConfig_FOUND)
    message(FATAL_ERROR "AURORA_SYSTEM_DEPS=ON needs pkg-config.\n"
                        "  Debian, Ubuntu: apt-get install pkg-config libzstd-dev libxxhash-dev")
  endif()
  pkg_check_modules(AURORA_ZSTD IMPORTED_TARGET GLOBAL "libzstd>=1.5.0")
  pkg_check_modules(AURORA_XXHASH "libxxhash>=0.8.1")
  if(NOT AURORA_ZSTD_FOUND OR NOT AURORA_XXHASH_FOUND)
    message(FATAL_ERROR "AURORA_SYSTEM_DEPS=ON, but libzstd (>= 1.5.0) or libxxhash (>= 0.8.1) was not found.\n"
                        "  Debian, Ubuntu: apt-get install libzstd-dev libxxhash-dev\n"
                        "  or leave AURORA_SYSTEM_DEPS off: the build then fetches the pinned sources.")
  endif()
  add_library(aurora::zstd ALIAS PkgConfig::AURORA_ZSTD)
  set(AURORA_XXHASH_DIR ${AURORA_XXHASH_INCLUDE_DIRS})
else()
  find_package(Python REQUIRED COMPONENTS Interpreter)
  set(AURORA_DEPS_DIR "${PROJECT_SOURCE_DIR}/deps")
  execute_process(
    COMMAND "${Python_EXECUTABLE}" "${PROJECT_SOURCE_DIR}/tools/fetch_deps.py" "${AURORA_DEPS_DIR}"
    RESULT_VARIABLE AURORA_FETCH_RESULT)
  if(NOT AURORA_FETCH_RESULT EQUAL 0)
    message(FATAL_ERROR "The sources of zstd and xxHash could not be fetched (see above).\n"
                        "  Without a package index: install libzstd-dev, libxxhash-dev and pkg-config, and configure with\n"
                        "  -DAURORA_SYSTEM_DEPS=ON (pip: -C cmake.define.AURORA_SYSTEM_DEPS=ON).")
  endif()
  add_subdirectory(cmake/zstd)
  set(AURORA_XXHASH_DIR "${AURORA_DEPS_DIR}/xxhash")
endif()

add_library(aurora_xxhash INTERFACE)
target_include_directories(aurora_xxhash SYSTEM INTERFACE ${AURORA_XXHASH_DIR})
add_library(aurora::xxhash ALIAS aurora_xxhash)

set(AURORA_HAVE_URING OFF)
if(AURORA_WITH_URING)
  # A given library (AURORA_URING_LIBRARY, AURORA_URING_INCLUDE_DIR) goes before what is found. pkg-config describes the
  # machine that builds, so a cross build only looks into the target's own folders.
  if(PkgConfig_FOUND AND NOT CMAKE_CROSSCOMPILING AND NOT AURORA_URING_LIBRARY)
    pkg_check_modules(AURORA_URING QUIET IMPORTED_TARGET GLOBAL "liburing>=2.2")
  endif()
  if(AURORA_URING_FOUND)
    add_library(aurora::uring ALIAS PkgConfig::AURORA_URING)
    set(AURORA_HAVE_URING ON)
  else()
    find_path(AURORA_URING_INCLUDE_DIR liburing.h)
    find_library(AURORA_URING_LIBRARY uring)
    if(AURORA_URING_INCLUDE_DIR AND AURORA_URING_LIBRARY)
      add_library(aurora_uring INTERFACE)
      target_include_directories(aurora_uring SYSTEM INTERFACE "${AURORA_URING_INCLUDE_DIR}")
      target_link_libraries(aurora_uring INTERFACE "${AURORA_URING_LIBRARY}")
      add_library(aurora::uring ALIAS aurora_uring)
      set(AURORA_HAVE_URING ON)
    endif()
  endif()
endif()
message(STATUS "aurora: version ${PROJECT_VERSION}, io_uring ${AURORA_HAVE_URING}, system zstd and xxHash ${AURORA_SYSTEM_DEPS}")
