#pragma once

#include <stdexcept>
#include <string>

namespace muonlab {

/// Base of every error that the project throws. The text is one sentence for a person: what was
/// wrong, where, what was expected, what to do. `main` alone catches it and picks the exit code.
struct Error : std::runtime_error {
  using std::runtime_error::runtime_error;
};

/// Sizes that do not fit together. Text: "[op] what was expected; got what".
struct ShapeError : Error {
  using Error::Error;
};
/// A tensor of an element type that the operation does not take.
struct DtypeError : Error {
  using Error::Error;
};
/// A device that is missing, failed, or does not hold the tensor.
struct DeviceError : Error {
  using Error::Error;
};
/// Something that a backend or layer does not do.
struct Unsupported : Error {
  using Error::Error;
};
/// An option or configuration that cannot be used (exit code 2).
struct ConfigError : Error {
  using Error::Error;
};
/// A file whose contents are not what they should be.
struct FormatError : Error {
  using Error::Error;
};
/// A file or folder that the operating system would not open, read or write.
struct IoError : Error {
  using Error::Error;
};

}  // namespace muonlab
