#include "data/hdf5_table.hpp"

#include <fcntl.h>
#include <hdf5.h>
#include <unistd.h>

#include <filesystem>
#include <mutex>
#include <utility>

#include "core/base/check.hpp"

namespace viaduct {
namespace {

constexpr size_t kMaxTextBytes = 1 << 20;
constexpr const char* kAbout = "about";

// The library may be built without threads, and the ranks of a test are threads.
std::lock_guard<std::mutex> alone() {
  static std::mutex mutex;
  static const bool quiet = H5Eset_auto2(H5E_DEFAULT, nullptr, nullptr) >= 0;  // what fails is said here
  (void)quiet;
  return std::lock_guard(mutex);
}

// An open object of the library, closed at the end.
class Handle {
 public:
  Handle(hid_t id, herr_t (*close)(hid_t)) : id_(id), close_(close) {}
  Handle(const Handle&) = delete;
  ~Handle() {
    if (id_ >= 0) close_(id_);
  }
  operator hid_t() const { return id_; }

 private:
  hid_t id_;
  herr_t (*close_)(hid_t);
};

hid_t stored_as(DType t) {
  switch (t) {
    case DType::f32:
      return H5T_IEEE_F32LE;
    case DType::f64:
      return H5T_IEEE_F64LE;
    case DType::bf16:
      return H5T_STD_U16LE;
    case DType::i32:
      return H5T_STD_I32LE;
    case DType::i64:
      return H5T_STD_I64LE;
    case DType::u8:
      break;
  }
  return H5T_STD_U8LE;
}

[[noreturn]] void fail_write(const Path& path, const std::string& what) {
  fail(Exit::crash, fmt::format("cannot write {} of {}; is the disk full?", what, path.string()));
}

void write_about(hid_t file, const Path& path, const std::string& text) {
  Handle type(H5Tcopy(H5T_C_S1), H5Tclose), space(H5Screate(H5S_SCALAR), H5Sclose);
  H5Tset_size(type, text.size() + 1);
  Handle attribute(H5Acreate2(file, kAbout, type, space, H5P_DEFAULT, H5P_DEFAULT), H5Aclose);
  if (attribute < 0 || H5Awrite(attribute, type, text.c_str()) < 0) fail_write(path, kAbout);
}

void write_column(hid_t file, const Path& path, const Hdf5Column& column) {
  const Tensor& t = column.values;
  expect(t.shape.rank == 2 && t.device == Device::cpu(), "a column is [rows, width] in host memory");
  const hsize_t dims[] = {hsize_t(t.shape[0]), hsize_t(t.shape[1])};
  Handle space(H5Screate_simple(2, dims, nullptr), H5Sclose);
  Handle set(H5Dcreate2(file, column.name.c_str(), stored_as(t.dtype), space, H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT),
             H5Dclose);
  if (set < 0 || H5Dwrite(set, stored_as(t.dtype), H5S_ALL, H5S_ALL, H5P_DEFAULT, t.data) < 0)
    fail_write(path, column.name);
}

void sync_to_disk(const Path& path) {
  const int fd = ::open(path.c_str(), O_RDONLY);
  if (fd < 0 || ::fsync(fd) != 0) fail_write(path, "the bytes");
  ::close(fd);
}

}  // namespace

void write_hdf5(const Path& path, const std::string& about, const std::vector<Hdf5Column>& columns) {
  const Path staging = path.parent_path() / fmt::format(".{}.tmp-{}", path.filename().string(), ::getpid());
  {
    auto lock = alone();
    Handle file(H5Fcreate(staging.c_str(), H5F_ACC_TRUNC, H5P_DEFAULT, H5P_DEFAULT), H5Fclose);
    if (file < 0) fail_input(fmt::format("cannot create {}; may this program write there?", staging.string()));
    write_about(file, path, about);
    for (const Hdf5Column& column : columns) write_column(file, path, column);
    if (H5Fflush(file, H5F_SCOPE_LOCAL) < 0) fail_write(path, "the end");
  }
  sync_to_disk(staging);
  std::filesystem::rename(staging, path);
  sync_folder(path.parent_path());
}

Hdf5File::Hdf5File(const Path& path) : path_(path) {
  auto lock = alone();
  file_ = H5Fopen(path.c_str(), H5F_ACC_RDONLY, H5P_DEFAULT);
  if (file_ < 0) fail_input(fmt::format("{}: expected a whole HDF5 file, found none; remove it", path.string()));
}
Hdf5File::Hdf5File(Hdf5File&& o) noexcept : path_(std::move(o.path_)), file_(std::exchange(o.file_, -1)) {}
Hdf5File::~Hdf5File() {
  auto lock = alone();
  if (file_ >= 0) H5Fclose(file_);
}

std::string Hdf5File::about() const {
  auto lock = alone();
  Handle attribute(H5Aopen(file_, kAbout, H5P_DEFAULT), H5Aclose);
  Handle type(attribute < 0 ? -1 : H5Aget_type(attribute), H5Tclose);
  const size_t bytes = type < 0 ? 0 : H5Tget_size(type);
  const bool plain =
      bytes > 0 && bytes <= kMaxTextBytes && H5Tget_class(type) == H5T_STRING && H5Tis_variable_str(type) == 0;
  std::string text(plain ? bytes : 0, '\0');
  if (!plain || H5Aread(attribute, type, text.data()) < 0)
    fail_input(fmt::format("{}: expected a text '{}' that says what it holds, found none", path_.string(), kAbout));
  return text.c_str();
}

int64_t Hdf5File::rows(const std::string& column) const {
  auto lock = alone();
  Handle set(H5Dopen2(file_, column.c_str(), H5P_DEFAULT), H5Dclose);
  Handle space(set < 0 ? -1 : H5Dget_space(set), H5Sclose);
  hsize_t dims[2] = {};
  if (space < 0 || H5Sget_simple_extent_ndims(space) != 2 || H5Sget_simple_extent_dims(space, dims, nullptr) != 2)
    fail_input(fmt::format("{}: expected a column '{}' of rows, found none", path_.string(), column));
  return int64_t(dims[0]);
}

void Hdf5File::read(const std::string& column, Range rows, Tensor out) const {
  const int64_t all = this->rows(column);
  auto lock = alone();
  Handle set(H5Dopen2(file_, column.c_str(), H5P_DEFAULT), H5Dclose);
  Handle space(H5Dget_space(set), H5Sclose), type(H5Dget_type(set), H5Tclose);
  hsize_t dims[2] = {};
  H5Sget_simple_extent_dims(space, dims, nullptr);
  const bool fits = out.shape == Shape({rows.size(), int64_t(dims[1])}) && rows.begin >= 0 && rows.end <= all &&
                    H5Tequal(type, stored_as(out.dtype)) > 0;
  if (!fits)
    fail_input(fmt::format("{}: column '{}': expected rows of {} {}, found {} of {} of another kind", path_.string(),
                           column, out.shape.last(), name_of(out.dtype), all, dims[1]));
  if (rows.empty()) return;
  const hsize_t start[] = {hsize_t(rows.begin), 0}, count[] = {hsize_t(rows.size()), dims[1]};
  Handle target(H5Screate_simple(2, count, nullptr), H5Sclose);
  if (H5Sselect_hyperslab(space, H5S_SELECT_SET, start, nullptr, count, nullptr) < 0 ||
      H5Dread(set, stored_as(out.dtype), target, space, H5P_DEFAULT, out.data) < 0)
    fail_input(fmt::format("{}: column '{}' cannot be read", path_.string(), column));
}

}  // namespace viaduct
