#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "core/device.h"
#include "core/dtype.h"
#include "core/shape.h"

namespace muonlab {

/// A value handle on shared storage: contiguous, row-major, rank <= 4. Copying a Tensor shares its
/// storage; `clone()` copies the elements. Reshape and first-axis slice are the only views. const
/// protects the handle: a copy of a const Tensor may write its elements.
class Tensor {
 public:
  Tensor() = default;

  /// Uninitialised elements.
  static Tensor empty(Shape shape, DType dtype = DType::f32, Device device = {});
  static Tensor zeros(Shape shape, DType dtype = DType::f32, Device device = {});
  /// A copy of host values; its dtype is that of T. Throws: ShapeError if the count differs.
  template <class T>
  static Tensor from(Shape shape, std::span<const T> values, Device device = {});

  bool defined() const { return storage_ != nullptr; }
  const Shape& shape() const { return shape_; }
  DType dtype() const { return dtype_; }
  Device device() const;
  std::int64_t numel() const { return shape_.numel(); }
  std::size_t bytes() const { return static_cast<std::size_t>(numel()) * size_of(dtype_); }

  /// Pointer to the first element, in the memory of the tensor's device.
  /// Throws: DtypeError if T is not the element type.
  template <class T>
  T* data();
  template <class T>
  const T* data() const;
  void* raw();
  const void* raw() const;

  /// The elements of a CPU tensor. Throws: DeviceError on another device, DtypeError.
  template <class T>
  std::span<T> host();
  template <class T>
  std::span<const T> host() const;
  /// The elements as a vector of doubles, from any device and type.
  std::vector<double> to_vector() const;
  /// The value of a one-element tensor. Throws: ShapeError.
  double item() const;

  /// Same storage, other sizes. Throws: ShapeError if the element count differs.
  Tensor reshape(Shape shape) const;
  /// Rows [begin, end) of the first axis; shares storage. Throws: ShapeError.
  Tensor slice(std::int64_t begin, std::int64_t end) const;
  Tensor clone() const;
  Tensor to(Device device) const;
  /// Copies all elements of src, of equal shape and dtype, from any device. Throws: ShapeError.
  void copy_from(const Tensor& src);
  void fill(double value);
  /// True if no other handle shares the storage, so that it may be overwritten.
  bool unique() const { return storage_.use_count() == 1; }
  /// True if both handles view the same storage.
  bool shares(const Tensor& other) const { return storage_ && storage_ == other.storage_; }

 private:
  struct Storage;
  void require(DType dtype) const;

  std::shared_ptr<Storage> storage_;
  std::int64_t offset_ = 0;  // bytes from the start of the storage
  Shape shape_;
  DType dtype_ = DType::f32;
};

template <class T>
T* Tensor::data() {
  require(DTypeOf<T>::value);
  return static_cast<T*>(raw());
}
template <class T>
const T* Tensor::data() const {
  require(DTypeOf<T>::value);
  return static_cast<const T*>(raw());
}

}  // namespace muonlab
