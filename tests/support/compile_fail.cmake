# Compiles SOURCE and succeeds when the compiler refuses it with the text of its first line, `// expect: <text>`, and no other
# error stands before that one; with `// expect later: <text>` others may.
file(STRINGS "${SOURCE}" first LIMIT_COUNT 1)
if(NOT first MATCHES "^// expect( later)?: (.+)$")
  message(FATAL_ERROR "${SOURCE}: the first line must be `// expect: <text of the error>`")
endif()
set(later "${CMAKE_MATCH_1}")
set(expected "${CMAKE_MATCH_2}")

execute_process(COMMAND "${COMPILER}" ${FLAGS} -c "${SOURCE}" -o /dev/null
  RESULT_VARIABLE result OUTPUT_VARIABLE output ERROR_VARIABLE output)
if(result EQUAL 0)
  message(FATAL_ERROR "${SOURCE} compiles, but must be refused with: ${expected}")
endif()
string(FIND "${output}" "${expected}" found)
if(found EQUAL -1)
  message(FATAL_ERROR "${SOURCE} is refused, but not with: ${expected}\n${output}")
endif()
string(SUBSTRING "${output}" 0 ${found} before)
string(REGEX MATCHALL "error: " errors "${before}")
list(LENGTH errors errors)
if(errors GREATER 1 AND NOT later)
  message(FATAL_ERROR "${SOURCE} is refused with another error before: ${expected}\n${output}")
endif()
