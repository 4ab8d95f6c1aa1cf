#include "tests/cuda_emu/ptx_kernels.h"

#include <array>
#include <cmath>
#include <cstdlib>
#include <fstream>
#include <functional>
#include <limits>
#include <memory>
#include <sstream>
#include <string>
#include <vector>

#include "tests/cuda_emu/device.h"
#include "tests/cuda_emu/ptx_launch.h"
#include "tests/cuda_emu/selftest.cuh"
#include "tests/support/catch.h"

using namespace selftest;
using muonlab::ptx::PtxKernels;

namespace {

constexpr simt::Order kOrders[] = {simt::Order::forward, simt::Order::reverse, simt::Order::random};

/// The PTX files of ptx_kernels.cu, one for each architecture; none where there is no nvcc.
std::vector<std::string> ptx_files() {
  std::vector<std::string> files;
  std::istringstream list(MUONLAB_PTX_FILES);
  for (std::string file; std::getline(list, file, ':');) files.push_back(file);
  if (files.empty()) WARN("nothing was tested as PTX: nvcc was not found");
  return files;
}

/// Launches take their kernels from a PTX file; an empty name: they are the C++ ones.
class Mode {
 public:
  explicit Mode(const std::string& file) {
    if (!file.empty()) kernels_ = std::make_unique<PtxKernels>(std::vector<std::string>{file});
    simt::set_kernel_source(kernels_.get());
  }
  ~Mode() { simt::set_kernel_source(nullptr); }
  Mode(const Mode&) = delete;
  Mode& operator=(const Mode&) = delete;

 private:
  std::unique_ptr<PtxKernels> kernels_;
};

/// Runs `body` in C++ mode and then with each PTX file, in every order of threads; it must leave no
/// report and return the same each time. Returns what that is.
template <class Result>
Result same_in_all_modes(const std::function<Result()>& body) {
  std::vector<std::string> modes = ptx_files();
  modes.insert(modes.begin(), "");
  Result first{};
  for (const std::string& file : modes) {
    for (const simt::Order order : kOrders) {
      INFO("PTX file '" << file << "', order " << int(order));
      const Emulation emulation(order);
      const Mode mode(file);
      const Result result = body();
      CHECK(reports_text() == "");
      if (file.empty() && order == kOrders[0]) first = result;
      CHECK(result == first);
    }
  }
  return first;
}

/// "ptx_kernels.cu:12", the line that ends so.
std::string line_of(const std::string& end) {
  std::ifstream in(MUONLAB_SOURCE_DIR "/tests/cuda_emu/ptx_kernels.cu");
  std::string text;
  for (int line = 1; std::getline(in, text); ++line) {
    if (text.find(end) != std::string::npos) return "ptx_kernels.cu:" + std::to_string(line);
  }
  return "no line ends with " + end;
}

/// The distance of two numbers in units in the last place of T.
template <class T>
double ulps(T value, long double exact) {
  if (std::isnan(exact)) return std::isnan(value) ? 0 : 1e9;
  if (static_cast<T>(exact) == value) return 0;
  if (!std::isfinite(value)) return 1e9;
  const T magnitude = std::max(std::fabs(static_cast<T>(exact)), std::numeric_limits<T>::min());
  const T unit = std::nextafter(magnitude, std::numeric_limits<T>::infinity()) - magnitude;
  return double(std::fabs(static_cast<long double>(value) - exact) / unit);
}

struct Function {
  const char* name;
  double
      ulps;  ///< the largest error, from the CUDA C++ Programming Guide, "Mathematical Functions"
  long double (*exact)(long double);
};
using Real = long double;
constexpr std::array<Function, kern::kFloatFunctions> kFloat{{
    {"expf", 2, [](Real x) { return std::exp(x); }},
    {"logf", 1, [](Real x) { return std::log(std::fabs(x)); }},
    {"sinf", 2, [](Real x) { return std::sin(x); }},
    {"cosf", 2, [](Real x) { return std::cos(x); }},
    {"tanhf", 2, [](Real x) { return std::tanh(x); }},
    {"sqrtf", 0.5, [](Real x) { return std::sqrt(std::fabs(x)); }},
    {"rsqrtf", 2, [](Real x) { return 1 / std::sqrt(std::fabs(x)); }},
    {"1/x", 0.5, [](Real x) { return 1 / x; }},
    {"powf", 4, [](Real x) { return std::pow(std::fabs(x), Real{1.7f}); }},
    {"erff", 2, [](Real x) { return std::erf(x); }},
    {"log1pf", 1, [](Real x) { return std::log1p(std::fabs(x)); }},
    {"expm1f", 1, [](Real x) { return std::expm1(x); }},
    {"fmodf", 0, [](Real x) { return std::fmod(x, Real{1.25}); }},
    {"floorf", 0,
     [](Real x) { return Real(float(std::floor(x) + std::ceil(x)) + float(std::trunc(x))); }},
    {"rintf", 0, [](Real x) { return std::nearbyint(x); }},
    {"copysignf", 0,
     [](Real x) { return std::copysign(std::max<Real>(std::fabs(x), 2), std::min<Real>(x, 1)); }},
    {"int", 0, [](Real x) { return Real(float(int(std::min<Real>(std::fabs(x), 1e9f)))); }},
}};
constexpr std::array<Function, kern::kDoubleFunctions> kDouble{{
    {"exp", 1, [](Real x) { return std::exp(x); }},
    {"log", 1, [](Real x) { return std::log(std::fabs(x)); }},
    {"sin", 2, [](Real x) { return std::sin(x); }},
    {"tanh", 1, [](Real x) { return std::tanh(x); }},
    {"sqrt", 0.5, [](Real x) { return std::sqrt(std::fabs(x)); }},
    {"1/x", 0.5, [](Real x) { return 1 / x; }},
    {"pow", 2, [](Real x) { return std::pow(std::fabs(x), Real{1.7}); }},
    {"erf", 2, [](Real x) { return std::erf(x); }},
}};

/// Runs the kernel in all modes and compares each function with `exact`, rounded from 64 bits.
template <class T, std::size_t kCount>
void check_functions(void (*kernel)(T*, const T*, int), const std::array<Function, kCount>& table,
                     const std::vector<T>& inputs) {
  std::vector<std::string> modes = ptx_files();
  modes.insert(modes.begin(), "");
  for (const std::string& file : modes) {
    const Emulation emulation;
    const Mode mode(file);
    const DeviceArray<T> in(inputs), out(inputs.size() * kCount);
    launch(kernel, unsigned(inputs.size() + 63) / 64, 64, 0, nullptr, out.get(), in.get(),
           int(inputs.size()));
    cudaDeviceSynchronize();
    CHECK(reports_text() == "");
    const std::vector<T> results = out.values();
    for (std::size_t f = 0; f < kCount; ++f) {
      double worst = 0;
      T where = 0;
      for (std::size_t i = 0; i < inputs.size(); ++i) {
        const double error = ulps(results[i * kCount + f], table[f].exact(inputs[i]));
        if (error > worst) where = inputs[i];
        worst = std::max(worst, error);
      }
      INFO(table[f].name << " of " << where << " in PTX file '" << file << "'");
      // Half a unit in 2^10 for `exact` itself, where that is not the rounded result.
      CHECK(worst <= table[f].ulps + 0.001);
    }
  }
}

template <class T>
std::vector<T> interesting_numbers(double limit) {
  std::vector<T> out{0.0f, -0.0f, 1, -1, 0.5f, 2.5f, -2.5f, 3.5f, 100, -20};
  for (double x = 1e-6; x < limit; x *= 1.37) {
    out.push_back(static_cast<T>(x));
    out.push_back(static_cast<T>(-x));
  }
  return out;
}

}  // namespace

TEST_CASE("ptx and C++ agree on integer arithmetic") {
  std::vector<int> a, b;
  const std::vector<int> values{1,
                                -1,
                                2,
                                -3,
                                7,
                                100,
                                -1000,
                                65536,
                                1234567,
                                -7654321,
                                std::numeric_limits<int>::max(),
                                std::numeric_limits<int>::min()};
  for (const int x : values) {
    for (const int y : values) {
      a.push_back(x);
      b.push_back(y);
    }
  }
  const auto results = same_in_all_modes<std::vector<long long>>([&] {
    const DeviceArray<int> x(a), y(b);
    const DeviceArray<long long> out(a.size() * kern::kIntegerResults);
    launch(kern::integer_arithmetic, 3, 64, 0, nullptr, out.get(), x.get(), y.get(), int(a.size()));
    return out.values();
  });
  // 7 and -1000.
  const std::size_t row = (4 * values.size() + 6) * kern::kIntegerResults;
  CHECK(results[row] == -993);
  CHECK(results[row + 2] == 7);
  CHECK(results[row + 5] == -7000);
  CHECK(results[row + 12] == 29);
}

TEST_CASE("ptx functions of floats are as exact as CUDA says") {
  check_functions<float>(kern::float_functions, kFloat, interesting_numbers<float>(80));
}
TEST_CASE("ptx sines of large numbers take their slow path") {
  std::vector<float> large;
  for (float x = 1e5f; x < 1e38f; x *= 3.3f) large.push_back(x);
  check_functions<float>(kern::float_functions, kFloat, large);
}
TEST_CASE("ptx functions of doubles are as exact as CUDA says") {
  std::vector<double> numbers = interesting_numbers<double>(600);
  for (double x = 1e6; x < 1e300; x *= 1e7) numbers.push_back(x);
  check_functions<double>(kern::double_functions, kDouble, numbers);
}

TEST_CASE("ptx and C++ agree on bf16") {
  const auto results = same_in_all_modes<std::vector<float>>([] {
    std::vector<float> x(200);
    for (std::size_t i = 0; i < x.size(); ++i)
      x[i] = std::ldexp(1.0f + 0.013f * float(i), int(i % 40) - 20);
    const DeviceArray<float> in(x), out(x.size());
    launch(kern::bf16_pairs, 2, 128, 0, nullptr, out.get(), in.get(), int(x.size()));
    return out.values();
  });
  CHECK(results[0] == Approx(std::ldexp(1.013f, -19)).epsilon(1.0 / 128));
}

TEST_CASE("ptx and C++ agree on calls, jumps, tables and local arrays") {
  const auto collatz = same_in_all_modes<std::vector<int>>([] {
    const DeviceArray<int> out(100);
    launch(kern::collatz_and_friends, 2, 64, 0, nullptr, out.get(), 100);
    return out.values();
  });
  CHECK(collatz[0] != collatz[26]);
  const auto sorted = same_in_all_modes<std::vector<int>>([] {
    const DeviceArray<int> out(32 * 12);
    launch(kern::sort_locally, 1, 32, 0, nullptr, out.get(), 5);
    return out.values();
  });
  for (std::size_t i = 0; i + 1 < sorted.size(); ++i) {
    CHECK((i % 12 == 11 || sorted[i] <= sorted[i + 1]));
  }
}

TEST_CASE("ptx and C++ agree on structs as parameters") {
  const auto results = same_in_all_modes<std::vector<float>>([] {
    const DeviceArray<float> data(std::vector<float>(100, 4.0f));
    kern::Tensors tensors{};
    for (int t = 0; t < kern::kTensors; ++t) {
      tensors.data[t] = data.get() + 20 * t;
      tensors.size[t] = 10 + t;
    }
    tensors.scale = 3;
    tensors.offset = 0.25;
    tensors.first = 200;
    launch(kern::over_tensors, kern::kTensors, 8, 0, nullptr, tensors);
    return data.values();
  });
  for (std::size_t i = 0; i < results.size(); ++i) {
    CHECK(results[i] == (i % 20 < 10 + i / 20 ? 212.25f : 4.0f));
  }
}

TEST_CASE("ptx and C++ agree on shuffles and both kinds of shared memory") {
  const auto results = same_in_all_modes<std::vector<int>>([] {
    const DeviceArray<int> x(std::vector<int>(128, 3)), out(128);
    launch(kern::prefix_sums, 1, 128, 128 * sizeof(int), nullptr, out.get(), x.get());
    return out.values();
  });
  for (int i = 0; i < 128; ++i) CHECK(results[std::size_t(i)] == 3 * (i + 1));
}

TEST_CASE("ptx cp.async that nobody waits for is found") {
  const auto run = [](bool wait) {
    const DeviceArray<float> in(std::vector<float>(64 * 4, 5.0f)), out(64 * 4);
    launch(kern::copied_asynchronously, 1, 32, 0, nullptr, reinterpret_cast<float4*>(out.get()),
           reinterpret_cast<const float4*>(in.get()), wait);
    cudaDeviceSynchronize();
    return out.values();
  };
  const auto results = same_in_all_modes<std::vector<float>>([&] { return run(true); });
  CHECK(results == std::vector<float>(64 * 4, 5.0f));
  for (const std::string& file : ptx_files()) {
    const Emulation emulation;
    const Mode mode(file);
    run(false);
    const auto reports = simt::take_reports();
    REQUIRE(!reports.empty());
    CHECK(reports[0].fault == simt::Fault::uninitialised);
    CHECK(reports[0].where == line_of("// the copy is read"));
    CHECK_THAT(reports[0].text, ContainsSubstring("of shared tile (1024 bytes)"));
  }
}

TEST_CASE("ptx launches keep to __launch_bounds__") {
  for (const std::string& file : ptx_files()) {
    const Emulation emulation;
    const Mode mode(file);
    const DeviceArray<int> out(96);
    launch(kern::bounded, 1, 64, 0, nullptr, out.get());
    cudaDeviceSynchronize();
    CHECK(reports_text() == "");
    launch(kern::bounded, 1, 96, 0, nullptr, out.get());
    cudaDeviceSynchronize();
    CHECK_THAT(reports_text(), ContainsSubstring("a block of 96 threads") &&
                                   ContainsSubstring("__launch_bounds__ allow 64"));
  }
}

namespace selftest::kern {
void not_in_the_ptx(int*) {}
}  // namespace selftest::kern

// CTest runs the emulator's own tests once more with this variable; here is that it does something.
TEST_CASE("ptx files that the environment names are used from the start") {
  if (std::getenv("MUONLAB_EMULATED_PTX")) {
    CHECK(dynamic_cast<PtxKernels*>(simt::kernel_source()) != nullptr);
  } else {
    CHECK(simt::kernel_source() == nullptr);
  }
}

TEST_CASE("ptx kernels that cannot be found are named") {
  for (const std::string& file : ptx_files()) {
    PtxKernels kernels({file});
    CHECK_THROWS_WITH(kernels.find(reinterpret_cast<const void*>(&kern::not_in_the_ptx)),
                      ContainsSubstring("not_in_the_ptx") && ContainsSubstring(file));
    const int variable = 0;
    CHECK_THROWS_WITH(kernels.find(&variable), ContainsSubstring("-rdynamic"));
  }
  CHECK_THROWS_WITH(PtxKernels({"/nowhere/k.ptx"}), ContainsSubstring("/nowhere/k.ptx"));
}
