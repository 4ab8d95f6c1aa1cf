#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "tests/cuda_emu/emulator.h"
#include "tests/cuda_emu/ptx_module.h"

namespace muonlab::ptx {

/// Kernels of PTX files, for the emulator to run in place of the C++ ones of the same name. The C++
/// ones must be symbols that dladdr finds: not in an anonymous namespace, linked with -rdynamic.
class PtxKernels : public simt::KernelSource {
 public:
  /// Throws IoError or ParseError.
  explicit PtxKernels(const std::vector<std::string>& paths);
  ~PtxKernels() override;

  const simt::KernelBody& find(const void* kernel) override;
  bool locate(const void* code, std::string& where, std::string& source) const override;

 private:
  class Body;
  std::vector<std::unique_ptr<Module>> modules_;
  std::map<const void*, std::unique_ptr<Body>> bodies_;
};

}  // namespace muonlab::ptx
