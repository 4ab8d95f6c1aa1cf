#include "core/tensor.h"

#include <fmt/format.h>

#include <bit>

#include "core/backend.h"
#include "core/error.h"

namespace muonlab {

struct Tensor::Storage {
  Storage(Device where, std::size_t size)
      : device(where),
        backend(backend_of(where)),
        bytes(size),
        data(backend.allocator().allocate(size)) {}
  ~Storage() { backend.allocator().release(data, bytes); }
  Storage(const Storage&) = delete;
  Storage& operator=(const Storage&) = delete;

  Device device;
  Backend& backend;
  std::size_t bytes;
  void* data;
};

Tensor Tensor::empty(Shape shape, DType dtype, Device device) {
  Tensor t;
  t.shape_ = shape;
  t.dtype_ = dtype;
  t.storage_ = std::make_shared<Storage>(device, t.bytes());
  return t;
}

Tensor Tensor::zeros(Shape shape, DType dtype, Device device) {
  Tensor t = empty(shape, dtype, device);
  t.fill(0);
  return t;
}

template <class T>
Tensor Tensor::from(Shape shape, std::span<const T> values, Device device) {
  if (shape.numel() != static_cast<std::int64_t>(values.size()))
    throw ShapeError(fmt::format("[tensor] {} needs {} values; got {}", shape.str(), shape.numel(),
                                 values.size()));
  Tensor t = empty(shape, DTypeOf<T>::value, device);
  t.storage_->backend.copy_from_host(t.raw(), values.data(), t.bytes());
  return t;
}
template Tensor Tensor::from(Shape, std::span<const float>, Device);
template Tensor Tensor::from(Shape, std::span<const double>, Device);
template Tensor Tensor::from(Shape, std::span<const std::int32_t>, Device);

Device Tensor::device() const { return storage_ ? storage_->device : Device{}; }

void* Tensor::raw() { return storage_ ? static_cast<char*>(storage_->data) + offset_ : nullptr; }
const void* Tensor::raw() const {
  return storage_ ? static_cast<const char*>(storage_->data) + offset_ : nullptr;
}

void Tensor::require(DType dtype) const {
  if (dtype != dtype_)
    throw DtypeError(
        fmt::format("[tensor] elements are {}; asked for {}", name_of(dtype_), name_of(dtype)));
}

template <class T>
std::span<T> Tensor::host() {
  if (!storage_) throw ShapeError("[tensor] an empty handle has no elements");
  if (device().kind != DeviceKind::cpu)
    throw DeviceError(
        fmt::format("[tensor] host access needs a cpu tensor; this one is on {}", device().str()));
  return {data<T>(), static_cast<std::size_t>(numel())};
}
template <class T>
std::span<const T> Tensor::host() const {
  return const_cast<Tensor*>(this)->host<T>();
}
template std::span<float> Tensor::host();
template std::span<double> Tensor::host();
template std::span<std::int32_t> Tensor::host();
template std::span<const float> Tensor::host() const;
template std::span<const double> Tensor::host() const;
template std::span<const std::int32_t> Tensor::host() const;

std::vector<double> Tensor::to_vector() const {
  const Tensor t = to(Device{});
  switch (dtype_) {
    case DType::f32: {
      const auto h = t.host<float>();
      return {h.begin(), h.end()};
    }
    case DType::f64: {
      const auto h = t.host<double>();
      return {h.begin(), h.end()};
    }
    case DType::i32: {
      const auto h = t.host<std::int32_t>();
      return {h.begin(), h.end()};
    }
    case DType::bf16: {
      const auto* bits = static_cast<const std::uint16_t*>(t.raw());
      std::vector<double> values;
      for (std::int64_t i = 0; i < t.numel(); ++i)
        values.push_back(std::bit_cast<float>(std::uint32_t{bits[i]} << 16));
      return values;
    }
  }
  return {};
}

double Tensor::item() const {
  if (numel() != 1)
    throw ShapeError(fmt::format("[tensor] item() needs one element; shape is {}", shape_.str()));
  return to_vector()[0];
}

Tensor Tensor::reshape(Shape shape) const {
  if (shape.numel() != numel())
    throw ShapeError(fmt::format("[reshape] {} has {} elements; {} needs {}", shape_.str(), numel(),
                                 shape.str(), shape.numel()));
  Tensor t = *this;
  t.shape_ = shape;
  return t;
}

Tensor Tensor::slice(std::int64_t begin, std::int64_t end) const {
  if (begin < 0 || end < begin || end > shape_[0])
    throw ShapeError(
        fmt::format("[slice] rows [{}, {}) are not within {}", begin, end, shape_.str()));
  Tensor t = *this;
  t.shape_ = shape_.with_first(end - begin);
  const std::int64_t row = shape_[0] == 0 ? 0 : numel() / shape_[0];
  t.offset_ += begin * row * static_cast<std::int64_t>(size_of(dtype_));
  return t;
}

Tensor Tensor::clone() const {
  Tensor t = empty(shape_, dtype_, device());
  t.copy_from(*this);
  return t;
}

Tensor Tensor::to(Device device) const {
  if (device == this->device()) return *this;
  Tensor t = empty(shape_, dtype_, device);
  t.copy_from(*this);
  return t;
}

void Tensor::copy_from(const Tensor& src) {
  if (src.shape_ != shape_ || src.dtype_ != dtype_)
    throw ShapeError(fmt::format("[copy] source must be {} {}; got {} {}", name_of(dtype_),
                                 shape_.str(), name_of(src.dtype_), src.shape_.str()));
  if (!storage_ || !src.storage_)
    throw ShapeError("[copy] source and destination must be tensors; one is an empty handle");
  Backend& to = storage_->backend;
  Backend& from = src.storage_->backend;
  if (&to == &from) {
    to.copy(raw(), src.raw(), bytes());
  } else if (from.is_host()) {
    to.copy_from_host(raw(), src.raw(), bytes());
  } else if (to.is_host()) {
    from.copy_to_host(raw(), src.raw(), bytes());
  } else {
    throw Unsupported(fmt::format("[copy] from {} to {}", src.device().str(), device().str()));
  }
}

void Tensor::fill(double value) {
  if (!storage_) return;
  storage_->backend.fill(*this, value);
}

}  // namespace muonlab
