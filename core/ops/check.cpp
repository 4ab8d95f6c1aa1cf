#include "core/ops/check.h"

#include <fmt/format.h>

#include "core/error.h"

namespace muonlab {

void check_defined(std::string_view op, std::string_view name, const Tensor& t) {
  if (!t.defined())
    throw ShapeError(fmt::format("[{}] {} must be a tensor; got an empty handle", op, name));
}

void check_shape(std::string_view op, std::string_view name, const Tensor& t, const Shape& expected,
                 std::string_view why) {
  if (t.shape() != expected)
    throw ShapeError(fmt::format("[{}] {} must be {}, {}; got {}", op, name, expected.str(), why,
                                 t.shape().str()));
}

void check_rank(std::string_view op, std::string_view name, const Tensor& t, int rank) {
  if (t.shape().rank() != rank)
    throw ShapeError(
        fmt::format("[{}] {} must have rank {}; got {}", op, name, rank, t.shape().str()));
}

namespace {

void check_kind(std::string_view op, std::string_view name, const Tensor& t, DType dtype,
                Device device) {
  if (!t.defined()) return;
  if (t.dtype() != dtype)
    throw DtypeError(
        fmt::format("[{}] {} must be {}; got {}", op, name, name_of(dtype), name_of(t.dtype())));
  if (t.device() != device)
    throw DeviceError(fmt::format("[{}] {} must be on {}; it is on {}", op, name, device.str(),
                                  t.device().str()));
}

}  // namespace

void check_alike(std::string_view op, std::string_view name, const Tensor& t, const Tensor& like) {
  check_kind(op, name, t, like.dtype(), like.device());
}

void check_wide(std::string_view op, std::string_view name, const Tensor& t, const Tensor& x) {
  check_kind(op, name, t, wide_type(x.dtype()), x.device());
}

void check_ids(std::string_view op, std::string_view name, const Tensor& t, std::int64_t limit) {
  if (t.dtype() != DType::i32)
    throw DtypeError(fmt::format("[{}] {} must be i32; got {}", op, name, name_of(t.dtype())));
  const Tensor host = t.to(Device{});
  for (const std::int32_t id : host.host<std::int32_t>())
    if (id < 0 || id >= limit)
      throw Error(fmt::format("[{}] {} must be in [0, {}); got {}", op, name, limit, id));
}

}  // namespace muonlab
