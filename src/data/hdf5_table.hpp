// A table in an HDF5 file: columns of one length, and a text that says what they hold. Written once and whole.
#pragma once
#include <string>
#include <vector>

#include "core/base/files.hpp"
#include "core/base/range.hpp"
#include "core/tensor/tensor.hpp"

namespace viaduct {

// `values` [rows, width] in host memory; bf16 is stored as the 16 bits that it is.
struct Hdf5Column {
  std::string name;
  Tensor values;
};

// A new file, on the disk under its name when this returns, or not there at all.
void write_hdf5(const Path&, const std::string& about, const std::vector<Hdf5Column>&);

// Opened to read. Nothing that the file says is trusted: an input error names what is missing or of another shape.
class Hdf5File {
 public:
  explicit Hdf5File(const Path&);
  Hdf5File(Hdf5File&&) noexcept;
  ~Hdf5File();

  const Path& path() const { return path_; }
  std::string about() const;
  int64_t rows(const std::string& column) const;
  // `out` [rows.size(), width], of the dtype in which the column was written.
  void read(const std::string& column, Range rows, Tensor out) const;

 private:
  Path path_;
  int64_t file_ = -1;  // hid_t
};

}  // namespace viaduct
