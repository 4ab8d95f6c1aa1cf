#include "tests/cuda_emu/ptx_launch.h"

#include <alloca.h>
#include <cxxabi.h>
#include <dlfcn.h>
#include <fmt/format.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <span>
#include <sstream>

#include "core/error.h"
#include "tests/cuda_emu/ptx_interpreter.h"
#include "tests/cuda_emu/ptx_parser.h"

namespace muonlab::ptx {
namespace {

static_assert(shared_gap(1) == simt::shared_guard(1) &&
              shared_gap(100) == simt::shared_guard(100) &&
              shared_gap(9999) == simt::shared_guard(9999));

/// Frames are on the fiber's stack, which has 128 KiB.
constexpr std::size_t kMaxStack = std::size_t{64} << 10;

/// "t" of "_ZZN8selftest4kern12shared_loadsEPfiE1t".
std::string variable_name(const std::string& symbol) {
  int status = 0;
  char* demangled = abi::__cxa_demangle(symbol.c_str(), nullptr, nullptr, &status);
  std::string name = status == 0 ? demangled : symbol;
  std::free(demangled);
  const std::size_t last = name.rfind("::");
  return last == std::string::npos ? name : name.substr(last + 2);
}

std::string file_name(const std::string& path) { return path.substr(path.find_last_of('/') + 1); }

std::string line_of_file(const std::string& path, int line) {
  std::ifstream in(path);
  std::string text;
  for (int i = 0; i < line && std::getline(in, text);) ++i;
  text.erase(0, text.find_first_not_of(" \t"));
  return in ? text : "";
}

/// The emulator's scheduler and checker, for the threads of one module.
class EmulatorWorld : public World {
 public:
  explicit EmulatorWorld(const Module& module) : module_(module) {}

  void touch(Touch touch, const void* address, unsigned bytes, const Instruction& i) override {
    const simt::Access access = touch == Touch::kRead    ? simt::Access::read
                                : touch == Touch::kWrite ? simt::Access::write
                                                         : simt::Access::atomic;
    simt::on_access(access, address, bytes, &i);
  }
  int barrier(BarrierKind kind, bool predicate, const Instruction& i) override {
    constexpr simt::BarrierOp kOps[] = {simt::BarrierOp::sync, simt::BarrierOp::any,
                                        simt::BarrierOp::all, simt::BarrierOp::count};
    return simt::block_barrier(kOps[static_cast<std::size_t>(kind)], predicate, site(i));
  }
  void warp_barrier(std::uint32_t mask, const Instruction& i) override {
    simt::warp_operation({.mask = mask}, site(i));
  }
  std::uint32_t shuffle(std::uint32_t mask, std::uint32_t value, int lane,
                        const Instruction& i) override {
    return exchange(simt::WarpOp::shuffle, mask, value, lane, nullptr, i);
  }
  std::uint32_t ballot(std::uint32_t mask, bool predicate, const Instruction& i) override {
    return exchange(simt::WarpOp::ballot, mask, predicate, 0, nullptr, i);
  }
  std::uint32_t reduce(std::uint32_t mask, std::uint32_t value, Combine combine,
                       const Instruction& i) override {
    return exchange(simt::WarpOp::reduce, mask, value, 0, combine, i);
  }
  [[noreturn]] void fail(simt::Fault fault, const std::string& what,
                         const Instruction& i) override {
    simt::report(fault, simt::Place(&i), [&] { return what + ", in " + module_.describe(i); });
    simt::abandon_block();
  }

 private:
  static std::uint32_t exchange(simt::WarpOp op, std::uint32_t mask, std::uint32_t value,
                                int argument, Combine combine, simt::Site site) {
    simt::warp_operation({op, mask, &value, sizeof value, argument, 32, combine}, site);
    return value;
  }
  std::uint32_t exchange(simt::WarpOp op, std::uint32_t mask, std::uint32_t value, int argument,
                         Combine combine, const Instruction& i) const {
    return exchange(op, mask, value, argument, combine, site(i));
  }
  simt::Site site(const Instruction& i) const {
    const auto file = module_.files.find(i.source.file);
    if (file == module_.files.end()) return {module_.path.c_str(), i.ptx_line};
    return {file->second.c_str(), i.source.line};
  }

  const Module& module_;
};

void set_dimensions(Place& place, Special x, std::uint32_t vx, std::uint32_t vy, std::uint32_t vz) {
  const auto first = static_cast<std::size_t>(x);
  place.special[first] = vx;
  place.special[first + 1] = vy;
  place.special[first + 2] = vz;
}

/// Where the running thread is.
Place current_place(unsigned char* shared) {
  Place place;
  const uint3 thread = simt::thread_idx(), block = simt::block_idx();
  const dim3 threads = simt::block_dim(), blocks = simt::grid_dim();
  set_dimensions(place, Special::kTidX, thread.x, thread.y, thread.z);
  set_dimensions(place, Special::kNtidX, threads.x, threads.y, threads.z);
  set_dimensions(place, Special::kCtaidX, block.x, block.y, block.z);
  set_dimensions(place, Special::kNctaidX, blocks.x, blocks.y, blocks.z);
  place.special[static_cast<std::size_t>(Special::kLaneid)] =
      static_cast<std::uint32_t>(simt::now.thread % 32);
  place.shared = reinterpret_cast<std::byte*>(shared);
  place.dynamic_shared = static_cast<std::uint64_t>(simt::dynamic_smem() - shared);
  return place;
}

}  // namespace

class PtxKernels::Body : public simt::KernelBody {
 public:
  Body(const Module& module, const Function& entry)
      : module_(module), entry_(entry), world_(module) {
    for (const std::int32_t number : entry.shared) {
      const Variable& variable = module.shared[static_cast<std::size_t>(number)];
      regions_.push_back({variable_name(variable.name), variable.offset, variable.bytes});
    }
    std::sort(regions_.begin(), regions_.end(),
              [](const auto& a, const auto& b) { return a.offset < b.offset; });
  }

  std::span<const simt::SharedRegion> shared_regions() const override { return regions_; }

  void run_thread(void* const* arguments, unsigned char* shared) const override {
    if (block_ != simt::now.block_interval) begin_block();
    auto* const parameters = static_cast<std::byte*>(alloca(entry_.parameter_bytes + 1));
    const std::size_t base =
        entry_.parameters.empty()
            ? 0
            : entry_.variables[static_cast<std::size_t>(entry_.parameters[0])].offset;
    for (std::size_t k = 0; k < entry_.parameters.size(); ++k) {
      const Variable& p = entry_.variables[static_cast<std::size_t>(entry_.parameters[k])];
      std::memcpy(parameters + (p.offset - base), arguments[k], p.bytes);
    }
    constexpr std::size_t kAlign = 16;
    void* stack = alloca(entry_.stack_bytes + kAlign);
    std::size_t room = entry_.stack_bytes + kAlign;
    std::align(kAlign, entry_.stack_bytes, stack, room);
    thread(simt::now.thread)
        .run(entry_, parameters, {static_cast<std::byte*>(stack), entry_.stack_bytes},
             current_place(shared));
  }

 private:
  /// A thread outlives the run of its fiber, which may be abandoned.
  Thread& thread(int index) const {
    const auto i = static_cast<std::size_t>(index);
    while (threads_.size() <= i) threads_.emplace_back(module_, world_);
    return threads_[i];
  }
  /// What the driver checks, and what only a launch knows.
  void begin_block() const {
    block_ = simt::now.block_interval;
    const simt::Launch& launch = *simt::now.launch;
    const auto refuse = [&](const std::string& what) {
      simt::report(simt::Fault::launch_limit, simt::Place(&entry_.code.front()),
                   [&] { return entry_.name + " " + what; });
      simt::abandon_block();
    };
    if (launch.arguments.size() != entry_.parameters.size()) {
      refuse(fmt::format("was given {} arguments and has {} parameters", launch.arguments.size(),
                         entry_.parameters.size()));
    }
    const unsigned threads = launch.block.x * launch.block.y * launch.block.z;
    if (entry_.max_threads != 0 && threads > entry_.max_threads) {
      refuse(fmt::format("has a block of {} threads; its __launch_bounds__ allow {}", threads,
                         entry_.max_threads));
    }
    for (const simt::SharedRegion& region : regions_) {
      simt::add_static_smem({region.name.c_str(), nullptr, region.size, 0});
    }
  }

  const Module& module_;
  const Function& entry_;
  mutable EmulatorWorld world_;
  std::vector<simt::SharedRegion> regions_;
  mutable std::deque<Thread> threads_;
  mutable std::uint32_t block_ = 0;  // the latest that begin_block was called for
};

PtxKernels::PtxKernels(const std::vector<std::string>& paths) {
  for (const std::string& path : paths) {
    std::ifstream file(path);
    std::stringstream text;
    text << file.rdbuf();
    if (!file) throw IoError(fmt::format("cannot read the PTX file {}", path));
    modules_.push_back(std::make_unique<Module>(parse(text.str(), path)));
  }
}
PtxKernels::~PtxKernels() = default;

const simt::KernelBody& PtxKernels::find(const void* kernel) {
  std::unique_ptr<Body>& body = bodies_[kernel];
  if (body) return *body;
  Dl_info symbol{};
  if (dladdr(kernel, &symbol) == 0 || !symbol.dli_sname || symbol.dli_saddr != kernel) {
    throw Unsupported(
        "a kernel has no name that dladdr finds: link the program with -rdynamic, and put the "
        "kernel in a named namespace");
  }
  for (const auto& module : modules_) {
    const auto number = module->function_numbers.find(std::string_view(symbol.dli_sname));
    if (number == module->function_numbers.end()) continue;
    const Function& entry = module->functions[static_cast<std::size_t>(number->second)];
    if (!entry.entry) continue;
    if (entry.stack_bytes > kMaxStack) {
      throw Unsupported(
          fmt::format("{}: {} needs {} bytes of registers and local memory, PTX mode "
                      "has {}",
                      module->path, entry.name, entry.stack_bytes, kMaxStack));
    }
    body = std::make_unique<Body>(*module, entry);
    return *body;
  }
  std::string paths;
  for (const auto& module : modules_) paths += " " + module->path;
  throw Unsupported(
      fmt::format("the kernel {} is in none of the PTX files{}; were they made from "
                  "the same sources?",
                  symbol.dli_sname, paths));
}

bool PtxKernels::locate(const void* code, std::string& where, std::string& source) const {
  const std::less<const void*> before;
  for (const auto& module : modules_) {
    for (const Function& function : module->functions) {
      const auto& list = function.code;
      if (list.empty() || before(code, &list.front()) || before(&list.back(), code)) continue;
      const Instruction& i = *static_cast<const Instruction*>(code);
      const auto file = module->files.find(i.source.file);
      if (file == module->files.end()) {
        where = fmt::format("{}:{}", file_name(module->path), i.ptx_line);
        source = i.text;
      } else {
        where = fmt::format("{}:{}", file_name(file->second), i.source.line);
        source = line_of_file(file->second, i.source.line);
      }
      return true;
    }
  }
  return false;
}

namespace {

/// What the environment variable MUONLAB_EMULATED_PTX names, separated by colons, is what the
/// program runs from its start on.
bool use_environment() {
  const char* list = std::getenv("MUONLAB_EMULATED_PTX");
  if (!list || !*list) return false;
  std::vector<std::string> paths;
  std::istringstream in(list);
  for (std::string path; std::getline(in, path, ':');) paths.push_back(path);
  try {
    static PtxKernels kernels(paths);
    simt::set_kernel_source(&kernels);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "MUONLAB_EMULATED_PTX: %s\n", error.what());
    std::exit(1);
  }
  return true;
}

}  // namespace
}  // namespace muonlab::ptx

/// Runs before main. Its name is known to the linker (ptx.cmake), which otherwise would leave this
/// file out.
extern "C" const bool muonlab_ptx_from_environment = muonlab::ptx::use_environment();
