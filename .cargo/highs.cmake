# Compiles HiGHS a dozen sources at a time instead of one by one: each of its 190
# reads the same headers, which is half of the work. For the demo and the tests -O2
# is enough; `make dist` has the -O3 of HiGHS itself. Where a later HiGHS does not
# compile so, drop this file and .cargo/config.toml; nothing else needs them.
if(CMAKE_SOURCE_DIR MATCHES "highs-sys")
  set(CMAKE_UNITY_BUILD ON CACHE BOOL "")
  set(CMAKE_UNITY_BUILD_BATCH_SIZE 12 CACHE STRING "")
  if("$ENV{PROFILE}" STREQUAL "debug")
    set(CMAKE_C_FLAGS_RELEASE "-O2 -DNDEBUG" CACHE STRING "")
    set(CMAKE_CXX_FLAGS_RELEASE "-O2 -DNDEBUG" CACHE STRING "")
  endif()
endif()
