# GCC 12.0 to 12.2 (Debian 12's default) compiles some ordinary coroutine expressions to wrong code without a word.
# The library avoids them, but only its users can avoid them in their own coroutines. Also installed beside rotaConfig.cmake.
get_property(rota_noticed GLOBAL PROPERTY ROTA_COMPILER_NOTICED)
if(NOT rota_noticed AND CMAKE_CXX_COMPILER_ID STREQUAL "GNU"
   AND CMAKE_CXX_COMPILER_VERSION VERSION_GREATER_EQUAL 12 AND CMAKE_CXX_COMPILER_VERSION VERSION_LESS 12.3)
  set_property(GLOBAL PROPERTY ROTA_COMPILER_NOTICED TRUE)
  message(STATUS "rota: GCC ${CMAKE_CXX_COMPILER_VERSION} miscompiles some coroutine expressions; "
                 "see docs/compilers.md, and run rota-lint over your coroutines")
endif()
unset(rota_noticed)
