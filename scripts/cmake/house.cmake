# How a module, a program and a test are declared in this house.
#
#   house_module(store SOURCES a.c b.c DEPENDS base [LIBS PkgConfig::X])
#   house_program(dist SOURCES main.c DEPENDS cli store)
#   house_unit_test(ingest store)            tests/unit/test-ingest.c -> ctest unit/ingest
#   house_fuzz_target(digest base)           tests/fuzz/fuzz-digest.c -> ctest fuzz/digest
#
# A module's library is called <name>; what it may include is what DEPENDS says.

add_library(project_options INTERFACE)
target_compile_options(project_options INTERFACE
	-Wall -Wextra -Wshadow -Wvla -Wundef -Wformat=2 -Wstrict-prototypes
	-Wmissing-prototypes -Wwrite-strings -Wimplicit-fallthrough -fno-common -UNDEBUG
	-fno-omit-frame-pointer -fstack-protector-strong)
target_compile_definitions(project_options INTERFACE
	_GNU_SOURCE _FILE_OFFSET_BITS=64 CONTENTFS_VERSION="${PROJECT_VERSION}")
target_include_directories(project_options INTERFACE
	${PROJECT_SOURCE_DIR}/fs ${PROJECT_SOURCE_DIR}/proto ${PROJECT_SOURCE_DIR}/tools
	${PROJECT_SOURCE_DIR})
if(WARNINGS_AS_ERRORS)
	target_compile_options(project_options INTERFACE -Werror)
endif()
if(SANITIZE)
	# gcc 12 reports format-truncation in sanitizer builds alone, where it cannot follow sizes.
	target_compile_options(project_options INTERFACE -fsanitize=${SANITIZE}
		-fno-sanitize-recover=all $<$<C_COMPILER_ID:GNU>:-Wno-format-truncation>)
	target_link_options(project_options INTERFACE -fsanitize=${SANITIZE})
endif()
if(BUILD_FUZZERS)
	# All modules, or the targets would run without coverage feedback.
	target_compile_options(project_options INTERFACE -fsanitize=fuzzer-no-link)
endif()

function(house_module name)
	cmake_parse_arguments(M "" "" "SOURCES;DEPENDS;LIBS" ${ARGN})
	add_library(${name} STATIC ${M_SOURCES})
	target_link_libraries(${name} PRIVATE project_options PUBLIC ${M_DEPENDS} ${M_LIBS})
endfunction()

function(house_program name)
	cmake_parse_arguments(P "" "" "SOURCES;DEPENDS;LIBS" ${ARGN})
	add_executable(${name} ${P_SOURCES})
	target_link_libraries(${name} PRIVATE project_options ${P_DEPENDS} ${P_LIBS})
	install(TARGETS ${name} RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR})
endfunction()

# Extra arguments: linker options, e.g. -Wl,--wrap=fsync.
function(house_unit_test name)
	cmake_parse_arguments(T "" "TIMEOUT" "DEPENDS;OPTIONS;LABELS" DEPENDS ${ARGN})
	set(target test-${name})
	add_executable(${target} ${PROJECT_SOURCE_DIR}/tests/unit/test-${name}.c)
	target_link_libraries(${target} PRIVATE project_options ${T_DEPENDS} Threads::Threads)
	target_link_options(${target} PRIVATE ${T_OPTIONS})
	target_include_directories(${target} PRIVATE ${PROJECT_SOURCE_DIR}/tests)
	set_target_properties(${target} PROPERTIES
		RUNTIME_OUTPUT_DIRECTORY ${PROJECT_BINARY_DIR}/tests)
	add_test(NAME unit/${name} COMMAND ${target})
	if(NOT T_TIMEOUT)
		set(T_TIMEOUT 120)
	endif()
	if(NOT T_LABELS)
		set(T_LABELS unit)
	endif()
	set_tests_properties(unit/${name} PROPERTIES LABELS "${T_LABELS}" TIMEOUT ${T_TIMEOUT}
		SKIP_RETURN_CODE 77)
endfunction()

# With BUILD_FUZZERS the target is a libFuzzer program; in every build its committed corpus is
# replayed by ctest, under any compiler.
function(house_fuzz_target name)
	cmake_parse_arguments(F "" "" "DEPENDS" DEPENDS ${ARGN})
	set(target fuzz-${name})
	set(corpus ${PROJECT_SOURCE_DIR}/tests/fuzz/corpus/${name})
	if(BUILD_FUZZERS)
		add_executable(${target} ${PROJECT_SOURCE_DIR}/tests/fuzz/fuzz-${name}.c)
		target_link_options(${target} PRIVATE -fsanitize=fuzzer)
	else()
		add_executable(${target} ${PROJECT_SOURCE_DIR}/tests/fuzz/fuzz-${name}.c
			${PROJECT_SOURCE_DIR}/tests/fuzz/replay-main.c)
		add_test(NAME fuzz/${name} COMMAND ${target} ${corpus})
		set_tests_properties(fuzz/${name} PROPERTIES LABELS fuzz TIMEOUT 120)
	endif()
	target_link_libraries(${target} PRIVATE project_options ${F_DEPENDS} Threads::Threads)
	target_include_directories(${target} PRIVATE ${PROJECT_SOURCE_DIR}/tests)
	set_target_properties(${target} PROPERTIES
		RUNTIME_OUTPUT_DIRECTORY ${PROJECT_BINARY_DIR}/tests)
endfunction()

# A bats file under tests/integration. RESOURCE_LOCK keeps tests that measure or fill disks apart.
function(house_bats_test name)
	cmake_parse_arguments(B "SERIAL" "TIMEOUT" "" ${ARGN})
	if(NOT B_TIMEOUT)
		set(B_TIMEOUT 900) # ends what hangs; busy machines take their time
	endif()
	add_test(NAME integration/${name}
		COMMAND bats --print-output-on-failure
			${PROJECT_SOURCE_DIR}/tests/integration/${name}.bats)
	set_tests_properties(integration/${name} PROPERTIES LABELS integration TIMEOUT ${B_TIMEOUT}
		ENVIRONMENT "BIN=${CMAKE_RUNTIME_OUTPUT_DIRECTORY};TESTBIN=${PROJECT_BINARY_DIR}/tests")
	if(B_SERIAL)
		set_tests_properties(integration/${name} PROPERTIES RUN_SERIAL TRUE)
	endif()
endfunction()
