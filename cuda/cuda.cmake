# Included by the main list, since a language is enabled there or nowhere. Makes muonlab_cuda where a CUDA
# toolkit is found and wanted, and sets MUONLAB_CUDA_SUMMARY.
set(MUONLAB_CUDA_SUMMARY "no CUDA backend")
if(MUONLAB_CUDA STREQUAL "OFF")
  return()
endif()

if(NOT CMAKE_CUDA_COMPILER)
  find_program(CMAKE_CUDA_COMPILER nvcc HINTS ENV CUDA_PATH PATH_SUFFIXES bin
    PATHS /usr/local/cuda/bin)
endif()
find_package(CUDAToolkit 12 QUIET)
if(NOT CMAKE_CUDA_COMPILER OR NOT CUDAToolkit_FOUND OR NOT TARGET CUDA::cublas)
  if(MUONLAB_CUDA STREQUAL "ON")
    message(FATAL_ERROR "MUONLAB_CUDA=ON needs the CUDA toolkit, version 12 or newer, with cuBLAS: "
      "install it or put its nvcc on the PATH, or configure with -DMUONLAB_CUDA=OFF")
  endif()
  set(MUONLAB_CUDA_SUMMARY "no CUDA backend: no CUDA toolkit 12 or newer was found")
  return()
endif()

# Those of the list that this nvcc knows. The first also as PTX, which later GPUs compile themselves.
execute_process(COMMAND ${CMAKE_CUDA_COMPILER} --list-gpu-arch OUTPUT_VARIABLE known)
set(architectures "")
foreach(architecture IN LISTS MUONLAB_CUDA_ARCHITECTURES)
  if(known MATCHES "compute_${architecture}\n")
    if(architectures)
      list(APPEND architectures ${architecture}-real)
    else()
      list(APPEND architectures ${architecture})
    endif()
  endif()
endforeach()
set(CMAKE_CUDA_ARCHITECTURES ${architectures})
enable_language(CUDA)
set(CMAKE_CUDA_STANDARD 20)
set(CMAKE_CUDA_STANDARD_REQUIRED ON)
set(CMAKE_CUDA_EXTENSIONS OFF)
# What CMake 3.25 does not know of nvcc 12 and newer: this option, and where its host compiler looks
# for headers anyway (named again with -isystem, those are no longer found by #include_next).
if(NOT CMAKE_CUDA20_STANDARD_COMPILE_OPTION)
  set(CMAKE_CUDA20_STANDARD_COMPILE_OPTION -std=c++20)
endif()
list(APPEND CMAKE_CUDA_IMPLICIT_INCLUDE_DIRECTORIES ${CMAKE_CXX_IMPLICIT_INCLUDE_DIRECTORIES})
set(CMAKE_CUDA_FLAGS_RELEASE "-O3 -DNDEBUG")

file(GLOB sources CONFIGURE_DEPENDS cuda/*.cu cuda/*.cpp)
list(REMOVE_ITEM sources ${CMAKE_SOURCE_DIR}/cuda/register.cpp)
add_library(muonlab_cuda STATIC ${sources})
target_include_directories(muonlab_cuda SYSTEM PUBLIC ${CUDAToolkit_INCLUDE_DIRS})
target_link_libraries(muonlab_cuda
  PUBLIC muonlab_core CUDA::cudart_static PRIVATE fmt::fmt ${CMAKE_DL_LIBS})
# Errors name files by their path in the repository.
set(relative -fmacro-prefix-map=${CMAKE_SOURCE_DIR}/=)
target_compile_options(muonlab_cuda PRIVATE
  "$<$<COMPILE_LANGUAGE:CXX>:${relative}>"
  "$<$<COMPILE_LANGUAGE:CUDA>:-Xcompiler=${relative},-Wall,-Wextra>")
if(MUONLAB_WERROR)
  target_compile_options(muonlab_cuda PRIVATE
    "$<$<COMPILE_LANGUAGE:CUDA>:SHELL:--Werror all-warnings -Xcompiler=-Werror>"
    "$<$<COMPILE_LANGUAGE:CUDA>:SHELL:-Xptxas -Werror,--warn-on-spills,--warn-on-local-memory-usage>")
endif()
# cuBLAS is loaded from here when the first product is computed.
target_link_options(muonlab_cuda INTERFACE "LINKER:-rpath,${CUDAToolkit_LIBRARY_DIR}")

list(JOIN architectures " " list)
set(MUONLAB_CUDA_SUMMARY "CUDA ${CMAKE_CUDA_COMPILER_VERSION} for ${list}")
