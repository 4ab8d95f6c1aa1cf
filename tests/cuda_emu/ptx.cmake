# PTX mode: the same kernels as nvcc compiled them, on an interpreter (ptx_*.cpp).

file(GLOB sources CONFIGURE_DEPENDS ptx_*.cpp)
list(FILTER sources EXCLUDE REGEX "_test[.]cpp$|/ptx_snippet[.]cpp$")
add_library(muonlab_ptx STATIC ${sources})
target_link_libraries(muonlab_ptx PUBLIC muonlab_cuda_emulation fmt::fmt)
target_link_libraries(muonlab_ptx PRIVATE ${CMAKE_DL_LIBS})
# One operation of the interpreter is one operation of the processor, also where directed rounding
# is on.
target_compile_options(muonlab_ptx PRIVATE -ffp-contract=off -frounding-math)
# Whoever links it obeys the environment variable MUONLAB_EMULATED_PTX.
target_link_options(muonlab_ptx INTERFACE "LINKER:-u,muonlab_ptx_from_environment")

find_program(MUONLAB_NVCC nvcc PATHS /usr/local/cuda/bin DOC "Compiler of CUDA, for tests of PTX")
if(NOT MUONLAB_NVCC)
  message(STATUS "No tests of kernels as PTX: nvcc was not found")
endif()
set(MUONLAB_PTX_ARCHITECTURES 80 90 CACHE STRING "Compute capabilities that PTX is made for")

# muonlab_emulated_ptx(TARGET SOURCES...): the PTX of those .cu files, built with TARGET_ptx. TARGET,
# a test program, is run once more for each architecture: as CTest entries "<entry>_ptx80" and so on
# of all that muonlab_ptx_tests(TARGET NAME COMMAND...) names.
function(muonlab_emulated_ptx target)
  target_link_libraries(${target} PRIVATE muonlab_ptx)
  if(NOT MUONLAB_NVCC)
    return()
  endif()
  foreach(architecture IN LISTS MUONLAB_PTX_ARCHITECTURES)
    set(outputs)
    foreach(source IN LISTS ARGN)
      get_filename_component(source ${source} ABSOLUTE)
      get_filename_component(name ${source} NAME_WE)
      set(output ${CMAKE_CURRENT_BINARY_DIR}/${target}_ptx/${name}.sm_${architecture}.ptx)
      add_custom_command(OUTPUT ${output}
        COMMAND ${MUONLAB_NVCC} -ptx -std=c++20 -lineinfo -arch=compute_${architecture}
          -I${CMAKE_SOURCE_DIR} -MD -MF ${output}.d -o ${output} ${source}
        DEPENDS ${source} DEPFILE ${output}.d
        COMMENT "PTX of ${name}.cu for sm_${architecture}" VERBATIM)
      list(APPEND outputs ${output})
    endforeach()
    list(APPEND all ${outputs})
    string(REPLACE ";" ":" joined "${outputs}")
    set_property(TARGET ${target} PROPERTY MUONLAB_PTX_${architecture} "${joined}")
  endforeach()
  file(MAKE_DIRECTORY ${CMAKE_CURRENT_BINARY_DIR}/${target}_ptx)
  add_custom_target(${target}_ptx DEPENDS ${all})
  add_dependencies(${target} ${target}_ptx)
endfunction()

# muonlab_ptx_tests(TARGET NAME ARGUMENTS...): runs TARGET with these arguments, its kernels as PTX.
function(muonlab_ptx_tests target name)
  if(NOT MUONLAB_NVCC)
    return()
  endif()
  foreach(architecture IN LISTS MUONLAB_PTX_ARCHITECTURES)
    get_property(files TARGET ${target} PROPERTY MUONLAB_PTX_${architecture})
    add_test(NAME ${name}_ptx${architecture} COMMAND ${target} ${ARGN})
    set_tests_properties(${name}_ptx${architecture} PROPERTIES
      LABELS cuda_emu TIMEOUT 600 ENVIRONMENT "MUONLAB_EMULATED_PTX=${files}")
  endforeach()
endfunction()

file(GLOB tests RELATIVE ${CMAKE_CURRENT_SOURCE_DIR} CONFIGURE_DEPENDS ptx_*_test.cpp)
add_executable(cuda_emu_ptx_tests ${tests} ptx_snippet.cpp)
target_link_libraries(cuda_emu_ptx_tests PRIVATE muonlab_test_main cuda_emu_kernels)
muonlab_emulated_ptx(cuda_emu_ptx_tests ptx_kernels.cu)
set(files)
if(MUONLAB_NVCC)
  foreach(architecture IN LISTS MUONLAB_PTX_ARCHITECTURES)
    get_property(file TARGET cuda_emu_ptx_tests PROPERTY MUONLAB_PTX_${architecture})
    list(APPEND files ${file})
  endforeach()
endif()
string(REPLACE ";" ":" files "${files}")
target_compile_definitions(cuda_emu_ptx_tests PRIVATE
  MUONLAB_SOURCE_DIR="${CMAKE_SOURCE_DIR}" MUONLAB_PTX_FILES="${files}")
foreach(test IN LISTS tests)
  string(REGEX REPLACE "_test[.]cpp$" "" name ${test})
  add_test(NAME cuda_emu/${name}
    COMMAND cuda_emu_ptx_tests --filenames-as-tags --warn NoTests "[#${name}_test]~[.]")
  set_tests_properties(cuda_emu/${name} PROPERTIES LABELS cuda_emu TIMEOUT 300)
endforeach()
muonlab_ptx_tests(cuda_emu_ptx_tests cuda_emu/ptx_environment
  "ptx files that the environment names*")
